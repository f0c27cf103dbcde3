"""Fetch one published file: resumed where it was cut, checked, and never half there.

path = fetch(Remote("set.zip", ("https://example.org/set.zip",), "md5:..."), Path("data"))
"""

import errno
import hashlib
import json
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from pixelwright.data.published.exchange import (
    FailedError,
    asked,
    host,
    offered,
    refuse_page,
    validator_of,
)
from pixelwright.errors import DataError, MachineError, shown
from pixelwright.files import write_text
from pixelwright.types import Event, OnEvent, silent

_CHUNK = 2**18
_ENOUGH = 2**20
"""Bytes that have to come before a cut connection counts as progress, not as a failure."""


@dataclass(frozen=True, slots=True)
class Remote:
    """A published file.

    Args:
        name: What it is called on disk.
        urls: The main address, then its mirrors.
        checksum: `md5:...` or `sha256:...`, of a published list; empty where there is none.
        size: Bytes, where they are known.
    """

    name: str
    urls: tuple[str, ...]
    checksum: str = ""
    size: int | None = None


@dataclass(frozen=True, slots=True)
class Patience:
    """How often and how long to wait.

    Args:
        retries: After a failure, for each address; they start anew whenever 1 MiB has come.
        pause: Seconds before the first retry; each further one doubles it.
        longest: Seconds that a server may ask to wait.
        timeout: Seconds without a byte until a connection counts as cut.
        sleep: Waits.
    """

    retries: int = 5
    pause: float = 1.0
    longest: float = 120.0
    timeout: float = 30.0
    sleep: Callable[[float], None] = time.sleep


def fetch(
    remote: Remote,
    folder: Path,
    *,
    on_event: OnEvent = silent,
    patience: Patience | None = None,
) -> Path:
    """The file in `folder`: fetched, or the one that is there where its checksum is right.

    What has come lies in `NAME.part` until all is there, and is gone on with next time. The SHA-256
    of the finished file is kept beside it in `NAME.sha256`.

    Raises:
        DataError: The checksum is wrong; the file is kept as `NAME.bad` (F52).
        MachineError: No address gives the file, or the disk is full (F56).
    """
    path = folder / remote.name
    folder.mkdir(parents=True, exist_ok=True)
    if path.exists():
        sums = _Sums(remote)
        _feed(sums, path, f"check {remote.name}", on_event)
        _verify(remote, path, sums, on_event)
        return path
    failures: list[str] = []
    for url in remote.urls:
        if failures:
            on_event(Event("note", {"text": f"{failures[-1]}. Trying {host(url)} instead."}))
        try:
            sums = _fetch_from(url, remote, path, patience or Patience(), on_event)
        except FailedError as failed:
            failures.append(f"{host(url)} {failed}")
            continue
        _part(path).replace(path)
        _notes(path).unlink(missing_ok=True)
        _verify(remote, path, sums, on_event)
        return path
    raise MachineError(
        f"{remote.name} cannot be fetched: {'; '.join(failures)}. {by_hand(remote, folder)}"
    )


def by_hand(remote: Remote, folder: Path) -> str:
    """How to do without us, as a sentence."""
    return (
        f"To do it by hand, download {remote.urls[0]} with any program, put it at "
        f"{shown(folder / remote.name)}, and run the same command again."
    )


class _Sums:
    """The checksums of a file, updated as it comes."""

    def __init__(self, remote: Remote) -> None:
        self.expected = remote.checksum.lower()
        kind = self.expected.partition(":")[0]
        self._sha256 = hashlib.sha256()
        self._other = (
            hashlib.new(kind, usedforsecurity=False) if kind != "sha256" and kind else None
        )

    def update(self, data: bytes) -> None:
        self._sha256.update(data)
        if self._other:
            self._other.update(data)

    @property
    def sha256(self) -> str:
        return self._sha256.hexdigest()

    @property
    def found(self) -> str:
        """As `expected` is written."""
        return (
            f"{self._other.name}:{self._other.hexdigest()}"
            if self._other
            else f"sha256:{self.sha256}"
        )


def _feed(sums: _Sums, path: Path, what: str, on_event: OnEvent = silent) -> None:
    total, done = path.stat().st_size, 0
    with path.open("rb") as file:
        while data := file.read(2**22):
            sums.update(data)
            done += len(data)
            on_event(
                Event("progress", {"what": what, "done": done, "total": total, "unit": "bytes"})
            )


def _verify(remote: Remote, path: Path, sums: _Sums, on_event: OnEvent) -> None:
    """Compare with the published checksum, or with the one kept when the file came."""
    kept = path.with_name(f"{path.name}.sha256")
    expected, whose = sums.expected, "published"
    if not expected and kept.is_file():
        expected, whose = f"sha256:{kept.read_text(encoding='utf-8').split()[0]}", "kept"
    found = f"sha256:{sums.sha256}" if whose == "kept" else sums.found
    if expected and found != expected:
        bad = path.with_name(f"{path.name}.bad")
        path.replace(bad)
        kept.unlink(missing_ok=True)
        raise DataError(
            f"{shown(path)} has the checksum {found}, but {expected} is the {whose} one. The file "
            f"is kept as {shown(bad.name)}. Run the command again to fetch it anew."
        )
    if not expected:
        text = (
            f"Nobody publishes a checksum of {remote.name}. It has sha256:{sums.sha256}, which is "
            f"kept in {kept.name} and held against the file from now on."
        )
        on_event(Event("note", {"text": text}))
    if not kept.is_file():
        write_text(kept, f"{sums.sha256}  {path.name}\n")


def _fetch_from(
    url: str, remote: Remote, path: Path, patience: Patience, on_event: OnEvent
) -> _Sums:
    """Fill the part file from one address, however often the connection is cut.

    Raises:
        FailedError: It does not give the file.
        MachineError: The disk is full.
    """
    failures = 0
    while True:
        before = _size(_part(path))
        try:
            return _once(url, remote, path, patience.timeout, on_event)
        except FailedError as failed:
            came = _size(_part(path)) - before
            failures = 1 if came >= _ENOUGH else failures + 1
            if not failed.again or failures > patience.retries:
                tries = f" (tried {failures} times)" if failures > 1 else ""
                raise FailedError(f"{failed}{tries}") from failed
            wait = min(max(patience.pause * 2 ** (failures - 1), failed.wait), patience.longest)
            text = f"{host(url)} {failed}. Going on with {remote.name} in {wait:.3g} s."
            on_event(Event("note", {"text": text}))
            patience.sleep(wait)


def _once(
    url: str,
    remote: Remote,
    path: Path,
    timeout: float,
    on_event: OnEvent,
) -> _Sums:
    """One exchange: ask for what is missing, and add it to the part file."""
    part, notes = _part(path), _Notes.read(path)
    have = _size(part) if notes.url == url and notes.validator else 0
    sums = _Sums(remote)
    with asked(url, have, notes.validator, timeout) as got:
        if got.status == 416 and have:
            return _all_there(got, remote, part, sums)
        start, total = offered(got, have)
        if remote.size is not None and total is not None and total != remote.size:
            raise FailedError(f"offers {total:,} bytes where {remote.size:,} are known to be right")
        refuse_page(got, remote.name)
        _refuse_small_disk(path, start, total)
        _Notes(url, validator_of(got.headers)).write(path)
        if have and not start:
            text = f"{host(url)} sends {remote.name} from its start: it changed, or cannot go on."
            on_event(Event("note", {"text": text}))
        if start:
            _feed(sums, part, f"check {part.name}")
        with _writing(part), part.open("ab" if start else "wb") as file:
            done = _receive(got, file, sums, start, total, remote.name, on_event)
    if total is not None and done < total:
        raise FailedError(f"cut the connection after {done:,} of {total:,} bytes", again=True)
    if remote.size is not None and done != remote.size:
        part.unlink()
        raise FailedError(f"gave {done:,} bytes where {remote.size:,} are known to be right")
    return sums


def _all_there(got: Any, remote: Remote, part: Path, sums: _Sums) -> _Sums:
    """The part file is whole: it only was not renamed before. Otherwise it is given up."""
    total = got.headers.get("Content-Range", "").rpartition("/")[2]
    if total != str(_size(part)):
        part.unlink()
        raise FailedError(f"has no more of {remote.name} than came, which is not all", again=True)
    _feed(sums, part, f"check {part.name}")
    return sums


def _receive(
    got: Any,
    file: BinaryIO,
    sums: _Sums,
    done: int,
    total: int | None,
    name: str,
    on_event: OnEvent,
) -> int:
    while data := got.read(_CHUNK):
        file.write(data)
        sums.update(data)
        done += len(data)
        on_event(
            Event(
                "progress", {"what": f"fetch {name}", "done": done, "total": total, "unit": "bytes"}
            )
        )
    return done


def _refuse_small_disk(path: Path, start: int, total: int | None) -> None:
    free = shutil.disk_usage(path.parent).free
    needed = (total or 0) - start
    if needed > free:
        raise MachineError(
            f"{shown(path)} needs {needed:,} bytes, but {shown(path.parent)} has {free:,} free. "
            "Free space, or choose another folder with --out."
        )


@contextmanager
def _writing(part: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EACCES):
            raise
        raise MachineError(
            f"{shown(part)} cannot be written: {error.strerror}. What has come is kept; free space "
            "and run the command again to go on."
        ) from error


@dataclass(frozen=True)
class _Notes:
    """Where a part file came from, and what tells whether the server's file is still the same."""

    url: str = ""
    validator: str = ""

    @classmethod
    def read(cls, path: Path) -> "_Notes":
        try:
            table = json.loads(_notes(path).read_text(encoding="utf-8"))
            return cls(str(table["url"]), str(table["validator"]))
        except (OSError, ValueError, KeyError, TypeError):
            return cls()

    def write(self, path: Path) -> None:
        write_text(_notes(path), json.dumps({"url": self.url, "validator": self.validator}) + "\n")


def _part(path: Path) -> Path:
    return path.with_name(f"{path.name}.part")


def _notes(path: Path) -> Path:
    return path.with_name(f"{path.name}.part.json")


def _size(path: Path) -> int:
    with suppress(OSError):
        return path.stat().st_size
    return 0
