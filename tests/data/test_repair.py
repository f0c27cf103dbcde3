"""Mended copies: what is left out, turned and kept, and a source that stays as it was."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import tiny
from pixelwright import images
from pixelwright.data.check import check
from pixelwright.data.index import load
from pixelwright.data.repair import copy as repair_copy
from pixelwright.data.repair.copy import Repaired, repair
from pixelwright.errors import DataError, MachineError, PixelwrightWarning
from pixelwright.registry import Spec
from pixelwright.types import Index

Mended = Callable[[Spec], tuple[Repaired, Index]]


def splits_of(folder: Path, count: int = 3) -> Spec:
    for part, split in enumerate(("train", "val", "test")):
        for i in range(count):
            image, labels = tiny.scene(*tiny.SIZE, 2, 10 * part + i)
            tiny.save(folder / "images" / split / f"{split}{i}.png", image)
            tiny.save(folder / "masks" / split / f"{split}{i}.png", labels)
    return Spec("folders", {"root": folder})


def test_f35_copies_stay_once_and_where_they_are_scored(tmp_path: Path, mended: Mended) -> None:
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
    done, index = mended(spec)
    assert done.splits == {"train": 3, "val": 3, "test": 3}
    assert {why: len(files) for why, files in done.left_out.items()} == {
        "copies within a split": 1,
        "copies within test and train": 1,
        "copies within test and val": 1,
    }
    keys = {entry.key for entries in index.splits.values() for entry in entries}
    assert {"test1", "test2", "train1"} <= keys
    assert not keys & {"leak", "x"}


def test_parts_of_one_source_stay_where_they_are_scored(tmp_path: Path, mended: Mended) -> None:
    spec = splits_of(tmp_path / "data")
    lines = ["image,source"]
    for split in ("train", "val", "test"):
        lines += [f"images/{split}/{split}{i}.png,{'s' if i == 0 else split}" for i in range(3)]
    (tmp_path / "data" / "manifest.csv").write_text("\n".join(lines) + "\n")
    assert "parts of one" in check(load(spec)).problems[0]
    done, index = mended(spec)
    assert done.splits == {"train": 2, "val": 2, "test": 3}
    assert {entry.source for entry in index.splits["train"]} == {"train"}


def test_f28_what_has_no_partner_is_left_out(tmp_path: Path, mended: Mended) -> None:
    spec = tiny.draw_folders(tmp_path / "data")
    (tmp_path / "data" / "masks" / "02.png").unlink()
    (tmp_path / "data" / "images" / "04.jpg").unlink()
    with pytest.raises(DataError, match="--repair"):
        load(spec)
    done, _ = mended(spec)
    assert [Path(file).name for file in done.left_out["images without a mask"]] == ["02.jpg"]
    assert [Path(file).name for file in done.left_out["masks without an image"]] == ["04.png"]
    assert done.splits == {"train": 4}


def test_files_that_cannot_be_read_are_left_out_and_listed(tmp_path: Path, mended: Mended) -> None:
    spec = tiny.draw_folders(tmp_path / "data", count=8)
    held = tmp_path / "data"
    (held / "images/00.jpg").write_bytes(b"")
    (held / "masks/01.png").write_text("<html>")
    (held / "masks/02.png").write_bytes((held / "masks/02.png").read_bytes()[:-20])
    tiny.save(held / "masks/03.png", np.zeros((4, 4), np.uint8))
    done, _ = mended(spec)
    assert done.splits == {"train": 4}
    (empty,) = done.left_out["images that cannot be read"]
    assert "00.jpg is an empty file" in empty
    told = done.left_out["masks that cannot be read or do not fit"]
    assert [Path(text.split()[0]).name for text in told[:2]] == ["01.png", "02.png"]
    assert "64x48 pixels but its mask" in told[2]


def test_f06_pictures_that_exif_turns_are_written_upright(tmp_path: Path, mended: Mended) -> None:
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
    done, index = mended(spec)
    out = tmp_path / "out"
    np.testing.assert_equal(images.read_image(out / "images/train/train0.png"), upright)
    np.testing.assert_equal(images.raw_mask(out / "masks/train/train0.png"), drawn)
    turned = np.rot90(images.raw_mask(labels / "train1.png"), -1)
    np.testing.assert_equal(images.raw_mask(out / "masks/train/train1.png"), turned)
    assert check(index).rotated == 0
    assert len(done.changes["images turned upright, as EXIF says"].files) == 2
    assert len(done.changes["masks turned with their images, as EXIF says"].files) == 1


def test_f07_cmyk_and_transparent_pictures_become_rgb(tmp_path: Path, mended: Mended) -> None:
    spec = splits_of(tmp_path / "data")
    held = tmp_path / "data/images/train"
    pixels = Image.open(held / "train0.png")
    pixels.convert("CMYK").save(held / "train0.jpg")
    (held / "train0.png").unlink()
    clear = np.dstack([np.array(Image.open(held / "train1.png")), np.full(tiny.SIZE, 99, np.uint8)])
    tiny.save(held / "train1.png", clear)
    with pytest.warns(PixelwrightWarning, match="CMYK"):
        as_read = images.read_image(held / "train0.jpg")
    done, index = mended(spec)
    written = images.read_image(tmp_path / "out/images/train/train0.png")
    np.testing.assert_equal(written, as_read)
    assert check(index).warnings == ()
    assert set(done.changes) == {
        *("images in CMYK became RGB", "images with an alpha channel became RGB"),
    }


def test_another_layout_becomes_folders_with_its_classes(tmp_path: Path, mended: Mended) -> None:
    spec = tiny.draw_camvid(tmp_path / "data")
    before = check(load(spec))
    done, index = mended(spec)
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
    spec = tiny.draw_masks(tmp_path / "data", [255 * labels for labels in tiny.truth(6)])
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
    assert tiny.tree(tmp_path / "out") == tiny.tree(tmp_path / "whole")


def test_a_folder_that_is_not_free_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    spec = tiny.draw_masks(tmp_path / "data", [255 * labels for labels in tiny.truth(3)])
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
    spec = tiny.draw_masks(tmp_path / "data", tiny.truth(2))
    for path in (tmp_path / "data/masks").iterdir():
        fractions = np.asarray(Image.open(path)).astype(np.float32) / 2
        Image.fromarray(fractions).save(path.with_suffix(".tif"))
        path.unlink()
    with pytest.raises(DataError, match=r"2 masks that cannot be read.*\.tif holds fractions"):
        repair(spec, tmp_path / "out")


def test_what_was_done_is_written_down(tmp_path: Path) -> None:
    spec = tiny.draw_masks(tmp_path / "data", [255 * labels for labels in tiny.truth(3)])
    (tmp_path / "data/masks/01.png").write_text("<html>")
    done = repair(spec, tmp_path / "out")
    table = json.loads((tmp_path / "out" / "repair.json").read_text())
    assert table == {"source": f"folders:root={tmp_path / 'data'}", **done.to_json()}
    assert table["changed"]["masks of 0 and 255 became class indices"]["count"] == 2
    assert table["left_out"]["masks that cannot be read or do not fit"]["count"] == 1
