"""Cut a data set into patches of one size, split by split, with a manifest of where each lies.

    tallies = cut(index, Path("patches"), Plan(size=256, small=("bochum",)))

Files: <out>/<split>/{images,masks}/<picture>-<top>-<left>.png, masks as class indices with the
palette of the classes; manifest.csv and classes.toml, which the layout `folders` reads; and
patches.jsonl, which says what is done. Cutting again does what is not done yet.
"""

import hashlib
import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int16, UInt8

from pixelwright import images
from pixelwright.data import class_file, manifest
from pixelwright.data.check import shared
from pixelwright.data.counts import THREADS
from pixelwright.data.index import contents
from pixelwright.errors import DataError, unknown
from pixelwright.files import write_text
from pixelwright.types import IGNORE, Entry, Event, Index, OnEvent, Window, silent

JOURNAL = manifest.JOURNAL
SMALL = "train_small"
_OLD = 3600.0
"""Seconds after which a temporary file is one that a killed process left."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How to cut.

    Args:
        size: Pixels of a side.
        stride: Pixels from one training patch to the next; None is their size. What is scored lies
            side by side.
        labelled: Training patches with a smaller part of counted pixels are dropped, in [0, 1].
            Patches that are scored are dropped only where no pixel counts, which changes no score.
        small: Groups (cities) of the training split that are cut into `train_small` as well.
    """

    size: int = 256
    stride: int | None = None
    labelled: float = 0.05
    small: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Tally:
    """What became of a split.

    Args:
        pictures: That were cut.
        patches: That were written.
        dropped: Patches with too few labelled pixels.
        too_small: Pictures, or windows of them, smaller than a patch.
    """

    pictures: int = 0
    patches: int = 0
    dropped: int = 0
    too_small: int = 0


class _Job(NamedTuple):
    """One picture of one split, and the entries that are windows of it."""

    split: str
    picture: str
    entries: tuple[Entry, ...]

    @property
    def name(self) -> str:
        return f"{self.split}/{self.picture}"


@dataclass(frozen=True, slots=True)
class _Done:
    """What one job wrote: a line of the journal."""

    name: str
    rows: tuple[manifest.Row, ...]
    dropped: int
    too_small: int

    def to_line(self) -> str:
        return json.dumps(asdict(self)) + "\n"

    @classmethod
    def of_line(cls, line: str) -> "_Done":
        table = json.loads(line)
        rows = tuple(manifest.Row(**row) for row in table["rows"])
        return cls(table["name"], rows, table["dropped"], table["too_small"])


def cut(index: Index, out: Path, plan: Plan, on_event: OnEvent = silent) -> dict[str, Tally]:
    """Cut every split of an index into patches.

    Args:
        index: Of any layout with masks.
        out: Folder to write to: new, empty, or of an earlier cut by the same plan.
        plan: How.
        on_event: Gets the progress, in pictures.

    Raises:
        DataError: A picture is in two splits or cannot be read, nothing is as large as a patch, or
            the folder holds something else.
        MachineError: A file cannot be written. What is done stays done.
    """
    if index.one_label:
        raise DataError("The data has one label for each picture; patches are cut where masks are.")
    pictures = [entry.image for entries in index.splits.values() for entry in entries]
    if problems := shared(index, contents(pictures)):
        raise DataError(problems[0])
    jobs = _jobs(_with_small(index, plan.small))
    done = _begun(out, _settings(index, jobs, plan))
    todo = [job for job in jobs if job.name not in done]
    for split in {job.split for job in jobs}:
        for kind in ("images", "masks"):
            (out / split / kind).mkdir(parents=True, exist_ok=True)
            _sweep(out / split / kind)
    count = len(done)
    with ThreadPoolExecutor(THREADS) as pool, (out / JOURNAL).open("a", encoding="utf-8") as file:
        try:
            for one in pool.map(lambda job: _cut_one(job, index, out, plan), todo):
                file.write(one.to_line())
                file.flush()
                done[one.name] = one
                count += 1
                on_event(Event("progress", {"what": "cut", "done": count, "total": len(jobs)}))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    tallies = _tallies(jobs, done)
    if not any(tally.patches for tally in tallies.values()):
        raise DataError(
            f"No patch of {plan.size}x{plan.size} pixels came of {len(jobs)} pictures. Take a "
            "smaller size, or fewer labelled pixels."
        )
    class_file.write(out / "classes.toml", index.classes)
    manifest.write(out / manifest.FILE, (row for job in jobs for row in done[job.name].rows))
    return tallies


def _with_small(index: Index, small: Sequence[str]) -> dict[str, tuple[Entry, ...]]:
    """The splits, and after the training split those of its entries that are in `small`."""
    splits = {split: tuple(entries) for split, entries in index.splits.items() if entries}
    if not small:
        return splits
    groups = {entry.group for entry in splits.get("train", ()) if entry.group}
    for name in small:
        if name not in groups:
            raise DataError(unknown("city of the training split", name, groups))
    chosen = tuple(entry for entry in splits["train"] if entry.group in small)
    return {"train": splits.pop("train"), SMALL: chosen, **splits}


def _jobs(splits: Mapping[str, Sequence[Entry]]) -> list[_Job]:
    every = [entry for entries in splits.values() for entry in entries]
    top = Path(os.path.commonpath([entry.image.parent for entry in every]))
    grouped: dict[tuple[str, Path, Any], list[Entry]] = {}
    for split, entries in splits.items():
        for entry in entries:
            if not isinstance(entry.target, Path):
                raise DataError(f"{entry.image} has no mask, so it cannot be cut into patches.")
            grouped.setdefault((split, entry.image, entry.target), []).append(entry)
    return [
        _Job(split, image.relative_to(top).as_posix(), tuple(entries))
        for (split, image, _), entries in grouped.items()
    ]


def _settings(index: Index, jobs: Sequence[_Job], plan: Plan) -> dict[str, Any]:
    """What makes two cuts the same cut."""
    entries = [(job.name, entry.key, entry.window) for job in jobs for entry in job.entries]
    which = hashlib.blake2b(repr(entries).encode("utf-8", "surrogateescape"), digest_size=8)
    table = {**asdict(plan), "classes": index.classes.names, "pictures": which.hexdigest()}
    return dict(json.loads(json.dumps(table)))


def _begun(out: Path, settings: dict[str, Any]) -> dict[str, _Done]:
    """What an earlier cut by the same settings has done; its journal is put in order.

    Raises:
        DataError: The folder holds another cut, or something else.
    """
    journal = out / JOURNAL
    done: dict[str, _Done] = {}
    if journal.is_file():
        first, *lines = journal.read_text(encoding="utf-8").splitlines() or [""]
        _refuse_other(out, _parsed(first), settings)
        files = {
            path.relative_to(out).as_posix()
            for path in (*out.glob("*/images/*.png"), *out.glob("*/masks/*.png"))
        }
        for line in lines:
            if _parsed(line) is None:
                continue  # cut short by a crash
            one = _Done.of_line(line)
            if all({row.image, row.mask} <= files for row in one.rows):
                done[one.name] = one
    elif out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise DataError(f"{out} is not empty, and not of an earlier cut. Take another folder.")
    out.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps(settings) + "\n", *(one.to_line() for one in done.values())]
    write_text(journal, "".join(lines))
    return done


def _parsed(line: str) -> Any:
    try:
        return json.loads(line)
    except ValueError:
        return None


def _refuse_other(out: Path, before: Any, settings: Mapping[str, Any]) -> None:
    before = before if isinstance(before, dict) else {}
    other = [key for key in settings if before.get(key) != settings[key]]
    if not other:
        return
    listed = ", ".join(
        key if key in ("classes", "pictures") else f"{key} {before.get(key)}, not {settings[key]}"
        for key in other
    )
    raise DataError(
        f"{out} holds patches that were cut otherwise ({listed}). Take another folder, or remove "
        "this one."
    )


def _sweep(folder: Path) -> None:
    """Remove what a killed process left half written."""
    for path in folder.glob(".pixelwright-*.tmp"):
        if time.time() - path.stat().st_mtime > _OLD:
            path.unlink(missing_ok=True)


def _cut_one(job: _Job, index: Index, out: Path, plan: Plan) -> _Done:
    first = job.entries[0]
    image = images.read_image(first.image)
    mask = Path(str(first.target))
    target = images.read_mask(mask, index.classes)
    height, width = image.shape[:2]
    images.check_sizes(first.image, (height, width), mask, (target.shape[0], target.shape[1]))
    rows, dropped, too_small = [], 0, 0
    for entry in job.entries:
        area = entry.window or Window(0, 0, height, width)
        too_small += min(area.height, area.width) < plan.size
        trained = job.split in ("train", SMALL)
        stride = plan.stride if trained and plan.stride else plan.size
        for window, fresh in _windows(area, plan.size, stride):
            view = np.s_[window.top : window.top + plan.size, window.left : window.left + plan.size]
            labels = target[view]
            if not trained:
                labels = _only(labels, window, fresh)
            counted = np.count_nonzero(labels != IGNORE) / labels.size
            if counted == 0 or (trained and counted < plan.labelled):
                dropped += 1
                continue
            row = _row(job, entry, window, guarded=index.guard is not None)
            _write(out, row, image[view], labels, index)
            rows.append(row)
    return _Done(job.name, tuple(rows), dropped, too_small)


def _windows(area: Window, size: int, stride: int) -> Iterator[tuple[Window, Window]]:
    """Patches that cover an area, and of each the part that those before it do not cover.

    That part is meant for a stride of `size`: only the last of a row or a column then overlaps.
    """
    for top, new_top in _starts(area.height, size, stride):
        for left, new_left in _starts(area.width, size, stride):
            window = Window(area.top + top, area.left + left, size, size)
            fresh = Window(
                area.top + new_top,
                area.left + new_left,
                top + size - new_top,
                left + size - new_left,
            )
            yield window, fresh


def _starts(length: int, size: int, stride: int) -> list[tuple[int, int]]:
    """Where patches start along an axis, the last flush with the end, and where each is new."""
    if length < size:
        return []
    starts = list(range(0, length - size + 1, stride))
    if starts[-1] + size < length:
        starts.append(length - size)
    return [(start, max(start, i and starts[i - 1] + size)) for i, start in enumerate(starts)]


def _only(
    labels: Int16[np.ndarray, "h w"], window: Window, fresh: Window
) -> Int16[np.ndarray, "h w"]:
    """Labels outside the new part ignored, so that no pixel is scored twice."""
    top, left = fresh.top - window.top, fresh.left - window.left
    once = np.full_like(labels, IGNORE)
    once[top:, left:] = labels[top:, left:]
    return once


def _row(job: _Job, entry: Entry, window: Window, *, guarded: bool) -> manifest.Row:
    # Where a guard keeps parts of one picture apart, each part is a source of its own.
    part = f"{job.picture} {entry.key}" if guarded else entry.source or job.picture
    name = f"{_short(entry.key)}-{window.top}-{window.left}.png"
    return manifest.Row(
        split=job.split,
        image=f"{job.split}/images/{name}",
        mask=f"{job.split}/masks/{name}",
        source=part,
        source_file=job.picture,
        city=entry.group,
        **window._asdict(),
    )


def _short(key: str, most: int = 200) -> str:
    """A name that leaves room for the place in the picture within the 255 bytes of a disk."""
    if len(os.fsencode(key)) <= most:
        return key
    digest = hashlib.blake2b(os.fsencode(key), digest_size=6).hexdigest()
    return f"{key[: most // 4 - 16]}-{digest}"


def _write(
    out: Path,
    row: manifest.Row,
    image: UInt8[np.ndarray, "h w 3"],
    labels: Int16[np.ndarray, "h w"],
    index: Index,
) -> None:
    images.write_png(out / row.image, image)
    images.write_mask(out / row.mask, labels, index.classes.colors)


def _tallies(jobs: Sequence[_Job], done: Mapping[str, _Done]) -> dict[str, Tally]:
    tallies: dict[str, Tally] = {}
    for job in jobs:
        one, tally = done[job.name], tallies.get(job.split, Tally())
        tallies[job.split] = replace(
            tally,
            pictures=tally.pictures + bool(one.rows),
            patches=tally.patches + len(one.rows),
            dropped=tally.dropped + one.dropped,
            too_small=tally.too_small + one.too_small,
        )
    return tallies
