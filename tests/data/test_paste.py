from collections import Counter
from dataclasses import replace
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import pytest

import tiny
from pixelwright.data.augment import Augment, draw
from pixelwright.data.blobs import Blobs, blobs_of, of_class, only, rarest
from pixelwright.data.counts import Counts
from pixelwright.data.dataset import Dataset
from pixelwright.data.index import load
from pixelwright.data.loader import Loader
from pixelwright.data.paste import HIDDEN, CopyBlob
from pixelwright.errors import PixelwrightWarning
from pixelwright.images import read_image
from pixelwright.registry import Spec
from pixelwright.types import IGNORE, Classes, Entry, Window

CLASSES = Classes(("ground", "post", "sign"), ((0, 0, 0),) * 3, {0: 0, 1: 1, 2: 2, 255: IGNORE})
SIZE = (64, 96)
STILL = Augment(flip=False)


def entry_of(folder: Path, name: str, image: np.ndarray, mask: np.ndarray) -> Entry:
    files = tiny.save(folder / f"{name}.png", image), tiny.save(folder / f"{name}.mask.png", mask)
    return Entry(name, *files)


def draw_entries(folder: Path) -> list[Entry]:
    """An empty picture; one with a post, 8 wide, from row 20 to row 50; one with a sign, a ring.

    In the ring's box lie another sign and ignored pixels, neither of them part of it.
    """
    rng = np.random.default_rng(0)
    images = rng.integers(0, 60, (3, *SIZE, 3), dtype=np.uint8)
    masks = np.zeros((3, *SIZE), np.uint8)
    masks[1, 20:50, 40:48] = 1
    cv2.circle(masks[2], (60, 30), 12, 2, 5)
    masks[2, 28:33, 58:63] = 2
    masks[2, 24:26, 58:62] = 255
    for image, mask in zip(images, masks, strict=True):
        image[mask == 1], image[mask == 2] = 100, 200
    pairs = enumerate(zip(images, masks, strict=True))
    return [entry_of(folder, str(i), image, mask) for i, (image, mask) in pairs]


@pytest.fixture
def entries(tmp_path: Path) -> list[Entry]:
    return draw_entries(tmp_path)


def paste_of(
    entries: list[Entry], rate: float = 1.0, augment: Augment = STILL, **options: object
) -> CopyBlob:
    dataset = Dataset(entries, CLASSES, budget=2**24)
    blobs = blobs_of(entries, CLASSES, [1, 2])
    return CopyBlob(dataset, blobs, **{"rate": rate, "place": "row", "augment": augment, **options})


def loader(entries: list[Entry], paste: CopyBlob | None, augment: Augment = STILL) -> Loader:
    dataset = Dataset(entries, CLASSES, budget=2**24)
    return Loader(dataset, augment, crop=(48, 48), batch_size=3, threads=2, paste=paste)


# The index.


def test_objects_are_connected_regions_with_their_boxes(entries: list[Entry]) -> None:
    blobs = blobs_of(entries, CLASSES, [2, 1])
    # The dot of 25 pixels inside the ring is too small to be an object.
    assert blobs.classes.tolist() == [1, 2]
    assert blobs.entries.tolist() == [1, 2]
    assert (blobs.tops[0], blobs.lefts[0], blobs.heights[0], blobs.widths[0]) == (20, 40, 30, 8)
    assert blobs.pixels[0] == 240
    assert len(only(blobs, [2])) == 1
    assert of_class(blobs, 0) == slice(0, 0)


def test_objects_cut_off_by_the_edge_are_taken_where_there_are_few_others(tmp_path: Path) -> None:
    def find(whole: int) -> Blobs:
        masks = np.zeros((2, 100, 400), np.uint8)
        for i in range(whole):
            row, column = divmod(i // 2, 16)
            masks[i % 2, 10 + 20 * row : 20 + 20 * row, 10 + 20 * column : 20 + 20 * column] = 1
        masks[:, 90:, 50:60] = 1
        pairs = [
            entry_of(tmp_path, f"{whole}-{i}", np.zeros((100, 400, 3), np.uint8), mask)
            for i, mask in enumerate(masks)
        ]
        return blobs_of(pairs, CLASSES, [1])

    assert len(find(4)) == 6
    assert len(find(32)) == 32


def test_the_rarest_classes_hold_a_twentieth_of_the_pixels_together() -> None:
    def of(*pixels: int) -> tuple[int, ...]:
        return rarest(Counts.of(np.array(pixels)))

    assert of(900, 20, 0, 50, 30) == (1, 4)
    assert of(900, 100) == (1,)
    assert of(0, 7) == (1,)


# One paste, by hand.


def test_an_object_is_pasted_with_its_exact_outline_and_nothing_else(entries: list[Entry]) -> None:
    paste = paste_of(entries, place="anywhere")
    rings = 0
    source, bare = loader(entries, paste), loader(entries, None)
    for position in range(60):
        crop, pasted = source.crop_at(position)
        plain, _ = bare.crop_at(position)
        for one in pasted:
            if one.label == 2 and one.mask.sum() == paste._blobs.pixels[1]:
                rings += 1
                height, width = one.mask.shape
                target = crop.target[one.top : one.top + height, one.left : one.left + width]
                before = plain.target[one.top : one.top + height, one.left : one.left + width]
                assert (target[one.mask > 0] == 2).all()
                # The dot inside and the ignored pixels stayed where they were.
                assert np.array_equal(target[one.mask == 0], before[one.mask == 0])
                inside = cv2.erode(one.mask, np.ones((3, 3), np.uint8)) > 0
                image = crop.image[one.top : one.top + height, one.left : one.left + width]
                assert np.abs(image[inside].astype(int) - 200).max() <= 2
        masks = np.zeros((48, 48), np.uint8)
        for one in pasted:
            masks[
                one.top : one.top + one.mask.shape[0], one.left : one.left + one.mask.shape[1]
            ] |= one.mask
        outside = cv2.dilate(masks, np.ones((3, 3), np.uint8)) == 0
        assert np.array_equal(crop.image[outside], plain.image[outside])
        assert np.array_equal(crop.target[masks == 0], plain.target[masks == 0])
    assert rings > 0


def test_an_object_is_never_pasted_into_its_own_picture(entries: list[Entry]) -> None:
    source = loader(entries, paste_of(entries, rate=3.0))
    seen = Counter()
    for position in range(80):
        number, _ = source.aim_at(position)
        seen.update((number, one.label) for one in source.crop_at(position)[1])
    assert {pair for pair, _ in seen.items()} == {(0, 1), (0, 2), (1, 2), (2, 1)}


def test_pasting_over_ignored_pixels_gives_them_a_class(entries: list[Entry]) -> None:
    assert isinstance(entries[0].target, Path)
    tiny.save(entries[0].target, np.full(SIZE, 255, np.uint8))
    source = loader(entries, paste_of(entries))
    crops = [source.crop_at(p)[0] for p in range(30) if source.aim_at(p)[0] == 0]
    assert any((crop.target == 1).any() and (crop.target == IGNORE).any() for crop in crops)


@pytest.mark.parametrize("rate", [0.5, 2.5])
def test_classes_are_drawn_evenly_and_as_often_as_asked(entries: list[Entry], rate: float) -> None:
    source = loader(entries, paste_of(entries, rate=rate, place="anywhere"))
    drawn = [source.crop_at(p)[1] for p in range(240) if source.aim_at(p)[0] == 0]
    labels = Counter(one.label for pasted in drawn for one in pasted)
    assert sum(labels.values()) / len(drawn) == pytest.approx(rate, rel=0.25)
    assert 0.5 < labels[1] / labels[2] < 2


def test_in_its_row_an_object_stands_where_it_stood(entries: list[Entry]) -> None:
    tall = [entries[0], entries[1]]
    source = loader(tall, paste_of(tall))
    feet = []
    for position in range(80):
        if source.aim_at(position)[0] == 0:
            change = draw(STILL, 0, position, SIZE, (48, 48))
            for one in source.crop_at(position)[1]:
                rows = np.flatnonzero(one.mask.any(axis=1)) + one.top
                if rows.max() < 47:
                    feet.append(rows.max() + change.affine[1, 2])
    assert len(feet) > 5
    # It stood on row 49 of 64; three hundredths of them are two rows.
    assert min(feet) >= 46
    assert max(feet) <= 52


def test_a_paste_hides_little_of_what_is_rare(tmp_path: Path) -> None:
    entries = draw_entries(tmp_path)
    assert isinstance(entries[0].target, Path)
    mask = np.zeros(SIZE, np.uint8)
    mask[10:60, ::5] = 1
    tiny.save(entries[0].target, mask)
    paste = paste_of(entries, rate=2.0, place="anywhere")
    source, bare = loader(entries, paste), loader(entries, None)
    for position in range(60):
        if source.aim_at(position)[0] == 0:
            before = bare.crop_at(position)[0].target == 1
            crop, pasted = source.crop_at(position)
            signs = sum(one.label == 2 for one in pasted)
            assert isinstance(crop.target, np.ndarray)
            lost = np.count_nonzero(before & (crop.target != 1))
            assert lost <= (1 - (1 - HIDDEN) ** signs) * before.sum() + 1


def test_colours_are_changed_after_pasting(entries: list[Entry]) -> None:
    white = replace(STILL, contrast=1.0, brightness=0.5)
    plain, varied = (
        loader(entries, paste_of(entries, rate=2.0, augment=augment), augment)
        for augment in (STILL, white)
    )
    for position in range(10):
        change = draw(white, 0, position, SIZE, (48, 48))
        assert change.color is not None
        one, other = plain.crop_at(position)[0], varied.crop_at(position)[0]
        expected = cv2.transform(one.image, change.color)
        assert np.array_equal(other.image, expected)
        assert np.array_equal(other.target, one.target)


# What must hold of any.

VARIED = Augment(rotate=20.0, scale=(0.6, 1.6), brightness=0.2)


@pytest.mark.parametrize("place", ["row", "anywhere"])
@pytest.mark.parametrize("channels", [1, 3])
def test_batches_depend_on_seed_and_step_alone(
    entries: list[Entry], place: str, channels: int
) -> None:
    if channels == 1:
        for entry in entries:
            tiny.save(entry.image, read_image(entry.image)[..., 0])

    def make(threads: int, budget: int) -> Loader:
        dataset = Dataset(entries, CLASSES, channels, budget=budget)
        blobs = blobs_of(entries, CLASSES, [1, 2])
        paste = CopyBlob(dataset, blobs, rate=2.0, place=place, augment=VARIED)
        return Loader(dataset, VARIED, crop=(40, 40), batch_size=4, threads=threads, paste=paste)

    whole = list(islice(make(1, 2**24).batches(), 6))
    later = list(islice(make(3, 0).batches(4), 2))
    for one, other in zip(whole[4:], later, strict=True):
        assert np.array_equal(one.images, other.images)
        assert np.array_equal(one.targets, other.targets)
    found = {int(v) for batch in whole for v in np.unique(batch.targets)}
    assert found == {IGNORE, 0, 1, 2}


def test_without_objects_crops_are_what_they_were(entries: list[Entry]) -> None:
    plain = loader(entries, None, VARIED)
    none = loader(entries, paste_of(entries, rate=0.0, augment=VARIED), VARIED)
    for position in range(20):
        assert np.array_equal(plain.crop_at(position)[0].image, none.crop_at(position)[0].image)


def test_nothing_of_validation_blocks_or_guard_is_ever_pasted(tmp_path: Path) -> None:
    # Posts stand all over one picture, many across the borders of its blocks. Training pixels are
    # dark, all others white: one white pixel in a crop would be one that was never to be seen.
    height, width = 240, 320
    mask = np.zeros((height, width), np.uint8)
    for y in range(4, height - 12, 20):
        for x in range(4, width - 12, 16):
            mask[y : y + 12, x : x + 8] = 255
    tiny.save(tmp_path / "gt.png", mask)
    image = np.full((height, width, 3), 255, np.uint8)
    tiny.save(tmp_path / "rgb.png", image)
    files = {"image": tmp_path / "rgb.png", "mask": tmp_path / "gt.png", "guard": 8, "blocks": 4}
    train = load(Spec("pair", files)).splits["train"]
    assert len(train) > 2
    for entry in train:
        assert isinstance(entry.window, Window)
        top, left, h, w = entry.window
        image[top : top + h, left : left + w] = 20 + mask[top : top + h, left : left + w, None] // 5
    tiny.save(tmp_path / "rgb.png", image)
    index = load(Spec("pair", files))
    dataset = Dataset(index.splits["train"], index.classes, budget=2**24)
    blobs = blobs_of(index.splits["train"], index.classes, [1])
    paste = CopyBlob(dataset, blobs, rate=4.0, place="anywhere", augment=VARIED)
    with pytest.warns(PixelwrightWarning, match="smaller than the crop"):
        source = Loader(dataset, STILL, crop=(48, 48), batch_size=1, paste=paste)
    pasted = 0
    for position in range(80):
        crop, ones = source.crop_at(position)
        pasted += len(ones)
        assert crop.image.max() <= 71
    assert pasted > 100


def test_pasted_pixels_and_their_mask_stay_together(entries: list[Entry]) -> None:
    # Turned and zoomed, inside the mask the post is 100 and the sign 200, and the ground below 60.
    source = loader(entries, paste_of(entries, rate=2.0, augment=VARIED, place="anywhere"), STILL)
    checked = 0
    for position in range(60):
        crop, pasted = source.crop_at(position)
        for one in pasted[-1:]:
            inside = cv2.erode(one.mask, np.ones((5, 5), np.uint8)) > 0
            box = crop.image[one.top :, one.left :][: one.mask.shape[0], : one.mask.shape[1]]
            values = box[inside].astype(int)
            assert np.abs(values - 100 * one.label).max(initial=0) <= 25
            checked += len(values)
    assert checked > 1000
