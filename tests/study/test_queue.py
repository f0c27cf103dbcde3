"""The queue of a study: what is done is skipped, what was stopped goes on, what fails is told."""

import signal
from collections.abc import Callable
from pathlib import Path

import pytest

import tiny
from pixelwright import jobs
from pixelwright.errors import RecipeError
from pixelwright.run import Run
from pixelwright.study import queue
from pixelwright.study.job import compare
from pixelwright.study.plan import Study
from pixelwright.types import Event, silent

Read = Callable[..., Study]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    spec = tiny.draw_folders(tmp_path / "data", count=4)

    def of(grid: str, steps: int = 4, seeds: str = "[0]") -> Study:
        path = tmp_path / "study.toml"
        path.write_text(
            f'data = "{spec}"\nmodel = "unet:width=2,depth=1"\ndevice = "cpu"\n'
            f"[train]\nsteps = {steps}\ncrop = 16\nbatch_size = 2\n"
            f'[study]\nout = "{tmp_path / "out"}"\nseeds = {seeds}\n[grid]\n{grid}',
            encoding="utf-8",
        )
        return Study.read(path)

    return of


def stop_at_once(event: Event) -> None:
    if event.kind == "step":
        signal.raise_signal(signal.SIGINT)


def test_done_is_skipped_stopped_goes_on_and_what_fails_leaves_the_rest(
    read: Read, tmp_path: Path
) -> None:
    # Five poolings do not divide the crop, which is found when that training is built.
    study = read('model = ["unet:width=2,depth=1", "unet:width=3,depth=1", "unet:width=2,depth=5"]')
    done, stopped, wrong = study.cells
    jobs.train(done.recipe, out=done.run.path, on_event=silent)
    kept = done.run.model_file.stat().st_mtime_ns
    with pytest.raises(KeyboardInterrupt):
        jobs.train(stopped.recipe, out=stopped.run.path, on_event=stop_at_once)
    assert [what for _, what in queue.plan(study)] == ["done", "continue", "train"]

    told: list[Event] = []
    result = compare(tmp_path / "study.toml", on_event=told.append)
    notes = [event.data["text"] for event in told if event.kind == "note"]
    assert any("1 run is done and skipped" in note for note in notes)
    assert any("continues unet:width=3" in note for note in notes)
    assert done.run.model_file.stat().st_mtime_ns == kept
    assert stopped.done
    assert {case.name for case in result.cases} == {done.case, stopped.case}
    (missing,) = result.failed
    assert "depth=5, seed 0 is missing: exit 2" in missing
    assert "train.crop" in missing
    assert not wrong.run.path.exists()
    assert {file.name for file in result.files} == {"compare.json", "compare.md", "study.html"}
    # One validation image: it is shown where the cases differ most, whole and close.
    shown = [path.name.partition("-")[0] for path in sorted((study.out / "pictures").iterdir())]
    assert shown == ["apart", "close"]

    # Another recipe for runs that are there is refused, and says what differs.
    with pytest.raises(RecipeError, match=r"2 runs of .*train\.lr the default, now 0\.1.*--out"):
        compare(tmp_path / "study.toml", settings=["train.lr=0.1"], on_event=silent)


def test_what_the_weights_of_a_model_expect_makes_no_other_recipe(read: Read) -> None:
    (cell,) = read('loss = ["dice"]').cells
    cell.run.path.mkdir(parents=True)
    kept = cell.recipe.located().model_copy(update={"mean": (0.4,), "std": (0.2,)})
    cell.run.recipe_file.write_text(kept.to_toml())
    assert not cell.changes()


def test_f58_a_stop_saves_a_checkpoint_of_the_training(read: Read) -> None:
    study = read('loss = ["dice", "focal"]', steps=1_000_000)

    def stop_when_it_learns(event: Event) -> None:
        if event.kind == "progress":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        queue.run_all(study, on_event=stop_when_it_learns)
    first, second = study.cells
    assert (first.run.checkpoints / "last.safetensors").is_file()
    assert first.run.status == "stopped"
    assert not second.run.path.exists()
    assert [what for _, what in queue.plan(study)] == ["continue", "train"]
    # A longer training is another recipe.
    with pytest.raises(RecipeError, match=r"train\.steps 1000000, now 5"):
        read('loss = ["dice", "focal"]', steps=5).check()


def test_f41_two_queues_of_one_study_are_refused(read: Read) -> None:
    study = read('loss = ["dice", "focal"]')
    study.out.mkdir()
    with Run(study.out).locked(), pytest.raises(RecipeError, match="in use by process"):
        queue.run_all(study, on_event=silent)


def test_a_run_in_training_is_left_alone(read: Read) -> None:
    study = read('loss = ["dice", "focal"]')
    study.cells[1].run.path.mkdir(parents=True)
    with study.cells[1].run.locked(), pytest.raises(RecipeError, match="being trained by process"):
        study.check()
