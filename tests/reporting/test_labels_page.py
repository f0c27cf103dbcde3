"""The page of a classifier: scores, classes by superclass, pairs in pictures, harmless names."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from test_page import ODD, Tags

from pixelwright.files import write_bytes
from pixelwright.images import write_jpeg
from pixelwright.metrics.labels import LabelScores
from pixelwright.render.labelled import Labelled, labelled_sheet
from pixelwright.reporting import page
from pixelwright.reporting.fit import fit
from pixelwright.reporting.labels import pair_sheet
from pixelwright.run import Run

FEW = ("cat", "dog", "oak", "pine", "road", "roof", "sea", "sky")


def scores(
    names: tuple[str, ...] = FEW,
    split: str = "val",
    *,
    groups: tuple[str, ...] = (),
    skill: float = 2.0,
    images: int = 240,
    loss: float | None = 0.9,
) -> LabelScores:
    rng = np.random.default_rng(len(names))
    truth = np.arange(images) % len(names)
    logits = rng.normal(0, 1, (images, len(names))).astype(np.float32)
    logits[np.arange(images), truth] += skill
    # What every pair of neighbours has in common is confused more than the rest.
    logits[np.arange(images), truth ^ 1 if len(names) % 2 == 0 else truth] += 1
    keys = [f"image {i}" for i in range(images)]
    return LabelScores.of_logits(
        names, keys, truth, logits, groups=groups, split=split, data="class-folders:x", loss=loss
    )


def make_run(
    folder: Path,
    names: tuple[str, ...] = FEW,
    groups: tuple[str, ...] = (),
    *,
    pictures: bool = True,
) -> Run:
    run = Run(folder)
    run.pictures.mkdir(parents=True)
    run.recipe_file.write_text(f"model = {json.dumps(names[-1])}\ndata = 'class-folders:root=x'\n")
    run.write_info({"machine": names[0], "command": "pixelwright train", "parameters": 12_345})
    rows = [
        {
            "kind": "epoch",
            "epoch": e,
            "train_loss": 2 / e,
            "val_loss": 2 / e + 0.1,
            "score": 1 - 1 / e,
            "val_top1": 1 - 1 / e,
            "val_top5": 1 - 0.5 / e,
            "best": True,
            "seconds": 3.0 * e,
        }
        for e in range(1, 6)
    ]
    lines = [*rows, {"kind": "stop", "why": "", "step": 80}]
    run.log_file.write_text("".join(json.dumps(row) + "\n" for row in lines))
    val = scores(names, groups=groups)
    for one in (val, scores(names, "train", groups=groups, skill=3.0)):
        write_bytes(run.scores_file(one.split), json.dumps(one.to_json()).encode())
    if pictures:
        sheet = labelled_sheet([("a", [Labelled(np.zeros((8, 8, 3), np.uint8), ("b",))])])
        for rank, pair in enumerate(val.confused(2), 1):
            write_jpeg(run.pictures / f"{pair_sheet(rank, pair.truth, pair.taken)}.jpg", sheet)
        write_jpeg(run.pictures / "hardest.jpg", sheet)
    return run


def many() -> tuple[tuple[str, ...], tuple[str, ...]]:
    return tuple(f"class {k}" for k in range(30)), tuple(f"kind {k // 5}" for k in range(30))


@pytest.fixture(scope="module")
def few_page(tmp_path_factory: pytest.TempPathFactory) -> str:
    run = make_run(tmp_path_factory.mktemp("few") / "animals-1")
    return page.write(run).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def many_page(tmp_path_factory: pytest.TempPathFactory) -> str:
    return page.render(make_run(tmp_path_factory.mktemp("many") / "many-1", *many()))


def test_a_page_says_top1_its_interval_top5_and_the_other_scores(few_page: str) -> None:
    text = Tags(few_page).text
    val = scores()
    low, high = val.interval("top1")
    assert f"Top-1 {val.top1:.3f} on 240 images of val" in text
    assert f"{low:.3f} to {high:.3f}; top-5 {val.top5:.3f}" in text
    for title in ("log loss", "calibration error", "12.3 k", "class-folders"):
        assert title in text
    assert f"{val.log_loss:.3f}" in text
    assert "share of the images" in text  # of the reliability diagram
    assert "mean IoU" not in text


def test_classes_stand_in_the_order_of_their_accuracy_with_what_they_are_taken_for(
    few_page: str,
) -> None:
    told = scores().classes()
    ranked = [told.names[k] for k in np.argsort(-told.accuracy, kind="stable")]
    assert re.findall(r'<span class="name"><span>([^<]+)</span>', few_page) == ranked
    first = scores().confused(1)[0]
    share = f"{100 * first.images / 30:.0f} %"
    assert f'{first.taken} <span class="n">{share}</span>' in few_page
    assert "Confusion of classes" in few_page


def test_many_classes_are_folded_into_their_superclasses(many_page: str) -> None:
    text = Tags(many_page).text
    assert many_page.count("<details>") == 6
    assert many_page.count('class="rank inner"') == 30
    assert "Hardest of 30 classes" in text
    assert "Confusion of superclasses" in text
    assert "superclass accuracy" in text


def test_many_classes_without_superclasses_show_the_hardest_and_no_matrix(tmp_path: Path) -> None:
    names, _ = many()
    found = page.render(make_run(tmp_path / "many-1", names))
    assert "6 classes that score higher" in Tags(found).text
    assert 'class="matrix"' not in found
    assert found.count('class="rank"') == 30


def test_confused_pairs_are_told_with_their_pictures(tmp_path: Path) -> None:
    run = make_run(tmp_path / "animals-1")
    found = Tags(page.render(run))
    first = scores().confused(1)[0]
    assert f"{first.images} of 30 {first.truth} were taken for {first.taken}" in found.text
    assert f"{first.truth} → {first.taken}" in found.text
    assert found.tags.count("img") == 3
    # A sheet of a pair that is no longer among the most confused is not shown under another name.
    (run.pictures / "confused-1-roof-sky.jpg").write_bytes(b"")
    assert Tags(page.render(run)).tags.count("img") == 3


def test_pictures_are_of_the_validation_images_whatever_was_scored_since(tmp_path: Path) -> None:
    run = make_run(tmp_path / "animals-1")
    test = scores(split="test", images=80)
    run.scores_file("test").write_text(json.dumps(test.to_json()))
    text = Tags(page.render(run)).text
    assert f"Top-1 {test.top1:.3f} on 80 images of test" in text
    assert "Most confused pairs val" in text


def test_a_page_needs_nothing_but_itself(many_page: str) -> None:
    text, found = many_page, Tags(many_page)
    assert not re.search(r"https?:|//[a-z]|@import|url\((?!#)", re.sub(r"base64,[^\"]*", "", text))
    assert not {"script", "link", "iframe", "object", "form", "base"} & set(found.tags)
    sources = [value for name, value in found.attributes if name == "src"]
    assert all(source and source.startswith("data:image/jpeg;base64,") for source in sources)
    assert "default-src 'none'" in text


def test_f86_names_of_classes_and_superclasses_are_text_and_nothing_else(tmp_path: Path) -> None:
    names = tuple(f"{name} {k}" for k in range(9) for name in ODD)
    run = make_run(tmp_path / "run <b>&", names, tuple(ODD[k % 3] for k in range(27)))
    text = page.render(run)
    found = Tags(text)
    assert "script" not in found.tags
    assert found.tags.count("img") == 3
    assert not [name for name, _ in found.attributes if name.startswith("on")]
    assert "\u202e" not in text
    assert "\x1b" not in text
    assert '<script>alert("a")</script>' in found.text


@pytest.mark.parametrize("missing", ["scores-*.json", "log.jsonl", "run.json", "p*/*"])
def test_a_run_with_a_part_missing_still_has_a_page(tmp_path: Path, missing: str) -> None:
    run = make_run(tmp_path / "animals-1")
    for path in tmp_path.glob(f"animals-1/{missing}"):
        path.unlink()
    text = Tags(page.render(run)).text
    assert "animals-1" in text
    assert "mean IoU" not in text


def test_scores_of_another_kind_in_the_folder_are_named_and_left_out(tmp_path: Path) -> None:
    run = make_run(tmp_path / "animals-1")
    masks = {"classes": {"a": {}}, "keys": ["x"], "tables": [[[3]]], "loss": None}
    masks |= {"split": "zoo", "data": ""}
    run.scores_file("zoo").write_text(json.dumps(masks))
    assert "scores-zoo.json cannot be read" in Tags(page.render(run)).text


def test_undefined_scores_are_na_and_never_nan(tmp_path: Path) -> None:
    run = make_run(tmp_path / "animals-1")
    one = LabelScores.of_logits(FEW, ["x"], np.array([1]), np.zeros((1, 8), np.float32))
    run.scores_file("val").write_text(json.dumps(one.to_json()))
    text = page.render(run)
    assert "n/a" in text
    assert "nan" not in Tags(text).text.lower()
    assert not re.search(r"--\w+:nan", text)


def test_equal_runs_have_equal_pages(many_page: str, tmp_path: Path) -> None:
    again = page.render(make_run(tmp_path / "many-1", *many()))
    assert again.replace(str(tmp_path), "") == re.sub(r"/[^ ]*/many0(?=/many-1)", "", many_page)


def told(train: float, val: float) -> str:
    return " ".join(fit([], {"train": of_top1(train), "val": of_top1(val)})["sentences"])


def of_top1(share: float) -> LabelScores:
    right = np.arange(200) < round(200 * share)
    likely = np.where(right[:, None], [0.9, 0.1], [0.1, 0.9])
    keys = [str(i) for i in range(200)]
    return LabelScores.of_probabilities(("a", "b"), keys, np.zeros(200, int), likely)


def test_errors_on_images_it_has_seen_are_under_fitting_and_the_others_over_fitting() -> None:
    assert "under-fits more than it over-fits" in told(0.7, 0.65)
    assert "no sign of over-fitting" in told(0.7, 0.68)
    over = told(0.99, 0.7)
    assert "over-fits more than it under-fits" in over
    assert "30 % are labelled wrong; of the training images 1 %" in over
    assert "fits more" not in told(0.99, 0.98)


def test_training_and_validation_are_compared_by_top1_and_log_loss() -> None:
    rows = fit([], {"train": of_top1(0.9), "val": of_top1(0.8)})["rows"]
    assert [row[0] for row in rows] == ["top-1", "log loss"]
    assert rows[0][1:] == (0.9, 0.8)
