"""What `pixelwright predict` says of mistakes and damaged pictures, and what it leaves behind."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import tiny
from commands import PICTURE, Predict, Say, names, refusal


@pytest.fixture
def home(place: Path) -> Path:
    return place


@pytest.fixture
def damaged(tmp_path: Path) -> Path:
    """A folder of three pictures, of which `b.png` is empty."""
    for name in "ac":
        tiny.save(tmp_path / f"in/{name}.png", tiny.noise(8, 8))
    (tmp_path / "in/b.png").write_bytes(b"")
    return tmp_path / "in"


# The user's call


@pytest.mark.parametrize("run", ["run", "labels"])
@pytest.mark.parametrize("out", ["file", "file/sub"])
def test_a_file_in_place_of_the_folder_is_told(
    predict: Predict, tmp_path: Path, run: str, out: str
) -> None:
    (tmp_path / "file").write_text("mine", encoding="utf-8")
    line = refusal(predict(PICTURE, run=run, out=out, code=3), code=3)
    assert f"The folder {tmp_path / out} cannot be made: {tmp_path / 'file'} is a file." in line
    assert (tmp_path / "file").read_text(encoding="utf-8") == "mine"


@pytest.mark.parametrize("device", ["gpu", "cuda:x", "meta"])
def test_a_device_that_is_none_is_refused(say: Say, tmp_path: Path, device: str) -> None:
    where = ("--run", "run", "--out", tmp_path / "o", "--device", device)
    answer = say("predict", PICTURE, *where)
    assert f"No device is called '{device}'. Give auto, cpu, cuda" in refusal(answer)


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("--tile", "large", "'large' was given; give a whole number."),
        ("--tile", "0", "'0' was given; give no less than 1."),
        ("--page", "0", "'0' was given; give no less than 1."),
    ],
)
def test_a_number_that_cannot_be_is_shown(
    predict: Predict, option: str, value: str, words: str
) -> None:
    line = refusal(predict(PICTURE, option, value, code=2))
    assert f"'{option}': {words}" in line
    assert "Input" not in line


def test_what_a_classifier_would_ignore_is_named_in_good_grammar(predict: Predict) -> None:
    three = ("--tile", 8, "--memory", "1GB", "--d4")
    line = refusal(predict(PICTURE, *three, run="labels", code=2))
    assert "--tile, --memory and --d4 are for networks" in line
    assert line.endswith("classifier. Leave them out.")
    line = refusal(predict(PICTURE, "--page", 1, run="labels", code=2))
    assert "--page is for networks" in line
    assert line.endswith("classifier. Leave it out.")
    line = refusal(predict(PICTURE, "--probabilities", "--page", 1, run="labels", code=2))
    assert "--probabilities and --page are for networks" in line
    assert "predictions.csv always holds the probabilities." in line


@pytest.mark.parametrize(
    ("bands", "words"), [("1,2", "names 2 bands, but the network takes 3"), ("0,1,2", "no band 0")]
)
def test_bands_that_fit_no_picture_are_refused_at_once(
    predict: Predict, tmp_path: Path, bands: str, words: str
) -> None:
    for images in ("set/images", PICTURE):
        assert words in refusal(predict(images, "--bands", bands, code=2))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("run", ["run", "labels"])
def test_the_same_run_twice_is_refused(predict: Predict, tmp_path: Path, run: str) -> None:
    again = tmp_path / "link"
    again.symlink_to(Path(run).absolute())
    for other in (run, again):
        line = refusal(predict(PICTURE, "--run", other, run=run, code=2))
        assert "is given 2 times" in line


@pytest.mark.parametrize("file", ["nodir/x.json", "set"])
def test_json_that_cannot_be_written_is_refused_before_anything_is_done(
    predict: Predict, tmp_path: Path, file: str
) -> None:
    assert f"{file} cannot be written" in refusal(predict(PICTURE, "--json", file, code=2))
    assert not (tmp_path / "out").exists()


def test_results_do_not_land_among_the_pictures_of_a_folder(
    predict: Predict, tmp_path: Path
) -> None:
    shutil.copytree("set/images", tmp_path / "in")
    line = refusal(predict(tmp_path / "in", out="in/../in", code=2))
    assert f"among the pictures of {tmp_path / 'in'}" in line
    assert names(tmp_path / "in") == {"00.jpg", "01.jpg", "02.jpg"}
    predict(tmp_path / "in/00.jpg", out="in")
    assert "00.overlay.jpg" in names(tmp_path / "in")


def test_transparency_that_is_not_there_is_told_once(predict: Predict, tmp_path: Path) -> None:
    _, _, err = predict("set/images", "--nodata", "alpha")
    told = "--nodata alpha does nothing to pictures without transparency in set/images."
    assert err.count(told) == 1
    tiny.save(tmp_path / "a.png", np.dstack([tiny.noise(8, 8), np.full((8, 8), 9, np.uint8)]))
    _, _, err = predict(tmp_path / "a.png", "--nodata", "alpha")
    assert "without transparency" not in err


# One picture


@pytest.mark.parametrize("run", ["run", "labels"])
def test_one_damaged_picture_is_told_as_itself(
    predict: Predict, damaged: Path, tmp_path: Path, run: str
) -> None:
    line = refusal(predict(damaged / "b.png", run=run, code=2))
    assert line.startswith(f"pixelwright: {damaged / 'b.png'} is an empty file")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("picture", "options", "words"),
    [
        (PICTURE, ("--bands", "1,2,7"), "has 3 bands, counted from 1, so there is no band 7"),
        (PICTURE, ("--page", "9"), "has one page, so there is no page 9"),
        ("wide.npy", (), "has 5 bands, but the network takes 3 channels. Say which"),
    ],
)
def test_one_picture_that_does_not_fit_is_refused_and_not_called_unreadable(
    predict: Predict, tmp_path: Path, picture: str, options: tuple[str, ...], words: str
) -> None:
    if picture == "wide.npy":
        np.save(picture, tiny.noise(8, 8, 5))
    assert words in refusal(predict(picture, *options, code=2))
    assert not (tmp_path / "out/failed.txt").exists()


# Many pictures, of which some cannot be read


@pytest.mark.parametrize("run", ["run", "labels"])
def test_json_tells_what_was_done_and_what_could_not_be_read(
    predict: Predict, damaged: Path, tmp_path: Path, run: str
) -> None:
    _, said, err = predict(damaged, "--json", "-", run=run, code=3)
    told = json.loads(said)
    assert [Path(one["image"]).name for one in told] == ["a.png", "c.png", "b.png"]
    assert "empty file" in told[2]["error"]
    assert "error" not in told[0]
    assert "1 of 3 images could not be read, the others are done" in err.splitlines()[-1]
    _, said, _ = predict(damaged, "--overwrite", run=run, code=3)
    made = ["predictions.csv"] if run == "labels" else ["a.png", "c.overlay.jpg"]
    for name in (*made, "failed.txt"):
        assert f"wrote {tmp_path / 'out' / name}" in said.splitlines()


@pytest.mark.parametrize("run", ["run", "labels"])
def test_the_list_of_failures_goes_once_all_are_done(
    predict: Predict, damaged: Path, tmp_path: Path, run: str
) -> None:
    failed, again = tmp_path / "out/failed.txt", "--overwrite" if run == "labels" else "--resume"
    (damaged / "d.png").write_bytes(b"")
    predict(damaged, run=run, code=3)
    assert len(failed.read_text(encoding="utf-8").splitlines()) == 2
    for name in "bd":
        tiny.save(damaged / f"{name}.png", tiny.noise(8, 8))
        predict(damaged / f"{name}.png", again, run=run)
        left = [f"{damaged / 'd.png'}\t"] if name == "b" else []
        lines = failed.read_text(encoding="utf-8").splitlines() if failed.exists() else []
        assert [line.partition("\t")[0] + "\t" for line in lines] == left
    assert not failed.exists()


def test_of_a_classifier_nothing_is_left_but_the_list_where_all_fail(
    predict: Predict, damaged: Path, tmp_path: Path
) -> None:
    for name in "ac":
        (damaged / f"{name}.png").unlink()
    _, _, err = predict(damaged, run="labels", code=3)
    assert "1 of 1 images could not be read: " in err.splitlines()[-1]
    assert names(tmp_path / "out") == {"failed.txt"}
    tiny.save(damaged / "b.png", tiny.noise(8, 8))
    predict(damaged, run="labels")
    assert names(tmp_path / "out") == {"predictions.csv"}


def test_a_picture_with_odd_samples_does_not_take_others_of_its_size_with_it(
    predict: Predict, tmp_path: Path
) -> None:
    (tmp_path / "in").mkdir()
    for name in "abc":
        picture = tiny.noise(8, 8).astype(np.float32) / 255
        picture[0, 0] = np.nan if name == "b" else 0
        np.save(tmp_path / f"in/{name}.npy", picture)
    files = [tmp_path / f"in/{name}.npy" for name in "abc"]
    _, _, err = predict(*files, code=3)
    assert "1 of 3 images could not be read" in err.splitlines()[-1]
    assert {"a.png", "c.png"} < names(tmp_path / "out")
    assert "b.png" not in names(tmp_path / "out")


# What is there already


def test_a_picture_is_done_only_if_all_that_is_wanted_of_it_is_there(
    predict: Predict, tmp_path: Path
) -> None:
    predict(PICTURE)
    _, said, err = predict("set/images", "--resume", "--probabilities", "--uncertainty")
    assert "00.jpg lacks some of what is wanted: once more" in err
    wanted = {f"00.{suffix}" for suffix in ("png", "overlay.jpg", "probabilities.npy")}
    assert wanted | {"00.entropy.png"} < names(tmp_path / "out")
    assert f"wrote {tmp_path / 'out/00.probabilities.npy'}" in said
    _, _, err = predict("set/images", "--resume", "--probabilities", "--uncertainty")
    assert err.count("is predicted already") == 3


def test_json_tells_of_pictures_that_were_done_before(predict: Predict, tmp_path: Path) -> None:
    predict("set/images/01.jpg")
    _, said, _ = predict("set/images", "--resume", "--json", tmp_path / "told.json")
    told = json.loads((tmp_path / "told.json").read_text(encoding="utf-8"))
    assert [one["image"] for one in told] == [f"set/images/0{i}.jpg" for i in range(3)]
    assert [one["plan"] for one in told] == ["whole", None, "whole"]
    assert told[1].keys() == told[0].keys()
    assert (told[1]["height"], told[1]["width"], told[1]["seconds"]) == (48, 64, None)
    assert told[1]["files"] == [str(tmp_path / f"out/01.{s}") for s in ("png", "overlay.jpg")]
    assert "02.png" in said
    assert "01.png" not in said
