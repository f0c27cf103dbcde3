import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import tiny
from pixelwright import images
from pixelwright.data.check import check
from pixelwright.data.index import load
from pixelwright.registry import Spec
from pixelwright.types import Classes, Entry, Event, Index

CLASSES = Classes(("a", "b"), ((0, 0, 0), (255, 0, 0)), {0: 0, 1: 1, 255: -1})


def entry(folder: Path, key: str, labels: object, seed: int = 0) -> Entry:
    """An entry of a 2 x 2 picture that no other seed has."""
    pixels = np.random.default_rng(seed or sum(key.encode())).integers(0, 255, (2, 2, 3))
    image = tiny.save(folder / f"{key}.png", pixels.astype(np.uint8))
    mask = tiny.save(folder / f"{key}_mask.png", np.array(labels, np.uint8))
    return Entry(key, image, mask)


def index_of(train: list[Entry], val: list[Entry]) -> Index:
    return Index(CLASSES, {"train": tuple(train), "val": tuple(val)})


def test_counts_of_a_hand_worked_data_set(tmp_path: Path) -> None:
    train = [entry(tmp_path, "t1", [[0, 0], [0, 1]]), entry(tmp_path, "t2", [[0, 255], [255, 0]])]
    val = [entry(tmp_path, "v", [[1, 1], [0, 0]])]
    found = check(index_of(train, val))
    assert found.splits["train"].pixels == (5, 1)
    assert found.splits["train"].present == (2, 1)
    assert found.splits["train"].ignored == 2
    assert found.shares("train") == {"a": 5 / 6, "b": 1 / 6}
    assert found.values == {0: 7, 1: 3, 255: 2}
    assert found.sizes == {(2, 2): 3}
    assert (found.problems, found.warnings) == ((), ())
    assert found.rows() == [
        ("class", "train pixels", "train images", "val pixels", "val images"),
        ("a", "83.33%", "2 of 2", "50.00%", "1 of 1"),
        ("b", "16.67%", "1 of 2", "50.00%", "1 of 1"),
    ]


@pytest.mark.parametrize("layout", list(tiny.LAYOUTS))
def test_tiny_data_sets_have_no_problems(tmp_path: Path, layout: str) -> None:
    index = load(tiny.LAYOUTS[layout](tmp_path))
    events: list[Event] = []
    found = check(index, events.append)
    assert found.problems == ()
    assert json.loads(json.dumps(found.to_json(), allow_nan=False))["problems"] == []
    assert sum(found.splits["val"].pixels) > 0
    assert events[-1].data["done"] == events[-1].data["total"] == found.files
    assert len(events) == len({e.image for entries in index.splits.values() for e in entries})
    assert {event.data["what"] for event in events} == {"check"}


def test_windows_of_one_picture_are_counted_by_themselves(tmp_path: Path) -> None:
    index = load(tiny.draw_pair(tmp_path))
    found = check(index)
    for split, entries in index.splits.items():
        area = sum(e.window.height * e.window.width for e in entries if e.window)
        assert sum(found.splits[split].pixels) == area
        assert found.splits[split].entries == len(entries)


def test_all_broken_files_are_found_and_the_first_3_told(tmp_path: Path) -> None:
    spec = tiny.draw_folders(tmp_path, count=8)
    index = load(spec)
    for i in range(3):
        (tmp_path / "images" / f"{i:02}.jpg").write_bytes(b"")
    (tmp_path / "masks" / "03.png").write_text("<html>")
    whole = (tmp_path / "masks" / "04.png").read_bytes()
    (tmp_path / "masks" / "04.png").write_bytes(whole[:-20])
    found = check(index)
    assert len(found.broken) == 5
    assert len(found.problems) == 4
    assert found.problems[3] == "2 more files have problems."
    assert {Path(text.split()[0]).name for text in found.broken} == {
        *("00.jpg", "01.jpg", "02.jpg", "03.png", "04.png"),
    }


def test_f24_undeclared_values_are_problems(tmp_path: Path) -> None:
    found = check(index_of([entry(tmp_path, "t", [[0, 7], [7, 1]])], [entry(tmp_path, "v", [[0]])]))
    assert "7" in found.problems[0]
    assert str(tmp_path / "t_mask.png") in found.problems[0]


def test_f27_sizes_that_differ_are_problems_with_both_sizes(tmp_path: Path) -> None:
    train = [entry(tmp_path, "t", [[0, 1, 1], [0, 1, 0]])]
    found = check(index_of(train, [entry(tmp_path, "v", [[0, 1], [1, 0]])]))
    assert len(found.problems) == 1
    assert "2x2" in found.problems[0]
    assert "3x2" in found.problems[0]
    assert found.splits["train"].pixels == (0, 0)


def test_f29_a_mask_that_ignores_every_pixel_is_allowed_and_told(tmp_path: Path) -> None:
    train = [entry(tmp_path, "t", [[0, 1], [0, 1]]), entry(tmp_path, "e", [[255, 255], [255, 255]])]
    found = check(index_of(train, [entry(tmp_path, "v", [[0, 1], [0, 1]])]))
    assert found.problems == ()
    assert found.warnings == ("1 masks ignore every pixel, so they teach nothing: e.",)


@pytest.mark.parametrize(
    ("train", "val", "told"),
    [
        ([[0, 0], [0, 0]], [[0, 1], [0, 1]], "NOT LEARNABLE: b occurs in val but never in train"),
        ([[0, 1], [0, 1]], [[0, 0], [0, 0]], "b occurs in train but never in val"),
        ([[0, 0], [0, 0]], [[0, 0], [0, 0]], "b: neither in train nor in val"),
    ],
)
def test_f30_classes_that_a_split_lacks_are_named(
    tmp_path: Path, train: object, val: object, told: str
) -> None:
    found = check(index_of([entry(tmp_path, "t", train)], [entry(tmp_path, "v", val)]))
    assert found.problems == ()
    assert len(found.warnings) == 1
    assert told in found.warnings[0]


def test_f35_the_same_content_in_two_splits_is_a_problem(tmp_path: Path) -> None:
    labels = [[0, 1], [0, 1]]
    train = [entry(tmp_path, "t1", labels), entry(tmp_path, "t2", labels, seed=5)]
    val = [entry(tmp_path, "v", labels, seed=5)]
    found = check(index_of(train, val))
    assert len(found.problems) == 1
    assert "t2.png in train and" in found.problems[0]
    assert "v.png in val are the same picture" in found.problems[0]


def test_f35_one_file_in_two_splits_is_a_problem(tmp_path: Path) -> None:
    one = entry(tmp_path, "t", [[0, 1], [0, 1]])
    assert "same picture" in check(index_of([one], [one])).problems[0]


def test_f35_parts_of_one_source_in_two_splits_are_a_problem_unless_a_guard_is_kept(
    tmp_path: Path,
) -> None:
    labels = [[0, 1], [0, 1]]
    train, val = (
        [Entry(e.key, e.image, e.target, source="scene 1")]
        for e in (entry(tmp_path, "t", labels), entry(tmp_path, "v", labels))
    )
    assert "parts of one" in check(index_of(train, val)).problems[0]
    assert check(load(tiny.draw_pair(tmp_path))).problems == ()


def test_grey_pictures_palettes_and_exif_are_counted(tmp_path: Path) -> None:
    grey, turned, plain = (entry(tmp_path, key, [[0, 1], [1, 0]]) for key in "gtp")
    tiny.save(grey.image, np.array([[1, 2], [3, 4]], np.uint8))
    images.write_mask(
        Path(str(grey.target)), np.array([[0, 1], [1, 0]], np.int16), ((0, 0, 0), (255, 0, 0))
    )
    exif = Image.Exif()
    exif[0x0112] = 6
    pixels = np.array(Image.open(turned.image))
    tiny.save(turned.image, pixels, exif=exif)
    found = check(index_of([grey, turned], [plain]))
    assert found.problems == ()
    assert (found.grey, found.rotated, found.palettes) == (1, 1, 1)


def test_smooth_edges_are_counted(tmp_path: Path) -> None:
    spec = tiny.draw_pair(tmp_path)
    labels = images.raw_mask(tmp_path / "gt.png").copy()
    labels[0, :5] = (64, 100, 128, 200, 254)
    tiny.save(tmp_path / "gt.png", labels)
    spec = Spec("pair", {**spec.options, "names": ("a", "b"), "values": (0, 255)})
    assert check(load(spec)).between == 5


def test_warnings_about_files_are_told_once(tmp_path: Path) -> None:
    index = load(tiny.draw_folders(tmp_path))
    for i in range(4):
        path = tmp_path / "images" / f"{i:02}.jpg"
        pixels = np.array(Image.open(path).convert("RGBA"))
        pixels[0, 0, 3] = 0
        Image.fromarray(pixels).save(path, format="PNG")
    found = check(index)
    assert found.problems == ()
    assert len([text for text in found.warnings if "Transparency is dropped" in text]) == 1


def test_class_labels_are_counted_as_images(tmp_path: Path) -> None:
    paths = [entry(tmp_path, key, [[0]]).image for key in ("a", "b", "c")]
    train = [Entry("a", paths[0], 0), Entry("b", paths[1], 1)]
    found = check(index_of(train, [Entry("c", paths[2], 1)]))
    assert found.splits["train"].pixels == (1, 1)
    assert found.splits["val"].pixels == (0, 1)


def test_f35_the_same_pixels_in_another_format_are_the_same_picture(tmp_path: Path) -> None:
    labels = [[0, 1], [0, 1]]
    train, val = entry(tmp_path, "t", labels), entry(tmp_path, "v", labels)
    again = tiny.save(tmp_path / "again.webp", images.read_image(val.image), lossless=True)
    found = check(index_of([train, Entry("again", again, train.target)], [val]))
    assert len(found.problems) == 1
    assert "again.webp in train and" in found.problems[0]
    assert "--repair" in found.problems[0]


def test_copies_in_one_split_are_told(tmp_path: Path) -> None:
    labels = [[0, 1], [0, 1]]
    one, two = entry(tmp_path, "a", labels, seed=3), entry(tmp_path, "b", labels, seed=3)
    found = check(index_of([one, two], [entry(tmp_path, "v", labels)]))
    assert found.problems == ()
    assert len(found.warnings) == 1
    assert f"{one.image} and {two.image} show the same pixels" in found.warnings[0]


def test_pictures_of_other_sizes_with_the_same_bytes_are_no_copies(tmp_path: Path) -> None:
    pixels = np.arange(24, dtype=np.uint8)
    tall = tiny.save(tmp_path / "tall.png", pixels.reshape(4, 2, 3))
    wide = tiny.save(tmp_path / "wide.png", pixels.reshape(2, 4, 3))
    found = check(index_of([Entry("t", tall, None)], [Entry("w", wide, None)]))
    assert found.problems == ()
