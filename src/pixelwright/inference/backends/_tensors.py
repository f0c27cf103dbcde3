"""Tensors for those who run an exported file on torch's own memory."""

import torch
from jaxtyping import Float, UInt8
from torch import Tensor


def in_and_out(
    images: UInt8[Tensor, "n c h w"] | Float[Tensor, "n c h w"],
    logits: tuple[int | str | None, ...],
    device: torch.device,
) -> tuple[Float[Tensor, "n c h w"], Float[Tensor, "n k *hw"]]:
    """Pictures as an exported file takes them, and a tensor for its logits.

    Args:
        images: Pixel values.
        logits: The shape that the file tells, in which only the classes count and whether there
            are maps.
        device: Of both.
    """
    # One pass both widens the integers and brings each channel together.
    batch = images.to(device, torch.float32).contiguous()
    _, classes, *maps = logits
    assert isinstance(classes, int)
    size = batch.shape[2:] if maps else ()
    return batch, torch.empty((len(batch), classes, *size), device=device)
