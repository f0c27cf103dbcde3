"""Layouts of pictures with one label: class folders, lists in CSV; held-out parts."""

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
from pixelwright.data.recognise import layout_of
from pixelwright.errors import DataError, PixelwrightWarning, RecipeError
from pixelwright.registry import Spec
from pixelwright.types import Entry

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
    assert tiny.counts(index)["train"] == (12 if held_out else 15)
    assert set(tiny.names_of(index, "val").values()) == {1 if held_out else 5}
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
    assert tiny.counts(index) == {"train": 18, "val": 6, "test": 6}
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
        assert tiny.counts(load(spec)) == {"train": 12, "val": 3}


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
    assert tiny.what_it_holds(load(Spec("class-folders", {"root": packed}))) == tiny.what_it_holds(
        plain
    )


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
    assert tiny.counts(index) == {"train": 9, "val": 3}
    assert set(tiny.names_of(index, "val").values()) == {1}
    assert index.splits["train"][0].key.startswith("pictures/ant-")


def test_splits_sources_and_groups_are_read_from_their_columns(tmp_path: Path) -> None:
    tiny.draw_csv(tmp_path)
    lines = [
        f"{split}\tpictures/{name}-{i}.png\t{name}\t{group}\tp{i}"
        for i, split in enumerate(("Train", "valid", "test"))
        for name, group in (("ant", "insects"), ("cat", "mammals"))
    ]
    index = load(listed(tmp_path, "Subset\tFile\tClass\tSuperclass\tSource", *lines))
    assert tiny.counts(index) == {"train": 2, "val": 2, "test": 2}
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
    assert tiny.counts(index) == {"train": 9, "val": 3}
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
    assert tiny.names_of(index, "train") + tiny.names_of(index, "val") == {"red": 2, "blue": 2}


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
