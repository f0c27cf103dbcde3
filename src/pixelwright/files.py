"""Files written whole or not at all, and the folders for them."""

import errno
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from pixelwright.errors import MachineError, shown

_FULL = {errno.ENOSPC, errno.EDQUOT}


def write_bytes(path: Path | str, data: bytes) -> None:
    """Replace a file at once: readers find the old content or the new, never a part of either.

    Written under a temporary name beside it, flushed to the disk, then renamed, so that even a
    machine that dies leaves one or the other.

    Raises:
        MachineError: The disk is full, or the folder is missing or cannot be written.
    """
    with replacing(path, needed=len(data)) as file:
        file.write(data)


def check_folder(folder: Path) -> None:
    """See that a folder is there or can be made, and make nothing yet.

    Raises:
        MachineError: A file is in the way.
    """
    there = next((path for path in (folder, *folder.parents) if path.exists()), folder)
    if there.exists() and not there.is_dir():
        raise _unmade(folder, f"{shown(there)} is a file")


def make_folder(folder: Path) -> None:
    """Make a folder, and those above it, where they are not there yet.

    Raises:
        MachineError: It cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unmade(folder, error.strerror or str(error)) from None


def _unmade(folder: Path, why: str) -> MachineError:
    return MachineError(f"The folder {shown(folder)} cannot be made: {why}. Give another.")


@contextmanager
def replacing(
    path: Path | str, *, scratch: Path | None = None, needed: int | None = None
) -> Iterator[BinaryIO]:
    """A file to write to that takes the name `path` once it is whole, as `write_bytes` has it.

    Args:
        path: The final name.
        scratch: Where it lies until then, on the same disk; the folder of `path` if not given.
        needed: Bytes that are to come, for the message where they do not fit.

    Raises:
        MachineError: The disk is full, or the folder is missing or cannot be written.
    """
    with arriving(path, scratch=scratch, needed=needed) as temporary, temporary.open("xb") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())


@contextmanager
def arriving(
    path: Path | str, *, scratch: Path | None = None, needed: int | None = None
) -> Iterator[Path]:
    """A free name for a file that someone else writes, renamed to `path` where all went well.

    Who writes it also flushes it to the disk. Arguments and errors as `replacing`.
    """
    path = Path(path)
    # A name of its own length: that of `path` may already have the 255 bytes that are allowed.
    temporary = (scratch or path.parent) / f".pixelwright-{secrets.token_hex(8)}.tmp"
    try:
        try:
            yield temporary
            temporary.replace(path)
        finally:
            reached = temporary.stat().st_size if temporary.exists() else 0
            temporary.unlink(missing_ok=True)
    except OSError as error:
        room = f"{needed:,} bytes needed, " if needed is not None else ""
        if needed is None and error.errno in _FULL and reached:
            room = f"more than {reached:,} bytes needed, "
        raise _unwritten(path, error, room) from error


def _unwritten(path: Path, error: OSError, needed: str) -> MachineError:
    if not path.parent.is_dir():
        text = f"{shown(path)} cannot be written: there is no folder {shown(path.parent)}."
        return MachineError(f"{text} Make it, or give another.")
    free = shutil.disk_usage(path.parent).free
    return MachineError(
        f"{shown(path)} cannot be written: {error.strerror or error} ({needed}{free:,} free). "
        f"Nothing was left under that name that was not there before; free space or choose "
        f"another folder."
    )


def adopt(source: Path, path: Path | str) -> None:
    """Give a whole file on the same disk a further name, at once; a copy where links are unknown.

    Raises:
        MachineError: The disk is full, or the folder is missing or cannot be written.
    """
    with arriving(path) as temporary:
        try:
            temporary.hardlink_to(source)
        except OSError:
            shutil.copyfile(source, temporary)
        sync(temporary)


def sync(path: Path) -> None:
    """Wait until the disk holds what was written to a file."""
    with path.open("r+b") as file:
        os.fsync(file.fileno())


def write_text(path: Path | str, text: str) -> None:
    """Like `write_bytes`, in UTF-8; bytes of file names that are not UTF-8 stay as they were."""
    write_bytes(path, text.encode("utf-8", "surrogateescape"))


def plain_name(text: str) -> str:
    """Text as a part of a file's name: other than letters, digits and `-_.` becomes `_`."""
    return "".join(c if c.isalnum() or c in "-_." else "_" for c in text)[-100:]


def append_line(path: Path | str, line: str) -> None:
    """Add a line to the end of a file, on the disk when this returns.

    It is written at once, so that lines of processes that append at the same time do not mix.

    Raises:
        MachineError: The disk is full, or the folder is missing or cannot be written.
    """
    data = line.encode("utf-8", "surrogateescape") + b"\n"
    try:
        with Path(path).open("ab", buffering=0) as file:
            file.write(data)
            os.fsync(file.fileno())
    except OSError as error:
        raise MachineError(
            f"{shown(path)} cannot be written: {error.strerror or error}."
        ) from error
