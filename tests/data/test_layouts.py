"""Contract of all layouts, and what is special to `folders` and `camvid`."""

import os
import shutil
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

import tiny
from pixelwright import images
from pixelwright.data.check import check
from pixelwright.data.counts import view
from pixelwright.data.index import layouts, load, load_for_training
from pixelwright.errors import DataError, PixelwrightWarning, RecipeError
from pixelwright.registry import Spec
from pixelwright.types import IGNORE, Entry, Index


@pytest.fixture(params=list(layouts))
def spec(request: pytest.FixtureRequest, tmp_path: Path) -> Spec:
    return tiny.LAYOUTS[request.param](tmp_path)


@pytest.fixture
def index(spec: Spec) -> Index:
    return load(spec)


def test_there_is_something_to_train_and_to_validate_on(index: Index) -> None:
    assert list(index.splits)[:2] == ["train", "val"]
    assert index.splits["train"]
    assert index.splits["val"]


def test_keys_name_one_entry(index: Index) -> None:
    for entries in index.splits.values():
        assert len({entry.key for entry in entries}) == len(entries)


def pixels_of(entry: Entry) -> np.ndarray:
    if entry.row is None:
        return images.read_image(entry.image)
    return images.read_row(entry.image, entry.row)


def test_every_target_decodes_to_declared_classes(index: Index) -> None:
    classes = index.classes
    assert len(classes.names) == len(set(classes.names)) == len(classes.colors)
    for entry in (entry for entries in index.splits.values() for entry in entries):
        if isinstance(entry.target, int):
            assert 0 <= entry.target < len(classes)
            assert pixels_of(entry).size > 0
            continue
        assert isinstance(entry.target, Path)
        target = view(images.read_mask(entry.target, classes), entry.window)
        image = view(images.read_image(entry.image), entry.window)
        assert target.size > 0
        assert target.shape == image.shape[:2]
        assert target.min() >= IGNORE
        assert target.max() < len(classes)


def test_windows_lie_inside_the_image(index: Index) -> None:
    for entry in (entry for entries in index.splits.values() for entry in entries):
        if entry.window is not None:
            top, left, height, width = entry.window
            total = images.size(entry.image)
            assert min(top, left) >= 0
            assert (top + height, left + width) <= total
            assert left + width <= total[1]


def test_splits_share_no_image_unless_a_guard_is_kept(index: Index) -> None:
    if index.guard is None:
        found = [{(e.image, e.row) for e in entries} for entries in index.splits.values()]
        assert all(a.isdisjoint(b) for a, b in combinations(found, 2))


def test_equal_specs_give_equal_indices(spec: Spec, index: Index) -> None:
    assert load(Spec.parse(str(layouts.resolve(spec)))) == index


def draw_split(images_folder: Path, masks_folder: Path, count: int, seed: int) -> None:
    for i in range(count):
        image, labels = tiny.scene(8, 9, 3, seed + i)
        tiny.save(images_folder / f"{i}.png", image)
        tiny.save(masks_folder / f"{i}.png", labels)


@pytest.mark.parametrize(
    ("image_folder", "mask_folder"),
    [
        ("{}/images", "{}/masks"),
        ("{}/img", "{}/Labels"),
        ("images/{}", "masks/{}"),
        ("img_dir/{}", "ann_dir/{}"),
        ("{}", "{}annot"),
        ("{}", "{}_labels"),
    ],
)
@pytest.mark.parametrize("val", ["val", "Valid", "validation"])
def test_the_usual_arrangements_are_known(
    tmp_path: Path, image_folder: str, mask_folder: str, val: str
) -> None:
    for seed, split in enumerate(("train", val, "test")):
        folders = (tmp_path / image_folder.format(split), tmp_path / mask_folder.format(split))
        draw_split(*folders, count=seed + 1, seed=10 * seed)
    index = load(Spec("folders", {"root": tmp_path}))
    counts = {split: len(entries) for split, entries in index.splits.items()}
    assert counts == {"train": 1, "val": 2, "test": 3}


def test_without_validation_folders_a_part_is_held_out(tmp_path: Path) -> None:
    spec = tiny.draw_folders(tmp_path, count=10)
    index = load(spec)
    assert [len(entries) for entries in index.splits.values()] == [8, 2]
    two = {"images": tmp_path / "images", "masks": tmp_path / "masks"}
    assert load(Spec("folders", two)) == index
    assert load(Spec("folders", {**two, "val": 0.5})).splits["val"] != index.splits["val"]
    assert len(load(spec.with_option("val", 0.5)).splits["val"]) == 5


def test_a_test_split_without_masks_is_not_listed(tmp_path: Path) -> None:
    draw_split(tmp_path / "train/images", tmp_path / "train/masks", 2, 0)
    draw_split(tmp_path / "test/images", tmp_path / "elsewhere", 2, 9)
    assert list(load(Spec("folders", {"root": tmp_path})).splits) == ["train", "val"]


def test_a_training_split_without_masks_is_an_error(tmp_path: Path) -> None:
    draw_split(tmp_path / "train/images", tmp_path / "elsewhere", 2, 9)
    with pytest.raises(DataError, match="has no masks"):
        load(Spec("folders", {"root": tmp_path}))


def test_validation_images_without_a_folder_of_masks_are_an_error(tmp_path: Path) -> None:
    draw_split(tmp_path / "images/train", tmp_path / "masks/train", 2, 0)
    draw_split(tmp_path / "images/val", tmp_path / "elsewhere", 2, 9)
    with pytest.raises(DataError, match="no such folder in"):
        load(Spec("folders", {"root": tmp_path}))


def test_an_unknown_arrangement_says_what_would_be_right(tmp_path: Path) -> None:
    tiny.save(tmp_path / "a.png", np.zeros((4, 4), np.uint8))
    with pytest.raises(DataError, match=r"no arrangement.*Give images="):
        load(Spec("folders", {"root": tmp_path}))


def test_one_image_and_its_mask_point_to_the_layout_pair(tmp_path: Path) -> None:
    pair = tiny.draw_pair(tmp_path)
    options = {"images": pair.options["image"], "masks": pair.options["mask"]}
    with pytest.raises(RecipeError, match=r"use the layout pair: pair:image=.*rgb\.png,mask=.*gt"):
        load(Spec("folders", options))


@pytest.mark.parametrize(
    ("given", "told"),
    [(("root", "images"), "not both"), (("images",), "both images"), ((), "needs root")],
)
def test_contradicting_folders_are_refused(
    tmp_path: Path, given: tuple[str, ...], told: str
) -> None:
    with pytest.raises(RecipeError, match=told):
        load(Spec("folders", dict.fromkeys(given, tmp_path)))


def test_f20_palette_masks_are_read_by_index(tmp_path: Path) -> None:
    spec = tiny.draw_folders(tmp_path)
    colors = ((9, 9, 9), (200, 0, 0), (0, 200, 0))
    for path in (tmp_path / "masks").iterdir():
        images.write_mask(path, images.raw_mask(path), colors)
    assert load(spec).classes.values == {0: 0, 1: 1, 2: 2}


def test_a_test_split_is_held_out_before_the_validation_split(tmp_path: Path) -> None:
    spec = tiny.draw_folders(tmp_path, count=10)
    splits = load(Spec("folders", {**spec.options, "test": 0.2, "val": 0.25})).splits
    assert {split: len(entries) for split, entries in splits.items()} == {
        "train": 6,
        "val": 2,
        "test": 2,
    }
    assert len({entry.key for entries in splits.values() for entry in entries}) == 10


def test_a_test_split_is_not_held_out_where_a_folder_is_one(tmp_path: Path) -> None:
    for split in ("train", "test"):
        tiny.draw_folders(tmp_path / split, count=3)
    with pytest.raises(RecipeError, match="has a folder for its test split"):
        load(Spec("folders", {"root": tmp_path, "test": 0.2}))


def test_f35_copies_of_an_image_are_held_out_together(tmp_path: Path) -> None:
    spec = tiny.draw_folders(tmp_path, count=4)
    for i in range(4):
        for folder, suffix in (("images", "jpg"), ("masks", "png")):
            source = tmp_path / folder / f"{i:02}.{suffix}"
            (tmp_path / folder / f"copy{i}.{suffix}").write_bytes(source.read_bytes())
    for seed in range(5):
        index = load(spec.with_option("seed", seed))
        content = [
            {images.fingerprint(entry.image) for entry in entries}
            for entries in index.splits.values()
        ]
        assert content[0].isdisjoint(content[1])


def test_f18_any_name_that_a_disk_holds_works(tmp_path: Path) -> None:
    names = ["two\nlines", 'it\'s "quoted"', "🛰", "Ä", os.fsdecode(b"caf\xe9"), "x" * 251]
    for i, name in enumerate(names):
        image, labels = tiny.scene(8, 9, seed=i)
        tiny.save(tmp_path / "images" / f"{name}.png", image)
        tiny.save(tmp_path / "masks" / f"{name}.png", labels)
    index = load(Spec("folders", {"root": tmp_path}))
    found = {entry.key for entries in index.splits.values() for entry in entries}
    assert found == set(names)
    assert check(index).problems == ()


def test_camvid_has_11_classes_and_ignores_what_is_unlabelled(tmp_path: Path) -> None:
    classes = load(tiny.draw_camvid(tmp_path)).classes
    assert classes.names == (
        *("sky", "building", "pole", "road", "pavement", "tree", "sign", "fence", "car"),
        *("pedestrian", "bicyclist"),
    )
    assert classes.values == {**{i: i for i in range(11)}, 11: IGNORE}
    assert classes.colors[3] == (128, 64, 128)


def test_camvid_without_its_test_split_is_whole(tmp_path: Path) -> None:
    spec = tiny.draw_camvid(tmp_path)
    (tmp_path / "test").rename(tmp_path / "other")
    assert list(load(spec).splits) == ["train", "val"]


def test_camvid_names_the_folders_that_are_missing(tmp_path: Path) -> None:
    spec = tiny.draw_camvid(tmp_path)
    (tmp_path / "valannot").rename(tmp_path / "val_annot")
    with pytest.raises(DataError, match="has no folder valannot"):
        load(spec)


DATA = Path(__file__).parents[2].parent / "shared" / "data"


@pytest.mark.skipif(not DATA.is_dir(), reason="the real images are not here")
def test_real_data_sets_load() -> None:
    camvid = load(Spec("camvid", {"root": DATA / "camvid"}))
    assert [len(entries) for entries in camvid.splits.values()] == [367, 101]
    drive = load(Spec("folders", {"root": DATA / "drive"}))
    assert [len(entries) for entries in drive.splits.values()] == [16, 4]
    with pytest.warns(PixelwrightWarning, match="cut at half"):
        roads = load(Spec("folders", {"root": DATA / "roads"}))
    assert [len(entries) for entries in roads.splits.values()] == [64, 16]
    assert roads.classes.threshold


def test_a_test_split_alone_can_be_evaluated_and_not_trained_on(tmp_path: Path) -> None:
    camvid = tiny.draw_camvid(tmp_path)
    for name in ("train", "trainannot", "val", "valannot"):
        shutil.rmtree(tmp_path / name)
    for spec in (camvid, Spec("folders", {"root": tmp_path})):
        index = load(spec)
        assert list(index.splits) == ["test"]
        assert "not to train" in check(index).warnings[0]
        with pytest.raises(DataError, match=r"no split 'train'"):
            load_for_training(spec)
