"""What is counted on each image beside its confusion table; all of it adds over images.

details = Details.joined([Details.of(prediction, target, confidence, classes), ...])
details.boundary.mean_iou()                  # of the pooled counts
details.calibration.error()
details.to_json()                            # read back by from_json
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Float, Float64, Int64, Integer

from pixelwright.metrics.boundary import (
    boundary_margins,
    count_codes,
    label_codes,
    near_boundary,
    outline_lengths,
)
from pixelwright.metrics.calibration import BINS, Calibration
from pixelwright.metrics.confusion import Margins
from pixelwright.metrics.objects import SIZES, object_rows


@dataclass(frozen=True, eq=False)
class Details:
    """Counts per image, and what follows from their sums.

    Args:
        boundaries: Pixels in the bands of boundary IoU: right, true, predicted.
        near: Pixels within 3 of a true boundary: right, true, predicted.
        outlines: Length of each class's outline, in sides of pixels.
        objects: Image, class, size bin, true objects, their pixels, found, falsely predicted.
        bins: Of calibration: pixels, sum of confidence, right.
        losses: Sums over the counted pixels, by the loss as a recipe names it.
    """

    boundaries: Int64[np.ndarray, "images 3 k"]
    near: Int64[np.ndarray, "images 3 k"]
    outlines: Int64[np.ndarray, "images k"]
    objects: Int64[np.ndarray, "rows 7"]
    bins: Float64[np.ndarray, "images 3 bins"]
    losses: Mapping[str, Float64[np.ndarray, " images"]] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        prediction: Integer[np.ndarray, "h w"],
        target: Integer[np.ndarray, "h w"],
        confidence: Float[np.ndarray, "h w"],
        classes: int,
        losses: Mapping[str, float] | None = None,
    ) -> "Details":
        """Count one image.

        Args:
            prediction: Class indices.
            target: Class indices, or `IGNORE`.
            confidence: The probability of the predicted class.
            classes: Number of classes.
            losses: Mean losses over the counted pixels.
        """
        truth, found = label_codes(target, classes), label_codes(prediction, classes)
        counted, right = truth != 0, truth == found
        near = near_boundary(target, classes)
        pairs = (truth, near & right), (truth, near), (found, near)
        rows = object_rows(prediction, target, classes)
        pixels = int(counted.sum())
        return cls(
            np.stack(boundary_margins(prediction, target, classes))[None],
            np.stack([count_codes(codes, where, classes) for codes, where in pairs])[None],
            outline_lengths(target, classes)[None],
            np.concatenate([np.zeros((len(rows), 1), np.int64), rows], axis=1),
            np.stack(Calibration.of(confidence[counted], right[counted]))[None],
            # Zero pixels have no loss, whatever a loss says of them.
            {
                name: np.array([value * pixels if pixels else 0.0])
                for name, value in (losses or {}).items()
            },
        )

    @classmethod
    def joined(cls, parts: Iterable["Details"], classes: int) -> "Details":
        """All images of several, one after the other; of no part, no image."""
        every = list(parts) or [cls.empty(classes)]
        starts = np.cumsum([0, *(len(part.outlines) for part in every)])
        objects = [
            part.objects + start * (np.arange(7) == 0)
            for part, start in zip(every, starts[:-1], strict=True)
        ]
        return cls(
            np.concatenate([part.boundaries for part in every]),
            np.concatenate([part.near for part in every]),
            np.concatenate([part.outlines for part in every]),
            np.concatenate(objects),
            np.concatenate([part.bins for part in every]),
            {name: np.concatenate([p.losses[name] for p in every]) for name in every[0].losses},
        )

    @classmethod
    def empty(cls, classes: int) -> "Details":
        margins = np.zeros((0, 3, classes), np.int64)
        none = np.zeros((0, 7), np.int64)
        return cls(margins, margins, margins[:, 0], none, np.zeros((0, 3, BINS)))

    @cached_property
    def boundary(self) -> Margins:
        """Of all images: what boundary IoU is computed from."""
        return Margins(*self.boundaries.sum(0))

    @cached_property
    def near_margins(self) -> Margins:
        """Of all images: what lies near a true boundary."""
        return Margins(*self.near.sum(0))

    @cached_property
    def calibration(self) -> Calibration:
        """Of all images."""
        return Calibration(*self.bins.sum(0))

    @cached_property
    def sizes(self) -> Int64[np.ndarray, "k 4 sizes"]:
        """Of all images, by class and size: objects, their pixels, found, falsely predicted."""
        table = np.zeros((self.outlines.shape[1], SIZES, 4), np.int64)
        np.add.at(table, (self.objects[:, 1], self.objects[:, 2]), self.objects[:, 3:])
        return table.transpose(0, 2, 1)

    def to_json(self) -> dict[str, Any]:
        """As JSON types, exactly; a loss that is no number is null. `from_json` reads it back."""
        return {
            "boundaries": self.boundaries.tolist(),
            "near": self.near.tolist(),
            "outlines": self.outlines.tolist(),
            "objects": self.objects.tolist(),
            "bins": self.bins.tolist(),
            "losses": {
                name: [value if np.isfinite(value) else None for value in sums.tolist()]
                for name, sums in self.losses.items()
            },
        }

    @classmethod
    def from_json(cls, table: Mapping[str, Any], images: int, classes: int) -> "Details":
        """Read what `to_json` gave.

        Raises:
            KeyError, TypeError, ValueError: It is something else.
        """
        objects = _array(table["objects"], np.int64, (-1, 7))
        if objects.size and not (
            (objects >= 0).all() and (objects[:, :3] < [images, classes, SIZES]).all()
        ):
            raise ValueError("objects of images, classes or sizes that there are not")
        return cls(
            _array(table["boundaries"], np.int64, (images, 3, classes)),
            _array(table["near"], np.int64, (images, 3, classes)),
            _array(table["outlines"], np.int64, (images, classes)),
            objects,
            _array(table["bins"], np.float64, (images, 3, BINS)),
            {
                str(name): _array(sums, np.float64, (images,))
                for name, sums in dict(table["losses"]).items()
            },
        )


def _array(values: Sequence[Any], kind: type[Any], shape: tuple[int, ...]) -> np.ndarray:
    return np.array(values, kind).reshape(shape)
