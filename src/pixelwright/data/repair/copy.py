"""Write a mended copy of a data set, and say what is other than it was.

    done = repair(Spec("folders", {"root": Path("data")}), Path("mended"))
    done.changes, done.left_out            # by kind: the files, and how many pixels

The copy has the layout `folders`: images, index masks, classes.toml, and repair.json. Its source is
never written to. A copy that was interrupted is gone on with.
"""

import json
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pixelwright import images
from pixelwright.data import class_file, manifest
from pixelwright.data.counts import THREADS
from pixelwright.data.findings import Photo, look_at_image
from pixelwright.data.index import layouts
from pixelwright.data.repair.mend import mend
from pixelwright.data.repair.source import BEGUN, Source, begin, claim, found
from pixelwright.data.repair.survey import Scheme, Survey, scheme_for, scheme_from, survey
from pixelwright.errors import DataError, PixelwrightWarning, first_few
from pixelwright.files import write_bytes, write_text
from pixelwright.registry import Spec
from pixelwright.render import palette
from pixelwright.types import Classes, Entry, Event, OnEvent, silent

RECORD = "repair.json"
_LATER = ("val", "test", "seed")
"""Options of `folders` that are no part of a copy."""
_BEST_KEPT = ("test", "val", "train")
"""Of copies in several splits, the one in the first of these stays."""


@dataclass(slots=True)
class Change:
    """What was done to some files.

    Args:
        files: Which, as they are called in the source.
        pixels: How many pixels of masks were decided, where that is the point.
    """

    files: list[str] = field(default_factory=list)
    pixels: int = 0


@dataclass(slots=True)
class Repaired:
    """What came of a repair.

    Args:
        out: The copy.
        splits: Images of each split, in the copy.
        classes: Names.
        copied: Files that were right as they were.
        changes: By what was done.
        left_out: By why; each file with what is wrong with it.
    """

    out: Path
    splits: dict[str, int]
    classes: tuple[str, ...]
    copied: int = 0
    changes: dict[str, Change] = field(default_factory=dict)
    left_out: dict[str, list[str]] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """All of it in JSON's types."""
        return {
            "splits": self.splits,
            "classes": list(self.classes),
            "copied": self.copied,
            "changed": {
                what: {"count": len(change.files), "pixels": change.pixels, "files": change.files}
                for what, change in self.changes.items()
            },
            "left_out": {
                why: {"count": len(files), "files": files} for why, files in self.left_out.items()
            },
        }


@dataclass(frozen=True, slots=True)
class _Item:
    """An image and its mask that can be read and have one size."""

    split: str
    entry: Entry
    mask: Path
    photo: Photo
    survey: Survey


def repair(spec: Spec, out: Path, on_event: OnEvent = silent) -> Repaired:
    """Write the copy.

    Args:
        spec: Of any layout of whole pictures with masks.
        out: A folder that is empty or not there; or holds an interrupted copy of the same data.
        on_event: Gets the progress, in pairs of image and mask.

    Raises:
        DataError: Nothing can be made of the data, `out` is not empty, or lies in the data.
        MachineError: The disk is full or cannot be written.
    """
    spec = layouts.resolve(spec)
    source = found(spec)
    if held_out := [f"{name}={spec.options[name]}" for name in _LATER if name in spec.options]:
        text = (
            f"{first_few(held_out)}: images are held out when data are loaded, so give this again."
        )
        on_event(Event("note", {"text": text}))
    begun = claim(out, spec, source)
    left_out: dict[str, list[str]] = {}
    _leave_out(left_out, "images without a mask", source.missing)
    _leave_out(left_out, "masks without an image", source.orphans)
    items = _readable(source, left_out, on_event)
    _refuse_empty(source, items, left_out)
    scheme = _scheme(source, items)
    items = _distinct(items, left_out)
    _refuse_one_name(items)
    _refuse_empty(source, items, left_out)
    begin(out, begun)
    done = Repaired(out, {}, scheme.classes.names, left_out=left_out)
    flat = list(source.splits) == ["train"]
    written = _write_all(items, scheme, done, flat, on_event)
    _refuse_empty(source, written, left_out)
    done.splits = {split: sum(item.split == split for item in written) for split in source.splits}
    class_file.write(out / "classes.toml", _with_colors(scheme.classes))
    _write_manifest(out, written, flat)
    table = {"source": str(spec), **done.to_json()}
    write_text(out / RECORD, json.dumps(table, indent=1) + "\n")
    (out / BEGUN).unlink(missing_ok=True)
    return done


def _readable(source: Source, left_out: dict[str, list[str]], on_event: OnEvent) -> list[_Item]:
    """Look at every file; what cannot be read, or does not fit, is left out."""
    pairs = [(split, entry) for split, held in source.splits.items() for entry in held]
    items = []
    with ThreadPoolExecutor(THREADS) as pool, _quietly():
        looks = pool.map(lambda pair: _look(*pair), pairs)
        for done, look in enumerate(looks, start=1):
            if isinstance(look, _Item):
                items.append(look)
            else:
                _leave_out(left_out, look[0], [look[1]])
            on_event(Event("progress", {"what": "look", "done": done, "total": len(pairs)}))
    return items


def _look(split: str, entry: Entry) -> _Item | tuple[str, str]:
    """What a pair shows, or why it is left out."""
    mask = Path(str(entry.target))
    try:
        photo = look_at_image(entry.image)
    except DataError as error:
        return "images that cannot be read", str(error)
    try:
        seen = survey(mask)
        size = images.size(mask)
        if size != photo.size and not _turned(photo, mask, size):
            images.check_sizes(entry.image, photo.size, mask, size)
    except DataError as error:
        return "masks that cannot be read or do not fit", str(error)
    return _Item(split, entry, mask, photo, seen)


def _turned(photo: Photo, mask: Path, size: tuple[int, int]) -> bool:
    """Whether a mask was drawn on the picture as stored, before EXIF turns it."""
    header = photo.header
    if header.orientation < 5 or size != (header.height, header.width):
        return False
    with images.opened(mask) as file:
        return images.read_header(file, mask).orientation == 1


def _scheme(source: Source, items: Sequence[_Item]) -> Scheme:
    if source.classes is not None:
        classes = source.classes
        return Scheme(classes, snap=classes.by_color or classes.threshold)
    surveys = [item.survey for item in items]
    with warnings.catch_warnings():
        # That greys are cut is what the report says, with how many.
        warnings.filterwarnings("ignore", "The masks are grey", PixelwrightWarning)
        if source.declared:
            return scheme_from(source.declared, surveys)
        return scheme_for(surveys, source.declared.ignore)


def _distinct(items: Sequence[_Item], left_out: dict[str, list[str]]) -> list[_Item]:
    """One of each picture: in test before val before train, and the first of a split."""
    order = [split for split in _BEST_KEPT if any(item.split == split for item in items)]
    order += sorted({item.split for item in items} - set(order))
    first: dict[str, _Item] = {}
    source_in: dict[str, str] = {}
    kept = set()
    for split in order:
        for item in (item for item in items if item.split == split):
            other = first.setdefault(item.photo.content, item)
            elsewhere = source_in.setdefault(item.entry.source, split)
            name = str(item.entry.image)
            if other is not item:
                where = "a split" if other.split == split else f"{other.split} and {split}"
                text = f"{name} shows the pixels of {other.entry.image}"
                _leave_out(left_out, f"copies within {where}", [text])
            elif item.entry.source and elsewhere != split:
                text = f"{name} is a part of {item.entry.source}, as others in {elsewhere}"
                _leave_out(left_out, f"parts of one picture in {elsewhere} and {split}", [text])
            else:
                kept.add(id(item))
    return [item for item in items if id(item) in kept]


def _refuse_one_name(items: Sequence[_Item]) -> None:
    names = Counter((item.split, _name(item.entry)) for item in items)
    twice = [name for (_, name), count in names.items() if count > 1]
    if twice:
        raise DataError(f"Two entries would be called {first_few(twice)}. Rename the files.")


def _name(entry: Entry) -> str:
    return entry.key.replace("/", "_")


def _refuse_empty(
    source: Source, items: Sequence[_Item], left_out: Mapping[str, list[str]]
) -> None:
    for split in source.splits:
        if source.splits[split] and not any(item.split == split for item in items):
            why, files = next(iter(left_out.items()))
            raise DataError(
                f"Nothing is left of the split '{split}': {len(files)} {why}; the first: {files[0]}"
            )


def _write_all(
    items: Sequence[_Item], scheme: Scheme, done: Repaired, flat: bool, on_event: OnEvent
) -> list[_Item]:
    """Write each pair; one whose mask cannot be mended is left out."""
    written = []
    for kind in ("images", "masks"):
        for split in {item.split for item in items}:
            (done.out / kind / ("" if flat else split)).mkdir(parents=True, exist_ok=True)
    colors = _with_colors(scheme.classes).colors

    def write(item: _Item) -> list[tuple[str, str, int]] | DataError:
        try:
            return _write(item, scheme, colors, done.out, "" if flat else item.split)
        except DataError as error:
            return error

    with ThreadPoolExecutor(THREADS) as pool, _quietly():
        for number, (item, changes) in enumerate(
            zip(items, pool.map(write, items), strict=True), start=1
        ):
            if isinstance(changes, DataError):
                _leave_out(done.left_out, "masks that cannot be mended", [str(changes)])
            else:
                written.append(item)
                changed = {file for _, file, _ in changes}
                done.copied += 2 - len(changed)
                for what, file, pixels in changes:
                    change = done.changes.setdefault(what, Change())
                    change.files.append(file)
                    change.pixels += pixels
            on_event(Event("progress", {"what": "write", "done": number, "total": len(items)}))
    return written


def _write(
    item: _Item, scheme: Scheme, colors: tuple[tuple[int, int, int], ...], out: Path, split: str
) -> list[tuple[str, str, int]]:
    """Write one pair; what was done, to which file, and to how many pixels.

    Raises:
        DataError: The mask cannot be mended; then nothing was written.
    """
    key = _name(item.entry)
    stored = images.stored_mask(item.mask, lossy=True)
    mended = mend(stored, scheme, item.mask, lossy=item.survey.lossy)
    labels, kinds = mended.labels, []
    if labels.shape != item.photo.size:
        labels = images.upright(labels, item.photo.header)
        kinds.append(("masks turned with their images, as EXIF says", 0))
    if mended.changed:
        kinds.insert(0, (_what(item.survey, scheme, mended.between), mended.between))
        if stored.header.orientation != 1:
            kinds.append(("masks turned upright, as EXIF says", 0))
    mask = out / "masks" / split / f"{key}.png"
    if not mask.exists() and kinds:
        images.write_mask(mask, labels, colors)
    elif not mask.exists():
        write_bytes(mask, images.read_bytes(item.mask))
    reasons = _reasons(item)
    suffix = ".png" if reasons else item.entry.image.suffix.lower()
    image = out / "images" / split / f"{key}{suffix}"
    if not image.exists() and reasons:
        images.write_png(image, images.read_image(item.entry.image))
    elif not image.exists():
        write_bytes(image, images.read_bytes(item.entry.image))
    told = [(what, str(item.mask), pixels) for what, pixels in kinds]
    return told + [(what, str(item.entry.image), 0) for what in reasons]


def _what(seen: Survey, scheme: Scheme, between: int) -> str:
    """What was done to a mask, in the words of the report."""
    classes = scheme.classes
    if seen.lossy:
        return "masks stored with loss set to the nearest class"
    if classes.by_color:
        edges = ", smooth edges to the nearer one" if between else ""
        return f"colours of masks became class indices{edges}"
    if between:
        return "grey edges of masks cut at half" if classes.threshold else "edges set to a class"
    if set(seen.values) <= {0, 255}:
        return "masks of 0 and 255 became class indices"
    return "values of masks became class indices, stored as PNG"


def _reasons(item: _Item) -> list[str]:
    """Why an image is not copied as it is. Its pixels are kept without loss."""
    header = item.photo.header
    found = {
        "images turned upright, as EXIF says": header.orientation != 1,
        "images in CMYK became RGB": header.kind == "JPEG" and header.channels == 4,
        "images with an alpha channel became RGB": header.alpha,
        "images of which only the first frame is kept": header.more,
    }
    return [what for what, is_so in found.items() if is_so]


def _with_colors(classes: Classes) -> Classes:
    """The classes with a colour of its own for each, since a class file allows no other."""
    if len(set(classes.colors)) == len(classes):
        return classes
    return replace(classes, colors=palette(len(classes)))


def _write_manifest(out: Path, items: Sequence[_Item], flat: bool) -> None:
    """Say which images share a source, where the data set knew."""
    if not any(item.entry.source for item in items):
        return
    rows = []
    for item in items:
        folder = "" if flat else f"{item.split}/"
        key = _name(item.entry)
        suffix = ".png" if _reasons(item) else item.entry.image.suffix.lower()
        rows.append(
            manifest.Row(
                split=item.split,
                image=f"images/{folder}{key}{suffix}",
                mask=f"masks/{folder}{key}.png",
                source=item.entry.source,
                source_file="",
                city=item.entry.group,
                top=0,
                left=0,
                height=item.photo.size[0],
                width=item.photo.size[1],
            )
        )
    manifest.write(out / manifest.FILE, rows)


@contextmanager
def _quietly() -> Iterator[None]:
    """What readers warn of is what is mended here, and reported."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PixelwrightWarning)
        yield


def _leave_out(left_out: dict[str, list[str]], why: str, files: Iterable[object]) -> None:
    listed = [str(file) for file in files]
    if listed:
        left_out.setdefault(why, []).extend(listed)
