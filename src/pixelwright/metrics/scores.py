"""The scores of a split, with per-image counts and 95 % intervals.

scores = Scores.of_images(names, ((key, confusion) for ...), split="val")
scores.mean_iou, scores.interval("mean_iou")       # 0.71, (0.69, 0.73)
scores.to_json()                                   # for scores-val.json; read by from_json
"""

import html
import importlib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from jaxtyping import Float, Float64, Int64

from pixelwright.errors import CheckpointError, PixelwrightError, first_few
from pixelwright.metrics.confusion import Confusion, Margins
from pixelwright.metrics.intervals import percentiles, resample

ScoreName = Literal["mean_iou", "mean_dice", "pixel_accuracy"]

TITLES: Mapping[ScoreName, str] = {
    "mean_iou": "mean IoU",
    "mean_dice": "mean Dice",
    "pixel_accuracy": "pixel accuracy",
}


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
    """

    names: tuple[str, ...]
    keys: tuple[str, ...]
    tables: Int64[np.ndarray, "images k k"]
    loss: float | None = None
    split: str = "val"
    data: str = ""

    @classmethod
    def of_images(
        cls,
        names: Sequence[str],
        images: Iterable[tuple[str, Confusion]],
        *,
        loss: float | None = None,
        split: str = "val",
        data: str = "",
    ) -> "Scores":
        """Collect the counts of images, each under its key."""
        counted = list(images)
        tables = np.zeros((len(counted), len(names), len(names)), np.int64)
        for position, (_, confusion) in enumerate(counted):
            tables[position] = confusion.counts
        return cls(tuple(names), tuple(key for key, _ in counted), tables, loss, split, data)

    @cached_property
    def total(self) -> Confusion:
        """All images in one table."""
        return Confusion(self.tables.sum(0))

    @property
    def mean_iou(self) -> float:
        return self.total.mean_iou()

    @property
    def mean_dice(self) -> float:
        return self.total.mean_dice()

    @property
    def pixel_accuracy(self) -> float:
        return self.total.pixel_accuracy()

    @property
    def undefined(self) -> tuple[str, ...]:
        """Classes that occur neither in truth nor in prediction: no mean counts them."""
        iou = self.total.iou()
        return tuple(name for name, value in zip(self.names, iou, strict=True) if math.isnan(value))

    @cached_property
    def _drawn(self) -> Margins:
        return resample(self.tables)

    def interval(self, name: ScoreName) -> tuple[float, float]:
        """The 95 % bootstrap interval over images; NaN, NaN where fewer than two images count."""
        counted = int((self.tables.sum((1, 2)) > 0).sum())
        if counted < 2:
            return math.nan, math.nan
        low, high = percentiles(np.asarray(getattr(self._drawn, name)())).tolist()
        return low, high

    def iou_intervals(self) -> Float64[np.ndarray, "k 2"]:
        """The 95 % interval of each class's IoU; NaN where fewer than two images have the class."""
        ends = np.full((len(self.names), 2), math.nan)
        per_image = Margins.of(self.tables)
        often = ((per_image.truth + per_image.predicted) > 0).sum(0) >= 2
        if often.any():
            ends[often] = percentiles(self._drawn.iou()[:, often]).T
        return ends

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
            "loss": None if self.loss is None else _or_null(self.loss),
        }
        for name in TITLES:
            low, high = self.interval(name)
            table[name] = _or_null(getattr(self, name))
            table[f"{name}_low"], table[f"{name}_high"] = _or_null(low), _or_null(high)
        columns = zip(
            self.names,
            total.iou(),
            self.iou_intervals(),
            total.dice(),
            total.accuracy(),
            total.pixels,
            strict=True,
        )
        table["classes"] = {
            name: {
                "iou": _or_null(iou),
                "iou_low": _or_null(low),
                "iou_high": _or_null(high),
                "dice": _or_null(dice),
                "accuracy": _or_null(accuracy),
                "pixels": int(pixels),
            }
            for name, iou, (low, high), dice, accuracy, pixels in columns
        }
        table["undefined"] = list(self.undefined)
        return {**table, "keys": list(self.keys), "tables": self.tables.tolist()}

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
            return cls(names, keys, tables, loss, str(table["split"]), str(table["data"]))
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError(
                f"These are not scores that Pixelwright wrote: {type(error).__name__} {error}. "
                f"Make them again with 'pixelwright evaluate'."
            ) from None

    def table(self) -> list[tuple[str, ...]]:
        """Rows to print: a header, one per class, and the means."""
        total = self.total
        iou, dice, accuracy = total.iou(), total.dice(), total.accuracy()
        ends = self.iou_intervals()
        rows: list[tuple[str, ...]] = []
        rows.append(("class", "IoU", "95 % interval", "Dice", "accuracy", "pixels"))
        for k, name in enumerate(self.names):
            found = number(iou[k]), span(*ends[k]), number(dice[k]), number(accuracy[k])
            rows.append((name, *found, f"{total.pixels[k]:,}"))
        mean = number(self.mean_iou), span(*self.interval("mean_iou")), number(self.mean_dice)
        rows.append(("mean", *mean, number(self.pixel_accuracy), f"{total.pixels.sum():,}"))
        return rows

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
        try:
            pandas = importlib.import_module("pandas")
        except ImportError:
            raise PixelwrightError(
                "A data frame needs pandas. Install it with 'pip install pandas'."
            ) from None
        classes = self.to_json()["classes"]
        frame = pandas.DataFrame.from_dict(classes, orient="index").rename_axis("class")
        # A column of nulls alone would otherwise hold objects.
        return frame.astype({name: float for name in frame.columns if name != "pixels"})

    def _repr_html_(self) -> str:
        head, *rows = [[html.escape(cell) for cell in row] for row in self.table()]
        lines = [f"<tr>{''.join(f'<th>{cell}</th>' for cell in head)}</tr>"]
        lines += [f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows]
        notes = "".join(f"<br>{html.escape(note)}" for note in self.notes())
        return f"<p>{html.escape(self.verdict())}{notes}</p><table>{''.join(lines)}</table>"


def number(value: float) -> str:
    """A score as it is printed: three digits, or n/a where it is undefined."""
    return "n/a" if math.isnan(value) else f"{value:.3f}"


def span(low: float, high: float) -> str:
    """An interval as it is printed: `0.690 to 0.730`, or n/a where there is none."""
    return "n/a" if math.isnan(low) else f"{low:.3f} to {high:.3f}"


def _or_null(value: float) -> float | None:
    return None if math.isnan(value) else float(value)
