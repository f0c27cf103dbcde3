"""A first recipe for data that nobody wrote one for: sizes, classes and memory decide.

recipe = propose(Spec("folders", {"images": "photos", "masks": "labels"}), found, findings)
"""

import math

import numpy as np

from pixelwright.data.findings import Findings
from pixelwright.data.index import load_for_training
from pixelwright.images import size
from pixelwright.models import models
from pixelwright.nn.receptive import field_of
from pixelwright.recipe import Augment, Recipe, Train
from pixelwright.registry import Spec
from pixelwright.types import Index

MINUTES = 20.0
"""When nobody says how long: a coffee, and enough for a few hundred small pictures on a laptop."""
LARGEST_CROP = 256
SMALL, LARGEST_SIDE = 32, 128
"""Sides at which pictures with one label are seen: up to twice the first as they are."""
RARE = 0.15
"""A class with a smaller share of the pixels gets the help of the Dice loss."""


def propose(data: Spec, index: Index, findings: Findings) -> Recipe:
    """A recipe that will do well on most data, to start from.

    Args:
        data: The layout, as it will stand in the recipe.
        index: What the layout found.
        findings: What the check of the data found.

    The deeper a U-Net, the farther it sees. On small images a shallower one sees all there is and
    trains faster; on one picture cut into blocks it also keeps the guard band narrow.
    """
    if index.one_label:
        return _for_labels(data, findings, len(index.splits["train"]))
    sides = [_smallest_side(index)]
    paired = index.guard is not None
    depth = 3 if paired or min(sides) < 192 else 4
    model = Spec("unet", {"depth": depth, "width": 24 if depth == 4 else 32})
    if paired:
        radius = field_of(models.build(model, classes=len(index.classes), channels=3), 3).radius
        data = data.with_option("guard", max(radius, index.guard or 0))
        index = load_for_training(data)
        sides = [_smallest_side(index)]
    rule = 2**depth
    crop = max(min(LARGEST_CROP, min(sides) // rule * rule), rule)
    shares = findings.shares("train").values()
    rare = min((share for share in shares if share > 0), default=1.0) < RARE
    return Recipe(
        data=data,
        model=model,
        loss="cross-entropy + dice" if rare else "cross-entropy",
        train=Train(
            minutes=MINUTES,
            batch_size=8,
            crop=crop,
            optimizer=Spec("adamw"),
            lr=2e-3,
            clip=1.0,
            ema=0.99,
        ),
        augment=Augment(
            rotate=15,
            scale=(0.75, 1.33),
            brightness=0.2,
            contrast=0.2,
            saturation=0.2,
            hue=0.02,
        ),
    )


def _for_labels(data: Spec, findings: Findings, count: int) -> Recipe:
    """A recipe for pictures with one label each: whole pictures, brought to one size."""
    # Of few pictures small batches, or the weights would hardly move in an epoch.
    batch_size = min(max(count // 16, 8), 64)
    sides = sorted(min(size) for size, count in findings.sizes.items() for _ in range(count))
    median = sides[len(sides) // 2] if sides else SMALL
    one_size = len(findings.sizes) == 1 and median <= 2 * SMALL
    size = None if one_size else min(median, LARGEST_SIDE)
    seen = size or median
    # A stage for each halving, down to maps of about 8 pixels to a side.
    depth = min(max(round(math.log2(max(seen, 8) / 8)) + 1, 2), 6)
    options = {"width": 32 if depth <= 3 else 16, "depth": depth, "norm": "batch"}
    return Recipe(
        data=data,
        model=Spec("convnet", {**options, "block": "residual"}),
        loss="cross-entropy:smoothing=0.1",
        size=size,
        train=Train(minutes=MINUTES, batch_size=batch_size, lr=3e-3, clip=1.0, ema=0.99),
        augment=Augment(shift=max(seen // 8, 1), brightness=0.2, contrast=0.2, saturation=0.2),
    )


def _smallest_side(index: Index) -> int:
    """The median over training entries of their smaller side, in pixels."""
    sides = [
        min(e.window.height, e.window.width) if e.window else min(size(e.image))
        for e in index.splits["train"]
    ]
    return int(np.median(sides))
