"""What a data set holds: load it by its layout, pair files by name, hold entries out.

index = load(Spec.parse("folders:root=data/roads"))
index.classes.names, {split: len(entries) for split, entries in index.splits.items()}
"""

import hashlib
import math
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from pixelwright.errors import DataError, RecipeError, first_few
from pixelwright.images import (
    IMAGE_SUFFIXES,
    children,
    exists,
    fingerprint,
    is_folder,
    row_contents,
    stored_bytes,
)
from pixelwright.registry import Registry, Spec
from pixelwright.types import Entry, Index

layouts = Registry("layout", "pixelwright.data.layouts")

SPLITS = {
    "train": ("train", "training", "trn"),
    "val": ("val", "valid", "validation", "dev"),
    "test": ("test", "testing"),
}
"""How the folder of each split may be called, in lower case."""

_MASK_WORD = re.compile(
    r"mask|gt|label|annot|seg|truth|target|manual|(?:^|[_\-. ])l(?:$|[_\-. ])", re.IGNORECASE
)


def load(spec: Spec) -> Index:
    """Find the entries and classes of a data set.

    Images are not decoded, and masks only where their classes are not declared.

    Raises:
        RecipeError: The layout or one of its options is unknown or of the wrong type.
        DataError: A path is missing, nothing is found, two entries of a split have one key, or
            whatever the layout finds wrong.
    """
    spec = layouts.resolve(spec)
    for name, value in spec.options.items():
        if isinstance(value, Path) and not exists(value):
            raise DataError(f"{name}={value} of layout {spec.name} does not exist. {_near(value)}")
    index: Index = layouts.build(spec)
    if not any(index.splits.values()):
        raise DataError(f"'{spec}' holds no entry in any split.")
    for split, entries in index.splits.items():
        keys = Counter(entry.key for entry in entries)
        twice = [key for key, count in keys.items() if count > 1]
        if twice:
            raise DataError(
                f"Split '{split}' of '{spec}' has more than one entry called {first_few(twice)}. "
                "Rename the files."
            )
    return index


def load_for_training(spec: Spec) -> Index:
    """Like `load`, of data that can be trained on.

    Raises:
        DataError: Also where there is nothing to train or to validate on.
    """
    index = load(spec)
    for split in ("train", "val"):
        if not index.splits.get(split):
            raise DataError(
                f"{spec} has no split '{split}'; it has {', '.join(index.splits)}. Training needs "
                f"train and val."
            )
    return index


def _near(path: Path) -> str:
    """What exists nearest to a missing path, as a sentence."""
    parent = next(above for above in path.parents if exists(above))
    if not is_folder(parent) or (parent.is_dir() and not os.access(parent, os.R_OK)):
        return f"{parent} exists, but is no readable folder."
    held = [child.name for child in children(parent) if not child.name.startswith(".")]
    return f"{parent} exists and holds {first_few(held, 5) or 'nothing'}."


def image_files(folder: Path) -> list[Path]:
    """The images of a folder by name; hidden files and files that are no images are passed over.

    Raises:
        DataError: The folder is missing or holds no image, or two of them differ only in suffix or
            in case.
    """
    if not is_folder(folder):
        raise DataError(f"{folder} is no folder. {_near(folder / '_')}")
    held = [path for path in children(folder) if not path.name.startswith(".")]
    found = [path for path in held if path.suffix.lower() in IMAGE_SUFFIXES]
    if not found:
        names = first_few(path.name for path in held) or "nothing"
        raise DataError(
            f"{folder} holds no image, only {names}. Images end in "
            f"{', '.join(sorted(IMAGE_SUFFIXES))} and lie directly in the folder."
        )
    by_stem: dict[str, Path] = {}
    for path in found:
        other = by_stem.setdefault(_stem(path), path)
        if other is not path:
            raise DataError(
                f"{folder} holds both {other.name} and {path.name}: names must differ in more than "
                "suffix and case, or their masks cannot be told apart. Rename or remove one."
            )
    return found


def _stem(path: Path) -> str:
    # Archives made on macOS hold decomposed accents; the same name written elsewhere does not.
    return unicodedata.normalize("NFC", path.stem).casefold()


class Matched(NamedTuple):
    """Images and masks of two folders.

    Args:
        pairs: Key (the image's stem), image and mask, in the order of names.
        missing: Images without a mask.
        orphans: Masks without an image.
    """

    pairs: list[tuple[str, Path, Path]]
    missing: list[Path]
    orphans: list[Path]


def pair_by_name(images: Path, masks: Path) -> list[tuple[str, Path, Path]]:
    """The pairs of `match_by_name`, where there is nothing else.

    Raises:
        DataError: Also where an image has no mask, or a mask no image.
    """
    pairs, missing, orphans = match_by_name(images, masks)
    problems = []
    if missing:
        problems.append(
            f"{len(missing)} of {len(pairs) + len(missing)} images in {images} have no mask in "
            f"{masks}: {first_few(path.name for path in missing)}."
        )
    if orphans:
        problems.append(
            f"{len(orphans)} of {len(pairs) + len(orphans)} masks in {masks} have no image in "
            f"{images}: {first_few(path.name for path in orphans)}."
        )
    if problems:
        problems.append(
            "A mask must have its image's name, any suffix; add or remove files, or let "
            "'pixelwright data check ... --repair OUT' write a copy without them."
        )
        raise DataError(" ".join(problems))
    return pairs


def match_by_name(images: Path, masks: Path) -> Matched:
    """Match each image of a folder with the mask of the same name, whatever its suffix.

    Where names differ by one addition to all of them, such as `_mask`, it is taken off.

    Raises:
        DataError: A folder without images, names that clash, or no pair at all.
    """
    if images.resolve() == masks.resolve():
        raise DataError(f"Images and masks are the same folder, {images}. Give two folders.")
    image_of = {_stem(path): path for path in image_files(images)}
    mask_of = {_stem(path): path for path in image_files(masks)}
    best: list[tuple[str, str]] = []
    for pairs in _ways_to_pair(list(image_of), list(mask_of)):
        if len(pairs) > len(best):
            best = pairs
    first_image, first_mask = next(iter(image_of.values())), next(iter(mask_of.values()))
    if not best:
        raise DataError(
            f"No image in {images} has a mask in {masks}: names are like {first_image.name} and "
            f"{first_mask.name}. A mask must have its image's name, any suffix."
        )
    missing = [image_of[stem] for stem in image_of.keys() - {stem for stem, _ in best}]
    orphans = [mask_of[stem] for stem in mask_of.keys() - {stem for _, stem in best}]
    matched = [(image_of[i].stem, image_of[i], mask_of[m]) for i, m in best]
    return Matched(matched, sorted(missing), sorted(orphans))


def _ways_to_pair(images: list[str], masks: list[str]) -> Iterator[list[tuple[str, str]]]:
    """Pairs of stems by each plausible rule, the plainest rule first."""
    known = set(masks)
    yield [(stem, stem) for stem in images if stem in known]
    # One addition to the masks' names, read off the first image.
    around = (mask.partition(images[0]) for mask in masks if images[0] in mask)
    for before, _, after in sorted(around, key=lambda parts: len(parts[0] + parts[2])):
        if re.search(r"[a-z]", before + after):
            added = {stem: f"{before}{stem}{after}" for stem in images}
            yield [(stem, mask) for stem, mask in added.items() if mask in known]
    # Both have an addition, as in 17_sat.jpg and 17_mask.png, or image_17 and mask_17.
    for affix in (r"(?:[_\-. ][a-z][a-z0-9]*)+$", r"^[^\d]+"):
        image_core, image_added = _without(affix, images)
        mask_core, mask_added = _without(affix, masks)
        if image_added and mask_added and _MASK_WORD.search(mask_added):
            yield [
                (stem, mask_core[core]) for core, stem in image_core.items() if core in mask_core
            ]


def _without(affix: str, stems: list[str]) -> tuple[dict[str, str], str]:
    """Stems by what is left of them without an addition that all share, and the addition."""
    found = {match.group() if (match := re.search(affix, stem)) else "" for stem in stems}
    cores = {re.sub(affix, "", stem): stem for stem in stems}
    if len(found) != 1 or "" in cores:
        return {}, ""
    return cores, found.pop()


def hold_out(
    entries: Sequence[Entry], fraction: float, seed: int
) -> tuple[tuple[Entry, ...], tuple[Entry, ...]]:
    """Split entries in those to train on and those to validate on.

    Entries of one source stay together. Which ones are held out depends on seed and names alone,
    not on order or machine, and few change when files are added.

    Args:
        entries: At least two sources.
        fraction: To hold out, in (0, 1); at least one entry is, and one is not.
        seed: Another seed holds out others.

    Raises:
        RecipeError: The fraction is outside (0, 1).
        DataError: There is only one source.
    """
    if not 0 < fraction < 1:
        raise RecipeError(
            f"val={fraction} would leave a split empty. Give more than 0, less than 1."
        )
    groups: dict[str, list[Entry]] = {}
    for entry in entries:
        groups.setdefault(entry.source or entry.key, []).append(entry)
    if len(groups) < 2:
        raise DataError(
            f"There is only one picture, {entries[0].image}, so none can be held out for "
            "validation. Add pictures, or use the layout 'pair', which splits one picture."
        )
    wanted = min(max(1, math.floor(fraction * len(entries) + 0.5)), len(entries) - 1)
    drawn = sorted(groups, key=lambda name: lot(seed, name))
    held: set[str] = set()
    room = wanted
    for name in drawn:
        if len(groups[name]) <= room:
            held.add(name)
            room -= len(groups[name])
    if not held:
        held = {min(drawn, key=lambda name: len(groups[name]))}
    out = [entry for entry in entries if (entry.source or entry.key) in held]
    rest = [entry for entry in entries if (entry.source or entry.key) not in held]
    return tuple(rest), tuple(out)


def lot(seed: int, name: str) -> bytes:
    """What a name draws: names in the order of their lots are in a random one."""
    return hashlib.sha256(os.fsencode(unicodedata.normalize("NFC", f"{seed}/{name}"))).digest()


def with_sources(entries: Sequence[Entry]) -> list[Entry]:
    """The entries, with one source for those without whose images have the same content."""
    if all(entry.source for entry in entries):
        return list(entries)
    content = entry_contents(entries)
    many = Counter(content)
    first: dict[str, str] = {}
    return [
        replace(entry, source=first.setdefault(what, entry.key))
        if many[what] > 1 and not entry.source
        else entry
        for entry, what in zip(entries, content, strict=True)
    ]


def entry_contents(entries: Sequence[Entry]) -> list[str]:
    """A name for the content of each entry's image: equal names, equal bytes or equal rows."""
    of_file = contents(entry.image for entry in entries if entry.row is None)
    arrays = dict.fromkeys(entry.image for entry in entries if entry.row is not None)
    of_row = {path: row_contents(path) for path in arrays}
    return [
        of_file[entry.image] if entry.row is None else of_row[entry.image][entry.row]
        for entry in entries
    ]


def contents(paths: Iterable[Path]) -> dict[Path, str]:
    """A name for the content of each file: equal names, equal bytes.

    Only files that have as many bytes as another are read. What cannot be read is like no other.
    """
    by_bytes: dict[int, list[Path]] = {}
    for path in dict.fromkeys(paths):
        by_bytes.setdefault(stored_bytes(path), []).append(path)
    found = {}
    for group in by_bytes.values():
        for path in group:
            try:
                found[path] = fingerprint(path) if len(group) > 1 else str(path)
            except DataError:
                found[path] = str(path)
    return found
