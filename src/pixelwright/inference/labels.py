"""The class of whole images, by one network or by the mean of several.

log_p = log_probabilities(network, images, device=engine.device)     # float32 "n k"
both = mean_of([log_p, other])                                       # an ensemble
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from jaxtyping import Float32, UInt8
from torch import Tensor, nn

from pixelwright.inference.predictor import evaluating

BATCH_PIXELS = 2**20
"""Of the pictures of a pass: 1,024 of 32x32, 20 of 224x224."""


def log_probabilities(
    network: nn.Module,
    images: UInt8[np.ndarray, "n h w c"],
    *,
    device: str | torch.device = "cpu",
    autocast: torch.dtype | None = None,
    flip: bool = False,
    side: int | None = None,
    on_batch: Callable[[int], None] | None = None,
) -> Float32[np.ndarray, "n k"]:
    """The logarithms of the probabilities of all classes, for pictures of one size.

    Args:
        network: Takes pixel values; while it predicts it is in evaluation mode.
        images: As the network was trained on.
        device: Where it runs.
        autocast: A type for mixed precision; None computes in the network's own.
        flip: Also show it every picture mirrored, and average the probabilities.
        side: At which the network sees pictures, where it enlarges them: so many fit in a pass.
        on_batch: Told how many pictures are done.
    """
    where = torch.device(device)
    height, width = images.shape[1:3]
    pixels = max(height * width, (side or 1) ** 2)
    size = max(BATCH_PIXELS // pixels, 1)
    found = []
    mixed = torch.autocast(where.type, autocast, enabled=autocast is not None)
    with evaluating(network), torch.inference_mode(), mixed:
        for start in range(0, len(images), size):
            batch = torch.from_numpy(images[start : start + size]).to(where).permute(0, 3, 1, 2)
            found.append(_sure(network, batch, flip).cpu().numpy())
            if on_batch:
                on_batch(min(start + size, len(images)))
    assert found, "there are no images to predict"
    return np.concatenate(found)


def _sure(network: nn.Module, batch: Tensor, flip: bool) -> Tensor:
    shown = [batch, batch.flip(-1)] if flip else [batch]
    parts = [network(images).float().log_softmax(1) for images in shown]
    return torch.stack(parts).logsumexp(0) - float(np.log(len(parts)))


def mean_of(members: Sequence[Float32[np.ndarray, "n k"]]) -> Float32[np.ndarray, "n k"]:
    """The logarithm of the mean of the members' probabilities."""
    stacked = np.stack(members)
    highest = stacked.max(0)
    return np.asarray(highest + np.log(np.exp(stacked - highest).mean(0)), np.float32)
