import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import tiny
from pixelwright.data import cache
from pixelwright.data.counts import class_counts
from pixelwright.types import Classes, Entry, Window

CLASSES = Classes(("a", "b"), ((0, 0, 0), (255, 0, 0)), {0: 0, 1: 1})


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PIXELWRIGHT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def entry(tmp_path: Path) -> Entry:
    mask = tiny.save(tmp_path / "m.png", np.eye(4, dtype=np.uint8))
    return aged(Entry("m", mask, mask))


def aged(entry: Entry, seconds: float = 60) -> Entry:
    """With a mask that was written some time ago."""
    assert isinstance(entry.target, Path)
    then = time.time() - seconds
    os.utime(entry.target, (then, then))
    return entry


def counting() -> tuple[list[int], Callable[[], dict[str, np.ndarray]]]:
    calls: list[int] = []

    def compute() -> dict[str, np.ndarray]:
        calls.append(1)
        return {"x": np.arange(5), "y": np.zeros((0, 3), np.int32)}

    return calls, compute


def test_a_result_is_worked_out_once(place: Path, entry: Entry) -> None:
    calls, compute = counting()
    for _ in range(3):
        found = cache.kept("thing", [entry], CLASSES, compute, most=3)
        assert found["x"].tolist() == [0, 1, 2, 3, 4]
        assert found["y"].shape == (0, 3)
        assert found["y"].dtype == np.int32
    assert len(calls) == 1
    assert len(list(place.iterdir())) == 1


def test_whatever_the_result_depends_on_names_it(place: Path, entry: Entry) -> None:
    calls, compute = counting()
    swapped = Classes(CLASSES.names, CLASSES.colors, {0: 1, 1: 0})
    window = Entry("m", entry.image, entry.target, Window(0, 0, 2, 2))
    cache.kept("thing", [entry], CLASSES, compute, most=3)
    cache.kept("other", [entry], CLASSES, compute, most=3)
    cache.kept("thing", [entry], CLASSES, compute, most=4)
    cache.kept("thing", [entry], swapped, compute, most=3)
    cache.kept("thing", [entry, entry], CLASSES, compute, most=3)
    cache.kept("thing", [window], CLASSES, compute, most=3)
    entry = aged(entry, 50)
    cache.kept("thing", [entry], CLASSES, compute, most=3)
    assert len(calls) == 7
    renamed = Classes(("x", "y"), ((9, 9, 9), (8, 8, 8)), CLASSES.values)
    cache.kept("thing", [entry], renamed, compute, most=3)
    assert len(calls) == 7


def test_a_mask_of_this_moment_is_not_trusted_to_stay(place: Path, entry: Entry) -> None:
    assert isinstance(entry.target, Path)
    tiny.save(entry.target, np.zeros((4, 4), np.uint8))
    assert class_counts([entry], CLASSES).pixels.tolist() == [16, 0]
    tiny.save(entry.target, np.ones((4, 4), np.uint8))
    assert class_counts([entry], CLASSES).pixels.tolist() == [0, 16]
    assert not place.exists()


@pytest.mark.parametrize("keep", [0.0, 0.5, 0.98])
def test_a_damaged_result_is_worked_out_again(place: Path, entry: Entry, keep: float) -> None:
    assert class_counts([entry], CLASSES).pixels.tolist() == [12, 4]
    [file] = place.iterdir()
    whole = file.read_bytes()
    file.write_bytes(whole[: int(keep * len(whole))])
    assert class_counts([entry], CLASSES).pixels.tolist() == [12, 4]
    assert file.read_bytes() == whole
    for at in range(0, len(whole), 61):
        file.write_bytes(whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :])
        assert class_counts([entry], CLASSES).pixels.tolist() == [12, 4]


def test_a_folder_that_cannot_be_written_stops_nothing(
    entry: Entry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_bytes(b"in the way")
    for given in (str(tmp_path / "file"), str(tmp_path / "file" / "below"), ""):
        monkeypatch.setenv("PIXELWRIGHT_CACHE", given)
        assert class_counts([entry], CLASSES).pixels.tolist() == [12, 4]
    assert (tmp_path / "file").read_bytes() == b"in the way"


def test_f43_without_a_home_results_are_worked_out_each_time(
    entry: Entry, monkeypatch: pytest.MonkeyPatch
) -> None:
    def homeless() -> Path:
        raise RuntimeError("no home")

    monkeypatch.delenv("PIXELWRIGHT_CACHE")
    monkeypatch.setattr(Path, "home", homeless)
    assert cache.folder() is None
    assert class_counts([entry], CLASSES).pixels.tolist() == [12, 4]


def test_old_results_make_room(place: Path, entry: Entry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "_MOST_FILES", 3)
    _, compute = counting()
    for most in range(8):
        cache.kept("thing", [entry], CLASSES, compute, most=most)
    assert len(list(place.iterdir())) == 3
