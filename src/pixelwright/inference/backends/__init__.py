"""What computes logits: torch, ONNX Runtime or OpenVINO, all called alike.

backend = TorchBackend(network)                        # or OnnxBackend(file), OpenVinoBackend(file)
logits = backend(images)                               # "n c h w" pixel values to float32 "n k h w"
scorer(Running(backend), "val")                        # where a network is expected

The other two run files that `exporting` writes; this room only runs them.
"""

import importlib.util
from typing import Literal, Protocol, get_args, runtime_checkable

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from pixelwright.errors import RecipeError

Name = Literal["torch", "onnxruntime", "openvino"]
NAMES: tuple[Name, ...] = get_args(Name)

PACKAGES: dict[Name, tuple[str, ...]] = {
    "torch": (),
    "onnxruntime": ("onnxruntime", "onnx", "onnxscript"),
    "openvino": ("openvino", "onnx", "onnxscript"),
}
"""What each needs beside Pixelwright itself: to run, and to be given a file first."""

EXTRAS: dict[str, str] = {
    "onnx": "export",
    "onnxscript": "export",
    "onnxruntime": "export",
    "openvino": "openvino",
    "nncf": "openvino",
}
"""The extra of Pixelwright that installs each package."""


@runtime_checkable
class Backend(Protocol):
    """Runs one network on pictures of any number and size that it takes."""

    @property
    def name(self) -> str:
        """Which of `NAMES` it is."""

    @property
    def device(self) -> torch.device:
        """Where it computes, and where logits lie."""

    def __call__(
        self, images: UInt8[Tensor, "n c h w"] | Float[Tensor, "n c h w"]
    ) -> Float[Tensor, "n k *hw"]:
        """Logits of pixel values in [0, 255]; of a classifier one row for each image."""


class Running(nn.Module):
    """A backend where a network is expected, such as by a scorer."""

    def __init__(self, backend: Backend) -> None:
        super().__init__()
        self.backend = backend

    def forward(
        self, images: UInt8[Tensor, "n c h w"] | Float[Tensor, "n c h w"]
    ) -> Float[Tensor, "n k *hw"]:
        return self.backend(images)


def missing(name: Name) -> tuple[str, ...]:
    """The packages that a backend lacks here."""
    return tuple(p for p in PACKAGES[name] if importlib.util.find_spec(p) is None)


def require(purpose: str, *packages: str) -> None:
    """See that packages are installed.

    Args:
        purpose: What needs them, as the first words of a sentence: "The backend 'openvino'".
        packages: As they are imported.

    Raises:
        RecipeError: Some are not.
    """
    absent = [package for package in packages if importlib.util.find_spec(package) is None]
    if absent:
        extras = ",".join(sorted({EXTRAS[package] for package in absent}))
        raise RecipeError(
            f"{purpose} needs {' and '.join(absent)}. Install with "
            f"pip install 'pixelwright[{extras}]'."
        )
