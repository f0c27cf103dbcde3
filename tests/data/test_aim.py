from collections import Counter
from pathlib import Path

import numpy as np
import pytest

import tiny
from pixelwright.data import aim
from pixelwright.data.aim import ENOUGH, ClassAware, Places, places_of
from pixelwright.data.augment import Augment, apply, draw
from pixelwright.data.dataset import Dataset
from pixelwright.data.index import load
from pixelwright.data.loader import Loader
from pixelwright.types import IGNORE, Classes, Entry, Index, Window

CLASSES = Classes(("a", "b", "c"), ((0, 0, 0),) * 3, {0: 0, 1: 1, 2: 2, 255: IGNORE})


def entry_of(folder: Path, name: str, mask: np.ndarray, window: Window | None = None) -> Entry:
    image = tiny.save(folder / f"{name}.png", np.zeros((*mask.shape, 3), np.uint8))
    return Entry(name, image, tiny.save(folder / f"{name}.mask.png", mask), window)


@pytest.fixture
def entries(tmp_path: Path) -> list[Entry]:
    """Class 1 is one block of 8 x 10 in the first of three; class 2 is nowhere."""
    masks = [np.zeros((60, 80), np.uint8) for _ in range(3)]
    masks[0][20:28, 50:60] = 1
    masks[2][:] = 255
    return [entry_of(tmp_path, str(i), mask) for i, mask in enumerate(masks)]


def test_the_index_holds_every_class_of_every_entry(entries: list[Entry]) -> None:
    places = places_of(entries, CLASSES)
    assert places.classes.tolist() == [0, 0, 1]
    assert places.entries.tolist() == [0, 1, 0]
    assert places.pixels.tolist() == [60 * 80 - 80, 60 * 80, 80]
    block = places.at[places.stops[1] : places.stops[2]]
    assert sorted(block.tolist()) == [80 * y + x for y in range(20, 28) for x in range(50, 60)]


def test_of_a_large_class_pixels_from_all_over_are_remembered(tmp_path: Path) -> None:
    mask = np.zeros((200, 300), np.uint8)
    places = places_of([entry_of(tmp_path, "big", mask)], CLASSES)
    assert len(places.at) == 4096
    parts = np.bincount((places.at // 300 // 20) * 10 + places.at % 300 // 30, minlength=100)
    assert parts.min() > 20


def test_a_picture_is_indexed_piece_by_piece(
    entries: list[Entry], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = places_of(entries, CLASSES)
    monkeypatch.setattr(aim, "_CHUNK", 7 * 80)
    parts = places_of(entries, CLASSES)
    assert np.array_equal(whole.at, parts.at)
    assert np.array_equal(whole.stops, parts.stops)


def test_crops_are_aimed_at_each_class_equally_often_and_hold_its_pixel(
    entries: list[Entry],
) -> None:
    aware = ClassAware(places_of(entries, CLASSES), 0.5, np.array([1, 1, 1]))
    aims = [aware.draw(3, position) for position in range(2000)]
    labels = Counter(aim.label if aim else None for aim in aims)
    assert 940 < labels[None] < 1060
    assert abs(labels[0] - labels[1]) < 100
    assert set(labels) == {None, 0, 1}


def test_an_entry_with_a_few_stray_pixels_of_a_class_is_seldom_aimed_at(tmp_path: Path) -> None:
    stray, full = np.zeros((2, 20, 20), np.uint8)
    stray[:2, :2], full[:] = 1, 1
    found = [entry_of(tmp_path, "stray", stray), entry_of(tmp_path, "full", full)]
    aware = ClassAware(places_of(found, CLASSES), 1.0, np.array([1, 1]))
    aims = [aware.draw(0, p) for p in range(3000)]
    chosen = Counter(aim.entry for aim in aims if aim and aim.label == 1)
    # 4 / ENOUGH against 1.
    assert chosen[0] / chosen[1] == pytest.approx(4 / ENOUGH, abs=0.03)


def test_a_class_label_is_aimed_at_without_a_place() -> None:
    places = places_of([Entry(str(i), Path("x"), int(i > 2)) for i in range(4)], CLASSES)
    aware = ClassAware(places, 1.0, np.ones(4, int))
    aims = [aware.draw(0, p) for p in range(400)]
    assert {aim.pixel for aim in aims if aim} == {None}
    labels = Counter(aim.label for aim in aims if aim)
    assert abs(labels[0] - labels[1]) < 80


def test_windows_are_indexed_within_themselves(tmp_path: Path) -> None:
    mask = np.zeros((60, 80), np.uint8)
    mask[:, 40:] = 1
    whole = entry_of(tmp_path, "m", mask)
    window = Window(10, 30, 20, 12)
    places = places_of([Entry("w", whole.image, whole.target, window)], CLASSES)
    ones = places.at[places.stops[0] :]
    assert set((ones % 12).tolist()) == {10, 11}
    assert ones.max() < 20 * 12


@pytest.mark.parametrize(
    "options",
    [
        Augment(),
        Augment(flip_vertical=True, rotate=180.0, scale=(0.5, 2.0)),
        Augment(rotate=45.0, scale=(3.0, 3.0)),
    ],
)
@pytest.mark.parametrize("size", [(60, 80), (16, 200), (9, 9)])
def test_the_pixel_aimed_at_is_in_the_crop(options: Augment, size: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    for position in range(60):
        corner = rng.choice([0, 1, 2], 2)
        pixel = tuple(
            int((0, rng.integers(n), n - 1)[c]) for c, n in zip(corner, size, strict=True)
        )
        change = draw(options, 0, position, size, (24, 32), pixel)
        x, y = np.linalg.solve(change.affine[:, :2], np.array(pixel[::-1]) - change.affine[:, 2])
        assert -1e-6 <= x <= 31 + 1e-6
        assert -1e-6 <= y <= 23 + 1e-6


def test_the_pixel_lies_anywhere_in_the_crop_and_the_crop_in_the_image() -> None:
    at = np.zeros((8, 8), int)
    for position in range(1500):
        change = draw(Augment(flip=False), 0, position, (40, 40), (8, 8), (20, 21))
        left, top = change.affine[:, 2]
        at[int(20 - top), int(21 - left)] += 1
    assert at.min() > 8
    edge = draw(Augment(flip=False), 0, 0, (40, 40), (8, 8), (39, 0))
    assert edge.affine[:, 2].tolist() == [0, 32]


def test_without_an_aim_nothing_changes(entries: list[Entry]) -> None:
    dataset = Dataset(entries, CLASSES, budget=2**20)
    options = {"crop": (16, 16), "batch_size": 4, "threads": 1}
    plain = Loader(dataset, Augment(rotate=20.0), **options)
    aware = Loader(
        dataset,
        Augment(rotate=20.0),
        **options,
        class_aware=0.5,
        places=places_of(entries, CLASSES),
    )
    assert plain.steps_per_epoch == aware.steps_per_epoch
    same = 0
    for position in range(200):
        if aware.aim_at(position)[1] is None:
            one, other = plain.crop_at(position)[0], aware.crop_at(position)[0]
            assert np.array_equal(one.target, other.target)
            same += 1
    assert 70 < same < 130


def test_every_aimed_crop_of_a_loader_holds_its_class(entries: list[Entry]) -> None:
    dataset = Dataset(entries, CLASSES, budget=2**20)
    aware = Loader(
        dataset,
        Augment(flip_vertical=True),
        crop=(16, 16),
        batch_size=4,
        class_aware=1.0,
        places=places_of(entries, CLASSES),
        threads=2,
    )
    [batch, *_] = list(zip(range(1), aware.batches(), strict=False))
    assert batch[1].targets.shape == (4, 16, 16)
    for position in range(100):
        number, aim = aware.aim_at(position)
        assert aim is not None
        assert aim.entry == number
        crop, _ = aware.crop_at(position)
        assert (crop.target == aim.label).any()


def test_crops_of_the_one_picture_stay_inside_its_training_blocks(tmp_path: Path) -> None:
    index = load(tiny.draw_pair(tmp_path))
    train: tuple[Entry, ...] = index.splits["train"]
    places: Places = places_of(train, index.classes)
    dataset = Dataset(train, index.classes, budget=2**22)
    aware = ClassAware(places, 1.0, np.ones(len(train), int))
    for position in range(200):
        aim = aware.draw(0, position)
        assert aim is not None
        assert aim.pixel is not None
        sample = dataset.sample(aim.entry)
        assert isinstance(sample.target, np.ndarray)
        row, column = divmod(aim.pixel, sample.target.shape[1])
        assert sample.target[row, column] == aim.label
        options = Augment(rotate=180.0, scale=(0.5, 2.0))
        change = draw(options, 0, position, sample.target.shape, (32, 32), (row, column))
        crop = apply(change, sample, (32, 32))
        assert (crop.target == aim.label).any() or change.affine[0, 0] ** 2 > 1
    assert isinstance(index, Index)
