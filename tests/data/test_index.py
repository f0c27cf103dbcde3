from pathlib import Path

import numpy as np
import pytest

import tiny
from pixelwright.data.index import hold_out, load, pair_by_name, with_sources
from pixelwright.errors import DataError, RecipeError
from pixelwright.registry import Spec
from pixelwright.types import Entry

PIXELS = np.zeros((4, 4), np.uint8)


def draw(folder: Path, *names: str) -> Path:
    for name in names:
        tiny.save(folder / name, PIXELS)
    return folder


def keys(images: Path, masks: Path) -> dict[str, str]:
    return {image.name: mask.name for _, image, mask in pair_by_name(images, masks)}


def test_a_mask_has_its_images_name_and_any_suffix(tmp_path: Path) -> None:
    images = draw(tmp_path / "images", "a.jpg", "b.PNG", "c.webp")
    masks = draw(tmp_path / "masks", "c.png", "B.png", "a.bmp")
    assert keys(images, masks) == {"a.jpg": "a.bmp", "b.PNG": "B.png", "c.webp": "c.png"}


def test_hidden_files_and_other_files_are_passed_over(tmp_path: Path) -> None:
    images = draw(tmp_path / "images", "a.png", ".hidden.png")
    masks = draw(tmp_path / "masks", "a.png")
    (images / "Thumbs.db").write_bytes(b"?")
    (masks / "notes.txt").write_text("?")
    assert keys(images, masks) == {"a.png": "a.png"}


@pytest.mark.parametrize(
    ("image", "mask"),
    [
        ("{}.png", "{}_mask.png"),
        ("{}.png", "{}_L.png"),
        ("{}.png", "mask_{}.png"),
        ("{}_sat.png", "{}_mask.png"),
        ("image_{}.png", "gt-{}.png"),
        ("{}_training.png", "{}_manual1.png"),
        ("x_{}_leftImg8bit.png", "x_{}_gtFine_labelIds.png"),
    ],
)
def test_one_addition_to_all_names_of_masks_is_taken_off(
    tmp_path: Path, image: str, mask: str
) -> None:
    stems = ["1", "2", "11", "21"]
    images = draw(tmp_path / "images", *(image.format(stem) for stem in stems))
    masks = draw(tmp_path / "masks", *(mask.format(stem) for stem in stems))
    assert keys(images, masks) == {image.format(s): mask.format(s) for s in stems}


def test_names_without_anything_in_common_are_an_error_with_an_example_of_each(
    tmp_path: Path,
) -> None:
    images, masks = draw(tmp_path / "i", "cat.png", "dog.png"), draw(tmp_path / "m", "7.png")
    with pytest.raises(DataError, match=r"names are like cat\.png and 7\.png"):
        pair_by_name(images, masks)


def test_numbers_are_no_addition_to_a_name(tmp_path: Path) -> None:
    images, masks = draw(tmp_path / "i", "1.png", "2.png"), draw(tmp_path / "m", "11.png", "12.png")
    with pytest.raises(DataError, match="has a mask"):
        pair_by_name(images, masks)


@pytest.mark.parametrize("clash", [("a.jpg", "a.png"), ("A.png", "a.png")])
def test_f17_names_that_differ_in_suffix_or_case_alone_are_both_told(
    tmp_path: Path, clash: tuple[str, str]
) -> None:
    images, masks = draw(tmp_path / "images", *clash), draw(tmp_path / "masks", "a.png")
    with pytest.raises(DataError, match=f"both {clash[0]} and {clash[1]}"):
        pair_by_name(images, masks)
    with pytest.raises(DataError, match=f"both {clash[0]} and {clash[1]}"):
        pair_by_name(masks, images)


def test_f28_missing_masks_and_orphan_masks_are_counted_and_the_first_3_named(
    tmp_path: Path,
) -> None:
    images = draw(tmp_path / "images", *(f"{i}.png" for i in range(8)))
    masks = draw(tmp_path / "masks", *(f"{i}.png" for i in range(5, 9)))
    with pytest.raises(DataError) as error:
        pair_by_name(images, masks)
    text = str(error.value)
    assert f"5 of 8 images in {images} have no mask in {masks}: 0.png, 1.png, 2.png and 2" in text
    assert f"1 of 4 masks in {masks} have no image in {images}: 8.png." in text


def test_a_folder_is_not_its_own_masks(tmp_path: Path) -> None:
    images = draw(tmp_path / "images", "a.png")
    with pytest.raises(DataError, match="same folder"):
        pair_by_name(images, images)


def test_a_folder_without_images_says_what_it_holds(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    with pytest.raises(DataError, match="holds no image, only inner"):
        pair_by_name(tmp_path, tmp_path / "inner")


def entries(*sources: str) -> list[Entry]:
    return [
        Entry(str(i), Path(f"{i}.png"), Path(f"m{i}.png"), source=source)
        for i, source in enumerate(sources)
    ]


@pytest.mark.parametrize(
    ("count", "fraction", "held"), [(10, 0.2, 2), (3, 0.2, 1), (2, 0.9, 1), (10, 0.25, 3)]
)
def test_the_fraction_is_held_out_and_each_side_keeps_one(
    count: int, fraction: float, held: int
) -> None:
    every = entries(*[""] * count)
    train, val = hold_out(every, fraction, seed=0)
    assert len(val) == held
    assert sorted([*train, *val], key=every.index) == every


def test_holding_out_depends_on_names_and_seed_but_not_on_order() -> None:
    every = entries(*[""] * 30)
    _, val = hold_out(every, 0.2, seed=1)
    assert {e.key for e in hold_out(every[::-1], 0.2, seed=1)[1]} == {e.key for e in val}
    assert {e.key for e in hold_out(every, 0.2, seed=2)[1]} != {e.key for e in val}
    # Pinned, so that a recipe means the same split in every release.
    assert [e.key for e in val] == ["0", "1", "3", "11", "18", "20"]


def test_f35_entries_of_one_source_stay_together() -> None:
    every = entries(*"aaaabbbbccccdddd")
    for seed in range(10):
        train, val = hold_out(every, 0.25, seed)
        assert len(val) == 4
        assert {e.source for e in train}.isdisjoint(e.source for e in val)


def test_sources_larger_than_the_fraction_still_leave_both_splits_something() -> None:
    train, val = hold_out(entries(*"aaaaaabbb"), 0.1, seed=0)
    assert {e.source for e in val} == {"b"}
    assert {e.source for e in train} == {"a"}


def test_f35_images_with_the_same_content_get_one_source(tmp_path: Path) -> None:
    paths = [tmp_path / f"{name}.png" for name in "abc"]
    for path, content in zip(paths, (b"same", b"else", b"same"), strict=True):
        path.write_bytes(content)
    found = with_sources([Entry(path.stem, path, None) for path in paths])
    assert [entry.source for entry in found] == ["a", "", "a"]


def test_one_picture_alone_points_to_the_layout_pair() -> None:
    with pytest.raises(DataError, match="layout 'pair'"):
        hold_out(entries("a", "a"), 0.5, seed=0)


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.1, 2.0])
def test_a_fraction_that_empties_a_split_is_refused(fraction: float) -> None:
    with pytest.raises(RecipeError, match="leave a split empty"):
        hold_out(entries("", ""), fraction, seed=0)


def test_f39_a_missing_path_is_named_with_its_option_and_what_is_near(tmp_path: Path) -> None:
    draw(tmp_path / "images", "a.png")
    spec = Spec("folders", {"images": tmp_path / "images", "masks": tmp_path / "maks"})
    with pytest.raises(DataError) as error:
        load(spec)
    assert f"masks={tmp_path / 'maks'} of layout folders does not exist" in str(error.value)
    assert f"{tmp_path} exists and holds images." in str(error.value)


def test_f39_a_path_below_a_file_is_told(tmp_path: Path) -> None:
    image = tiny.save(tmp_path / "a.png", PIXELS)
    with pytest.raises(DataError, match=r"mask=.* does not exist.*is no readable folder"):
        load(Spec("pair", {"image": image, "mask": image / "b.png"}))


def test_an_unknown_layout_is_refused() -> None:
    with pytest.raises(RecipeError, match="Did you mean 'camvid'"):
        load(Spec("canvid"))
