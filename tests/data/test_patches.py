"""Patches: every pixel where the manifest says, each picture in one split, resumable."""

import csv
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import tiny
from pixelwright import images, jobs
from pixelwright.data import patches as module
from pixelwright.data.check import check
from pixelwright.data.counts import label_counts
from pixelwright.data.index import load
from pixelwright.data.patches import Plan, cut
from pixelwright.errors import DataError
from pixelwright.recipe import Recipe
from pixelwright.registry import Spec
from pixelwright.types import IGNORE, Event, Index, silent

CITIES = {"train_cities": ("aachen", "bochum"), "test_cities": ("munster",), "val_cities": ("ulm",)}


@pytest.fixture
def index(tmp_path: Path) -> Index:
    """Cityscapes with a second validation city, from its archives."""
    spec = tiny.draw_cityscapes(tmp_path / "plain")
    for package in ("leftImg8bit", "gtFine"):
        for path in list((tmp_path / "plain" / package / "train/bochum").iterdir()):
            image = images.raw_mask(path) if package == "gtFine" else images.read_image(path)[::-1]
            name = path.name.replace("bochum", "ulm")
            tiny.save(tmp_path / "plain" / package / "val/ulm" / name, np.ascontiguousarray(image))
    return load(Spec("cityscapes", {**spec.options, **CITIES}))


PLAN = Plan(size=24, stride=16, labelled=0.3, small=("bochum",))


def table(out: Path) -> list[dict[str, str]]:
    with (out / "manifest.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def files(out: Path) -> dict[str, bytes]:
    return {
        path.relative_to(out).as_posix(): path.read_bytes()
        for path in sorted(out.rglob("*"))
        if path.is_file()
    }


def test_patches_hold_the_pixels_that_the_manifest_says(index: Index, tmp_path: Path) -> None:
    tallies = cut(index, tmp_path / "out", PLAN)
    rows = table(tmp_path / "out")
    entries = {entry.image.name: entry for held in index.splits.values() for entry in held}
    assert len(rows) == sum(tally.patches for tally in tallies.values())
    for row in rows:
        entry = entries[Path(row["source_file"]).name]
        top, left, height, width = (int(row[key]) for key in ("top", "left", "height", "width"))
        part = np.s_[top : top + height, left : left + width]
        assert (height, width) == (24, 24)
        assert np.array_equal(
            images.read_image(tmp_path / "out" / row["image"]), images.read_image(entry.image)[part]
        )
        raw = images.raw_mask(tmp_path / "out" / row["mask"])
        target = images.read_mask(Path(str(entry.target)), index.classes)[part]
        counted = raw != 255
        assert np.array_equal(raw[counted], target[counted])
        if row["split"].startswith("train"):
            assert np.array_equal(counted, target != IGNORE)
            assert counted.mean() >= 0.3


def test_splits_share_neither_cities_nor_pictures(index: Index, tmp_path: Path) -> None:
    cut(index, tmp_path / "out", PLAN)
    rows = table(tmp_path / "out")
    cities = {
        split: {row["city"] for row in rows if row["split"] == split}
        for split in ("train", "train_small", "val", "test")
    }
    assert cities == {
        "train": {"aachen", "bochum"},
        "train_small": {"bochum"},
        "val": {"ulm"},
        "test": {"munster"},
    }
    assert all(row["source"].count(row["city"]) for row in rows)


@pytest.mark.parametrize("size", [16, 24, 31, 48])
def test_every_labelled_pixel_is_scored_exactly_once(
    index: Index, tmp_path: Path, size: int
) -> None:
    out = tmp_path / "out"
    cut(index, out, Plan(size=size))
    classes = len(index.classes)
    for split in ("val", "test"):
        whole = [
            label_counts(images.read_mask(Path(str(entry.target)), index.classes), classes)
            for entry in index.splits[split]
        ]
        patched = [
            np.bincount(images.raw_mask(path).ravel(), minlength=256)
            for path in (out / split / "masks").iterdir()
        ]
        assert np.array_equal(sum(whole), sum(patched)[:classes])


def test_a_picture_of_whole_patches_is_cut_without_overlap(index: Index, tmp_path: Path) -> None:
    tallies = cut(index, tmp_path / "out", Plan(size=16, labelled=0.0))
    # 48x64 pixels hold 3 x 4 patches of 16x16.
    assert tallies["train"] == module.Tally(pictures=4, patches=4 * 12)
    assert list(tallies) == ["train", "val", "test"]


def test_patches_without_labels_are_dropped_and_counted(tmp_path: Path) -> None:
    spec = tiny.draw_folders(tmp_path / "data", count=4)
    for path in (tmp_path / "data/masks").iterdir():
        mask = images.raw_mask(path).copy()
        mask[:, :40] = 255
        mask[:, 32] = 1  # a sixteenth of the second patch of each row
        tiny.save(path, mask)
    names = Spec("folders", {**spec.options, "ignore": (255,), "names": ("a", "b", "c")})
    tallies = cut(load(names), tmp_path / "out", Plan(size=16, labelled=0.1))
    # Of 3 x 4 patches the first 6 have no label, and the next 3 half of theirs, in train as in val.
    assert tallies["train"] == module.Tally(pictures=3, patches=18, dropped=18)
    tallies = cut(load(names), tmp_path / "more", Plan(size=16, labelled=0.6))
    assert (tallies["train"].patches, tallies["val"].patches) == (9, 6)


def test_patches_are_read_with_their_classes_and_sources(index: Index, tmp_path: Path) -> None:
    cut(index, tmp_path / "out", PLAN)
    spec = Spec("folders", {"root": tmp_path / "out"})
    found = load(spec)
    assert list(found.splits) == ["train", "val", "test"]
    assert (found.classes.names, found.classes.colors) == (
        index.classes.names,
        index.classes.colors,
    )
    assert found.classes.values == {**{i: i for i in range(19)}, 255: IGNORE}
    assert {entry.group for entry in found.splits["train"]} == {"aachen", "bochum"}
    assert len({entry.source for entry in found.splits["val"]}) == 2
    small = load(spec.with_option("train_split", "train_small"))
    assert {entry.group for entry in small.splits["train"]} == {"bochum"}
    assert small.splits["val"] == found.splits["val"]
    for split in ("train", "train_small"):
        assert check(load(spec.with_option("train_split", split))).problems == ()


def test_f35_patches_of_one_picture_in_two_splits_are_refused(index: Index, tmp_path: Path) -> None:
    out = tmp_path / "out"
    cut(index, out, PLAN)
    row = next(row for row in table(out) if row["split"] == "train")
    for kind in ("image", "mask"):
        moved = out / row[kind].replace("train/", "val/")
        (out / row[kind]).rename(moved)
        text = (out / "manifest.csv").read_text()
        (out / "manifest.csv").write_text(
            text.replace(f",{row[kind]},", f",{row[kind].replace('train/', 'val/')},")
        )
    found = check(load(Spec("folders", {"root": out})))
    assert "are the same picture or parts of one" in found.problems[0]


def test_f35_patches_are_held_out_by_their_pictures(index: Index, tmp_path: Path) -> None:
    out = tmp_path / "out"
    cut(index, out, PLAN)
    for split in ("val", "test", "train_small"):
        shutil.rmtree(out / split)
    found = load(Spec("folders", {"root": out}))
    sources = [{entry.source for entry in entries} for entries in found.splits.values()]
    assert len(sources[0]) == 3
    assert len(sources[1]) == 1
    assert sources[0].isdisjoint(sources[1])


def test_cutting_again_does_only_what_is_left(
    index: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, seen = tmp_path / "out", []
    cut(index, tmp_path / "straight", PLAN)

    def stop(event: Event) -> None:
        if event.data["done"] == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cut(index, out, PLAN, stop)
    assert not (out / "manifest.csv").exists()
    with pytest.raises(DataError, match="were not cut to the end"):
        load(Spec("folders", {"root": out}))
    # A line that a crash cut short, and a patch of a finished picture that was removed.
    journal = (out / "patches.jsonl").read_text()
    (out / "patches.jsonl").write_text(journal + '{"name": "val/half')
    next((out / "train/images").iterdir()).unlink()
    work = module._cut_one

    def watched(job: module._Job, *others: object) -> module._Done:
        seen.append(job.name)
        return work(job, *others)

    monkeypatch.setattr(module, "_cut_one", watched)
    cut(index, out, PLAN)
    assert len(seen) == 10 - 3 + 1
    seen.clear()
    cut(index, out, PLAN)
    assert seen == []
    again, straight = files(out), files(tmp_path / "straight")
    assert again.keys() == straight.keys()
    journals = [held.pop("patches.jsonl").splitlines() for held in (again, straight)]
    assert sorted(journals[0]) == sorted(journals[1])
    assert again == straight


def test_another_plan_or_other_files_are_never_mixed_in(index: Index, tmp_path: Path) -> None:
    cut(index, tmp_path / "out", PLAN)
    with pytest.raises(DataError, match=r"were cut otherwise \(size 24, not 16\)"):
        cut(index, tmp_path / "out", replace(PLAN, size=16))
    (tmp_path / "other").mkdir()
    (tmp_path / "other/thesis.txt").write_text("?")
    with pytest.raises(DataError, match="is not empty, and not of an earlier cut"):
        cut(index, tmp_path / "other", PLAN)


def test_what_cannot_be_cut_is_told(index: Index, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="No patch of 256x256 pixels came of 8 pictures"):
        cut(index, tmp_path / "large", Plan())
    with pytest.raises(DataError, match=r"No city of the training split is called 'ulm'"):
        cut(index, tmp_path / "small", Plan(small=("ulm",)))
    double = Index(index.classes, {**index.splits, "val": index.splits["train"]})
    with pytest.raises(DataError, match="are the same picture"):
        cut(double, tmp_path / "double", PLAN)


def test_blocks_of_one_picture_stay_apart_by_their_guard(tmp_path: Path) -> None:
    index = load(tiny.draw_pair(tmp_path / "data", 320, 320))
    cut(index, tmp_path / "out", Plan(size=32, stride=32))
    rows = table(tmp_path / "out")
    windows = {
        split: [(int(row["top"]), int(row["left"])) for row in rows if row["split"] == split]
        for split in ("train", "val")
    }
    for top, left in windows["train"]:
        for y, x in windows["val"]:
            assert max(abs(top - y), abs(left - x)) >= 32 + 8
    assert check(load(Spec("folders", {"root": tmp_path / "out"}))).problems == ()


def test_f18_patches_of_pictures_with_long_names_are_written(tmp_path: Path) -> None:
    for i in range(3):
        image, labels = tiny.scene(32, 32, seed=i)
        tiny.save(tmp_path / "images" / f"{i}{'ä' * 120}.png", image)
        tiny.save(tmp_path / "masks" / f"{i}{'ä' * 120}.png", labels)
    cut(load(Spec("folders", {"root": tmp_path})), tmp_path / "out", Plan(size=16, labelled=0.0))
    assert len(table(tmp_path / "out")) == 12
    assert check(load(Spec("folders", {"root": tmp_path / "out"}))).problems == ()


def test_training_on_patches_works_from_end_to_end(index: Index, tmp_path: Path) -> None:
    cut(index, tmp_path / "out", Plan(size=16, small=("bochum",)))
    recipe = Recipe.from_dict(
        {
            "data": Spec("folders", {"root": tmp_path / "out", "train_split": "train_small"}),
            "model": "unet:width=4,depth=1",
            "train": {"steps": 2, "batch_size": 2, "crop": 16},
        }
    )
    run = jobs.train(recipe, out=tmp_path / "run", on_event=silent)
    scores = jobs.evaluate(run, split="test", on_event=silent)
    assert scores.names[0] == "road"
