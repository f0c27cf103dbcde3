"""Which part of an encoder learns alone: its last block, whoever built it."""

import pytest
import torch
from torch import nn

from pixelwright.models import models
from pixelwright.registry import Spec
from pixelwright.training.thaw import Thaw, last_block


def encoder_of(text: str) -> nn.Module:
    encoder: nn.Module = models.build(Spec.parse(text), classes=3, channels=3).encoder
    return encoder


@pytest.mark.parametrize(
    ("text", "block"),
    [
        ("vgg16:width=0.1", "block5"),
        ("convnet:width=4", "stage3"),
        ("convnet:width=4,block=residual,depth=2", "stage2"),
        ("wide-resnet:depth=10,width=1", "group3"),
        ("timm:network=resnet18", "model.layer4"),
        ("timm:network=test_convnext", "model.stages.3"),
        ("timm:network=test_vit", "model.blocks.5"),
        ("timm:network=mobilenetv3_small_050", "model.blocks.5"),
        ("timm-unet:encoder=resnet18", "model.layer4"),
        ("smp:encoder=resnet18", "layer4"),
        ("mobilenet-unet", "model.blocks.6"),
    ],
)
def test_the_upper_block_is_the_last_that_an_encoder_is_made_of(text: str, block: str) -> None:
    with torch.device("meta"):
        encoder = encoder_of(text)
    assert last_block(encoder) is encoder.get_submodule(block)


def test_the_upper_block_of_a_vgg16_learns_alone_from_the_first_step_to_the_last() -> None:
    encoder = encoder_of("vgg16:width=0.1,norm=batch")
    thaw = Thaw(encoder, "upper")
    for progress in (0.0, 0.5, 0.99):
        encoder.requires_grad_(True).train()
        thaw.apply(progress)
        open_ = {n.split(".")[0] for n, p in encoder.named_parameters() if p.requires_grad}
        shut = {n.split(".")[0] for n, p in encoder.named_parameters() if not p.requires_grad}
        assert open_ == {"block5"}
        assert shut == {"block1", "block2", "block3", "block4"}
        # The running means and variances below it stand still as well.
        assert encoder.block5.norm1.training
        assert not encoder.block4.norm3.training


def test_what_follows_the_upper_block_learns_with_it() -> None:
    encoder = encoder_of("timm:network=test_vit")
    Thaw(encoder, "upper").apply(0.0)
    open_ = {n for n, p in encoder.named_parameters() if p.requires_grad}
    assert open_ == {n for n in open_ if n.startswith(("model.blocks.5.", "model.norm."))}
    assert "model.norm.weight" in open_
    assert "model.cls_token" not in open_


def test_an_encoder_without_blocks_has_no_upper_one() -> None:
    with torch.device("meta"):
        encoder = encoder_of("timm:network=vgg11")
    assert Thaw(encoder, "upper").share(0.0) == 1
