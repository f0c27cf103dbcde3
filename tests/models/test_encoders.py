"""U-Nets over encoders of timm: what the encoders give, and which cannot be used."""

import re

import pytest
import torch
from torch import nn

from pixelwright.errors import RecipeError
from pixelwright.models import models
from pixelwright.registry import Spec


def build(text: str, channels: int = 3) -> nn.Module:
    with torch.device("meta"):
        network: nn.Module = models.build(Spec.parse(text), classes=3, channels=channels)
    return network.eval()


@pytest.mark.parametrize(
    ("encoder", "reductions"),
    [
        ("resnet18", [2, 4, 8, 16, 32]),
        ("vgg16_bn", [1, 2, 4, 8, 16, 32]),
        ("convnext_atto.d2_in1k", [4, 8, 16, 32]),
        ("efficientnet_b0", [2, 4, 8, 16, 32]),
        ("mobilenetv3_small_050", [2, 4, 8, 16, 32]),
        ("hieradet_small", [4, 8, 16, 32]),
    ],
)
def test_an_encoder_is_used_at_every_resolution_that_it_has(
    encoder: str, reductions: list[int]
) -> None:
    network = build(f"timm-unet:encoder={encoder}", channels=1)
    assert network.encoder.reductions == reductions
    image = torch.empty(1, 1, 64, 96, device="meta")
    assert network(image).shape == (1, 3, 64, 96)
    # Merging takes the map of the encoder where there is one: at all its levels but the deepest.
    skips = {r: w for r, w in zip(reductions, network.encoder.widths, strict=True) if r < 32}
    for level, merge in zip((16, 8, 4, 2, 1), network.merge, strict=True):
        assert merge[0].in_channels == merge[0].out_channels + skips.get(level, 0)


def test_a_lower_depth_leaves_no_part_of_the_encoder_idle() -> None:
    for encoder in ("resnet18", "mobilenetv2_035"):
        whole = build(f"timm-unet:encoder={encoder}")
        network = build(f"timm-unet:encoder={encoder},depth=3,widths=32,16,8")
        assert network.encoder.reductions == [2, 4, 8]
        names = {n for n, _ in network.encoder.named_parameters()}
        assert names < {n for n, _ in whole.encoder.named_parameters()}
        assert network(torch.empty(1, 3, 8, 24, device="meta")).shape == (1, 3, 8, 24)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("encoder=vit_tiny_patch16_224", r"maps at 1/16 of the picture.*such as resnet34"),
        ("encoder=swin_tiny_patch4_window7_224", "pictures have any size: Input height"),
        ("encoder=inception_v3", "cannot be an encoder here"),
        ("encoder=convnext_atto,depth=1", "maps after 2, 3, 4, 5 halvings, none after 1"),
        ("encoder=resnet18,widths=8,8", "takes 5 widths"),
    ],
)
def test_f47_an_encoder_that_cannot_be_used_is_refused(options: str, said: str) -> None:
    with pytest.raises(RecipeError, match=said) as error:
        build(f"timm-unet:{options}")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("encoder", "said"),
    [
        ("resnet43", "Nearest: resnet34"),
        ("convnext_tiney", "Nearest: convnext_tiny"),
        ("resnet18.a1_in2k", "Did you mean 'a1_in1k'"),
    ],
)
def test_f47_a_misspelt_encoder_is_answered_with_the_nearest(encoder: str, said: str) -> None:
    (problem,) = models.problems(Spec.parse(f"timm-unet:encoder={encoder}"))
    assert re.search(said, problem)


def test_the_mobilenet_has_the_parameters_of_the_tutorial() -> None:
    # TensorFlow counts running means and variances too: 6,504,227 in all for three classes, of
    # which the frozen MobileNet has 1,841,984.
    def count(network: nn.Module) -> int:
        parameters = sum(p.numel() for p in network.parameters())
        norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
        return parameters + sum(2 * norm.num_features for norm in norms)

    network = build("mobilenet-unet")
    assert count(network) == 6_504_227
    assert count(network.encoder) == 1_841_984


def test_the_mobilenet_is_tapped_where_the_tutorial_does() -> None:
    network = build("mobilenet-unet", channels=1)
    maps = network.encoder(torch.empty(1, 1, 128, 128, device="meta"))
    assert [tuple(m.shape[1:]) for m in maps] == [
        (96, 64, 64),
        (144, 32, 32),
        (192, 16, 16),
        (576, 8, 8),
        (320, 4, 4),
    ]
    assert network(torch.empty(1, 1, 128, 128, device="meta")).shape == (1, 3, 128, 128)
