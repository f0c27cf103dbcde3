"""CIFAR-10 and CIFAR-100: every published version, labels and groups, rows, what is damaged."""

from collections import Counter
from pathlib import Path

import pytest

import tiny
from pixelwright import images
from pixelwright.data.index import load
from pixelwright.data.layouts.cifar100 import COARSE, COARSE_OF_FINE, FINE
from pixelwright.errors import DataError, PixelwrightWarning, RecipeError
from pixelwright.registry import Spec
from pixelwright.types import Index


def as_files(index: Index, folder: Path) -> None:
    """The rows of an index as class folders."""
    for split, entries in index.splits.items():
        for entry in entries:
            assert entry.row is not None
            name = index.classes.names[int(str(entry.target))]
            where = folder / ("test" if split == "test" else "train") / name
            picture = images.read_row(entry.image, entry.row)
            tiny.save(where / f"{entry.row:05}-{entry.image.name}.png", picture)


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_all_versions_of_cifar_give_equal_pictures_labels_and_names(
    tmp_path: Path, name: str
) -> None:
    draw = {"cifar10": tiny.draw_cifar10, "cifar100": tiny.draw_cifar100}[name]
    pickled = load(draw(tmp_path / "a", 2))
    binary = load(draw(tmp_path / "b", 2, form="binary"))
    as_files(pickled, tmp_path / "c")
    folders = load(Spec(name, {"root": tmp_path / "c"}))
    assert pickled.classes == binary.classes == folders.classes
    assert tiny.what_it_holds(pickled) == tiny.what_it_holds(binary) == tiny.what_it_holds(folders)
    assert tiny.counts(pickled) == tiny.counts(binary) == tiny.counts(folders)
    for split, entries in pickled.splits.items():
        found = binary.splits[split]
        assert [(e.key, e.row, e.target) for e in entries] == [
            (e.key, e.row, e.target) for e in found
        ]


def test_cifar_100_has_its_official_classes_and_groups(tmp_path: Path) -> None:
    classes = load(tiny.draw_cifar100(tmp_path)).classes
    assert len(classes) == 100
    assert list(classes.names) == sorted(classes.names)
    assert len(set(classes.groups)) == 20
    assert Counter(classes.groups) == dict.fromkeys(COARSE, 5)
    group = dict(zip(classes.names, classes.groups, strict=True))
    assert [name for name in FINE if group[name] == "fish"] == [
        *("aquarium_fish", "flatfish", "ray", "shark", "trout"),
    ]
    assert group["lawn_mower"] == group["streetcar"] == "vehicles_2"
    assert group["otter"] == "aquatic_mammals"


def test_groups_are_targets_where_asked_and_the_same_pictures_are_held_out(tmp_path: Path) -> None:
    spec = tiny.draw_cifar100(tmp_path)
    fine, coarse = load(spec), load(spec.with_option("labels", "coarse"))
    assert coarse.classes.names == COARSE
    assert coarse.classes.groups == ()
    for split in fine.splits:
        pairs = list(zip(fine.splits[split], coarse.splits[split], strict=True))
        assert all(one.key == other.key for one, other in pairs)
        assert all(COARSE_OF_FINE[int(str(one.target))] == other.target for one, other in pairs)


def test_some_classes_are_picked_by_position_or_name_and_counted_anew(tmp_path: Path) -> None:
    spec = tiny.draw_cifar100(tmp_path)
    every, some = load(spec), load(spec.with_option("classes", ("0-1", "worm", "bear")))
    assert some.classes.names == ("apple", "aquarium_fish", "bear", "worm")
    assert some.classes.groups[3] == "non-insect_invertebrates"
    for split, entries in some.splits.items():
        assert {entry.target for entry in entries} == {0, 1, 2, 3}
        keys = {e.key for e in every.splits[split] if e.target in (0, 1, 3, 99)}
        assert {entry.key for entry in entries} == keys


@pytest.mark.parametrize("classes", [("wurm",), ("0-100",), ("9-3",), ("bear",)])
def test_classes_that_cannot_be_picked_are_refused(
    tmp_path: Path, classes: tuple[str, ...]
) -> None:
    spec = tiny.draw_cifar100(tmp_path).with_option("classes", classes)
    with pytest.raises(RecipeError, match=r"'worm'|positions are 0 to 99|is one class"):
        load(spec)


def test_rows_are_called_by_their_number_in_the_published_split(tmp_path: Path) -> None:
    index = load(tiny.draw_cifar10(tmp_path))
    held = {e.key: e for entries in index.splits.values() for e in entries}
    assert set(held) == {f"train/{i:05}" for i in range(50)} | {f"test/{i:05}" for i in range(10)}
    third = held["train/00023"]
    assert (third.image.name, third.row) == ("data_batch_3", 3)


def test_a_tenth_of_each_class_is_held_out(tmp_path: Path) -> None:
    index = load(tiny.draw_cifar10(tmp_path, each=4))
    assert tiny.counts(index) == {"train": 180, "val": 20, "test": 40}
    assert set(tiny.names_of(index, "val").values()) == {2}
    assert load(Spec("cifar10", {"root": tmp_path, "seed": 1})).splits != index.splits
    assert len(load(Spec("cifar10", {"root": tmp_path, "val": 0.5})).splits["val"]) == 100


def test_the_inner_folder_and_a_zip_archive_are_read_too(tmp_path: Path) -> None:
    whole = load(tiny.draw_cifar10(tmp_path / "data"))
    inner = tmp_path / "data" / "cifar-10-batches-py"
    assert load(Spec("cifar10", {"root": inner})) == whole
    packed = tiny.pack(tmp_path / "data.zip", tmp_path / "data")
    assert tiny.what_it_holds(load(Spec("cifar10", {"root": packed}))) == tiny.what_it_holds(whole)


def test_cifar_without_its_test_file_is_whole_and_without_a_batch_is_not(tmp_path: Path) -> None:
    spec = tiny.draw_cifar10(tmp_path)
    home = tmp_path / "cifar-10-batches-py"
    (home / "test_batch").unlink()
    assert tiny.counts(load(spec)) == {"train": 40, "val": 10}
    (home / "data_batch_4").unlink()
    with pytest.raises(DataError, match="lacks data_batch_4 of CIFAR-10's 5 files"):
        load(spec)


def test_a_folder_without_cifar_says_what_to_unpack(tmp_path: Path) -> None:
    (tmp_path / "cifar-100-python.tar.gz").write_bytes(b"\x1f\x8b")
    with pytest.raises(DataError) as error:
        load(Spec("cifar100", {"root": tmp_path}))
    text = str(error.value)
    assert "holds no cifar-100-python/train or cifar-100-binary/train.bin" in text
    assert "only cifar-100-python.tar.gz" in text
    assert "pixelwright data get cifar100" in text
    with pytest.raises(DataError, match=r"is a file\. Unpack CIFAR-100 \(tar -xf cifar-100-p"):
        load(Spec("cifar100", {"root": tmp_path / "cifar-100-python.tar.gz"}))


def test_the_other_cifar_is_told_apart(tmp_path: Path) -> None:
    pixels, labels = tiny.cifar(10, 1)
    tiny.save_batch(tmp_path / "train", pixels, {"labels": labels})
    with pytest.raises(DataError, match="has no fine labels, only label"):
        load(Spec("cifar100", {"root": tmp_path}))


def test_other_names_than_the_published_are_refused(tmp_path: Path) -> None:
    spec = tiny.draw_cifar100(tmp_path, form="binary")
    names = tmp_path / "cifar-100-binary" / "fine_label_names.txt"
    names.write_text("\n".join(["Apfel", *FINE[1:]]))
    with pytest.raises(DataError, match=r"does not name the classes of CIFAR-100: Apfel\."):
        load(spec)


def test_a_fine_label_and_a_group_that_contradict_each_other_are_damage(tmp_path: Path) -> None:
    spec = tiny.draw_cifar100(tmp_path, form="binary")
    path = tmp_path / "cifar-100-binary" / "train.bin"
    data = bytearray(path.read_bytes())
    data[7 * 3074] = 19  # the group of row 7, a beetle
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"Row 7 of .*train.bin is labelled 'beetle' and of the"):
        load(spec)


def test_f35_copies_of_test_pictures_are_left_out_of_training_with_a_warning(
    tmp_path: Path,
) -> None:
    spec = tiny.draw_cifar10(tmp_path)
    home = tmp_path / "cifar-10-batches-py"
    pixels, labels = tiny.cifar(10, 1, seed=0)
    tested = images.rows(home / "test_batch")
    pixels[4] = tested[6]
    tiny.save_batch(home / "data_batch_1", pixels, {"labels": labels})
    with pytest.warns(PixelwrightWarning, match=r"1 training pictures .* left out .*train/00004"):
        index = load(spec)
    assert tiny.counts(index) == {"train": 39, "val": 10, "test": 10}


def test_f35_copies_of_a_row_are_held_out_together(tmp_path: Path) -> None:
    draw = tiny.draw_cifar10(tmp_path, each=6)
    home = tmp_path / "cifar-10-batches-py"
    for batch in ("data_batch_1", "data_batch_2"):
        pixels, labels = tiny.cifar(10, 6, seed=0)
        tiny.save_batch(home / batch, pixels, {"labels": labels})
    for seed in range(3):
        index = load(draw.with_option("seed", seed))
        train, val = (
            {images.row_contents(e.image)[int(str(e.row))] for e in index.splits[split]}
            for split in ("train", "val")
        )
        assert train.isdisjoint(val)
