"""Tuning files: what a range may be, and that all of it is checked before anything is trained."""

from collections.abc import Callable
from pathlib import Path

import pytest

import tiny
from pixelwright.errors import PixelwrightWarning, RecipeError
from pixelwright.recipe import Recipe
from pixelwright.study.ranges import Choices, Numbers, Tuning

Read = Callable[..., Tuning]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tiny.draw_folders(tmp_path_factory.mktemp("ranges"), count=4))


@pytest.fixture
def read(tmp_path: Path, data: str) -> Read:
    def of(ranges: str, head: str = "", **options: object) -> Tuning:
        path = tmp_path / "tune.toml"
        path.write_text(
            f'data = "{data}"\nmodel = "unet:width=8,depth=2"\n[train]\nlr = 0.01\n'
            f"[tune]\n{head}\n[ranges]\n{ranges}\n",
            encoding="utf-8",
        )
        return Tuning.read(path, **options)

    return of


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("[8, 64]", Numbers("model.width", 8, 64, whole=True)),
        ("{low = 8, high = 64, log = true}", Numbers("model.width", 8, 64, True, log=True)),
        # The highest that steps of 8 reach.
        ("{low = 8, high = 63, step = 8}", Numbers("model.width", 8, 56, True, step=8)),
        ("[8, 16, 32]", Choices("model.width", ("8", "16", "32"))),
        ("{choices = [8, 64]}", Choices("model.width", ("8", "64"))),
    ],
)
def test_ranges_are_read_as_they_are_written(
    read: Read, written: str, meant: Numbers | Choices
) -> None:
    assert read(f'"model.width" = {written}').ranges == (meant,)


def test_any_key_can_be_tuned_and_a_trial_sets_it(read: Read) -> None:
    tuning = read(
        '"model.upsample" = ["nearest", "transposed"]\n'
        '"augment.scale" = [[0.5, 2.0], [1.0, 1.0]]\n'
        '"augment.flip" = [true, false]\n'
        '"train.optimizer.weight_decay" = {low = 1e-4, high = 0.1, log = true}\n'
        'model = ["unet:depth=1", "unet:depth=3"]\n'
    )
    # A whole model comes before its options.
    assert tuning.ranges[0].key == "model"
    values = {
        "model": "unet:depth=3",
        "model.upsample": "transposed",
        "augment.scale": "[0.5, 2.0]",
        "augment.flip": "false",
        "train.optimizer.weight_decay": 0.0123,
    }
    found = tuning.recipe_with(values)
    assert str(found.model) == "unet:depth=3,upsample=transposed"
    assert found.augment.scale == (0.5, 2.0)
    assert not found.augment.flip
    assert str(found.train.optimizer) == "adamw:weight_decay=0.0123"


def test_tables_in_tables_are_keys_with_dots(read: Read) -> None:
    tuning = read("model = {width = [4, 8], depth = {low = 1, high = 3}}")
    assert {one.key for one in tuning.ranges} == {"model.width", "model.depth"}


def test_the_recipe_as_it_stands_is_a_trial_where_the_ranges_hold_it(read: Read) -> None:
    ranges = '"model.depth" = [1, 3]\nloss = ["dice", "cross-entropy"]\n'
    # Depth as written, loss by default, and the options of an optimiser by default.
    options = '"train.optimizer.weight_decay" = [0.0, 0.1]\n'
    assert read(ranges + options).as_it_stands() == {
        "loss": "cross-entropy",
        "model.depth": 2,
        "train.optimizer.weight_decay": pytest.approx(0.01),
    }
    assert read('"model.width" = [16, 32]').as_it_stands() is None
    assert read('"model.width" = {low = 5, high = 9, step = 2}').as_it_stands() is None


@pytest.mark.parametrize(
    ("ranges", "words"),
    [
        ('"model.widht" = [8, 64]', "Did you mean 'width'"),
        ('"model.width" = [0, 64]', "width=0"),
        ('loss = ["dice", "dise"]', "Did you mean 'dice'"),
        ('"model.width" = [64, 8]', "low must be below high"),
        ('"model.width" = [8]', "write .low, high."),
        ('"model.width" = 8', "write .low, high."),
        ('"train.lr" = {low = 0.0, high = 1.0, log = true}', "positive low"),
        ('"train.lr" = {low = 0.1, hihg = 1.0}', "Did you mean 'high'"),
        ('"train.lr" = {low = 0.1, high = 1.0, step = 2.0}', "does not fit"),
        ('loss = {choices = ["dice"]}', "two values or more"),
        ('loss = ["dice", "dice"]', "there twice"),
        ("seed = [0, 9]", "luck"),
        ('"data.root" = ["a", "b"]', "the same images"),
    ],
)
def test_a_range_that_cannot_be_is_refused(read: Read, ranges: str, words: str) -> None:
    with pytest.raises(RecipeError, match=words):
        read(ranges)


def test_everything_wrong_is_told_at_once(read: Read) -> None:
    with pytest.raises(RecipeError) as told:
        read('"model.widht" = [8, 64]\n"train.lr" = [2.0, 1.0]\nseed = [1, 2]')
    for word in ("widht", "train.lr", "seed"):
        assert word in str(told.value)


def test_a_wide_range_of_equal_differences_is_warned_of(read: Read) -> None:
    with pytest.warns(PixelwrightWarning, match="log = true"):
        read('"train.lr" = [0.0001, 0.1]')


def test_the_head_is_checked_and_what_is_given_goes_before_it(read: Read) -> None:
    one = '"model.depth" = [1, 3]'
    assert read(one).head.trials == 20
    assert read(one, "minutes = 5").head.trials is None
    assert read(one, "trials = 5", trials=7).head.trials == 7
    with pytest.raises(RecipeError, match="Did you mean 'trials'"):
        read(one, "trails = 5")
    with pytest.raises(RecipeError, match=r"tune\.pruning = 'mean'"):
        read(one, 'pruning = "mean"')


def test_train_says_which_command_tunes(read: Read, tmp_path: Path) -> None:
    read('"model.depth" = [1, 3]')
    with pytest.raises(RecipeError, match="pixelwright tune"):
        Recipe.read(tmp_path / "tune.toml")
    with pytest.raises(RecipeError, match="not what to tune"):
        read("")
