"""segmentation-models-pytorch by name: what it takes, what it keeps, and how it refuses."""

import re

import pytest
import torch
from torch import nn

from pixelwright.errors import RecipeError
from pixelwright.models import models
from pixelwright.nn.receptive import field_of
from pixelwright.registry import Spec

SMALL = "encoder=tu-mobilenetv2_035"
EACH = {
    "arch=unetplusplus,depth=3," + SMALL: 8,
    "arch=manet," + SMALL: 32,
    "arch=linknet," + SMALL: 32,
    "arch=fpn,widths=32,interpolation=bilinear," + SMALL: 32,
    "arch=pspnet,widths=16," + SMALL: 8,
    "arch=pan,stride=32," + SMALL: 128,
    "arch=deeplabv3,widths=16,stride=16," + SMALL: 16,
    "arch=DeepLabV3Plus,widths=16," + SMALL: 16,
    "arch=upernet,widths=16," + SMALL: 32,
    "arch=segformer,widths=16," + SMALL: 32,
    "arch=dpt,widths=16,encoder=tu-vit_tiny_patch16_224": 32,
    "arch=unet,encoder=timm-mobilenetv3_small_100": 32,
    "arch=unet,encoder=resnet18,attention=scse": 32,
}
"""Every architecture, and a size whose multiples it keeps."""


def build(options: str, channels: int = 3) -> nn.Module:
    torch.manual_seed(0)
    with torch.device("meta"):
        network: nn.Module = models.build(
            Spec.parse(f"smp:{options}"), classes=5, channels=channels
        )
    return network.eval()


@pytest.mark.parametrize("options", EACH)
def test_each_architecture_keeps_the_size_of_images_that_fit(options: str) -> None:
    network = build(options, channels=1)
    image = torch.empty(1, 1, 2 * EACH[options], 3 * EACH[options], device="meta")
    assert network(image).shape == (1, 5, *image.shape[2:])
    assert any(name == "encoder" for name, _ in network.named_children())


def test_every_architecture_of_the_library_is_there() -> None:
    import segmentation_models_pytorch as library

    tried = {Spec.parse(f"smp:{options}").options["arch"] for options in EACH}
    assert {str(arch).lower() for arch in tried} == set(library.MODEL_ARCHITECTURES_MAPPING)


def test_what_a_unet_sees_is_bounded_and_what_pools_the_image_says_so() -> None:
    unet = field_of(build("arch=unet,encoder=resnet18"))
    assert (unet.multiple, unet.unbounded) == (32, None)
    pooled = field_of(build("arch=deeplabv3plus,encoder=resnet18"))
    assert (pooled.multiple, pooled.unbounded) == (16, "global average pooling")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("arch=deeplab", "Did you mean 'deeplabv3'"),
        ("encoder=resnet43", "Nearest: resnet34"),
        ("encoder=tu-convnext_tinny", "Nearest: tu-convnext_tiny"),
        ("encoder=mobilenetv2_100", "Nearest: .*tu-mobilenetv2_100"),
        ("encoder=tu-resnet18.a1_in2k", "Did you mean 'a1_in1k'"),
    ],
)
def test_f47_a_name_that_is_not_there_is_answered_with_the_nearest(options: str, said: str) -> None:
    (problem,) = models.problems(Spec.parse(f"smp:{options}"))
    assert re.search(said, problem)
    assert len(problem) < 400


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("arch=linknet,widths=32", "no option widths"),
        ("arch=unet,stride=16", "no option stride=16"),
        ("arch=pan,stride=8", "no option stride=8"),
        ("arch=dpt,interpolation=nearest,encoder=tu-vit_tiny_patch16_224", "interpolation"),
        ("arch=fpn,attention=scse", "attention"),
        ("arch=unet,depth=4,widths=16,8", "takes 4 widths, not 2"),
        ("arch=unet,encoder=tu-vit_tiny_patch16_224", "cannot put unet over.*such as resnet34"),
        ("arch=linknet,encoder=mit_b0", "cannot put linknet over"),
        ("arch=dpt,encoder=resnet18", "cannot put dpt over"),
    ],
)
def test_f37_what_an_architecture_lacks_is_refused(options: str, said: str) -> None:
    with pytest.raises(RecipeError, match=said) as error:
        build(options)
    assert "\n" not in str(error.value)
