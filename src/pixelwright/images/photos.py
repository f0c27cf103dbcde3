"""Pictures as arrays, red first and upright, whatever they were stored as."""

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from jaxtyping import Shaped, UInt8
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

from pixelwright.errors import DataError, MachineError, shown
from pixelwright.images.depth import to_8_bits
from pixelwright.images.files import read_bytes, refuse_bomb, tell
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
    samples, _ = read_samples(path)
    return with_channels(to_8_bits(samples, path), channels, path)


def read_samples(path: Path | str, page: int | None = None) -> tuple[Samples, Header]:
    """The samples of a picture as stored, "h w" or "h w c", red first and upright; and its header.

    Args:
        path: Any name; the content decides the format.
        page: Which page or frame, from 1; None is the first, with a warning if there are others.

    Raises:
        DataError: As `read_image`, but for colours and depth; also where there is no such page.
    """
    data = read_bytes(path)
    header = read_header(io.BytesIO(data), path)
    verify(data, header, path)
    if header.channels > 4:
        raise DataError(
            f"{shown(path)} has {header.channels} bands; 1, 3 or 4 were expected. "
            "Save the bands to use as a picture of their own."
        )
    if header.more and page is None:
        tell(path, "Only the first page or frame is read", "of pictures with several")
    if header.kind == "JPEG" and header.channels == 4:
        tell(path, "Colours are converted from CMYK to RGB", "without a colour profile, of JPEGs")
    if page is not None and page != 1:
        return upright(_page(data, header, path, page), header), header
    return upright(_decode(data, header, path), header), header


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


def _page(data: bytes, header: Header, path: Path | str, page: int) -> Samples:
    """A page other than the first, which may have a size of its own."""
    with decoding(path):
        picture = PLUGINS[header.kind](io.BytesIO(data))
        pages = getattr(picture, "n_frames", 1)
        if not 1 <= page <= pages:
            told = "one page" if pages == 1 else f"{pages:,} pages or frames"
            raise DataError(f"{shown(path)} has {told}, so there is no page {page}.")
        picture.seek(page - 1)
        refuse_bomb(path, picture.height, picture.width)
        if header.kind == "TIFF" and header.bits > 8 and header.channels > 1:
            with _quiet():
                encoded = np.frombuffer(data, np.uint8)
                cut = (page - 1, page)
                _, found = cv2.imdecodemulti(encoded, cv2.IMREAD_UNCHANGED, range=cut)
            return _red_first(found[0])
        picture.load()
        return _samples_of(picture, header)


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
    return None if pixels is None else _red_first(pixels)


def _red_first(pixels: Samples) -> Samples:
    if pixels.ndim == 2 or pixels.shape[2] not in (3, 4):
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
    return _samples_of(open_by_pillow(data, header), header)


def _samples_of(picture: Image.Image, header: Header) -> Samples:
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
