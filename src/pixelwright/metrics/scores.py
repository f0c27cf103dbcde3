"""The scores of a split, with per-image counts and 95 % intervals.

scores = Scores.of_images(names, ((key, confusion) for ...), split="val")
scores.mean_iou, scores.interval("mean_iou")       # 0.71, (0.69, 0.73)
scores.to_json()                                   # for scores-val.json; read by from_json
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from jaxtyping import Float, Float64, Int64

from pixelwright.errors import first_few
from pixelwright.metrics.calibration import Calibration
from pixelwright.metrics.confusion import Confusion, Margins
from pixelwright.metrics.details import Details
from pixelwright.metrics.intervals import percentiles, resample, resample_sums
from pixelwright.metrics.told import (
    as_html,
    calibration_told,
    data_frame,
    not_scores,
    number,
    or_null,
    span,
)

ScoreName = Literal[
    "mean_iou", "mean_dice", "pixel_accuracy", "mean_boundary_iou", "calibration_error"
]

TITLES: Mapping[ScoreName, str] = {
    "mean_iou": "mean IoU",
    "mean_dice": "mean Dice",
    "pixel_accuracy": "pixel accuracy",
    "mean_boundary_iou": "mean boundary IoU",
    "calibration_error": "calibration error",
}
OF_DETAILS: tuple[ScoreName, ...] = ("mean_boundary_iou", "calibration_error")
"""Scores that need more than confusion tables; NaN where only those were counted."""


@dataclass(frozen=True, eq=False)
class Scores:
    """What a model scored on the images of one split.

    Args:
        names: Of the classes.
        keys: Of the images.
        tables: One confusion table per image: rows truth, columns prediction.
        loss: Mean loss, or None where it was not measured.
        split: The split's name.
        data: The data's spec, as a user writes it.
        details: What else was counted on each image, or None: then boundary IoU and calibration
            error are NaN, and there are no losses.
    """

    names: tuple[str, ...]
    keys: tuple[str, ...]
    tables: Int64[np.ndarray, "images k k"]
    loss: float | None = None
    split: str = "val"
    data: str = ""
    details: Details | None = None

    @classmethod
    def of_images(
        cls,
        names: Sequence[str],
        images: Iterable[tuple[str, Confusion]],
        *,
        loss: float | None = None,
        split: str = "val",
        data: str = "",
        details: Details | None = None,
    ) -> "Scores":
        """Collect the counts of images, each under its key."""
        counted = list(images)
        tables = np.zeros((len(counted), len(names), len(names)), np.int64)
        for position, (_, confusion) in enumerate(counted):
            tables[position] = confusion.counts
        keys = tuple(key for key, _ in counted)
        return cls(tuple(names), keys, tables, loss, split, data, details)

    @cached_property
    def total(self) -> Confusion:
        """All images in one table."""
        return Confusion(self.tables.sum(0))

    @property
    def mean_iou(self) -> float:
        return self.total.mean_iou()

    @property
    def value(self) -> float:
        """By which models are chosen: the mean IoU."""
        return self.mean_iou

    @property
    def value_interval(self) -> tuple[float, float]:
        """The 95 % interval of `value`."""
        return self.interval("mean_iou")

    def row(self) -> dict[str, Any]:
        """What the log of a training is told."""
        return {
            "val_loss": math.nan if self.loss is None else self.loss,
            "score": self.value,
            "val_mean_iou": self.mean_iou,
            "val_mean_dice": self.mean_dice,
            "val_pixel_accuracy": self.pixel_accuracy,
            "val_iou": dict(zip(self.names, self.total.iou().tolist(), strict=True)),
        }

    @property
    def mean_dice(self) -> float:
        return self.total.mean_dice()

    @property
    def pixel_accuracy(self) -> float:
        return self.total.pixel_accuracy()

    @property
    def mean_boundary_iou(self) -> float:
        return float(np.nan if self.details is None else self.details.boundary.mean_iou())

    @property
    def calibration_error(self) -> float:
        return float(np.nan if self.details is None else self.details.calibration.error())

    @property
    def undefined(self) -> tuple[str, ...]:
        """Classes that occur neither in truth nor in prediction: no mean counts them."""
        iou = self.total.iou()
        return tuple(name for name, value in zip(self.names, iou, strict=True) if math.isnan(value))

    @cached_property
    def _drawn(self) -> Margins:
        return resample(self.tables)

    @cached_property
    def _drawn_boundary(self) -> Margins:
        assert self.details is not None
        return Margins(*np.moveaxis(resample_sums(self.details.boundaries), 1, 0))

    def interval(self, name: ScoreName) -> tuple[float, float]:
        """The 95 % bootstrap interval over images; NaN, NaN where fewer than two images count."""
        if int((self.tables.sum((1, 2)) > 0).sum()) < 2:
            return math.nan, math.nan
        if self.details is None and name in OF_DETAILS:
            return math.nan, math.nan
        low, high = percentiles(self._drawn_score(name)).tolist()
        return low, high

    def _drawn_score(self, name: ScoreName) -> Float[np.ndarray, " draws"]:
        if name == "mean_boundary_iou":
            return self._drawn_boundary.mean_iou()
        if name == "calibration_error":
            assert self.details is not None
            sums = resample_sums(self.details.bins)
            return Calibration(*np.moveaxis(sums, 1, 0)).error()
        return np.asarray(getattr(self._drawn, name)())

    def iou_intervals(self) -> Float64[np.ndarray, "k 2"]:
        """The 95 % interval of each class's IoU; NaN where fewer than two images have the class."""
        return _class_intervals(Margins.of(self.tables), lambda: self._drawn)

    def boundary_iou(self) -> Float[np.ndarray, " k"]:
        """Boundary IoU of each class; NaN where it has no boundary, or none was measured."""
        if self.details is None:
            return np.full(len(self.names), math.nan)
        return self.details.boundary.iou()

    def boundary_intervals(self) -> Float64[np.ndarray, "k 2"]:
        """The 95 % interval of each class's boundary IoU; NaN as for `iou_intervals`."""
        if self.details is None:
            return np.full((len(self.names), 2), math.nan)
        per_image = Margins(*np.moveaxis(self.details.boundaries, 1, 0))
        return _class_intervals(per_image, lambda: self._drawn_boundary)

    def losses(self) -> dict[str, tuple[float, float, float]]:
        """Each measured loss, by its name in a recipe: mean over the pixels, and its interval."""
        if self.details is None or not self.details.losses:
            return {}
        pixels = self.tables.sum((1, 2)).astype(np.float64)
        sums = np.stack([*self.details.losses.values(), pixels], axis=1)
        total = sums.sum(0)
        ends = np.full((2, sums.shape[1]), math.nan)
        if int((pixels > 0).sum()) >= 2:
            drawn = resample_sums(sums)
            some = drawn[:, -1] > 0
            ends = percentiles(drawn[some] / drawn[some, -1:])
        return {
            name: (float(total[i] / total[-1]) if total[-1] else math.nan, *ends[:, i].tolist())
            for i, name in enumerate(self.details.losses)
        }

    def image_mean_iou(self) -> Float[np.ndarray, " images"]:
        """Mean IoU of each image by itself; NaN where nothing is counted."""
        return Margins.of(self.tables).mean_iou()

    def hardest(self, count: int) -> list[tuple[str, float]]:
        """Keys and mean IoU of the `count` images that score lowest, the lowest first."""
        by_image = self.image_mean_iou()
        return self._ranked(by_image, count, by_image)

    def typical(self, count: int) -> list[tuple[str, float]]:
        """Keys and mean IoU of the `count` images nearest to the median image."""
        by_image = self.image_mean_iou()
        scored = by_image[~np.isnan(by_image)]
        if not scored.size:
            return []
        return self._ranked(np.abs(by_image - np.median(scored)), count, by_image)

    def _ranked(
        self,
        order: Float[np.ndarray, " images"],
        count: int,
        by_image: Float[np.ndarray, " images"],
    ) -> list[tuple[str, float]]:
        ranked = [i for i in np.argsort(order, kind="stable").tolist() if not math.isnan(order[i])]
        return [(self.keys[i], float(by_image[i])) for i in ranked[:count]]

    def to_json(self) -> dict[str, Any]:
        """Everything, as JSON types; what is undefined is null. `from_json` reads it back."""
        total = self.total
        table: dict[str, Any] = {
            "split": self.split,
            "data": self.data,
            "images": len(self.keys),
            "loss": None if self.loss is None else or_null(self.loss),
        }
        for name in TITLES:
            low, high = self.interval(name)
            table[name] = or_null(getattr(self, name))
            table[f"{name}_low"], table[f"{name}_high"] = or_null(low), or_null(high)
        ends, edge_ends = self.iou_intervals(), self.boundary_intervals()
        columns = {
            "iou": total.iou(),
            "iou_low": ends[:, 0],
            "iou_high": ends[:, 1],
            "dice": total.dice(),
            "accuracy": total.accuracy(),
            "boundary_iou": self.boundary_iou(),
            "boundary_iou_low": edge_ends[:, 0],
            "boundary_iou_high": edge_ends[:, 1],
        }
        table["classes"] = {
            name: {
                **{title: or_null(values[k]) for title, values in columns.items()},
                "pixels": int(total.pixels[k]),
            }
            for k, name in enumerate(self.names)
        }
        table["losses"] = {
            name: dict(zip(("value", "low", "high"), map(or_null, found), strict=True))
            for name, found in self.losses().items()
        }
        titles = ("from", "to", "pixels", "confidence", "accuracy")
        rows = self.details.calibration.rows() if self.details else []
        table["calibration"] = [dict(zip(titles, row, strict=True)) for row in rows]
        table["undefined"] = list(self.undefined)
        table["confusion"] = total.counts.tolist()
        table |= {"keys": list(self.keys), "tables": self.tables.tolist()}
        return {**table, "details": self.details.to_json() if self.details else None}

    @classmethod
    def from_json(cls, table: Mapping[str, Any]) -> "Scores":
        """Read what `to_json` gave.

        Raises:
            CheckpointError: It holds something else.
        """
        try:
            names, keys = tuple(table["classes"]), tuple(table["keys"])
            tables = np.array(table["tables"], np.int64).reshape(len(keys), len(names), len(names))
            loss = None if table["loss"] is None else float(table["loss"])
            details = None
            if table.get("details") is not None:  # older files have none
                details = Details.from_json(table["details"], len(keys), len(names))
            split, data = str(table["split"]), str(table["data"])
            return cls(names, keys, tables, loss, split, data, details)
        except (KeyError, TypeError, ValueError) as error:
            raise not_scores(error) from None

    def table(self) -> list[tuple[str, ...]]:
        """Rows to print: a header, one per class, and the means."""
        total = self.total
        iou, dice, accuracy = total.iou(), total.dice(), total.accuracy()
        ends, edges = self.iou_intervals(), self.boundary_iou()
        # Scores without details have no column of n/a.
        title, places = (("boundary IoU",), 1) if self.details else ((), 0)
        rows = [("class", "IoU", "95 % interval", *title, "Dice", "accuracy", "pixels")]
        for k, name in enumerate(self.names):
            edge = (number(edges[k]),)[:places]
            found = number(iou[k]), span(*ends[k]), *edge, number(dice[k]), number(accuracy[k])
            rows.append((name, *found, f"{total.pixels[k]:,}"))
        edge = (number(self.mean_boundary_iou),)[:places]
        mean = number(self.mean_iou), span(*self.interval("mean_iou")), *edge
        means = *mean, number(self.mean_dice), number(self.pixel_accuracy)
        return [*rows, ("mean", *means, f"{total.pixels.sum():,}")]

    def notes(self) -> list[str]:
        """What a reader of the numbers has to know, one sentence each; often none."""
        notes = []
        if self.undefined:
            counted = len(self.names) - len(self.undefined)
            notes.append(
                f"The means count {counted} of {len(self.names)} classes: "
                f"{first_few(self.undefined)} occur neither in truth nor in prediction."
            )
        absent = [
            name
            for k, name in enumerate(self.names)
            if self.total.pixels[k] == 0 and name not in self.undefined
        ]
        if absent:
            notes.append(f"Predicted but never true, so IoU 0 in the mean: {first_few(absent)}.")
        if math.isnan(self.interval("mean_iou")[0]):
            notes.append("No intervals: they need two labelled images or more.")
        return notes

    def further(self) -> list[str]:
        """Calibration and losses, a sentence each; none where they were not measured."""
        sentences = []
        if not math.isnan(self.calibration_error):
            sentences.append(self._calibration())
        if losses := self.losses():
            told = [
                f"{name} {number(value)} ({span(low, high)})"
                for name, (value, low, high) in losses.items()
            ]
            sentences.append(f"Losses, with 95 % intervals: {'; '.join(told)}.")
        return sentences

    def _calibration(self) -> str:
        assert self.details is not None
        ends = self.interval("calibration_error")
        return calibration_told(self.calibration_error, ends, self.details.calibration.bias())

    def verdict(self) -> str:
        """One line: the mean IoU, its interval, and on how many images."""
        low, high = self.interval("mean_iou")
        sure = "" if math.isnan(low) else f" (95 % interval {span(low, high)})"
        images = "1 image" if len(self.keys) == 1 else f"{len(self.keys)} images"
        return f"mean IoU {number(self.mean_iou)}{sure} on {images} of '{self.split}'"

    def to_pandas(self) -> Any:
        """A data frame with one row per class.

        Raises:
            PixelwrightError: pandas is not installed.
        """
        return data_frame(self.to_json()["classes"], whole=("pixels",))

    def _repr_html_(self) -> str:
        return as_html(self)


def _class_intervals(
    per_image: Margins, drawn: Callable[[], Margins]
) -> Float64[np.ndarray, "k 2"]:
    ends = np.full((per_image.truth.shape[1], 2), math.nan)
    often = ((per_image.truth + per_image.predicted) > 0).sum(0) >= 2
    if often.any():
        ends[often] = percentiles(drawn().iou()[:, often]).T
    return ends
