"""Comparisons of classifiers whose answers are made up: scores, parts, refusals, disagreements."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import tiny
from pixelwright.data import index
from pixelwright.errors import DataError, RecipeError
from pixelwright.metrics.confusion import Confusion
from pixelwright.metrics.labels import TITLES, LabelScores
from pixelwright.metrics.paired import estimate
from pixelwright.metrics.scores import Scores
from pixelwright.run import Run
from pixelwright.study.case import LABELS, Case, counted
from pixelwright.study.comparison import Comparison
from pixelwright.study.disagreements import disputed, never_right
from pixelwright.study.job import of_runs, write

NAMES = ("ant", "bee", "cat", "dog", "elk", "fox")
GROUPS = ("insect", "insect", "mammal", "mammal", "mammal", "mammal")
MANY = tuple(f"class {k}" for k in range(30))


def made_up(
    folder: Path,
    skill: float,
    *,
    seed: int = 0,
    images: int = 300,
    names: Sequence[str] = NAMES,
    groups: Sequence[str] = GROUPS,
    data: str = "class-folders:root=x",
    keys: Sequence[str] = (),
    shift: int = 0,
) -> Run:
    """A finished run of a classifier; the more skill, the more of its answers are right."""
    folder.mkdir(parents=True)
    (folder / "recipe.toml").write_text(
        f'data = "{data}"\nmodel = "convnet"\nseed = {seed}\n', encoding="utf-8"
    )
    run = Run(folder)
    run.write_info({"parameters": 1234})
    rows = [
        {"kind": "epoch", "epoch": e, "val_top1": 0.1 * e, "seconds": 90.0} for e in range(1, 4)
    ]
    rows.append({"kind": "stop", "why": ""})
    run.log_file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    rng = np.random.default_rng([seed, round(1000 * skill)])
    images = len(keys) or images
    truth = (np.arange(images) + shift) % len(names)
    logits = rng.normal(0, 1, (images, len(names))).astype(np.float32)
    logits[np.arange(images), truth] += skill
    keys = keys or [f"{i:03}" for i in range(images)]
    scores = LabelScores.of_logits(names, keys, truth, logits, groups=groups, split="val")
    run.scores_file("val").write_text(json.dumps(scores.to_json()), encoding="utf-8")
    return run


def cases(folder: Path, skills: dict[str, float], seeds: int = 3) -> dict[str, list[Run]]:
    return {
        name: [made_up(folder / f"{name}-{seed}", skill, seed=seed) for seed in range(seeds)]
        for name, skill in skills.items()
    }


def scores_of(run: Run) -> LabelScores:
    return LabelScores.from_json(run.scores("val"))


def test_classifiers_are_judged_by_top1_unless_another_score_is_asked_for(tmp_path: Path) -> None:
    result = Comparison.of(cases(tmp_path, {"low": 0.5, "high": 2.5}))
    assert (result.score, result.title) == ("top1", "top-1")
    assert "high is better than low by 0." in result.verdicts()[0]
    head, best, _ = result.table()
    assert head[1] == "top-1"
    assert best[0] == "high"
    assert result.score_table()[0] == ("case", *TITLES.values())


@pytest.mark.parametrize("score", TITLES)
def test_a_case_scores_what_its_runs_score_without_any_one_image(
    tmp_path: Path, score: str
) -> None:
    runs = cases(tmp_path, {"a": 1.5}, seeds=2)["a"]
    found = tuple(map(scores_of, runs))
    trained = Case("a", (), tuple(runs), (0, 1), found).trained(score)
    for seed, scores in enumerate(found):
        assert trained.values[seed] == pytest.approx(getattr(scores, score), abs=1e-6)
        for left_out in (0, 7):
            kept = np.arange(len(scores.keys)) != left_out
            rest = LabelScores(
                scores.names,
                scores.groups,
                tuple(np.array(scores.keys)[kept]),
                scores.truth[kept],
                scores.top[kept],
                scores.likely[kept],
                scores.losses[kept],
            )
            expected = getattr(rest, score)
            assert trained.without[seed, left_out] == pytest.approx(expected, abs=1e-6)


def test_lower_losses_and_calibration_errors_are_better(tmp_path: Path) -> None:
    runs = cases(tmp_path, {"low": 0.5, "high": 2.5})
    result = Comparison.of(runs, score="log_loss")
    assert [case.name for case in result.cases] == ["high", "low"]
    # Log losses are not cut at 1, as shares are.
    assert float(result.mean(result.cases[1]).value) > 1
    assert float(result.mean(result.cases[1]).high) > 1
    assert "high is better than low by" in result.verdicts()[0]
    first, last = Comparison.of(runs, score="calibration_error").cases
    errors = [[one.calibration_error for one in case.scores] for case in (first, last)]
    assert np.mean(errors[0]) < np.mean(errors[1])


def test_few_classes_are_compared_one_by_one_and_many_by_superclass(tmp_path: Path) -> None:
    few = Comparison.of(cases(tmp_path / "few", {"a": 1.0, "b": 2.0}))
    assert few.class_table()[0][0] == "class"
    assert [row[0] for row in few.class_table()[1:]] == list(NAMES)
    kinds = [f"kind {k // 10}" for k in range(30)]
    runs = {
        name: [made_up(tmp_path / name, skill, names=MANY, groups=kinds)]
        for name, skill in (("a", 1.0), ("b", 3.0))
    }
    many = Comparison.of(runs)
    assert [row[0] for row in many.class_table()] == ["superclass", "kind 0", "kind 1", "kind 2"]
    (best, _), scores = many.cases, scores_of(runs["b"][0])
    np.testing.assert_allclose(many.class_means(best).value, scores.group_accuracies(), atol=1e-6)


def test_the_interval_over_images_is_that_of_a_share(tmp_path: Path) -> None:
    run = made_up(tmp_path / "a", 1.5, images=2000)
    scores = scores_of(run)
    found = estimate(Case("a", (), (run,), (0,), (scores,)).trained("top1"))
    error = np.sqrt(scores.top1 * (1 - scores.top1) / 2000)
    assert float(found.high - found.value) == pytest.approx(1.96 * error, rel=0.01)


def test_equal_parts_of_a_score_add_up_to_it(tmp_path: Path) -> None:
    scores = scores_of(made_up(tmp_path / "a", 1.5))
    assert counted(scores, LABELS.part).shape == (300, 2, 6)
    assert counted(scores, "top1").sum(0)[:, 0].tolist() == [scores.right.sum(), 300]


def test_masks_and_labels_are_not_mixed(tmp_path: Path) -> None:
    labels, masks = made_up(tmp_path / "a", 1.0), made_up(tmp_path / "b", 1.0)
    table = Scores.of_images(("a", "b"), [("x", Confusion(np.array([[3, 1], [0, 4]])))]).to_json()
    masks.scores_file("val").write_text(json.dumps(table), encoding="utf-8")
    with pytest.raises(DataError, match=r"labels, the other on masks\. Compare runs of one kind"):
        Comparison.of({"a": [labels], "b": [masks]})


@pytest.mark.parametrize(
    ("other", "match"),
    [
        ({"images": 299}, "only one has 299"),
        ({"names": (*NAMES[:-1], "gnu")}, r"classes differ \(fox, gnu\)"),
        ({"shift": 1}, "labels of 300 images differ"),
        ({"groups": ()}, "superclasses differ"),
    ],
)
def test_runs_scored_on_other_images_labels_or_classes_are_refused(
    tmp_path: Path, other: dict[str, object], match: str
) -> None:
    runs = {
        "a": [made_up(tmp_path / "a", 1.0)],
        "b": [made_up(tmp_path / "b", 1.0, **other)],  # type: ignore[arg-type]
    }
    with pytest.raises(DataError, match=match):
        Comparison.of(runs)


@pytest.mark.parametrize(
    ("score", "names", "match"),
    [
        ("mean_iou", NAMES, r"'mean_iou' is no score of these runs, .* labels\. Take one of top1"),
        ("top5", NAMES[:3], "'top5' says nothing of these runs: their classes are five or fewer"),
        ("group_accuracy", NAMES[:3], "have no superclasses"),
    ],
)
def test_scores_that_say_nothing_of_the_runs_are_refused(
    tmp_path: Path, score: str, names: tuple[str, ...], match: str
) -> None:
    runs = {"a": [made_up(tmp_path / "a", 1.0, names=names, groups=())]}
    with pytest.raises(RecipeError, match=match):
        Comparison.of(runs, score=score)


def test_a_comparison_is_written_with_a_page_and_the_images_that_are_disputed(
    tmp_path: Path,
) -> None:
    spec = tiny.draw_class_folders(tmp_path / "data", each=20)
    found = index.load(spec)
    keys = [entry.key for entry in found.splits["val"]]
    names = found.classes.names
    # The answers are made up, so the truth of a key is not that of its picture.
    for name, skill in (("a", 0.4), ("b", 1.6)):
        for seed in range(2):
            folder = tmp_path / f"runs/{name}-{seed}"
            run = made_up(
                folder, skill, seed=seed, names=names, groups=(), data=str(spec), keys=keys
            )
            with run.recipe_file.open("a", encoding="utf-8") as file:
                file.write(f"[train]\nlr = {skill}e-3\n")
    result = write(of_runs([tmp_path / "runs"]), tmp_path / "out")
    assert [case.name for case in result.cases] == ["lr=0.0016", "lr=0.0004"]
    assert {path.name for path in (tmp_path / "out/pictures").iterdir()} == {
        "apart-1-labels.jpg", "hardest-1-labels.jpg"
    }  # fmt: skip
    page = (tmp_path / "out/study.html").read_text(encoding="utf-8")
    assert "Where they disagree" in page
    assert "log loss, calibration error" in page
    assert page.count("data:image/jpeg;base64,") == 2
    assert page.count("<svg") == 1
    table = json.loads((tmp_path / "out/compare.json").read_text(encoding="utf-8"))
    assert table["part"] == "accuracy"
    assert set(table["cases"][0]["accuracy"]) == set(names)
    assert "| class | lr=0.0016 | lr=0.0004 |" in (tmp_path / "out/compare.md").read_text("utf-8")


def test_disputed_images_come_with_the_surest_of_both_sides_first() -> None:
    right = np.array([[True, True, False, True], [False, True, False, False]])
    sure = np.array([[0.6, 0.9, 0.9, 0.9], [0.6, 0.9, 0.8, 0.9]])
    assert disputed(right, sure).tolist() == [3, 0]
    assert never_right(right, sure).tolist() == [2]
    nothing = np.full((2, 4), np.nan)  # a network that diverged
    assert set(disputed(right, nothing).tolist()) == {0, 3}


def test_scores_without_numbers_are_compared_where_they_have_some(tmp_path: Path) -> None:
    run = made_up(tmp_path / "a", 1.0)
    scores = replace(scores_of(run), likely=np.full((300, 5), np.nan, np.float32))
    run.scores_file("val").write_text(json.dumps(scores.to_json()), encoding="utf-8")
    result = Comparison.of({"a": [run], "b": [made_up(tmp_path / "b", 1.1)]})
    assert "n/a" not in result.table()[1][1]
