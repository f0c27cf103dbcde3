"""What a recipe says of crops, and what becomes of it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tiny
from pixelwright.build.crops import training_crops
from pixelwright.data.index import load
from pixelwright.errors import DataError, PixelwrightWarning, RecipeError
from pixelwright.recipe import Recipe


def crops_of(recipe: Recipe) -> Any:
    return training_crops(recipe, load(recipe.data))


def recipe_of(data: object, **tables: dict[str, object]) -> Recipe:
    tables = {"train": {"crop": 32}, **tables}
    return Recipe.from_dict({"data": data, **tables})


@pytest.fixture
def folders(tmp_path: Path) -> Callable[..., Recipe]:
    """Posts of class 2 on squares of class 1, in every picture."""
    for i in range(4):
        mask = np.zeros((64, 64), np.uint8)
        mask[8:24, 8:24] = 1
        mask[10:30, 45:50] = 2
        tiny.save(tmp_path / "images" / f"{i}.png", np.stack([60 * mask] * 3, axis=2) + i)
        tiny.save(tmp_path / "masks" / f"{i}.png", mask)
    names = ["ground", "square", "post"]
    data = {"name": "folders", "root": str(tmp_path), "names": names}
    return lambda **tables: recipe_of(data, **tables)


def test_the_rarest_classes_are_pasted_unless_others_are_named(folders: Any) -> None:
    rare = crops_of(folders(augment={"copy_blob": 2}))
    named = crops_of(folders(augment={"copy_blob": 2, "copy_classes": ["square"]}))
    for source, label in ((rare, 2), (named, 1)):
        assert {one.label for p in range(12) for one in source.crop_at(p)[1]} == {label}


def test_half_of_the_crops_are_aimed_at_classes_evenly(folders: Any) -> None:
    source = crops_of(folders(train={"crop": 32, "class_aware": 0.5}))
    aims = [source.aim_at(p)[1] for p in range(400)]
    assert 160 < sum(aim is not None for aim in aims) < 240
    assert {aim.label for aim in aims if aim} == {0, 1, 2}


def test_crops_learnt_by_heart_are_left_as_they_are(folders: Any) -> None:
    plain = {"train": {"crop": 32, "overfit": 3}}
    full = {
        "train": {"crop": 32, "overfit": 3, "class_aware": 1},
        "augment": {"copy_blob": 2, "rotate": 9, "blur": 1, "cutout": 0.3},
    }
    one, other = crops_of(folders(**plain)), crops_of(folders(**full))
    for position in range(6):
        assert np.array_equal(one.crop_at(position)[0].image, other.crop_at(position)[0].image)


def test_f36_a_class_to_paste_that_is_unknown_names_the_nearest(folders: Any) -> None:
    with pytest.raises(RecipeError, match=r"copy_classes: No class is called 'pots'.*'post'"):
        crops_of(folders(augment={"copy_blob": 1, "copy_classes": ["post", "pots"]}))


def test_f40_objects_of_other_images_need_other_images(tmp_path: Path) -> None:
    tiny.draw_folders(tmp_path, count=2)
    with pytest.raises(DataError, match=r"other training images, but there is only one, .*\.jpg"):
        crops_of(recipe_of(f"folders:root={tmp_path}", augment={"copy_blob": 0.5}))


def test_classes_without_objects_are_told_and_left_out(folders: Any) -> None:
    names = {"copy_blob": 1, "copy_classes": ["ground", "post"]}
    with pytest.warns(PixelwrightWarning, match="no object of ground that"):
        source = crops_of(folders(augment=names))
    assert {one.label for p in range(9) for one in source.crop_at(p)[1]} == {2}
    with pytest.raises(DataError, match="no object of ground that"):
        crops_of(folders(augment={"copy_blob": 1, "copy_classes": ["ground"]}))


@pytest.mark.parametrize(
    ("augment", "words"),
    [
        ({"copy_blob": 1, "rotate": 90}, "copy_place = 'anywhere'"),
        ({"copy_blob": 1, "flip_vertical": True}, "copy_place = 'anywhere'"),
        ({"jpeg": 101}, "jpeg = 101"),
        ({"cutout": 1.0}, "cutout = 1"),
        ({"copy_blob": -1}, "copy_blob = -1"),
        ({"copy_classes": ["a", "b", "a"]}, "'a' more than once"),
        ({"copy_blobs": 1}, "Did you mean 'copy_blob'"),
    ],
)
def test_f40_settings_that_contradict_each_other_are_refused(
    augment: dict[str, object], words: str
) -> None:
    with pytest.raises(RecipeError, match=words):
        Recipe.from_dict({"data": "camvid:root=x", "augment": augment})


def test_what_is_not_used_may_be_set_for_a_study() -> None:
    table = {"copy_blob": 0, "copy_classes": ["a"], "copy_place": "anywhere", "rotate": 90}
    recipe = Recipe.from_dict({"data": "camvid:root=x", "augment": table})
    assert Recipe.from_dict(recipe.to_dict()) == recipe
    assert recipe.override(["augment.copy_blob=0.5"]).augment.copy_classes == ("a",)
