"""Masks in mended copies: values, colours, smooth edges and losses become class indices."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

import tiny
from pixelwright import images
from pixelwright.data.check import check
from pixelwright.data.class_file import Declared
from pixelwright.data.classes import classes_from_masks
from pixelwright.data.index import load
from pixelwright.data.repair.copy import Repaired, repair
from pixelwright.data.repair.survey import scheme_from, survey
from pixelwright.errors import DataError
from pixelwright.registry import Spec
from pixelwright.types import IGNORE, Index

Mended = Callable[[Spec], tuple[Repaired, Index]]

COLORS = np.array([[0, 0, 0], [255, 255, 255], [128, 128, 128], [200, 30, 60]], np.uint8)
"""The third is what half of the first and half of the second look like."""


def blobs(count: int, size: tuple[int, int] = (64, 96)) -> list[np.ndarray]:
    """Masks of four classes in large areas: two halves, and two discs across their border."""
    found = []
    for i in range(count):
        labels = np.zeros(size, np.uint8)
        labels[:, size[1] // 2 + i :] = 1
        cv2.circle(labels, (size[1] // 2, 16), 12, 2, -1)
        cv2.circle(labels, (size[1] // 2 + 4 * i, 46), 12, 3, -1)
        found.append(labels)
    return found


def labels_in(out: Path) -> list[np.ndarray]:
    index = load(Spec("folders", {"root": out}))
    entries = sorted(
        (e for held in index.splits.values() for e in held), key=lambda entry: entry.key
    )
    return [images.read_mask(Path(str(entry.target)), index.classes) for entry in entries]


def test_masks_of_0_and_255_become_indices(tmp_path: Path, mended: Mended) -> None:
    expected = tiny.truth(4)
    spec = tiny.draw_masks(tmp_path / "data", [255 * labels for labels in expected])
    done, index = mended(spec)
    np.testing.assert_equal(labels_in(tmp_path / "out"), expected)
    assert index.classes.names == ("background", "foreground")
    assert not index.classes.threshold
    ((what, change),) = done.changes.items()
    assert what == "masks of 0 and 255 became class indices"
    assert (len(change.files), done.copied, done.splits) == (4, 4, {"train": 4})
    assert check(index).warnings == ()


def test_masks_of_0_and_1_beside_masks_of_0_and_255_mean_the_same(
    tmp_path: Path, mended: Mended
) -> None:
    expected = tiny.truth(4)
    masks = [labels * (255 if i % 2 else 1) for i, labels in enumerate(expected)]
    done, _ = mended(tiny.draw_masks(tmp_path / "data", masks))
    np.testing.assert_equal(labels_in(tmp_path / "out"), expected)
    assert [len(change.files) for change in done.changes.values()] == [2]


def test_grey_edges_are_cut_at_half(tmp_path: Path, mended: Mended) -> None:
    expected = [cv2.GaussianBlur(255 * labels, (0, 0), 1) for labels in tiny.truth(4)]
    spec = tiny.draw_masks(tmp_path / "data", expected)
    done, _ = mended(spec)
    np.testing.assert_equal(labels_in(tmp_path / "out"), [grey >= 128 for grey in expected])
    change = done.changes["grey edges of masks cut at half"]
    assert change.pixels == sum(int(((grey > 0) & (grey < 255)).sum()) for grey in expected)
    assert check(load(Spec("folders", {"root": tmp_path / "out"}))).warnings == ()


def test_three_greys_with_smooth_edges_are_three_classes(tmp_path: Path, mended: Mended) -> None:
    expected = [np.where(labels == 3, 2, labels) for labels in blobs(3)]
    greys = [np.array([0, 128, 255], np.uint8)[labels] for labels in expected]
    soft = [cv2.GaussianBlur(grey, (3, 3), 0.5) for grey in greys]
    done, index = mended(tiny.draw_masks(tmp_path / "data", soft))
    assert len(index.classes) == 3
    for found, labels in zip(labels_in(tmp_path / "out"), expected, strict=True):
        # The edge of 0 and 255 may look like 128 exactly; beside it everything is right.
        assert (found == labels).mean() > 0.98
    assert set(done.changes) == {"edges set to a class"}


def test_colours_become_indices_and_keep_their_colours(tmp_path: Path, mended: Mended) -> None:
    expected = blobs(3)
    done, index = mended(
        tiny.draw_masks(tmp_path / "data", [COLORS[labels] for labels in expected])
    )
    order = [index.classes.colors.index(tuple(color)) for color in COLORS.tolist()]
    assert index.classes.colors[0] == (0, 0, 0)
    np.testing.assert_equal(
        labels_in(tmp_path / "out"), [np.array(order)[labels] for labels in expected]
    )
    assert list(done.changes) == ["colours of masks became class indices"]


def test_smooth_edges_of_colours_go_to_one_of_the_two_that_meet(
    tmp_path: Path, mended: Mended
) -> None:
    fine = blobs(3, size=(128, 192))
    soft = [
        cv2.resize(COLORS[labels], None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
        for labels in fine
    ]
    done, index = mended(tiny.draw_masks(tmp_path / "data", soft))
    assert len(index.classes) == 4
    order = np.array([index.classes.colors.index(tuple(color)) for color in COLORS.tolist()])
    pixels = 0
    for found, labels in zip(labels_in(tmp_path / "out"), fine, strict=True):
        blocks = order[labels].reshape(64, 2, 96, 2).swapaxes(1, 2).reshape(64, 96, 4)
        kinds = np.array([[len(set(block)) for block in row] for row in blocks.tolist()])
        pixels += int((kinds > 1).sum())
        # Half black and half white is the grey of the third class: no file can say otherwise.
        mean = COLORS[labels].reshape(64, 2, 96, 2, 3).mean(axis=(1, 3)).round()
        known = (kinds < 3) & ~((kinds == 2) & (mean == 128).all(axis=2))
        assert (blocks == found[..., np.newaxis]).any(axis=2)[known].all()
    change = done.changes["colours of masks became class indices, smooth edges to the nearer one"]
    assert 0 < change.pixels <= pixels


def test_declared_colours_with_smooth_edges_are_taken_at_their_word(
    tmp_path: Path, mended: Mended
) -> None:
    expected = blobs(2)
    soft = [cv2.GaussianBlur(COLORS[labels], (3, 3), 0.4) for labels in expected]
    spec = tiny.draw_masks(tmp_path / "data", soft)
    lines = ["0 0 0 sky", "255 255 255 road", "128 128 128 car", "200 30 60 bus"]
    (tmp_path / "data" / "classes.txt").write_text("\n".join(lines))
    _, index = mended(spec)
    assert index.classes.names == ("sky", "road", "car", "bus")
    for found, labels in zip(labels_in(tmp_path / "out"), expected, strict=True):
        assert (found == labels).mean() > 0.98


def test_a_straight_pole_with_smooth_edges_is_no_class_of_its_own(
    tmp_path: Path, mended: Mended
) -> None:
    expected = blobs(3)
    for labels in expected:
        labels[:, 10:12] = 3
    soft = [cv2.GaussianBlur(COLORS[labels], (3, 3), 0.5) for labels in expected]
    _, index = mended(tiny.draw_masks(tmp_path / "data", soft))
    assert len(index.classes) == 4
    order = np.array([index.classes.colors.index(tuple(color)) for color in COLORS.tolist()])
    for found, labels in zip(labels_in(tmp_path / "out"), expected, strict=True):
        assert (found[:, 8:14] == order[labels[:, 8:14]]).all()


def test_a_colour_that_no_class_has_is_no_edge(tmp_path: Path) -> None:
    spec = tiny.draw_masks(tmp_path / "data", [COLORS[labels] for labels in blobs(3)])
    options = {"names": ("a", "b", "c"), "colors": ("#000000", "#ffffff", "#808080")}
    with pytest.raises(DataError, match=r"pixels of the colour \(200, 30, 60\) in whole areas"):
        repair(Spec("folders", {**spec.options, **options}), tmp_path / "out")


def test_photographs_given_as_masks_are_refused(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (3, 48, 64, 3), np.uint8)
    with pytest.raises(DataError, match="they show no classes"):
        repair(tiny.draw_masks(tmp_path / "data", list(noise)), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_f20_palette_masks_are_kept_with_their_palette(tmp_path: Path, mended: Mended) -> None:
    colors = ((9, 9, 9), (200, 0, 0), (0, 200, 0))
    spec = tiny.draw_masks(tmp_path / "data", tiny.truth(3, classes=3))
    for path in (tmp_path / "data" / "masks").iterdir():
        images.write_mask(path, images.raw_mask(path), colors)
    done, index = mended(spec)
    assert (done.copied, done.changes) == (6, {})
    assert tiny.tree(tmp_path / "out" / "masks") == tiny.tree(tmp_path / "data" / "masks")
    assert index.classes.colors == colors


@pytest.mark.parametrize("dtype", [np.uint8, np.int32])
def test_f21_indices_stored_otherwise_become_png(
    tmp_path: Path, mended: Mended, dtype: type
) -> None:
    expected = tiny.truth(3, classes=3)
    spec = tiny.draw_masks(tmp_path / "data", [labels.astype(dtype) for labels in expected], "tif")
    done, _ = mended(spec)
    np.testing.assert_equal(labels_in(tmp_path / "out"), expected)
    assert list(done.changes) == ["values of masks became class indices, stored as PNG"]


@pytest.mark.parametrize("colored", [False, True])
def test_f23_masks_stored_with_loss_are_set_to_the_nearest_class(
    tmp_path: Path, mended: Mended, colored: bool
) -> None:
    expected = [labels if colored else np.minimum(labels, 1) for labels in blobs(3, (128, 160))]
    colors = np.array([[0, 0, 0], [255, 255, 255], [20, 40, 220], [220, 40, 20]], np.uint8)
    masks = [colors[labels] if colored else 255 * labels for labels in expected]
    spec = tiny.draw_masks(tmp_path / "data", masks, "jpg", quality=95, subsampling=0)
    done, index = mended(spec)
    order = np.arange(4)
    if colored:
        assert len(index.classes) == 4
        # JPEG alters the colours a little, so a class is known by the nearest.
        shown = np.array(index.classes.colors, int)
        order = np.abs(shown[np.newaxis] - colors[:, np.newaxis].astype(int)).sum(2).argmin(1)
    for found, labels in zip(labels_in(tmp_path / "out"), expected, strict=True):
        assert (found == order[labels]).mean() > 0.99
    told = {"masks stored with loss set to the nearest class", "grey edges of masks cut at half"}
    assert set(done.changes) <= told


def test_f23_a_lossy_mask_among_good_ones_is_mended_like_them(
    tmp_path: Path, mended: Mended
) -> None:
    expected = [np.minimum(labels, 1) for labels in blobs(4, (128, 160))]
    spec = tiny.draw_masks(tmp_path / "data", [255 * labels for labels in expected])
    (tmp_path / "data/masks/00.png").unlink()
    tiny.save(tmp_path / "data/masks/00.jpg", 255 * expected[0], quality=90)
    done, index = mended(spec)
    assert not index.classes.threshold
    assert (labels_in(tmp_path / "out")[0] == expected[0]).mean() > 0.995
    assert len(done.changes["masks stored with loss set to the nearest class"].files) == 1


def test_f23_lossy_masks_of_indices_are_left_out(tmp_path: Path, mended: Mended) -> None:
    expected = tiny.truth(4, classes=5)
    spec = tiny.draw_masks(tmp_path / "data", expected)
    (tmp_path / "data/masks/02.png").unlink()
    tiny.save(tmp_path / "data/masks/02.jpg", expected[2])
    done, _ = mended(spec)
    (told,) = done.left_out["masks that cannot be mended"]
    assert "02.jpg was stored with loss, and its classes' values differ by as little as 1" in told
    assert done.splits == {"train": 3}


def test_f24_a_mask_with_a_value_of_no_class_is_left_out(tmp_path: Path, mended: Mended) -> None:
    masks = tiny.truth(3, classes=3)
    masks[1][0, 0] = 77
    spec = tiny.draw_masks(tmp_path / "data", masks)
    (tmp_path / "data" / "classes.txt").write_text("a\nb\nc\n")
    done, _ = mended(spec)
    assert "01.png holds undeclared value 77" in done.left_out["masks that cannot be mended"][0]


def test_declared_names_fit_masks_of_0_and_255(tmp_path: Path, mended: Mended) -> None:
    spec = tiny.draw_masks(tmp_path / "data", [255 * labels for labels in tiny.truth(3)])
    (tmp_path / "data" / "classes.txt").write_text("field\nroad\n")
    _, index = mended(spec)
    assert index.classes.names == ("field", "road")


def test_ignored_values_stay_ignored(tmp_path: Path, mended: Mended) -> None:
    masks = tiny.truth(3, classes=3)
    for mask in masks:
        mask[0] = 255
    spec = tiny.draw_masks(tmp_path / "data", masks)
    done, index = mended(spec)
    assert done.changes == {}
    assert index.classes.values == {0: 0, 1: 1, 2: 2, 255: IGNORE}
    again = repair(spec.with_option("ignore", (2, 255)), tmp_path / "out2")
    assert len(again.classes) == 2
    assert (labels_in(tmp_path / "out2")[0] == IGNORE).sum() == np.isin(masks[0], (2, 255)).sum()


def test_classes_without_names_are_called_alike_by_loading_and_by_mending(tmp_path: Path) -> None:
    mask = tmp_path / "mask.png"
    images.write_png(mask, np.zeros((8, 8, 3), np.uint8) + np.uint8([255, 0, 0]))
    declared = Declared(colors=("#ff0000", "#000000"))
    mended = scheme_from(declared, [survey(mask)])
    loaded = classes_from_masks([mask], colors=declared.colors)
    assert mended.classes.names == loaded.names
