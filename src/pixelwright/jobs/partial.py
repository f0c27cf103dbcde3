"""The folder of a prediction that is not finished: its planes, and which parts of it are done."""

import json
import os
import shutil
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from pixelwright.errors import MachineError, PredictError, first_few, shown
from pixelwright.files import append_line, write_text
from pixelwright.types import Event, OnEvent

FLUSH_SECONDS = 2.0
"""Work that a machine that dies may cost; each wait for the disk costs some of it too."""

_IDENTITY, _JOURNAL, _LOCK = "identity.json", "parts.jsonl", "lock"
_LONGEST_NAME = 255  # bytes, of nearly all file systems


class Partial:
    """A locked folder with files of given sizes and a journal of the parts that they hold.

    Args:
        folder: Made if need be; what lies there is taken up or thrown away.
        files: Sizes in bytes, by name. Space for them is taken from the disk at once.
        identity: Everything that the result depends on. Parts are only taken up where it is equal.
        resume: Whether to take up what is there.
        on_event: Told why a prediction begins anew, or how much of it is there.

    Raises:
        PredictError: Another process writes there.
        MachineError: There is not enough space, or the folder cannot be written.
    """

    def __init__(
        self,
        folder: Path,
        files: Mapping[str, int],
        identity: Mapping[str, Any],
        *,
        resume: bool,
        on_event: OnEvent,
    ) -> None:
        self.folder = folder
        self._waiting: list[int] = []
        self._taken = time.monotonic()
        self._lock = _locked(folder)
        try:
            told = {**json.loads(json.dumps(identity, default=str)), "files": dict(files)}
            why = _why_not(folder, files, told) if resume else ""
            self.done = _recorded(folder / _JOURNAL) if why is None else set()
        except BaseException:
            self._lock.release()
            raise
        if why is None:
            count = f"{len(self.done):,} part{'s'[: len(self.done) != 1]}"
            text = f"Going on with {shown(folder)}, where {count} lie done."
            on_event(Event("note", {"text": text}))
            return
        if why:
            on_event(Event("note", {"text": f"{shown(folder)} is begun anew: {why}."}))
        try:
            _empty(folder)
            for name, size in files.items():
                _allocate(folder / name, size)
            # Last: without it, what lies in the folder is not taken up.
            write_text(folder / _IDENTITY, json.dumps(told, indent=1, sort_keys=True))
        except BaseException:
            self.remove()
            raise

    def record(self, part: int) -> bool:
        """Note that a part is done; whether it is time to write that down."""
        self._waiting.append(part)
        return time.monotonic() - self._taken >= FLUSH_SECONDS

    def take(self) -> list[int]:
        """The parts that were noted and not taken yet."""
        taken, self._waiting, self._taken = self._waiting, [], time.monotonic()
        return taken

    def write_down(self, parts: Sequence[int]) -> None:
        """Have it on the disk that parts are done, as their pixels must be already."""
        if parts:
            lines = "\n".join(json.dumps({"part": part}) for part in parts)
            append_line(self.folder / _JOURNAL, lines)
            self.done |= set(parts)

    def remove(self) -> None:
        """Throw the folder away."""
        _remove(self.folder, self._lock)

    def close(self) -> None:
        """Leave the folder to whoever goes on with it."""
        self._lock.release()


def folder_for(out: Path, stem: str) -> Path:
    """Where a prediction that is not finished lies: `.<stem>.partial` in the folder of results."""
    name = f".{stem}.partial"
    if len(os.fsencode(name)) > _LONGEST_NAME:
        name = f".{blake2b(os.fsencode(stem), digest_size=16).hexdigest()}.partial"
    return out / name


def identity_of(out: Path, stem: str) -> Mapping[str, Any] | None:
    """Of a prediction that is not finished; None if there is none that can be taken up."""
    try:
        found = json.loads((folder_for(out, stem) / _IDENTITY).read_text("utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def discard_left(out: Path, stem: str) -> None:
    """Throw away what is left of a prediction, unless another process writes it now."""
    folder = folder_for(out, stem)
    if not folder.is_dir():
        return
    with suppress(PredictError):
        lock = _locked(folder)
        _remove(folder, lock)


def _remove(folder: Path, lock: FileLock) -> None:
    _empty(folder)
    with suppress(OSError):
        (folder / _LOCK).unlink(missing_ok=True)
        folder.rmdir()
    lock.release()


def _locked(folder: Path) -> FileLock:
    lock = FileLock(folder / _LOCK)
    while True:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            lock.acquire(timeout=0)
        except Timeout:
            raise PredictError(
                f"Another process writes to {shown(folder)} now. Wait for it, or take another "
                "--out."
            ) from None
        except FileNotFoundError:
            continue  # its last holder has removed the folder this moment
        except OSError as error:
            raise MachineError(
                f"{shown(folder)} cannot be written: {error.strerror or error}."
            ) from error
        if (folder / _LOCK).exists():
            return lock
        lock.release()


def _why_not(folder: Path, files: Mapping[str, int], told: Mapping[str, Any]) -> str | None:
    """Why parts that lie in a folder cannot be taken up, "" if there are none; None if they can."""
    if not (folder / _IDENTITY).exists():
        return ""
    try:
        before = json.loads((folder / _IDENTITY).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        return f"what is known of it cannot be read ({error})"
    if not isinstance(before, dict):
        return "what is known of it cannot be read"
    keys = [key for key in {**told, **before} if before.get(key) != told.get(key)]
    if keys:
        return f"what lies there was made with another {first_few(keys)}"
    for name, size in files.items():
        path = folder / name
        if not path.is_file() or path.stat().st_size != size:
            return f"{name} is not as it was"
    return None


def _recorded(journal: Path) -> set[int]:
    """The parts that a journal names. A last line that was cut is taken off."""
    try:
        lines = journal.read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return set()
    parts = []
    for line in lines:
        try:
            parts.append(int(json.loads(line)["part"]))
        except (ValueError, KeyError, TypeError):
            break
    write_text(journal, "".join(json.dumps({"part": part}) + "\n" for part in parts))
    return set(parts)


def _empty(folder: Path) -> None:
    """Remove all but the lock, what tells of the rest first."""
    (folder / _IDENTITY).unlink(missing_ok=True)
    for path in _held(folder):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def _held(folder: Path) -> Iterable[Path]:
    return [path for path in folder.iterdir() if path.name != _LOCK]


def _allocate(path: Path, size: int) -> None:
    """A file of zeros. Its space is taken now, rather than found missing after hours of work."""
    try:
        with path.open("xb") as file:
            free = shutil.disk_usage(path.parent).free
            if free < size:
                raise MachineError(
                    f"{shown(path.parent)} needs {size:,} bytes for {path.name}, but {free:,} are "
                    "free there. Free space, or choose another --out."
                )
            file.truncate(size)
            if hasattr(os, "posix_fallocate"):
                # Some file systems cannot promise space; they are taken as they are.
                with suppress(OSError):
                    os.posix_fallocate(file.fileno(), 0, size)
    except OSError as error:
        raise MachineError(
            f"{shown(path)} cannot be written: {error.strerror or error}. Free space, or choose "
            "another --out."
        ) from error
