"""Write pictures and masks so that a final name never holds half a file."""

import io
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Integer, Shaped, UInt8, UInt16
from PIL import Image

from pixelwright.files import write_bytes
from pixelwright.types import IGNORE, Color


def write_png(
    path: Path | str,
    array: UInt8[np.ndarray, "h w"] | UInt8[np.ndarray, "h w 3"] | UInt16[np.ndarray, "h w"],
    palette: tuple[Color, ...] | None = None,
) -> None:
    """Write grey, colour, or with a palette the indices of its colours, without loss.

    Raises:
        MachineError: If the file cannot be written.
    """
    if palette is None:
        write_bytes(path, _encoded(".png", array))
        return
    if array.dtype != np.uint8 or array.ndim != 2 or len(palette) > 256:
        raise ValueError("A palette has at most 256 colours, and its indices are uint8 'h w'.")
    picture = Image.fromarray(array).convert("L")
    picture.putpalette([sample for color in palette for sample in color])
    buffer = io.BytesIO()
    # `bits` keeps Pillow from choosing fewer by the palette's length, which cuts indices above it.
    picture.save(buffer, "PNG", bits=8)
    write_bytes(path, buffer.getvalue())


def write_jpeg(
    path: Path | str,
    image: UInt8[np.ndarray, "h w 3"] | UInt8[np.ndarray, "h w 1"],
    quality: int = 92,
) -> None:
    """Write a picture for people to look at.

    Raises:
        MachineError: If the file cannot be written.
    """
    write_bytes(path, _encoded(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality]))


def encode_png(image: UInt8[np.ndarray, "h w 3"]) -> bytes:
    """A picture as the bytes of a PNG file, for pages and notebooks."""
    return _encoded(".png", image)


def ignored_value(classes: int) -> int:
    """What `write_mask` writes for `IGNORE`: 255 where a byte holds it beside all classes."""
    return 255 if classes < 256 else 65535


def write_mask(
    path: Path | str, labels: Integer[np.ndarray, "h w"], colors: tuple[Color, ...]
) -> None:
    """Write class indices as a PNG that viewers show in the classes' colours.

    `IGNORE` becomes 255, shown white. With more classes than a byte holds it is 16-bit grey, and
    `IGNORE` becomes 65535.

    Args:
        path: Where to.
        labels: Class indices and `IGNORE`.
        colors: One per class.

    Raises:
        MachineError: If the file cannot be written.
    """
    ignored = labels == IGNORE
    if len(colors) + bool(ignored.any()) > 256:
        write_png(path, np.where(ignored, ignored_value(len(colors)), labels).astype(np.uint16))
        return
    white: Color = (255, 255, 255)
    palette = (*colors, *(white for _ in range(256 - len(colors))))
    write_png(path, np.where(ignored, 255, labels).astype(np.uint8), palette)


def _encoded(
    suffix: str, array: Shaped[np.ndarray, "..."], options: list[int] | None = None
) -> bytes:
    if array.ndim == 3 and array.shape[2] == 3:
        array = cv2.cvtColor(np.ascontiguousarray(array), cv2.COLOR_RGB2BGR)
    done, encoded = cv2.imencode(suffix, array, options or [])
    if not done:
        raise ValueError(f"OpenCV cannot encode {array.shape} {array.dtype} as {suffix}")
    return bytes(encoded.data)
