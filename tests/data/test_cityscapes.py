"""Cityscapes in its true layout, extracted and as the two archives."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import tiny
from pixelwright import images, jobs
from pixelwright.data.check import check
from pixelwright.data.index import load
from pixelwright.data.layouts.cityscapes import LABELS
from pixelwright.errors import DataError, RecipeError
from pixelwright.recipe import Recipe
from pixelwright.registry import Spec
from pixelwright.types import IGNORE, silent


@pytest.fixture
def spec(tmp_path: Path) -> Spec:
    return tiny.draw_cityscapes(tmp_path)


def test_the_labels_are_the_published_ones() -> None:
    assert len(LABELS) == 35
    assert [label.id for label in LABELS] == [*range(34), -1]
    trained = [label for label in LABELS if label.train_id not in (255, -1)]
    assert [label.train_id for label in trained] == list(range(19))
    assert tuple(label.id for label in trained) == tiny.CITYSCAPES_IDS
    assert [label.name for label in trained] == [
        *("road", "sidewalk", "building", "wall", "fence", "pole", "traffic light"),
        *("traffic sign", "vegetation", "terrain", "sky", "person", "rider", "car", "truck"),
        *("bus", "train", "motorcycle", "bicycle"),
    ]
    # The colours of the training classes as models publish them, one after the other.
    assert [sample for label in trained for sample in label.color] == [
        *(128, 64, 128, 244, 35, 232, 70, 70, 70, 102, 102, 156, 190, 153, 153, 153, 153, 153),
        *(250, 170, 30, 220, 220, 0, 107, 142, 35, 152, 251, 152, 70, 130, 180, 220, 20, 60),
        *(255, 0, 0, 0, 0, 142, 0, 0, 70, 0, 60, 100, 0, 80, 100, 0, 0, 230, 119, 11, 32),
    ]


def test_each_id_becomes_its_training_id_or_counts_nowhere(spec: Spec, tmp_path: Path) -> None:
    classes = load(spec).classes
    path = tiny.save(tmp_path / "all.png", np.arange(34, dtype=np.uint8)[None])
    expected = [label.train_id if label.train_id < 255 else IGNORE for label in LABELS[:34]]
    assert images.read_mask(path, classes).tolist() == [expected]


def test_the_archives_hold_what_the_folders_hold(spec: Spec, tmp_path: Path) -> None:
    plain, packed = load(spec), load(tiny.draw_cityscapes_zips(tmp_path / "zips"))
    assert plain.classes == packed.classes
    for split in ("train", "val"):
        pairs = zip(plain.splits[split], packed.splits[split], strict=True)
        for one, other in pairs:
            assert one.key == other.key
            assert "_trainvaltest.zip" in str(other.image)
            assert images.fingerprint(one.image) == images.fingerprint(other.image)
            assert images.fingerprint(Path(str(one.target))) == images.fingerprint(
                Path(str(other.target))
            )


def test_an_archive_beside_an_extracted_folder_is_enough(spec: Spec, tmp_path: Path) -> None:
    tiny.pack(tmp_path / "gtFine_trainvaltest.zip", tmp_path / "gtFine", "gtFine")
    shutil.rmtree(tmp_path / "gtFine")
    assert check(load(spec)).problems == ()


def test_cities_are_told_and_make_the_keys(spec: Spec) -> None:
    train = load(spec).splits["train"]
    assert [entry.group for entry in train] == ["aachen", "aachen", "bochum", "bochum"]
    assert train[0].key == "aachen_000000_000019"


def test_the_official_test_is_left_out_with_a_reason(spec: Spec) -> None:
    index = load(spec)
    assert list(index.splits) == ["train", "val"]
    (line,) = [line for line in check(index).warnings if "official" in line]
    assert line.startswith("There is no split 'test'. The official one (2 pictures) has no public")


def test_cities_may_be_kept_apart(spec: Spec) -> None:
    def cities(**given: tuple[str, ...]) -> dict[str, list[str]]:
        index = load(Spec("cityscapes", {**spec.options, **given}))
        return {
            split: list(dict.fromkeys(entry.group for entry in entries))
            for split, entries in index.splits.items()
        }

    assert cities(test_cities=("munster",), val_cities=("bochum",)) == {
        "train": ["aachen"],
        "val": ["bochum"],
        "test": ["munster"],
    }
    assert cities(train_cities=("bochum",)) == {"train": ["bochum"], "val": ["munster"]}
    assert cities(train_cities=("munster", "aachen"), val_cities=("bochum",)) == {
        "train": ["aachen", "munster"],
        "val": ["bochum"],
    }


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"train_cities": ("achen",)}, "No labelled city is called 'achen'. Did you mean 'aachen'"),
        ({"train_cities": ("aachen",), "val_cities": ("aachen",)}, "aachen is given twice"),
        ({"test_cities": ("berlin",)}, "berlin is a city of the official test split"),
    ],
)
def test_cities_that_cannot_be_are_refused(
    spec: Spec, given: dict[str, tuple[str, ...]], told: str
) -> None:
    with pytest.raises(RecipeError, match=told):
        load(Spec("cityscapes", {**spec.options, **given}))


def test_training_ids_are_read_where_there_is_nothing_else(spec: Spec, tmp_path: Path) -> None:
    before = [
        images.read_mask(Path(str(e.target)), load(spec).classes) for e in load(spec).splits["val"]
    ]
    for path in (tmp_path / "gtFine").rglob("*_labelIds.png"):
        ids = np.asarray(Image.open(path))
        table = np.full(256, 255, np.uint8)
        table[list(tiny.CITYSCAPES_IDS)] = range(19)
        tiny.save(path.with_name(path.name.replace("labelIds", "labelTrainIds")), table[ids])
        path.unlink()
    index = load(spec)
    after = [images.read_mask(Path(str(e.target)), index.classes) for e in index.splits["val"]]
    assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))


def test_f24_training_ids_under_the_name_of_ids_are_noticed(spec: Spec, tmp_path: Path) -> None:
    for path in (tmp_path / "gtFine/val").rglob("*_labelIds.png"):
        tiny.save(path, np.full(tiny.SIZE, 255, np.uint8))
    assert "undeclared value 255" in check(load(spec)).problems[0]


def test_f28_a_missing_mask_and_a_missing_picture_are_named(spec: Spec, tmp_path: Path) -> None:
    folder = tmp_path / "gtFine/train/bochum"
    gone = folder / "bochum_000001_000019_gtFine_labelIds.png"
    gone.rename(tmp_path / "kept.png")
    with pytest.raises(
        DataError, match=r"1 of 6 pictures have no mask in .*gtFine: bochum_000001_"
    ):
        load(spec)
    (tmp_path / "kept.png").rename(gone)
    (tmp_path / "leftImg8bit/train/bochum/bochum_000000_000019_leftImg8bit.png").unlink()
    with pytest.raises(DataError, match=r"1 of 6 masks in .*gtFine have no picture: bochum_000000"):
        load(spec)


@pytest.mark.parametrize("name", ["leftImg8bit", "gtFine"])
def test_a_missing_package_is_asked_for_by_name(spec: Spec, tmp_path: Path, name: str) -> None:
    shutil.rmtree(tmp_path / name)
    told = rf"holds neither {name}/train nor {name}_trainvaltest\.zip, only .*Download {name}_train"
    with pytest.raises(DataError, match=told):
        load(spec)


def test_f51_a_package_cut_short_is_named(tmp_path: Path) -> None:
    spec = tiny.draw_cityscapes_zips(tmp_path)
    archive = tmp_path / "gtFine_trainvaltest.zip"
    archive.write_bytes(archive.read_bytes()[:-500])
    with pytest.raises(DataError, match=r"gtFine_trainvaltest\.zip is damaged or no zip archive"):
        load(spec)


def test_training_from_the_archives_works_from_end_to_end(tmp_path: Path) -> None:
    recipe = Recipe.from_dict(
        {
            "data": tiny.draw_cityscapes_zips(tmp_path / "data"),
            "model": "unet:width=4,depth=1",
            "train": {"steps": 2, "batch_size": 2, "crop": 32},
        }
    )
    run = jobs.train(recipe, out=tmp_path / "run", on_event=silent)
    assert len(run.scores("val")["classes"]) == 19
    with pytest.raises(DataError, match=r"no split 'test'\. The official one"):
        jobs.evaluate(run, split="test", on_event=silent)
