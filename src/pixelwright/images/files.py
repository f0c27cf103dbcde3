"""Bytes of a file, the limits on what they may decode to, and the errors of both."""

import errno
import hashlib
import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pixelwright.errors import DataError, MachineError, shown

Source = io.BufferedReader | io.BytesIO
"""An open file, or its bytes in memory."""

MAX_PIXELS = 2**28
"""Largest picture that is decoded, unless PIXELWRIGHT_MAX_PIXELS says otherwise: 16384 x 16384."""

MACHINE_ERRNOS = {errno.EIO, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ESTALE}


def read_bytes(path: Path | str) -> bytes:
    """The whole file.

    Raises:
        DataError: If it is missing, empty, a folder, or may not be read (F01, F16).
    """
    with opened(path) as file:
        data = file.read()
    if not data:
        raise DataError(f"{shown(path)} is an empty file. Replace or remove it.")
    return data


@contextmanager
def opened(path: Path | str) -> Iterator[Source]:
    """The file, open for reading; an operating system's refusal becomes one of our errors."""
    try:
        with Path(path).open("rb") as file:
            yield file
    except OSError as error:
        raise refusal(path, error) from error


def refusal(path: Path | str, error: OSError) -> DataError | MachineError:
    name = shown(path)
    match error:
        case IsADirectoryError():
            return DataError(f"{name} is a folder; an image file was expected.")
        case PermissionError():
            return DataError(f"{name} may not be read: {error.strerror}. Check its permissions.")
        case FileNotFoundError() if Path(path).is_symlink():
            target = shown(Path(path).readlink())
            return DataError(f"{name} is a link to {target}, which does not exist.")
        case FileNotFoundError():
            return DataError(f"{name} does not exist.")
    kind = MachineError if error.errno in MACHINE_ERRNOS else DataError
    return kind(f"{name} cannot be read: {error.strerror or error}.")


def fingerprint(path: Path | str) -> str:
    """A hash of the file's content: equal for copies, whatever their names (F35)."""
    return hashlib.blake2b(read_bytes(path), digest_size=16).hexdigest()


def number_from_environment(variable: str, default: int) -> int:
    text = os.environ.get(variable, "").strip()
    if not text:
        return default
    if not text.isdecimal() or int(text) == 0:
        raise DataError(f"{variable} is {shown(text)!r}; a whole number above 0 was expected.")
    return int(text)


def refuse_bomb(path: Path | str, height: int, width: int) -> None:
    """Raise for a picture that declares no pixels, or more than the limit (F15)."""
    if height < 1 or width < 1:
        raise DataError(f"{shown(path)} declares {width}x{height} pixels, so it is not a picture.")
    if height * width <= MAX_PIXELS and "PIXELWRIGHT_MAX_PIXELS" not in os.environ:
        return
    limit = number_from_environment("PIXELWRIGHT_MAX_PIXELS", MAX_PIXELS)
    if height * width > limit:
        raise DataError(
            f"{shown(path)} declares {width}x{height} pixels, more than the limit of {limit:,}. "
            f"If that is its true size, set PIXELWRIGHT_MAX_PIXELS={height * width}."
        )
