"""Looks at a test split are counted and shown; training takes none."""

from pathlib import Path

import pytest

import tiny
from pixelwright import jobs
from pixelwright.cli import main
from pixelwright.errors import DataError, PixelwrightWarning
from pixelwright.recipe import Recipe
from pixelwright.run import Run
from pixelwright.types import silent


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("looks")
    recipe = Recipe.from_dict(
        {
            "data": tiny.draw_camvid(folder / "data", count=2),
            "model": "unet:width=4,depth=1",
            "precision": "float32",
            "train": {"steps": 2, "batch_size": 2, "crop": 32},
        }
    )
    jobs.train(recipe, out=folder / "run", on_event=silent)
    return folder


@pytest.fixture
def run(place: Path) -> Run:
    found = Run(place / "run")
    found.looks_file.unlink(missing_ok=True)
    return found


def look(run: Run, split: str = "test", **options: object) -> None:
    jobs.evaluate(run, split=split, device="cpu", on_event=silent, **options)


def test_training_and_validation_look_at_no_test_split(run: Run) -> None:
    look(run, "val")
    look(run, "train")
    assert run.looks() == []
    assert run.scores("test") == {}
    assert "looked at" not in run.report_file.read_text(encoding="utf-8")


def test_a_look_is_counted_with_its_split_and_data_and_shown_on_the_page(run: Run) -> None:
    look(run)
    (kept,) = run.looks()
    assert (kept.split, kept.data) == ("test", str(Recipe.read(run.recipe_file).data))
    assert kept.date[:2] == "20"
    assert "This run: test looked at 1 time." in run.report_file.read_text(encoding="utf-8")


def test_the_second_look_warns_and_counts_too(run: Run) -> None:
    look(run)
    with pytest.warns(PixelwrightWarning, match="look 2 at 'test'.*report the first"):
        look(run)
    assert run.looks_told() == ["test looked at 2 times"]
    assert "first look is the one to report" in run.report_file.read_text(encoding="utf-8")


def test_the_test_splits_of_two_data_sets_are_counted_apart(run: Run, tmp_path: Path) -> None:
    other = tiny.draw_camvid(tmp_path, count=1, seed=5)
    look(run)
    look(run, data=other)
    told = run.looks_told()
    assert len(told) == 2
    assert all("looked at 1 time" in line and "camvid:root=" in line for line in told)


def test_all_pictures_are_a_look_only_where_some_are_for_testing(run: Run, tmp_path: Path) -> None:
    look(run, "all")
    assert run.looks_told() == ["all looked at 1 time"]
    run.looks_file.unlink()
    look(run, "all", data=tiny.draw_folders(tmp_path, classes=11))
    assert run.looks() == []


def test_a_split_that_is_not_there_is_no_look(run: Run) -> None:
    with pytest.raises(DataError):
        look(run, "tset")
    assert run.looks() == []


def test_a_line_cut_off_by_a_crash_loses_no_other_look(run: Run) -> None:
    run.count_look("test", "a")
    with run.looks_file.open("a", encoding="utf-8") as file:
        file.write('{"date": "20\n')
    run.count_look("test", "a")
    assert run.looks_told() == ["test looked at 2 times"]


def test_the_command_line_shows_and_warns(
    run: Run, place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(place)
    command = ["evaluate", "run", "--split", "test", "--device", "cpu"]
    assert main(command) == 0
    assert "test looked at 1 time\n" in capsys.readouterr().out
    assert main(command) == 0
    out, err = capsys.readouterr()
    assert "test looked at 2 times\n" in out
    assert "warning: This is look 2 at 'test'" in err
    monkeypatch.setenv("COLUMNS", "500")  # long paths shall wrap no heading
    assert main(["runs", "."]) == 0
    head, _, *rows = capsys.readouterr().out.splitlines()
    row = next(row for row in rows if row.split()[0] == "run")
    column = head.index("looks at test")
    assert row[column : column + len("looks at test")].strip() == "2"


def test_overwriting_a_run_starts_its_looks_anew(run: Run) -> None:
    run.count_look("test", "a")
    assert Run.create_at(run.path, overwrite=True).looks() == []
