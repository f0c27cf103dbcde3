"""The score by which models are chosen is found in every log and every file of scores."""

import pytest

from pixelwright.types import chosen_score


@pytest.mark.parametrize(
    ("row", "found"),
    [
        ({"score": 0.5, "val_mean_iou": 0.5, "val_mean_dice": 0.7}, ("mean IoU", 0.5)),
        ({"val_mean_iou": 0.5}, ("mean IoU", 0.5)),  # as logs were before there were labels
        ({"score": 0.6, "val_top1": 0.6, "val_top5": 0.9}, ("top-1", 0.6)),
        ({"val_top1": None}, ("top-1", None)),  # undefined
        ({"score": 0.4}, ("score", 0.4)),
        ({"kind": "start"}, ("score", None)),
    ],
)
def test_a_row_of_a_log_tells_it(row: dict[str, object], found: tuple[str, float | None]) -> None:
    assert chosen_score(row) == found


def test_a_file_of_scores_tells_it() -> None:
    assert chosen_score({"mean_iou": 0.5, "mean_iou_low": 0.4}, prefix="") == ("mean IoU", 0.5)
    assert chosen_score({"task": "labels", "top1": 0.6}, prefix="") == ("top-1", 0.6)
    assert chosen_score({}, prefix="") == ("score", None)
