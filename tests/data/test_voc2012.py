"""PASCAL VOC 2012 in its true layout."""

import shutil
from pathlib import Path

import numpy as np
import pytest

import tiny
from pixelwright import images, jobs
from pixelwright.data.check import check
from pixelwright.data.index import load
from pixelwright.data.layouts.voc2012 import NAMES, color
from pixelwright.errors import DataError, PixelwrightWarning
from pixelwright.recipe import Recipe
from pixelwright.registry import Spec
from pixelwright.types import IGNORE, silent

REAL = Path(__file__).parents[2].parent / "shared" / "data" / "voc-palette-masks"


@pytest.fixture
def spec(tmp_path: Path) -> Spec:
    return tiny.draw_voc2012(tmp_path)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "VOCdevkit" / "VOC2012"


def test_the_classes_and_their_colours_are_the_published_ones(spec: Spec) -> None:
    classes = load(spec).classes
    assert len(classes) == 21
    assert (classes.names[0], classes.names[15], classes.names[20]) == (
        *("background", "person", "tvmonitor"),
    )
    assert list(classes.names[1:]) == sorted(classes.names[1:])
    known = {0: (0, 0, 0), 1: (128, 0, 0), 9: (192, 0, 0), 15: (192, 128, 128), 20: (0, 64, 128)}
    assert {index: classes.colors[index] for index in known} == known
    assert color(255) == (224, 224, 192)
    assert classes.values == {**{i: i for i in range(21)}, 255: IGNORE}


def test_palette_masks_are_read_by_index(spec: Spec) -> None:
    index = load(spec)
    for entry in index.splits["val"]:
        target = images.read_mask(Path(str(entry.target)), index.classes)
        assert set(np.unique(target)) == {IGNORE, *range(21)}
        assert (target[:2] == IGNORE).all()
    assert check(index).palettes == 6


def test_foreground_is_any_object_and_borders_stay_ignored(spec: Spec) -> None:
    whole, two = load(spec), load(spec.with_option("foreground", True))
    assert two.classes.names == ("background", "foreground")
    path = Path(str(whole.splits["train"][0].target))
    target = images.read_mask(path, whole.classes)
    assert np.array_equal(images.read_mask(path, two.classes), np.minimum(target, 1))


@pytest.mark.parametrize("place", ["", "VOCdevkit", "VOCdevkit/VOC2012"])
def test_the_root_may_be_any_folder_down_to_the_year(
    spec: Spec, tmp_path: Path, place: str
) -> None:
    assert load(Spec("voc2012", {"root": tmp_path / place})) == load(spec)


def test_a_zip_archive_is_read_as_it_is(spec: Spec, tmp_path: Path) -> None:
    archive = tiny.pack(tmp_path / "voc.zip", tmp_path / "VOCdevkit", "VOCdevkit")
    index = load(Spec("voc2012", {"root": archive}))
    assert [len(entries) for entries in index.splits.values()] == [3, 3]
    assert check(index).problems == ()


def augment(home: Path, names: list[str]) -> None:
    for name in names:
        image, labels = tiny.scene(*tiny.SIZE, 21, 7)
        tiny.save(home / "JPEGImages" / f"{name}.jpg", image)
        tiny.save(home / "SegmentationClassAug" / f"{name}.png", labels)


def test_augmented_masks_are_those_of_the_list_without_val(spec: Spec, home: Path) -> None:
    augment(home, ["2008_000001", "2008_000002", "2007_000100"])
    plain = spec.with_option("augmented", True)
    assert [e.key for e in load(plain).splits["train"]] == ["2008_000001", "2008_000002"]
    line = "/JPEGImages/{0}.jpg /SegmentationClassAug/{0}.png\n"
    text = "".join(line.format(name) for name in ("2008_000002", "2007_000100"))
    (home / "ImageSets/Segmentation/trainaug.txt").write_text(text)
    with pytest.warns(PixelwrightWarning, match=r"lists 1 pictures of val\.txt, 2007_000100"):
        index = load(plain)
    assert [e.key for e in index.splits["train"]] == ["2008_000002"]
    assert Path(str(index.splits["train"][0].target)).parent.name == "SegmentationClassAug"
    assert index.splits["val"] == load(spec).splits["val"]


def test_augmented_masks_that_are_not_there_are_asked_for(spec: Spec) -> None:
    with pytest.raises(DataError, match="has no folder SegmentationClassAug"):
        load(spec.with_option("augmented", True))


def test_the_tar_that_was_not_extracted_is_named(tmp_path: Path) -> None:
    (tmp_path / "VOCtrainval_11-May-2012.tar").write_bytes(b"?")
    told = r"Extract VOCtrainval_11-May-2012\.tar there: tar -xf VOCtrainval_11-May-2012\.tar\."
    with pytest.raises(DataError, match=told):
        load(Spec("voc2012", {"root": tmp_path}))


def test_a_missing_list_is_told(spec: Spec, home: Path) -> None:
    (home / "ImageSets/Segmentation/val.txt").unlink()
    with pytest.raises(DataError, match=r"There is no .*Segmentation/val\.txt"):
        load(spec)


@pytest.mark.parametrize(
    ("text", "told"), [("\n", "names no picture"), ("a\nb\na\n", "names a twice")]
)
def test_a_list_that_cannot_be_is_told(spec: Spec, home: Path, text: str, told: str) -> None:
    (home / "ImageSets/Segmentation/train.txt").write_text(text)
    with pytest.raises(DataError, match=rf"train\.txt {told}"):
        load(spec)


@pytest.mark.parametrize("folder", ["JPEGImages", "SegmentationClass"])
def test_f28_a_list_that_names_a_missing_file_is_told(spec: Spec, home: Path, folder: str) -> None:
    next((home / folder).glob("2007_000101.*")).unlink()
    with pytest.raises(
        DataError, match=rf"1 of the 3 files of val\.txt are not in .*{folder}: 2007_"
    ):
        load(spec)
    shutil.rmtree(home / folder)
    with pytest.raises(DataError, match=rf"3 of the 3 files of \w+\.txt are not in .*{folder}"):
        load(spec)


def test_training_works_from_end_to_end(spec: Spec, tmp_path: Path) -> None:
    recipe = Recipe.from_dict(
        {
            "data": spec.with_option("foreground", True),
            "model": "unet:width=4,depth=1",
            "train": {"steps": 2, "batch_size": 2, "crop": 32},
        }
    )
    run = jobs.train(recipe, out=tmp_path / "run", on_event=silent)
    assert list(run.scores("val")["classes"]) == ["background", "foreground"]


@pytest.mark.skipif(not REAL.is_dir(), reason="the real masks are not here")
def test_f20_real_masks_hold_the_published_indices_and_palette(spec: Spec) -> None:
    classes = load(spec).classes
    seen: set[int] = set()
    for path in sorted(REAL.glob("*.png")):
        seen |= set(np.unique(images.read_mask(path, classes)).tolist())
    assert {0, 15, IGNORE} <= seen
    from PIL import Image

    held = Image.open(REAL / "2007_000032.png").getpalette()
    assert held is not None
    assert held[: 3 * len(NAMES)] == [sample for i in range(len(NAMES)) for sample in color(i)]
