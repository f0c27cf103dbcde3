"""Fetch a published data set by name and unpack it where its layout finds it.

got = get("camvid", Path("data"))
got.folder, got.use                    # data/camvid, "camvid:root=data/camvid"
"""

import json
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from filelock import FileLock, Timeout

from pixelwright.data.index import layouts
from pixelwright.data.published import sbd
from pixelwright.data.published.archive import extract
from pixelwright.data.published.catalogue import CATALOGUE, CONVERTED, ByAccount, Published
from pixelwright.data.published.download import Patience, Remote, fetch
from pixelwright.errors import DataError, MachineError, RecipeError, shown, unknown
from pixelwright.files import write_text
from pixelwright.types import Event, OnEvent, silent

RECORD = ".pixelwright.json"
"""Lies in every folder made here: where it came from, with which checksum."""


@dataclass(frozen=True, slots=True)
class Got:
    """A data set that is there.

    Args:
        folder: Where.
        files: How many were unpacked now; 0 where it was there already.
        use: The layout that reads it, as a user writes it; empty where there is none.
    """

    folder: Path
    files: int
    use: str


class NeedsAccountError(DataError):
    """A data set that only its publishers give, to those who register."""

    def __init__(self, name: str, steps: list[str], missing: list[str]) -> None:
        super().__init__(
            f"{name} needs an account, so it cannot be fetched here; still missing: "
            f"{', '.join(missing)}. Put what is missing there and run the same command again."
        )
        self.steps = steps


def get(
    name: str,
    out: Path,
    *,
    mirror: bool = False,
    on_event: OnEvent = silent,
    patience: Patience | None = None,
) -> Got:
    """The data set in `out`, fetched and unpacked unless it is there.

    Args:
        name: One of the `CATALOGUE`.
        out: The folder for data sets; the archive is kept in it, the set gets a folder of its own.
        mirror: Begin with the mirrors, and take the main address last.
        on_event: Gets the progress, in bytes, and notes.
        patience: How often and how long to wait.

    Raises:
        RecipeError: No published data set has this name.
        NeedsAccountError: It needs an account, and its files are not all there.
        DataError: What came is not right: checksum, archive, or what it holds.
        MachineError: It cannot be reached, or the disk is full.
    """
    if name not in CATALOGUE:
        raise RecipeError(unknown("published data set", name, CATALOGUE))
    entry = CATALOGUE[name]
    if mirror and (isinstance(entry, ByAccount) or not _has_mirror(name, entry)):
        raise RecipeError(f"{name} has no mirror. Leave out --mirror.")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise MachineError(f"The folder {shown(out)} cannot be made: {error.strerror}.") from error
    with _alone(out, name, on_event):
        _sweep(out)
        if isinstance(entry, ByAccount):
            return _by_account(name, entry, out, on_event)
        return _published(name, entry, out, mirror, on_event, patience)


def _has_mirror(name: str, entry: Published) -> bool:
    return len(entry.file.urls) > 1 or name == "voc2012-aug"


def _published(
    name: str,
    entry: Published,
    out: Path,
    mirror: bool,
    on_event: OnEvent,
    patience: Patience | None,
) -> Got:
    folder = out / entry.folder
    target = folder / entry.below if entry.below else folder
    if (target / RECORD).is_file():
        return Got(folder, 0, _use(entry.use, folder))
    if target.exists():
        raise DataError(
            f"{shown(target)} is there, but was not made by this command, so it is left alone. "
            "Move it away, or choose another folder with --out."
        )
    if entry.needs and not (out / entry.folder / RECORD).is_file():
        raise DataError(
            f"{name} adds to {entry.needs}. Run 'pixelwright data get {entry.needs}"
            f"{_out_option(out)}' first."
        )
    files = (
        _augmented(entry, folder, target, out, mirror, on_event, patience)
        if name == "voc2012-aug"
        else _unpacked(entry, entry.file, target, out, mirror, on_event, patience)
    )
    return Got(folder, files, _use(entry.use, folder))


def _unpacked(
    entry: Published,
    remote: Remote,
    target: Path,
    out: Path,
    mirror: bool,
    on_event: OnEvent,
    patience: Patience | None,
) -> int:
    """Fetch an archive and unpack it as `target`, which holds what it should, or is not there."""
    if mirror:
        remote = replace(remote, urls=(*remote.urls[1:], remote.urls[0]))
    archive = fetch(remote, out, on_event=on_event, patience=patience)
    staged = out / f"{_STAGE}{target.name}"
    try:
        files = extract(archive, staged, inside=entry.inside, on_event=on_event)
        absent = [name for name in entry.holds if not (staged / name).exists()]
        if absent:
            raise DataError(
                f"{shown(archive)} holds no {', '.join(absent)}, so it is not what {entry.home} "
                "describes. Remove it, and fetch it again."
            )
        _keep_record(staged, remote, archive)
        staged.rename(target)
    except DataError:
        if not remote.checksum:
            # Nothing says that it is what was published, so the next run fetches it anew.
            archive.replace(archive.with_name(f"{archive.name}.bad"))
            archive.with_name(f"{archive.name}.sha256").unlink(missing_ok=True)
        raise
    finally:
        shutil.rmtree(staged, ignore_errors=True)
    return files


def _augmented(
    entry: Published,
    voc: Path,
    target: Path,
    out: Path,
    mirror: bool,
    on_event: OnEvent,
    patience: Patience | None,
) -> int:
    """SBD's masks, converted; or with `mirror`, as others have converted them."""
    devkit = target.parent
    lists = devkit / "ImageSets" / "Segmentation"
    if mirror:
        ready = replace(entry, inside="SegmentationClassAug", holds=())
        files = _unpacked(ready, CONVERTED, target, out, False, on_event, patience)
        masks = {path.stem for path in target.glob("*.png")}
        held_out = set((lists / "val.txt").read_text(encoding="utf-8").split())
        _write_list(lists, sorted(masks - held_out))
        return files
    source, staged = out / f"{_STAGE}sbd", out / f"{_STAGE}masks"
    try:
        _unpacked(replace(entry, below=""), entry.file, source, out, False, on_event, patience)
        staged.mkdir()
        names = sbd.convert(source, devkit, staged, on_event)
        _keep_record(staged, entry.file, out / entry.file.name)
        files = sum(1 for _ in staged.glob("*.png"))
        staged.rename(target)
        _write_list(lists, names)
    finally:
        shutil.rmtree(source, ignore_errors=True)
        shutil.rmtree(staged, ignore_errors=True)
    return files


def _write_list(lists: Path, names: list[str]) -> None:
    write_text(lists / "trainaug.txt", "".join(f"{name}\n" for name in names))


def _by_account(name: str, entry: ByAccount, out: Path, on_event: OnEvent) -> Got:
    """Say what to fetch; once it is there, check it. The layout reads the archives as they are."""
    folder = out / entry.folder
    missing = [file.name for file in entry.files if not (folder / file.name).is_file()]
    use = _use(entry.use, folder)
    if missing:
        folder.mkdir(exist_ok=True)
        steps = [f"1. Register and log in at {entry.home}"]
        steps += [
            f"{number}. Download {file.name} ({size}) from {file.urls[0]}"
            for number, (file, size) in enumerate(
                zip(entry.files, entry.sizes, strict=True), start=2
            )
        ]
        steps += [
            f"{len(steps) + 1}. Put both files into {shown(folder)}/ as they are: they are read "
            "without being unpacked",
            f"{len(steps) + 2}. pixelwright data get {name}{_out_option(out)}   (checks them)",
            f"{len(steps) + 3}. pixelwright data check {use}",
        ]
        raise NeedsAccountError(name, steps, missing)
    for file in entry.files:
        if not (folder / f"{file.name}.sha256").is_file():
            fetch(file, folder, on_event=on_event)
    return Got(folder, 0, use)


def _keep_record(folder: Path, remote: Remote, archive: Path) -> None:
    record = {
        "archive": archive.name,
        "address": remote.urls[0],
        "published_checksum": remote.checksum or None,
        "sha256": archive.with_name(f"{archive.name}.sha256")
        .read_text(encoding="utf-8")
        .split()[0],
        "date": time.strftime("%Y-%m-%d"),
    }
    write_text(folder / RECORD, json.dumps(record, indent=1) + "\n")


def _use(pattern: str, folder: Path) -> str:
    """The layout as a user writes it; empty where this version has none for the set."""
    known = pattern.partition(":")[0] in layouts
    return pattern.format(folder) if known else ""


def _out_option(out: Path) -> str:
    return "" if out == Path("data") else f" --out {shown(out)}"


_STAGE = ".pixelwright-get-"


def _sweep(out: Path) -> None:
    """Remove what a killed process left half done; nobody else is at it while we hold the lock."""
    for left in out.glob(f"{_STAGE}*"):
        shutil.rmtree(left, ignore_errors=True)


@contextmanager
def _alone(out: Path, name: str, on_event: OnEvent) -> Iterator[None]:
    """Wait until no other process fetches into the folder. The lock ends with its holder."""
    lock = FileLock(out / ".pixelwright-get.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        text = f"Another process fetches into {shown(out)}; waiting for it to finish."
        on_event(Event("note", {"text": text}))
        lock.acquire(poll_interval=0.2)
    except OSError as error:
        raise MachineError(
            f"{shown(out)} cannot be written: {error.strerror}. Choose another folder for {name} "
            "with --out."
        ) from error
    try:
        yield
    finally:
        lock.release()
