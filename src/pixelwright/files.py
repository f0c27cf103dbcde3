"""Files written whole or not at all."""

import os
import secrets
import shutil
from pathlib import Path

from pixelwright.errors import MachineError, shown


def write_bytes(path: Path | str, data: bytes) -> None:
    """Replace a file at once: readers find the old content or the new, never a part of either.

    Written under a temporary name beside it, flushed to the disk, then renamed, so that even a
    machine that dies leaves one or the other.

    Raises:
        MachineError: The disk is full, or the folder is missing or cannot be written.
    """
    path = Path(path)
    # A name of its own length: that of `path` may already have the 255 bytes that are allowed.
    temporary = path.parent / f".pixelwright-{secrets.token_hex(8)}.tmp"
    try:
        try:
            with temporary.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        if not path.parent.is_dir():
            text = f"{shown(path)} cannot be written: there is no folder {shown(path.parent)}."
            raise MachineError(f"{text} Make it, or give another.") from error
        free = shutil.disk_usage(path.parent).free
        raise MachineError(
            f"{shown(path)} cannot be written: {error.strerror or error} ({len(data):,} bytes "
            f"needed, {free:,} free). Nothing was left under that name that was not there before; "
            f"free space or choose another folder."
        ) from error


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
