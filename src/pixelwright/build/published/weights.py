"""What published weights are, how they are asked for, and how their absence is told."""

import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from torch import Tensor

from pixelwright.errors import CheckpointError, unknown

Centring = tuple[tuple[float, ...], tuple[float, ...]]
"""Mean and deviation by channel, in parts of the full range."""

IMAGENET: Centring = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of ImageNet's pixels, which most encoders were centred and scaled by."""

REFUSALS = (RuntimeError, ValueError, KeyError, TypeError, AttributeError, AssertionError)
"""What the libraries raise where tensors do not fit."""


@dataclass(frozen=True)
class Weights:
    """Tensors under the names that their maker gave them.

    Args:
        tensors: On the CPU.
        origin: Where they come from, for the user.
        mean: Of the pictures that they expect, in parts of the full range; None if nobody said.
        std: Likewise.
        classes: Their names, of a network that this program trained; None for all others.
        notes: What else the user should know.
    """

    tensors: Mapping[str, Tensor]
    origin: str
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    classes: tuple[str, ...] | None = None
    notes: tuple[str, ...] = ()


@runtime_checkable
class Published(Protocol):
    """The published weights of one encoder, or of a classifier."""

    @property
    def title(self) -> str:
        """The encoder, as a user writes it."""

    def centring(self, tensors: Mapping[str, Tensor]) -> Centring:
        """Of the pictures that a file of its weights expects, as far as one can tell."""

    def names(self) -> list[str]:
        """Of its sets of weights, besides "imagenet", which is the usual one."""

    def fetch(self, name: str) -> Weights:
        """Weights by name.

        Raises:
            CheckpointError: There are none of that name, or they cannot be had.
        """

    def own_names(self, tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Tensors of another spelling under the names of today; as they are where none fits."""

    def places(self, name: str) -> tuple[str, ...]:
        """Where a network of ours, or its encoder, may keep a tensor of that name."""


@contextmanager
def quiet() -> Iterator[None]:
    """Without the hub's lines about every attempt, and smp's about names that begin with timm-."""
    hub = logging.getLogger("huggingface_hub")
    level = hub.level
    hub.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            yield
    finally:
        hub.setLevel(level)


def no_such(there: Published, name: str) -> CheckpointError:
    known = unknown(f"set of weights of {there.title}", name, ["imagenet", *there.names()])
    return CheckpointError(f"{known} There is no file or run of that name either.")


def not_here(what: str, where: str, kept: str, error: Exception) -> CheckpointError:
    """Weights that are not on this disk and could not be fetched.

    Args:
        what: They are.
        where: One can download them by hand.
        kept: The folder in which the library keeps what it fetches.
        error: What it raised.
    """
    reason = (str(error).splitlines() or [type(error).__name__])[0].partition(". ")[0].rstrip(".")
    return CheckpointError(
        f"The weights of {what} are not on this machine and could not be fetched ({reason}). "
        f"Either go online once, or copy what another machine fetched into {kept}, or "
        f"download {where} and set model.weights=FILE; model.weights=none starts at random."
    )


def hub() -> str:
    """Where the hub of Hugging Face keeps what it fetched."""
    from huggingface_hub import constants

    return constants.HF_HUB_CACHE
