"""`pixelwright data patches`, and the classes and cities that a user names."""

from pathlib import Path

import tiny
from commands import Say

CITIES = ("--train-cities", "aachen,bochum", "--val-cities", "munster", "--test-cities", "ulm")


def draw(home: Path) -> str:
    tiny.draw_cityscapes(home / "cs")
    for package in ("leftImg8bit", "gtFine"):
        folder = home / "cs" / package / "train"
        (folder / "bochum").rename(folder / "ulm")
        for path in list((folder / "ulm").iterdir()):
            path.rename(path.with_name(path.name.replace("bochum", "ulm")))
        for path in list((home / "cs" / package / "test/berlin").iterdir()):
            name = path.name.replace("berlin", "bochum")
            (folder / "bochum").mkdir(exist_ok=True)
            path.rename(folder / "bochum" / name)
    return "cityscapes:root=cs"


def test_the_table_says_what_was_cut_and_how_to_train_on_it(say: Say, home: Path) -> None:
    data = draw(home)
    code, out, err = say("data", "patches", data, "--out", "p", "--size", 16, *CITIES)
    assert code == 0, err
    assert "train_small" in out
    assert "test: ulm" in out
    assert "pixelwright train folders:root=p,train_split=train_small" in out
    code, out, _ = say("data", "check", "folders:root=p")
    assert code == 0
    assert "bicycle" in out


def test_cities_are_for_cityscapes(say: Say, home: Path) -> None:
    tiny.draw_folders(home / "data")
    code, _, err = say("data", "patches", "data", "--val-cities", "ulm")
    assert (code, err.count("\n")) == (2, 1)
    assert "--val-cities is for the layout cityscapes; folders has no cities." in err


def test_a_city_that_is_not_there_is_told_with_those_that_are(say: Say, home: Path) -> None:
    code, _, err = say("data", "patches", draw(home), "--train-cities", "achen")
    assert (code, err.count("\n")) == (2, 1)
    assert "No labelled city is called 'achen'. Did you mean 'aachen'?" in err
