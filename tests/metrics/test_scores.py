import json
import math
import sys

import numpy as np
import pytest

from pixelwright.errors import CheckpointError, PixelwrightError
from pixelwright.metrics.confusion import Confusion
from pixelwright.metrics.scores import Scores


def scores(*tables: list[list[int]], names: tuple[str, ...] = ("land", "water")) -> Scores:
    images = [(f"image {i}", Confusion(np.array(table))) for i, table in enumerate(tables)]
    return Scores.of_images(names, images, loss=0.5, split="val", data="pair:image=a.png")


TWO = scores([[3, 1], [0, 4]], [[5, 0], [3, 2]])


def test_scores_are_computed_from_sums_and_not_averaged_over_images() -> None:
    # Together [[8, 1], [3, 6]]: IoU 8/12 and 6/10.
    assert TWO.mean_iou == pytest.approx((8 / 12 + 6 / 10) / 2)
    assert TWO.pixel_accuracy == pytest.approx(14 / 18)
    assert TWO.mean_dice == pytest.approx((16 / 20 + 12 / 16) / 2)


def test_json_holds_each_score_with_its_interval_beside_it() -> None:
    table = TWO.to_json()
    for name in ("mean_iou", "mean_dice", "pixel_accuracy"):
        assert table[f"{name}_low"] <= table[name] <= table[f"{name}_high"]
    assert list(table["classes"]) == ["land", "water"]
    assert table["classes"]["land"]["iou"] == pytest.approx(8 / 12)
    assert table["classes"]["land"]["pixels"] == 9
    assert table["images"] == 2
    assert table["loss"] == 0.5


def test_json_is_read_back_with_nothing_lost() -> None:
    again = Scores.from_json(json.loads(json.dumps(TWO.to_json(), allow_nan=False)))
    assert again.to_json() == TWO.to_json()
    assert np.array_equal(again.tables, TWO.tables)


def test_undefined_is_null_in_json_and_na_in_print() -> None:
    empty = scores([[4, 0, 0], [0, 0, 0], [1, 0, 3]], names=("a", "b", "c"))
    table = json.loads(json.dumps(empty.to_json(), allow_nan=False))
    assert table["classes"]["b"]["iou"] is None
    assert table["classes"]["b"]["dice"] is None
    assert table["undefined"] == ["b"]
    assert {row[0]: row[1] for row in empty.table()}["b"] == "n/a"


def test_f30_the_number_of_classes_in_the_mean_is_stated() -> None:
    empty = scores([[4, 0, 0], [0, 0, 0], [1, 0, 3]], names=("a", "b", "c"))
    assert any("2 of 3 classes" in note and "b" in note for note in empty.notes())


def test_f31_a_class_that_is_predicted_but_never_true_is_named() -> None:
    assert any("water" in note for note in scores([[3, 1], [0, 0]]).notes())


def test_one_image_has_no_interval_and_says_so() -> None:
    one = scores([[3, 1], [0, 4]])
    assert all(math.isnan(end) for end in one.interval("mean_iou"))
    assert one.to_json()["mean_iou_low"] is None
    assert "interval" not in one.verdict()
    assert any("two labelled images" in note for note in one.notes())


def test_a_class_in_one_image_only_has_no_interval_of_its_own() -> None:
    only = scores([[3, 1], [0, 4]], [[5, 0], [0, 0]], [[4, 0], [0, 0]])
    ends = only.iou_intervals()
    assert not np.isnan(ends[0]).any()
    assert np.isnan(ends[1]).all()


def test_no_images_are_no_error() -> None:
    assert Scores.of_images(("a", "b"), []).to_json()["mean_iou"] is None


def test_the_hardest_images_come_first_and_unlabelled_ones_not_at_all() -> None:
    nothing, good, bad = [[0, 0], [0, 0]], [[5, 0], [0, 5]], [[1, 4], [4, 1]]
    ranked = scores(nothing, good, bad).hardest(5)
    assert [key for key, _ in ranked] == ["image 2", "image 1"]
    assert ranked[0][1] == pytest.approx(1 / 9)


def test_typical_images_are_those_near_the_median() -> None:
    tables = [[[10 - wrong, wrong], [wrong, 10 - wrong]] for wrong in (0, 9, 3, 4, 8)]
    assert scores(*tables).typical(1)[0][0] == "image 3"


def test_a_data_frame_has_one_row_per_class() -> None:
    pandas = pytest.importorskip("pandas")
    frame = TWO.to_pandas()
    assert isinstance(frame, pandas.DataFrame)
    assert frame.loc["water", "iou"] == pytest.approx(6 / 10)
    assert frame["iou_low"].dtype.kind == "f"


def test_without_pandas_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(PixelwrightError, match="pip install pandas"):
        TWO.to_pandas()


def test_what_is_not_scores_is_refused() -> None:
    with pytest.raises(CheckpointError, match="not scores"):
        Scores.from_json({"mean_iou": 0.7})
    with pytest.raises(CheckpointError, match="not scores"):
        Scores.from_json({**TWO.to_json(), "tables": [[1, 2, 3]]})


def test_f86_names_are_escaped_in_a_notebook() -> None:
    shown = scores([[3, 1], [0, 4]], names=("<script>alert(1)</script>", "a & b"))._repr_html_()
    assert "<script>" not in shown
    assert "a &amp; b" in shown
