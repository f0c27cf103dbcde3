"""The network itself, on whatever device torch knows."""

from typing import cast

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from pixelwright.inference.predictor import evaluating
from pixelwright.nn.compiled import Compiled


class TorchBackend:
    """Runs a network in inference mode, its kernels and pictures with channels last.

    Args:
        network: Takes pixel values. It is moved to the device; while it runs it is in evaluation
            mode, afterwards as it was.
        device: Where to.
        autocast: `torch.bfloat16` or `torch.float16` for mixed precision, which is worth while on
            a GPU; None computes in the network's own type.
        compiled: Let `torch.compile` fuse its steps, at the first picture of each kind of size;
            that takes a while, so it is for long jobs.

    Raises:
        RecipeError: Nothing can be compiled here.
    """

    name = "torch"

    def __init__(
        self,
        network: nn.Module,
        device: str | torch.device = "cpu",
        *,
        autocast: torch.dtype | None = None,
        compiled: bool = False,
    ) -> None:
        self.device = torch.device(device)
        self.autocast = autocast
        self._network = network.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.compiled = compiled
        self._run = Compiled(self._network, "--compile") if compiled else self._network

    def __call__(
        self, images: UInt8[Tensor, "n c h w"] | Float[Tensor, "n c h w"]
    ) -> Float[Tensor, "n k *hw"]:
        """Logits, of at least float32, on the device."""
        batch = images.to(self.device, non_blocking=True, memory_format=torch.channels_last)
        mixed = torch.autocast(self.device.type, self.autocast, enabled=self.autocast is not None)
        with evaluating(self._network), torch.inference_mode(), mixed:
            logits = cast(Tensor, self._run(batch))
            return logits.to(torch.promote_types(logits.dtype, torch.float32))
