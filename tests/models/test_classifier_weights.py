"""Classifiers that start from what others trained: networks of timm, and runs."""

from pathlib import Path

import pytest
import timm
import torch
from torch import Tensor, nn

from pixelwright.errors import CheckpointError
from pixelwright.models import models
from pixelwright.registry import Spec
from pixelwright.training import checkpoint
from weights import NAMES, images, random, start

pytestmark = pytest.mark.usefixtures("without_a_network")


def trunk(network: nn.Module) -> dict[str, Tensor]:
    return {n: t for n, t in network.state_dict().items() if n.startswith("encoder.")}


@pytest.mark.parametrize(
    ("text", "weights", "said"),
    [
        (
            "vgg16",
            "imagenet",
            r"torchvision's vgg16 are not on this machine.*torch/hub/checkpoints, or download "
            r"https://download\.pytorch\.org/models/vgg16-397923af\.pth and set model\.weights=",
        ),
        ("vgg16:norm=batch", "imagenet", r"vgg16 with batch norm are not.*vgg16_bn-6c64b313\.pth"),
        ("vgg16:width=0.5", "imagenet", r"of vgg16:width=0\.5, only of width 1"),
        ("vgg16", "IMAGENET1K_V2", "Did you mean 'IMAGENET1K_V1'"),
        ("vgg16", "none/a.h5", "no weights at none/a.h5"),
        ("timm:network=resnet18", "imagenet", r"resnet18\.a1_in1k are not on this machine"),
        ("timm:network=resnet18", "a1_in2k", "Did you mean 'a1_in1k'"),
        ("convnet", "imagenet", "Nobody published weights 'imagenet' of the model convnet"),
    ],
)
def test_f47_weights_that_are_not_there_are_an_error_of_one_line(
    text: str, weights: str, said: str
) -> None:
    with pytest.raises(CheckpointError, match=said) as error:
        start(text, weights)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["test_resnet", "test_convnext", "test_vit"])
def test_a_file_of_timm_gives_a_classifier_of_the_same_classes_its_logits(
    tmp_path: Path, name: str
) -> None:
    reference = random(timm.create_model(name, num_classes=3))
    torch.save(reference.state_dict(), tmp_path / "a.pth")
    network, found = start(f"timm:network={name}", tmp_path / "a.pth")
    side = 160 if name == "test_vit" else 64
    with torch.no_grad():
        assert torch.equal(network(images(side)), reference(images(side)))
    assert (found.mean, found.std) == (
        tuple(reference.pretrained_cfg["mean"]),
        tuple(reference.pretrained_cfg["std"]),
    )


def test_for_other_classes_only_the_last_layer_of_a_network_of_timm_is_new(tmp_path: Path) -> None:
    reference = random(timm.create_model("mobilenetv3_small_050", num_classes=7))
    torch.save(reference.state_dict(), tmp_path / "a.pth")
    network, found = start("timm:network=mobilenetv3_small_050", tmp_path / "a.pth")
    theirs, own = reference.state_dict(), network.state_dict()
    new = {
        name
        for name in own
        if not torch.equal(own[name], theirs.get(name.partition(".model.")[2], Tensor()))
    }
    assert new == {"head.model.classifier.weight", "head.model.classifier.bias"}
    assert "so the head is new" in found.note


def test_positions_are_fitted_to_the_size_that_a_transformer_is_built_for(tmp_path: Path) -> None:
    reference = random(timm.create_model("test_vit", num_classes=3))
    torch.save(reference.state_dict(), tmp_path / "a.pth")
    resized = timm.create_model(
        "test_vit",
        num_classes=3,
        img_size=64,
        pretrained=True,
        pretrained_cfg_overlay={"state_dict": reference.state_dict(), "num_classes": 3},
    ).eval()
    assert resized.pos_embed.shape < reference.pos_embed.shape
    network, _ = start("timm:network=test_vit,size=64", tmp_path / "a.pth")
    with torch.no_grad():
        assert torch.equal(network(images()), resized(images()))


def run_of(path: Path, text: str, names: tuple[str, ...]) -> dict[str, Tensor]:
    torch.manual_seed(5)
    network = random(models.build(Spec.parse(text), classes=len(names), channels=3), seed=5)
    header = {"model": text, "mean": [0.4], "std": [0.2], "classes": {"names": list(names)}}
    tensors = network.state_dict()
    checkpoint.save(path, {f"model/network.{n}": t for n, t in tensors.items()}, header)
    return dict(tensors)


@pytest.mark.parametrize(
    ("text", "names", "trunk_only"),
    [
        ("vgg16:width=0.0625,head=dense,hidden=8", NAMES, False),
        ("vgg16:width=0.0625,head=dense,hidden=8", ("cup", "pot", "pan"), True),
        ("vgg16:width=0.0625,head=dense,hidden=8", ("cup", "pot"), True),
        ("vgg16:width=0.0625", NAMES, True),
        ("vgg16:width=0.0625,head=dense,hidden=9", NAMES, True),
        ("vgg16:width=0.0625,head=paper,hidden=8", NAMES, True),
    ],
)
def test_a_run_gives_its_trunk_and_to_the_same_classes_and_head_all(
    tmp_path: Path, text: str, names: tuple[str, ...], trunk_only: bool
) -> None:
    theirs = run_of(tmp_path / "model.safetensors", text, names)
    network, found = start("vgg16:width=0.0625,head=dense,hidden=8", tmp_path / "model.safetensors")
    own = network.state_dict()
    equal = {n for n in own if n in theirs and torch.equal(own[n], theirs[n])}
    assert equal == set(trunk(network) if trunk_only else own)
    assert ("so the head is new" in found.note) == trunk_only
    assert (found.mean, found.std) == ((0.4,), (0.2,))


@pytest.mark.parametrize("text", ["convnet:width=4", "wide-resnet:depth=10,width=1"])
def test_any_classifiers_run_starts_another_on_other_classes(tmp_path: Path, text: str) -> None:
    theirs = run_of(tmp_path / "model.safetensors", text, ("a", "b"))
    network, found = start(text, tmp_path / "model.safetensors")
    assert all(torch.equal(t, theirs[n]) for n, t in trunk(network).items())
    assert "Its 2 classes are not these 3, so the head is new." in found.note


def test_f47_a_run_of_another_trunk_is_refused(tmp_path: Path) -> None:
    run_of(tmp_path / "model.safetensors", "vgg16:width=0.125", NAMES)
    with pytest.raises(CheckpointError, match=r"do not fit vgg16:width=0\.0625"):
        start("vgg16:width=0.0625", tmp_path / "model.safetensors")
