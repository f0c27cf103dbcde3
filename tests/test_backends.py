"""Backends: all compute what the network does, from a file that is kept and checked."""

import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from pixelwright.build.model import network
from pixelwright.errors import ExportError, RecipeError
from pixelwright.exporting import opening
from pixelwright.exporting.onnx import onnx_of
from pixelwright.exporting.opening import choose, opened
from pixelwright.exporting.source import Source
from pixelwright.exporting.verify import Agreement, check_pictures, compare, verify
from pixelwright.inference import backends
from pixelwright.inference.backends import NAMES, Backend, Name, Running, missing, require
from pixelwright.inference.backends.torch import TorchBackend
from pixelwright.inference.predictor import Predictor
from pixelwright.nn.receptive import field_of
from pixelwright.registry import Spec
from pixelwright.types import Event

OTHERS = [name for name in NAMES if name != "torch"]


def source_of(model: str = "fcnn", seed: int = 0) -> Source:
    torch.manual_seed(seed)
    net = network(Spec.parse(model), 3, 3, (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)).eval()
    return Source(net, field_of(net.network), 3, ("a", "b", "c"))


@pytest.fixture(scope="module")
def source() -> Source:
    return source_of()


@cache
def _content(seed: int) -> bytes:
    return onnx_of(source_of(seed=seed))


SEEDS = {source_of(seed=seed).digest: seed for seed in (0, 1)}


def content_of(source: Source) -> bytes:
    """`onnx_of`, once for each seed: it takes two seconds."""
    return _content(SEEDS[source.digest])


@pytest.fixture(autouse=True)
def _written_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "onnx_of", content_of)


@pytest.fixture(scope="module")
def keep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("kept")


@pytest.fixture(params=NAMES)
def backend(request: pytest.FixtureRequest, source: Source, keep: Path) -> Backend:
    if missing(request.param):
        pytest.skip(f"{missing(request.param)[0]} is not installed")
    return opened(request.param, source, keep=keep)


def whole(source: Source, images: Tensor) -> Tensor:
    with torch.inference_mode():
        logits: Tensor = source.network(images)
    return logits


@pytest.mark.parametrize(("count", "height", "width"), [(1, 2, 2), (3, 36, 50), (2, 128, 30)])
def test_a_backend_takes_pictures_of_any_number_and_size(
    backend: Backend, source: Source, count: int, height: int, width: int
) -> None:
    images = torch.randint(0, 256, (count, height, width, 3), dtype=torch.uint8)
    images = images.permute(0, 3, 1, 2)  # channels last, as pictures lie in memory
    logits = backend(images)
    assert logits.shape == (count, 3, height, width)
    assert logits.dtype == torch.float32
    assert logits.device == backend.device
    assert compare(logits, whole(source, images)).good


def test_a_backend_takes_values_between_integers(backend: Backend, source: Source) -> None:
    images = 255 * torch.rand(2, 3, 16, 24)
    assert compare(backend(images), whole(source, images)).good
    half = backend(images[:, :, 4:12, 2:8])  # a view with gaps
    assert compare(half, whole(source, images[:, :, 4:12, 2:8])).good


def test_logits_of_one_call_outlive_the_next(backend: Backend) -> None:
    first = backend(torch.zeros(1, 3, 8, 8))
    copy = first.clone()
    backend(torch.full((1, 3, 8, 8), 255.0))
    assert torch.equal(first, copy)


def test_a_predictor_runs_a_backend_as_it_runs_a_network(backend: Backend, source: Source) -> None:
    image = np.random.default_rng(0).integers(0, 256, (41, 57, 3), np.uint8)
    ours = Predictor(source.network, source.field, 3).logits(image)
    theirs = Predictor(Running(backend), source.field, 3, tile=32).logits(image)
    assert compare(theirs[None], ours[None]).good


def test_torch_leaves_each_module_in_the_mode_it_was_in(source: Source) -> None:
    source.network.train()
    try:
        TorchBackend(source.network)(torch.zeros(1, 3, 4, 4))
        assert source.network.network.training
    finally:
        source.network.eval()


def test_torch_keeps_float64() -> None:
    net = source_of().network.double()
    assert TorchBackend(net)(torch.zeros(1, 3, 4, 4)).dtype == torch.float64


def test_mixed_precision_gives_float32_logits(source: Source) -> None:
    images = check_pictures(3, 32, 32)
    logits = TorchBackend(source.network, autocast=torch.bfloat16)(images)
    assert logits.dtype == torch.float32
    found = compare(logits, whole(source, images))
    assert 1e-4 < found.difference < 0.05


def test_agreement_of_a_hand_worked_case() -> None:
    # Three pixels of two classes; the largest logit is 8, so 1e-4 of it is 0.0008.
    truth = torch.tensor([[8.0, 1.0, 2.0], [0.0, 1.0005, 1.0]]).reshape(1, 2, 3)
    # The second pixel changes class, but was undecided: its two logits differ by 0.0005.
    logits = torch.tensor([[8.0, 1.0006, 2.0], [0.0, 1.0, 1.0]]).reshape(1, 2, 3)
    found = compare(logits, truth)
    assert (found.changed, found.compared) == (0, 3)
    assert found.difference == pytest.approx(0.0006 / 8, rel=1e-3)
    assert found.good
    # The third changes class and was decided.
    logits[0, :, 2] = torch.tensor([1.0, 2.0])
    found = compare(logits, truth)
    assert (found.changed, found.difference) == (1, pytest.approx(1 / 8))
    assert not found.good


def test_logits_that_are_not_numbers_do_not_agree() -> None:
    truth = torch.tensor([[1.0, 2.0]])
    assert not compare(torch.full((1, 2), torch.nan), truth).good
    assert not (Agreement(torch.nan, 0, 1) + Agreement(0.0, 0, 1)).good
    assert not (Agreement(0.0, 0, 1) + Agreement(torch.nan, 0, 1)).good


class Wrong:
    """Computes what a network would if it centred pictures by another mean."""

    name = "wrong"
    device = torch.device("cpu")

    def __init__(self, source: Source, by: float) -> None:
        self.inner = TorchBackend(source.network)
        self.by = by

    def __call__(self, images: Tensor) -> Tensor:
        return self.inner(images + self.by)


def test_verify_tells_a_backend_that_computes_something_else(source: Source) -> None:
    assert verify(Wrong(source, 0), source).difference == 0
    with pytest.raises(ExportError, match="'wrong' does not compute what the network does") as told:
        verify(Wrong(source, 1), source)  # a mean that is wrong by one grey value
    assert "1e-04 is allowed" in str(told.value)


@pytest.mark.parametrize("name", OTHERS)
def test_a_file_is_written_once_and_kept(
    name: Name, source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if missing(name):
        pytest.skip(f"{missing(name)[0]} is not installed")
    opened(name, source, keep=tmp_path / "a" / "b")
    (file,) = (tmp_path / "a" / "b").iterdir()
    assert file.suffix == ".onnx"
    written = []
    monkeypatch.setattr(opening, "onnx_of", lambda of: written.append(of) or content_of(of))
    opened(name, source, keep=file.parent)
    assert not written
    # A damaged one is written anew, and so is that of other weights.
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    opened(name, source, keep=file.parent)
    assert len(written) == 1
    assert file.read_bytes() == whole
    other = source_of(seed=1)
    opened(name, other, keep=file.parent)
    assert len(written) == 2
    assert len(list(file.parent.iterdir())) == 2


def test_a_kept_file_of_another_network_is_found_out(source: Source, tmp_path: Path) -> None:
    if missing("onnxruntime"):
        pytest.skip("onnxruntime is not installed")
    opened("onnxruntime", source, keep=tmp_path)
    (file,) = tmp_path.iterdir()
    file.write_bytes(content_of(source_of(seed=1)))
    images = check_pictures(3, 16, 16)
    assert compare(opened("onnxruntime", source, keep=tmp_path)(images), whole(source, images)).good


def test_only_the_newest_files_are_kept(tmp_path: Path) -> None:
    for age in range(12):
        file = tmp_path / f"kept-{age}.onnx"
        file.write_bytes(b"")
        os.utime(file, (1000 - age, 1000 - age))
    (tmp_path / "model.onnx").write_bytes(b"of the user")
    opening._keep(tmp_path / "kept-new.onnx", b"new")
    held = {path.name for path in tmp_path.iterdir()}
    assert held == {"model.onnx", "kept-new.onnx", *(f"kept-{age}.onnx" for age in range(7))}


def test_a_folder_that_cannot_be_written_stops_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    opening._keep(tmp_path / "file" / "kept-new.onnx", b"new")


def test_weights_normalisation_and_structure_name_a_file(source: Source) -> None:
    digests = {source.digest, source_of(seed=1).digest, source_of("fcnn:upsample=bilinear").digest}
    shifted = source_of()
    shifted.network.mean += 1
    assert len(digests | {shifted.digest}) == 4
    assert source_of().digest == source.digest


def test_the_fastest_that_agrees_is_chosen(source: Source, keep: Path) -> None:
    told: list[Event] = []
    sample = torch.zeros(1, 3, 64, 64, dtype=torch.uint8)
    chosen = choose(source, NAMES, sample, keep=keep, on_event=told.append)
    text = told[-1].data["text"]
    assert text.startswith(f"backend {chosen.name}: ")
    there = [name for name in NAMES if not missing(name)]
    assert all(name in text for name in there)
    rates = {
        name: float(text.split(f"{name}")[1].split()[1 if name == chosen.name else 0].strip(":;,"))
        for name in there
    }
    assert max(rates, key=rates.__getitem__) == chosen.name


def test_for_little_to_predict_torch_is_taken_at_once(source: Source, tmp_path: Path) -> None:
    told: list[Event] = []
    sample = torch.zeros(1, 3, 64, 64, dtype=torch.uint8)
    chosen = choose(source, NAMES, sample, keep=tmp_path, pixels=10**4, on_event=told.append)
    assert chosen.name == "torch"
    assert not list(tmp_path.iterdir())


def test_a_backend_that_does_not_agree_is_passed_over(
    source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opening, "missing", lambda name: ())
    monkeypatch.setattr(opening, "opened", lambda name, source, **_: Wrong(source, 1))
    told: list[Event] = []
    sample = 255 * torch.rand(1, 3, 16, 16)
    chosen = choose(source, NAMES, sample, keep=tmp_path, on_event=told.append)
    assert chosen.name == "torch"
    assert [event.data["text"].split(":")[0] for event in told] == [
        "The backend 'onnxruntime' is passed over",
        "The backend 'openvino' is passed over",
        "backend torch",
    ]


def test_what_is_not_installed_is_named_with_what_installs_it(
    source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    absent = {"onnxruntime", "nncf"}
    monkeypatch.setattr(
        backends.importlib.util, "find_spec", lambda name: name not in absent or None
    )
    assert missing("onnxruntime") == ("onnxruntime",)
    assert missing("openvino") == ()
    with pytest.raises(RecipeError) as told:
        opened("onnxruntime", source, keep=None)
    assert str(told.value) == (
        "The backend 'onnxruntime' needs onnxruntime. Install with pip install "
        "'pixelwright[export]'."
    )
    with pytest.raises(
        RecipeError, match=r"onnxruntime and nncf.*'pixelwright\[export,openvino\]'"
    ):
        require("This", "onnxruntime", "onnx", "nncf")


SIGNAL_AFTER_OPENVINO = """
import signal
import numpy as np
from pixelwright.inference.backends.openvino import OpenVinoBackend, without_telemetry
without_telemetry()
import openvino
from openvino import opset13
image = opset13.parameter([-1, 3, -1, -1], np.float32)
model = openvino.Model([opset13.relu(image)], [image])
first, second = OpenVinoBackend(model), OpenVinoBackend(model)
del first
del second
signal.signal(signal.SIGINT, lambda number, frame: print("caught"))
signal.raise_signal(signal.SIGINT)
"""


def test_a_signal_arrives_after_backends_of_openvino_ended() -> None:
    if missing("openvino"):
        pytest.skip("openvino is not installed")
    # In a process of its own, which dies of the signal where OpenVINO left it no stack.
    command = [sys.executable, "-c", SIGNAL_AFTER_OPENVINO]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "caught\n"), done.stderr


def test_a_device_that_a_backend_has_not_is_refused(source: Source) -> None:
    for name in OTHERS:
        if not missing(name):
            with pytest.raises(RecipeError, match="--device cpu"):
                opened(name, source, keep=None, device="mps")
