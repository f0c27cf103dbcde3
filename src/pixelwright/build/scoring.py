"""Scores of a model on a split: predicted image by image, counted, pooled."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Float32, Int16, UInt8
from torch import Tensor, nn

from pixelwright.data.dataset import Dataset
from pixelwright.errors import DataError
from pixelwright.inference.predictor import WHOLE_PIXELS, Predictor
from pixelwright.losses._combine import Term, build_terms
from pixelwright.losses._loss import at_least_float32
from pixelwright.metrics.confusion import Confusion
from pixelwright.metrics.details import Details
from pixelwright.metrics.scores import Scores
from pixelwright.nn.receptive import Field
from pixelwright.training.engine import Engine
from pixelwright.types import Entry, Event, Index, OnEvent, Window, silent

Depth = Literal["counts", "loss", "all"]
"""How much is measured: labels alone; the loss too; or all that `Scores` can tell."""

_Values = dict[str, float]

_ALWAYS = "cross-entropy + dice + focal"
"""Every full scoring tells these, so that runs with different losses can be compared."""


class Scorer:
    """Scores models on the splits of one index, image by image.

    Args:
        found: The entries.
        channels: Of the images.
        field: What the network sees.
        engine: Where to predict.
        tile: Most pixels to a side, or None.
        terms: The losses whose sum is the loss; without, none is told.
    """

    def __init__(
        self,
        found: Index,
        channels: int,
        field: Field,
        engine: Engine,
        tile: int | None,
        terms: Sequence[Term] = (),
    ) -> None:
        self.index = found
        self._channels = channels
        self._field = field
        self._engine = engine
        self._tile = tile
        self._terms = terms
        self._datasets: dict[tuple[Entry, ...], Dataset] = {}

    def __call__(
        self,
        model: nn.Module,
        split: str,
        *,
        depth: Depth = "counts",
        fast: bool = False,
        entries: tuple[Entry, ...] | None = None,
        on_event: OnEvent = silent,
    ) -> Scores:
        """Predict every image of a split, count, and score.

        Args:
            model: Takes pixel values.
            split: Which entries, unless `entries` says.
            depth: What to measure; choosing a model needs its loss at most.
            fast: In the engine's precision; else in float32.
            entries: Only these.
            on_event: Told the progress.
        """
        chosen = self.entries(split) if entries is None else entries
        classes = self.index.classes
        dataset = self._datasets.setdefault(chosen, Dataset(chosen, classes, self._channels))
        predictor = self._predictor(model, fast)
        losses = _Losses(self._terms, depth, len(classes))
        tables, details, loss_sum, counted = [], [], 0.0, 0
        for number in range(len(dataset)):
            sample = dataset.sample(number)
            target = np.asarray(sample.target)
            if depth == "counts":
                labels = predictor.labels(sample.image)
            else:
                sure = np.zeros(target.shape, np.float32) if depth == "all" else None
                labels, values = _measure(predictor, sample.image, target, losses, sure)
                pixels = int((target >= 0).sum())
                counted += pixels
                loss_sum += values.get(losses.total, 0.0) * pixels
                if sure is not None:
                    details.append(Details.of(labels, target, sure, len(classes), values))
            tables.append((sample.key, Confusion.of(labels, target, len(classes))))
            on_event(Event("validate", {"done": number + 1, "total": len(dataset)}))
        return Scores.of_images(
            classes.names,
            tables,
            loss=loss_sum / counted if counted and self._terms else None,
            split=split,
            details=Details.joined(details, len(classes)) if depth == "all" else None,
        )

    def _predictor(self, model: nn.Module, fast: bool) -> Predictor:
        engine = self._engine if fast else replace(self._engine, dtype=torch.float32)
        return Predictor(
            model,
            self._field,
            len(self.index.classes),
            tile=self._tile,
            device=engine.device,
            autocast=None if engine.dtype is torch.float32 else engine.dtype,
        )

    def entries(self, split: str) -> tuple[Entry, ...]:
        """The entries of a split; "all" is every picture, whole.

        Raises:
            DataError: There is no such split.
        """
        return entries_of(self.index, split)


def entries_of(found: Index, split: str) -> tuple[Entry, ...]:
    """The entries of a split; "all" is every picture, whole.

    Raises:
        DataError: There is no such split.
    """
    splits = found.splits
    if split in splits:
        return splits[split]
    if split in found.absent:
        raise DataError(f"There is no split '{split}'. {found.absent[split]}")
    if split != "all":
        raise DataError(
            f"There is no split '{split}'. There are {', '.join(splits)}; 'all' takes every "
            f"picture whole."
        )
    whole: dict[object, Entry] = {}
    for entry in (e for entries in splits.values() for e in entries):
        if isinstance(entry.target, int):
            whole[entry.image, entry.row] = entry
        else:
            whole[entry.image] = replace(entry, key=entry.image.stem, window=None)
    return tuple(whole.values())


class _Losses:
    """The losses to measure, by name: the sum of the terms, each term, and what is told always."""

    def __init__(self, terms: Sequence[Term], depth: Depth, classes: int) -> None:
        self._terms = terms
        self.total = " + ".join(
            f"{t.factor:g}*{t.name}" if t.factor != 1 else t.name for t in terms
        )
        always = build_terms(_ALWAYS, classes, _equal) if depth == "all" else []
        self._losses = {term.name: term.loss for term in [*always, *terms]}

    def __call__(self, logits: Float[Tensor, "k h w"], target: Int16[np.ndarray, "h w"]) -> _Values:
        truth = torch.as_tensor(target)[None].to(logits.device).long()
        values = {name: loss(logits[None], truth).item() for name, loss in self._losses.items()}
        if not self._terms:
            return values
        total = sum(term.factor * values[term.name] for term in self._terms)
        return {self.total: total, **values}


def _equal(scheme: str) -> Float[np.ndarray, " k"]:
    raise AssertionError(f"no class weights are asked for: {scheme}")


def _measure(
    predictor: Predictor,
    image: UInt8[np.ndarray, "h w c"],
    target: Int16[np.ndarray, "h w"],
    losses: _Losses,
    confidence: Float32[np.ndarray, "h w"] | None,
) -> tuple[Int16[np.ndarray, "h w"], _Values]:
    """The class of each pixel, and the losses; `confidence` takes the probability of the class.

    Images above 4 megapixels are measured part by part, so that memory stays bounded: a loss that
    pools over pixels, such as Dice, is then the mean of its parts.
    """
    labels = np.zeros(target.shape, np.int16)
    values, counted = Counter[str](), 0
    for window, logits in _parts(predictor, image):
        rows = slice(window.top, window.top + window.height)
        columns = slice(window.left, window.left + window.width)
        truth = np.ascontiguousarray(target[rows, columns])
        pixels = int((truth >= 0).sum())
        wide = at_least_float32(logits)
        highest, chosen = wide.max(dim=0)
        labels[rows, columns] = chosen.to(torch.int16).cpu().numpy()
        if confidence is not None:
            share = (highest - wide.logsumexp(dim=0)).exp()
            confidence[rows, columns] = share.float().cpu().numpy()
        found = losses(wide, truth)
        values.update({name: value * pixels for name, value in found.items() if pixels})
        counted += pixels
    return labels, {name: value / counted for name, value in values.items()}


def _parts(
    predictor: Predictor, image: UInt8[np.ndarray, "h w c"]
) -> Iterator[tuple[Window, Float[Tensor, "k h w"]]]:
    height, width = image.shape[:2]
    if height * width > WHOLE_PIXELS:
        yield from predictor.logit_tiles(image)
    else:
        yield Window(0, 0, height, width), predictor.logits(image, on_device=True)
