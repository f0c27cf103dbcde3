"""Prediction as users ask for it: any size, any memory, bad pictures, kills, several networks."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import tiny
from pixelwright import build, images, jobs
from pixelwright.errors import DataError, PredictError, RecipeError
from pixelwright.jobs.canvas import Canvas
from pixelwright.jobs.partial import folder_for
from pixelwright.recipe import Recipe
from pixelwright.run import Run
from pixelwright.types import Event, silent


def trained(folder: Path, model: str, seed: int = 0) -> Run:
    settings = {"epochs": 2, "batch_size": 2, "crop": 32, "lr": 0.01}
    data = tiny.draw_folders(folder / "data")
    recipe = {"data": data, "model": model, "seed": seed, "precision": "float32"}
    made = Recipe.from_dict(recipe | {"train": settings})
    return jobs.train(made, out=folder / "run", on_event=silent)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return trained(tmp_path_factory.mktemp("fcnn"), "fcnn")


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return trained(tmp_path_factory.mktemp("unet"), "unet:width=4,depth=2", seed=1)


@pytest.fixture
def streaming(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures of a few thousand pixels count as large."""
    # The one that takes it from the other first: it may be loaded by this.
    for place in ("jobs.mask_planning", "inference.plan"):
        monkeypatch.setattr(f"pixelwright.{place}.WHOLE_PIXELS", 100)
    monkeypatch.setattr("pixelwright.inference.plan.BAND_PIXELS", 2**11)
    monkeypatch.setattr("pixelwright.inference.plan._PART_PIXELS", 2**12)
    monkeypatch.setattr("pixelwright.inference.plan._BEGINNING", 50)
    monkeypatch.setattr("pixelwright.inference.plan._REPEATED", 0.5)


def drawn(height: int = 200, width: int = 90) -> np.ndarray:
    return tiny.scene(height, width)[0]


def logits(run: Run, image: np.ndarray) -> torch.Tensor:
    """One pass over the whole padded image."""
    model = build.load_model(run, "cpu")
    below, beside = (-length % model.field.multiple for length in image.shape[:2])
    padded = np.pad(image, ((0, below), (0, beside), (0, 0)), mode="edge")
    with torch.inference_mode():
        found = model.network(torch.from_numpy(padded).permute(2, 0, 1)[None])
    return found[0, :, : image.shape[0], : image.shape[1]]


def notes(seen: list[Event]) -> str:
    return "\n".join(str(event.data["text"]) for event in seen if event.kind == "note")


@pytest.mark.usefixtures("streaming")
def test_a_streamed_picture_is_that_of_one_pass_and_the_plan_is_told(run: Run) -> None:
    seen: list[Event] = []
    found = jobs.predict(run, drawn(), on_event=seen.append)
    assert found.plan.kind == "stream"
    assert "stream, bands of" in notes(seen)
    assert np.array_equal(found.labels, logits(run, drawn()).argmax(0))


def test_tiles_of_a_given_size_are_those_of_one_pass(run: Run) -> None:
    found = jobs.predict(run, drawn(), tile=64, on_event=silent)
    assert (found.plan.kind, found.plan.rows, found.plan.columns) == ("tiles", 64, 64)
    assert np.array_equal(found.labels, logits(run, drawn()).argmax(0))


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (37, 5), (3, 400)])
def test_f67_a_result_has_the_size_of_its_picture(run: Run, size: tuple[int, int]) -> None:
    found = jobs.predict(run, np.full((*size, 3), 90, np.uint8), on_event=silent)
    assert found.labels.shape == size
    assert found.overlay.shape == (*size, 3)


def test_f68_a_picture_without_pixels_is_refused(run: Run) -> None:
    with pytest.raises(PredictError, match="no pixels"):
        jobs.predict(run, np.zeros((0, 5, 3), np.uint8), on_event=silent)


@pytest.mark.usefixtures("streaming")
def test_f69_what_a_stream_takes_does_not_grow_with_the_height(run: Run) -> None:
    plans = [jobs.predict(run, drawn(high, 64), on_event=silent).plan for high in (1000, 4000)]
    assert [plan.kind for plan in plans] == ["stream", "stream"]
    assert plans[0].bytes == plans[1].bytes


def test_f70_bands_that_do_not_fit_are_refused_and_can_be_chosen(run: Run, tmp_path: Path) -> None:
    np.save(tmp_path / "five.npy", np.dstack([drawn(), drawn()[..., :2]]))
    with pytest.raises(DataError, match="5 bands"):
        jobs.predict(run, tmp_path / "five.npy", on_event=silent)
    found = jobs.predict(run, tmp_path / "five.npy", bands=(1, 2, 3), on_event=silent)
    assert np.array_equal(found.labels, logits(run, drawn()).argmax(0))


def test_f71_no_data_is_no_class(run: Run, tmp_path: Path) -> None:
    image = drawn(40, 60).clip(1)
    image[10:20] = 0
    path = tiny.save(tmp_path / "a.png", image)
    found = jobs.predict(run, path, nodata=0, out=tmp_path / "out", on_event=silent)
    raw = np.asarray(Image.open(tmp_path / "out" / "a.png"))
    assert (raw[10:20] == 255).all()
    assert (np.delete(raw, np.s_[10:20], 0) < 3).all()
    assert np.array_equal(found.labels, raw)


def test_f12_fractions_that_are_not_numbers_are_refused_unless_declared(
    run: Run, tmp_path: Path
) -> None:
    image = drawn(20, 30).astype(np.float32) / 255
    image[3, 4] = np.nan
    np.save(tmp_path / "a.npy", image)
    with pytest.raises(DataError, match="NaN"):
        jobs.predict(run, tmp_path / "a.npy", on_event=silent)
    found = jobs.predict(run, tmp_path / "a.npy", nodata=float("nan"), on_event=silent)
    assert np.argwhere(found.labels == 255).tolist() == [[3, 4]]


def test_f08_16_bits_are_predicted_at_their_full_depth(run: Run, tmp_path: Path) -> None:
    deep = drawn(20, 30).astype(np.uint16) * 257 // 3 + 40_000
    np.save(tmp_path / "a.npy", deep)
    found = jobs.predict(run, tmp_path / "a.npy", on_event=silent)
    exact = deep.astype(np.float32) * np.float32(255 / 65535)
    assert np.array_equal(found.labels, logits(run, exact).argmax(0))


STOP = """
import os, signal, sys
from pixelwright import jobs
from pixelwright.jobs.canvas import Canvas
from pixelwright.types import silent
import pixelwright.inference.plan as plan, pixelwright.jobs.mask_planning as planning

plan.WHOLE_PIXELS = planning.WHOLE_PIXELS = 100
plan.BAND_PIXELS, plan._PART_PIXELS, plan._BEGINNING, plan._REPEATED = 2**11, 2**12, 50, 0.5
import pixelwright.jobs.masks as masks
masks.IN_MEMORY = 0
finish = Canvas.finish_part

def stop(self, number):
    finish(self, number)
    self.flush()
    if number == 2:
        os.kill(os.getpid(), signal.SIGKILL)

Canvas.finish_part = stop
jobs.predict(sys.argv[1], sys.argv[2], out=sys.argv[3], on_event=silent)
"""


@pytest.mark.slow
@pytest.mark.usefixtures("streaming")
def test_f72_after_a_kill_only_what_is_missing_is_done_and_the_bytes_are_the_same(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pixelwright.jobs.masks.IN_MEMORY", 0)
    image = tiny.save(tmp_path / "a.png", drawn(600, 90))
    killed = subprocess.run(
        [sys.executable, "-c", STOP, run.path, image, tmp_path / "killed"], check=False
    )
    assert killed.returncode == -signal.SIGKILL
    assert [path.name for path in (tmp_path / "killed").iterdir()] == [".a.partial"]
    seen: list[Event] = []
    done: list[int] = []
    finish = Canvas.finish_part
    monkeypatch.setattr(Canvas, "finish_part", lambda c, n: done.append(n) or finish(c, n))
    for folder in ("killed", "straight"):
        jobs.predict(run, image, out=tmp_path / folder, resume=True, on_event=seen.append)
    parts = done[done.index(0) :]  # of the one that went straight through
    assert done == [*parts[3:], *parts]
    assert "3 parts lie done" in notes(seen)
    for name in ("a.png", "a.overlay.jpg"):
        assert (tmp_path / "killed" / name).read_bytes() == (
            tmp_path / "straight" / name
        ).read_bytes()
    assert not folder_for(tmp_path / "killed", "a").exists()


def test_f73_a_place_on_earth_is_kept(run: Run, tmp_path: Path) -> None:
    rasterio = pytest.importorskip("rasterio")
    affine = rasterio.Affine(0.5, 0, 500_000, 0, -0.5, 5_600_000)
    image = drawn(70, 50)
    profile = {"driver": "GTiff", "height": 70, "width": 50, "count": 3, "dtype": "uint8"}
    profile |= {"crs": "EPSG:32633", "transform": affine}
    with rasterio.open(tmp_path / "a.tif", "w", **profile) as file:
        file.write(image.transpose(2, 0, 1))
    jobs.predict(run, tmp_path / "a.tif", out=tmp_path / "out", on_event=silent)
    with rasterio.open(tmp_path / "out" / "a.tif") as made:
        assert (made.crs.to_epsg(), made.transform) == (32633, affine)
        assert made.colormap(1)[1][:3] == build.load_model(run, "cpu").classes.colors[1]
        assert np.array_equal(made.read(1), logits(run, image).argmax(0))


def test_too_little_memory_is_refused_with_what_would_do(run: Run) -> None:
    with pytest.raises(PredictError, match=r"takes .* at least, .* Give --memory \d+MB;"):
        jobs.predict(run, drawn(), memory="1MB", on_event=silent)


@pytest.mark.parametrize(("tile", "kept"), [(64, True), (320, False)])
def test_only_small_plans_keep_the_memory_that_they_free(
    run: Run, monkeypatch: pytest.MonkeyPatch, tile: int, kept: bool
) -> None:
    said: list[str] = []
    monkeypatch.setattr("pixelwright.memory.keep_freed", lambda: said.append("keep"))
    monkeypatch.setattr("pixelwright.memory.return_freed", lambda above: said.append("return"))
    monkeypatch.setattr("pixelwright.inference.plan._ROOMY", 2**24)
    jobs.predict(run, drawn(320, 320), tile=tile, on_event=silent)
    assert said[-1] == ("keep" if kept else "return")


def test_a_tile_that_does_not_fit_into_the_memory_is_refused(run: Run) -> None:
    with pytest.raises(PredictError, match=r"Give --memory \d+MB or a smaller --tile"):
        jobs.predict(run, drawn(), tile=64, memory="1MB", on_event=silent)


def test_replacing_and_keeping_results_contradict_each_other(run: Run, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="Leave one of the two out"):
        jobs.predict(run, drawn(), out=tmp_path, overwrite=True, resume=True, on_event=silent)


def test_networks_of_different_strides_answer_together(run: Run, other: Run) -> None:
    image = drawn(61, 90)
    found = jobs.predict([run, other], image, probabilities=True, on_event=silent)
    each = []
    for one in (run, other):
        # Both see the picture as padded for the larger stride.
        padded = np.pad(image, ((0, -61 % 4), (0, -90 % 4), (0, 0)), mode="edge")
        each.append(logits(one, padded).softmax(0)[:, :61, :90])
    mean = sum(each) / 2
    assert np.abs(found.probabilities - mean.numpy()).max() <= 0.5 / 255 + 1e-6
    assert (found.labels == mean.argmax(0).numpy()).mean() > 0.999


@pytest.mark.usefixtures("streaming")
def test_mirrored_views_are_streamed_and_averaged(run: Run) -> None:
    image = drawn(120, 64)
    found = jobs.predict(run, image, flip=True, probabilities=True, on_event=silent)
    assert found.plan.kind == "stream"
    mirrored = logits(run, image[:, ::-1].copy()).flip(2)
    mean = (logits(run, image).softmax(0) + mirrored.softmax(0)) / 2
    assert np.abs(found.probabilities - mean.numpy()).max() <= 0.5 / 255 + 1e-5


def test_eight_views_agree_on_a_picture_that_looks_the_same_from_everywhere(run: Run) -> None:
    image = np.full((32, 32, 3), 120, np.uint8)
    found = jobs.predict(run, image, d4=True, uncertainty=True, on_event=silent)
    turned = np.rot90(found.entropy)
    assert np.abs(found.entropy - turned).max() <= 1.5 / 254
    assert found.disagreement.shape == (32, 32)
    with pytest.raises(RecipeError, match="Leave --flip out"):
        jobs.predict(run, image, d4=True, flip=True, on_event=silent)


def test_uncertainty_is_the_entropy_of_the_probabilities(run: Run, tmp_path: Path) -> None:
    image = drawn(40, 50)
    path = tiny.save(tmp_path / "a.png", image)
    found = jobs.predict(run, path, out=tmp_path / "out", uncertainty=True, on_event=silent)
    likely = logits(run, image).softmax(0)
    entropy = (-(likely * likely.log()).sum(0) / np.log(3)).numpy()
    assert np.abs(found.entropy - entropy).max() <= 0.5 / 254 + 1e-5
    assert found.disagreement is None
    assert images.size(tmp_path / "out" / "a.entropy.png") == (40, 50)


def test_a_folder_of_mixed_sizes_is_what_each_picture_is_alone(run: Run, tmp_path: Path) -> None:
    sizes = [(20, 30), (20, 30), (20, 30), (25, 30), (20, 30)]
    for number, size in enumerate(sizes):
        image = tiny.scene(*size, seed=number)[0]
        tiny.save(tmp_path / "in" / f"{number}.png", image)
    done = jobs.predict(run, tmp_path / "in", out=tmp_path / "out", on_event=silent)
    assert [one.source.stem for one in done] == ["0", "1", "2", "3", "4"]
    for number, size in enumerate(sizes):
        alone = jobs.predict(run, tiny.scene(*size, seed=number)[0], on_event=silent).labels
        assert np.array_equal(np.asarray(Image.open(tmp_path / "out" / f"{number}.png")), alone)


def test_resume_passes_over_what_is_there(run: Run, tmp_path: Path) -> None:
    for name in "ab":
        tiny.save(tmp_path / "in" / f"{name}.png", drawn(20, 30))
    jobs.predict(run, tmp_path / "in" / "a.png", out=tmp_path / "out", on_event=silent)
    before = (tmp_path / "out" / "a.png").stat().st_mtime_ns
    done = jobs.predict(run, tmp_path / "in", out=tmp_path / "out", resume=True, on_event=silent)
    assert [one.source.name for one in done] == ["a.png", "b.png"]
    assert [one.plan is None for one in done] == [True, False]
    assert (tmp_path / "out" / "a.png").stat().st_mtime_ns == before
    again = jobs.predict(
        run, tmp_path / "in" / "a.png", out=tmp_path / "out", resume=True, on_event=silent
    )
    assert [path.name for path in again.files] == ["a.png", "a.overlay.jpg"]


def test_what_is_told_to_scripts_is_json(run: Run, tmp_path: Path) -> None:
    path = tiny.save(tmp_path / "a.png", drawn(20, 30))
    found = jobs.predict(run, path, out=tmp_path / "out", on_event=silent)
    told = json.loads(json.dumps(found.told()))
    assert (told["height"], told["width"], told["plan"]) == (20, 30, "whole")
    assert [os.path.basename(file) for file in told["files"]] == ["a.png", "a.overlay.jpg"]  # noqa: PTH119


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_other_backends_give_the_same_classes(run: Run, backend: str) -> None:
    pytest.importorskip(backend)
    image = drawn(60, 90)
    found = jobs.predict(run, image, backend=backend, tile=32, on_event=silent)
    scores = logits(run, image)
    best = scores.topk(2, dim=0).values
    sure = ((best[0] - best[1]) > 1e-3 * scores.abs().max()).numpy()
    assert np.array_equal(found.labels[sure], scores.argmax(0).numpy()[sure])
    assert found.plan.kind == "tiles"


def test_an_unknown_backend_is_refused_with_those_that_are_known(run: Run) -> None:
    with pytest.raises(RecipeError, match="onnxruntime, openvino, torch"):
        jobs.predict(run, drawn(8, 8), backend="tensorrt", on_event=silent)


def test_a_network_that_needs_the_whole_picture_says_so_and_is_blended(
    tmp_path: Path,
) -> None:
    made = trained(tmp_path, "unet:width=4,depth=2,norm=instance")
    seen: list[Event] = []
    found = jobs.predict(made, drawn(100, 120), tile=48, on_event=seen.append)
    assert found.plan.kind == "windows"
    assert found.labels.shape == (100, 120)
    assert "instance norm" in notes(seen)
    assert "% of the pixels have another class" in notes(seen)


def test_f15_a_bomb_is_refused_from_its_header(run: Run, tmp_path: Path) -> None:
    picture = tiny.save(tmp_path / "a.png", drawn(8, 8)).read_bytes()
    at = picture.index(b"IHDR") + 4
    bomb = bytearray(picture)
    bomb[at : at + 8] = (200_000).to_bytes(4, "big") * 2
    (tmp_path / "bomb.png").write_bytes(bomb)
    with pytest.raises(DataError, match=f"{images.MAX_PIXELS:,}|200,000|200000"):
        jobs.predict(run, tmp_path / "bomb.png", on_event=silent)


def test_a_compiled_network_goes_by_tiles(
    run: Run, streaming: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled: list[object] = []

    def keep(forward: object) -> object:
        compiled.append(forward)
        return forward

    monkeypatch.setattr(torch, "compile", keep)
    plain = jobs.predict(run, drawn(), on_event=silent)
    fused = jobs.predict(run, drawn(), compile=True, on_event=silent)
    assert plain.plan.kind == "stream"
    assert fused.plan.kind == "tiles"
    assert len(compiled) == 1
    assert np.array_equal(plain.labels, fused.labels)


def test_bands_in_half_precision_are_one_pass_in_half_precision(run: Run, streaming: None) -> None:
    exact = jobs.predict(run, drawn(), probabilities=True, on_event=silent)
    bands = jobs.predict(run, drawn(), precision="bfloat16", probabilities=True, on_event=silent)
    assert (exact.probabilities != bands.probabilities).any()
    tiles = jobs.predict(run, drawn(), precision="bfloat16", tile=64, on_event=silent)
    assert bands.plan.kind == "stream"
    assert tiles.plan.kind == "tiles"
    assert (bands.labels == tiles.labels).mean() > 0.97
    assert (bands.labels == exact.labels).mean() > 0.97
