"""Scores of a classifier on a split: all pictures in memory, predicted in batches."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float32
from torch import nn

from pixelwright.build.scoring import Depth, entries_of
from pixelwright.data.resident import Resident
from pixelwright.inference.labels import log_probabilities
from pixelwright.losses._combine import Term, combine
from pixelwright.metrics.labels import LabelScores
from pixelwright.training.engine import Engine
from pixelwright.types import Entry, Event, Index, OnEvent, silent


class LabelScorer:
    """Scores classifiers on the splits of one index.

    Args:
        found: The entries.
        channels: Of the images.
        side: Height and width of the pictures that a network was trained on; others are brought
            to them.
        size: The side at which the network sees pictures, if it enlarges them.
        engine: Where to predict.
        terms: The losses whose sum is the loss; without, none is told.
        flip: Whether every picture is also seen mirrored.
    """

    def __init__(
        self,
        found: Index,
        channels: int,
        side: tuple[int, int],
        size: int | None,
        engine: Engine,
        terms: Sequence[Term] = (),
        flip: bool = False,
    ) -> None:
        self.index = found
        self._channels = channels
        self._side = side
        self._size = size
        self._engine = engine
        self._terms = terms
        self._flip = flip
        self._kept: dict[tuple[Entry, ...], Resident] = {}

    def entries(self, split: str) -> tuple[Entry, ...]:
        """The entries of a split; "all" is every picture.

        Raises:
            DataError: There is no such split.
        """
        return entries_of(self.index, split)

    def keep(self, entries: tuple[Entry, ...], pictures: Resident) -> None:
        """Take pictures that are in memory already for those of these entries."""
        self._kept[entries] = pictures

    def pictures(self, entries: tuple[Entry, ...]) -> Resident:
        """The decoded pictures of some entries, kept for the next time."""
        if entries not in self._kept:
            self._kept[entries] = Resident.of(
                entries, self.index.classes, self._channels, side=self._side
            )
        return self._kept[entries]

    def log_probabilities(
        self,
        model: nn.Module,
        entries: tuple[Entry, ...],
        *,
        fast: bool = False,
        on_event: OnEvent = silent,
    ) -> Float32[np.ndarray, "n k"]:
        """What a model says of some entries; arguments as in a call."""
        total = len(entries)
        return log_probabilities(
            model,
            self.pictures(entries).images,
            device=self._engine.device,
            autocast=torch.bfloat16 if fast and self._engine.dtype is torch.bfloat16 else None,
            flip=self._flip,
            side=self._size,
            on_batch=lambda done: on_event(Event("validate", {"done": done, "total": total})),
        )

    def __call__(
        self,
        model: nn.Module,
        split: str,
        *,
        depth: Depth = "counts",
        fast: bool = False,
        entries: tuple[Entry, ...] | None = None,
        on_event: OnEvent = silent,
    ) -> LabelScores:
        """Predict every picture of a split, and score.

        Args:
            model: Takes pixel values.
            split: Which entries, unless `entries` says.
            depth: Beside "counts" the loss is measured as well.
            fast: In the engine's precision; else in float32.
            entries: Only these.
            on_event: Told the progress.
        """
        chosen = self.entries(split) if entries is None else entries
        found = self.log_probabilities(model, chosen, fast=fast, on_event=on_event)
        return self.scores(found, split, chosen, loss=depth != "counts")

    def scores(
        self,
        log_probabilities: Float32[np.ndarray, "n k"],
        split: str,
        entries: tuple[Entry, ...],
        *,
        loss: bool = True,
    ) -> LabelScores:
        """The scores of what one model or several say of some entries."""
        pictures, classes = self.pictures(entries), self.index.classes
        value = None
        if loss and self._terms:
            said = torch.from_numpy(log_probabilities)
            truth = torch.from_numpy(pictures.labels).long()
            value = combine(self._terms)(said, truth).item()
        return LabelScores.of_logits(
            classes.names,
            pictures.keys,
            pictures.labels,
            log_probabilities,
            groups=classes.groups,
            split=split,
            loss=value,
        )
