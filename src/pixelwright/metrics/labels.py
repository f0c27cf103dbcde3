"""The scores of a classifier on a split, where each image has one label.

scores = LabelScores.of_logits(names, keys, truth, logits, groups=superclasses, split="val")
scores.top1, scores.interval("top1")             # 0.612, (0.598, 0.626)
scores.confused(3)                               # maple taken for oak 12 times, by which images
scores.to_json()                                 # for scores-val.json; read by metrics.read_scores
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool, Float, Float64, Int64, Integer

from pixelwright.errors import first_few
from pixelwright.metrics.answers import BEST, Answers, answers, short
from pixelwright.metrics.calibration import Calibration
from pixelwright.metrics.intervals import percentiles, resample_cells, resample_sums
from pixelwright.metrics.per_class import PerClass, rates, rates_of
from pixelwright.metrics.told import (
    as_html,
    calibration_told,
    data_frame,
    not_scores,
    number,
    or_null,
    span,
)

LabelScore = Literal[
    "top1", "top5", "mean_class_accuracy", "group_accuracy", "log_loss", "calibration_error"
]

TITLES: Mapping[LabelScore, str] = {
    "top1": "top-1",
    "top5": "top-5",
    "mean_class_accuracy": "mean class accuracy",
    "group_accuracy": "superclass accuracy",
    "log_loss": "log loss",
    "calibration_error": "calibration error",
}
_MOST_CLASSES = 24
"""More classes than these are told by their superclasses, where they have some."""
_EXAMPLES = 12
"""Keys of images that the JSON holds of a confused pair."""


@dataclass(frozen=True, eq=False)
class LabelScores(Answers):
    """What a classifier scored on the images of one split: see `Answers` for its arguments."""

    @classmethod
    def of_logits(
        cls,
        names: Sequence[str],
        keys: Sequence[str],
        truth: Integer[np.ndarray, " n"],
        logits: Float[np.ndarray, "n k"],
        *,
        groups: Sequence[str] = (),
        split: str = "val",
        data: str = "",
        loss: float | None = None,
    ) -> "LabelScores":
        """Score what a network says: logits, or logarithms of probabilities."""
        said = tuple(names), tuple(groups), tuple(keys), truth.astype(np.int16)
        return cls(*said, *answers(logits, truth), split, data, loss)

    @classmethod
    def of_probabilities(
        cls,
        names: Sequence[str],
        keys: Sequence[str],
        truth: Integer[np.ndarray, " n"],
        probabilities: Float[np.ndarray, "n k"],
        *,
        groups: Sequence[str] = (),
        split: str = "val",
        data: str = "",
        loss: float | None = None,
    ) -> "LabelScores":
        """Score probabilities, such as the means of several networks'.

        One of 0 counts as the smallest number that float32 holds, which bounds its loss at 87.3.
        """
        logits = np.log(np.maximum(probabilities, np.finfo(np.float32).tiny))
        return cls.of_logits(
            names, keys, truth, logits, groups=groups, split=split, data=data, loss=loss
        )

    @property
    def top1(self) -> float:
        return _mean(self.right)

    @property
    def top5(self) -> float:
        """NaN with five classes or fewer, of which every answer would be right."""
        return _mean(self.in_top5) if len(self.names) > BEST else math.nan

    @property
    def mean_class_accuracy(self) -> float:
        """Mean over the classes that have images."""
        found = self.class_accuracy()
        return _mean(found[~np.isnan(found)])

    @property
    def group_accuracy(self) -> float:
        """How often the predicted class is of the true superclass; NaN where there are none."""
        return _mean(self.group_right) if self.groups else math.nan

    @property
    def log_loss(self) -> float:
        """Mean negative logarithm of the probability of the true class."""
        return _mean(self.losses)

    @cached_property
    def calibration(self) -> Calibration:
        """Confidence of the likeliest class against how often it is right."""
        return Calibration.of(self.likely[:, 0], self.right)

    @property
    def calibration_error(self) -> float:
        return float(self.calibration.error())

    @property
    def value(self) -> float:
        """By which models are chosen: the top-1 accuracy."""
        return self.top1

    @property
    def value_interval(self) -> tuple[float, float]:
        """The 95 % interval of `value`."""
        return self.interval("top1")

    def row(self) -> dict[str, Any]:
        """What the log of a training is told."""
        told: dict[str, Any] = {
            "val_loss": math.nan if self.loss is None else self.loss,
            "score": self.value,
            **{f"val_{name}": getattr(self, name) for name in self.known},
        }
        confusion, names = self._told
        return {**told, "val_accuracy": dict(zip(names, rates_of(confusion).tolist(), strict=True))}

    @property
    def known(self) -> tuple[LabelScore, ...]:
        """The scores that can say something of these classes."""
        absent = {"top5"} if len(self.names) <= BEST else set()
        absent |= set() if self.groups else {"group_accuracy"}
        return tuple(name for name in TITLES if name not in absent)

    @cached_property
    def _drawn(self) -> Int64[np.ndarray, "draws k 5"]:
        """Images of each class in bootstrap draws, by what the network made of them.

        That is 0 where it is right; else 1, and 1 more for the top 5, and 2 for the superclass.
        """
        outcome = np.where(self.right, 0, 1 + self.in_top5 + 2 * self.group_right)
        size = len(self.names)
        drawn = resample_cells(5 * self.truth.astype(np.int64) + outcome, 5 * size)
        return drawn.reshape(-1, size, 5)

    @cached_property
    def _drawn_sums(self) -> Float64[np.ndarray, "draws 16"]:
        """The loss, and in every bin by how much confidence is above accuracy."""
        bins = Calibration.each(self.likely[:, 0], self.right)
        gaps = bins.confidence - bins.right
        return resample_sums(np.concatenate([self.losses[:, None], gaps], axis=1))

    def interval(self, name: LabelScore) -> tuple[float, float]:
        """The 95 % bootstrap interval over images; NaN, NaN where there is none."""
        if len(self.keys) < 2 or math.isnan(getattr(self, name)):
            return math.nan, math.nan
        low, high = percentiles(self._drawn_score(name)).tolist()
        return low, high

    def _drawn_score(self, name: LabelScore) -> Float64[np.ndarray, " draws"]:
        count = len(self.keys)
        if name == "log_loss":
            return self._drawn_sums[:, 0] / count
        if name == "calibration_error":
            return np.asarray(np.abs(self._drawn_sums[:, 1:]).sum(1) / count)
        if name == "mean_class_accuracy":
            return np.asarray(np.nanmean(rates(self._drawn[..., 0], self._drawn.sum(2)), axis=1))
        counted = {"top1": [0], "top5": [0, 2, 4], "group_accuracy": [0, 3, 4]}[name]
        return np.asarray(self._drawn[..., counted].sum((1, 2)) / count)

    def class_accuracy(self) -> Float64[np.ndarray, " k"]:
        """Share of each class's images that were found; NaN where it has none."""
        return rates_of(self.confusion)

    def class_intervals(self) -> Float64[np.ndarray, "k 2"]:
        """The 95 % interval of each class's accuracy; NaN where it has no image."""
        return self.classes().ends

    def group_accuracies(self) -> Float64[np.ndarray, " g"]:
        """Share of each superclass's images that were taken for a class of it."""
        return rates_of(self.group_confusion)

    def group_intervals(self) -> Float64[np.ndarray, "g 2"]:
        """The 95 % interval of each superclass's accuracy; NaN where it has no image."""
        return self.superclasses().ends

    def classes(self) -> PerClass:
        """What is told of each class."""
        return PerClass.of(self.names, self.confusion)

    def superclasses(self) -> PerClass:
        """What is told of each superclass; of none where there are none."""
        return PerClass.of(self.group_names, self.group_confusion)

    @property
    def by_group(self) -> bool:
        """Whether there are so many classes that they are better told by superclass."""
        return bool(self.groups) and len(self.names) > _MOST_CLASSES

    @property
    def _told(self) -> tuple[Int64[np.ndarray, "u u"], tuple[str, ...]]:
        if self.by_group:
            return self.group_confusion, self.group_names
        return self.confusion, self.names

    def to_json(self) -> dict[str, Any]:
        """Everything, as JSON types; what is undefined is null. `from_json` reads it back."""
        table: dict[str, Any] = {
            "task": "labels",
            "split": self.split,
            "data": self.data,
            "images": len(self.keys),
            "loss": None if self.loss is None else or_null(self.loss),
        }
        for name in TITLES:
            ends = self.interval(name)
            table[name] = or_null(getattr(self, name))
            table[f"{name}_low"], table[f"{name}_high"] = map(or_null, ends)
        table["classes"] = self.classes().to_json()
        table["superclasses"] = self.superclasses().to_json()
        titles = ("from", "to", "images", "confidence", "accuracy")
        rows = self.calibration.rows()
        return {
            **table,
            "calibration": [dict(zip(titles, row, strict=True)) for row in rows],
            "confused": [
                {**pair._asdict(), "keys": list(pair.keys[:_EXAMPLES])} for pair in self.confused()
            ],
            "confusion": self.confusion.tolist(),
            "groups": list(self.groups),
            "keys": list(self.keys),
            "truth": self.truth.tolist(),
            "top": self.top.tolist(),
            "likely": [short(row) for row in self.likely],
            "losses": short(self.losses),
        }

    @classmethod
    def from_json(cls, table: Mapping[str, Any]) -> "LabelScores":
        """Read what `to_json` gave.

        Raises:
            CheckpointError: It holds something else.
        """
        try:
            names, keys = tuple(table["classes"]), tuple(table["keys"])
            shape = len(keys), min(BEST, len(names))
            truth = np.array(table["truth"], np.int16).reshape(len(keys))
            top = np.array(table["top"], np.int16).reshape(shape)
            likely = np.array(table["likely"], np.float32).reshape(shape)
            losses = np.array(table["losses"], np.float32).reshape(len(keys))
            every = np.concatenate([truth, top.ravel()])
            if every.size and not 0 <= every.min() <= every.max() < len(names):
                raise ValueError("a label is no class")
            groups = tuple(table["groups"])
            if groups and len(groups) != len(names):
                raise ValueError("the superclasses are not those of the classes")
            loss = None if table["loss"] is None else float(table["loss"])
            split, data = str(table["split"]), str(table["data"])
            return cls(names, groups, keys, truth, top, likely, losses, split, data, loss)
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise not_scores(error) from None

    def table(self) -> list[tuple[str, ...]]:
        """Rows to print: a header, one per class or per superclass, and the whole."""
        told = self.superclasses() if self.by_group else self.classes()
        rows = [("superclass" if self.by_group else "class", *_HEAD)]
        for k, name in enumerate(told.names):
            found = number(told.accuracy[k]), span(*told.ends[k]), number(told.precision[k])
            rows.append((name, *found, f"{told.images[k]:,}"))
        whole: LabelScore = "group_accuracy" if self.by_group else "mean_class_accuracy"
        found = number(getattr(self, whole)), span(*self.interval(whole)), ""
        return [*rows, ("all" if self.by_group else "mean", *found, f"{len(self.keys):,}")]

    def notes(self) -> list[str]:
        """What a reader of the numbers has to know, one sentence each; often none."""
        notes = []
        images, taken = self.confusion.sum(1), self.confusion.sum(0)
        absent = [name for k, name in enumerate(self.names) if not images[k]]
        if absent:
            notes.append(
                f"The mean class accuracy counts {len(self.names) - len(absent)} of "
                f"{len(self.names)} classes: there is no image of {first_few(absent)}."
            )
        if unused := [name for k, name in enumerate(self.names) if images[k] and not taken[k]]:
            notes.append(f"Never predicted: {first_few(unused)}.")
        if np.isnan(self.losses).any():
            count = int(np.isnan(self.losses).sum())
            notes.append(f"The network gave no number for {count} of {len(self.keys):,} images.")
        if len(self.keys) < 2:
            notes.append("No intervals: they need two labelled images or more.")
        return notes

    def further(self) -> list[str]:
        """Calibration, log loss and the most confused pairs, a sentence each."""
        sentences = []
        if not math.isnan(self.calibration_error):
            ends = self.interval("calibration_error")
            sentences.append(
                calibration_told(self.calibration_error, ends, self.calibration.bias())
            )
        if not math.isnan(self.log_loss):
            guess = number(math.log(len(self.names)))
            sentences.append(
                f"Log loss {number(self.log_loss)} ({span(*self.interval('log_loss'))}); that of "
                f"guessing evenly is {guess}."
            )
        if pairs := self.confused(3):
            images = dict(zip(self.names, self.confusion.sum(1).tolist(), strict=True))
            said = [f"{p.truth} for {p.taken} ({p.images:,} of {images[p.truth]:,})" for p in pairs]
            sentences.append(f"Most often taken for another: {', '.join(said)}.")
        return sentences

    def verdict(self) -> str:
        """One line: the top-1 accuracy, its interval, the top-5, and on how many images."""
        low, high = self.interval("top1")
        sure = "" if math.isnan(low) else f" (95 % interval {span(low, high)})"
        more = "" if math.isnan(self.top5) else f", top-5 {number(self.top5)}"
        images = "1 image" if len(self.keys) == 1 else f"{len(self.keys):,} images"
        return f"top-1 {number(self.top1)}{sure}{more} on {images} of '{self.split}'"

    def to_pandas(self) -> Any:
        """A data frame with one row per class.

        Raises:
            PixelwrightError: pandas is not installed.
        """
        return data_frame(self.classes().to_json(), whole=("images",))

    def _repr_html_(self) -> str:
        return as_html(self)


_HEAD = ("accuracy", "95 % interval", "precision", "images")


def _mean(values: Float[np.ndarray, " n"] | Bool[np.ndarray, " n"]) -> float:
    return float(values.mean(dtype=np.float64)) if values.size else math.nan
