"""Pictures with one label each: held out class by class, picked by class, made an index.

train, val = hold_out_stratified(entries, 0.1, seed=0)
index = index_of(root, names, {"train": train, "val": val})
"""

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from pixelwright.data.index import SPLITS, lot, with_sources
from pixelwright.data.table import lines
from pixelwright.errors import DataError, RecipeError, first_few, shown, unknown
from pixelwright.types import Classes, Entry, Index

Splits = Mapping[str, Sequence[Entry]]


def label_of(entry: Entry) -> int:
    """The class index of an entry that has one."""
    assert isinstance(entry.target, int), f"{entry.key} has no label"
    return entry.target


def hold_out_stratified(
    entries: Sequence[Entry], fraction: float, seed: int, option: str = "val"
) -> tuple[tuple[Entry, ...], tuple[Entry, ...]]:
    """Split entries in those to train on and those to hold out, the same share of each class.

    Entries of one source stay together. Of every class with two pictures or more at least one is
    held out, and of every class one stays. Which ones are depends on seed and names alone, not on
    order or machine; and the choice within a class not on what other classes there are.

    Args:
        entries: With labels.
        fraction: To hold out of each class, in (0, 1).
        seed: Another seed holds out others.
        option: What the fraction is called in messages.

    Raises:
        RecipeError: The fraction is outside (0, 1).
        DataError: No class has two pictures.
    """
    if not 0 < fraction < 1:
        raise RecipeError(
            f"{option}={fraction} would leave a split empty. Give more than 0, less than 1."
        )
    sources: dict[str, list[Entry]] = {}
    for entry in entries:
        sources.setdefault(entry.source or entry.key, []).append(entry)
    # One picture may have two labels by mistake; it is drawn with the first of them.
    homes: dict[int, list[str]] = {}
    for name, group in sources.items():
        homes.setdefault(min(map(label_of, group)), []).append(name)
    left = Counter(map(label_of, entries))
    held: set[str] = set()

    def take(name: str) -> bool:
        labels = Counter(map(label_of, sources[name]))
        if any(left[label] <= count for label, count in labels.items()):
            return False
        left.subtract(labels)
        held.add(name)
        return True

    for names in homes.values():
        room = max(1, math.floor(fraction * sum(len(sources[name]) for name in names) + 0.5))
        taken = False
        for name in sorted(names, key=lambda name: lot(seed, name)):
            if len(sources[name]) <= room and take(name):
                room -= len(sources[name])
                taken = True
        if not taken:
            any(map(take, sorted(names, key=lambda name: len(sources[name]))))
    if not held:
        raise DataError(
            f"No class has two different pictures, so none can be held out ({option}={fraction}). "
            "Add pictures."
        )
    out = tuple(entry for entry in entries if (entry.source or entry.key) in held)
    rest = tuple(entry for entry in entries if (entry.source or entry.key) not in held)
    return rest, out


def with_held_out(
    splits: Splits, *, val: float, test: float = 0.0, seed: int, where: Path
) -> dict[str, tuple[Entry, ...]]:
    """The splits with parts of the first held out: to test, if asked, and to validate, if missing.

    Copies of a picture stay together.

    Raises:
        RecipeError: A test split is asked for that is there, or that there is nothing to take from.
        DataError: No class has two pictures.
    """
    found = {split: tuple(entries) for split, entries in splits.items() if entries}
    if test and ("test" in found or "train" not in found):
        raise RecipeError(
            f"test={test}: {shown(where)} has a test split of its own. Leave the option out."
            if "test" in found
            else f"test={test}: {shown(where)} has no training split to hold it out from."
        )
    if "train" in found and (test or "val" not in found):
        found["train"] = tuple(with_sources(found["train"]))
    if test:
        found["train"], found["test"] = hold_out_stratified(found["train"], test, seed, "test")
    if "train" in found and "val" not in found:
        found["train"], found["val"] = hold_out_stratified(found["train"], val, seed)
    order = [split for split in SPLITS if split in found]
    order += sorted(split for split in found if split not in SPLITS)
    return {split: found[split] for split in order}


def index_of(
    where: Path,
    names: Sequence[str],
    splits: Splits,
    groups: Sequence[str] = (),
    absent: Mapping[str, str] | None = None,
) -> Index:
    """The index of pictures with one label.

    Args:
        where: The data, for messages.
        names: Of the classes.
        splits: Their targets are positions in `names`.
        groups: The superclass of each class, or none.
        absent: Why a split that one may look for is not there.

    Raises:
        DataError: There is one class only, or a split has classes that the training split has not
            (F34).
    """
    from pixelwright.render import palette

    if len(names) < 2:
        held = f"one class only, '{shown(names[0])}'" if names else "no class"
        raise DataError(
            f"{shown(where)} holds {held}: there is nothing to tell apart. Two classes or more are "
            "needed."
        )
    known = set(map(label_of, splits.get("train", ())))
    for split, entries in splits.items():
        found = Counter(map(label_of, entries))
        strange = sorted(found.keys() - known) if known else []
        if strange:
            pictures = sum(found[label] for label in strange)
            listed = shown(first_few(names[label] for label in strange))
            raise DataError(
                f"Split '{shown(split)}' of {shown(where)} has {pictures:,} pictures of classes "
                f"that 'train' lacks: {listed}. They cannot be learnt, only missed. Rename the "
                "classes, or split the data otherwise."
            )
    classes = Classes(tuple(names), palette(len(names)), groups=tuple(groups))
    by_split = {split: tuple(entries) for split, entries in splits.items()}
    return Index(classes, by_split, absent=absent or {})


def groups_from(path: Path, names: Sequence[str]) -> tuple[str, ...]:
    """The superclass of each class, from a CSV file with the columns class and group.

    Raises:
        DataError: It is no such file, or a class stands in it twice or not at all.
    """
    columns = {"class": ("class", "name", "label"), "group": ("group", "superclass")}
    found: dict[str, str] = {}
    for line in lines(path, columns, needed=("class", "group")):
        if line["class"] in found:
            raise DataError(
                f"{shown(path)}, line {line.number}: '{shown(line['class'])}' has a group already."
            )
        found[line["class"]] = line["group"]
    lacking = [name for name in names if name not in found]
    if lacking:
        raise DataError(
            f"{shown(path)} has no line for {shown(first_few(lacking))}, {len(lacking)} of "
            f"{len(names)} classes. Give each class a group."
        )
    return tuple(found[name] for name in names)


def picked(names: Sequence[str], wanted: Sequence[str]) -> list[int]:
    """The positions of some classes, in the order of `names`.

    Args:
        names: Of all classes.
        wanted: Names, and ranges of positions such as 0-49; none means all.

    Raises:
        RecipeError: No class has such a name or position, or there is one only.
    """
    found: set[int] = set()
    for one in wanted:
        span = re.fullmatch(r"(\d+)-(\d+)", one)
        if span and int(span[1]) <= int(span[2]) < len(names):
            found.update(range(int(span[1]), int(span[2]) + 1))
        elif one in names:
            found.add(names.index(one))
        elif span:
            raise RecipeError(
                f"classes={one}: positions are 0 to {len(names) - 1}, the lower one first."
            )
        else:
            raise RecipeError(unknown("class", one, names))
    if len(found) == 1:
        raise RecipeError(f"classes={','.join(wanted)} is one class; two or more are needed.")
    return sorted(found) if wanted else list(range(len(names)))


def only(entries: Sequence[Entry], kept: Sequence[int]) -> tuple[Entry, ...]:
    """The entries of some classes, which are counted from 0 again."""
    position = {label: new for new, label in enumerate(kept)}
    return tuple(
        replace(entry, target=position[label])
        for entry in entries
        if (label := label_of(entry)) in position
    )
