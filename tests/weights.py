"""Networks with weights of their own, and others that start from them.

torch.save(random(timm.create_model("resnet18")).state_dict(), tmp_path / "a.pth")
network, found = start("timm:network=resnet18", tmp_path / "a.pth")
network(images())
"""

import torch
from torch import Tensor, nn

from pixelwright.build import pretrained
from pixelwright.build.pretrained import Start
from pixelwright.models import models
from pixelwright.registry import Spec

NAMES = ("cat", "dog", "owl")
"""Of the classes that are trained."""


def start(
    text: str, weights: object, channels: int = 3, names: tuple[str, ...] = NAMES
) -> tuple[nn.Module, Start]:
    """A network with random weights of a seed of its own, and what was loaded into it."""
    spec = Spec.parse(text).with_option("weights", str(weights))
    torch.manual_seed(1)
    network: nn.Module = models.build(spec, classes=len(names), channels=channels)
    found = pretrained.load(network, spec, names, channels)
    assert found is not None
    return network.eval(), found


def random(network: nn.Module, seed: int = 2) -> nn.Module:
    """The network with weights and running statistics that differ everywhere."""
    torch.manual_seed(seed)
    for name, tensor in network.state_dict().items():
        if tensor.ndim > 1:
            tensor.normal_(std=(2 / tensor[0].numel()) ** 0.5)
        elif tensor.is_floating_point():
            # Variances and scales of normalisations, then their shifts and all biases.
            scales = name.endswith(("running_var", "weight"))
            tensor.uniform_(0.5, 1.5) if scales else tensor.normal_(std=0.3)
        else:
            tensor.zero_()
    return network.eval()


def images(side: int = 64) -> Tensor:
    torch.manual_seed(3)
    return torch.randn(2, 3, side, side)
