"""Scores of a model on a split: predicted image by image, counted, pooled."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from pixelwright.data.dataset import Dataset
from pixelwright.errors import DataError
from pixelwright.inference.predictor import Predictor
from pixelwright.metrics.confusion import Confusion
from pixelwright.metrics.scores import Scores
from pixelwright.nn.receptive import Field
from pixelwright.training.engine import Engine
from pixelwright.types import Entry, Event, Index, OnEvent, silent

Loss = Callable[[Tensor, Tensor], Tensor]


class Scorer:
    """Scores models on the splits of one index, image by image.

    Args:
        found: The entries.
        channels: Of the images.
        field: What the network sees.
        engine: Where to predict.
        tile: Most pixels to a side, or None.
        loss: What `with_loss` computes.
    """

    def __init__(
        self,
        found: Index,
        channels: int,
        field: Field,
        engine: Engine,
        tile: int | None,
        loss: Loss | None = None,
    ) -> None:
        self.index = found
        self._channels = channels
        self._field = field
        self._engine = engine
        self._tile = tile
        self._loss = loss
        self._datasets: dict[tuple[Entry, ...], Dataset] = {}

    def __call__(
        self,
        model: nn.Module,
        split: str,
        *,
        with_loss: bool = False,
        fast: bool = False,
        entries: tuple[Entry, ...] | None = None,
        on_event: OnEvent = silent,
    ) -> Scores:
        """Predict every image of a split, count, and score.

        Args:
            model: Takes pixel values.
            split: Which entries, unless `entries` says.
            with_loss: Compute the loss too, pooled over the counted pixels.
            fast: In the engine's precision; else in float32.
            entries: Only these.
            on_event: Told the progress.
        """
        chosen = self.entries(split) if entries is None else entries
        classes = self.index.classes
        dataset = self._datasets.setdefault(chosen, Dataset(chosen, classes, self._channels))
        engine = self._engine if fast else replace(self._engine, dtype=torch.float32)
        predictor = Predictor(
            model,
            self._field,
            len(classes),
            tile=self._tile,
            device=engine.device,
            autocast=None if engine.dtype is torch.float32 else engine.dtype,
        )
        counted_images, loss_sum, counted = [], 0.0, 0
        for number in range(len(dataset)):
            sample = dataset.sample(number)
            target = np.asarray(sample.target)
            if with_loss and self._loss:
                logits = predictor.logits(sample.image)
                labels = logits.argmax(0).to(torch.int16).cpu().numpy()
                loss = self._loss(
                    logits[None], torch.as_tensor(target)[None].to(logits.device).long()
                )
                pixels = int((target >= 0).sum())
                loss_sum, counted = loss_sum + loss.item() * pixels, counted + pixels
            else:
                labels = predictor.labels(sample.image)
            counted_images.append((sample.key, Confusion.of(labels, target, len(classes))))
            on_event(Event("validate", {"done": number + 1, "total": len(dataset)}))
        return Scores.of_images(
            classes.names,
            counted_images,
            loss=loss_sum / counted if counted else None,
            split=split,
        )

    def entries(self, split: str) -> tuple[Entry, ...]:
        """The entries of a split; "all" is every picture, whole.

        Raises:
            DataError: There is no such split.
        """
        splits = self.index.splits
        if split in splits:
            return splits[split]
        if split in self.index.absent:
            raise DataError(f"There is no split '{split}'. {self.index.absent[split]}")
        if split != "all":
            raise DataError(
                f"There is no split '{split}'. There are {', '.join(splits)}; 'all' takes every "
                f"picture whole."
            )
        whole = {
            e.image: replace(e, key=e.image.stem, window=None) for s in splits.values() for e in s
        }
        return tuple(whole.values())
