"""`pixelwright data check --repair` as a user meets it, up to a training on the copy."""

import json
from pathlib import Path

import numpy as np
import pytest

import tiny
from commands import Say
from pixelwright import images
from pixelwright.run import Run


@pytest.fixture
def broken() -> Path:
    """Ten pairs of which one lacks its mask, one is a copy, one is empty; masks are 0 and 255."""
    folder = Path("data")
    tiny.draw_folders(folder, count=10, classes=2)
    for path in (folder / "masks").iterdir():
        tiny.save(path, 255 * images.raw_mask(path))
    (folder / "masks" / "03.png").unlink()
    pixels = images.read_image(folder / "images" / "05.jpg")
    (folder / "images" / "06.jpg").unlink()
    tiny.save(folder / "images" / "06.png", pixels)
    (folder / "images" / "07.jpg").write_bytes(b"")
    return folder


def test_a_copy_is_written_and_what_was_done_is_said(say: Say, broken: Path) -> None:
    assert say("data", "check", broken)[0] == 2
    code, out, err = say("data", "check", broken, "--repair", "mended")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0].startswith("mended holds 7 images with masks, in one folder")
    words = "masks of 0 and 255 became class indices 7"
    assert any(" ".join(line.split()).startswith(words) for line in lines)
    at = lines.index("left out: 1 file, images without a mask")
    assert lines[at + 1].endswith("data/images/03.jpg")
    at = lines.index("left out: 1 file, copies within a split")
    assert "data/images/06.png shows the pixels of" in lines[at + 1]
    assert "07.jpg is an empty file" in out
    assert "problem" not in out
    assert say("data", "check", "mended")[0] == 0
    again = say("data", "check", broken, "--repair", "mended")
    assert again[::2] == (
        2,
        "pixelwright: mended is not empty. Remove it, or give another folder.\n",
    )


def test_json_is_of_the_copy(say: Say, broken: Path) -> None:
    code, out, err = say("data", "check", broken, "--repair", "mended", "--json", "-")
    assert (code, err) == (0, "")
    assert json.loads(out)["problems"] == []


def test_the_copy_can_be_trained_on_with_no_options_about_data(say: Say, broken: Path) -> None:
    assert say("data", "check", broken, "--repair", "mended")[0] == 0
    small = ("train.steps=1", "train.batch_size=1", "model.width=2", "model.depth=1")
    settings = [word for setting in small for word in ("--set", setting)]
    code, _, err = say("train", "mended", *settings, "--out", "run")
    assert code == 0, err
    assert Run.open("run").status == "finished"
    header = np.array(images.raw_mask(next(Path("mended/masks").iterdir())))
    assert set(np.unique(header)) <= {0, 1}
