"""Zip archives as folders: `photos.zip/train/a.png` is a path like any other, read where it lies.

The list of members is read once for each archive and kept, until the archive changes. A member is
read through a file handle of its own, so that threads need no lock.
"""

import functools
import struct
import threading
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from pixelwright.errors import DataError, shown

_DAMAGED = "Download or pack it again."
_LOCK = threading.Lock()


class Member(NamedTuple):
    """Where a file lies in its archive."""

    offset: int
    packed: int
    size: int
    crc: int
    method: int
    locked: bool


class Contents(NamedTuple):
    """What an archive holds: files by name, and the names in each folder, "" being the top."""

    files: Mapping[str, Member]
    folders: Mapping[str, tuple[str, ...]]


def inside(path: Path | str) -> tuple[Path, str] | None:
    """The zip archive that a path leads into and the name there, "" for the archive itself.

    None where the path leads into no archive, as nearly all do.
    """
    path = Path(path)
    for above in (path, *path.parents):
        if above.suffix.lower() == ".zip" and above.is_file():
            name = path.relative_to(above).as_posix()
            return above, "" if name == "." else name
    return None


def contents(archive: Path) -> Contents:
    """What an archive holds.

    Raises:
        DataError: It is damaged, or no zip archive.
        OSError: It cannot be read.
    """
    state = archive.stat()
    with _LOCK:
        return _contents(archive, state.st_mtime_ns, state.st_size)


@functools.lru_cache(maxsize=8)
def _contents(archive: Path, changed: int, size: int) -> Contents:
    # The last two are there to tell an archive that has changed from the one that was read.
    files: dict[str, Member] = {}
    folders: dict[str, set[str]] = {"": set()}
    try:
        with zipfile.ZipFile(archive) as opened:
            held = opened.infolist()
    except (zipfile.BadZipFile, NotImplementedError, struct.error, ValueError) as error:
        raise DataError(
            f"{shown(archive)} is damaged or no zip archive ({shown(error)}). {_DAMAGED}"
        ) from error
    for info in held:
        windows = info.create_system == 0
        path = PurePosixPath(info.filename.replace("\\", "/") if windows else info.filename)
        if path.is_absolute() or ".." in path.parts or not path.parts:
            continue  # such a name leads out of the archive, so no path leads to it
        name = path.as_posix()
        if not info.is_dir():
            files[name] = Member(
                info.header_offset,
                info.compress_size,
                info.file_size,
                info.CRC,
                info.compress_type,
                bool(info.flag_bits & 1),
            )
        else:
            folders.setdefault(name, set())
        for above in path.parents:
            folder = "" if above.as_posix() == "." else above.as_posix()
            folders.setdefault(folder, set()).add(path.relative_to(above).parts[0])
    return Contents(files, {name: tuple(sorted(children)) for name, children in folders.items()})


def read(archive: Path, name: str) -> bytes:
    """A member, whole.

    Raises:
        DataError: There is no such member, it is damaged, or packed in a way that is not read.
        OSError: The archive cannot be read.
    """
    held, where = contents(archive), f"{shown(archive)}/{shown(name)}"
    if name in held.folders:
        raise DataError(f"{where} is a folder of a zip archive; an image file was expected.")
    member = held.files.get(name)
    if member is None:
        raise DataError(f"{where} does not exist: the zip archive holds no such file.")
    if member.locked or member.method not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        why = "with a password" if member.locked else f"by method {member.method}"
        raise DataError(
            f"{where} is packed {why}, which is not read from within an archive. Extract the "
            "archive and give the folder."
        )
    with archive.open("rb") as file:
        file.seek(member.offset)
        header = file.read(30)
        if len(header) == 30 and header.startswith(b"PK\x03\x04"):
            file.seek(sum(struct.unpack_from("<HH", header, 26)), 1)
            data = _unpacked(file.read(member.packed), member)
            if len(data) == member.size and zlib.crc32(data) == member.crc:
                return data
    raise DataError(f"{where} is damaged within the zip archive (wrong checksum). {_DAMAGED}")


def _unpacked(data: bytes, member: Member) -> bytes:
    if member.method == zipfile.ZIP_STORED:
        return data
    try:
        # One byte more than declared is enough to see that the declaration is wrong.
        return zlib.decompressobj(-zlib.MAX_WBITS).decompress(data, member.size + 1)
    except zlib.error:
        return b""
