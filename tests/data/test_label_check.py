"""What a look at pictures with one label finds: broken, doubled, contradictory, unequal."""

import json
from pathlib import Path

import numpy as np
import pytest

import tiny
from pixelwright.data.check import check
from pixelwright.data.index import load
from pixelwright.registry import Spec
from pixelwright.types import Entry, Event, Index


def entry(folder: Path, key: str, label: int, seed: int | None = None, side: int = 8) -> Entry:
    """An entry of a picture that no other seed has; without a seed none but its key."""
    pixels = tiny.labelled(label, 1, side, seed=sum(key.encode()) if seed is None else seed)[0]
    return Entry(key, tiny.save(folder / f"{key}.png", pixels), label)


def index_of(**splits: list[Entry]) -> Index:
    from pixelwright.render import palette
    from pixelwright.types import Classes

    classes = Classes(("ant", "bee"), palette(2))
    return Index(classes, {split: tuple(entries) for split, entries in splits.items()})


def test_images_are_counted_by_class(tmp_path: Path) -> None:
    found = check(load(tiny.draw_class_folders(tmp_path)))
    assert (found.problems, found.warnings) == ((), ())
    assert found.splits["train"].pixels == found.splits["train"].present == (3, 3, 3)
    assert found.sizes == {(8, 8): 18}
    assert found.rows() == [
        ("class", "train images", "train share", "val images", "val share"),
        ("ant", "3", "33.33%", "3", "33.33%"),
        ("bee", "3", "33.33%", "3", "33.33%"),
        ("cat", "3", "33.33%", "3", "33.33%"),
    ]
    table = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert table["splits"]["val"]["classes"]["bee"] == {"entries": 3}


@pytest.mark.parametrize("draw", [tiny.draw_cifar10, tiny.draw_cifar100])
def test_rows_are_looked_at_without_a_problem(tmp_path: Path, draw: type) -> None:
    events: list[Event] = []
    index = load(draw(tmp_path))
    found = check(index, events.append)
    assert (found.problems, found.warnings) == ((), ())
    every = sum(len(entries) for entries in index.splits.values())
    assert found.sizes == {(32, 32): every}
    assert events[-1].data == {"what": "check", "done": every, "total": every}


def test_f01_f02_f03_unreadable_files_are_all_found_and_the_first_3_told(tmp_path: Path) -> None:
    spec = tiny.draw_class_folders(tmp_path)
    (tmp_path / "train" / "ant" / "00.png").write_bytes(b"")
    (tmp_path / "train" / "bee" / "01.png").write_text("<html>")
    for i in range(2):
        path = tmp_path / "val" / "cat" / f"{i:02}.png"
        path.write_bytes(path.read_bytes()[:-20])
    found = check(load(spec))
    assert len(found.broken) == 4
    assert len(found.problems) == 4
    assert found.problems[3] == "1 more files have problems."
    assert "00.png is an empty file" in found.problems[0]
    assert found.files == 14


def test_a_batch_that_is_damaged_later_is_a_problem(tmp_path: Path) -> None:
    index = load(tiny.draw_cifar10(tmp_path))
    path = tmp_path / "cifar-10-batches-py" / "data_batch_2"
    path.write_bytes(path.read_bytes()[:-100])
    found = check(index)
    assert len(found.problems) == 1
    assert "data_batch_2 is damaged" in found.problems[0]
    assert found.files == 50


def test_unequal_classes_are_told_in_plain_words(tmp_path: Path) -> None:
    train = [entry(tmp_path, f"a{i}", 0) for i in range(12)]
    few = [entry(tmp_path, f"b{i}", 1) for i in range(2)]
    val = [entry(tmp_path, "va", 0), entry(tmp_path, "vb", 1)]
    (told,) = check(index_of(train=[*train, *few], val=val)).warnings
    assert "ant has 12 images, bee 2, 6 times fewer" in told
    assert "weights=inverse-frequency" in told
    assert check(index_of(train=[*train[:10], *few], val=val)).warnings == ()


def test_f30_f34_classes_in_one_split_only_are_told(tmp_path: Path) -> None:
    both = [entry(tmp_path, "a", 0), entry(tmp_path, "b", 1)]
    ant = [entry(tmp_path, "v", 0)]
    told = check(index_of(train=both, val=ant, test=[entry(tmp_path, "t", 1)])).warnings
    assert len(told) == 2
    assert "bee occurs in train but never in val" in told[0]
    assert "ant occurs in train but never in test" in told[1]
    (told_of_train,) = check(index_of(train=[both[0]], val=[ant[0], both[1]])).warnings
    assert "NOT LEARNABLE: bee occurs in val but never in train, so all its images" in told_of_train


def test_f35_the_same_picture_in_two_splits_is_a_problem(tmp_path: Path) -> None:
    train = [entry(tmp_path, "a", 0), entry(tmp_path, "b", 1)]
    val = [entry(tmp_path, "v", 0, seed=sum(b"a")), entry(tmp_path, "w", 1)]
    found = check(index_of(train=train, val=val))
    assert len(found.problems) == 1
    assert "a in train and v in val are the same picture" in found.problems[0]
    assert "--repair" not in found.problems[0]


def test_f35_the_same_row_in_two_splits_is_a_problem(tmp_path: Path) -> None:
    pixels, labels = tiny.cifar(2, 3)
    pixels[5] = pixels[1]
    np.save(tmp_path / "x.npy", pixels)
    rows = [
        Entry(f"x/{i}", tmp_path / "x.npy", label, row=i) for i, label in enumerate(labels[:-2])
    ]
    later = [Entry(f"x/{i}", tmp_path / "x.npy", labels[i], row=i) for i in (4, 5)]
    (problem,) = check(index_of(train=rows, val=later)).problems
    assert "x/1 in train and x/5 in val are the same picture" in problem


def test_f35_a_picture_and_a_row_of_equal_pixels_are_the_same(tmp_path: Path) -> None:
    train = [entry(tmp_path, "a", 0), entry(tmp_path, "b", 1)]
    np.save(tmp_path / "x.npy", tiny.labelled(0, 1, 8, seed=sum(b"a")))
    (problem,) = check(
        index_of(train=train, val=[Entry("x", tmp_path / "x.npy", 0, row=0)])
    ).problems
    assert "a in train and x in val are the same picture" in problem


def test_f35_one_source_in_two_splits_is_a_problem(tmp_path: Path) -> None:
    tiny.draw_csv(tmp_path)
    lines = ["path,label,split,source"]
    lines += [f"pictures/{name}-{i}.png,{name},{split},patient 7" for name, i, split in (
        ("ant", 0, "train"), ("bee", 0, "train"), ("ant", 1, "val"), ("bee", 1, "val"),
    )]  # fmt: skip
    (tmp_path / "labels.csv").write_text("\n".join(lines))
    (problem,) = check(load(Spec("csv", {"file": tmp_path / "labels.csv"}))).problems
    assert "or of one source" in problem


def test_copies_in_one_split_are_told(tmp_path: Path) -> None:
    train = [entry(tmp_path, key, 0, seed=4) for key in ("a", "b", "c")]
    train.append(entry(tmp_path, "d", 1))
    found = check(index_of(train=train, val=[entry(tmp_path, "v", 0), entry(tmp_path, "w", 1)]))
    assert found.problems == ()
    assert found.warnings == (
        "a and b show the same pixels, and 1 more like it: copies count twice. Remove one of each.",
    )


def test_the_same_picture_with_two_labels_is_told(tmp_path: Path) -> None:
    one = entry(tmp_path, "a", 0)
    twin = Entry("b", tiny.save(tmp_path / "b.png", tiny.labelled(0, 1, seed=sum(b"a"))[0]), 1)
    val = [entry(tmp_path, "v", 0), entry(tmp_path, "w", 1)]
    (told,) = check(index_of(train=[one, twin], val=val)).warnings
    assert told.startswith("a is labelled ant, and b, the same picture, bee. At most one can be")


def test_mixed_sizes_and_modes_are_told(tmp_path: Path) -> None:
    train = [entry(tmp_path, "a", 0), entry(tmp_path, "b", 1), entry(tmp_path, "c", 1, side=20)]
    grey = Entry("g", tiny.save(tmp_path / "g.png", tiny.labelled(3, 1)[0, ..., 0]), 0)
    val = [entry(tmp_path, "v", 0), entry(tmp_path, "w", 1)]
    found = check(index_of(train=[*train, grey], val=val))
    assert found.problems == ()
    assert found.grey == 1
    sizes, modes = found.warnings
    assert "have 2 sizes, from 8x8 to 20x20" in sizes
    assert "size = 64" in sizes
    assert "different modes (5 colour, 1 grey)" in modes


def test_f09_transparency_is_told_once(tmp_path: Path) -> None:
    spec = tiny.draw_class_folders(tmp_path)
    for split in ("train", "val"):
        for name in tiny.ANIMALS:
            for path in (tmp_path / split / name).iterdir():
                pixels = tiny.labelled(1, 1, seed=sum(str(path).encode()))[0]
                alpha = np.full((8, 8, 1), 100, np.uint8)
                tiny.save(path, np.concatenate([pixels, alpha], axis=2))
    told = check(load(spec)).warnings
    assert len(told) == 6  # once for each folder
    assert all("Transparency is dropped" in text for text in told)
