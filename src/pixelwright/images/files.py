"""Bytes of a file, the limits on what they may decode to, and the errors of both."""

import errno
import hashlib
import io
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pixelwright.errors import DataError, MachineError, PixelwrightWarning, shown
from pixelwright.images import archives

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
        with _source(path) as file:
            yield file
    except OSError as error:
        raise refusal(path, error) from error


def _source(path: Path | str) -> Source:
    try:
        return Path(path).open("rb")
    except (NotADirectoryError, FileNotFoundError):  # the latter on Windows
        place = archives.inside(path)
        if place is None:
            raise
    return io.BytesIO(archives.read(*place))


def is_folder(path: Path | str) -> bool:
    """Whether a path is a folder, on disk or in a zip archive; the archive itself is one.

    Raises:
        DataError: The path leads into a zip archive that is damaged.
    """
    place = None if Path(path).is_dir() else archives.inside(path)
    return Path(path).is_dir() if place is None else place[1] in _held(place[0]).folders


def exists(path: Path | str) -> bool:
    """Whether there is a file or a folder, on disk or in a zip archive."""
    place = None if Path(path).exists() else archives.inside(path)
    if place is None:
        return Path(path).exists()
    held = _held(place[0])
    return place[1] in held.files or place[1] in held.folders


def children(folder: Path | str) -> list[Path]:
    """What a folder holds, on disk or in a zip archive, in the order of names.

    Raises:
        DataError: It is no folder, or may not be read.
    """
    folder = Path(folder)
    place = None if folder.is_dir() else archives.inside(folder)
    if place is not None and place[1] in (folders := _held(place[0]).folders):
        return [folder / name for name in folders[place[1]]]
    try:
        return sorted(folder.iterdir())
    except OSError as error:
        raise DataError(f"{shown(folder)} cannot be listed: {error.strerror or error}.") from error


def stored_bytes(path: Path | str) -> int:
    """How many bytes a file has, on disk or unpacked from its zip archive; -1 if there is none."""
    try:
        return Path(path).stat().st_size
    except OSError:
        place = archives.inside(path)
    try:
        return _held(place[0]).files[place[1]].size if place else -1
    except KeyError:
        return -1


def _held(archive: Path) -> archives.Contents:
    try:
        return archives.contents(archive)
    except OSError as error:
        raise refusal(archive, error) from error


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


def tell(path: Path | str, what: str, where: str) -> None:
    """Warn with a text that is equal for all files of a folder, so that it is shown once."""
    parent = Path(path).parent
    folder = "this folder" if parent == Path() else shown(parent)
    warnings.warn(f"{what} {where} in {folder}.", PixelwrightWarning, stacklevel=3)


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
