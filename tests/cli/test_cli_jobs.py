"""The main job from the command line, on tiny pictures."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import tiny
from commands import Say
from pixelwright.cli import main

SMALL = ["--set", "model=unet:width=4,depth=1", "--set", "train.crop=32", "--device", "cpu"]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with data sets, and a run in `run` that was trained from the command line."""
    folder = tmp_path_factory.mktemp("jobs")
    tiny.draw_folders(folder / "set")
    tiny.draw_camvid(folder / "camvid")
    tiny.draw_pair(folder)
    code = main(
        ["train", str(folder / "set"), "--epochs", "2", "--out", str(folder / "run"), *SMALL]
    )
    assert code == 0
    return folder


@pytest.fixture
def home(place: Path) -> Path:
    return place


def fails(answer: tuple[int, str, str], *words: str, code: int = 2) -> None:
    """The exit code, and a last line on standard error that holds `words`."""
    found, _, err = answer
    assert found == code, err
    last = err.splitlines()[-1]
    assert last.startswith("pixelwright: ")
    for word in words:
        assert word in last


def test_training_checks_proposes_trains_scores_and_says_what_is_next(say: Say) -> None:
    code, out, err = say("train", "set", "--epochs", "1", "--name", "first", *SMALL)
    assert code == 0, err
    assert "6 images of 48x64" in out
    assert "[train]" in out
    assert 'model = "unet:width=4,depth=1"' in out
    assert "epoch 1/1" in err
    assert "95 % interval" in out
    assert f"wrote {Path('runs/first-1/model.safetensors')}" in out
    assert "pixelwright predict IMAGE --run runs/first-1" in out
    assert Path("runs/first-1/report.html").is_file()


def test_the_printed_recipe_trains_the_same(say: Say) -> None:
    _, shown, _ = say("train", "set", "--epochs", "1", "--dry-run", *SMALL)
    Path("shown.toml").write_text(shown[shown.index("data =") :], encoding="utf-8")
    code, out, err = say("train", "shown.toml", "--dry-run")
    assert code == 0, err
    assert out == shown


def test_a_dry_run_writes_nothing(say: Say) -> None:
    before = sorted(Path().rglob("*"))
    assert say("train", "rgb.png", "gt.png", "--dry-run")[0] == 0
    assert sorted(Path().rglob("*")) == before


def test_a_tile_shrinks_the_proposed_crop(say: Say) -> None:
    assert "crop = 16" in say("train", "set", "--tile", "16", "--dry-run")[1]


def test_quiet_training_tells_only_the_result(say: Say) -> None:
    code, out, err = say("train", "set", "--epochs", "1", "--quiet", *SMALL)
    assert (code, err) == (0, "")
    assert out.startswith("mean IoU")


def test_f35_the_same_picture_in_two_splits_needs_force(say: Say) -> None:
    tiny.draw_camvid(Path("twice"))
    for kind in ("", "annot"):
        twin = Path(f"twice/train{kind}/train_00000.png").read_bytes()
        Path(f"twice/val{kind}/val_00000.png").write_bytes(twin)
    fails(say("train", "camvid:root=twice", "--dry-run"), "same picture", "--force")
    assert say("train", "camvid:root=twice", "--dry-run", "--force")[0] == 0


def test_f41_a_folder_in_use_or_full_is_refused(say: Say) -> None:
    fails(say("train", "set", "--out", "run", *SMALL), "run is not empty", "--overwrite")
    fails(say("train", "set", "--out", "set", "--overwrite", *SMALL), "set", "not a run")
    fails(say("train", "set", "--out", "rgb.png", *SMALL), "rgb.png")
    assert Path("run/model.safetensors").is_file()


def test_overwrite_replaces_the_run(say: Say) -> None:
    shutil.copytree("run", "again")
    before = Path("again/run.json").read_text(encoding="utf-8")
    code, _, err = say("train", "set", "--epochs", "1", "--out", "again", "--overwrite", *SMALL)
    assert code == 0, err
    assert Path("again/run.json").read_text(encoding="utf-8") != before


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_f42_a_device_that_is_not_there_is_an_error(say: Say) -> None:
    settings = ("--epochs", "1", "--device", "cuda")
    fails(say("train", "set", *settings, *SMALL[:-2]), "'cuda'", "--device cpu")
    fails(say("predict", "rgb.png", "--run", "run", "--out", "o", "--device", "cuda"), "cpu")


def test_a_run_given_without_resume_says_what_to_do(say: Say) -> None:
    fails(say("train", "run"), "--resume", "recipe.toml")


def test_resuming_a_finished_run_changes_no_score(say: Say) -> None:
    before = json.loads(Path("run/scores-val.json").read_text(encoding="utf-8"))
    code, _, err = say("train", "run", "--resume")
    assert code == 0, err
    assert json.loads(Path("run/scores-val.json").read_text(encoding="utf-8")) == before


def test_evaluate_prints_a_table_or_pure_json(say: Say) -> None:
    code, out, _ = say("evaluate", "run", "--json", "scores.json")
    assert code == 0
    assert out.startswith("mean IoU")
    table = json.loads(Path("scores.json").read_text(encoding="utf-8"))
    assert {"mean_iou", "mean_iou_low", "mean_iou_high", "classes"} <= table.keys()
    code, out, _ = say("evaluate", "run", "--json", "-")
    assert json.loads(out) == table
    code, out, err = say("evaluate", "run", "--data", "set", "--split", "train", "--json", "-")
    assert code == 0, err
    assert json.loads(out)["split"] == "train"
    fails(say("evaluate", "run", "--split", "vall"), "vall")
    fails(say("evaluate", "run", "--data", "camvid:root=camvid"), "classes")


def test_predict_writes_masks_and_lists_them(say: Say) -> None:
    code, out, err = say("predict", "rgb.png", "set/images", "--run", "run", "--out", "out")
    assert code == 0, err
    assert "wrote out/rgb.png" in out
    assert "wrote out/00.overlay.jpg" in out
    with Image.open("out/rgb.png") as mask, Image.open("rgb.png") as image:
        assert mask.size == image.size
        assert set(np.unique(np.array(mask))) <= {0, 1, 2}
    fails(say("predict", "rgb.png", "--run", "run", "--out", "out"), "--overwrite")
    assert say("predict", "rgb.png", "--run", "run", "--out", "out", "--overwrite")[0] == 0


def test_f74_one_bad_file_of_many_leaves_the_others_done(say: Say) -> None:
    Path("mixed").mkdir()
    for name in ("a", "c"):
        Path(f"mixed/{name}.png").write_bytes(Path("rgb.png").read_bytes())
    Path("mixed/b.png").write_bytes(b"")
    answer = say("predict", "mixed", "--run", "run", "--out", "most")
    fails(answer, "1 of 3", "b.png", code=3)
    assert {p.name for p in Path("most").iterdir()} == {
        "a.png",
        "a.overlay.jpg",
        "c.png",
        "c.overlay.jpg",
        "failed.txt",
    }
    assert "b.png" in Path("most/failed.txt").read_text()


def test_runs_are_listed_with_status_and_score(say: Say) -> None:
    code, out, _ = say("runs", ".")
    assert code == 0
    (line,) = [line for line in out.splitlines() if line.startswith("run ") and "finished" in line]
    assert "unet:width=4,depth=1" in line
    assert "folders" in line


def test_the_report_is_written_again(say: Say) -> None:
    Path("run/report.html").unlink()
    assert say("report", "run") == (0, f"wrote {Path('run/report.html')}\n", "")
    assert Path("run/report.html").is_file()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_f58_a_signal_stops_training_with_a_checkpoint(
    place: Path, number: signal.Signals, code: int
) -> None:
    out = place / f"stopped-{code}"
    command = [sys.executable, "-m", "pixelwright", "train", str(place / "set")]
    options = ["--epochs", "100000", "--out", str(out), *SMALL]
    process = subprocess.Popen(
        [*command, *options], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    )
    assert process.stderr is not None
    with process.stderr as lines:
        for line in lines:
            if line.startswith("epoch"):
                break
        time.sleep(0.2)
        os.kill(process.pid, number)
        rest = lines.read()
    assert process.wait(timeout=60) == code
    assert "Traceback" not in rest
    assert (out / "checkpoints/last.safetensors").is_file()
