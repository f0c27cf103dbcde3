"""Layouts of pictures with one label: CIFAR in its versions, class folders, CSV; held-out parts."""

import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

import tiny
from pixelwright import images
from pixelwright.data.dataset import Dataset
from pixelwright.data.index import load
from pixelwright.data.labels import hold_out_stratified
from pixelwright.data.layouts.cifar100 import COARSE, COARSE_OF_FINE, FINE
from pixelwright.data.recognise import layout_of
from pixelwright.errors import DataError, PixelwrightWarning, RecipeError
from pixelwright.registry import Spec
from pixelwright.types import Entry, Index


def counts(index: Index) -> dict[str, int]:
    return {split: len(entries) for split, entries in index.splits.items()}


def names_of(index: Index, split: str) -> Counter[str]:
    return Counter(index.classes.names[int(str(e.target))] for e in index.splits[split])


def what_it_holds(index: Index) -> Counter[tuple[str, str]]:
    """Every picture that is trained or validated on, and its class, in no order."""
    found: Counter[tuple[str, str]] = Counter()
    for split in ("train", "val"):
        dataset = Dataset(index.splits[split], index.classes)
        for number, entry in enumerate(index.splits[split]):
            name = index.classes.names[int(str(entry.target))]
            found[(images.content(dataset.sample(number).image), name)] += 1
    return found


def as_files(index: Index, folder: Path) -> None:
    """The rows of an index as class folders."""
    for split, entries in index.splits.items():
        for entry in entries:
            assert entry.row is not None
            name = index.classes.names[int(str(entry.target))]
            where = folder / ("test" if split == "test" else "train") / name
            picture = images.read_row(entry.image, entry.row)
            tiny.save(where / f"{entry.row:05}-{entry.image.name}.png", picture)


# CIFAR


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
    assert what_it_holds(pickled) == what_it_holds(binary) == what_it_holds(folders)
    assert counts(pickled) == counts(binary) == counts(folders)
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
    assert counts(index) == {"train": 180, "val": 20, "test": 40}
    assert set(names_of(index, "val").values()) == {2}
    assert load(Spec("cifar10", {"root": tmp_path, "seed": 1})).splits != index.splits
    assert len(load(Spec("cifar10", {"root": tmp_path, "val": 0.5})).splits["val"]) == 100


def test_the_inner_folder_and_a_zip_archive_are_read_too(tmp_path: Path) -> None:
    whole = load(tiny.draw_cifar10(tmp_path / "data"))
    inner = tmp_path / "data" / "cifar-10-batches-py"
    assert load(Spec("cifar10", {"root": inner})) == whole
    packed = tiny.pack(tmp_path / "data.zip", tmp_path / "data")
    assert what_it_holds(load(Spec("cifar10", {"root": packed}))) == what_it_holds(whole)


def test_cifar_without_its_test_file_is_whole_and_without_a_batch_is_not(tmp_path: Path) -> None:
    spec = tiny.draw_cifar10(tmp_path)
    home = tmp_path / "cifar-10-batches-py"
    (home / "test_batch").unlink()
    assert counts(load(spec)) == {"train": 40, "val": 10}
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
    assert counts(index) == {"train": 39, "val": 10, "test": 10}


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


# Class folders


@pytest.mark.parametrize(
    ("splits", "found"),
    [
        (("train", "val", "test"), ["train", "val", "test"]),
        (("Training", "Valid"), ["train", "val"]),
        (("trn", "dev", "testing", "sketches", "clipart"), ["train", "val", "test"]),
        (("train",), ["train", "val"]),
        ((), ["train", "val"]),
    ],
)
def test_the_usual_arrangements_of_class_folders_are_known(
    tmp_path: Path, splits: Sequence[str], found: list[str]
) -> None:
    index = load(tiny.draw_class_folders(tmp_path, splits, each=5))
    others = [split for split in splits if split in ("sketches", "clipart")]
    assert list(index.splits) == [*found, *sorted(others)]
    assert index.classes.names == tiny.ANIMALS
    held_out = "val" in found and not {"val", "Valid", "dev"} & set(splits)
    assert counts(index)["train"] == (12 if held_out else 15)
    assert set(names_of(index, "val").values()) == {1 if held_out else 5}
    assert index.splits["train"][0].key.endswith("ant/00.png")


def test_a_class_may_be_called_as_a_split(tmp_path: Path) -> None:
    index = load(tiny.draw_class_folders(tmp_path, (), names=("boat", "test", "train")))
    assert index.classes.names == ("boat", "test", "train")
    assert list(index.splits) == ["train", "val"]


def test_another_folder_may_be_trained_on(tmp_path: Path) -> None:
    spec = tiny.draw_class_folders(tmp_path, ("train", "train_small", "val"))
    small = load(spec.with_option("train_split", "train_small"))
    assert {e.key.partition("/")[0] for e in small.splits["train"]} == {"train_small"}
    with pytest.raises(DataError, match="train_split=trian"):
        load(spec.with_option("train_split", "trian"))


def test_a_test_split_is_held_out_of_class_folders_where_asked(tmp_path: Path) -> None:
    spec = tiny.draw_class_folders(tmp_path, (), each=10)
    index = load(Spec("class-folders", {**spec.options, "test": 0.2, "val": 0.25}))
    assert counts(index) == {"train": 18, "val": 6, "test": 6}
    with_test = tiny.draw_class_folders(tmp_path / "x", ("train", "test"))
    with pytest.raises(RecipeError, match="has a test split of its own"):
        load(with_test.with_option("test", 0.2))


def test_f34_classes_are_the_union_over_all_splits(tmp_path: Path) -> None:
    spec = tiny.draw_class_folders(tmp_path)
    shutil.rmtree(tmp_path / "val" / "bee")
    index = load(spec)
    assert index.classes.names == tiny.ANIMALS
    assert {entry.target for entry in index.splits["val"]} == {0, 2}
    assert {e.key.split("/")[1] for e in index.splits["val"] if e.target == 2} == {"cat"}


@pytest.mark.parametrize("how", ["absent", "empty"])
@pytest.mark.filterwarnings("ignore:Folders without a picture")
def test_f34_a_class_that_training_lacks_is_an_error(tmp_path: Path, how: str) -> None:
    spec = tiny.draw_class_folders(tmp_path)
    shutil.rmtree(tmp_path / "train" / "bee")
    if how == "empty":
        (tmp_path / "train" / "bee").mkdir()
    with pytest.raises(DataError, match=r"'val' of .* has 3 pictures of classes that .*lacks: bee"):
        load(spec)


def test_f34_an_empty_class_folder_is_told_and_is_no_class(tmp_path: Path) -> None:
    spec = tiny.draw_class_folders(tmp_path)
    for split in ("train", "val"):
        (tmp_path / split / "dog").mkdir()
    with pytest.warns(PixelwrightWarning, match=r"without a picture: .*train/dog, .*val/dog"):
        index = load(spec)
    assert index.classes.names == tiny.ANIMALS


def test_an_empty_folder_of_a_split_is_told(tmp_path: Path) -> None:
    spec = tiny.draw_class_folders(tmp_path, ("train",), each=5)
    (tmp_path / "val").mkdir()
    with pytest.warns(PixelwrightWarning, match=r"Folders without a picture: .*val\."):
        assert counts(load(spec)) == {"train": 12, "val": 3}


@pytest.mark.parametrize("splits", [(), ("train", "val")])
def test_one_class_only_is_an_error(tmp_path: Path, splits: Sequence[str]) -> None:
    with pytest.raises(DataError, match=r"holds one class only, 'ant': there is nothing to tell"):
        load(tiny.draw_class_folders(tmp_path, splits, names=("ant",)))


def test_f17_class_folders_that_differ_in_capitals_are_named(tmp_path: Path) -> None:
    spec = tiny.draw_class_folders(tmp_path, ("train",))
    tiny.draw_class_folders(tmp_path, ("val",), names=("ant", "Bee", "cat"))
    with pytest.raises(DataError, match=r"classes 'Bee' and 'bee', which differ in capitals"):
        load(spec)


def test_folders_that_are_no_classes_are_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no folder of pictures for each class, only nothing"):
        load(Spec("class-folders", {"root": tmp_path}))
    tiny.draw_class_folders(tmp_path / "a" / "animals")
    with pytest.raises(DataError, match=r"animals holds folders \(train, val\) and no pictures"):
        load(Spec("class-folders", {"root": tmp_path / "a"}))
    spec = tiny.draw_class_folders(tmp_path / "b")
    tiny.save(tmp_path / "b" / "more" / "x.png", np.zeros((4, 4, 3), np.uint8))
    with pytest.raises(DataError, match=r"more holds pictures, but .*train beside it"):
        load(spec)


def test_a_test_split_without_labels_is_no_split_and_that_is_told(tmp_path: Path) -> None:
    spec = tiny.draw_class_folders(tmp_path)
    tiny.save(tmp_path / "test" / "x.png", np.zeros((4, 4, 3), np.uint8))
    index = load(spec)
    assert list(index.splits) == ["train", "val"]
    assert "lie in no folders of classes" in index.absent["test"]


def test_class_folders_within_a_zip_archive(tmp_path: Path) -> None:
    plain = load(tiny.draw_class_folders(tmp_path / "plain"))
    packed = tiny.pack(tmp_path / "x.zip", tmp_path / "plain")
    assert what_it_holds(load(Spec("class-folders", {"root": packed}))) == what_it_holds(plain)


def test_groups_of_class_folders_come_from_a_file(tmp_path: Path) -> None:
    spec = tiny.draw_class_folders(tmp_path / "data")
    table = tmp_path / "groups.csv"
    table.write_text("class,group\ncat,mammals\nbee,insects\nant,insects\ndog,mammals\n")
    assert load(spec.with_option("groups", table)).classes.groups == (
        *("insects", "insects", "mammals"),
    )
    table.write_text("class;group\ncat;mammals\nbee;insects\n")
    with pytest.raises(DataError, match=r"groups\.csv has no line for ant, 1 of 3 classes"):
        load(spec.with_option("groups", table))
    table.write_text("class,group\ncat,mammals\ncat,insects\n")
    with pytest.raises(DataError, match="line 3: 'cat' has a group already"):
        load(spec.with_option("groups", table))


def test_f35_copies_of_a_picture_are_held_out_together(tmp_path: Path) -> None:
    spec = tiny.draw_class_folders(tmp_path, (), each=4)
    for name in tiny.ANIMALS:
        for i in range(4):
            file = tmp_path / name / f"{i:02}.png"
            (file.parent / f"copy{i}.png").write_bytes(file.read_bytes())
    for seed in range(5):
        index = load(spec.with_option("seed", seed))
        content = [
            {images.fingerprint(entry.image) for entry in entries}
            for entries in index.splits.values()
        ]
        assert content[0].isdisjoint(content[1])


# CSV


def listed(folder: Path, *lines: str, **options: object) -> Spec:
    (folder / "labels.csv").write_text("\n".join(lines) + "\n")
    return Spec("csv", {"file": folder / "labels.csv", **options})


def test_a_list_of_paths_and_labels(tmp_path: Path) -> None:
    index = load(tiny.draw_csv(tmp_path))
    assert index.classes.names == tiny.ANIMALS
    assert counts(index) == {"train": 9, "val": 3}
    assert set(names_of(index, "val").values()) == {1}
    assert index.splits["train"][0].key.startswith("pictures/ant-")


def test_splits_sources_and_groups_are_read_from_their_columns(tmp_path: Path) -> None:
    tiny.draw_csv(tmp_path)
    lines = [
        f"{split}\tpictures/{name}-{i}.png\t{name}\t{group}\tp{i}"
        for i, split in enumerate(("Train", "valid", "test"))
        for name, group in (("ant", "insects"), ("cat", "mammals"))
    ]
    index = load(listed(tmp_path, "Subset\tFile\tClass\tSuperclass\tSource", *lines))
    assert counts(index) == {"train": 2, "val": 2, "test": 2}
    assert index.classes.groups == ("insects", "mammals")
    assert {entry.source for entry in index.splits["val"]} == {"p1"}


def test_f35_lines_of_one_source_are_held_out_together(tmp_path: Path) -> None:
    tiny.draw_csv(tmp_path)
    lines = [f"pictures/{name}-{i}.png,{name},p{i // 2}" for name in tiny.ANIMALS for i in range(4)]
    for seed in range(4):
        index = load(listed(tmp_path, "path,label,source", *lines, seed=seed))
        train, val = ({e.source for e in index.splits[s]} for s in ("train", "val"))
        assert train.isdisjoint(val)
        assert val


def test_rows_of_a_stack_can_be_listed(tmp_path: Path) -> None:
    pixels, labels = tiny.cifar(3, 4)
    np.save(tmp_path / "stack.npy", pixels)
    lines = [f"stack.npy,{row},{label}" for row, label in enumerate(labels)]
    index = load(listed(tmp_path, "path,row,label", *lines))
    assert index.classes.names == ("0", "1", "2")
    assert counts(index) == {"train": 9, "val": 3}
    entry = index.splits["val"][0]
    assert entry.key == f"stack.npy/{entry.row:05}"
    sample = Dataset(index.splits["val"], index.classes).sample(0)
    assert np.array_equal(sample.image, pixels[int(str(entry.row))])
    with pytest.raises(DataError, match=r"line 14: row 12 of .* is not there; its rows are 0 to"):
        load(listed(tmp_path, "path,row,label", *lines, "stack.npy,12,0"))


def test_numbers_are_labels_in_their_order_or_positions_of_names(tmp_path: Path) -> None:
    tiny.draw_csv(tmp_path)
    lines = [f"pictures/ant-{i}.png,{label}" for i, label in enumerate((10, 9, 10, 9))]
    assert load(listed(tmp_path, "path,label", *lines)).classes.names == ("9", "10")
    lines = [f"pictures/ant-{i}.png,{label}" for i, label in enumerate((1, 0, "red", "blue"))]
    index = load(listed(tmp_path, "path,label", *lines, names=("red", "blue")))
    assert index.classes.names == ("red", "blue")
    assert names_of(index, "train") + names_of(index, "val") == {"red": 2, "blue": 2}


@pytest.mark.parametrize(
    ("lines", "names", "told"),
    [
        (["a.png,2"], ("x", "y"), "line 2: the label is 2, but there are 2 names: 0 to 1"),
        (["a.png,-1"], ("x", "y"), "line 2: the label is -1, but there are 2 names"),
        (["a.png,0", "b.png,-100"], (), "line 3: the label is -100; classes are counted from 0"),
        (["a.png,dgo"], ("dog", "cat"), "line 2: No class is called 'dgo'. Did you mean 'dog'"),
        (["a.png,dog", "a.png,cat"], (), "line 3: a.png stands in line 2 already"),
        (["a.png,"], (), "line 2: there is no label"),
        (["a.png,dog", "c.png,cat"], (), "1 of 2 pictures that"),
        (["a.png,dog", "b.png,dog"], (), "holds one class only, 'dog'"),
        ([], (), "holds no class"),
    ],
)
def test_f24_f25_f39_lines_that_are_wrong_are_named(
    tmp_path: Path, lines: list[str], names: tuple[str, ...], told: str
) -> None:
    for name in "ab":
        tiny.save(tmp_path / f"{name}.png", tiny.labelled(ord(name), 1)[0])
    with pytest.raises(DataError) as error:
        load(listed(tmp_path, "path,label", *lines, names=names))
    assert told in str(error.value)


def test_a_file_that_is_no_list_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="has no column label, only path, labl"):
        load(listed(tmp_path, "path,labl", "a.png,dog"))
    with pytest.raises(DataError, match="line 2: there is no split"):
        tiny.save(tmp_path / "a.png", np.zeros((4, 4, 3), np.uint8))
        load(listed(tmp_path, "path,label,split", "a.png,dog,"))
    with pytest.raises(DataError, match=r"puts 'dog' in the group 'a' in line 2 and in 'b' in"):
        tiny.save(tmp_path / "b.png", np.ones((4, 4, 3), np.uint8))
        load(listed(tmp_path, "path,label,group", "a.png,dog,a", "b.png,dog,b"))


def test_f34_a_list_whose_validation_has_a_class_of_its_own_is_refused(tmp_path: Path) -> None:
    tiny.draw_csv(tmp_path)
    lines = [f"pictures/ant-{i}.png,ant,train" for i in range(2)]
    with pytest.raises(DataError, match="classes that 'train' lacks: cat"):
        load(listed(tmp_path, "path,label,split", *lines, "pictures/cat-0.png,cat,val"))


# Holding out


def entries(**classes: int) -> list[Entry]:
    return [
        Entry(f"{name}/{i}", Path(f"{name}{i}.png"), label)
        for label, (name, count) in enumerate(classes.items())
        for i in range(count)
    ]


def test_every_class_keeps_its_share_and_one_picture_to_train_on() -> None:
    every = entries(a=100, b=30, c=4, d=2, e=1)
    train, val = hold_out_stratified(every, 0.1, seed=0)
    # 10.0, 3.0, 0.4 and 0.2 that become 1, and the only picture of a class is trained on.
    assert Counter(entry.target for entry in val) == {0: 10, 1: 3, 2: 1, 3: 1}
    assert Counter(entry.target for entry in train) == {0: 90, 1: 27, 2: 3, 3: 1, 4: 1}
    assert sorted([*train, *val], key=every.index) == every


def test_what_is_held_out_depends_on_names_and_seed_but_not_on_order_or_other_classes() -> None:
    every = entries(a=20, b=20)
    _, val = hold_out_stratified(every, 0.2, seed=1)
    keys = {entry.key for entry in val}
    assert {e.key for e in hold_out_stratified(every[::-1], 0.2, seed=1)[1]} == keys
    assert {e.key for e in hold_out_stratified(every, 0.2, seed=2)[1]} != keys
    alone = hold_out_stratified(entries(a=20), 0.2, seed=1)[1]
    assert {e.key for e in alone} == {key for key in keys if key.startswith("a/")}
    # Pinned, so that a recipe means the same split in every release.
    assert [e.key for e in val] == [
        *("a/0", "a/11", "a/15", "a/19", "b/1", "b/6", "b/8", "b/15"),
    ]


def test_f35_a_source_with_two_classes_leaves_neither_without_a_picture() -> None:
    every = [
        Entry("a0", Path("a0.png"), 0, source="twin"),
        Entry("b0", Path("b0.png"), 1, source="twin"),
        *(Entry(f"a{i}", Path(f"a{i}.png"), 0) for i in range(1, 4)),
    ]
    for seed in range(8):
        train, val = hold_out_stratified(every, 0.5, seed)
        assert {entry.target for entry in train} == {0, 1}
        assert 2 <= len(val) <= 3


def test_nothing_to_hold_out_is_an_error() -> None:
    with pytest.raises(DataError, match="No class has two different pictures"):
        hold_out_stratified(entries(a=1, b=1), 0.5, seed=0)
    with pytest.raises(RecipeError, match=r"val=1\.0 would leave a split empty"):
        hold_out_stratified(entries(a=3, b=3), 1.0, seed=0)


# What a folder is


def test_a_folder_is_known_by_what_it_holds(tmp_path: Path) -> None:
    draws = {
        "cifar10": tiny.draw_cifar10,
        "cifar100": tiny.draw_cifar100,
        "class-folders": tiny.draw_class_folders,
        "folders": tiny.draw_folders,
    }
    for name, draw in draws.items():
        draw(tmp_path / name)
        assert layout_of(tmp_path / name) == name
    tiny.draw_class_folders(tmp_path / "flat", ())
    assert layout_of(tmp_path / "flat") == "class-folders"
    tiny.draw_camvid(tmp_path / "camvid")
    assert layout_of(tmp_path / "camvid") == "folders"


@pytest.mark.parametrize(
    "names",
    [
        ("images", "maskz"),
        ("train", "train_msk"),
        ("train", "val"),
        ("imgs", "gts"),
        ("one",),
    ],
)
def test_images_and_masks_in_folders_of_odd_names_are_not_taken_for_classes(
    tmp_path: Path, names: tuple[str, ...]
) -> None:
    tiny.draw_class_folders(tmp_path, (), names=names)
    assert layout_of(tmp_path) == "folders"
