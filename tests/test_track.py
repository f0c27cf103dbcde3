"""Trackers mirror the log: all of it, once, whatever was stopped; none stops training."""

import json
import signal
import struct
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest

import tiny
from pixelwright import jobs
from pixelwright.cli import main
from pixelwright.errors import PixelwrightWarning, RecipeError
from pixelwright.recipe import Recipe
from pixelwright.run import Run
from pixelwright.track import Mirror, trackers
from pixelwright.track import _mirror as mirror_module
from pixelwright.types import Event, silent

accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")


def recipe(folder: Path, *track: str) -> Recipe:
    return Recipe.from_dict(
        {
            "data": tiny.draw_folders(folder),
            "model": "unet:width=4,depth=1",
            "precision": "float32",
            "track": track,
            "train": {"epochs": 3, "batch_size": 2, "crop": 32},
        }
    )


def events(run: Run) -> "accumulator.EventAccumulator":
    found = accumulator.EventAccumulator(str(run.path / "tensorboard"), {"images": 0})
    found.Reload()
    return found


def curve(run: Run, name: str) -> list[tuple[int, float]]:
    return [(event.step, event.value) for event in events(run).Scalars(name)]


def logged(run: Run, name: str) -> list[tuple[int, float]]:
    rows = [row for row in run.log() if row["kind"] == "epoch"]
    return [(row["step"], pytest.approx(row[name])) for row in rows]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("track")
    return jobs.train(recipe(folder, "tensorboard"), out=folder / "run", on_event=silent)


def test_tensorboard_holds_what_the_log_holds(run: Run) -> None:
    for tag, name in (
        ("train/loss", "train_loss"),
        ("val/loss", "val_loss"),
        ("val/mean_iou", "val_mean_iou"),
        ("lr", "lr"),
    ):
        assert curve(run, tag) == logged(run, name)
    last = [row for row in run.log() if row["kind"] == "epoch"][-1]
    for name, value in last["val_iou"].items():
        assert curve(run, f"val_iou/{name}")[-1] == (last["step"], pytest.approx(value))


def test_tensorboard_shows_the_pictures_and_the_recipe(run: Run) -> None:
    held = events(run)
    tags = held.Tags()["images"]
    assert len(tags) == len(list(run.pictures.glob("*.jpg"))) > 0
    assert any(tag.startswith("hardest/1") for tag in tags)
    assert held.Images(tags[0])[0].width > 64
    assert b"unet:width=4" in held.Tensors("recipe/text_summary")[0].tensor_proto.string_val[0]


def test_times_are_those_of_the_log(run: Run) -> None:
    rows = [row for row in run.log() if row["kind"] == "epoch"]
    times = [event.wall_time for event in events(run).Scalars("lr")]
    assert np.diff(times) == pytest.approx(np.diff([row["seconds"] for row in rows]), abs=0.01)


def stop_after(step: int) -> Callable[[Event], None]:
    def watch(event: Event) -> None:
        if event.kind == "step" and event.data["step"] == step:
            signal.raise_signal(signal.SIGINT)

    return watch


def test_a_resumed_run_is_mirrored_once(run: Run, tmp_path: Path) -> None:
    subject = recipe(tmp_path, "tensorboard")
    with pytest.raises(KeyboardInterrupt):
        jobs.train(
            subject, out=tmp_path / "run", on_event=stop_after(run.info["steps_per_epoch"] + 1)
        )
    stopped = Run(tmp_path / "run")
    assert len(curve(stopped, "lr")) == len(logged(stopped, "lr")) == 1
    jobs.train(stopped.path, resume=True, on_event=silent)
    assert curve(stopped, "val/mean_iou") == curve(run, "val/mean_iou")


def test_a_run_can_be_mirrored_afterwards_and_again(run: Run, tmp_path: Path) -> None:
    before = curve(run, "val/mean_iou")
    for _ in range(2):
        assert main(["track", str(run.path), "tensorboard"]) == 0
        assert curve(run, "val/mean_iou") == before


class Broken:
    def __init__(self) -> None:
        self.asked = 0

    def scalars(self, step: int, values: Mapping[str, float], when: float) -> None:
        self.asked += 1
        raise OSError("no space left")

    def picture(self, name: str, image: np.ndarray, step: int, when: float) -> None:
        raise AssertionError("left out by then")

    def close(self) -> None:
        raise AssertionError("left out by then")


def test_a_tracker_that_fails_is_left_out_with_one_warning(run: Run) -> None:
    broken = Broken()
    with pytest.warns(PixelwrightWarning, match="'broken' failed.*no space left") as told:
        Mirror(run, {"broken": lambda: broken}).close()
    assert len(told) == 1
    assert broken.asked == 1


def test_a_tracker_that_does_not_open_stops_nothing(run: Run) -> None:
    def refuse() -> Broken:
        raise RuntimeError("not today")

    with pytest.warns(PixelwrightWarning, match="not today"):
        Mirror(run, {"broken": refuse}).close()


def test_a_tracker_that_is_not_installed_is_refused_before_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mirror_module.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(RecipeError, match=r"pip install pixelwright\[track\]"):
        jobs.train(recipe(tmp_path, "tensorboard"), out=tmp_path / "run", on_event=silent)
    assert not (tmp_path / "run").exists()


def test_a_training_that_fails_before_it_starts_leaves_nothing_of_its_trackers(
    tmp_path: Path,
) -> None:
    subject = recipe(tmp_path, "tensorboard").override(["train.crop=31"])
    with pytest.raises(RecipeError, match="crops must be multiples"):
        jobs.train(subject, out=tmp_path / "run", on_event=silent)
    assert not (tmp_path / "run").exists()


def test_trackers_are_checked_with_the_recipe(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="Did you mean 'tensorboard'"):
        recipe(tmp_path, "tensorbord")
    with pytest.raises(RecipeError, match="twice"):
        jobs.train(recipe(tmp_path, "tensorboard", "tensorboard"), on_event=silent)
    one = recipe(tmp_path).override(["track=wandb:project=x"])
    assert one.to_dict()["track"] == ["wandb:project=x"]
    assert Recipe.from_dict(one.to_dict()) == one


def test_every_tracker_can_be_named() -> None:
    assert list(trackers) == ["tensorboard", "wandb"]


def test_wandb_offline_holds_the_log_once_and_can_be_synced(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    for _ in range(2):
        assert main(["track", str(run.path), "wandb"]) == 0
    assert "send it: wandb sync" in capsys.readouterr().out
    (folder,) = run.path.glob("wandb/offline-run-*")
    (file,) = folder.glob("*.wandb")
    steps = [step for step, _ in logged(run, "lr")]
    # W&B writes in a process of its own, which may still be at it.
    deadline = time.monotonic() + 30
    while len(rows := history(file)) < len(steps) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert [row["_step"] for row in rows] == steps
    assert [(row["_step"], row["val/mean_iou"]) for row in rows] == logged(run, "val_mean_iou")
    assert len(list(folder.glob("files/media/images/**/*.png"))) == len(
        list(run.pictures.glob("*.jpg"))
    )


def history(file: Path) -> list[dict[str, object]]:
    """The rows that an offline run holds. Its file is a LevelDB log of protocol buffers."""
    from wandb.proto import wandb_internal_pb2

    data, place, parts, rows = file.read_bytes(), 7, b"", []
    while len(data) - place >= 7:
        left = 32768 - place % 32768
        if left < 7:
            place += left
            continue
        _, length, kind = struct.unpack_from("<IHB", data, place)
        parts += data[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # whole, or the last part
            record = wandb_internal_pb2.Record.FromString(parts)
            parts = b""
            if record.WhichOneof("record_type") == "history":
                items = record.history.item
                rows.append(
                    {i.key or "/".join(i.nested_key): json.loads(i.value_json) for i in items}
                )
    return rows
