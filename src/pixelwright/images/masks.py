"""Masks: the numbers a file holds, and the classes they stand for."""

import io
import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple, NoReturn

import cv2
import numpy as np
from jaxtyping import Int16, Int32, Integer, Shaped, UInt8
from PIL import Image

from pixelwright.errors import DataError, shown
from pixelwright.images.files import opened, read_bytes, tell
from pixelwright.images.headers import Header, read_header, verify
from pixelwright.images.photos import decoding, is_grey, open_by_pillow, upright
from pixelwright.images.values import negative
from pixelwright.types import IGNORE, Classes, Color

UNDECLARED = -(2**15)
"""Stands in a lookup table for raw values without a class."""

Samples = Shaped[np.ndarray, "..."]
Palette = UInt8[np.ndarray, "256 3"]


def raw_mask(path: Path | str) -> Integer[np.ndarray, "h w"] | Integer[np.ndarray, "h w 3"]:
    """The numbers a mask holds: palette indices, or samples as stored, never scaled (F20, F21).

    A colour picture comes as "h w 3", or as "h w" where it is grey everywhere. It is turned as its
    EXIF data say, like the image beside it.

    Raises:
        DataError: If the file is no picture, is damaged, was stored with loss (F23), or holds
            fractions (F32).
    """
    return stored_mask(path).samples


def read_mask(path: Path | str, classes: Classes) -> Int16[np.ndarray, "h w"]:
    """The class of each pixel, or `IGNORE`.

    Raises:
        DataError: If a raw value or colour is not among the declared ones (F22, F24, F25), or the
            file cannot be read as a mask, as `raw_mask`.
    """
    stored = stored_mask(path)
    target = labels_of(stored, classes, path)
    if target.min(initial=0) == UNDECLARED:
        if classes.by_color:
            _refuse_colors(in_color(stored), target, classes, path)
        _refuse_values(stored.samples, target, classes, path)
    return target


def labels_of(stored: "Stored", classes: Classes, path: Path | str) -> Int16[np.ndarray, "h w"]:
    """The class of each pixel, `IGNORE`, or `UNDECLARED` where the classes do not say.

    Raises:
        DataError: The mask holds colours where values are declared, or negative values (F25).
    """
    if classes.by_color:
        return _classes_of_colors(in_color(stored), classes)
    raw = stored.samples
    if raw.ndim == 3:
        raise DataError(
            f"{shown(path)} is a colour picture, but its data set's masks hold class indices. "
            "Declare which class has which colour: names=...,colors=..., or save it as indices."
        )
    table = _half_table(classes.values) if classes.threshold else _table(classes.values)
    if raw.dtype == np.uint8:
        # Indexing takes eight times as long, as much as decoding.
        return np.asarray(cv2.LUT(raw, table[:256]))
    _refuse_negative(raw, path)
    return np.asarray(table.take(raw, mode="clip"))


def in_color(stored: "Stored") -> UInt8[np.ndarray, "h w 3"]:
    """A mask as viewers show it: the palette's colours, or grey."""
    if stored.palette is not None:
        return np.asarray(stored.palette[stored.samples])
    if stored.samples.ndim == 2:
        return np.repeat(stored.samples[..., np.newaxis], 3, axis=2)
    return np.asarray(stored.samples)


def check_sizes(
    image: Path | str, image_size: tuple[int, int], mask: Path | str, mask_size: tuple[int, int]
) -> None:
    """Raise unless an image and its mask have one size (F27), both (height, width) and upright."""
    if image_size == mask_size:
        return
    text = (
        f"{shown(image)} has {_times(image_size)} pixels but its mask {shown(mask)} has "
        f"{_times(mask_size)}. "
    )
    if image_size != mask_size[::-1]:
        raise DataError(text + "A mask must have the size of its image.")
    with opened(image) as file:
        orientation = read_header(file, image).orientation
    if orientation >= 5:
        raise DataError(
            text + f"The image's EXIF data turn it (orientation {orientation}), and the mask "
            "matches only its unrotated size. Rotate the mask, or remove the EXIF orientation."
        )
    raise DataError(
        text + "Height and width are swapped: one of them is transposed, or was turned by EXIF "
        "data that were removed later. Rotate one of them."
    )


def _times(size: tuple[int, int]) -> str:
    return f"{size[1]}x{size[0]}"


class Stored(NamedTuple):
    """A mask as its file holds it.

    Args:
        samples: Palette indices or samples, "h w" or "h w 3", upright.
        palette: The colours, where there is a palette.
        header: What the file declares.
    """

    samples: Samples
    palette: Palette | None
    header: Header


def is_lossy(path: Path | str) -> bool:
    """Whether a picture was stored with loss, which alters the numbers of a mask (F23)."""
    with opened(path) as file:
        start = file.read(16)
    return _lossy(start)


def stored_mask(path: Path | str, *, lossy: bool = False) -> Stored:
    """A mask with all that its file says.

    Args:
        path: The file.
        lossy: Read it also where it was stored with loss.

    Raises:
        DataError: As `raw_mask`.
    """
    data = read_bytes(path)
    header = read_header(io.BytesIO(data), path)
    verify(data, header, path)
    if not lossy:
        _refuse_lossy(data, header, path)
    if header.kind == "PNM" or header.inverted or (header.bits, header.channels) == (16, 2):
        # Pillow scales PNM, inverts white-is-zero TIFF and cuts 16-bit grey with alpha.
        raise DataError(
            f"{shown(path)} is of a kind whose raw values are not kept when read "
            f"({header.kind}, {header.bits} bits). Save it as PNG without transparency."
        )
    if header.more:
        tell(path, "Only the first page or frame is read", "of masks with several")
    with decoding(path):
        picture = open_by_pillow(data, header)
        raw, palette = _samples(picture, header, path)
    return Stored(upright(raw, header), palette, header)


def _samples(
    picture: Image.Image, header: Header, path: Path | str
) -> tuple[Samples, Palette | None]:
    raw: Samples
    match picture.mode:
        case "1":
            return np.asarray(picture).astype(np.uint8), None
        case "P":
            colors = np.array(picture.getpalette("RGB"), np.uint8).reshape(-1, 3)
            # Indices beyond a short palette are black, as viewers show them.
            palette = np.pad(colors, ((0, 256 - len(colors)), (0, 0)))
            return np.asarray(picture), palette
        case "L":
            raw = np.asarray(picture)
            # Pillow scales 2 and 4 bits to 0..255, as all libraries do: by 85 and by 17.
            scale = {2: 85, 4: 17}.get(header.bits, 1)
            return (raw if scale == 1 else raw // np.uint8(scale)), None
        case "I" | "I;16" | "I;16B" | "I;16L":
            raw = np.asarray(picture)
            return (raw if raw.dtype == np.int32 else raw.astype(np.uint16)), None
        case "F":
            raw = np.asarray(picture)
            what = "floating-point numbers" if (raw == np.round(raw)).all() else "fractions"
            raise DataError(
                f"{shown(path)} holds {what} ({raw.min():g} to {raw.max():g}); a mask holds "
                "whole numbers, one per class. Cut or round them, and save it as PNG."
            )
        case "RGB" | "RGBA" | "RGBX" | "LA":
            raw = np.asarray(picture)
        case mode:
            raise DataError(f"{shown(path)} has samples of mode {mode}. Save it as an index PNG.")
    if picture.mode in ("RGBA", "LA") and int(raw[..., -1].min()) < 255:
        tell(path, "Transparency is dropped", "from masks")
    if picture.mode == "LA":
        return raw[..., 0], None
    raw = raw[..., :3]
    return (raw[..., 0] if is_grey(raw) else raw), None


def _lossy(start: bytes) -> bool:
    return start.startswith(b"\xff\xd8\xff") or (start[:4], start[12:16]) == (b"RIFF", b"VP8 ")


def _refuse_lossy(data: bytes, header: Header, path: Path | str) -> None:
    if _lossy(data[:16]) and os.environ.get("PIXELWRIGHT_ALLOW_JPEG_MASKS") != "1":
        raise DataError(
            f"{shown(path)} is a mask stored as {header.kind} with loss, which alters class values "
            "near edges. Export it again as PNG; let 'pixelwright data check ... --repair OUT' "
            "write masks of the nearest classes; or set PIXELWRIGHT_ALLOW_JPEG_MASKS=1 to read it "
            "as it is."
        )


def _table(values: Mapping[int, int]) -> Int16[np.ndarray, "values"]:
    """Class of each raw value; the last row, beyond all declared values, has none."""
    table = np.full(max(max(values, default=0) + 2, 256), UNDECLARED, np.int16)
    for value, index in values.items():
        if value >= 0:
            table[value] = index
    return table


def _half_table(values: Mapping[int, int]) -> Int16[np.ndarray, "values"]:
    table = np.full(257, UNDECLARED, np.int16)
    table[:128] = values[0]
    table[128:256] = values[255]
    return table


def _refuse_negative(raw: Integer[np.ndarray, "h w"], path: Path | str) -> None:
    if raw.dtype.kind == "i" and (lowest := int(raw.min(initial=0))) < 0:
        text = negative(lowest, int(np.count_nonzero(raw == lowest)))
        raise DataError(f"{shown(path)}: {text}")


def _refuse_values(
    raw: Integer[np.ndarray, "h w"],
    target: Int16[np.ndarray, "h w"],
    classes: Classes,
    path: Path | str,
) -> None:
    found, pixels = np.unique(raw[target == UNDECLARED], return_counts=True)
    order = np.argsort(-pixels, kind="stable")[:3]
    listed = ", ".join(f"{found[i]} ({pixels[i]:,} px)" for i in order)
    more = f" and {len(found) - 3} more" if len(found) > 3 else ""
    declared = _ranges(sorted(classes.values))
    text = (
        f"{shown(path)} holds undeclared value{'s' if len(found) > 1 else ''} {listed}{more} of "
        f"{raw.size:,}; declared are {declared}."
    )
    present = set(np.unique(raw).tolist())
    if present <= {0, 255} and 255 not in classes.values:
        text += " Did you mean a 0/255 mask, where 255 is foreground? Then declare values=0 255."
    elif present <= {0, 1} and 1 not in classes.values:
        text += " Did you mean a 0/1 mask, where 1 is foreground? Then declare values=0 1."
    elif found.tolist() == [255]:
        text += " If 255 is to be ignored, declare ignore=255."
    else:
        text += " Declare a class for each value, or correct the mask."
    raise DataError(text)


def _ranges(values: list[int]) -> str:
    """`0-11, 255` for a sorted list of values."""
    parts: list[list[int]] = []
    for value in values:
        if parts and parts[-1][-1] == value - 1:
            parts[-1][1:] = [value]
        else:
            parts.append([value])
    return ", ".join("-".join(map(str, part)) for part in parts) or "none"


def packed(colors: Integer[np.ndarray, "*n c"]) -> Int32[np.ndarray, "*n"]:
    """Each colour, or grey, as one number; see `unpacked`."""
    numbers = np.zeros(colors.shape[:-1], np.int32)
    for channel in range(colors.shape[-1]):
        numbers = (numbers << 8) | colors[..., channel].astype(np.int32)
    return numbers


def unpacked(number: int) -> Color:
    """The colour of a number."""
    return number >> 16, number >> 8 & 255, number & 255


def _classes_of_colors(
    colors: Integer[np.ndarray, "h w 3"], classes: Classes
) -> Int16[np.ndarray, "h w"]:
    declared = (*classes.colors, *classes.ignored_colors)
    known = packed(np.array(declared, np.int32).reshape(-1, 3))
    order = np.argsort(known, kind="stable").astype(np.int16)
    pixels = packed(colors)
    at = np.searchsorted(known[order], pixels)
    nearest = order[np.minimum(at, len(order) - 1)]
    target = np.where(known[nearest] == pixels, nearest, np.int16(UNDECLARED))
    target[target >= len(classes)] = IGNORE
    return target


def _refuse_colors(
    raw: Samples, target: Int16[np.ndarray, "h w"], classes: Classes, path: Path | str
) -> NoReturn:
    unknown = target == UNDECLARED
    count = np.count_nonzero(unknown)
    found, pixels = np.unique(packed(raw[unknown]), return_counts=True)
    declared = np.array(classes.colors, np.int64)
    samples = []
    for i in np.argsort(-pixels, kind="stable")[:3]:
        rgb = unpacked(int(found[i]))
        near = int(((declared - rgb) ** 2).sum(axis=1).argmin())
        samples.append(f"{rgb} near {classes.names[near]} {classes.colors[near]}")
    raise DataError(
        f"{shown(path)} has {count:,} of {target.size:,} pixels in {len(found):,} colours that no "
        f"class has: {'; '.join(samples)}. Declare those colours, or save the mask without "
        "smoothing and without loss."
    )
