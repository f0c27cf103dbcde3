"""A study file: what it makes of a grid, and what it refuses before any training."""

from collections.abc import Callable
from pathlib import Path

import pytest

import tiny
from pixelwright.errors import DataError, RecipeError
from pixelwright.recipe import Recipe
from pixelwright.study.plan import Study

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    spec = tiny.draw_folders(tmp_path / "data", count=4)

    def to_file(text: str, head: str = "seeds = [0, 1]") -> Path:
        path = tmp_path / "widths.toml"
        path.write_text(
            f'data = "{spec}"\nmodel = "unet:width=4,depth=1"\n[train]\nsteps = 3\ncrop = 32\n'
            f'[study]\nout = "{tmp_path / "out"}"\n{head}\n{text}',
            encoding="utf-8",
        )
        return path

    return to_file


def test_a_grid_is_the_product_of_its_lists_and_the_seeds(write: Write) -> None:
    study = Study.read(write('[grid]\nloss = ["dice", "focal"]\n"model.width" = [4, 8]'))
    assert study.cases == ("dice, width=4", "dice, width=8", "focal, width=4", "focal, width=8")
    assert len(study.cells) == 8
    # All cases of the first seed come first.
    assert [cell.seed for cell in study.cells] == [0] * 4 + [1] * 4
    assert str(study.cells[1].recipe.model) == "unet:width=8,depth=1"
    assert study.cells[1].recipe.loss == "dice"


def test_keys_may_be_quoted_or_not_and_values_of_any_kind(write: Write) -> None:
    text = (
        "[grid]\naugment.scale = [[1.0, 1.0], [0.5, 2.0]]\naugment.flip = [true, false]\n"
        '"train.schedule.patience" = [2]\ntrain.schedule = ["plateau"]\n'
        'model = [{name = "unet", depth = 1}, "fcnn"]'
    )
    cells = Study.read(write(text, "seeds = [5]")).cells
    assert len(cells) == 8
    last = cells[-1].recipe
    assert last.augment.scale == (0.5, 2.0)
    assert last.augment.flip is False
    assert str(last.train.schedule) == "plateau:patience=2"
    assert last.model.name == "fcnn"
    assert last.seed == 5


def test_settings_that_go_together_are_named_cases(write: Write) -> None:
    text = (
        '[[case]]\nname = "small"\nmodel.width = 2\n[[case]]\nname = "large"\nmodel.width = 8\n'
        "train.lr = 0.1\n"
    )
    study = Study.read(write(text))
    assert study.cases == ("small", "large")
    assert study.cells[1].recipe.train.lr == 0.1
    both = Study.read(write(text + '[grid]\nloss = ["dice", "focal"]'))
    assert both.cases == ("small, dice", "small, focal", "large, dice", "large, focal")


def test_folders_are_told_by_case_and_seed(write: Write, tmp_path: Path) -> None:
    text = '[grid]\nloss = ["dice", "cross-entropy + 0.5*dice", "cross-entropy + 0.5/dice"]'
    with pytest.raises(RecipeError, match=r"0\.5/dice"):
        Study.read(write(text))
    study = Study.read(write('[grid]\nloss = ["dice", "cross-entropy + dice"]'), out=tmp_path / "o")
    assert [cell.run.path.name for cell in study.cells[:2]] == [
        "dice-seed0",
        "cross-entropy-dice-seed0",
    ]
    assert study.cells[0].run.path.parent == tmp_path / "o"


def test_names_that_look_alike_as_folders_stay_apart(write: Write) -> None:
    text = '[[case]]\nname = "a b"\n[[case]]\nname = "a-b"\nmodel.width = 8'
    folders = {cell.run.path.name for cell in Study.read(write(text)).cells}
    assert len(folders) == 4


def test_f36_everything_wrong_in_any_case_is_said_before_any_training(write: Write) -> None:
    text = '[grid]\nmodel.upsample = ["nearest", "nearst"]\nloss = ["dice", "dise"]'
    with pytest.raises(RecipeError) as error:
        Study.read(write(text))
    said = str(error.value)
    assert "nearst" in said
    assert "'dise'" in said
    assert "Did you mean 'dice'" in said
    assert "\n" not in said


@pytest.mark.parametrize(
    ("text", "head", "match"),
    [
        ("[grid]\nloss = ['dice']", "sedes = [1]", "Did you mean 'seeds'"),
        ("[grid]\nloss = ['dice']", "seeds = []", "seeds"),
        ("[grid]\nloss = ['dice']", "seeds = [1, 1]", "different"),
        ("[grid]\nloss = ['dice']", "seeds = [-1]", "negative"),
        ("[grid]\nloss = ['dice']", "seeds = [1]\nscore = 'iou'", "mean_iou"),
        ("[grid]\nloss = ['dice']", "seeds = [1]\nbaseline = 'dise'", "Did you mean 'dice'"),
        ("[grid]\nloss = 'dice'", "seeds = [1]", "must be a list"),
        ("[grid]\nloss = []", "seeds = [1]", "must be a list"),
        ("[grid]\nloss = ['dice', 'dice']", "seeds = [1]", "two cases are called 'dice'"),
        ("[grid]\nseed = [1, 2]", "seeds = [1]", "seed cannot be varied"),
        ("[grid]\nmodel.depth = [1]\nmodel.width = [4, '4']", "seeds = [1]", "the same recipe"),
        ("[[case]]\nmodel.width = 2", "seeds = [1]", "needs a name"),
        ("", "seeds = [1]", "nothing is varied"),
    ],
)
def test_f37_a_study_that_cannot_be_is_refused(
    write: Write, text: str, head: str, match: str
) -> None:
    with pytest.raises(RecipeError, match=match):
        Study.read(write(text, head))


def test_a_recipe_is_no_study_and_a_study_no_recipe(write: Write, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="pixelwright compare"):
        Recipe.read(write("[grid]\nloss = ['dice', 'focal']"))
    single = tmp_path / "single.toml"
    single.write_text('data = "pair:image=a,mask=b"', encoding="utf-8")
    with pytest.raises(RecipeError, match="pixelwright train"):
        Study.read(single)
    with pytest.raises(RecipeError, match="There is no recipe at"):
        Study.read(tmp_path / "absent.toml")


def test_a_seed_beside_the_seeds_is_refused(write: Write) -> None:
    path = write("[grid]\nloss = ['dice', 'focal']")
    with pytest.raises(RecipeError, match="seed is set beside"):
        Study.read(path, ["seed=3"])
    assert Study.read(path, ["train.lr=0.1"]).cells[0].recipe.train.lr == 0.1


def test_f39_data_that_is_not_there_is_said_before_any_training(write: Write) -> None:
    study = Study.read(write("[grid]\nloss = ['dice', 'focal']"), ["data=folders:root=nowhere"])
    with pytest.raises(DataError, match="nowhere"):
        study.check()


def test_cases_that_would_be_scored_on_other_images_are_refused(
    write: Write, tmp_path: Path
) -> None:
    other = tiny.draw_folders(tmp_path / "other", count=9)
    path = write(f'[grid]\ndata = ["folders:root={tmp_path / "data"}", "{other}"]')
    with pytest.raises(DataError, match="cannot be compared"):
        Study.read(path).check()
