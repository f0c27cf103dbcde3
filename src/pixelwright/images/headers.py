"""What a picture's first bytes declare: kind, size, depth, orientation. Nothing is decoded."""

import io
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from PIL import BmpImagePlugin, GifImagePlugin, ImageFile, PpmImagePlugin, WebPImagePlugin

from pixelwright.errors import DataError, shown
from pixelwright.images.files import Source, opened, refuse_bomb

Kind = Literal["PNG", "JPEG", "WebP", "TIFF", "GIF", "BMP", "PNM"]

IMAGE_SUFFIXES = frozenset(
    (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".gif", ".bmp", ".pgm", ".ppm", ".pnm")
)
"""Lower-case suffixes of files taken for pictures; the content decides how they are read."""


@dataclass(frozen=True, slots=True)
class Header:
    """A picture as its file declares it.

    Args:
        height: Rows as stored, before `orientation` is applied.
        width: Columns as stored.
        bits: Bits of a sample.
        channels: Samples of a pixel, alpha included.
        palette: Samples are indices of a palette.
        alpha: There may be transparent pixels.
        orientation: EXIF's number, 1 to 8; 1 is upright.
        more: There are further pages or frames.
        body: Offset of the first compressed byte of a JPEG, else 0.
        inverted: A TIFF whose 0 is white.
    """

    kind: Kind
    height: int
    width: int
    bits: int = 8
    channels: int = 3
    palette: bool = False
    alpha: bool = False
    orientation: int = 1
    more: bool = False
    body: int = 0
    inverted: bool = False

    @property
    def upright(self) -> tuple[int, int]:
        """Height and width once the orientation is applied."""
        turned = self.orientation >= 5
        return (self.width, self.height) if turned else (self.height, self.width)


def size(path: Path | str) -> tuple[int, int]:
    """Height and width of a picture or mask from its header, with EXIF's rotation applied.

    Raises:
        DataError: If the file is no picture, cannot be read, or declares too many pixels.
    """
    with opened(path) as file:
        return read_header(file, path).upright


def read_header(file: Source, path: Path | str, *, any_size: bool = False) -> Header:
    """What `file` declares. `path` only names it in errors.

    Args:
        file: At its start.
        path: Of the file.
        any_size: For pictures that are not going to be decoded whole: no limit on their pixels.

    Raises:
        DataError: If the file is no picture (F01, F02) or declares too many pixels (F15).
    """
    start = file.read(16)
    if not start:
        raise DataError(f"{shown(path)} is an empty file. Replace or remove it.")
    read = next((read for magic, read in READERS if start.startswith(magic)), None)
    if read is None or (start[:4] == b"RIFF" and start[8:12] != b"WEBP"):
        raise DataError(
            f"{shown(path)} is not an image that Pixelwright reads (starts with {start!r}). "
            "It reads PNG, JPEG, WebP, TIFF, GIF, BMP and PNM."
        )
    file.seek(0)
    try:
        header = read(file)
    # Third-party parsers meet damage with errors of many types; each means the same to the user.
    except Exception as error:
        why = f"it starts with {start!r} but its header cannot be read ({error})"
        raise damaged(path, why) from error
    if not any_size or min(header.height, header.width) < 1:
        refuse_bomb(path, header.height, header.width)
    return header


def damaged(path: Path | str, why: str) -> DataError:
    text = " ".join(shown(why).split())
    return DataError(f"{shown(path)} is damaged: {text}. Replace it or remove it.")


def _png(file: Source) -> Header:
    """Chunk by chunk: Pillow finds EXIF behind the pixels only by decoding them."""
    file.seek(8)
    length, kind = struct.unpack(">I4s", file.read(8))
    width, height, bits, color = struct.unpack(">IIBB", file.read(10))
    if kind != b"IHDR":
        raise ValueError("the first chunk is not IHDR")
    file.seek(length - 10 + 4, io.SEEK_CUR)
    orientation, alpha, more = 1, color in (4, 6), False
    while len(head := file.read(8)) == 8:
        length, kind = struct.unpack(">I4s", head)
        if kind == b"IEND":
            break
        if kind == b"eXIf":
            orientation = exif_orientation(file.read(length))
            length = 0
        alpha |= kind == b"tRNS"
        more |= kind == b"acTL"
        file.seek(length + 4, io.SEEK_CUR)
    channels = {0: 1, 2: 3, 3: 3, 4: 2, 6: 4}[color]
    return Header("PNG", height, width, bits, channels, color == 3, alpha, orientation, more)


def _jpeg(file: Source) -> Header:
    """Marker by marker: Pillow warns of harmless damage in EXIF and hides where pixels start."""
    file.seek(2)
    frame, orientation = None, 1
    while True:
        marker = file.read(2)
        while marker[1:] == b"\xff":  # padding between segments
            marker = marker[1:] + file.read(1)
        if len(marker) < 2 or marker[0] != 0xFF:
            raise ValueError("a marker is missing")
        if marker[1] in (0x01, *range(0xD0, 0xD8)):  # markers without a segment
            continue
        (length,) = struct.unpack(">H", file.read(2))
        segment = file.read(length - 2)
        if marker == b"\xff\xe1" and segment.startswith(b"Exif\0\0"):
            orientation = exif_orientation(segment[6:])
        elif 0xC0 <= marker[1] <= 0xCF and marker[1] not in (0xC4, 0xC8, 0xCC):
            frame = struct.unpack(">BHHB", segment[:6])
        elif marker == b"\xff\xda":
            break
    if frame is None:
        raise ValueError("no frame is declared")
    bits, height, width, channels = frame
    return Header("JPEG", height, width, bits, channels, orientation=orientation, body=file.tell())


def _tiff(file: Source) -> Header:
    tags = tiff_tags(file)
    return Header(
        "TIFF",
        height=tags[257],
        width=tags[256],
        bits=tags.get(258, 1),
        channels=tags.get(277, 1),
        palette=tags.get(262) == 3,
        orientation=_known(tags.get(274, 1)),
        more=tags[NEXT_PAGE] != 0,
        inverted=tags.get(262) == 0,
    )


NEXT_PAGE = -1


def tiff_tags(file: Source) -> dict[int, int]:
    """First value of each tag that holds whole numbers, of the first page; also `NEXT_PAGE`."""
    origin = file.tell()
    start = file.read(16)
    order = {b"II": "<", b"MM": ">"}[start[:2]]
    big = struct.unpack_from(order + "H", start, 2)[0] == 43
    # Classic TIFF counts in 32 bits, BigTIFF in 64: https://www.awaresystems.be/imaging/tiff/bigtiff.html
    word, count_code = ("Q", "Q") if big else ("I", "H")
    inline = struct.calcsize(word)
    entry = 4 + 2 * inline
    (first,) = struct.unpack_from(order + word, start, 8 if big else 4)
    file.seek(origin + first)
    (count,) = struct.unpack(order + count_code, file.read(struct.calcsize(count_code)))
    directory = file.read(count * entry + inline)
    tags = {}
    for at in range(0, count * entry, entry):
        tag, kind, values = struct.unpack_from(order + "HH" + word, directory, at)
        code = {1: "B", 3: "H", 4: "I", 16: "Q"}.get(kind)
        if not code or not values:
            continue
        value = directory[at + 4 + inline : at + entry]
        if values * struct.calcsize(code) > inline:
            file.seek(origin + struct.unpack(order + word, value)[0])
            value = file.read(inline)
        (tags[tag],) = struct.unpack_from(order + code, value)
    # EXIF written by some cameras ends before the offset of the next directory.
    rest = directory[count * entry :]
    tags[NEXT_PAGE] = struct.unpack(order + word, rest)[0] if len(rest) == inline else 0
    return tags


def exif_orientation(exif: bytes) -> int:
    """EXIF's orientation, or 1 where it is absent or unreadable, as every viewer does."""
    try:
        return _known(tiff_tags(io.BytesIO(exif.removeprefix(b"Exif\0\0"))).get(274, 1))
    except (struct.error, KeyError, ValueError, OverflowError):
        return 1


def _known(orientation: int) -> int:
    return orientation if 1 <= orientation <= 8 else 1


def _by(plugin: type[ImageFile.ImageFile], kind: Kind) -> Callable[[Source], Header]:
    """A reader that asks Pillow's plugin itself, since `Image.open` has a limit of its own."""

    def read(file: Source) -> Header:
        picture = plugin(file)
        return Header(
            kind,
            height=picture.height,
            width=picture.width,
            bits={"1": 1, "I": 16, "I;16": 16, "F": 32}.get(picture.mode, 8),
            channels=1 if picture.mode in ("1", "L", "I", "I;16", "F") else len(picture.getbands()),
            palette=picture.mode == "P",
            alpha=picture.has_transparency_data,
            orientation=exif_orientation(picture.info.get("exif", b"")),
            more=getattr(picture, "is_animated", False),
        )

    return read


READERS: tuple[tuple[bytes, Callable[[Source], Header]], ...] = (
    (b"\x89PNG\r\n\x1a\n", _png),
    (b"\xff\xd8\xff", _jpeg),
    (b"RIFF", _by(WebPImagePlugin.WebPImageFile, "WebP")),
    *((magic, _tiff) for magic in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")),
    (b"GIF87a", _by(GifImagePlugin.GifImageFile, "GIF")),
    (b"GIF89a", _by(GifImagePlugin.GifImageFile, "GIF")),
    (b"BM", _by(BmpImagePlugin.BmpImageFile, "BMP")),
    *((b"P%d" % number, _by(PpmImagePlugin.PpmImageFile, "PNM")) for number in range(1, 7)),
)


def verify(data: bytes, header: Header, path: Path | str) -> None:
    """Raise where the compressed bytes are cut short or altered, before a decoder meets them.

    Costs microseconds. OpenCV before 5 fills what a cut JPEG lacks with grey, and Pillow accepts
    PNG data without its last bytes.
    """
    if header.kind == "JPEG" and data.rfind(b"\xff\xd9", header.body) < 0:
        raise damaged(path, "the JPEG is cut short (its end marker is missing)")
    if header.kind == "PNG":
        _verify_png(data, path)


def _verify_png(data: bytes, path: Path | str) -> None:
    at, view = 8, memoryview(data)
    while at + 12 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        end = at + 8 + length
        if end + 4 > len(data):
            break
        if zlib.crc32(view[at + 4 : end]) != int.from_bytes(view[end : end + 4], "big"):
            raise damaged(path, f"the checksum of its {kind.decode('latin-1')} chunk is wrong")
        if kind == b"IEND":
            return
        at = end + 4
    raise damaged(path, "the PNG is cut short (its end is missing)")
