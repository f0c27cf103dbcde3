"""The nouns that every room shares. No torch: listing and checking data must start at once."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from jaxtyping import Int16, UInt8

IGNORE = -1
"""Target value of a pixel that counts nowhere. Negative, so that no class can ever have it."""

DEVICE = r"^(auto|cpu|mps|cuda(:\d+)?)$"
"""How a device is named."""

Color = tuple[int, int, int]
"""Red, green, blue in [0, 255]."""


class Window(NamedTuple):
    """A rectangle of an image, in pixels."""

    top: int
    left: int
    height: int
    width: int


@dataclass(frozen=True, slots=True)
class Classes:
    """Class names, their colours, and how the raw values of a mask map to them.

    Args:
        names: One per class; the position is the class index.
        colors: One per class.
        values: Raw mask value -> class index, or `IGNORE`. A raw value that is not listed is an
            error. Empty for colour masks and for classification.
        by_color: Masks are pictures whose pixels have the `colors`.
        threshold: Grey masks with values in between (anti-aliased) are cut at half, with a warning.
        ignored_colors: In masks by colour, what becomes `IGNORE`.
        groups: The superclass of each class; empty where there are none.
    """

    names: tuple[str, ...]
    colors: tuple[Color, ...]
    values: Mapping[int, int] = field(default_factory=dict)
    by_color: bool = False
    threshold: bool = False
    ignored_colors: tuple[Color, ...] = ()
    groups: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.names)


@dataclass(frozen=True, slots=True)
class Entry:
    """One labelled image: where its pixels lie, and where its target lies.

    Args:
        key: Short and unique in its split; names the entry in tables, files and messages.
        image: The file.
        target: The mask's file, a class index, or None where there is no label.
        window: The part of image and mask that is this entry; None is all of it.
        row: Which picture of a file that holds an array of them; None where it holds one.
        source: What the entry was cut from; entries of one source belong in one split unless the
            layout keeps a guard between them. Empty means the image itself.
        group: What it was taken in, larger than its source: a city, a patient. Empty if unknown.
    """

    key: str
    image: Path
    target: Path | int | None
    window: Window | None = None
    row: int | None = None
    source: str = ""
    group: str = ""


@dataclass(frozen=True, slots=True)
class Index:
    """What a layout found.

    Args:
        classes: Shared by all splits.
        splits: Entries by split name, "train" and "val" at least.
        guard: Pixels kept between splits that are cut from one picture; None where no picture
            is shared.
        absent: By split that one may look for and that is not there, why: one sentence or two.
    """

    classes: Classes
    splits: Mapping[str, tuple[Entry, ...]]
    guard: int | None = None
    absent: Mapping[str, str] = field(default_factory=dict)

    @property
    def one_label(self) -> bool:
        """Whether each image has one label, as for classification, in place of a mask."""
        return any(isinstance(e.target, int) for entries in self.splits.values() for e in entries)


@dataclass(frozen=True, slots=True)
class Sample:
    """One decoded entry, or an augmented crop of it."""

    image: UInt8[np.ndarray, "h w c"]
    target: Int16[np.ndarray, "h w"] | int
    key: str


@dataclass(frozen=True, slots=True)
class Mix:
    """Whose picture lies over each image of a batch, in part: mixup and CutMix.

    Args:
        targets: Of the other pictures.
        share: Of the loss that an image's own target keeps, in [0, 1], one for the batch.
    """

    targets: Int16[np.ndarray, " n"]
    share: float


@dataclass(frozen=True, slots=True)
class Batch:
    """Samples of one size, stacked.

    Args:
        images: Pixel values; a tensor "n c h w" where they were made on a GPU.
        targets: Class indices, or `IGNORE`.
        keys: Of the entries.
        mix: For images that are partly another one.
    """

    images: Any
    targets: Int16[np.ndarray, "n *hw"]
    keys: tuple[str, ...]
    mix: Mix | None = None


EventKind = Literal["start", "step", "validate", "epoch", "save", "note", "stop", "progress"]


@dataclass(frozen=True, slots=True)
class Event:
    """Something a job tells whoever watches: console, notebook, log or a web page.

    What `data` holds, by kind:
        start: `steps` (in all), `epochs`, `step` (the first to come; above 0 after a resume).
        step: `step` (done so far), `loss`, `lr`, `images` (in this step), `seconds` (of it).
        validate: `done`, `total` images.
        epoch: one row of the log: `epoch`, `step`, `train_loss`, `val_loss`, `score`, `lr`,
            `seconds`, `best` (whether it is the best so far).
        save: `path`.
        progress: `what` ("predict", "evaluate", "check", ...), `done`, `total`; `left`, seconds to
            go of the whole job, where that is known; `unit`, "bytes" where bytes are counted, or
            "pixels", and then `speed`, how many in a second.
        note: `text`, one sentence for the user.
        stop: `why`.
    """

    kind: EventKind
    data: Mapping[str, Any]


CHOSEN_BY: Mapping[str, str] = {"mean_iou": "mean IoU", "top1": "top-1"}
"""The scores by which models are chosen, of masks and of labels, and their titles."""


def chosen_score(told: Mapping[str, Any], prefix: str = "val_") -> tuple[str, float | None]:
    """Title and value of the score by which models are chosen; None where it is undefined.

    Args:
        told: A row of the log, or with the prefix "" the table of a scores file.
        prefix: Of the score's name.
    """
    for name, title in CHOSEN_BY.items():
        if f"{prefix}{name}" in told:
            return title, told[f"{prefix}{name}"]
    return "score", told.get("score")


OnEvent = Callable[[Event], None]


def silent(event: Event) -> None:
    """An `OnEvent` that tells nobody."""
