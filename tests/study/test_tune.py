"""The search: resumed where it was killed, pruned by scores as they come, failures kept.

Most trials here are trained by a small script that writes what a training writes, and ends when it
is asked to: the search sees nothing but the process and the run's folder.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

import tiny
from pixelwright import jobs
from pixelwright.cli import main
from pixelwright.errors import MachineError, RecipeError
from pixelwright.reporting import tuning as report
from pixelwright.run import Run
from pixelwright.study.process import Training
from pixelwright.study.ranges import Tuning
from pixelwright.study.search import RUNGS, Search
from pixelwright.study.tuning import tune
from pixelwright.types import Event, silent

optuna = pytest.importorskip("optuna")

# The score is the learning rate at the end; a width of 13 fails, as an image too small would.
SCRIPT = """
import json, os, socket, sys, time, tomllib
recipe, folder, pause = sys.argv[1], sys.argv[2], float(sys.argv[3])
table = tomllib.loads(open(recipe).read())
if "width=13" in table["model"]:
    sys.exit("pixelwright: The crop does not fit.")
os.makedirs(folder, exist_ok=True)
path = lambda name: os.path.join(folder, name)
open(path("recipe.toml"), "w").write(open(recipe).read())
json.dump({}, open(path("run.json"), "w"))
me = open("/proc/self/stat").read().rpartition(")")[2].split()[19]
json.dump({"pid": os.getpid(), "host": socket.gethostname(), "boot": me}, open(path("lock"), "w"))
def log(**row):
    with open(path("log.jsonl"), "a") as file:
        file.write(json.dumps(row) + "\\n")
log(kind="start", step=0, steps=100)
lr = table.get("train", {}).get("lr", 1e-3)
SCORE = "top1" if "class-folders" in table["data"] else "mean_iou"
for step in range(10, 101, 10):
    log(kind="epoch", step=step, **{f"val_{SCORE}": lr * step / 100})
    time.sleep(pause)
json.dump({SCORE: lr}, open(path("scores-val.json"), "w"))
log(kind="stop", why="", step=100)
os.remove(path("lock"))
"""

RANGES = '"train.lr" = [0.1, 0.9]\n'


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tiny.draw_camvid(tmp_path_factory.mktemp("tune"), count=2))


@pytest.fixture
def file(tmp_path: Path, data: str) -> Path:
    return written(tmp_path, data, RANGES)


def written(folder: Path, data: str, ranges: str, lr: float = 0.5) -> Path:
    path = folder / "tune.toml"
    path.write_text(
        f'data = "{data}"\nmodel = "unet:width=4,depth=1"\ndevice = "cpu"\n[train]\nlr = {lr}\n'
        f"steps = 2\ncrop = 32\nbatch_size = 2\n[ranges]\n{ranges}",
        encoding="utf-8",
    )
    return path


@pytest.fixture(autouse=True)
def started(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The trials whose training was started; the script trains them."""
    names: list[str] = []

    def start(
        run: Run, output: Path, *, recipe: Path | None = None, options: tuple[str, ...] = ()
    ) -> Training:
        names.append(run.name)
        if recipe is None:
            recipe = run.recipe_file
            run.log_file.unlink()
        command = [sys.executable, "-c", SCRIPT, str(recipe), str(run.path), pause()]
        with output.open("ab") as file:
            process = subprocess.Popen(
                command, stdout=file, stderr=subprocess.STDOUT, start_new_session=True
            )
        return Training(run, output, False, process)

    def pause() -> str:
        return os.environ.get("TUNE_TEST_PAUSE", "0")

    if "real" not in request.keywords:
        monkeypatch.setattr(Training, "start", start)
    if "best" not in request.node.name:
        monkeypatch.setattr(report, "write", lambda folder: [])
    return names


def search(file: Path, out: Path, trials: int, **options: object):
    options = {"pruning": "none", "on_event": silent} | options
    return tune(file, out=out, trials=trials, **options)


def test_the_best_trial_is_found_and_its_recipe_written(file: Path, tmp_path: Path) -> None:
    found = search(file, tmp_path / "out", 8)
    assert len(found.trials) == 8
    # The first trial is the recipe as it stands.
    assert found.trials[0].values == {"train.lr": 0.5}
    best = max(trial.values["train.lr"] for trial in found.trials)
    assert found.best.score == found.best.values["train.lr"] == best > 0.5
    assert found.table()[1][0] == str(found.best.number)
    assert f"lr = {best!r}" in (tmp_path / "out" / "best.toml").read_text(encoding="utf-8")
    assert {path.name for path in found.files} == {
        "best.toml", "tuning.html", "tuning.json", "tuning.png"
    }  # fmt: skip
    page = (tmp_path / "out" / "tuning.html").read_text(encoding="utf-8")
    assert f"Trial {found.best.number} is best" in page
    assert "http" not in page.replace("http-equiv", "")


def test_classifiers_are_searched_by_their_top1(tmp_path: Path) -> None:
    path = tmp_path / "tune.toml"
    path.write_text(
        f'data = "{tiny.draw_class_folders(tmp_path / "pictures")}"\nmodel = "convnet"\n'
        f"[train]\nlr = 0.5\nsteps = 2\nbatch_size = 2\n[ranges]\n{RANGES}",
        encoding="utf-8",
    )
    found = search(path, tmp_path / "best", 5)
    assert found.best.score == max(trial.values["train.lr"] for trial in found.trials)
    assert found.table()[0][2] == "top-1"
    assert found.trials[0].curve[10] == 0.5
    assert "top-1" in (tmp_path / "best" / "best.toml").read_text(encoding="utf-8")
    assert json.loads((tmp_path / "best" / "tuning.json").read_text())["score"] == "top-1"


def test_a_search_that_goes_on_proposes_what_one_in_one_go_does(
    file: Path, tmp_path: Path, started: list[str]
) -> None:
    whole = search(file, tmp_path / "whole", 4)
    search(file, tmp_path / "parts", 2)
    del started[:]
    parts = search(file, tmp_path / "parts", 4)
    assert started == ["trial-2", "trial-3"]
    assert [t.values for t in parts.trials] == [t.values for t in whole.trials]
    assert len({t.values["train.lr"] for t in parts.trials}) == 4


def test_what_fails_is_kept_with_its_words_and_the_rest_goes_on(tmp_path: Path, data: str) -> None:
    path = written(tmp_path, data, '"model.width" = [12, 13, 14]\n')
    found = search(path, tmp_path / "out", 6)
    failed = [trial for trial in found.trials if trial.state == "failed"]
    assert failed
    assert all(trial.values == {"model.width": "13"} for trial in failed)
    assert failed[0].why == "exit 1: The crop does not fit."
    assert any("The crop does not fit" in note for note in found.notes())
    assert found.best is not None


def test_values_that_do_not_go_together_fail_without_a_training(
    tmp_path: Path, data: str, started: list[str]
) -> None:
    # Either end goes with the recipe as it stands, both together do not.
    ranges = '"train.accumulate" = [1, 2]\n"train.batch_size" = [1, 2]\n'
    found = search(written(tmp_path, data, ranges), tmp_path / "out", 8)
    failed = [trial for trial in found.trials if trial.state == "failed"]
    assert failed
    assert all("accumulate = 2 cuts a batch of 1" in trial.why for trial in failed)
    assert not {trial.name for trial in failed} & set(started)


def test_where_nothing_can_be_finished_the_search_ends(tmp_path: Path, data: str) -> None:
    path = written(tmp_path, data, RANGES)
    with pytest.raises(MachineError, match=r"No trial is finished.*The crop does not fit"):
        search(path, tmp_path / "out", 50, settings=["model.width=13"])
    table = json.loads((tmp_path / "out" / "tuning.json").read_text(encoding="utf-8"))
    assert len(table["trials"]) < 15


def test_equal_values_are_not_trained_twice(tmp_path: Path, data: str, started: list[str]) -> None:
    found = search(written(tmp_path, data, '"model.depth" = [1, 2]\n'), tmp_path / "out", 6)
    assert len(found.trials) == 6
    assert len(started) == len({str(t.values) for t in found.trials}) == 2


@pytest.mark.parametrize("pruning", ["median", "hyperband", "none"])
def test_what_falls_behind_is_told_early(file: Path, tmp_path: Path, pruning: str) -> None:
    kept = Search(Tuning.read(file, out=tmp_path, pruning=pruning), tmp_path)

    def stopped_at(score: float) -> int | None:
        trial = kept.next()
        for rung in range(1, RUNGS):
            trial.report(score * rung / 10, rung)
            if trial.should_prune():
                kept.prune(trial)
                return rung
        kept.finish(trial, score)
        return None

    for score in (0.5, 0.6, 0.7, 0.8):
        stopped_at(score)
    stops = [stopped_at(0.001) for _ in range(4)]
    if pruning == "none":
        assert stops == [None] * 4
    elif pruning == "median":
        # Not in the first fifth of a training.
        assert stops == [2, 2, 2, 2]
    else:
        # By brackets, some of which wait longer.
        assert [stop for stop in stops if stop in (1, 3, 9)]


def test_a_pruned_trial_is_ended_by_a_signal(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TUNE_TEST_PAUSE", "0.15")
    monkeypatch.setattr("pixelwright.study.tuning._LOOK_SECONDS", 0.01)
    monkeypatch.setattr(
        "optuna.pruners.MedianPruner.prune", lambda self, study, trial: trial.number == 1
    )
    found = search(file, tmp_path / "out", 2, pruning="median")
    assert [trial.state for trial in found.trials] == ["finished", "pruned"]
    assert max(found.trials[1].curve) < 10
    assert not found.trials[1].run.scores("val")
    assert "1 finished, 1 pruned" in found.headline()


def test_f58_a_search_killed_at_once_goes_on_with_the_trial_that_ran(
    file: Path, tmp_path: Path, started: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TUNE_TEST_PAUSE", "0.1")

    def killed(event: Event) -> None:
        if event.kind == "progress":
            os._exit(9)

    # As kill -9 does, the exit leaves no time for anything.
    if (child := os.fork()) == 0:
        try:
            search(file, tmp_path / "out", 1, on_event=killed)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    run = Run(tmp_path / "out" / "trial-0")
    assert run.owner
    found = search(file, tmp_path / "out", 1)
    assert [(t.number, t.state) for t in found.trials] == [(0, "finished")]
    # The training had gone on by itself.
    assert started == []


def test_f58_a_search_that_is_stopped_stops_its_training_and_goes_on(
    file: Path, tmp_path: Path, started: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TUNE_TEST_PAUSE", "0.3")

    def stop(event: Event) -> None:
        if event.kind == "progress":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        search(file, tmp_path / "out", 2, on_event=stop)
    run = Run(tmp_path / "out" / "trial-0")
    assert run.owner is None
    assert not run.scores("val")
    monkeypatch.setenv("TUNE_TEST_PAUSE", "0")
    found = search(file, tmp_path / "out", 2)
    assert [trial.state for trial in found.trials] == ["finished"] * 2
    assert started == ["trial-0", "trial-0", "trial-1"]


def test_when_the_time_is_up_the_trial_waits_for_the_next_call(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TUNE_TEST_PAUSE", "0.2")
    search(file, tmp_path / "out", 1)
    notes: list[str] = []

    def note(event: Event) -> None:
        notes.extend([event.data["text"]] if event.kind == "note" else [])

    began = time.monotonic()
    # The first took two seconds: another does not fit.
    tune(file, out=tmp_path / "out", trials=5, minutes=0.02, on_event=note)
    assert time.monotonic() - began < 3
    assert not any("trial 1" in text for text in notes)


def test_another_search_in_the_folder_is_refused(file: Path, tmp_path: Path, data: str) -> None:
    search(file, tmp_path / "out", 1)
    with pytest.raises(RecipeError, match=r"train\.lr was 0\.1 to 0\.9, not 0\.1 to 0\.8.*--out"):
        search(written(tmp_path, data, '"train.lr" = [0.1, 0.8]\n'), tmp_path / "out", 2)
    with pytest.raises(RecipeError, match="holds no tuning"):
        search(file, tmp_path, 1)


def test_optuna_that_is_missing_is_said_in_one_line(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(RecipeError, match=r"pip install pixelwright\[tune\]"):
        search(file, tmp_path / "out", 1)


@pytest.mark.real
def test_tuning_ends_with_one_look_at_test(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    command = ["tune", "tune.toml", "--trials", "1", "--test"]
    assert main(command) == 0
    out, err = capsys.readouterr()
    assert "1 trial in runs/tune: 1 finished" in out
    assert "of 'test'" in out
    assert "test looked at 1 time\n" in out
    assert "trial 0: lr=0.5" in err
    run = Run(Path("runs/tune/trial-0"))
    assert run.status == "finished"
    assert "next:\n  pixelwright train runs/tune/best.toml" in out
    # The same again finds everything done, and takes no second look.
    assert main(command) == 0
    assert "test looked at 1 time\n" in capsys.readouterr().out
    assert len(run.looks()) == 1
    assert jobs.report(run).is_file()


def test_what_was_read_already_takes_no_settings(file: Path, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"Tuning\.read"):
        tune(Tuning.read(file, out=tmp_path), trials=3)
