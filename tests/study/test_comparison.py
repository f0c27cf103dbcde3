"""Comparisons of runs whose scores are made up: verdicts, tables, refusals."""

import json
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pixelwright.errors import CheckpointError, DataError, PixelwrightWarning
from pixelwright.metrics.details import Details
from pixelwright.metrics.scores import Scores
from pixelwright.run import Run
from pixelwright.study.comparison import Comparison
from pixelwright.study.job import of_runs, write

NAMES = ("field", "road")


def made_up(
    folder: Path,
    share: float,
    *,
    seed: int = 0,
    images: int = 12,
    names: tuple[str, ...] = NAMES,
    model: str = "unet",
    settings: str = "",
    truth: int = 100,
) -> Run:
    """A finished run that gets a share of each image's pixels right, more or less."""
    folder.mkdir(parents=True)
    (folder / "recipe.toml").write_text(
        f'data = "pair:image=a,mask=b"\nmodel = "{model}"\nseed = {seed}\n{settings}',
        encoding="utf-8",
    )
    run = Run(folder)
    run.write_info({"parameters": 1234, "device": "CPU"})
    rows = [{"kind": "epoch", "epoch": 1, "seconds": 90.0}, {"kind": "stop", "why": ""}]
    run.log_file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    rng = np.random.default_rng([seed, round(1000 * share)])
    right = np.clip(truth * (share + rng.normal(0, 0.02, (images, len(names)))), 0, truth)
    tables = np.zeros((images, len(names), len(names)), np.int64)
    for k in range(len(names)):
        tables[:, k, k] = right[:, k].round()
        tables[:, k, k - 1] = truth - tables[:, k, k]
    keys = tuple(f"{i:02}" for i in range(images))
    scores = Scores(names, keys, tables, split="val")
    run.scores_file("val").write_text(json.dumps(scores.to_json()), encoding="utf-8")
    return run


def cases(folder: Path, shares: Mapping[str, float], seeds: int = 3) -> dict[str, list[Run]]:
    return {
        name: [
            made_up(folder / f"{name}-{seed}", share + 0.004 * seed, seed=seed)
            for seed in range(seeds)
        ]
        for name, share in shares.items()
    }


def test_a_clear_difference_is_claimed_and_a_small_one_is_not(tmp_path: Path) -> None:
    result = Comparison.of(cases(tmp_path, {"low": 0.6, "high": 0.8, "twin": 0.801}))
    assert {case.name for case in result.cases[:2]} == {"high", "twin"}
    assert [pair.differ for pair in result.pairs] == [False, True, True]
    told = result.verdicts()
    assert "not distinguishable with 3 seeds" in told[0]
    assert "is better than low by 0." in told[1]
    assert "after correction for 3 comparisons" in told[1]
    assert "is not distinguishable from" in result.headline()
    assert result.notes() == []


def test_one_seed_each_is_said_to_be_over_images_only(tmp_path: Path) -> None:
    result = Comparison.of(cases(tmp_path, {"low": 0.6, "high": 0.8}, seeds=1))
    (told,) = result.verdicts()
    assert told.startswith("This run of high is better than that of low")
    assert "over images only" in told
    assert "correction" not in told
    assert any("take three or more" in note for note in result.notes())


def test_a_lower_calibration_error_is_better(tmp_path: Path) -> None:
    runs = cases(tmp_path, {"sure": 0.8, "careful": 0.8})
    for name, confidence in (("sure", 0.95), ("careful", 0.78)):
        for run in runs[name]:
            scores = Scores.from_json(run.scores("val"))
            image = np.zeros((10, 10), np.int64)
            right = np.arange(100).reshape(10, 10) < 80
            likely = np.full((10, 10), confidence)
            details = Details.joined(
                [Details.of(np.where(right, 0, 1), image, likely, 2) for _ in scores.keys], 2
            )
            table = replace(scores, details=details).to_json()
            run.scores_file("val").write_text(json.dumps(table), encoding="utf-8")
    result = Comparison.of(runs, score="calibration_error")
    assert [case.name for case in result.cases] == ["careful", "sure"]
    assert "careful is better than sure by 0.130" in result.verdicts()[0]
    # Accuracy 0.80: off by 0.02 and by 0.15.
    head, first, last = result.score_table()
    assert (first[head.index("calibration error")], last[5]) == ("0.020", "0.150")
    assert "mean boundary IoU" in head


def test_scores_older_than_a_score_are_answered_with_how_to_make_them(tmp_path: Path) -> None:
    runs = cases(tmp_path, {"a": 0.6, "b": 0.8}, seeds=1)
    with pytest.raises(CheckpointError, match=r"no mean boundary IoU.*pixelwright evaluate"):
        Comparison.of(runs, score="mean_boundary_iou")
    assert Comparison.of(runs).score_table()[0][1:] == ("mean IoU", "mean Dice", "pixel accuracy")


def test_unequal_seeds_are_said(tmp_path: Path) -> None:
    runs = cases(tmp_path, {"low": 0.6, "high": 0.8})
    result = Comparison.of({"low": runs["low"][:1], "high": runs["high"]})
    (told,) = result.verdicts()
    assert "3 seeds of high and 1 of low" in told
    assert "single seed" in told
    assert "different numbers of seeds" in result.notes()[0]


def test_a_baseline_is_compared_with_each_and_nothing_else(tmp_path: Path) -> None:
    runs = cases(tmp_path, {"a": 0.6, "b": 0.7, "c": 0.8})
    result = Comparison.of(runs, baseline="b")
    assert [(p.a.name, p.b.name) for p in result.pairs] == [("c", "b"), ("b", "a")]
    assert "after correction for 2 comparisons" in result.verdicts()[0]


def test_the_table_and_its_json_hold_seeds_intervals_time_and_size(tmp_path: Path) -> None:
    result = Comparison.of(cases(tmp_path, {"low": 0.6, "high": 0.8}))
    head, best, _ = result.table()
    assert head == ("case", "mean IoU", "95 % interval", "by seed", "minutes", "parameters")
    assert best[0] == "high"
    assert len(best[3].split()) == 3
    assert best[4:] == ("1.5", "1,234")
    table = json.loads(json.dumps(result.to_json(), allow_nan=False))
    high = table["cases"][0]
    assert high["mean_iou"]["low"] < high["mean_iou"]["value"] < high["mean_iou"]["high"]
    assert high["seconds"] == [90.0] * 3
    assert set(high["iou"]) == set(NAMES)
    assert table["pairs"][0]["better"] == "high"
    assert table["pairs"][0]["iou"]["road"]["low"] > 0
    assert math.isclose(sum(high["by_seed"]) / 3, high["mean_iou"]["value"])


def test_the_markdown_holds_the_table_and_the_verdicts(tmp_path: Path) -> None:
    result = Comparison.of(cases(tmp_path, {"low": 0.6, "a|b": 0.8}))
    # The data and models of these runs are made up, so there are no pictures.
    with pytest.warns(PixelwrightWarning, match="No pictures side by side"):
        write(result, tmp_path / "out")
    assert (tmp_path / "out/study.html").is_file()
    text = (tmp_path / "out/compare.md").read_text(encoding="utf-8")
    assert "| a\\|b | 0." in text
    assert "mean over 3 seeds" in text
    assert all(f"- {told}" in text for told in result.verdicts())


@pytest.mark.parametrize(
    ("other", "match"),
    [
        ({"images": 11}, "only one has 11"),
        ({"names": ("field", "river")}, r"classes differ \(river, road\)"),
        ({"names": ("road", "field")}, "another order"),
        ({"truth": 90}, "masks of 12 images differ"),
    ],
)
def test_runs_scored_on_other_images_masks_or_classes_are_refused(
    tmp_path: Path, other: dict[str, object], match: str
) -> None:
    runs = {
        "a": [made_up(tmp_path / "a", 0.8)],
        "b": [made_up(tmp_path / "b", 0.8, **other)],  # type: ignore[arg-type]
    }
    with pytest.raises(DataError, match=match):
        Comparison.of(runs)


def test_missing_scores_are_answered_with_how_to_make_them(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"2 runs have.*evaluate .*low-0 --split test"):
        Comparison.of(cases(tmp_path, {"low": 0.6, "high": 0.8}, seeds=1), split="test")


def test_runs_that_differ_in_their_seed_alone_are_one_case(tmp_path: Path) -> None:
    for seed in (1, 0):
        made_up(tmp_path / f"a{seed}", 0.7, seed=seed, model="unet:width=8")
        made_up(tmp_path / f"b{seed}", 0.8, seed=seed, model="unet:width=16")
    result = of_runs([tmp_path])
    assert [(c.name, c.seeds) for c in result.cases] == [("width=16", (0, 1)), ("width=8", (0, 1))]
    named = of_runs([tmp_path / "a0", tmp_path / "b1"], baseline="width=8")
    assert len(named.pairs) == 1


def test_runs_whose_minutes_became_other_steps_are_one_case(tmp_path: Path) -> None:
    for seed, steps in ((0, 900), (1, 950)):
        settings = f"[train]\nsteps = {steps}\nvalidate_every = 0.{steps}"
        run = made_up(tmp_path / f"a{seed}", 0.7, seed=seed, settings=settings)
        run.write_info({"minutes": 5.0})
    assert len(of_runs([tmp_path]).cases) == 1


def test_the_same_training_twice_is_refused(tmp_path: Path) -> None:
    for name in "ab":
        made_up(tmp_path / name, 0.7)
    with pytest.raises(DataError, match="the same training"):
        of_runs([tmp_path])


def test_a_run_that_is_not_finished_is_refused(tmp_path: Path) -> None:
    run = made_up(tmp_path / "a", 0.7)
    run.log_file.write_text('{"kind": "start"}\n', encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"stopped, not finished.*--resume"):
        of_runs([run])
    with pytest.raises(CheckpointError, match="There is no run"):
        of_runs([tmp_path / "absent"])
