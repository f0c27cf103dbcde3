"""The exercises run from top to bottom, on small files in the true layouts."""

import tomllib
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

import tiny
from pixelwright.build.labels import check_task
from pixelwright.cli import main
from pixelwright.data.index import load, load_for_training
from pixelwright.models import models
from pixelwright.recipe import Recipe
from pixelwright.registry import Spec
from pixelwright.study.plan import Study

ROOT = Path(__file__).parents[1]
EXERCISES = ROOT / "exercises"
CITIES = (
    *(("train", city) for city in ("aachen", "bochum", "bremen", "weimar")),
    *(("val", city) for city in ("frankfurt", "lindau", "munster")),
)
NOTEBOOKS = sorted(EXERCISES.glob("*/*.ipynb"))
TABLES = {
    path: tomllib.loads(path.read_text())
    for path in sorted([*EXERCISES.glob("*/*.toml"), *ROOT.glob("recipes/*.toml")])
}
CIFAR100 = [path for path in TABLES if "cifar100" in path.relative_to(ROOT).as_posix()]
TRAINED = [
    path
    for path, table in TABLES.items()
    if not {"study", "ranges"} & set(table) and path.name.startswith(("cityscapes", "voc", "fcn"))
]


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Cityscapes cut into patches, VOC and CIFAR-100, where the recipes look for them."""
    home = tmp_path_factory.mktemp("exercises")
    spec = tiny.draw_cityscapes(home / "cityscapes", count=1, cities=CITIES)
    out = home / "data" / "cityscapes-patches"
    assert main(["data", "patches", str(spec), "--out", str(out), "--size", "32"]) == 0
    tiny.draw_voc2012(home / "data" / "voc2012")
    tiny.draw_cifar100(home / "data" / "cifar100")
    return home


@pytest.fixture(autouse=True)
def small(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(home)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("EXERCISE_STEPS", "2")
    monkeypatch.setenv("EXERCISE_SEEDS", "1")
    yield


@pytest.mark.parametrize("path", TABLES, ids=name)
def test_every_recipe_and_study_is_valid(path: Path) -> None:
    table = TABLES[path]
    if "study" in table:
        assert len(Study.read(str(path)).cases) > 1
    else:
        Recipe.from_dict({key: value for key, value in table.items() if key != "ranges"})


def cases(path: Path) -> list[Recipe]:
    """A recipe, or those of a study with its first seed."""
    if "study" not in TABLES[path]:
        return [Recipe.from_dict(TABLES[path])]
    study = Study.read(str(path))
    return [cell.recipe for cell in study.cells[: len(study.cases)]]


@pytest.mark.parametrize("path", CIFAR100, ids=name)
def test_every_case_of_cifar100_fits_the_data_and_builds(path: Path) -> None:
    if "study" in TABLES[path]:
        Study.read(str(path)).check()
    for recipe in cases(path):
        found = load_for_training(recipe.data)
        check_task(recipe, found)
        models.build(recipe.model, classes=len(found.classes), channels=recipe.channels)


def test_what_cifar100_starts_from_is_made_by_another_recipe() -> None:
    made, wanted = set(), set()
    for path in CIFAR100:
        if "study" in TABLES[path]:
            made |= {cell.run.path for cell in Study.read(str(path)).cells}
        else:
            made.add(Path("runs", TABLES[path].get("name", path.stem)))
        given = [recipe.model.options.get("weights", "none") for recipe in cases(path)]
        wanted |= {Path(str(weights)) for weights in given if weights != "none"}
    assert wanted
    assert wanted <= made


def test_the_patches_are_those_of_the_exercise(home: Path) -> None:
    index = load(Spec("folders", {"root": home / "data" / "cityscapes-patches"}))
    assert set(index.splits) == {"train", "val", "test"}
    small = {"root": home / "data" / "cityscapes-patches", "train_split": "train_small"}
    held = load(Spec("folders", small)).splits["train"]
    assert 0 < len(held) < len(index.splits["train"])


@pytest.mark.slow
@pytest.mark.parametrize("path", TRAINED, ids=name)
def test_recipes_train_from_end_to_end(path: Path, tmp_path: Path) -> None:
    settings = ["train.steps=2", "train.crop=32", "train.batch_size=2", "train.optimizer=sgd"]
    if "weights" in TABLES[path]["model"]:
        settings.append("model.weights=none")
    options = [word for setting in settings for word in ("--set", setting)]
    run = tmp_path / "run"
    assert main(["train", str(path), "--out", str(run), *options]) == 0
    assert (run / "report.html").is_file()


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=name)
def test_notebooks_run_from_top_to_bottom(
    path: Path, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = {
        "cifar100": f"cifar100:root={home}/data/cifar100",
        "cityscapes": f"folders:root={home}/data/cityscapes-patches",
        "voc": f"voc2012:root={home}/data/voc2012,foreground=true",
    }
    monkeypatch.setenv("EXERCISE_DATA", data[path.stem.partition("-")[0]])
    monkeypatch.setenv("EXERCISE_OUT", str(tmp_path / "runs"))
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    shown = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert any("image/png" in output.get("data", {}) for output in shown)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=name)
def test_notebooks_are_kept_without_outputs(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells)
