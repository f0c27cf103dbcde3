from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tiny
from pixelwright.data.blocks import Grid, grid_for, split
from pixelwright.data.counts import view
from pixelwright.data.index import load
from pixelwright.errors import DataError, RecipeError
from pixelwright.registry import Spec
from pixelwright.types import Window


def between(a: Window, b: Window) -> int:
    """Pixels between two windows along the axis on which more lie (Chebyshev); below 0: overlap."""
    down = max(a.top - b.top - b.height, b.top - a.top - a.height)
    across = max(a.left - b.left - b.width, b.left - a.left - a.width)
    return max(down, across)


def area(windows: Sequence[Window]) -> int:
    return sum(window.height * window.width for window in windows)


sides = st.one_of(st.integers(1, 64), st.integers(1, 1500))


@given(sides, sides, st.integers(0, 60), st.sampled_from([0, 2, 3, 4, 5, 6, 9]), st.integers(0, 8))
@settings(max_examples=300, deadline=None)
def test_every_training_pixel_is_a_guard_away_from_every_validation_pixel(
    height: int, width: int, guard: int, blocks: int, fold: int
) -> None:
    grid = grid_for(height, width, guard, blocks)
    train, val = split(grid, fold % grid.folds, guard)
    assert all(between(a, b) >= guard for a in train for b in val)
    assert all(between(a, b) >= 0 for part in (train, val) for a, b in combinations(part, 2))
    for window in (*train, *val):
        assert min(window.top, window.left) >= 0 < min(window.height, window.width)
        assert window.top + window.height <= height
        assert window.left + window.width <= width


@given(sides, sides, st.integers(0, 60), st.sampled_from([0, 2, 3, 4, 5, 6, 9]))
@settings(max_examples=50, deadline=None)
def test_all_folds_together_validate_on_every_pixel_once(
    height: int, width: int, guard: int, blocks: int
) -> None:
    grid = grid_for(height, width, guard, blocks)
    val = [window for fold in range(grid.folds) for window in split(grid, fold, guard)[1]]
    assert area(val) == height * width
    assert all(between(a, b) >= 0 for a, b in combinations(val, 2))


@pytest.mark.parametrize("blocks", range(4, 13))
def test_validation_blocks_are_one_in_each_row_and_column_and_do_not_touch(blocks: int) -> None:
    grid = Grid(1000, 1000, blocks, blocks)
    cells = grid.validation(0)
    assert sorted(row for row, _ in cells) == sorted(column for _, column in cells)
    assert sorted(row for row, _ in cells) == list(range(blocks))
    assert all(max(abs(a - c), abs(b - d)) > 1 for (a, b), (c, d) in combinations(cells, 2))


def test_geometry_of_a_hand_worked_picture() -> None:
    # 5 x 5 blocks of 100; in rows 0 to 4 those in columns 0, 2, 4, 1, 3 validate. Grown by the
    # guard of 20 and cut at the picture's edges they are one of 120 x 120 in a corner, two of
    # 140 x 120 at edges and two of 140 x 140 inside, all apart, so that training keeps
    # 250000 - 14400 - 2 * 16800 - 2 * 19600 = 162800.
    train, val = split(Grid(500, 500, 5, 5), 0, 20)
    assert val == [
        Window(0, 0, 100, 100),
        Window(100, 200, 100, 100),
        Window(200, 400, 100, 100),
        Window(300, 100, 100, 100),
        Window(400, 300, 100, 100),
    ]
    assert area(train) == 162800


def test_strips_of_a_hand_worked_picture() -> None:
    # Five strips of 40 rows; the third validates, 80 to 120; guards of 8 leave 0-72 and 128-200.
    # A strip of 40 x 160 has room for 160 // 64 = 2 windows.
    train, val = split(grid_for(200, 160, 8), 2, 8)
    assert val == [Window(80, 0, 40, 80), Window(80, 80, 40, 80)]
    assert train == [Window(0, 0, 72, 160), Window(128, 0, 72, 160)]


@pytest.mark.parametrize(
    ("size", "guard", "grid"),
    [
        ((2700, 2700), 32, (5, 5)),
        ((2700, 2700), 92, (4, 4)),
        ((2700, 2700), 200, (1, 5)),
        ((320, 320), 0, (5, 5)),
        ((319, 320), 0, (4, 4)),
        ((200, 100), 8, (5, 1)),
        ((100, 20000), 8, (1, 5)),
    ],
)
def test_the_grid_suits_picture_and_guard(
    size: tuple[int, int], guard: int, grid: tuple[int, int]
) -> None:
    found = grid_for(*size, guard)
    assert (found.rows, found.columns) == grid


def test_little_is_lost_to_the_guard_and_a_fifth_validates() -> None:
    train, val = split(grid_for(2700, 2700, 32), 0, 32)
    assert area(val) / 2700**2 == pytest.approx(0.2)
    assert area(train) / 2700**2 > 0.73


def test_training_and_validation_are_windows_of_the_one_picture(tmp_path: Path) -> None:
    spec = tiny.draw_pair(tmp_path, 400, 400).with_option("guard", 6)
    index = load(spec)
    assert index.guard == 6
    assert len(index.splits["val"]) == 5
    for entry in (*index.splits["train"], *index.splits["val"]):
        assert entry.image == tmp_path / "rgb.png"
        assert entry.target == tmp_path / "gt.png"
        assert entry.window is not None


def test_the_fold_chosen_by_itself_has_all_classes_on_both_sides(tmp_path: Path) -> None:
    # Class 1 lies in two small places: one in the block of row 0, column 3, one far from it.
    labels = np.zeros((400, 400), np.uint8)
    labels[30:50, 270:290] = 255
    labels[190:210, 30:50] = 255
    image = tiny.save(tmp_path / "rgb.png", np.zeros((400, 400, 3), np.uint8))
    mask = tiny.save(tmp_path / "gt.png", labels)
    spec = Spec("pair", {"image": image, "mask": mask, "guard": 4})

    def foreground(fold: int, part: str) -> int:
        entries = load(spec.with_option("fold", fold)).splits[part]
        return sum(int((view(labels, entry.window) > 0).sum()) for entry in entries)

    assert foreground(0, "val") == 0
    assert foreground(-1, "val") > 0
    assert foreground(-1, "train") > 0


def test_folds_are_counted_from_0(tmp_path: Path) -> None:
    spec = tiny.draw_pair(tmp_path)
    found = [load(spec.with_option("fold", fold)).splits["val"] for fold in range(5)]
    assert len(set(found)) == 5
    with pytest.raises(RecipeError, match="fold=5 does not exist: there are 5, from 0"):
        load(spec.with_option("fold", 5))


@pytest.mark.parametrize(
    ("option", "value"), [("guard", -1), ("blocks", -1), ("blocks", 33), ("fold", -2)]
)
def test_options_out_of_range_are_refused(tmp_path: Path, option: str, value: int) -> None:
    with pytest.raises(RecipeError, match=f"{option}={value}: input should be"):
        load(tiny.draw_pair(tmp_path).with_option(option, value))


def test_one_block_leaves_nothing_to_train_on(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="blocks=1 leaves nothing"):
        load(tiny.draw_pair(tmp_path).with_option("blocks", 1))


def test_a_guard_that_leaves_nothing_to_train_on_is_told_with_one_that_would(
    tmp_path: Path,
) -> None:
    spec = tiny.draw_pair(tmp_path, 40, 50).with_option("guard", 60)
    with pytest.raises(DataError, match=r"rgb\.png is 50x40, .*Give guard=39 or less") as error:
        load(spec)
    assert "guards of 60 pixels" in str(error.value)
    assert load(spec.with_option("guard", 39)).splits["train"]


def test_f14_a_picture_of_one_pixel_cannot_be_split(tmp_path: Path) -> None:
    image = tiny.save(tmp_path / "rgb.png", np.zeros((1, 1, 3), np.uint8))
    mask = tiny.save(tmp_path / "gt.png", np.zeros((1, 1), np.uint8))
    with pytest.raises(DataError, match="too small to be split"):
        load(Spec("pair", {"image": image, "mask": mask, "names": ("a", "b"), "guard": 0}))


def test_f27_a_mask_of_another_size_is_an_error_with_both_sizes(tmp_path: Path) -> None:
    spec = tiny.draw_pair(tmp_path, 160, 200)
    tiny.save(tmp_path / "gt.png", tiny.scene(100, 200)[1])
    with pytest.raises(DataError, match=r"200x160 .*200x100"):
        load(spec)


def test_folders_given_as_a_pair_point_to_the_layout_folders(tmp_path: Path) -> None:
    tiny.draw_folders(tmp_path)
    spec = Spec("pair", {"image": tmp_path / "images", "mask": tmp_path / "masks"})
    with pytest.raises(RecipeError, match=r"folders:images=.*masks="):
        load(spec)
