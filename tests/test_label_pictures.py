"""What a classifier's run shows in pictures, after a training that is far too short."""

from pathlib import Path

import pytest
from PIL import Image

import tiny
from pixelwright import build, jobs
from pixelwright.data import index
from pixelwright.jobs.show import hard_lines, write_label_pictures, write_scores
from pixelwright.metrics.labels import LabelScores
from pixelwright.recipe import Recipe
from pixelwright.reporting.labels import pair_sheet
from pixelwright.run import Run
from pixelwright.types import silent

NAMES = ("ant", "bee", "cat", "dog", "elk", "fox")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("short")
    table = {
        "data": tiny.draw_class_folders(folder / "pictures", names=NAMES, each=4),
        "model": "convnet:width=4,depth=1",
        "train": {"steps": 1, "batch_size": 4, "lr": 1e-6},
        "device": "cpu",
    }
    return jobs.train(Recipe.from_dict(table), out=folder / "run", on_event=silent)


def scores_of(run: Run) -> LabelScores:
    return LabelScores.from_json(run.scores("val"))


def test_the_most_confused_pairs_and_the_hardest_images_have_a_sheet(run: Run) -> None:
    pairs = scores_of(run).confused(6)
    assert pairs, "one step teaches nothing"
    expected = {f"{pair_sheet(rank, p.truth, p.taken)}.jpg" for rank, p in enumerate(pairs, 1)}
    assert {path.name for path in run.pictures.iterdir()} == expected | {"hardest.jpg"}
    for path in run.pictures.iterdir():
        with Image.open(path) as picture:
            assert min(picture.size) > 200
    page = run.report_file.read_text(encoding="utf-8")
    assert page.count("data:image/jpeg;base64,") == len(expected) + 1


def test_pictures_of_other_scores_replace_those_that_were_there(run: Run, tmp_path: Path) -> None:
    model = build.load_model(run)
    entries = index.load(Recipe.read(run.recipe_file).data).splits["val"]
    scores = scores_of(run)
    other = Run(tmp_path)
    other.pictures.mkdir()
    (other.pictures / "hardest-1-road.jpg").write_bytes(b"")
    write_label_pictures(other, scores, entries, model)
    found = {path.name for path in other.pictures.iterdir()}
    assert "hardest-1-road.jpg" not in found
    assert "hardest.jpg" in found
    write_scores(other, scores, "class-folders:root=there")
    assert LabelScores.from_json(other.scores("val")).data == "class-folders:root=there"


def test_names_of_pairs_fit_into_the_name_of_a_file() -> None:
    longest = pair_sheet(6, "\N{CJK UNIFIED IDEOGRAPH-9053}" * 300, "a/b" * 300)
    assert len(f"{longest}.jpg".encode()) < 256
    assert "/" not in longest


def test_a_hard_image_tells_its_class_what_it_was_taken_for_and_its_key(run: Run) -> None:
    scores = scores_of(run)
    truth, said, key = hard_lines(scores, 0)
    assert truth == NAMES[scores.truth[0]]
    assert said == f"{100 * scores.likely[0, 0]:.0f} % {NAMES[scores.top[0, 0]]}"
    assert key == scores.keys[0]
