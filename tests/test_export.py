"""Networks as files for other programs: what they hold, and that they compute the same."""

import ast
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import pixelwright as pw
import tiny
from pixelwright import build, jobs
from pixelwright.build.sources import keep_folder, source_of
from pixelwright.cli import main
from pixelwright.data.index import load
from pixelwright.errors import DataError, ExportError, MachineError, RecipeError
from pixelwright.exporting.onnx import KEY, onnx_of
from pixelwright.exporting.openvino import openvino_of, write
from pixelwright.exporting.source import Source, program_of
from pixelwright.exporting.verify import check_pictures, compare, verify
from pixelwright.inference.backends.onnxruntime import OnnxBackend
from pixelwright.inference.backends.openvino import OpenVinoBackend, without_telemetry
from pixelwright.jobs.calibration import PICTURES, parts
from pixelwright.registry import Spec
from pixelwright.run import Run
from pixelwright.types import silent

onnx = pytest.importorskip("onnx", reason="onnx is not installed")
pytest.importorskip("onnxscript", reason="onnxscript is not installed")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
without_telemetry()
openvino = pytest.importorskip("openvino", reason="openvino is not installed")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A segmenter in `run`, a classifier in `labels`, and their data."""
    folder = tmp_path_factory.mktemp("export")
    tiny.draw_run(folder / "run", tiny.draw_folders(folder / "set"), "unet:width=4,depth=1")
    animals = tiny.draw_class_folders(folder / "animals")
    tiny.draw_run(folder / "labels", animals, "convnet:width=8,depth=2", (8, 8))
    return folder


_written: dict[str, bytes] = {}


def content_of(source: Source) -> bytes:
    """`onnx_of`, once for each network: it takes two seconds."""
    if source.digest not in _written:
        _written[source.digest] = onnx_of(source)
    return _written[source.digest]


@pytest.fixture(autouse=True)
def _once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pixelwright.jobs.exporting.onnx_of", content_of)


@pytest.fixture(scope="module")
def content(place: Path) -> bytes:
    """The segmenter as an ONNX file."""
    return content_of(source_of(build.load_model(Run(place / "run"), "cpu")))


def held(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_an_onnx_file_says_what_it_takes_and_what_it_is(content: bytes) -> None:
    model = onnx.load_from_string(content)
    (image,), (logits,) = model.graph.input, model.graph.output
    axes = [
        [axis.dim_param or axis.dim_value for axis in value.type.tensor_type.shape.dim]
        for value in (image, logits)
    ]
    assert (image.name, logits.name) == ("image", "logits")
    assert axes == [["n", 3, "h", "w"], ["n", 3, "h", "w"]]
    assert image.type.tensor_type.elem_type == onnx.TensorProto.FLOAT
    (about,) = [json.loads(entry.value) for entry in model.metadata_props if entry.key == KEY]
    assert about["model"] == "unet:width=4,depth=1"
    assert about["classes"] == ["class 0", "class 1", "class 2"]
    assert about["field"]["multiple"] == 2
    assert about["field"]["before"] > 0
    assert len(about["weights"]) == 64
    assert about["pixelwright"] == pw.__version__


def test_an_onnx_file_can_be_read_without_torch_or_us(content: bytes, place: Path) -> None:
    import onnxruntime

    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    image = np.random.default_rng(0).integers(0, 256, (2, 3, 20, 36)).astype(np.float32)
    (logits,) = session.run(["logits"], {"image": image})
    model = build.load_model(Run(place / "run"), "cpu")
    with torch.inference_mode():
        truth = model.network(torch.from_numpy(image))
    assert compare(torch.from_numpy(logits), truth).good


def test_exporting_writes_a_checked_file_into_the_run(place: Path) -> None:
    run = Run(place / "run")
    done = pw.export(run, on_event=silent)
    assert done.files == (run.exports / "model.onnx",)
    assert done.agreement.good
    assert done.agreement.compared > 10_000
    assert done.loss is None
    # What lies there is replaced; nothing else is left. Equal networks give equal files.
    before = done.files[0].read_bytes()
    _written.clear()
    assert pw.export(run, on_event=silent).files[0].read_bytes() == before
    assert held(run.exports) == ["model.onnx"]


def test_openvino_files_are_float32_and_say_what_they_are(place: Path, tmp_path: Path) -> None:
    done = pw.export(place / "run", to="openvino", out=tmp_path / "new", on_event=silent)
    assert done.files == (tmp_path / "new/model.xml", tmp_path / "new/model.bin")
    assert held(tmp_path / "new") == ["model.bin", "model.xml"]
    model = openvino.Core().read_model(done.files[0])
    kinds = {
        out.get_element_type().get_type_name() for node in model.get_ops() for out in node.outputs()
    }
    assert "f16" not in kinds
    about = json.loads(model.get_rt_info([KEY]).astype(str))
    assert about["model"] == "unet:width=4,depth=1"
    source = source_of(build.load_model(Run(place / "run"), "cpu"))
    assert verify(OpenVinoBackend(done.files[0]), source).good


def test_a_suffix_says_the_format(place: Path, tmp_path: Path) -> None:
    files = pw.export(place / "run", out=tmp_path / "net.xml", on_event=silent).files
    assert [file.name for file in files] == ["net.xml", "net.bin"]
    with pytest.raises(RecipeError, match=r"net\.xml is a file of OpenVINO, and --to says onnx"):
        pw.export(place / "run", to="onnx", out=tmp_path / "net.xml")
    with pytest.raises(RecipeError, match=r"net\.xml is there already\. Replace it with --over"):
        pw.export(place / "run", out=tmp_path / "net.xml")
    with pytest.raises(RecipeError, match=r"No format is called 'onxx'\. Did you mean 'onnx'"):
        pw.export(place / "run", to="onxx")
    with pytest.raises(RecipeError, match="--int8 writes files of OpenVINO"):
        pw.export(place / "run", to="onnx", int8=True)


def test_a_classifier_is_exported_with_one_row_for_each_picture(place: Path) -> None:
    done = pw.export(place / "labels", on_event=silent)
    assert done.agreement.good
    backend = OnnxBackend(done.files[0])
    assert backend(torch.zeros(5, 3, 8, 8)).shape == (5, 3)
    assert backend(torch.zeros(1, 3, 24, 16)).shape == (1, 3)  # it takes larger ones too


@pytest.mark.parametrize("shown", [(9, 30), (30, 9), (16, 16), (40, 64)])
def test_a_classifier_that_resizes_pictures_does_so_in_the_file(shown: tuple[int, int]) -> None:
    torch.manual_seed(0)
    net = build.network(Spec.parse("convnet:width=4,depth=2"), 3, 3, (0.5,), (0.25,), 16).eval()
    source = Source(net, build.model.WHOLE, 3, ("a", "b", "c"), (9, 30))
    backend = OnnxBackend(content_of(source))
    images = check_pictures(3, *shown)
    with torch.inference_mode():
        assert compare(backend(images), net(images)).good


class Counting(torch.nn.Module):
    """A step that no graph holds: what it does depends on the values."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return image * 2 if image.sum().item() > 0 else image


def test_a_network_that_cannot_be_followed_is_refused_in_plain_words(place: Path) -> None:
    model = build.load_model(Run(place / "run"), "cpu")
    source = source_of(model)
    source.network.network = Counting()
    with pytest.raises(ExportError, match="torch cannot follow the network as a graph"):
        program_of(source)


def test_what_cannot_be_written_leaves_nothing(
    content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "model.xml").write_text("old")
    (tmp_path / "model.bin").write_text("old")

    def full(model: Any, path: Path, **_: Any) -> None:
        Path(path).write_text("half of it")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(openvino, "save_model", full)
    with pytest.raises(MachineError, match="No space left on device"):
        write(openvino_of(content), tmp_path / "model.xml", {})
    assert held(tmp_path) == ["model.bin", "model.xml"]
    assert (tmp_path / "model.xml").read_text() == (tmp_path / "model.bin").read_text() == "old"


def test_files_for_backends_are_kept_in_the_run_or_else_in_the_cache(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(place / "run")
    assert keep_folder(run) == run.exports
    monkeypatch.setattr("os.access", lambda path, mode: False)
    monkeypatch.setenv("PIXELWRIGHT_CACHE", str(tmp_path))
    assert keep_folder(run) == tmp_path / "exports"
    monkeypatch.setenv("PIXELWRIGHT_CACHE", "")
    assert keep_folder(run) is None


def test_ranges_are_taken_from_parts_that_the_network_takes(place: Path) -> None:
    model = build.load_model(Run(place / "run"), "cpu")
    found = load(Spec("folders", {"root": place / "set"}))
    drawn = parts(model, found)
    assert len(drawn) == PICTURES  # several of each of few pictures
    assert {part.shape for part in drawn} == {(1, 3, 48, 64)}
    assert all(np.array_equal(a, b) for a, b in zip(drawn, parts(model, found), strict=True))
    labels = build.load_model(Run(place / "labels"), "cpu")
    pictures = parts(labels, load(Spec("class-folders", {"root": place / "animals"})))
    assert {picture.shape for picture in pictures} == {(1, 3, 8, 8)}


def test_int8_needs_the_pictures_of_the_training(tmp_path: Path) -> None:
    run = tiny.draw_run(tmp_path / "run", tiny.draw_folders(tmp_path / "set"), "fcnn")
    (tmp_path / "set").rename(tmp_path / "gone")
    with pytest.raises(DataError, match="--int8 takes ranges from training pictures"):
        jobs.export(run, int8=True, on_event=silent)


@pytest.mark.parametrize("name", ["run", "labels"])
def test_int8_lies_beside_float32_and_tells_what_it_costs(place: Path, name: str) -> None:
    pytest.importorskip("nncf", reason="nncf is not installed")
    run = Run(place / name)
    done = jobs.export(run, int8=True, on_event=silent)
    assert [file.name for file in done.files] == [
        "model.xml", "model.bin", "model-int8.xml", "model-int8.bin"
    ]  # fmt: skip
    assert done.loss is not None
    assert str(done.loss).startswith("mean IoU 0." if name == "run" else "top-1 0.")
    assert str(done.loss).endswith("of 'val'")
    assert done.loss.change.value == pytest.approx(done.loss.after.value - done.loss.before.value)
    model = openvino.Core().read_model(done.files[2])
    assert "FakeQuantize" in {node.get_type_name() for node in model.get_ops()}
    assert str(done.loss) == json.loads(model.get_rt_info([KEY]).astype(str))["int8"]


def test_the_command_tells_the_files_and_how_near_they_come(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place)
    assert main(["export", "run", "--out", "out/net.onnx"]) == 0
    wrote, agrees = capsys.readouterr().out.splitlines()
    assert wrote == "wrote out/net.onnx"
    assert agrees.startswith("The logits differ by ")
    assert main(["export", "run", "--out", "out/net.onnx"]) == 2
    assert "Replace it with --overwrite" in capsys.readouterr().err
    assert main(["export", "run", "--out", "out/net.onnx", "--overwrite"]) == 0


def test_nobody_is_told_that_openvino_is_used(tmp_path: Path) -> None:
    code = (
        "from pixelwright.inference.backends.openvino import without_telemetry as quiet; quiet(); "
        "import sys, openvino; print(sorted(m for m in sys.modules if 'telemetry' in m))"
    )
    environment = {**os.environ, "HOME": str(tmp_path)}
    command = [sys.executable, "-c", code]
    told = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    loaded = ast.literal_eval(told.stdout)
    assert not [name for name in loaded if name.startswith("openvino_telemetry.")]
    assert held(tmp_path) == []  # its identity of this user would lie in ~/intel


def test_pw_export_stays_a_function() -> None:
    assert callable(pw.export)
    jobs.export  # noqa: B018
    assert callable(pw.export)
