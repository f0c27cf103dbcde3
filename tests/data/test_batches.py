import subprocess
import sys
import threading
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import pytest

import tiny
from pixelwright.data.augment import Augment
from pixelwright.data.batches import ResidentLoader, views
from pixelwright.data.dataset import Dataset
from pixelwright.data.loader import Loader
from pixelwright.data.resident import Resident
from pixelwright.errors import RecipeError
from pixelwright.types import Batch, Classes, Entry

TOTAL = 23
PLAIN = Augment(flip=False)
USUAL = Augment(shift=2, cutout=0.3)
TURNED = Augment(rotate=20.0, scale=(0.8, 1.3), brightness=0.2, hue=0.1, shift=1)
SPOILED = Augment(blur=1.0, noise=0.1, jpeg=50)
MIXED = Augment(shift=2, mixup=0.8, cutmix=1.0)


@pytest.fixture(scope="module")
def pictures() -> Resident:
    images = np.stack([tiny.scene(12, 10, seed=seed)[0] for seed in range(TOTAL)])
    labels = np.arange(TOTAL, dtype=np.int16)
    return Resident(images, labels, tuple(f"p{i}" for i in range(TOTAL)))


def loader(
    pictures: Resident, augment: Augment = USUAL, batch_size: int = 5, seed: int = 3
) -> ResidentLoader:
    return ResidentLoader(pictures, augment, batch_size=batch_size, seed=seed)


def first(source: ResidentLoader, count: int, start: int = 0) -> list[Batch]:
    batches = source.batches(start)
    try:
        return list(islice(batches, count))
    finally:
        batches.close()


def assert_same(ours: list[Batch], theirs: list[Batch]) -> None:
    assert len(ours) == len(theirs) > 0
    for one, other in zip(ours, theirs, strict=True):
        assert np.array_equal(one.images, other.images)
        assert np.array_equal(one.targets, other.targets)
        assert one.keys == other.keys
        assert (one.mix is None) == (other.mix is None)
        if one.mix and other.mix:
            assert np.array_equal(one.mix.targets, other.mix.targets)
            assert one.mix.share == other.mix.share


def test_a_batch_is_pictures_with_their_labels_in_one_piece(pictures: Resident) -> None:
    [batch] = first(loader(pictures, PLAIN), 1)
    assert batch.images.shape == (5, 12, 10, 3)
    assert batch.images.flags.c_contiguous
    assert batch.images.dtype == np.uint8
    assert batch.targets.dtype == np.int16
    assert batch.keys == tuple(f"p{label}" for label in batch.targets)
    assert np.array_equal(batch.images, pictures.images[batch.targets])
    assert batch.mix is None


@pytest.mark.parametrize("augment", [USUAL, TURNED, SPOILED, MIXED])
@pytest.mark.parametrize("start", [1, 4, 50])
def test_resuming_at_a_step_equals_running_to_it(
    pictures: Resident, augment: Augment, start: int
) -> None:
    through = first(loader(pictures, augment), start + 2)[start:]
    assert_same(through, first(loader(pictures, augment), 2, start))


@pytest.mark.parametrize("augment", [USUAL, TURNED, SPOILED, MIXED])
def test_the_thread_changes_nothing(pictures: Resident, augment: Augment) -> None:
    here = loader(pictures, augment)
    steps = [3, 0, 8, 1]
    made = first(loader(pictures, augment), 9)
    assert_same([made[step] for step in steps], [here.batch(step) for step in steps])


def test_two_iterators_of_one_loader_do_not_disturb_each_other(pictures: Resident) -> None:
    source = loader(pictures)
    one, other = source.batches(), source.batches(40)
    turns = [(next(one), next(other)) for _ in range(12)]
    one.close()
    other.close()
    assert_same([a for a, _ in turns], first(source, 12))
    assert_same([b for _, b in turns], first(source, 12, 40))


@pytest.mark.parametrize("augment", [USUAL, TURNED, SPOILED])
def test_what_a_picture_gets_does_not_depend_on_the_size_of_its_batch(
    pictures: Resident, augment: Augment
) -> None:
    small, large = (
        np.concatenate([b.images for b in first(loader(pictures, augment, size), 84 // size)])
        for size in (3, 28)
    )
    assert np.array_equal(small, large)


def test_another_seed_gives_another_order_and_other_variations(pictures: Resident) -> None:
    one, other = (first(loader(pictures, seed=seed), 5) for seed in (3, 4))
    assert [b.keys for b in one] != [b.keys for b in other]
    assert not any(np.array_equal(a.images, b.images) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("batch_size", [1, 5, 23, 60])
def test_every_picture_is_drawn_once_in_every_epoch(pictures: Resident, batch_size: int) -> None:
    source = loader(pictures, batch_size=batch_size)
    assert source.steps_per_epoch == -(-TOTAL // batch_size)
    keys = [key for b in first(source, 4 * TOTAL // batch_size + 4) for key in b.keys]
    epochs = [keys[at : at + TOTAL] for at in range(0, 4 * TOTAL, TOTAL)]
    assert all(sorted(epoch) == sorted(pictures.keys) for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2]


def test_the_order_is_that_of_the_loader_of_crops(pictures: Resident, tmp_path: Path) -> None:
    entries = [
        Entry(key, tiny.save(tmp_path / f"{key}.png", image), int(label))
        for key, image, label in zip(pictures.keys, pictures.images, pictures.labels, strict=True)
    ]
    names = tuple(map(str, range(TOTAL)))
    dataset = Dataset(entries, Classes(names, ((0, 0, 0),) * TOTAL), budget=2**20)
    crops = Loader(dataset, PLAIN, crop=(12, 10), batch_size=5, seed=3, threads=1)
    assert_same(list(islice(crops.batches(), 10)), first(loader(pictures, PLAIN), 10))


def test_options_do_not_shift_what_others_draw(pictures: Resident) -> None:
    plain, cut = (
        first(loader(pictures, Augment(shift=2, cutout=share)), 4) for share in (0.0, 0.2)
    )
    for one, other in zip(plain, cut, strict=True):
        differs = (one.images != other.images).any(axis=3)
        # Where nothing is cut out all is equal: every second picture, and most of the others.
        assert 0 < differs.mean() < 0.2


def test_a_picture_shall_not_move_out_of_sight(pictures: Resident) -> None:
    loader(pictures, Augment(shift=9))
    with pytest.raises(RecipeError, match=r"augment\.shift = 10 .* 12x10 .* at most 9"):
        loader(pictures, Augment(shift=10))
    with pytest.raises(RecipeError, match=r"augment\.shift"):
        next(views(pictures, Augment(shift=10), 1, 0))


def test_closing_ends_the_thread_and_gives_opencv_its_own_back(pictures: Resident) -> None:
    before = cv2.getNumThreads()
    batches = loader(pictures).batches()
    next(batches)
    batches.close()
    assert not [t for t in threading.enumerate() if t.name.startswith("pixelwright-loader")]
    assert cv2.getNumThreads() == before


def test_a_failure_reaches_the_consumer(
    pictures: Resident, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = loader(pictures)

    def broken(*_: object) -> np.ndarray:
        raise ZeroDivisionError

    monkeypatch.setattr(source, "_varied", broken)
    with pytest.raises(ZeroDivisionError):
        next(source.batches())


def test_a_program_that_forgets_its_iterator_still_ends() -> None:
    program = """
import numpy as np
from pixelwright.data.augment import Augment
from pixelwright.data.batches import ResidentLoader
from pixelwright.data.resident import Resident
images, labels = np.zeros((9, 8, 8, 3), np.uint8), np.zeros(9, np.int16)
pictures = Resident(images, labels, tuple("abcdefghi"))
batches = ResidentLoader(pictures, Augment(shift=1), batch_size=4).batches()
next(batches)
import sys
assert "torch" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", program], check=False, capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"")


def test_views_show_every_picture_in_order_each_time_anew(pictures: Resident) -> None:
    batches = list(views(pictures, USUAL, 3, 0, batch_size=10))
    assert [len(b.keys) for b in batches] == [10, 10, 3] * 3
    assert [key for b in batches for key in b.keys] == list(pictures.keys) * 3
    assert [int(t) for b in batches for t in b.targets] == list(range(TOTAL)) * 3
    one, two, three = np.concatenate([b.images for b in batches]).reshape(3, *pictures.images.shape)
    same = [
        (a == b).all(axis=(1, 2, 3)).mean() for a, b in ((one, two), (two, three), (one, three))
    ]
    assert max(same) < 0.3


def test_views_do_not_depend_on_how_they_are_batched(pictures: Resident) -> None:
    some, all_ = (
        np.concatenate([b.images for b in views(pictures, TURNED, 2, 7, batch_size=size)])
        for size in (4, 100)
    )
    assert np.array_equal(some, all_)


def test_a_view_without_variation_is_the_pictures(pictures: Resident) -> None:
    seen = np.concatenate([b.images for b in views(pictures, PLAIN, 1, 0)])
    assert np.array_equal(seen, pictures.images)
