"""The page of a search: whatever the trials and the values are, it is drawn, and runs nothing."""

import json
from pathlib import Path
from typing import Any

from pixelwright.reporting import tuning

ODD = "<script>alert('a')</script> $x_1$"


def trial(number: int, state: str, score: float | None, **values: Any) -> dict[str, Any]:
    why = "The crop does not fit." if state == "failed" else ""
    return {
        "number": number,
        "state": state,
        "score": score,
        "values": {"model.width": 8, "train.lr": 0.01, "loss": "dice"} | values,
        "seconds": 61.0,
        "why": why,
        "curve": {"5": 0.2, "10": 0.4} if score is not None else {},
    }


def write(folder: Path, trials: list[dict[str, Any]], best: int | None) -> str:
    table = {
        "search": {},
        "score": "mean IoU",
        "ranges": {
            "model.width": {"text": "8 to 64", "log": False},
            "train.lr": {"text": "0.001 to 0.1, log", "log": True},
            "loss": {"text": f"dice | {ODD}", "log": False},
        },
        "importance": {"train.lr": 0.7, "model.width": 0.3},
        "best": best,
        "trials": trials,
    }
    (folder / "tuning.json").write_text(json.dumps(table), encoding="utf-8")
    files = tuning.write(folder)
    assert [file.name for file in files] == ["tuning.html", "tuning.png"]
    return files[0].read_text(encoding="utf-8")


def test_a_search_with_trials_of_every_state_is_drawn(tmp_path: Path) -> None:
    page = write(
        tmp_path,
        [
            trial(0, "finished", 0.5),
            trial(1, "failed", None, **{"model.width": 64}),
            trial(2, "pruned", 0.2, **{"train.lr": 0.05}),
            trial(3, "finished", 0.7, loss=ODD),
            trial(4, "stopped", None),
        ],
        best=3,
    )
    assert "Trial 3 is best: mean IoU <strong>0.700</strong>" in page
    for words in ("2 finished", "1 pruned", "1 failed", "The crop does not fit.", "5 min"):
        assert words in page
    # Search, courses, importance, three slices, parallel axes.
    assert page.count("<svg") == 7
    assert "<script" not in page
    assert "http" not in page.replace("http-equiv", "")


def test_a_search_of_one_trial_and_of_none_that_finished_is_drawn(tmp_path: Path) -> None:
    write(tmp_path, [trial(0, "finished", 0.5)], best=0)
    assert "No trial is finished yet." in write(tmp_path, [trial(0, "failed", None)], best=None)
