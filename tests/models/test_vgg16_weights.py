"""VGG16 that starts from published files, in the naming of torchvision, timm and Keras."""

import re
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path

import h5py
import numpy as np
import pytest
import timm
import timm.models.vgg as timm_vgg
import torch
import torchvision
from torch import Tensor, nn
from torchvision.models.vgg import VGG, make_layers

from pixelwright.build.pretrained import Start
from pixelwright.build.published.vgg16 import CAFFE, Vgg16
from pixelwright.errors import CheckpointError
from pixelwright.models import models
from pixelwright.nn.normalise import Normalised
from pixelwright.registry import Spec
from weights import images, random, start

pytestmark = pytest.mark.usefixtures("without_a_network")

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
# A sixteenth of the channels of configuration D.
NARROW = [4, 4, "M", 8, 8, "M", 16, 16, 16, "M", 32, 32, 32, "M", 32, 32, 32, "M"]
PAPER = "vgg16:width=0.0625,head=paper,hidden=40"


def of_torchvision(norm: bool = False, classes: int = 3) -> VGG:
    # Its dense layers are wide whatever the trunk, and take long to draw.
    with torch.device("meta"):
        network = VGG(make_layers(NARROW, batch_norm=norm), classes, init_weights=False)
        network.classifier[0] = nn.Linear(32 * 49, 40)
        network.classifier[3] = nn.Linear(40, 40)
        network.classifier[6] = nn.Linear(40, classes)
    return random(network.to_empty(device="cpu"))


def same(logits: Tensor, wanted: Tensor) -> None:
    scale = wanted.detach().std(0)
    assert (scale > 0).all()
    torch.testing.assert_close(logits / scale, wanted / scale, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("norm", [False, True])
def test_a_file_of_torchvision_gives_its_logits(tmp_path: Path, norm: bool) -> None:
    reference = of_torchvision(norm)
    torch.save(reference.state_dict(), tmp_path / "a.pth")
    network, found = start(f"{PAPER},norm={'batch' if norm else 'none'}", tmp_path / "a.pth")
    same(network(images()), reference(images()))
    same(network(images(224)), reference(images(224)))
    assert (found.mean, found.std) == IMAGENET
    assert "Its head came along: the 3 classes" in found.note


def test_a_file_of_timm_gives_its_logits(tmp_path: Path) -> None:
    # Its dense layers have 4096 units whatever the trunk.
    reference = random(timm_vgg.VGG([c if c == "M" else c // 4 for c in NARROW], num_classes=3))
    torch.save(reference.state_dict(), tmp_path / "a.pth")
    assert reference.pre_logits.fc1.weight.shape == (4096, 8, 7, 7)
    network, found = start("vgg16:width=0.015625,head=paper", tmp_path / "a.pth")
    same(network(images()), reference(images()))
    assert (found.mean, found.std) == IMAGENET


@pytest.mark.parametrize("norm", ["none", "batch"])
@pytest.mark.parametrize("library", ["torchvision", "timm"])
def test_every_published_tensor_of_full_width_has_its_place(norm: str, library: str) -> None:
    name = "vgg16_bn" if norm == "batch" else "vgg16"
    with torch.device("meta"):
        theirs = (
            getattr(torchvision.models, name)(init_weights=False)
            if library == "torchvision"
            else timm.create_model(name)
        ).state_dict()
        ours = models.build(
            Spec.parse(f"vgg16:head=paper,norm={norm}"), classes=1000, channels=3
        ).state_dict()
    # One number, however large the tensor.
    theirs = {n: torch.zeros(()).expand(t.shape) for n, t in theirs.items()}
    given = Vgg16(batch_norm=norm == "batch", width=1.0).own_names(theirs)
    assert {n: t.shape for n, t in given.items()} == {n: t.shape for n, t in ours.items()}


def layers_of(network: VGG) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Kernel and bias of each layer as Keras has them, of a network that Keras would build."""
    names = iter(
        f"block{b}_conv{c}" for b, n in enumerate((2, 2, 3, 3, 3), 1) for c in range(1, n + 1)
    )
    found = {}
    for layer in network.features:
        if isinstance(layer, nn.Conv2d):
            kernel = layer.weight.detach().permute(2, 3, 1, 0)
            found[next(names)] = (kernel.numpy(), layer.bias.detach().numpy())
    maps = network.classifier[0].weight.detach().reshape(40, 32, 7, 7).permute(2, 3, 1, 0)
    found["fc1"] = (maps.reshape(-1, 40).numpy(), network.classifier[0].bias.detach().numpy())
    for name, place in (("fc2", 3), ("predictions", 6)):
        dense = network.classifier[place]
        found[name] = (dense.weight.detach().T.numpy(), dense.bias.detach().numpy())
    return found


def put(file: h5py.File, layers: Mapping[str, tuple[np.ndarray, np.ndarray]], naming: str) -> None:
    for name, values in layers.items():
        for value, *parts in zip(values, ("W", "b"), ("kernel", "bias"), strict=True):
            paths = {
                "keras 1": f"{name}/{name}_{parts[0]}_1:0",
                "keras 2": f"{name}/{name}/{parts[1]}:0",
                "whole model": f"model_weights/{name}/{name}/{parts[1]}:0",
                "fine-tuned": f"vgg16/{name}/{parts[1]}",
            }
            file[paths[naming]] = value
    if naming == "whole model":
        file["optimizer_weights/Adam/m/block1_conv1/kernel:0"] = np.zeros((3, 3, 3, 4), np.float32)


def put_counted(
    file: h5py.File, layers: Mapping[str, tuple[np.ndarray, np.ndarray]], named: bool, top: str
) -> None:
    """As Keras 3 does: by the kind of layer and its number."""
    seen = {"conv2d": 0, "dense": 0}
    for name, values in layers.items():
        kind = "conv2d" if name.startswith("block") else "dense"
        number = f"_{seen[kind]}" if seen[kind] else ""
        seen[kind] += 1
        for place, value in enumerate(values):
            file[f"{top}layers/{kind}{number}/vars/{place}"] = value
        if named:
            file[f"{top}layers/{kind}{number}/vars"].attrs["name"] = name
    file["optimizer/vars/0"] = np.zeros(3, np.float32)


def as_keras_sees(reference: VGG, pixels: Tensor) -> Tensor:
    """The logits of pixel values in [0, 255], red first: `preprocess_input`, then the network."""
    blue_first = pixels.flip(1) - torch.tensor([103.939, 116.779, 123.68]).reshape(1, 3, 1, 1)
    return reference(blue_first)


def taking_pixels(network: nn.Module, found: Start) -> nn.Module:
    assert found.mean is not None
    assert found.std is not None
    return Normalised(
        network, [255 * value for value in found.mean], [255 * value for value in found.std]
    ).eval()


@pytest.mark.parametrize("naming", ["keras 1", "keras 2", "whole model", "fine-tuned"])
def test_a_file_of_keras_gives_its_logits_from_the_same_pixels(tmp_path: Path, naming: str) -> None:
    reference = of_torchvision()
    with h5py.File(tmp_path / "a.h5", "w") as file:
        put(file, layers_of(reference), naming)
    network, found = start(PAPER, tmp_path / "a.h5")
    assert (found.mean, found.std) == CAFFE
    pixels = torch.randint(0, 256, (2, 3, 64, 64)).float()
    same(taking_pixels(network, found)(pixels), as_keras_sees(reference, pixels))
    assert "from blue, green, red to red, green, blue" in found.note


@pytest.mark.parametrize("kind", ["weights", "named", "nested", "archive"])
def test_a_file_of_keras_3_gives_its_logits_from_the_same_pixels(tmp_path: Path, kind: str) -> None:
    reference = of_torchvision()
    path = tmp_path / "a.weights.h5"
    with h5py.File(path, "w") as file:
        top = "layers/functional/" if kind == "nested" else ""
        put_counted(file, layers_of(reference), named=kind == "named", top=top)
    if kind == "archive":
        with zipfile.ZipFile(tmp_path / "a.keras", "w") as archive:
            archive.write(path, "model.weights.h5")
            archive.writestr("config.json", "{}")
        path = tmp_path / "a.keras"
    network, found = start(PAPER, path)
    pixels = torch.randint(0, 256, (2, 3, 64, 64)).float()
    same(taking_pixels(network, found)(pixels), as_keras_sees(reference, pixels))


def test_a_file_of_keras_without_its_top_fills_the_trunk(tmp_path: Path) -> None:
    layers = {n: v for n, v in layers_of(of_torchvision()).items() if n.startswith("block")}
    with h5py.File(tmp_path / "notop.h5", "w") as file:
        put(file, layers, "keras 1")
    network, found = start("vgg16:width=0.0625", tmp_path / "notop.h5")
    kernel = torch.from_numpy(layers["block1_conv1"][0])
    assert torch.equal(network.encoder.block1.conv1.weight, kernel.permute(3, 2, 0, 1).flip(1))
    assert "so the head is new" in found.note
    assert "Left out, and random: head.out.weight, head.out.bias." in found.note


@pytest.mark.parametrize("form", ["torchvision", "keras"])
@pytest.mark.parametrize("head", ["average", "dense,hidden=8", "paper,hidden=40"])
def test_for_other_classes_the_trunk_is_kept_and_the_head_is_new(
    tmp_path: Path, form: str, head: str
) -> None:
    reference = of_torchvision(classes=7)
    path = tmp_path / ("a.h5" if form == "keras" else "a.pth")
    if form == "keras":
        with h5py.File(path, "w") as file:
            put(file, layers_of(reference), "keras 2")
    else:
        torch.save(reference.state_dict(), path)
    text = f"vgg16:width=0.0625,head={head}"
    torch.manual_seed(1)
    untouched = models.build(Spec.parse(text), classes=3, channels=3)
    network, found = start(text, path)
    assert torch.equal(network.encoder.block5.conv3.weight, reference.features[28].weight)
    own, drawn = network.head.state_dict(), untouched.head.state_dict()
    assert all(torch.equal(own[name], drawn[name]) for name in own)
    assert "not that of this model with 3 classes, so the head is new" in found.note


def test_grey_pictures_get_the_sum_of_the_colours_kernels(tmp_path: Path) -> None:
    reference = of_torchvision()
    torch.save(reference.state_dict(), tmp_path / "a.pth")
    network, found = start(PAPER, tmp_path / "a.pth", channels=1)
    kernels = reference.features[0].weight.sum(1, keepdim=True)
    torch.testing.assert_close(network.encoder.block1.conv1.weight, kernels)
    assert found.mean == pytest.approx((sum(IMAGENET[0]) / 3,))


def test_weights_that_torchvision_fetched_before_are_found_by_name(tmp_path: Path) -> None:
    # Rows of one value take no room in the file.
    torch.manual_seed(4)
    with torch.device("meta"):
        shapes = torchvision.models.vgg16(init_weights=False).state_dict()
    tensors = {
        name: torch.randn(t.shape[0], *[1] * (t.ndim - 1)).expand(t.shape)
        for name, t in shapes.items()
    }
    folder = tmp_path / "torch" / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    torch.save(tensors, folder / "vgg16-397923af.pth")
    network, found = start("vgg16", "imagenet")
    assert torch.equal(network.encoder.block3.conv2.weight, tensors["features.12.weight"])
    assert (found.mean, found.std) == IMAGENET
    assert found.note.startswith("Started from torchvision's vgg16 (IMAGENET1K_V1).")
    # The authors' own weights come with a head of NaN, and want pixels less their means.
    hollow = {
        n: torch.full((1,), torch.nan).expand(t.shape) if n.startswith("classifier") else t
        for n, t in tensors.items()
    }
    path = folder / "vgg16_features-amdegroot-88682ab5.pth"
    torch.save(hollow, path)
    network, by_name = start("vgg16", "IMAGENET1K_FEATURES")
    assert by_name.mean == pytest.approx((0.48235, 0.45882, 0.40784))
    assert by_name.std == pytest.approx([1 / 255] * 3)
    assert network.head.out.weight.isfinite().all()
    _, by_file = start("vgg16", path)
    assert by_file.mean == pytest.approx(by_name.mean, abs=0.005)


def test_f44_a_damaged_download_is_told_from_one_that_failed(tmp_path: Path) -> None:
    folder = tmp_path / "torch" / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    (folder / "vgg16-397923af.pth").write_bytes(b"PK\x03\x04 not what it says")
    with pytest.raises(CheckpointError, match=r"vgg16-397923af\.pth is damaged\. Delete it"):
        start("vgg16", "imagenet")


def test_f44_a_file_of_keras_that_is_none_is_refused(tmp_path: Path) -> None:
    for name in ("a.h5", "a.keras"):
        (tmp_path / name).write_bytes(b"PK\x03\x04 not what it says")
        with pytest.raises(CheckpointError, match="cannot be read as a file of Keras") as error:
            start(PAPER, tmp_path / name)
        assert "\n" not in str(error.value)


def test_f47_a_file_of_keras_of_another_network_is_refused(tmp_path: Path) -> None:
    layers = layers_of(of_torchvision())
    with h5py.File(tmp_path / "short.h5", "w") as file:
        put(file, {n: v for n, v in layers.items() if not n.startswith("block4")}, "keras 2")
    with pytest.raises(CheckpointError, match=r"block4_conv1 is missing and 2 more are"):
        start(PAPER, tmp_path / "short.h5")
    theano = {n: (np.transpose(k), b) if k.ndim == 4 else (k, b) for n, (k, b) in layers.items()}
    with h5py.File(tmp_path / "th.h5", "w") as file:
        put(file, theano, "keras 1")
    with pytest.raises(CheckpointError, match="lie as for Theano"):
        start(PAPER, tmp_path / "th.h5")
    with pytest.raises(CheckpointError, match="a file of Keras, which are read for vgg16 only"):
        start("convnet", tmp_path / "th.h5")


def test_without_h5py_one_line_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "h5py", None)
    (tmp_path / "a.h5").touch()
    with pytest.raises(CheckpointError, match=re.escape("pip install pixelwright[keras]")):
        start(PAPER, tmp_path / "a.h5")


def test_f47_a_vgg19_is_refused(tmp_path: Path) -> None:
    cfg = [4, 4, "M", 8, 8, "M", *[16] * 4, "M", *[32] * 4, "M", *[32] * 4, "M"]
    torch.save(make_layers(cfg).state_dict(prefix="features."), tmp_path / "a.pth")
    with pytest.raises(CheckpointError, match="do not fit vgg16"):
        start(PAPER, tmp_path / "a.pth")
