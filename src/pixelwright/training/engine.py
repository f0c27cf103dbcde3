"""Where the numbers are computed: device, precision, and how a batch gets there.

Nothing else asks which device there is. bfloat16 is taken where the hardware multiplies it faster
than float32: NVIDIA GPUs from Ampere on, and CPUs with AMX (2 to 3 times per step, measured
by `benchmarks/train_step.py --precision`).
"""

import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int, Int16, UInt8
from torch import Tensor, nn

from pixelwright import memory
from pixelwright.errors import RecipeError
from pixelwright.types import DEVICE


@dataclass(frozen=True)
class Engine:
    """A device and a precision.

    Args:
        device: Where tensors live.
        dtype: Of convolutions and matrix products; weights stay in float32.
    """

    device: torch.device
    dtype: torch.dtype

    @classmethod
    def of(cls, device: str = "auto", precision: str = "auto") -> "Engine":
        """The engine that a recipe asks for.

        Raises:
            RecipeError: The device is not there, or nothing is called so.
        """
        found = _device(device)
        if found.type == "cpu":
            memory.keep_freed()
        if precision == "auto":
            precision = "bfloat16" if _has_fast_bfloat16(found) else "float32"
        return cls(found, torch.bfloat16 if precision == "bfloat16" else torch.float32)

    def autocast(self) -> AbstractContextManager[object]:
        return torch.autocast(
            self.device.type, torch.bfloat16, enabled=self.dtype is torch.bfloat16
        )

    def place(self, model: nn.Module) -> nn.Module:
        """Move a model here, its kernels in the memory format of the images."""
        return model.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]

    def images(self, images: UInt8[np.ndarray, "n h w c"] | Tensor) -> Tensor:
        """Images "n c h w" on the device, channels last in memory; on a CPU without a copy.

        A tensor is taken as it is: images that were made on the device, or features of a trunk.
        """
        if isinstance(images, Tensor):
            return images.to(self.device, non_blocking=True)
        moved: Tensor = torch.from_numpy(images).to(self.device, non_blocking=True)
        return moved.permute(0, 3, 1, 2)

    def targets(self, targets: Int16[np.ndarray, "n *hw"]) -> Int[Tensor, "n *hw"]:
        moved: Tensor = torch.from_numpy(targets).to(self.device, non_blocking=True).long()
        return moved

    def describe(self) -> str:
        if self.device.type == "cuda":
            name = torch.cuda.get_device_name(self.device)
        else:
            threads = torch.get_num_threads()
            name = f"{self.device.type.upper()}, {threads} thread{'s' if threads > 1 else ''}"
        return f"{name}, {str(self.dtype).removeprefix('torch.')}"

    @contextmanager
    def repeatable(self) -> Iterator[None]:
        """Within, a GPU takes the algorithms that give equal bits for equal inputs."""
        if self.device.type != "cuda":
            yield
            return
        before = torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark
        torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = True, False
        try:
            yield
        finally:
            torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = before


def global_norm(parameters: list[nn.Parameter]) -> Float[Tensor, ""]:
    """The Euclidean norm of all gradients together."""
    grads = [p.grad for p in parameters if p.grad is not None]
    norm: Tensor = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(grads)))
    return norm


def _device(name: str) -> torch.device:
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        if torch.backends.mps.is_available():
            return torch.device("mps")
        return torch.device("cpu")
    if not re.fullmatch(DEVICE, name):
        raise RecipeError(
            f"No device is called '{name}'. Give auto, cpu, cuda, cuda:1 or mps, or leave it out "
            f"to take what there is."
        )
    kind, _, index = name.partition(":")
    if kind == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if int(index or 0) >= count:
            raise RecipeError(
                f"The device '{name}' is not there: {count} CUDA devices were found. "
                f"Use --device cpu, or leave it out to take what there is."
            )
    if kind == "mps" and not torch.backends.mps.is_available():
        raise RecipeError(
            "The device 'mps' is not there. Use --device cpu, or leave it out for the best one."
        )
    return torch.device(name)


def _has_fast_bfloat16(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device)[0] >= 8
    return device.type == "cpu" and torch.cpu._is_amx_tile_supported()
