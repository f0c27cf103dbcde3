"""What `pixelwright predict` promises with each of its options, on tiny pictures."""

import csv
import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import tiny
from commands import PICTURE, Predict, Say, names, refusal
from pixelwright import memory
from pixelwright.jobs.canvas import Canvas


@pytest.fixture
def home(place: Path) -> Path:
    return place


def mask(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.array(image)


def shares(folder: Path, stem: str = "00") -> np.ndarray:
    """Probabilities "k h w", as they were written."""
    return np.load(folder / f"{stem}.probabilities.npy").astype(np.float64) / 255


def entropy(likely: np.ndarray) -> np.ndarray:
    """From 0 to 1, of probabilities "k h w"."""
    likely = np.maximum(likely, 1e-12)
    return -(likely * np.log(likely)).sum(0) / np.log(len(likely))


# Memory and tiles


def test_each_picture_gives_a_mask_and_an_overlay_of_its_size(
    predict: Predict, tmp_path: Path
) -> None:
    _, said, _ = predict("set/images")
    made = [tmp_path / f"out/0{i}.{suffix}" for i in range(3) for suffix in ("png", "overlay.jpg")]
    assert said.splitlines() == [f"wrote {path}" for path in made]
    for plain, overlay in zip(made[::2], made[1::2], strict=True):
        assert mask(plain).shape == (48, 64)
        assert set(np.unique(mask(plain))) <= {0, 1, 2}
        assert mask(overlay).shape == (48, 64, 3)


def test_tiles_are_told_and_change_no_byte(predict: Predict, tmp_path: Path) -> None:
    predict(PICTURE, out="whole")
    for i, more in enumerate(((), ("--memory", "64GB", "--backend", "torch"))):
        _, _, err = predict(PICTURE, "--tile", 32, *more, out=f"tiles{i}")
        assert re.search(r"^tiles of 32 x 32, about [\d.]+ [kM]B$", err, re.MULTILINE)
        assert tiny.tree(tmp_path / f"tiles{i}") == tiny.tree(tmp_path / "whole")


def test_too_little_memory_is_refused_with_the_least_that_would_do(
    predict: Predict, tmp_path: Path
) -> None:
    line = refusal(predict(PICTURE, "--memory", "1MB", code=2))
    assert re.search(r"48 x 64 \(.*\) takes .* of memory at least, and none is left\.", line)
    assert not (tmp_path / "out").exists()
    enough = re.search(r"Give --memory (\d+MB); Python and PyTorch are part of it\.", line)
    assert enough
    # What the process holds meanwhile may grow a little.
    predict(PICTURE, "--memory", memory.parse(enough[1]) + memory.parse("60MB"))
    line = refusal(predict(PICTURE, "--memory", "1MB", "--tile", 32, out="tiled", code=2))
    assert re.search(r"A tile of 32 px takes .* \d+MB or a smaller --tile", line)


# Backends


def test_a_backend_that_is_unknown_or_not_installed_is_refused(
    predict: Predict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = refusal(predict(PICTURE, "--backend", "openvno", code=2))
    assert "'openvno'. Did you mean 'openvino'?" in line
    assert "auto, onnxruntime, openvino, torch" in line
    for name, extra in (("onnxruntime", "export"), ("openvino", "openvino")):
        monkeypatch.setitem(sys.modules, name, None)
        line = refusal(predict(PICTURE, "--backend", name, code=2))
        assert f"'{name}' needs {name}" in line
        assert re.search(rf"pip install 'pixelwright\[[\w,]*{extra}", line)
    assert not (tmp_path / "out").exists()


# Precision


def test_half_precision_gives_nearly_the_same_mask(predict: Predict, tmp_path: Path) -> None:
    predict(PICTURE, "--probabilities", out="exact")
    predict(PICTURE, "--probabilities", "--precision", "bfloat16")
    assert (shares(tmp_path / "exact") != shares(tmp_path / "out")).any()
    exact, half = (mask(tmp_path / folder / "00.png") for folder in ("exact", "out"))
    assert (exact == half).mean() > 0.97


def test_a_precision_that_cannot_be_is_refused(predict: Predict, tmp_path: Path) -> None:
    line = refusal(predict(PICTURE, "--precision", "bfloat", code=2))
    assert "'bfloat'. Did you mean 'bfloat16'?" in line
    line = refusal(predict(PICTURE, "--precision", "float16", "--device", "cpu", code=2))
    assert "float16 is for a GPU" in line
    for options in (("--compile",), ("--precision", "bfloat16")):
        line = refusal(predict(PICTURE, *options, "--backend", "auto", code=2))
        assert f"{' '.join(options)} is for the backend torch, not for auto." in line
    line = refusal(predict(PICTURE, "--compile", "--memory", "2GB", code=2))
    assert "Leave --compile or --memory out." in line
    assert not (tmp_path / "out").exists()


# Several networks and views


def test_several_runs_answer_with_the_mean_of_their_probabilities(
    predict: Predict, tmp_path: Path
) -> None:
    for name in ("run", "other"):
        predict(PICTURE, "--probabilities", run=name, out=name)
    predict(PICTURE, "--probabilities", "--uncertainty", "--run", "other")
    assert names(tmp_path / "out") == {
        *("00.png", "00.overlay.jpg", "00.probabilities.npy"),
        *("00.entropy.png", "00.disagreement.png"),
    }
    each = [shares(tmp_path / name) for name in ("run", "other")]
    mean = sum(each) / 2
    assert np.abs(shares(tmp_path / "out") - mean).max() <= 1 / 255 + 1e-6
    unsure, apart = (mask(tmp_path / f"out/00.{name}.png") for name in ("entropy", "disagreement"))
    assert unsure.max() <= 254
    # Probabilities were rounded to 1/255, which moves an entropy by some parts of 254.
    assert np.abs(unsure - 254 * entropy(mean)).max() <= 4
    expected = entropy(mean) - sum(map(entropy, each)) / 2
    assert apart.any()
    assert np.abs(apart - 254 * expected).max() <= 4


@pytest.mark.parametrize("option", ["--flip", "--d4"])
def test_with_all_views_a_mirrored_picture_has_a_mirrored_answer(
    predict: Predict, tmp_path: Path, option: str
) -> None:
    picture = mask(Path(PICTURE))
    np.save(tmp_path / "a.npy", picture)
    np.save(tmp_path / "b.npy", picture[:, ::-1])
    np.save(tmp_path / "c.npy", np.rot90(picture))
    files = [tmp_path / f"{name}.npy" for name in "abc"]
    predict(*files, "--probabilities", out="plain")
    predict(*files, "--probabilities", "--uncertainty", option)
    plain, found = (
        [shares(tmp_path / folder, name) for name in "abc"] for folder in ("plain", "out")
    )
    assert np.abs(plain[0] - plain[1][..., ::-1]).max() > 2 / 255
    assert np.abs(found[0] - found[1][..., ::-1]).max() <= 1 / 255 + 1e-6
    if option == "--flip":
        assert np.abs(found[0] - (plain[0] + plain[1][..., ::-1]) / 2).max() <= 1 / 255 + 1e-6
    else:
        turned = np.rot90(found[0], axes=(1, 2))
        assert np.abs(found[2] - turned).max() <= 1 / 255 + 1e-6
    assert (tmp_path / "out/a.disagreement.png").exists()


def test_of_one_network_classes_are_the_most_probable_and_nobody_disagrees(
    predict: Predict, tmp_path: Path
) -> None:
    predict(PICTURE, "--probabilities", "--uncertainty")
    assert not (tmp_path / "out/00.disagreement.png").exists()
    assert (tmp_path / "out/00.entropy.png").exists()
    found, likely = mask(tmp_path / "out/00.png"), shares(tmp_path / "out")
    assert likely.shape == (3, 48, 64)
    assert np.abs(likely.sum(0) - 1).max() <= 1.5 / 255 + 1e-6
    assert len(np.unique(found)) > 1
    best = np.take_along_axis(likely, found[np.newaxis].astype(int), 0)[0]
    assert (best == likely.max(0)).all()


# Pictures


def test_bands_are_picked_in_the_order_that_is_said(predict: Predict, tmp_path: Path) -> None:
    picture = mask(Path(PICTURE))
    wide = np.dstack([picture[..., 1], tiny.noise(48, 64, 2), picture[..., [2, 0]]])
    np.save(tmp_path / "00.npy", wide)
    predict(tmp_path / "00.npy", "--bands", "5,1,4")
    predict(PICTURE, out="plain")
    assert tiny.tree(tmp_path / "out") == tiny.tree(tmp_path / "plain")


def test_a_page_is_picked(predict: Predict, tmp_path: Path) -> None:
    first, second = (Image.fromarray(tiny.scene(40, 50, seed=seed)[0]) for seed in range(2))
    first.save(tmp_path / "a.tif", save_all=True, append_images=[second])
    second.save(tmp_path / "a.png")
    predict(tmp_path / "a.tif", "--page", 2)
    predict(tmp_path / "a.png", out="alone")
    assert tiny.tree(tmp_path / "out") == tiny.tree(tmp_path / "alone")


@pytest.mark.parametrize(("value", "suffix"), [("9", "png"), ("alpha", "png"), ("nan", "npy")])
def test_where_there_are_no_data_there_is_no_class(
    predict: Predict, tmp_path: Path, value: str, suffix: str
) -> None:
    picture, empty = mask(Path(PICTURE)).clip(20), np.zeros((48, 64), bool)
    empty[10:20, 30:50] = True
    picture[empty] = 9
    path = tmp_path / f"a.{suffix}"
    if value == "nan":
        np.save(path, np.where(empty[..., None], np.nan, picture / 255).astype(np.float32))
    elif value == "alpha":
        tiny.save(path, np.dstack([picture, 255 * ~empty]).astype(np.uint8))
    else:
        tiny.save(path, picture)
    predict(path, "--nodata", value)
    assert np.array_equal(mask(tmp_path / "out/a.png") == 255, empty)


# What is there already, and what was stopped


def test_results_are_replaced_or_kept_as_is_said_and_else_refused(
    predict: Predict, tmp_path: Path
) -> None:
    predict(PICTURE)
    made = tmp_path / "out/00.png"
    made.write_bytes(made.read_bytes() + b"mine")
    line = refusal(predict("set/images", code=2))
    assert re.search(r"00\.png is there already\. .* --overwrite.* --resume", line)
    _, said, err = predict("set/images", "--resume")
    assert re.findall(r"\S+ is predicted already", err) == ["00.jpg is predicted already"]
    assert f"wrote {tmp_path / 'out/02.png'}" in said
    assert made.read_bytes().endswith(b"mine")
    predict("set/images", "--overwrite")
    assert not made.read_bytes().endswith(b"mine")


def test_f72_an_interrupted_prediction_is_gone_on_with(
    predict: Predict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pixelwright.jobs.masks.IN_MEMORY", 0)
    finish = Canvas.finish_part

    def stop(canvas: Canvas, number: int) -> None:
        finish(canvas, number)
        if number == 1:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Canvas, "finish_part", stop)
        predict(PICTURE, "--tile", 32, code=130)
    assert names(tmp_path / "out") == {".00.partial"}
    _, _, err = predict(PICTURE, "--tile", 32, "--resume")
    assert "2 parts lie done" in err
    predict(PICTURE, "--tile", 32, out="straight")
    assert tiny.tree(tmp_path / "out") == tiny.tree(tmp_path / "straight")


# What scripts are told


def test_json_tells_of_each_picture_and_leaves_nothing_else_on_the_output(
    predict: Predict, tmp_path: Path
) -> None:
    _, said, err = predict("set/images", "--tile", 32, "--json", "-")
    assert "tiles of 32 x 32" in err
    assert len(said.splitlines()) == 1
    told = json.loads(said)
    assert [one["image"] for one in told] == [f"set/images/0{i}.jpg" for i in range(3)]
    for i, one in enumerate(told):
        made = [str(tmp_path / f"out/0{i}.{suffix}") for suffix in ("png", "overlay.jpg")]
        assert one["files"] == made
        assert (one["height"], one["width"]) == (48, 64)
        assert (one["plan"], one["tile"], one["band"]) == ("tiles", [32, 32], None)
        assert one["bytes"] > 0
        assert one["megapixels_per_second"] > 0
    _, said, _ = predict(PICTURE, "--json", tmp_path / "told.json", out="again")
    assert f"wrote {tmp_path / 'told.json'}" in said
    (one,) = json.loads((tmp_path / "told.json").read_text(encoding="utf-8"))
    assert (one["plan"], one["tile"]) == ("whole", [48, 64])


def test_of_a_classifier_json_holds_what_the_table_does(predict: Predict, tmp_path: Path) -> None:
    _, said, _ = predict("animals/val/bee", "--json", "-", run="labels")
    told = json.loads(said)
    table = (tmp_path / "out/predictions.csv").read_text(encoding="utf-8")
    for row, one in zip(csv.DictReader(table.splitlines()), told, strict=True):
        assert row["file"] == one["image"]
        for i, top in enumerate(one["top"], 1):
            assert row[f"class {i}"] == top["class"]
            assert float(row[f"probability {i}"]) == top["probability"]
    assert "is there already" in refusal(predict("animals/val/ant", run="labels", code=2))
    _, said, _ = predict("animals/val/bee", "--flip", "--overwrite", run="labels")
    assert said.splitlines()[0].split() == ["file", "class", "second", "third"]


# What is refused or fails


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--flip", "--d4"), ("--d4", "Leave --flip out")),
        (("--overwrite", "--resume"), ("--overwrite", "--resume", "Leave one of the two out")),
        (("--run", "labels"), ("labels", "one kind")),
        (("--run", "nowhere"), ("no run at nowhere", "pixelwright runs")),
        (("--snapshots",), ("run kept no snapshots", "leave out --snapshots")),
        (("--tile", "1", "--run", "other"), ("tile of 1 px", "2 px or more")),
        *((("--memory", amount), (f"'{amount}'", "800MB")) for amount in ("2XB", "", "0", "-1GB")),
        *((("--bands", text), (f"'{text}'", "4,3,2")) for text in ("1,x", "", "1;2;3")),
        (("--nodata", "black"), ("--nodata", "'black'", "number", "nan", "alpha")),
        (("--page", "0"), ("--page", "--help")),
        (("--tile", "0"), ("--tile", "--help")),
        (("--tile", "large"), ("--tile", "--help")),
        (("--overlays",), ("--overlays", "--help")),
        (("nothing.png",), ("no image at nothing.png",)),
        (("animals/val/ant/00.png",), ("both be written as 00.png", "two folders")),
    ],
)
def test_what_cannot_be_or_contradicts_itself_is_refused_in_one_line(
    predict: Predict, tmp_path: Path, options: tuple[str, ...], words: tuple[str, ...]
) -> None:
    line = refusal(predict(PICTURE, *options, code=2))
    for word in words:
        assert word in line
    assert not (tmp_path / "out").exists()


def test_a_picture_a_run_and_a_folder_to_write_to_must_be_given(say: Say) -> None:
    assert "--out" in refusal(say("predict", PICTURE, "--run", "run"))
    assert "--run" in refusal(say("predict", PICTURE, "--out", "out"))
    assert "IMAGE" in refusal(say("predict", "--run", "run", "--out", "out"))


@pytest.mark.parametrize(
    "options",
    [
        *(["--tile", "8"], ["--memory", "2GB"], ["--backend", "openvino"], ["--probabilities"]),
        *(["--uncertainty"], ["--d4"], ["--resume"], ["--bands", "1"], ["--nodata", "0"]),
        *(["--page", "1"],),
    ],
    ids=lambda options: options[0],
)
def test_what_a_classifier_would_ignore_is_refused(
    predict: Predict, tmp_path: Path, options: list[str]
) -> None:
    line = refusal(predict("animals/val/ant", *options, run="labels", code=2))
    assert options[0] in line
    assert "classifier" in line
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("run", ["run", "labels"])
def test_f74_one_damaged_picture_of_a_folder_leaves_the_others_done(
    predict: Predict, tmp_path: Path, run: str
) -> None:
    for name in "ac":
        tiny.save(tmp_path / f"in/{name}.png", tiny.noise(8, 8))
    (tmp_path / "in/b.png").write_bytes(b"")
    _, _, err = predict(tmp_path / "in", run=run, code=3)
    line = err.splitlines()[-1]
    assert line.startswith("pixelwright: 1 of 3 images could not be read, the others are done: ")
    assert str(tmp_path / "in/b.png") in line
    if run == "labels":
        rows = (tmp_path / "out/predictions.csv").read_text(encoding="utf-8").splitlines()[1:]
        assert [Path(row.split(",")[0]).name for row in rows] == ["a.png", "c.png"]
        return
    made = {f"{name}.{suffix}" for name in "ac" for suffix in ("png", "overlay.jpg")}
    assert names(tmp_path / "out") == {*made, "failed.txt"}
    (failed,) = (tmp_path / "out/failed.txt").read_text(encoding="utf-8").splitlines()
    path, why = failed.split("\t")
    assert path == str(tmp_path / "in/b.png")
    assert "empty file" in why
