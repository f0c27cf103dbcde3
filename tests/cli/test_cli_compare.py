"""`pixelwright compare` as a user runs it, on runs that are trained already."""

import json
from pathlib import Path

import pytest

import tiny
from commands import Say
from pixelwright import jobs
from pixelwright.study.plan import Study
from pixelwright.types import silent


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a study of two widths, whose runs are done."""
    folder = tmp_path_factory.mktemp("compare")
    spec = tiny.draw_folders(folder / "data", count=10)
    (folder / "widths.toml").write_text(
        f'data = "{spec}"\nmodel = "unet:depth=1"\ndevice = "cpu"\n'
        f"[train]\nsteps = 4\ncrop = 16\nbatch_size = 2\n"
        f'[study]\nout = "{folder / "out"}"\nseeds = [0]\n[grid]\nmodel.width = [2, 3]\n',
        encoding="utf-8",
    )
    for cell in Study.read(folder / "widths.toml").cells:
        jobs.train(cell.recipe, out=cell.run.path, on_event=silent)
    return folder


@pytest.fixture
def home(place: Path) -> Path:
    return place


def test_a_study_whose_runs_are_done_is_compared(say: Say, place: Path) -> None:
    code, out, err = say("compare", "widths.toml")
    assert code == 0, err
    assert "as far as one seed each can tell" in out.splitlines()[0]
    assert "over images only" in out
    for file in ("compare.json", "compare.md", "study.html"):
        assert f"wrote {place / 'out' / file}" in out
    # Two validation images, both shown where the cases differ most: whole and close.
    assert len(list((place / "out/pictures").glob("*.jpg"))) == 4
    assert "data:image/jpeg" in (place / "out/study.html").read_text(encoding="utf-8")


def test_a_dry_run_lists_what_is_done_and_what_would_be_trained(say: Say) -> None:
    text = Path("widths.toml").read_text(encoding="utf-8").replace("[2, 3]", "[2, 3, 4]")
    Path("more.toml").write_text(text, encoding="utf-8")
    code, out, err = say("compare", "more.toml", "--dry-run")
    assert code == 0, err
    states = [line.split()[2] for line in out.splitlines()[2:]]
    assert states == ["done", "done", "train"]
    assert not Path("out/width=4-seed0").exists()


def test_finished_runs_are_compared_and_their_json_is_pure(say: Say) -> None:
    runs = ("out/width=2-seed0", "out/width=3-seed0")
    code, out, err = say("compare", *runs, "--out", "two", "--json", "-", "--no-pictures")
    assert code == 0, err
    table = json.loads(out)
    assert {case["case"] for case in table["cases"]} == {"width=2", "width=3"}
    assert not Path("two/pictures").exists()
    code, out, err = say("compare", "out", "--score", "pixel_accuracy", "--no-pictures")
    assert code == 0, err
    assert "pixel accuracy" in out
    assert Path("runs/compare-1/study.html").is_file()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("out", "--set", "train.lr=1"), ("--set", "for a study file")),
        (("out", "--score", "iou"), ("'iou'", "mean_iou")),
        (("out", "--baseline", "width=9"), ("'width=9'", "width=2")),
        (("out", "--split", "test"), ("no scores of 'test'", "pixelwright evaluate")),
        (("absent",), ("no run at absent",)),
        (("widths.toml", "--dry-run", "--split", "tets"), ("no scores of 'tets'", "'val'")),
        (("widths.toml", "out"), ("widths.toml is a study file", "alone")),
        (("widths.toml", "--baseline", "3"), ("'3'", "width=3")),
        (("widths.toml", "--set", "train.lr=0.5"), ("train.lr the default, now 0.5", "--out")),
    ],
)
def test_what_cannot_be_compared_is_refused_in_one_line(
    say: Say, arguments: tuple[str, ...], words: tuple[str, ...]
) -> None:
    code, _, err = say("compare", *arguments)
    assert code == 2
    (line,) = err.splitlines()
    assert all(word in line for word in words), line


def test_a_study_given_to_train_is_pointed_at_compare(say: Say) -> None:
    code, _, err = say("train", "widths.toml")
    assert code == 2
    assert "pixelwright compare widths.toml" in err
