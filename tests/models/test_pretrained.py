"""What a training starts from: files of every naming, names of the hub, runs; what does not fit."""

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import safetensors.torch
import timm
import torch
import torchvision
from torch import Tensor, nn

from pixelwright.build import pretrained
from pixelwright.errors import CheckpointError
from pixelwright.models import models
from pixelwright.registry import Spec
from pixelwright.training import checkpoint
from weights import NAMES, start

pytestmark = pytest.mark.usefixtures("without_a_network")

SMALL = "timm-unet:encoder=test_resnet,depth=3,widths=8,8,8"


def classifier(name: str, seed: int = 2) -> nn.Module:
    torch.manual_seed(seed)
    network: nn.Module = timm.create_model(name)
    return network.eval()


def file_of(tensors: Mapping[str, Tensor], path: Path) -> Path:
    if path.suffix == ".safetensors":
        held = {name: tensor.contiguous() for name, tensor in tensors.items()}
        safetensors.torch.save_file(held, path)
    else:
        torch.save(tensors, path)
    return path


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("weights")
    return file_of(classifier("test_resnet").state_dict(), folder / "small.safetensors")


@pytest.mark.parametrize(
    ("text", "encoder"),
    [
        (SMALL, "test_resnet"),
        ("timm-unet:encoder=test_convnext", "test_convnext"),
        ("smp:encoder=tu-test_resnet", "test_resnet"),
        ("mobilenet-unet:encoder=mobilenetv2_035", "mobilenetv2_035"),
    ],
)
def test_a_file_in_timms_naming_fills_the_encoder(tmp_path: Path, text: str, encoder: str) -> None:
    reference = classifier(encoder)
    network, found = start(text, file_of(reference.state_dict(), tmp_path / "a.pth"))
    image = torch.randn(1, 3, 64, 64)
    maps = timm.create_model(encoder, features_only=True, pretrained=False)
    for name, tensor in maps.state_dict().items():
        given = reference.state_dict()
        tensor.copy_(given.get(name, given.get(name.replace("_", ".", 1))))
    wanted = maps.eval()(image)
    if text.startswith("mobilenet"):
        # It is tapped elsewhere: its last map goes through the batch norm that was left out.
        norm = reference.blocks[-1][-1].bn3
        torch.testing.assert_close(norm(network.encoder(image)[-1]), wanted[-1])
    else:
        seen = network.encoder(image)[-1]
        torch.testing.assert_close(seen, wanted[2 if "depth=3" in text else -1])
    assert "Left out, and random: " in found.note
    assert str(tmp_path / "a.pth") in found.note


@pytest.mark.parametrize(
    ("text", "wrapped"), [("timm-unet:encoder=resnet18", True), ("smp:encoder=resnet18", False)]
)
def test_a_file_in_torchvisions_naming_fills_the_encoder(
    tmp_path: Path, text: str, wrapped: bool
) -> None:
    torch.manual_seed(3)
    tensors: dict[str, object] = dict(torchvision.models.resnet18().state_dict())
    if wrapped:
        tensors = {"epoch": 3, "state_dict": {f"module.{n}": t for n, t in tensors.items()}}
    network, found = start(text, file_of(tensors, tmp_path / "a.pth"))
    last = [
        t for n, t in network.encoder.state_dict().items() if n.endswith("layer4.1.conv2.weight")
    ]
    torch.manual_seed(3)
    assert torch.equal(last[0], torchvision.models.resnet18().layer4[1].conv2.weight)
    assert "Left out, and random: fc.weight, fc.bias." in found.note
    assert found.mean == (0.485, 0.456, 0.406)


def test_a_whole_network_of_smp_fills_all_but_the_head(tmp_path: Path) -> None:
    text = "smp:encoder=tu-test_resnet,widths=16,8,8,8,8"
    torch.manual_seed(4)
    other = models.build(Spec.parse(text), classes=7, channels=3).state_dict()
    network, found = start(text, file_of(other, tmp_path / "model.safetensors"))
    own = network.state_dict()
    head = [name for name in own if own[name].shape != other[name].shape]
    assert head == ["segmentation_head.0.weight", "segmentation_head.0.bias"]
    assert all(torch.equal(own[name], other[name]) for name in own if name not in head)
    assert (
        "Left out, and random: segmentation_head.0.weight, segmentation_head.0.bias." in found.note
    )


def run_of(path: Path, text: str, names: tuple[str, ...]) -> dict[str, Tensor]:
    torch.manual_seed(5)
    tensors = models.build(Spec.parse(text), classes=len(names), channels=3).state_dict()
    header = {"model": text, "mean": [0.4], "std": [0.2], "classes": {"names": list(names)}}
    checkpoint.save(path, {f"model/network.{n}": t for n, t in tensors.items()}, header)
    return dict(tensors)


@pytest.mark.parametrize(
    ("names", "head_is_new"),
    [(NAMES, False), (("cell", "edge"), True), (("cell", "edge", "rest"), True)],
)
def test_a_run_of_other_data_gives_all_but_its_head(
    tmp_path: Path, names: tuple[str, ...], head_is_new: bool
) -> None:
    text = "unet:width=4,depth=1"
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "recipe.toml").touch()
    (tmp_path / "run" / "run.json").write_text("{}")
    theirs = run_of(tmp_path / "run" / "model.safetensors", text, names)
    network, found = start(text, tmp_path / "run")
    own = network.state_dict()
    differ = [
        n for n in own if own[n].shape != theirs[n].shape or not torch.equal(own[n], theirs[n])
    ]
    assert set(differ) - {"head.bias"} == ({"head.weight"} if head_is_new else set())
    assert ("so the head is new" in found.note) == head_is_new
    assert (found.mean, found.std) == ((0.4,), (0.2,))


@pytest.mark.parametrize("text", [SMALL, "smp:encoder=resnet18"])
def test_grey_images_get_the_sum_of_the_colours_kernels(tmp_path: Path, text: str) -> None:
    if text == SMALL:
        tensors, first = classifier("test_resnet").state_dict(), "conv1.0.weight"
    else:
        tensors, first = torchvision.models.resnet18().state_dict(), "conv1.weight"
    network, found = start(text, file_of(tensors, tmp_path / "a.pth"), channels=1)
    kernels = next(p for p in network.encoder.parameters() if p.ndim == 4)
    torch.testing.assert_close(kernels.data, tensors[first].sum(1, keepdim=True))
    assert f"{first} was made for 3 channels and adapted to 1 as timm does: summed." in found.note
    mean = 0.5 if text == SMALL else (0.485 + 0.456 + 0.406) / 3
    assert found.mean == pytest.approx((mean,))


def test_f47_weights_of_another_architecture_are_refused_with_names_and_shapes(
    small: Path, tmp_path: Path
) -> None:
    with pytest.raises(
        CheckpointError, match=r"do not fit the encoder resnet18, \d+ names"
    ) as error:
        start("timm-unet:encoder=resnet18", small)
    assert "conv1.weight (64, 3, 7, 7) is missing; bn1.weight is (32,), not (64,)" in str(
        error.value
    )
    assert "\n" not in str(error.value)
    wide = classifier("test_resnet").state_dict()
    wide["conv1.0.weight"] = wide["conv1.0.weight"][:, :, :1]
    with pytest.raises(CheckpointError, match=r"conv1.0.weight is \(16, 3, 1, 3\), not \(16, 3"):
        start(SMALL, file_of(wide, tmp_path / "wide.safetensors"))


def test_f47_a_run_of_another_model_is_refused(tmp_path: Path) -> None:
    run_of(tmp_path / "model.safetensors", "unet:width=4,depth=2", NAMES)
    with pytest.raises(CheckpointError, match=r"do not fit unet:width=8,depth=1") as error:
        start("unet:width=8,depth=1", tmp_path / "model.safetensors")
    assert str(error.value).count(";") == 2


def test_f47_what_does_not_fit_leaves_the_network_as_it_was(small: Path) -> None:
    spec = Spec.parse("timm-unet:encoder=resnet10t").with_option("weights", str(small))
    network = models.build(spec, classes=3, channels=3)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    with pytest.raises(CheckpointError):
        pretrained.load(network, spec, NAMES, 3)
    assert all(torch.equal(before[name], t) for name, t in network.state_dict().items())


def test_f49_weights_that_are_not_numbers_are_refused(tmp_path: Path) -> None:
    tensors = classifier("test_resnet").state_dict()
    tensors["conv1.0.weight"][0] = torch.nan
    with pytest.raises(CheckpointError, match="not finite"):
        start(SMALL, file_of(tensors, tmp_path / "a.safetensors"))


class Trap:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return Path.touch, (self.path,)


def test_f46_a_file_that_would_run_code_is_refused_and_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    torch.save({"weight": torch.ones(1), "trap": Trap(tmp_path / "sprung")}, tmp_path / "a.pth")
    with pytest.raises(CheckpointError, match="cannot be read as weights") as error:
        start(SMALL, tmp_path / "a.pth")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("name", ["a.pth", "a.safetensors"])
def test_f44_a_damaged_file_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"PK\x03\x04 not what it says")
    with pytest.raises(CheckpointError, match="cannot be read as weights"):
        start(SMALL, tmp_path / name)


@pytest.mark.parametrize(
    ("text", "weights", "said"),
    [
        (
            "timm-unet:encoder=resnet18",
            "imagenet",
            r"of resnet18\.a1_in1k are not on this machine.*model\.safetensors of "
            r"huggingface\.co/timm/resnet18\.a1_in1k.*weights=FILE",
        ),
        (
            "smp:encoder=resnet18",
            "ssl",
            r"resnet18 \(ssl\) are not.*huggingface\.co/smp-hub/resnet18\.ssl at revision d600",
        ),
        ("smp:encoder=tu-resnet18", "fb_ssl_yfcc100m_ft_in1k", "timm/resnet18.fb_ssl_yfcc100m"),
        ("timm-unet:encoder=resnet18", "a1_in2k", "Did you mean 'a1_in1k'"),
        ("smp:encoder=resnet18", "imagenat", "Did you mean 'imagenet'"),
        (SMALL, "none/a.pth", "no weights at none/a.pth"),
        ("unet:width=4", "imagenet", "Nobody published weights 'imagenet' of the model unet"),
    ],
)
def test_f47_weights_that_are_not_there_are_an_error_of_one_line(
    text: str, weights: str, said: str
) -> None:
    with pytest.raises(CheckpointError, match=said) as error:
        start(text, weights)
    assert "\n" not in str(error.value)


def put_into_hub(
    folder: Path, repository: str, files: Mapping[str, Path], commit: str = "0" * 40
) -> None:
    """What a download leaves behind."""
    kept = folder / f"models--{repository.replace('/', '--')}"
    (kept / "refs").mkdir(parents=True)
    (kept / "refs" / "main").write_text(commit)
    (kept / "snapshots" / commit).mkdir(parents=True)
    for name, path in files.items():
        shutil.copy(path, kept / "snapshots" / commit / name)


def test_weights_that_were_fetched_before_are_found_by_name(small: Path, tmp_path: Path) -> None:
    put_into_hub(tmp_path / "hub", "timm/test_resnet.r160_in1k", {"model.safetensors": small})
    by_name, found = start(SMALL, "imagenet")
    by_file, _ = start(SMALL, small)
    one, other = by_name.state_dict(), by_file.state_dict()
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert found.note.startswith("Started from test_resnet.r160_in1k.")


def test_what_smp_fetched_before_is_found_by_name_and_says_what_pictures_it_expects(
    tmp_path: Path,
) -> None:
    import segmentation_models_pytorch.encoders as library

    source = library.encoders["mobilenet_v2"]["pretrained_settings"]["imagenet"]
    torch.manual_seed(6)
    tensors = library.get_encoder("mobilenet_v2", weights=None).state_dict()
    pictures = {"input_range": [0, 255], "mean": [51, 102, 204], "std": [25.5, 51, 102]}
    (tmp_path / "config.json").write_text(json.dumps({**pictures, "input_space": "RGB"}))
    files = {
        "model.safetensors": file_of(tensors, tmp_path / "a.safetensors"),
        "config.json": tmp_path / "config.json",
    }
    put_into_hub(tmp_path / "hub", source["repo_id"], files, source["revision"])
    network, found = start("smp:encoder=mobilenet_v2,widths=8,8,8,8,8", "imagenet")
    own = network.encoder.state_dict()
    assert all(torch.equal(own[name], tensors[name]) for name in own)
    assert (found.mean, found.std) == ((0.2, 0.4, 0.8), (0.1, 0.2, 0.4))
    assert found.note == "Started from mobilenet_v2 (imagenet)."


def test_what_is_not_loaded_is_as_random_as_without(small: Path) -> None:
    torch.manual_seed(1)
    plain = models.build(Spec.parse(SMALL), classes=3, channels=3)
    network, _ = start(SMALL, small)
    assert torch.equal(network.head.weight, plain.head.weight)
    state = torch.get_rng_state()
    pretrained.load(network, Spec.parse(SMALL).with_option("weights", str(small)), NAMES, 3)
    assert torch.equal(torch.get_rng_state(), state)


def test_no_weights_are_loaded_unless_asked_for() -> None:
    network = models.build(Spec.parse(SMALL), classes=3, channels=3)
    assert pretrained.load(network, Spec.parse(SMALL), NAMES, 3) is None
