"""What a training works on: batches to learn from, and what scores a model."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from torch import nn

from pixelwright.build.scoring import Depth
from pixelwright.metrics.labels import LabelScores
from pixelwright.metrics.scores import Scores
from pixelwright.nn.receptive import Field
from pixelwright.types import Batch, Entry, OnEvent, silent


@runtime_checkable
class Batches(Protocol):
    """Endless training batches; batch s is the same whenever and wherever it is made."""

    @property
    def steps_per_epoch(self) -> int:
        """Batches until every entry has been drawn its share."""

    def batches(self, start: int = 0) -> Iterator[Batch]:
        """From step `start` on."""


@runtime_checkable
class Scoring(Protocol):
    """Scores models on the splits of one index."""

    def entries(self, split: str) -> tuple[Entry, ...]:
        """Those of a split."""

    def __call__(
        self,
        model: nn.Module,
        split: str,
        *,
        depth: Depth = "counts",
        fast: bool = False,
        entries: tuple[Entry, ...] | None = None,
        on_event: OnEvent = silent,
    ) -> Scores | LabelScores:
        """Predict every image of a split, and score."""


@dataclass(frozen=True)
class Material:
    """What a training works on.

    Args:
        loader: The training batches.
        score: Scores what learns.
        field: What the network sees.
        side: Height and width of the images in a batch.
    """

    loader: Batches
    score: Scoring
    field: Field
    side: tuple[int, int]
