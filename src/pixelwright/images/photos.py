"""Pictures as uint8 arrays, red first and upright, whatever they were stored as."""

import io
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from jaxtyping import Shaped, UInt8, UInt16
from PIL import (
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    JpegImagePlugin,
    PngImagePlugin,
    PpmImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from pixelwright.errors import DataError, MachineError, PixelwrightWarning, shown
from pixelwright.images.files import number_from_environment, read_bytes
from pixelwright.images.headers import Header, damaged, read_header, verify

Samples = Shaped[np.ndarray, "..."]

PLUGINS: dict[str, Callable[[io.BytesIO], Image.Image]] = {
    "PNG": PngImagePlugin.PngImageFile,
    "JPEG": JpegImagePlugin.JpegImageFile,
    "WebP": WebPImagePlugin.WebPImageFile,
    "TIFF": TiffImagePlugin.TiffImageFile,
    "GIF": GifImagePlugin.GifImageFile,
    "BMP": BmpImagePlugin.BmpImageFile,
    "PNM": PpmImagePlugin.PpmImageFile,
}


def read_image(path: Path | str, channels: int = 3) -> UInt8[np.ndarray, "h w c"]:
    """The picture with 8 bits a sample, red first, turned as its EXIF data say.

    Grey pictures are repeated for 3 channels. 16-bit samples are scaled by 65535, or by the bits
    that PIXELWRIGHT_IMAGE_BITS states, never clipped. Transparency is dropped. Where something
    is lost there is one warning per folder.

    Args:
        path: Any name; the content decides the format.
        channels: 3 for colour, 1 for grey.

    Raises:
        DataError: If the file is no picture (F01, F02, F16), is damaged or cut short (F03, F04), is
            too large (F15), has colours where 1 channel is asked (F10), more than 4 bands (F11),
            or samples without a known range (F12).
    """
    data = read_bytes(path)
    header = read_header(io.BytesIO(data), path)
    verify(data, header, path)
    if header.channels > 4:
        raise DataError(
            f"{shown(path)} has {header.channels} bands; 1, 3 or 4 were expected. "
            "Save the bands to use as a picture of their own."
        )
    if header.more:
        tell(path, "Only the first page or frame is read", "of pictures with several")
    if header.kind == "JPEG" and header.channels == 4:
        tell(path, "Colours are converted from CMYK to RGB", "without a colour profile, of JPEGs")
    pixels = _decode(data, header, path)
    if pixels.dtype != np.uint8:
        pixels = _to_8_bits(pixels, path)
    pixels = with_channels(pixels, channels, path)
    return upright(pixels, header)


def tell(path: Path | str, what: str, where: str) -> None:
    """Warn with a text that is equal for all files of a folder, so that it is shown once."""
    folder = shown(Path(path).parent)
    warnings.warn(f"{what} {where} in {folder}.", PixelwrightWarning, stacklevel=3)


def upright(pixels: Samples, header: Header) -> Samples:
    """Rows and columns as EXIF's orientation says, 1 to 8 (F06)."""
    match header.orientation:
        case _ if header.kind == "TIFF":
            return pixels  # Both decoders have turned it.
        case 1:
            return pixels
        case 2:
            turned = pixels[:, ::-1]
        case 3:
            turned = pixels[::-1, ::-1]
        case 4:
            turned = pixels[::-1]
        case 5:
            turned = pixels.swapaxes(0, 1)
        case 6:
            turned = pixels.swapaxes(0, 1)[:, ::-1]
        case 7:
            turned = pixels[::-1, ::-1].swapaxes(0, 1)
        case _:
            turned = pixels.swapaxes(0, 1)[::-1]
    return np.ascontiguousarray(turned)


@contextmanager
def decoding(path: Path | str) -> Iterator[None]:
    """Say which file could not be decoded, whatever type of error the decoder throws."""
    try:
        yield
    except (MemoryError, DataError) as error:
        if isinstance(error, DataError):
            raise
        raise MachineError(f"{shown(path)} needs more memory to decode than is free.") from error
    except cv2.error as error:
        if error.code == cv2.Error.StsNoMem:
            raise MachineError(f"{shown(path)} needs more memory than is free.") from error
        raise damaged(path, f"it cannot be decoded ({error.err})") from error
    except Exception as error:
        raise damaged(path, f"it cannot be decoded ({error})") from error


def open_by_pillow(data: bytes, header: Header) -> Image.Image:
    """Pillow's picture, decoded. By its plugin, since `Image.open` has a size limit of its own."""
    picture = PLUGINS[header.kind](io.BytesIO(data))
    picture.load()
    return picture


def _decode(data: bytes, header: Header, path: Path | str) -> Samples:
    """Samples of any depth, "h w" or "h w c", red first, as stored."""
    if header.kind == "TIFF":
        # Of 8-bit TIFF, OpenCV returns colours already multiplied by alpha.
        opencv = header.bits > 8 and header.channels > 1
    else:
        opencv = header.kind in ("PNG", "JPEG", "WebP")
    # OpenCV has limits of its own, which stand in its loadsave.cpp.
    opencv &= max(header.height, header.width) <= 2**20 and header.height * header.width <= 2**30
    with decoding(path):
        pixels = _by_opencv(data, header) if opencv else _by_pillow(data, header)
    if pixels is None:
        raise damaged(path, f"its {header.kind} data cannot be decoded")
    return pixels


def _by_opencv(data: bytes, header: Header) -> Samples | None:
    encoded = np.frombuffer(data, np.uint8)
    if header.bits <= 8 and not header.alpha and header.kind != "TIFF":
        grey = header.channels == 1 and not header.palette
        flags = cv2.IMREAD_GRAYSCALE if grey else cv2.IMREAD_COLOR_RGB
        # One path turns pictures upright, ours, so that `size` and pixels cannot disagree.
        return cv2.imdecode(encoded, flags | cv2.IMREAD_IGNORE_ORIENTATION)
    if header.kind == "TIFF":
        with _quiet():
            pixels = cv2.imdecode(encoded, cv2.IMREAD_UNCHANGED)
    else:
        pixels = cv2.imdecode(encoded, cv2.IMREAD_UNCHANGED)
    if pixels is None or pixels.ndim == 2 or pixels.shape[2] not in (3, 4):
        return pixels
    order = cv2.COLOR_BGR2RGB if pixels.shape[2] == 3 else cv2.COLOR_BGRA2RGBA
    if pixels.dtype in (np.uint8, np.uint16, np.float32):
        return cv2.cvtColor(pixels, order)
    return pixels[..., [2, 1, 0, 3][: pixels.shape[2]]]


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep OpenCV's TIFF reader from writing to stderr what our error says anyway."""
    before = cv2.utils.logging.getLogLevel()
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        yield
    finally:
        cv2.utils.logging.setLogLevel(before)


def _by_pillow(data: bytes, header: Header) -> Samples:
    picture = open_by_pillow(data, header)
    match picture.mode:
        case "1":
            picture = picture.convert("L")
        case "P" | "PA" | "LA" | "RGBX" | "CMYK" | "YCbCr" | "LAB":
            mode: Literal["RGBA", "RGB"] = "RGBA" if picture.has_transparency_data else "RGB"
            picture = picture.convert(mode)
        case "I" if header.kind == "PNM":
            return np.array(picture).astype(np.uint16)
        case "I;16" | "I;16B" | "I;16L":
            return np.array(picture).astype(np.uint16)
    return np.array(picture)


def _to_8_bits(pixels: Samples, path: Path | str) -> Samples:
    if pixels.dtype == np.uint16:
        return _from_16_bits(pixels, path)
    if pixels.dtype == np.bool_:
        return pixels.astype(np.uint8) * 255
    if pixels.dtype.kind != "f":
        raise DataError(
            f"{shown(path)} has samples of type {pixels.dtype}, whose range is not known. "
            "Save it with 8 or 16 bits, unsigned."
        )
    wrong = pixels.size - np.count_nonzero(np.isfinite(pixels))
    if wrong:
        raise DataError(
            f"{shown(path)} has {wrong:,} samples that are NaN or infinite. "
            "Replace them, or save it with 8 or 16 bits."
        )
    low, high = float(pixels.min()), float(pixels.max())
    if low < 0 or high > 1:
        raise DataError(
            f"{shown(path)} has fractional samples from {low:g} to {high:g}; a range of 0 to 1 was "
            "expected. Scale it, or save it with 8 or 16 bits."
        )
    scaled: Samples = np.rint(pixels * 255).astype(np.uint8)
    return scaled


def _from_16_bits(pixels: UInt16[np.ndarray, "..."], path: Path | str) -> UInt8[np.ndarray, "..."]:
    bits = number_from_environment("PIXELWRIGHT_IMAGE_BITS", 16)
    top, highest = 2**bits - 1, int(pixels.max())
    if bits > 16 or highest > top:
        raise DataError(
            f"{shown(path)} has a sample of {highest}, but PIXELWRIGHT_IMAGE_BITS={bits} allows "
            f"at most {top}. Samples have at most 16 bits."
        )
    if bits == 16 and 0 < highest < 2**14:
        tell(
            path,
            "16-bit pictures that use less than a quarter of their range become dark",
            "(state their bits, such as PIXELWRIGHT_IMAGE_BITS=12)",
        )
    table = np.minimum(np.arange(2**16), top) / top * 255
    scaled: Samples = np.rint(table).astype(np.uint8)[pixels]
    return scaled


def with_channels(pixels: Samples, channels: int, path: Path | str) -> UInt8[np.ndarray, "h w c"]:
    """8-bit pixels as 3 channels or 1, without transparency. `path` only names them in messages.

    Raises:
        DataError: They have colours where 1 channel is asked (F10).
    """
    if pixels.ndim == 2:
        pixels = pixels[..., np.newaxis]
    bands = pixels.shape[2]
    if bands in (2, 4):
        if int(pixels[..., -1].min()) < 255:
            tell(path, "Transparency is dropped", "from pictures")
        pixels = pixels[..., : bands - 1]
        bands -= 1
    if channels == 3 and bands == 1:
        return cv2.cvtColor(np.ascontiguousarray(pixels), cv2.COLOR_GRAY2RGB)
    if channels == 1 and bands == 3:
        if not is_grey(pixels):
            raise DataError(
                f"{shown(path)} is a colour picture, but 1 channel is asked for. "
                "Set channels = 3 in the recipe, or save it in grey."
            )
        pixels = pixels[..., :1]
    return np.ascontiguousarray(pixels)


def is_grey(pixels: Shaped[np.ndarray, "h w 3"]) -> bool:
    """Whether red, green and blue are equal everywhere."""
    red = pixels[..., 0]
    return bool((red == pixels[..., 1]).all() and (red == pixels[..., 2]).all())
