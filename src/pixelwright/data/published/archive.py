"""Unpack zip and tar files from elsewhere: examined whole before the first byte is written.

    extract(Path("set.zip"), Path("data/set"))         # data/set is complete, or is not there

Names that would leave the folder, links, devices and bombs are refused (F53, F54); a cut or damaged
archive leaves nothing (F51). Permissions and owners of members are never applied.
"""

import bz2
import gzip
import io
import lzma
import re
import secrets
import shutil
import stat
import struct
import tarfile
import unicodedata
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import IO, Any, NoReturn

from pixelwright.errors import DataError, MachineError, shown
from pixelwright.types import Event, OnEvent, silent

_CHUNK = 2**20
_DAMAGE = (
    *(tarfile.TarError, zipfile.BadZipFile, EOFError, zlib.error, lzma.LZMAError, struct.error),
    *(gzip.BadGzipFile, UnicodeDecodeError, ValueError, RuntimeError, NotImplementedError),
)
_PACKERS = ((b"\x1f\x8b", gzip.open), (b"BZh", bz2.open), (b"\xfd7zXZ\0", lzma.open))


@dataclass(frozen=True, slots=True)
class Limits:
    """What an archive may unpack to; the largest set known to us has 12 GB in 50,000 files.

    Args:
        total: Bytes of all members together.
        ratio: Unpacked bytes for each byte of the archive, beyond `free`.
        members: How many.
        free: Bytes that may be unpacked whatever the ratio.
    """

    total: int = 100 * 2**30
    ratio: float = 100
    members: int = 500_000
    free: int = 64 * 2**20


@dataclass(frozen=True, slots=True)
class Member:
    """A file or folder of an archive, its name with `/` between the parts."""

    name: str
    size: int
    folder: bool = False


def examine(archive: Path, limits: Limits | None = None) -> list[Member]:
    """The members of an archive, all of which may be unpacked.

    A packed tar is read to its end, so that its checksum is known to be right.

    Raises:
        DataError: It is no archive, is cut short or damaged (F51), or holds a member that is no
            plain file or folder or would be written elsewhere (F53), or too much (F54).
    """
    with _reading(archive), _opened(archive, limits or Limits()) as members:
        found = [member for member, _ in members]
    _refuse_clashes(archive, found)
    return found


def extract(
    archive: Path,
    into: Path,
    *,
    inside: str = "",
    limits: Limits | None = None,
    on_event: OnEvent = silent,
) -> int:
    """Unpack an archive into a new folder, which appears under its name when it is complete.

    Args:
        archive: A zip, or a tar packed or not; the content decides which.
        into: Must not be there.
        inside: Unpack only what lies in this folder of the archive, without its name; parts may
            be patterns, such as `set-*/images`.
        limits: What it may unpack to.
        on_event: Gets the progress, in bytes.

    Returns:
        How many files were unpacked.

    Raises:
        DataError: As `examine`; or `into` is there, or nothing lies `inside`.
        MachineError: The disk is full or cannot be written.
    """
    if into.exists():
        raise DataError(f"{shown(into)} is there already. Remove it, or choose another folder.")
    limits = limits or Limits()
    members = examine(archive, limits)
    wanted = [member for member in members if _within(member.name, inside) and not member.folder]
    if not wanted:
        raise DataError(
            f"{shown(archive)} holds no file in '{inside or '.'}'. Is it the right one?"
        )
    total = sum(member.size for member in wanted)
    _refuse_small_disk(archive, into.parent, total)
    temporary = into.parent / f".pixelwright-{secrets.token_hex(8)}.tmp"
    try:
        temporary.mkdir(parents=True)
        with _reading(archive), _opened(archive, limits) as found:
            _write(archive, found, temporary, inside, total, on_event)
        temporary.rename(into)
    except OSError as error:
        raise MachineError(
            f"{shown(archive)} cannot be unpacked into {shown(into)}: {error.strerror or error} "
            f"({total:,} bytes needed). Nothing was left there."
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return len(wanted)


Found = Iterator[tuple[Member, IO[bytes] | None]]


def _write(
    archive: Path, found: Found, folder: Path, inside: str, total: int, on_event: OnEvent
) -> None:
    done = 0
    for member, content in found:
        name = _within(member.name, inside)
        if not name or content is None:
            continue
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        written = 0
        with path.open("xb") as file:
            # What is declared is also all that is written, whatever the packed data say.
            while block := content.read(_CHUNK):
                written += len(block)
                if written > member.size:
                    _damaged(archive, f"{member.name} holds more than the {member.size:,} bytes")
                file.write(block)
        if written != member.size:
            _damaged(archive, f"{member.name} ends after {written:,} of {member.size:,} bytes")
        done += written
        on_event(
            Event("progress", {"what": "unpack", "done": done, "total": total, "unit": "bytes"})
        )


@contextmanager
def _reading(archive: Path) -> Iterator[None]:
    try:
        yield
    except _DAMAGE as error:
        _damaged(archive, str(error) or type(error).__name__)
    except OSError as error:
        if error.errno is not None:
            raise
        _damaged(archive, str(error))  # so bz2 says that its data are wrong


def _damaged(archive: Path, why: str) -> NoReturn:
    text = " ".join(shown(why).split())
    raise DataError(
        f"{shown(archive)} is cut short or damaged ({text}). Nothing was unpacked. Remove it and "
        "fetch it again."
    )


def _refuse(archive: Path, name: str, why: str) -> NoReturn:
    raise DataError(
        f"{shown(archive)} is refused as a whole: its member '{shown(name)}' {why}. Nothing was "
        "unpacked. Get the archive from a source that you trust."
    )


@contextmanager
def _opened(archive: Path, limits: Limits) -> Iterator[Found]:
    """The members one by one, each checked before it is handed out, with its content."""
    size = archive.stat().st_size
    most = min(limits.total, max(limits.free, int(limits.ratio * size)))
    with archive.open("rb") as file:
        start = file.read(512)
        file.seek(0)
        if start[:2] == b"PK":
            with zipfile.ZipFile(file) as opened:
                yield _counted(archive, _zip_members(archive, opened), most, limits)
            return
        packer = next((packer for magic, packer in _PACKERS if start.startswith(magic)), None)
        if packer is None and start[257:262] != b"ustar" and not _old_tar(start):
            raise DataError(
                f"{shown(archive)} is neither a zip nor a tar file (starts with {start[:16]!r}). "
                "Remove it and fetch it again."
            )
        with packer(file) if packer else file as plain:
            bounded = _Bounded(archive, plain)
            with tarfile.open(fileobj=bounded, mode="r:") as opened_tar:
                yield _counted(archive, _tar_members(archive, opened_tar, bounded), most, limits)


def _old_tar(start: bytes) -> bool:
    """Whether a header without the word "ustar" has the checksum of a tar's."""
    try:
        tarfile.TarInfo.frombuf(start, "utf-8", "surrogateescape")
    except tarfile.HeaderError:
        return False
    return True


def _counted(archive: Path, members: Found, most: int, limits: Limits) -> Found:
    total = 0
    for number, (member, content) in enumerate(members, start=1):
        total += member.size
        if number > limits.members:
            _refuse(archive, member.name, f"is the one after {limits.members:,}, the most allowed")
        if total > most:
            _refuse(
                archive,
                member.name,
                f"brings what it unpacks to {total:,} bytes; {most:,} are allowed for its size",
            )
        yield member, content


def _zip_members(archive: Path, opened: zipfile.ZipFile) -> Found:
    for info in opened.infolist():
        # `orig_filename` is what stands in the file, before Python cuts it at a NUL.
        name = _checked_name(archive, info.orig_filename)
        mode = info.external_attr >> 16
        kind = stat.S_IFMT(mode)
        if kind and kind not in (stat.S_IFREG, stat.S_IFDIR):
            _refuse(archive, name, f"is {_KINDS.get(kind, 'a special file')}")
        _refuse_rights(archive, name, mode, folder=info.is_dir())
        if info.flag_bits & 1:
            _refuse(archive, name, "is encrypted")
        if info.is_dir():
            yield Member(name, 0, folder=True), None
            continue
        with opened.open(info) as content:
            yield Member(name, info.file_size), content


def _tar_members(archive: Path, opened: tarfile.TarFile, file: "_Bounded") -> Found:
    for info in opened:
        name = _checked_name(archive, info.name)
        if not info.isdir() and (
            info.type not in (tarfile.REGTYPE, tarfile.AREGTYPE) or info.sparse is not None
        ):
            _refuse(archive, name, f"is {_TAR_KINDS.get(info.type, 'a special file')}")
        _refuse_rights(archive, name, info.mode, folder=info.isdir())
        if info.isdir():
            yield Member(name, 0, folder=True), None
        else:
            yield Member(name, info.size), opened.extractfile(info)
    # Python takes a header it cannot read for the end of the archive.
    if len(file.header) < 512 or file.header.strip(b"\0"):
        _damaged(archive, "its end is missing")
    file.drain()


_KINDS = {
    stat.S_IFLNK: "a link",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
}
_TAR_KINDS = {
    tarfile.SYMTYPE: "a link",
    tarfile.LNKTYPE: "a hard link",
    tarfile.CHRTYPE: "a device",
    tarfile.BLKTYPE: "a device",
    tarfile.FIFOTYPE: "a pipe",
}


def _refuse_rights(archive: Path, name: str, mode: int, *, folder: bool) -> None:
    # On a folder, setgid only hands its group on; many archives of research groups have it.
    if mode & stat.S_ISUID or (mode & stat.S_ISGID and not folder):
        _refuse(archive, name, "would run with another user's rights (setuid)")


def _checked_name(archive: Path, name: str) -> str:
    """The name as `/` joins its parts, or a refusal where it could lie outside the folder."""
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if name.startswith("/"):
        _refuse(archive, name, "has an absolute path")
    if ".." in parts:
        _refuse(archive, name, "would leave the folder (..)")
    if "\\" in name or re.match(r"[A-Za-z]:", name):
        _refuse(archive, name, "has a path of Windows (a backslash or a drive letter)")
    if "\0" in name or any(len(part.encode("utf-8", "surrogateescape")) > 255 for part in parts):
        _refuse(archive, name, "has a name that no disk takes")
    return "/".join(parts)


def _refuse_clashes(archive: Path, members: Sequence[Member]) -> None:
    """Two files of one name, also where a disk does not tell upper case from lower."""
    seen: dict[str, Member] = {}
    for member in members:
        key = unicodedata.normalize("NFC", member.name).casefold()
        other = seen.setdefault(key, member)
        if other is not member and not (member.folder and other.folder):
            _refuse(archive, member.name, f"has the name of another one, '{shown(other.name)}'")
    for key, member in seen.items():
        parent = key.rpartition("/")[0]
        while parent:
            if parent in seen and not seen[parent].folder:
                _refuse(archive, member.name, "lies in what is also a file")
            parent = parent.rpartition("/")[0]


def _within(name: str, inside: str) -> str:
    """The name below the folder `inside`, or nothing where it does not lie there."""
    wanted = inside.split("/") if inside else []
    parts = name.split("/")
    if len(parts) <= len(wanted):
        return ""
    if not all(fnmatchcase(part, pattern) for part, pattern in zip(parts, wanted, strict=False)):
        return ""
    return "/".join(parts[len(wanted) :])


def _refuse_small_disk(archive: Path, folder: Path, needed: int) -> None:
    above = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    free = shutil.disk_usage(above).free
    if needed > free:
        raise MachineError(
            f"{shown(archive)} unpacks to {needed:,} bytes, but {shown(above)} has {free:,} free. "
            "Free space or choose another folder with --out."
        )


class _Bounded(io.RawIOBase):
    """A stream that hands out 1 MiB at most at once, and remembers the last header.

    A tar's long names and extended headers are read into memory before anyone sees a member.
    """

    def __init__(self, archive: Path, file: Any) -> None:
        self.header = b""
        self._archive = archive
        self._file = file

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= _CHUNK:
            _damaged(self._archive, f"a header of {size:,} bytes")
        data: bytes = self._file.read(size)
        if size == tarfile.BLOCKSIZE:
            self.header = data
        return data

    def drain(self) -> None:
        """Read to the end of what is packed, behind which its checksum stands."""
        for _ in range(64):
            if not self._file.read(_CHUNK):
                return
        _damaged(self._archive, "more than 64 MiB follow its end")

    def tell(self) -> int:
        position: int = self._file.tell()
        return position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        position: int = self._file.seek(offset, whence)
        return position
