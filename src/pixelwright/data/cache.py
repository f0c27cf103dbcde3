"""What takes reading every mask of a data set is worked out once, and kept for the next run.

arrays = kept("counts", entries, classes, lambda: {"pixels": count_them()})

Lies in the user's cache folder, or where the environment variable PIXELWRIGHT_CACHE says (empty
turns it off). Nothing here can fail: what cannot be kept or read is worked out again.
"""

import hashlib
import io
import json
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from pixelwright.errors import MachineError
from pixelwright.files import write_bytes
from pixelwright.types import Classes, Entry

Arrays = Mapping[str, np.ndarray]

FORMAT = 1
"""To be raised whenever the same data would give other arrays."""

_SUFFIX = ".counted"
_DIGEST = 32
"""Bytes of SHA-256 at the head of a file, over the rest."""
_MOST_FILES = 256

_SETTLED = 2.0
"""Seconds. A file written just now may be written again within one tick of its time stamp."""


def folder() -> Path | None:
    """Where results are kept; None where there is no such place."""
    given = os.environ.get("PIXELWRIGHT_CACHE")
    if given is not None:
        return Path(given).absolute() if given else None
    try:
        home = Path.home()
    except RuntimeError:  # no HOME, and no such user
        return None
    if sys.platform == "darwin":
        above = home / "Library" / "Caches"
    elif sys.platform == "win32":
        above = Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local")
    else:
        above = Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache")
    return above / "pixelwright" if above.is_absolute() else None


def kept(
    kind: str,
    entries: Sequence[Entry],
    classes: Classes,
    compute: Callable[[], Arrays],
    **settings: object,
) -> Arrays:
    """What `compute` returns, from the cache where these masks were seen before.

    Args:
        kind: What is computed, in a word.
        entries: Whose masks it is computed from. Their paths, windows, sizes in bytes and times of
            change name the result.
        classes: How masks are read.
        compute: Returns arrays of numbers that follow from all this alone.
        settings: What else the result depends on.
    """
    where = folder()
    key = _key(kind, entries, classes, settings) if where else None
    if where is None or key is None:
        return compute()
    file = where / f"{kind}-{key}{_SUFFIX}"
    found = _read(file)
    if found is None:
        found = compute()
        _write(file, found)
    return found


def _key(
    kind: str, entries: Sequence[Entry], classes: Classes, settings: Mapping[str, object]
) -> str | None:
    """A name for the question; None where a mask is too young or cannot be looked at."""
    paths = dict.fromkeys(entry.target for entry in entries if isinstance(entry.target, Path))
    if not paths:
        return None
    stamps: dict[Path, tuple[str, int, int]] = {}
    for path in paths:
        stamp = _stamp(path)
        if stamp is None or stamp[2] > (time.time() - _SETTLED) * 1e9:
            return None
        stamps[path] = stamp
    digest = hashlib.sha256()
    # All that says how a mask is read: not the names, and the colours only of masks in colours.
    reading: dict[str, object] = {f.name: getattr(classes, f.name) for f in fields(classes)}
    reading |= {"names": len(classes), "values": sorted(classes.values.items())}
    reading |= {} if classes.by_color else {"colors": None}
    head = [FORMAT, kind, sorted(reading.items()), sorted(settings.items())]
    digest.update(json.dumps(head, default=str).encode())
    for entry in entries:
        target = entry.target
        what = stamps[target] if isinstance(target, Path) else target
        digest.update(json.dumps([what, entry.window]).encode())
    return digest.hexdigest()[:40]


def _stamp(path: Path) -> tuple[str, int, int] | None:
    """Path, bytes and time of change of a file, or of the archive that it lies in."""
    for file in (path, *path.parents):
        try:
            status = file.stat()
        except (OSError, ValueError):
            continue
        if file == path or file.is_file():
            return str(path.absolute()), status.st_size, status.st_mtime_ns
        return None
    return None


def _read(file: Path) -> Arrays | None:
    """The arrays; None where there are none, or damaged ones."""
    with suppress(OSError):
        content = file.read_bytes()
        # A zip's own checksums leave its table of contents out.
        if content[:_DIGEST] == hashlib.sha256(content[_DIGEST:]).digest():
            with np.load(io.BytesIO(content[_DIGEST:]), allow_pickle=False) as arrays:
                return {name: arrays[name] for name in arrays.files}
    return None


def _write(file: Path, arrays: Arrays) -> None:
    buffer = io.BytesIO()
    named: dict[str, Any] = dict(arrays)
    np.savez_compressed(buffer, **named)
    content = buffer.getvalue()
    with suppress(OSError, MachineError):
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_bytes(file, hashlib.sha256(content).digest() + content)
        by_age = sorted(file.parent.glob(f"*{_SUFFIX}"), key=lambda path: path.stat().st_mtime_ns)
        for old in by_age[:-_MOST_FILES]:
            old.unlink(missing_ok=True)
