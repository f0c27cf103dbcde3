import json
import os
from pathlib import Path

import pytest

from pixelwright.errors import CheckpointError, MachineError, RecipeError
from pixelwright.files import write_text
from pixelwright.run import Run


def finished(path: Path) -> Run:
    run = Run.create_at(path)
    run.recipe_file.write_text('data = "camvid:root=x"\n')
    run.write_info({"commit": "abc"})
    run.log_file.write_text('{"kind": "start"}\n{"kind": "stop"}\n')
    return run


def test_runs_are_numbered(tmp_path: Path) -> None:
    names = [Run.create(tmp_path, "fcnn").name for _ in range(3)]
    assert names == ["fcnn-1", "fcnn-2", "fcnn-3"]


def test_runs_are_listed_oldest_first(tmp_path: Path) -> None:
    for place, name in enumerate(("b", "a")):
        run = finished(tmp_path / name)
        os.utime(run.info_file, (place, place))
    assert [run.name for run in Run.list(tmp_path)] == ["b", "a"]


def test_a_line_cut_off_by_a_crash_is_left_out_of_the_log(tmp_path: Path) -> None:
    run = finished(tmp_path / "run")
    with run.log_file.open("a") as file:
        file.write('{"kind": "epo')
    assert [row["kind"] for row in run.log()] == ["start", "stop"]


def test_f41_a_folder_that_is_not_empty_is_refused(tmp_path: Path) -> None:
    finished(tmp_path / "run")
    with pytest.raises(RecipeError, match=r"not empty.*--resume.*--overwrite"):
        Run.create_at(tmp_path / "run")


def test_f41_overwriting_replaces_a_run_and_leaves_other_files_alone(tmp_path: Path) -> None:
    run = finished(tmp_path / "run")
    (run.path / "notes.txt").write_text("mine")
    Run.create_at(run.path, overwrite=True)
    assert [path.name for path in run.path.iterdir()] == ["notes.txt"]


def test_f41_overwriting_what_is_no_run_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(RecipeError, match="not a run"):
        Run.create_at(tmp_path, overwrite=True)
    assert (tmp_path / "thesis.tex").read_text() == "mine"


def test_f41_a_second_training_in_a_folder_is_refused_with_pid_and_host(tmp_path: Path) -> None:
    run = finished(tmp_path / "run")
    with run.locked(), pytest.raises(RecipeError, match=str(os.getpid())), run.locked():
        pass
    assert run.owner is None


def test_f41_the_lock_of_a_dead_process_does_not_hold(tmp_path: Path) -> None:
    run = finished(tmp_path / "run")
    with run.locked():
        lock = json.loads((run.path / "lock").read_text())
    dead = lock | {"boot": "another life"}
    (run.path / "lock").write_text(json.dumps(dead))
    with run.locked():
        assert run.owner is not None


def test_f39_a_run_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no run at"):
        Run.open(tmp_path / "none")
    with pytest.raises(CheckpointError, match="not a run"):
        Run.open(tmp_path)


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    write_text(path, "old")
    with pytest.raises(MachineError, match="cannot be written"):
        write_text(tmp_path / "none" / "file.txt", "new")
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["file.txt"]
