"""Mended copies: right labels, clean checks, and a source that stays as it was."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

import tiny
from pixelwright import images
from pixelwright.data.check import check
from pixelwright.data.class_file import Declared
from pixelwright.data.classes import classes_from_masks
from pixelwright.data.index import load
from pixelwright.data.repair import copy as repair_copy
from pixelwright.data.repair.copy import Repaired, repair
from pixelwright.data.repair.survey import scheme_from, survey
from pixelwright.errors import DataError, MachineError, PixelwrightWarning
from pixelwright.registry import Spec
from pixelwright.types import IGNORE, Index

COLORS = np.array([[0, 0, 0], [255, 255, 255], [128, 128, 128], [200, 30, 60]], np.uint8)
"""The third is what half of the first and half of the second look like."""


def draw(folder: Path, masks: list[np.ndarray], suffix: str = "png", **options: object) -> Spec:
    """A picture for each mask."""
    for i, mask in enumerate(masks):
        height, width = mask.shape[:2]
        pixels = np.random.default_rng(i).integers(0, 256, (height, width, 3), np.uint8)
        tiny.save(folder / "images" / f"{i:02}.png", pixels)
        tiny.save(folder / "masks" / f"{i:02}.{suffix}", mask, **options)
    return Spec("folders", {"root": folder})


def truth(count: int, classes: int = 2, size: tuple[int, int] = (48, 64)) -> list[np.ndarray]:
    return [tiny.scene(*size, classes, seed)[1] for seed in range(count)]


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


def mended(tmp_path: Path, spec: Spec) -> tuple[Repaired, Index]:
    """Repair a data set; the copy is clean, and the source is as before."""
    before = tree(tmp_path / "data")
    done = repair(spec, tmp_path / "out")
    assert tree(tmp_path / "data") == before
    index = load(Spec("folders", {"root": tmp_path / "out"}))
    assert check(index).problems == ()
    return done, index


def tree(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_masks_of_0_and_255_become_indices(tmp_path: Path) -> None:
    expected = truth(4)
    spec = draw(tmp_path / "data", [255 * labels for labels in expected])
    done, index = mended(tmp_path, spec)
    np.testing.assert_equal(labels_in(tmp_path / "out"), expected)
    assert index.classes.names == ("background", "foreground")
    assert not index.classes.threshold
    ((what, change),) = done.changes.items()
    assert what == "masks of 0 and 255 became class indices"
    assert (len(change.files), done.copied, done.splits) == (4, 4, {"train": 4})
    assert check(index).warnings == ()


def test_masks_of_0_and_1_beside_masks_of_0_and_255_mean_the_same(tmp_path: Path) -> None:
    expected = truth(4)
    masks = [labels * (255 if i % 2 else 1) for i, labels in enumerate(expected)]
    done, _ = mended(tmp_path, draw(tmp_path / "data", masks))
    np.testing.assert_equal(labels_in(tmp_path / "out"), expected)
    assert [len(change.files) for change in done.changes.values()] == [2]


def test_grey_edges_are_cut_at_half(tmp_path: Path) -> None:
    expected = [cv2.GaussianBlur(255 * labels, (0, 0), 1) for labels in truth(4)]
    spec = draw(tmp_path / "data", expected)
    done, _ = mended(tmp_path, spec)
    np.testing.assert_equal(labels_in(tmp_path / "out"), [grey >= 128 for grey in expected])
    change = done.changes["grey edges of masks cut at half"]
    assert change.pixels == sum(int(((grey > 0) & (grey < 255)).sum()) for grey in expected)
    assert check(load(Spec("folders", {"root": tmp_path / "out"}))).warnings == ()


def test_three_greys_with_smooth_edges_are_three_classes(tmp_path: Path) -> None:
    expected = [np.where(labels == 3, 2, labels) for labels in blobs(3)]
    greys = [np.array([0, 128, 255], np.uint8)[labels] for labels in expected]
    soft = [cv2.GaussianBlur(grey, (3, 3), 0.5) for grey in greys]
    done, index = mended(tmp_path, draw(tmp_path / "data", soft))
    assert len(index.classes) == 3
    for found, labels in zip(labels_in(tmp_path / "out"), expected, strict=True):
        # The edge of 0 and 255 may look like 128 exactly; beside it everything is right.
        assert (found == labels).mean() > 0.98
    assert set(done.changes) == {"edges set to a class"}


def test_colours_become_indices_and_keep_their_colours(tmp_path: Path) -> None:
    expected = blobs(3)
    done, index = mended(tmp_path, draw(tmp_path / "data", [COLORS[labels] for labels in expected]))
    order = [index.classes.colors.index(tuple(color)) for color in COLORS.tolist()]
    assert index.classes.colors[0] == (0, 0, 0)
    np.testing.assert_equal(
        labels_in(tmp_path / "out"), [np.array(order)[labels] for labels in expected]
    )
    assert list(done.changes) == ["colours of masks became class indices"]


def test_smooth_edges_of_colours_go_to_one_of_the_two_that_meet(tmp_path: Path) -> None:
    fine = blobs(3, size=(128, 192))
    soft = [
        cv2.resize(COLORS[labels], None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
        for labels in fine
    ]
    done, index = mended(tmp_path, draw(tmp_path / "data", soft))
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


def test_declared_colours_with_smooth_edges_are_taken_at_their_word(tmp_path: Path) -> None:
    expected = blobs(2)
    soft = [cv2.GaussianBlur(COLORS[labels], (3, 3), 0.4) for labels in expected]
    spec = draw(tmp_path / "data", soft)
    lines = ["0 0 0 sky", "255 255 255 road", "128 128 128 car", "200 30 60 bus"]
    (tmp_path / "data" / "classes.txt").write_text("\n".join(lines))
    _, index = mended(tmp_path, spec)
    assert index.classes.names == ("sky", "road", "car", "bus")
    for found, labels in zip(labels_in(tmp_path / "out"), expected, strict=True):
        assert (found == labels).mean() > 0.98


def test_a_straight_pole_with_smooth_edges_is_no_class_of_its_own(tmp_path: Path) -> None:
    expected = blobs(3)
    for labels in expected:
        labels[:, 10:12] = 3
    soft = [cv2.GaussianBlur(COLORS[labels], (3, 3), 0.5) for labels in expected]
    _, index = mended(tmp_path, draw(tmp_path / "data", soft))
    assert len(index.classes) == 4
    order = np.array([index.classes.colors.index(tuple(color)) for color in COLORS.tolist()])
    for found, labels in zip(labels_in(tmp_path / "out"), expected, strict=True):
        assert (found[:, 8:14] == order[labels[:, 8:14]]).all()


def test_a_colour_that_no_class_has_is_no_edge(tmp_path: Path) -> None:
    spec = draw(tmp_path / "data", [COLORS[labels] for labels in blobs(3)])
    options = {"names": ("a", "b", "c"), "colors": ("#000000", "#ffffff", "#808080")}
    with pytest.raises(DataError, match=r"pixels of the colour \(200, 30, 60\) in whole areas"):
        repair(Spec("folders", {**spec.options, **options}), tmp_path / "out")


def test_photographs_given_as_masks_are_refused(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (3, 48, 64, 3), np.uint8)
    with pytest.raises(DataError, match="they show no classes"):
        repair(draw(tmp_path / "data", list(noise)), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_f20_palette_masks_are_kept_with_their_palette(tmp_path: Path) -> None:
    colors = ((9, 9, 9), (200, 0, 0), (0, 200, 0))
    spec = draw(tmp_path / "data", truth(3, classes=3))
    for path in (tmp_path / "data" / "masks").iterdir():
        images.write_mask(path, images.raw_mask(path), colors)
    done, index = mended(tmp_path, spec)
    assert (done.copied, done.changes) == (6, {})
    assert tree(tmp_path / "out" / "masks") == tree(tmp_path / "data" / "masks")
    assert index.classes.colors == colors


@pytest.mark.parametrize("dtype", [np.uint8, np.int32])
def test_f21_indices_stored_otherwise_become_png(tmp_path: Path, dtype: type) -> None:
    expected = truth(3, classes=3)
    spec = draw(tmp_path / "data", [labels.astype(dtype) for labels in expected], "tif")
    done, _ = mended(tmp_path, spec)
    np.testing.assert_equal(labels_in(tmp_path / "out"), expected)
    assert list(done.changes) == ["values of masks became class indices, stored as PNG"]


@pytest.mark.parametrize("colored", [False, True])
def test_f23_masks_stored_with_loss_are_set_to_the_nearest_class(
    tmp_path: Path, colored: bool
) -> None:
    expected = [labels if colored else np.minimum(labels, 1) for labels in blobs(3, (128, 160))]
    colors = np.array([[0, 0, 0], [255, 255, 255], [20, 40, 220], [220, 40, 20]], np.uint8)
    masks = [colors[labels] if colored else 255 * labels for labels in expected]
    spec = draw(tmp_path / "data", masks, "jpg", quality=95, subsampling=0)
    done, index = mended(tmp_path, spec)
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


def test_f23_a_lossy_mask_among_good_ones_is_mended_like_them(tmp_path: Path) -> None:
    expected = [np.minimum(labels, 1) for labels in blobs(4, (128, 160))]
    spec = draw(tmp_path / "data", [255 * labels for labels in expected])
    (tmp_path / "data/masks/00.png").unlink()
    tiny.save(tmp_path / "data/masks/00.jpg", 255 * expected[0], quality=90)
    done, index = mended(tmp_path, spec)
    assert not index.classes.threshold
    assert (labels_in(tmp_path / "out")[0] == expected[0]).mean() > 0.995
    assert len(done.changes["masks stored with loss set to the nearest class"].files) == 1


def test_f23_lossy_masks_of_indices_are_left_out(tmp_path: Path) -> None:
    expected = truth(4, classes=5)
    spec = draw(tmp_path / "data", expected)
    (tmp_path / "data/masks/02.png").unlink()
    tiny.save(tmp_path / "data/masks/02.jpg", expected[2])
    done, _ = mended(tmp_path, spec)
    (told,) = done.left_out["masks that cannot be mended"]
    assert "02.jpg was stored with loss, and its classes' values differ by as little as 1" in told
    assert done.splits == {"train": 3}


def test_f24_a_mask_with_a_value_of_no_class_is_left_out(tmp_path: Path) -> None:
    masks = truth(3, classes=3)
    masks[1][0, 0] = 77
    spec = draw(tmp_path / "data", masks)
    (tmp_path / "data" / "classes.txt").write_text("a\nb\nc\n")
    done, _ = mended(tmp_path, spec)
    assert "01.png holds undeclared value 77" in done.left_out["masks that cannot be mended"][0]


def test_declared_names_fit_masks_of_0_and_255(tmp_path: Path) -> None:
    spec = draw(tmp_path / "data", [255 * labels for labels in truth(3)])
    (tmp_path / "data" / "classes.txt").write_text("field\nroad\n")
    _, index = mended(tmp_path, spec)
    assert index.classes.names == ("field", "road")


def test_ignored_values_stay_ignored(tmp_path: Path) -> None:
    masks = truth(3, classes=3)
    for mask in masks:
        mask[0] = 255
    spec = draw(tmp_path / "data", masks)
    done, index = mended(tmp_path, spec)
    assert done.changes == {}
    assert index.classes.values == {0: 0, 1: 1, 2: 2, 255: IGNORE}
    again = repair(spec.with_option("ignore", (2, 255)), tmp_path / "out2")
    assert len(again.classes) == 2
    assert (labels_in(tmp_path / "out2")[0] == IGNORE).sum() == np.isin(masks[0], (2, 255)).sum()


def splits_of(folder: Path, count: int = 3) -> Spec:
    for part, split in enumerate(("train", "val", "test")):
        for i in range(count):
            image, labels = tiny.scene(*tiny.SIZE, 2, 10 * part + i)
            tiny.save(folder / "images" / split / f"{split}{i}.png", image)
            tiny.save(folder / "masks" / split / f"{split}{i}.png", labels)
    return Spec("folders", {"root": folder})


def test_f35_copies_stay_once_and_where_they_are_scored(tmp_path: Path) -> None:
    spec = splits_of(tmp_path / "data")
    held = tmp_path / "data" / "images"
    labels = tmp_path / "data" / "masks"
    for name, of in (("train/again", "train/train0"), ("train/leak", "test/test1")):
        # The same pixels in another format: the bytes differ.
        pixels = images.read_image(held / f"{of}.png")
        tiny.save(held / f"{name}.webp", pixels, lossless=True)
        (labels / f"{name}.png").write_bytes((labels / f"{of}.png").read_bytes())
    (held / "val" / "x.png").write_bytes((held / "test" / "test2.png").read_bytes())
    (labels / "val" / "x.png").write_bytes((labels / "test" / "test2.png").read_bytes())
    found = check(load(spec))
    assert "same picture" in found.problems[0]
    done, index = mended(tmp_path, spec)
    assert done.splits == {"train": 3, "val": 3, "test": 3}
    assert {why: len(files) for why, files in done.left_out.items()} == {
        "copies within a split": 1,
        "copies within test and train": 1,
        "copies within test and val": 1,
    }
    keys = {entry.key for entries in index.splits.values() for entry in entries}
    assert {"test1", "test2", "train1"} <= keys
    assert not keys & {"leak", "x"}


def test_parts_of_one_source_stay_where_they_are_scored(tmp_path: Path) -> None:
    spec = splits_of(tmp_path / "data")
    lines = ["image,source"]
    for split in ("train", "val", "test"):
        lines += [f"images/{split}/{split}{i}.png,{'s' if i == 0 else split}" for i in range(3)]
    (tmp_path / "data" / "manifest.csv").write_text("\n".join(lines) + "\n")
    assert "parts of one" in check(load(spec)).problems[0]
    done, index = mended(tmp_path, spec)
    assert done.splits == {"train": 2, "val": 2, "test": 3}
    assert {entry.source for entry in index.splits["train"]} == {"train"}


def test_f28_what_has_no_partner_is_left_out(tmp_path: Path) -> None:
    spec = tiny.draw_folders(tmp_path / "data")
    (tmp_path / "data" / "masks" / "02.png").unlink()
    (tmp_path / "data" / "images" / "04.jpg").unlink()
    with pytest.raises(DataError, match="--repair"):
        load(spec)
    done, _ = mended(tmp_path, spec)
    assert [Path(file).name for file in done.left_out["images without a mask"]] == ["02.jpg"]
    assert [Path(file).name for file in done.left_out["masks without an image"]] == ["04.png"]
    assert done.splits == {"train": 4}


def test_files_that_cannot_be_read_are_left_out_and_listed(tmp_path: Path) -> None:
    spec = tiny.draw_folders(tmp_path / "data", count=8)
    held = tmp_path / "data"
    (held / "images/00.jpg").write_bytes(b"")
    (held / "masks/01.png").write_text("<html>")
    (held / "masks/02.png").write_bytes((held / "masks/02.png").read_bytes()[:-20])
    tiny.save(held / "masks/03.png", np.zeros((4, 4), np.uint8))
    done, _ = mended(tmp_path, spec)
    assert done.splits == {"train": 4}
    (empty,) = done.left_out["images that cannot be read"]
    assert "00.jpg is an empty file" in empty
    told = done.left_out["masks that cannot be read or do not fit"]
    assert [Path(text.split()[0]).name for text in told[:2]] == ["01.png", "02.png"]
    assert "64x48 pixels but its mask" in told[2]


def test_f06_pictures_that_exif_turns_are_written_upright(tmp_path: Path) -> None:
    spec = splits_of(tmp_path / "data")
    exif = Image.Exif()
    exif[0x0112] = 6
    held, labels = tmp_path / "data/images/train", tmp_path / "data/masks/train"
    for i in (0, 1):
        tiny.save(held / f"train{i}.png", images.read_image(held / f"train{i}.png"), exif=exif)
    upright = images.read_image(held / "train0.png")
    # One mask was drawn on the picture as people see it, the other on the stored pixels.
    drawn = np.ascontiguousarray(np.rot90(images.raw_mask(labels / "train0.png"), -1))
    tiny.save(labels / "train0.png", drawn)
    done, index = mended(tmp_path, spec)
    out = tmp_path / "out"
    np.testing.assert_equal(images.read_image(out / "images/train/train0.png"), upright)
    np.testing.assert_equal(images.raw_mask(out / "masks/train/train0.png"), drawn)
    turned = np.rot90(images.raw_mask(labels / "train1.png"), -1)
    np.testing.assert_equal(images.raw_mask(out / "masks/train/train1.png"), turned)
    assert check(index).rotated == 0
    assert len(done.changes["images turned upright, as EXIF says"].files) == 2
    assert len(done.changes["masks turned with their images, as EXIF says"].files) == 1


def test_f07_cmyk_and_transparent_pictures_become_rgb(tmp_path: Path) -> None:
    spec = splits_of(tmp_path / "data")
    held = tmp_path / "data/images/train"
    pixels = Image.open(held / "train0.png")
    pixels.convert("CMYK").save(held / "train0.jpg")
    (held / "train0.png").unlink()
    clear = np.dstack([np.array(Image.open(held / "train1.png")), np.full(tiny.SIZE, 99, np.uint8)])
    tiny.save(held / "train1.png", clear)
    with pytest.warns(PixelwrightWarning, match="CMYK"):
        as_read = images.read_image(held / "train0.jpg")
    done, index = mended(tmp_path, spec)
    written = images.read_image(tmp_path / "out/images/train/train0.png")
    np.testing.assert_equal(written, as_read)
    assert check(index).warnings == ()
    assert set(done.changes) == {
        *("images in CMYK became RGB", "images with an alpha channel became RGB"),
    }


def test_another_layout_becomes_folders_with_its_classes(tmp_path: Path) -> None:
    spec = tiny.draw_camvid(tmp_path / "data")
    before = check(load(spec))
    done, index = mended(tmp_path, spec)
    assert index.classes.names == load(spec).classes.names
    assert index.classes.colors == load(spec).classes.colors
    assert check(index).splits == before.splits  # every count, the ignored pixels too
    assert list(done.changes) == ["values of masks became class indices, stored as PNG"]


def test_cut_windows_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cuts windows from larger pictures"):
        repair(tiny.draw_pair(tmp_path / "data"), tmp_path / "out")


def test_a_copy_that_was_interrupted_is_gone_on_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = draw(tmp_path / "data", [255 * labels for labels in truth(6)])
    repair(spec, tmp_path / "whole")
    written: list[Path] = []
    real = repair_copy.write_bytes

    def full(path: Path, data: bytes) -> None:
        if len(written) == 3:
            raise MachineError("The disk is full.")
        written.append(path)
        real(path, data)

    monkeypatch.setattr(repair_copy, "write_bytes", full)
    with pytest.raises(MachineError):
        repair(spec, tmp_path / "out")
    stamps = {path: path.stat().st_mtime_ns for path in written}
    monkeypatch.setattr(repair_copy, "write_bytes", real)
    assert repair(spec, tmp_path / "out").splits == {"train": 6}
    assert {path: path.stat().st_mtime_ns for path in written} == stamps
    assert tree(tmp_path / "out") == tree(tmp_path / "whole")


def test_a_folder_that_is_not_free_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    spec = draw(tmp_path / "data", [255 * labels for labels in truth(3)])
    repair(spec, tmp_path / "out")
    with pytest.raises(DataError, match="out is not empty"):
        repair(spec, tmp_path / "out")
    for inside in (tmp_path / "data" / "mended", tmp_path, tmp_path / "data"):
        with pytest.raises(DataError, match="lie one in the other"):
            repair(spec, inside)
    begun = tmp_path / "begun"
    begun.mkdir()
    (begun / ".pixelwright-repair.json").write_text(json.dumps({"source": "x", "state": "y"}))
    with pytest.raises(DataError, match="the beginning of a copy of other data"):
        repair(spec, begun)
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="is a file"):
        repair(spec, tmp_path / "file")


def test_a_split_of_which_nothing_is_left_is_an_error(tmp_path: Path) -> None:
    spec = splits_of(tmp_path / "data", count=2)
    for path in (tmp_path / "data/images/val").iterdir():
        path.write_bytes(b"")
    with pytest.raises(DataError, match=r"Nothing is left of the split 'val'.*empty file"):
        repair(spec, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_f32_masks_of_fractions_alone_are_named(tmp_path: Path) -> None:
    spec = draw(tmp_path / "data", truth(2))
    for path in (tmp_path / "data/masks").iterdir():
        fractions = np.asarray(Image.open(path)).astype(np.float32) / 2
        Image.fromarray(fractions).save(path.with_suffix(".tif"))
        path.unlink()
    with pytest.raises(DataError, match=r"2 masks that cannot be read.*\.tif holds fractions"):
        repair(spec, tmp_path / "out")


def test_what_was_done_is_written_down(tmp_path: Path) -> None:
    spec = draw(tmp_path / "data", [255 * labels for labels in truth(3)])
    (tmp_path / "data/masks/01.png").write_text("<html>")
    done = repair(spec, tmp_path / "out")
    table = json.loads((tmp_path / "out" / "repair.json").read_text())
    assert table == {"source": f"folders:root={tmp_path / 'data'}", **done.to_json()}
    assert table["changed"]["masks of 0 and 255 became class indices"]["count"] == 2
    assert table["left_out"]["masks that cannot be read or do not fit"]["count"] == 1


def test_classes_without_names_are_called_alike_by_loading_and_by_mending(tmp_path: Path) -> None:
    mask = tmp_path / "mask.png"
    images.write_png(mask, np.zeros((8, 8, 3), np.uint8) + np.uint8([255, 0, 0]))
    declared = Declared(colors=("#ff0000", "#000000"))
    mended = scheme_from(declared, [survey(mask)])
    loaded = classes_from_masks([mask], colors=declared.colors)
    assert mended.classes.names == loaded.names
