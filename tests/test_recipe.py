import re
from pathlib import Path

import pytest

from pixelwright.errors import RecipeError
from pixelwright.recipe import Recipe
from pixelwright.registry import Spec

TEXT = """
data = "camvid:root=data/camvid"
model = "unet:width=16,depth=3"
loss = "cross-entropy + 0.5*dice"
[train]
epochs = 12
optimizer = "sgd:momentum=0.8"
[augment]
scale = [0.5, 2.0]
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "recipe.toml"
    path.write_text(text)
    return path


def test_a_recipe_comes_back_as_it_was_written(tmp_path: Path) -> None:
    recipe = Recipe.read(write(tmp_path, TEXT))
    assert recipe.model == Spec("unet", {"width": "16", "depth": "3"})
    assert Recipe.read(write(tmp_path, recipe.to_toml())) == recipe


def test_only_differences_from_the_defaults_are_written(tmp_path: Path) -> None:
    recipe = Recipe.read(write(tmp_path, 'data = "camvid:root=x"\n[train]\nepochs = 30\n'))
    assert recipe.to_toml() == 'data = "camvid:root=x"\n'


def test_options_that_would_be_misread_are_written_as_a_table(tmp_path: Path) -> None:
    odd = tmp_path / "a,masks=b"
    recipe = Recipe.from_dict({"data": Spec("camvid", {"root": odd})})
    assert Recipe.read(write(tmp_path, recipe.to_toml())).data.options["root"] == str(odd)


def test_overrides_reach_specs_sections_and_keys() -> None:
    recipe = Recipe.from_dict({"data": "camvid:root=x"}).override(
        ["model.width=32", "train.lr=3e-4", "train.optimizer.beta1=0.8", "loss=dice", "tile=256"]
    )
    assert recipe.model.options == {"width": "32"}
    assert recipe.train.lr == 3e-4
    assert recipe.train.optimizer == Spec("adamw", {"beta1": "0.8"})
    assert recipe.loss == "dice"
    assert recipe.tile == 256


def test_a_length_set_later_takes_the_place_of_another() -> None:
    recipe = Recipe.from_dict({"data": "camvid:root=x", "train": {"minutes": 20}})
    shorter = recipe.override(["train.epochs=3"])
    assert (shorter.train.minutes, shorter.train.epochs) == (None, 3)


def test_f36_unknown_keys_get_the_nearest_one(tmp_path: Path) -> None:
    path = write(tmp_path, 'data = "camvid:root=x"\nmodle = "unet"\n[train]\nepoch = 3\n')
    with pytest.raises(RecipeError) as error:
        Recipe.read(path)
    assert "Did you mean 'model'?" in str(error.value)
    assert "Did you mean 'epochs'?" in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("train.lr=nan", "train.lr"),
        ("train.lr=-1", "greater than 0"),
        ("train.lr=0", "greater than 0"),
        ("train.batch_size=0", "greater than or equal to 1"),
        ("train.batch_size=many", "valid integer"),
        ("train.epochs=1.5", "integer"),
        ("model.width=0", "greater than or equal to 1"),
        ("model.upsample=cubic", "nearest"),
        ("channels=2", "1 or 3"),
        ("augment.scale=[2, 1]", "low then high"),
        ("loss=focal:gamma=-1", "gamma"),
        ("device=gpu", "device"),
    ],
)
def test_f37_values_out_of_range_are_refused_with_the_range(setting: str, said: str) -> None:
    with pytest.raises(RecipeError, match=re.escape(said)):
        Recipe.from_dict({"data": "camvid:root=x"}).override([setting])


def test_everything_wrong_is_told_at_once() -> None:
    with pytest.raises(RecipeError) as error:
        Recipe.from_dict({"data": "camvid:root=x"}).override(
            ["model=unt", "loss=dise", "train.lr=0", "train.schedule=cosine"]
        )
    said = str(error.value)
    assert all(word in said for word in ("'unet'", "'dice'", "train.lr", "'warmup-cosine'"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('data = "a"\ndata = "b"\n', "line 2"),
        ("data = \n", "line 1"),
        ('data = "camvid:root=x"\n[train\n', "line 2"),
    ],
)
def test_f38_bad_syntax_names_line_and_column(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(RecipeError, match=said) as error:
        Recipe.read(write(tmp_path, text))
    assert "column" in str(error.value)


def test_f38_a_recipe_is_never_executed(tmp_path: Path) -> None:
    path = write(tmp_path, "data = \"__import__('os').abort()\"\n")
    with pytest.raises(RecipeError, match="no layout is called"):
        Recipe.read(path)


def test_f39_a_recipe_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="no recipe at"):
        Recipe.read(tmp_path / "none.toml")


@pytest.mark.parametrize(
    "train", [{"epochs": 3, "minutes": 1}, {"steps": 3, "minutes": 1}, {"steps": 3, "epochs": 2}]
)
def test_f40_two_lengths_contradict_each_other(train: dict[str, float]) -> None:
    with pytest.raises(RecipeError, match="one of epochs, steps and minutes"):
        Recipe.from_dict({"data": "camvid:root=x", "train": train})


def test_f40_a_crop_larger_than_the_tile_is_refused() -> None:
    with pytest.raises(RecipeError, match=r"train\.crop = 512 is larger than tile = 256"):
        Recipe.from_dict({"data": "camvid:root=x", "tile": 256, "train": {"crop": 512}})


def test_f40_more_parts_than_images_in_a_batch_are_refused() -> None:
    with pytest.raises(RecipeError, match="more parts than it has images"):
        Recipe.from_dict({"data": "camvid:root=x", "train": {"accumulate": 9}})
