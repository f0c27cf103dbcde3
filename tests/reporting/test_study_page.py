"""The page of a comparison: whole, offline, harmless whatever the names are."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from pixelwright.images import write_jpeg
from pixelwright.reporting import study

ODD = ("<script>alert(1)</script>", "'\"><img src=x>", "\u202ebad $x_ & more", "_plain")


def ends(value: float, reach: float = 0.02) -> dict[str, float | None]:
    return {"value": value, "low": value - reach, "high": value + reach}


def table(folder: Path, names: tuple[str, ...], seeds: int = 3) -> dict[str, object]:
    """What `compare.json` holds, of cases that score 0.60, 0.61 and so on."""
    cases = []
    for place, name in enumerate(names):
        score = 0.7 - 0.01 * place
        runs = []
        for seed in range(seeds):
            run = folder / f"run-{place}-{seed}"
            run.mkdir()
            rows = [{"kind": "epoch", "epoch": e, "val_mean_iou": score * e / 5} for e in range(6)]
            log = "".join(json.dumps(row) + "\n" for row in rows)
            (run / "log.jsonl").write_text(log, encoding="utf-8")
            runs.append(str(run))
        cases.append(
            {
                "case": name,
                "settings": [f"loss={name}"],
                "parameters": 12_345,
                "seeds": list(range(seeds)),
                "runs": runs,
                "seconds": [60.0] * seeds,
                "by_seed": [score] * seeds,
                **{key: ends(score) for key in ("mean_iou", "mean_dice", "pixel_accuracy")},
                "iou": {"road": ends(score), "tree": ends(score)},
            }
        )
    pairs = [
        {
            "a": names[0],
            "b": name,
            "difference": ends(0.01 * place),
            "p": 0.03,
            "p_corrected": 0.06,
            "better": None,
            "verdict": f"{names[0]} and {name} are not distinguishable.",
            "iou": {"road": ends(0.03), "tree": ends(0.0)},
        }
        for place, name in enumerate(names[1:], 1)
    ]
    return {
        "name": "losses",
        "split": "val",
        "score": "mean_iou",
        "titles": {"mean_iou": "mean IoU"},
        "images": 12,
        "classes": ["road", "tree"],
        "colors": ["1,2,3", "4,5,6"],
        "baseline": None,
        "headline": f"{names[0]} scores highest.",
        "cases": cases,
        "pairs": pairs,
        "notes": [],
    }


def page_of(folder: Path, names: tuple[str, ...], seeds: int = 3) -> str:
    folder.mkdir(exist_ok=True)
    text = json.dumps(table(folder, names, seeds))
    (folder / "compare.json").write_text(text, encoding="utf-8")
    return study.write(folder).read_text(encoding="utf-8")


def test_the_page_tells_scores_differences_classes_and_curves(tmp_path: Path) -> None:
    text = page_of(tmp_path, ("dice", "focal"))
    for word in ("dice scores highest", "Differences", "0.680 to 0.720", "+0.010", "run-0-2"):
        assert word in text
    assert text.count('class="seed"') == 6
    # The class whose interval does not hold 0 is marked, the other is not.
    assert len(re.findall(r'class="less sure"', text)) == 1
    assert "<svg" in text
    assert "var(--c1)" in text


def test_the_page_loads_nothing_and_shows_its_pictures(tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    write_jpeg(tmp_path / "pictures/apart-1-a.jpg", np.zeros((20, 30, 3), np.uint8))
    text = page_of(tmp_path, ("dice", "focal"))
    assert "default-src 'none'" in text
    assert re.findall(r'(?:src|href|url)\s*=?\s*["(]?https?:', text) == []
    assert text.count("data:image/jpeg;base64,") == 1
    assert "Where they differ most" in text
    assert "Hardest images" not in text


def test_f86_names_are_escaped(tmp_path: Path) -> None:
    text = page_of(tmp_path, ODD)
    assert "<script" not in text
    assert "<img src=x" not in text
    assert "\u202e" not in text
    assert "_plain</text>" in text, "a name that begins with a line has its place in the legend"


@pytest.mark.parametrize("count", [1, 12])
def test_one_case_or_many_make_a_page(tmp_path: Path, count: int) -> None:
    text = page_of(tmp_path, tuple(f"case {i}" for i in range(count)), seeds=1)
    assert text.count("<li") == min(count - 1, 6)
    assert ("Differences" in text) == (count > 1)


def test_undefined_numbers_are_told_as_such(tmp_path: Path) -> None:
    told = table(tmp_path, ("a", "b"), seeds=1)
    nothing = dict.fromkeys(("value", "low", "high"))
    for case in told["cases"]:  # type: ignore[attr-defined]
        case |= {"mean_iou": nothing, "by_seed": [None], "seconds": [None], "parameters": None}
        case["iou"]["road"] = nothing
    for pair in told["pairs"]:  # type: ignore[attr-defined]
        pair |= {"difference": nothing, "p": None, "p_corrected": None}
        pair["iou"]["road"] = nothing
    (tmp_path / "compare.json").write_text(json.dumps(told), encoding="utf-8")
    text = study.write(tmp_path).read_text(encoding="utf-8")
    assert "n/a" in text
    assert re.search(r"\bnan\b", text) is None
