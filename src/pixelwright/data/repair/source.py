"""The data set that is to be mended, with all that is wrong with it, and the folder of the copy."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pixelwright import images
from pixelwright.data import class_file, manifest
from pixelwright.data.index import load, match_by_name
from pixelwright.data.layouts import folders
from pixelwright.errors import DataError, MachineError, shown
from pixelwright.files import write_text
from pixelwright.registry import Spec
from pixelwright.types import Classes, Entry

BEGUN = ".pixelwright-repair.json"
"""Lies in a copy that is not complete, and says of what."""


@dataclass(frozen=True, slots=True)
class Source:
    """A data set as it is found, whatever is wrong with it."""

    splits: dict[str, list[Entry]]
    classes: Classes | None
    declared: class_file.Declared
    missing: list[Path]
    orphans: list[Path]


def found(spec: Spec) -> Source:
    """The pairs of a data set; of folders also what has no partner."""
    nothing = class_file.Declared()
    if spec.name != "folders":
        index = load(spec)
        if index.one_label:
            raise DataError(f"{spec} has one label for each picture; --repair mends masks only.")
        splits = {split: list(entries) for split, entries in index.splits.items()}
        source = Source(splits, index.classes, nothing, [], [])
    else:
        source = _in_folders(spec)
    entries = [entry for held in source.splits.values() for entry in held]
    if any(entry.window for entry in entries):
        raise DataError(
            f"{spec} cuts windows from larger pictures; --repair copies whole ones. Give the "
            "folders of the pictures and of the masks."
        )
    if not all(isinstance(entry.target, Path) for entry in entries):
        raise DataError(f"{spec} has entries without a mask; --repair mends masks.")
    return source


def _in_folders(spec: Spec) -> Source:
    options = dict(spec.options)
    names = ("names", "colors", "values", "ignore", "ignore_colors")
    declared = class_file.Declared(**{name: options.get(name, ()) for name in names})
    places = ("root", "images", "masks", "classes", "train_split")
    given = {name: options[name] for name in places if name in options}
    held = folders.find(**given, declared=declared)
    missing: list[Path] = []
    orphans: list[Path] = []
    splits: dict[str, tuple[Entry, ...]] = {}
    for split, where in held.splits.items():
        matched = match_by_name(*where)
        alone = tuple(Entry(path.stem, path, None) for path in matched.missing)
        splits[split] = (*(Entry(*pair) for pair in matched.pairs), *alone)
        missing += matched.missing
        orphans += matched.orphans
    if "root" in options:
        splits = manifest.with_sources(splits, options["root"])
    paired = {
        split: [entry for entry in entries if entry.target is not None]
        for split, entries in splits.items()
    }
    return Source(paired, None, held.declared, missing, orphans)


def claim(out: Path, spec: Spec, source: Source) -> Mapping[str, str]:
    """Find that the folder can take the copy, and what is to be noted in it by `begin`.

    Raises:
        DataError: It is not empty, nor the beginning of the same copy; or it lies in the data.
    """
    entries = [entry for held in source.splits.values() for entry in held]
    places = [value for value in spec.options.values() if isinstance(value, Path)]
    for place in {path.resolve() for path in places}:
        if out.resolve().is_relative_to(place) or place.is_relative_to(out.resolve()):
            raise DataError(
                f"{shown(out)} and {shown(place)} lie one in the other; the copy would mix with "
                "the data. Give another folder."
            )
    if out.exists() and not out.is_dir():
        raise DataError(f"{shown(out)} is a file. Give a folder.")
    state = hashlib.sha256(str(spec).encode("utf-8", "surrogateescape"))
    for entry in entries:
        for path in (entry.image, Path(str(entry.target))):
            changed = path.stat().st_mtime_ns if path.exists() else 0
            line = f"{path}\0{images.stored_bytes(path)}\0{changed}\n"
            state.update(line.encode("utf-8", "surrogateescape"))
    begun = {"source": str(spec), "state": state.hexdigest()}
    held = {path.name for path in out.iterdir()} if out.is_dir() else set()
    if held and _begun(out) != begun:
        why = (
            "holds the beginning of a copy of other data, or of data that have changed since"
            if BEGUN in held
            else "is not empty"
        )
        raise DataError(f"{shown(out)} {why}. Remove it, or give another folder.")
    return begun


def begin(out: Path, begun: Mapping[str, str]) -> None:
    """Make the folder, and note of what it is a copy until that is complete."""
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise MachineError(f"{shown(out)} cannot be made: {error.strerror}.") from error
    write_text(out / BEGUN, json.dumps(begun) + "\n")


def _begun(out: Path) -> object:
    try:
        return json.loads((out / BEGUN).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
