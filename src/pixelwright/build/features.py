"""What a frozen trunk sees, computed once: a head then learns from it in seconds.

    still, head = cut(network)                       # runs once; learns
    kept = Features.of(still, pictures, augment, views=4, seed=0, engine=engine)

Paper: features of a network trained on another task, Razavian et al., 2014,
https://arxiv.org/abs/1403.6382
"""

import copy
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import count
from typing import cast

import numpy as np
import torch
from jaxtyping import Float, Int16
from torch import Tensor, nn

from pixelwright import memory
from pixelwright.build.label_scoring import LabelScorer
from pixelwright.build.scoring import Depth
from pixelwright.data.augment import Augment, generator
from pixelwright.data.batches import views as views_of
from pixelwright.data.loader import ORDER
from pixelwright.data.resident import Resident
from pixelwright.errors import RecipeError
from pixelwright.inference.predictor import evaluating
from pixelwright.metrics.labels import LabelScores
from pixelwright.nn.classifier import Classifier
from pixelwright.nn.normalise import Normalised
from pixelwright.training.engine import Engine
from pixelwright.types import Batch, Entry, Event, OnEvent, silent

PLACE = "network.head."
"""Where the head of a classifier lies in the network that is kept."""


def cut(model: Normalised) -> tuple[nn.Module, nn.Module]:
    """A classifier as two networks that share its weights: pixels to features, features to logits.

    The first layers of a head that hold no weights, such as its pooling, are run once as well.
    """
    network = cast(Classifier, model.network)
    layers = list(network.head.named_children()) if isinstance(network.head, nn.Sequential) else []
    still = 0
    while still < len(layers) and _is_still(layers[still][1]):
        still += 1
    trunk = copy.copy(model)
    first = nn.Sequential(network.encoder, *(layer for _, layer in layers[:still]))
    trunk._modules = {**model._modules, "network": first}
    head = nn.Sequential(OrderedDict(layers[still:])) if layers else network.head
    return trunk, head


def _is_still(layer: nn.Module) -> bool:
    """Whether a layer does the same at every step: no weights, nothing random."""
    random = any("drop" in type(module).__name__.lower() for module in layer.modules())
    return not random and not any(True for _ in layer.parameters())


@dataclass(frozen=True)
class Features:
    """What a trunk says of every view of every picture.

    Args:
        values: In half precision, on the engine's device.
        labels: Class indices.
        keys: Of the entries.
    """

    values: Float[Tensor, "views n *features"]
    labels: Int16[np.ndarray, " n"]
    keys: tuple[str, ...]

    @classmethod
    def of(
        cls,
        still: nn.Module,
        pictures: Resident,
        augment: Augment | None,
        *,
        views: int,
        seed: int,
        engine: Engine,
        on_event: OnEvent = silent,
    ) -> "Features":
        """Run a trunk over every view of the pictures.

        Args:
            still: The trunk.
            pictures: To see.
            augment: How views are varied; None shows the pictures as they are, once.
            views: How many of each picture.
            seed: Of the variation.
            engine: Where to compute.
            on_event: Told the progress.

        Raises:
            RecipeError: They would not fit into memory.
        """
        batches = _views(pictures, augment, views, seed)
        rounds = views if augment is not None else 1
        values: Tensor | None = None
        done = 0
        with evaluating(still), torch.inference_mode(), engine.autocast():
            for batch in batches:
                seen = still(engine.images(batch)).half()
                if values is None:
                    values = _room(rounds * len(pictures.keys), seen)
                values[done : done + len(seen)] = seen
                done += len(seen)
                total = rounds * len(pictures.keys)
                on_event(Event("progress", {"what": "features", "done": done, "total": total}))
        assert values is not None and done == len(values), "a view was left out"
        shaped = values.reshape(rounds, len(pictures.keys), *values.shape[1:])
        # Made outside of inference mode, so that a head can learn from them.
        return cls(shaped.clone(), pictures.labels, pictures.keys)


def _views(
    pictures: Resident, augment: Augment | None, count: int, seed: int
) -> Iterable[np.ndarray | Tensor]:
    if augment is None:
        return (pictures.images[at : at + 256] for at in range(0, len(pictures.keys), 256))
    return (batch.images for batch in views_of(pictures, augment, count, seed))


def _room(rows: int, seen: Tensor) -> Tensor:
    """Memory for all features.

    Raises:
        RecipeError: There is not enough.
    """
    need = 2 * rows * seen[0].numel() * seen.element_size()
    free = memory.free()
    if seen.device.type == "cpu" and need > free:
        raise RecipeError(
            f"The features of all views take {need / 2**30:.1f} GB, and {free / 2**30:.1f} GB are "
            f"free. Lower train.views or size, take a head that averages over the picture, "
            f"or set train.views = 0 to run the encoder at every step."
        )
    return torch.empty((rows, *seen.shape[1:]), dtype=seen.dtype, device=seen.device)


class FeatureLoader:
    """Endless batches of features; view v of all pictures in epoch v, v + views, and on.

    Args:
        features: Of the training pictures.
        batch_size: Pictures in a batch.
        seed: Of the order.
    """

    def __init__(self, features: Features, *, batch_size: int, seed: int) -> None:
        self._features = features
        self._seed = seed
        self.batch_size = batch_size

    @property
    def steps_per_epoch(self) -> int:
        return -(-len(self._features.keys) // self.batch_size)

    def batches(self, start: int = 0) -> Iterator[Batch]:
        """Batches from step `start` on, without end."""
        views, total = self._features.values.shape[:2]
        known, order = -1, np.arange(total)
        for step in count(start):
            first = step * self.batch_size
            epochs, places = np.divmod(np.arange(first, first + self.batch_size), total)
            numbers = np.empty_like(places)
            for epoch in np.unique(epochs).tolist():
                if epoch != known:
                    known = epoch
                    order = generator(self._seed, epoch, ORDER).random(total).argsort()
                here = epochs == epoch
                numbers[here] = order[places[here]]
            rounds = epochs % views
            yield Batch(
                self._features.values[rounds, numbers].float(),
                self._features.labels[numbers],
                tuple(self._features.keys[number] for number in numbers.tolist()),
            )


class FeatureScorer:
    """Scores a head on the features of validation pictures, which are kept.

    Args:
        scorer: Of whole networks on the same index.
        still: What the head is put on.
        engine: Where to compute.
    """

    def __init__(self, scorer: LabelScorer, still: nn.Module, engine: Engine) -> None:
        self._scorer = scorer
        self._still = still
        self._engine = engine
        self._kept: dict[tuple[Entry, ...], Features] = {}

    def entries(self, split: str) -> tuple[Entry, ...]:
        return self._scorer.entries(split)

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
        """Score a head; arguments as those of `LabelScorer`."""
        chosen = self.entries(split) if entries is None else entries
        if chosen not in self._kept:
            pictures, engine = self._scorer.pictures(chosen), self._engine
            self._kept[chosen] = Features.of(
                self._still, pictures, None, views=1, seed=0, engine=engine
            )
        engine = self._engine if fast else replace(self._engine, dtype=torch.float32)
        with evaluating(model), torch.inference_mode(), engine.autocast():
            logits = model(self._kept[chosen].values[0].float()).float()
        found = logits.log_softmax(1).cpu().numpy()
        return self._scorer.scores(found, split, chosen, loss=depth != "counts")


def rest_of(model: nn.Module, head: nn.Module) -> dict[str, Tensor]:
    """The weights of a whole network that are not of its head, by name."""
    own = {f"{PLACE}{name}" for name in head.state_dict()}
    return {name: value for name, value in model.state_dict().items() if name not in own}
