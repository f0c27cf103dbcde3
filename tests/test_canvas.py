import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pixelwright import images, render
from pixelwright.errors import MachineError, PredictError
from pixelwright.images import Geo, StoredPlane, geo
from pixelwright.jobs import overlay, partial
from pixelwright.jobs.canvas import UNKNOWN, Canvas, file_names
from pixelwright.types import IGNORE, Classes, Event, Window

with_rasterio = pytest.mark.skipif(not geo.installed(), reason="needs the extra 'geo'")

CLASSES = Classes(("wood", "field", "town"), render.palette(3))
HEIGHT, WIDTH, TILE = 100, 130, 40
EXTRAS = ("probabilities", "entropy", "disagreement")
IDENTITY = {"plan": "tiles of 40", "model": "abc", "bands": None}


@pytest.fixture(autouse=True)
def _written_down_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(partial, "FLUSH_SECONDS", 0.0)


def windows() -> list[Window]:
    return [
        Window(top, left, min(TILE, HEIGHT - top), min(TILE, WIDTH - left))
        for top in range(0, HEIGHT, TILE)
        for left in range(0, WIDTH, TILE)
    ]


def planes() -> dict[str, np.ndarray]:
    """What a network could have found, with a hole where there are no data."""
    rng = np.random.default_rng(0)
    invalid = np.zeros((HEIGHT, WIDTH), np.bool_)
    invalid[30:50, 60:90] = True
    return {
        "labels": rng.integers(0, 3, (HEIGHT, WIDTH)).astype(np.uint8),
        "invalid": invalid,
        "probabilities": rng.integers(0, 256, (3, HEIGHT, WIDTH)).astype(np.uint8),
        "entropy": rng.integers(0, UNKNOWN, (HEIGHT, WIDTH)).astype(np.uint8),
        "disagreement": rng.integers(0, UNKNOWN, (HEIGHT, WIDTH)).astype(np.uint8),
    }


def picture() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (HEIGHT, WIDTH, 3)).astype(np.uint8)


def canvas_in(out: Path | None, *, disk: bool = True, **options: Any) -> Canvas:
    options = {"identity": IDENTITY, "extras": EXTRAS, **options}
    most = {} if not disk else {"most_in_memory": 0}
    return Canvas(out, "x", HEIGHT, WIDTH, CLASSES, **options, **most)


def paint(canvas: Canvas, parts: range | None = None) -> list[int]:
    """Paint what is missing of some parts; which these were."""
    found, painted = planes(), []
    for number, window in enumerate(windows()):
        if number in canvas.done or (parts is not None and number not in parts):
            continue
        rows = slice(window.top, window.top + window.height)
        columns = slice(window.left, window.left + window.width)
        cut = {name: plane[..., rows, columns] for name, plane in found.items()}
        wanted = ("labels", "invalid", *canvas.extras)
        canvas.paint(window, **{name: cut[name] for name in wanted})
        canvas.finish_part(number)
        painted.append(number)
    return painted


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def finished(folder: Path, **options: Any) -> dict[str, bytes]:
    folder.mkdir()
    with canvas_in(folder, **options) as canvas, images.array_raster(picture(), 3) as raster:
        paint(canvas)
        files = canvas.publish(raster)
    assert {file.name for file in files} == set(contents(folder))
    return contents(folder)


@pytest.mark.parametrize("disk", [False, True])
def test_what_was_painted_is_what_is_published(tmp_path: Path, disk: bool) -> None:
    (tmp_path / "out").mkdir()
    found = planes()
    with canvas_in(tmp_path / "out", disk=disk) as canvas:
        assert canvas.on_disk == disk
        assert paint(canvas) == list(range(12))
        with images.array_raster(picture(), 3) as raster:
            files = canvas.publish(raster)
    assert [file.name for file in files] == [
        "x.png",
        "x.overlay.jpg",
        "x.probabilities.npy",
        "x.entropy.png",
        "x.disagreement.png",
    ]
    assert sorted(contents(tmp_path / "out")) == sorted(file.name for file in files)
    labels = np.where(found["invalid"], IGNORE, found["labels"].astype(np.int16))
    images.write_mask(tmp_path / "mask.png", labels, CLASSES.colors)
    assert np.array_equal(Image.open(files[0]), Image.open(tmp_path / "mask.png"))
    drawn = render.overlay(picture(), labels, CLASSES.colors)
    images.write_jpeg(tmp_path / "drawn.jpg", drawn)
    assert np.array_equal(Image.open(files[1]), Image.open(tmp_path / "drawn.jpg"))
    likely = np.load(files[2])
    assert np.array_equal(likely, np.where(found["invalid"], 0, found["probabilities"]))
    for file, name in zip(files[3:], EXTRAS[1:], strict=True):
        expected = np.where(found["invalid"], UNKNOWN, found[name])
        assert np.array_equal(Image.open(file), expected)


def test_files_are_equal_whether_painted_in_memory_or_on_the_disk(tmp_path: Path) -> None:
    assert finished(tmp_path / "a", disk=True) == finished(tmp_path / "b", disk=False)


def test_without_a_folder_the_planes_stay_in_memory() -> None:
    canvas = canvas_in(None, extras=("probabilities",))
    found = planes()
    paint(canvas)
    assert isinstance(canvas.labels, np.ndarray)
    assert np.array_equal(canvas.labels, np.where(found["invalid"], 255, found["labels"]))
    assert np.array_equal(canvas.probabilities[2][:, 70:], found["probabilities"][2][:, 70:] * (
        ~found["invalid"][:, 70:]
    ))  # fmt: skip


@pytest.mark.parametrize("classes", [256, 300])
def test_f71_no_data_has_a_value_that_no_class_has(tmp_path: Path, classes: int) -> None:
    many = Classes(tuple(map(str, range(classes))), tuple((0, 0, i % 256) for i in range(classes)))
    labels = np.arange(HEIGHT * WIDTH, dtype=np.int64).reshape(HEIGHT, WIDTH) % classes
    invalid = np.zeros((HEIGHT, WIDTH), np.bool_)
    for hole in (False, True):
        invalid[5:9] = hole
        with Canvas(tmp_path, "x", HEIGHT, WIDTH, many) as canvas:
            canvas.paint(Window(0, 0, HEIGHT, WIDTH), labels, invalid=invalid)
            (file,) = canvas.publish()
        found = images.raw_mask(file)
        assert np.array_equal(found, np.where(invalid, 65535, labels))
        assert found.dtype == (np.uint8 if classes == 256 and not hole else np.uint16)


@pytest.mark.parametrize("kept", [0, 1, 7, 12])
def test_f72_resuming_redoes_only_what_is_missing(tmp_path: Path, kept: int) -> None:
    whole = finished(tmp_path / "whole")
    out = tmp_path / "out"
    out.mkdir()
    with canvas_in(out) as canvas:
        paint(canvas, range(kept))
    assert [path.name for path in out.iterdir()] == [".x.partial"]
    told: list[Event] = []
    with canvas_in(out, resume=True, on_event=told.append) as canvas:
        assert canvas.done == set(range(kept))
        assert paint(canvas) == list(range(kept, 12))
        with images.array_raster(picture(), 3) as raster:
            canvas.publish(raster)
    assert contents(out) == whole
    assert f"where {kept} part{'' if kept == 1 else 's'} lie done" in told[0].data["text"]


KILLED = """
    import sys, time, types
    from pathlib import Path
    import pixelwright
    jobs = types.ModuleType("pixelwright.jobs")  # the package itself would load torch
    jobs.__path__ = [str(Path(pixelwright.__file__).parent / "jobs")]
    sys.modules["pixelwright.jobs"] = jobs
    sys.path.insert(0, sys.argv[2])
    import test_canvas
    test_canvas.partial.FLUSH_SECONDS = 1e9
    canvas = test_canvas.canvas_in(Path(sys.argv[1]))
    test_canvas.paint(canvas, range(5))
    canvas.flush()
    test_canvas.paint(canvas, range(5, 6))  # and not written down
    print("painted", flush=True)
    time.sleep(60)
"""


def test_f72_killed_in_the_middle_nothing_has_a_final_name_and_it_goes_on(tmp_path: Path) -> None:
    whole = finished(tmp_path / "whole")
    out = tmp_path / "out"
    out.mkdir()
    command = [sys.executable, "-c", textwrap.dedent(KILLED), str(out), str(Path(__file__).parent)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "painted\n"
        with pytest.raises(PredictError, match=r"Another process writes to .*\.x\.partial"):
            canvas_in(out)
        os.kill(process.pid, signal.SIGKILL)
    assert [path.name for path in out.iterdir()] == [".x.partial"]
    with canvas_in(out, resume=True) as canvas:
        assert canvas.done == set(range(5))
        assert paint(canvas) == list(range(5, 12))
        with images.array_raster(picture(), 3) as raster:
            canvas.publish(raster)
    assert contents(out) == whole


def full_after(monkeypatch: pytest.MonkeyPatch, writes: int) -> None:
    """A disk that is full after so many pieces."""
    plain, count = StoredPlane.write, iter(range(10**6))

    def write(self: StoredPlane, window: Window, part: np.ndarray) -> None:
        if next(count) >= writes:
            raise OSError(28, "No space left on device")
        plain(self, window, part)

    monkeypatch.setattr(StoredPlane, "write", write)


def test_f72_a_full_disk_keeps_what_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = finished(tmp_path / "whole")
    out = tmp_path / "out"
    out.mkdir()
    full_after(monkeypatch, 6 * 4 + 3)  # six planes a part, of the fifth not all
    text = r"\.x\.partial cannot be written: No space left .*--resume"
    with pytest.raises(MachineError, match=text), canvas_in(out) as canvas:
        paint(canvas)
    assert [path.name for path in out.iterdir()] == [".x.partial"]
    monkeypatch.undo()
    with canvas_in(out, resume=True) as canvas:
        assert paint(canvas) == list(range(4, 12))
        with images.array_raster(picture(), 3) as raster:
            canvas.publish(raster)
    assert contents(out) == whole


def test_f72_space_is_taken_before_the_work_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(MachineError, match=r"needs 10,000,000,000,000,000 bytes for labels\.raw"):
        Canvas(tmp_path, "x", 10**8, 10**8, CLASSES)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("failing", ["x.overlay.jpg", "x.probabilities.npy", "x.png"])
def test_f72_results_that_cannot_be_written_are_written_next_time(
    tmp_path: Path, failing: str
) -> None:
    whole = finished(tmp_path / "whole")
    out = tmp_path / "out"
    (out / failing).mkdir(parents=True)  # in the way
    with (
        images.array_raster(picture(), 3) as raster,
        pytest.raises(MachineError, match=f"{failing} cannot be written"),
        canvas_in(out) as canvas,
    ):
        paint(canvas)
        canvas.publish(raster)
    assert not (out / "x.png").is_file(), "the classes come last"
    (out / failing).rmdir()
    with canvas_in(out, resume=True) as canvas, images.array_raster(picture(), 3) as raster:
        assert paint(canvas) == []
        canvas.publish(raster)
    assert contents(out) == whole


@pytest.mark.parametrize(
    ("identity", "why"),
    [
        ({**IDENTITY, "model": "def"}, "another model"),
        ({"plan": "whole", "model": "def"}, "another plan, model"),
    ],
)
def test_another_identity_begins_anew_and_says_why(
    tmp_path: Path, identity: dict[str, object], why: str
) -> None:
    with canvas_in(tmp_path) as canvas:
        paint(canvas, range(5))
    told: list[Event] = []
    with canvas_in(tmp_path, resume=True, identity=identity, on_event=told.append) as canvas:
        assert canvas.done == frozenset()
        assert not canvas.labels[0:HEIGHT].any()
    assert [event.kind for event in told] == ["note"]
    assert f"is begun anew: what lies there was made with {why}." in told[0].data["text"]


def test_resuming_where_nothing_was_begun_is_no_news(tmp_path: Path) -> None:
    told: list[Event] = []
    with canvas_in(tmp_path, resume=True, on_event=told.append) as canvas:
        assert canvas.done == frozenset()
    assert told == []


def test_without_resume_what_is_left_is_thrown_away(tmp_path: Path) -> None:
    with canvas_in(tmp_path) as canvas:
        paint(canvas, range(5))
    with canvas_in(tmp_path) as canvas:
        assert canvas.done == frozenset()
        canvas.discard()
    assert list(tmp_path.iterdir()) == []
    with canvas_in(tmp_path) as canvas:
        paint(canvas, range(5))
    partial.discard_left(tmp_path, "x")
    partial.discard_left(tmp_path, "y")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("damage", ["line", "identity", "plane"])
def test_a_folder_that_was_damaged_loses_no_more_than_it_must(tmp_path: Path, damage: str) -> None:
    with canvas_in(tmp_path) as canvas:
        paint(canvas, range(5))
    folder = tmp_path / ".x.partial"
    if damage == "line":
        journal = folder / "parts.jsonl"
        journal.write_bytes(journal.read_bytes()[:-6])
    elif damage == "identity":
        (folder / "identity.json").write_text("{")
    else:
        (folder / "entropy.raw").write_bytes(b"")
    with canvas_in(tmp_path, resume=True) as canvas:
        assert canvas.done == (set(range(4)) if damage == "line" else set())
        paint(canvas)
    lines = (folder / "parts.jsonl").read_text().splitlines()
    assert sorted(json.loads(line)["part"] for line in lines) == list(range(12))


def test_pixels_are_on_the_disk_before_a_part_is_called_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    plain = StoredPlane.sync
    monkeypatch.setattr(StoredPlane, "sync", lambda self: (done.append("pixels"), plain(self)))
    line = partial.append_line
    monkeypatch.setattr(partial, "append_line", lambda *args: (done.append("done"), line(*args)))
    with canvas_in(tmp_path, extras=()) as canvas:
        for number in (0, 1):
            paint(canvas, range(number, number + 1))
            canvas.flush()
    assert done == ["pixels", "done", "pixels", "done"]


def test_the_overlay_of_a_large_picture_is_smaller(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(overlay, "LONGEST", 50)
    flat = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    flat[:, 60:] = 200
    labels = np.zeros((HEIGHT, WIDTH), np.uint8)
    labels[51:] = 1
    with Canvas(tmp_path, "x", HEIGHT, WIDTH, CLASSES) as canvas:
        canvas.paint(Window(0, 0, HEIGHT, WIDTH), labels)
        with images.array_raster(flat, 3) as raster:
            canvas.publish(raster)
    found = images.read_image(tmp_path / "x.overlay.jpg")
    expected = render.overlay(flat, labels.astype(np.int16), CLASSES.colors)[::3, ::3]
    assert found.shape == expected.shape == (34, 44, 3)
    assert np.abs(found.astype(int) - expected).mean() < 3


@with_rasterio
@pytest.mark.parametrize("disk", [False, True])
def test_f73_a_place_on_earth_makes_all_results_geotiffs(tmp_path: Path, disk: bool) -> None:
    import rasterio

    place = Geo("EPSG:32633", (0.5, 0.0, 4e5, 0.0, -0.5, 5e6))
    found = planes()
    with canvas_in(tmp_path, disk=disk, geo=place) as canvas:
        paint(canvas)
        with images.array_raster(picture(), 3) as raster:
            files = canvas.publish(raster)
    assert tuple(file.name for file in files) == file_names("x", EXTRAS, geo=True)
    assert sorted(contents(tmp_path)) == sorted(file_names("x", EXTRAS, geo=True))
    with rasterio.open(tmp_path / "x.tif") as file:
        assert np.array_equal(file.read(1), np.where(found["invalid"], 255, found["labels"]))
        assert (file.nodata, file.crs.to_epsg()) == (255, 32633)
        assert file.colormap(1)[2][:3] == CLASSES.colors[2]
    with rasterio.open(tmp_path / "x.probabilities.tif") as file:
        assert np.array_equal(file.read() != 0, (found["probabilities"] != 0) & ~found["invalid"])
        assert file.descriptions == CLASSES.names
    with rasterio.open(tmp_path / "x.entropy.tif") as file:
        assert np.array_equal(file.read(1), np.where(found["invalid"], 255, found["entropy"]))
        assert file.nodata == UNKNOWN


def test_long_names_are_no_trouble(tmp_path: Path) -> None:
    stem = "\N{OWL}" * 58  # 232 bytes, and 4 to come
    with Canvas(tmp_path, stem, HEIGHT, WIDTH, CLASSES, most_in_memory=0) as canvas:
        canvas.paint(Window(0, 0, HEIGHT, WIDTH), planes()["labels"])
        canvas.publish()
    assert [path.name for path in tmp_path.iterdir()] == [f"{stem}.png"]
