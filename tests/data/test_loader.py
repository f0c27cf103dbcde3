import subprocess
import sys
import threading
from collections import Counter
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import pytest

import tiny
from pixelwright import images
from pixelwright.data.augment import Augment
from pixelwright.data.dataset import Dataset
from pixelwright.data.loader import Loader
from pixelwright.errors import DataError, PixelwrightWarning
from pixelwright.types import Batch, Classes, Entry, Window

CLASSES = Classes(("a", "b"), ((0, 0, 0), (9, 9, 9)), {0: 0, 1: 1})
VARIED = Augment(rotate=30.0, scale=(0.8, 1.25), brightness=0.2, saturation=0.2)
SIZES = ((16, 16), (32, 32), (40, 16), (20, 60))


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    entries = []
    for i, size in enumerate(SIZES):
        image, labels = tiny.scene(*size, seed=i)
        image_file = tiny.save(tmp_path / f"{i}.png", image)
        entries.append(Entry(f"{i}", image_file, tiny.save(tmp_path / f"{i}.mask.png", labels)))
    return Dataset(entries, CLASSES, budget=2**20)


def loader(dataset: Dataset, **options: object) -> Loader:
    settings = {"crop": (16, 16), "batch_size": 3, "seed": 5, "threads": 2, **options}
    return Loader(dataset, VARIED, **settings)


def first(source: Loader, count: int, start: int = 0) -> list[Batch]:
    return list(islice(source.batches(start), count))


def assert_same(ours: list[Batch], theirs: list[Batch]) -> None:
    assert len(ours) == len(theirs) > 0
    for one, other in zip(ours, theirs, strict=True):
        assert np.array_equal(one.images, other.images)
        assert np.array_equal(one.targets, other.targets)
        assert one.keys == other.keys


def test_a_batch_is_stacked_crops_in_one_piece(dataset: Dataset) -> None:
    [batch] = first(loader(dataset), 1)
    assert batch.images.shape == (3, 16, 16, 3)
    assert batch.images.flags.c_contiguous
    assert batch.targets.shape == (3, 16, 16)
    assert batch.targets.dtype == np.int16
    assert len(batch.keys) == 3


def test_the_same_seed_and_step_give_the_same_batch_whatever_the_threads(dataset: Dataset) -> None:
    assert_same(first(loader(dataset, threads=1), 8), first(loader(dataset, threads=7), 8))


@pytest.mark.parametrize("budget", [0, 16 * 16 * 5 + 32 * 32 * 5])
def test_the_same_seed_and_step_give_the_same_batch_whatever_the_cache(
    dataset: Dataset, budget: int
) -> None:
    uncached = Dataset(dataset.entries, CLASSES, budget=budget)
    assert_same(first(loader(dataset), 8), first(loader(uncached), 8))


@pytest.mark.parametrize("start", [1, 4, 50])
def test_resuming_at_a_step_equals_running_to_it(dataset: Dataset, start: int) -> None:
    assert_same(first(loader(dataset), start + 2)[start:], first(loader(dataset), 2, start))


def test_another_seed_gives_another_order_and_other_crops(dataset: Dataset) -> None:
    one, other = first(loader(dataset), 5), first(loader(dataset, seed=6), 5)
    assert [b.keys for b in one] != [b.keys for b in other]
    assert not any(np.array_equal(a.images, b.images) for a, b in zip(one, other, strict=True))


def test_every_entry_is_drawn_its_share_in_every_epoch(dataset: Dataset) -> None:
    # Areas over 16 * 16: 1, 4, 2.5 (rounded to even: 2), 4.69 (5). Together 12 draws, 4 steps of 3.
    source = loader(dataset)
    assert source.steps_per_epoch == 4
    epochs = [first(source, 4, start) for start in (0, 4, 8)]
    orders = [[key for batch in epoch for key in batch.keys] for epoch in epochs]
    assert all(Counter(order) == {"0": 1, "1": 4, "2": 2, "3": 5} for order in orders)
    assert orders[0] != orders[1] != orders[2]


def test_an_epochs_last_batch_is_filled_from_the_next_epoch(dataset: Dataset) -> None:
    source = loader(dataset, batch_size=5)
    assert source.steps_per_epoch == 3
    keys = [key for batch in first(source, 12) for key in batch.keys]
    assert all(
        Counter(keys[i : i + 12]) == {"0": 1, "1": 4, "2": 2, "3": 5} for i in range(0, 60, 12)
    )


def test_crops_of_a_window_never_hold_pixels_of_another(tmp_path: Path) -> None:
    image = np.full((64, 64, 3), 250, np.uint8)
    image[:, :32] = 10
    labels = (image[..., 0] > 100).astype(np.uint8)
    files = tiny.save(tmp_path / "i.png", image), tiny.save(tmp_path / "m.png", labels)
    left = Entry("left", *files, Window(0, 0, 64, 32))
    source = Loader(
        Dataset([left], CLASSES, budget=2**20),
        Augment(rotate=180.0, scale=(0.6, 1.5)),
        crop=(24, 24),
        batch_size=4,
        threads=1,
    )
    for batch in first(source, 10):
        assert (batch.images == 10).all()
        assert (batch.targets <= 0).all()


def test_a_class_index_fills_a_target_without_height_and_width(tmp_path: Path) -> None:
    files = [tiny.save(tmp_path / f"{i}.png", np.full((8, 8), i, np.uint8)) for i in range(3)]
    entries = [Entry(f"{i}", file, i) for i, file in enumerate(files)]
    source = Loader(
        Dataset(entries, CLASSES, channels=1, budget=2**20),
        Augment(),
        crop=(8, 8),
        batch_size=3,
        threads=1,
    )
    [batch] = first(source, 1)
    assert batch.images.shape == (3, 8, 8, 1)
    assert (
        batch.targets.tolist() == batch.images[:, 0, 0, 0].tolist() == [int(k) for k in batch.keys]
    )


def test_f14_images_smaller_than_the_crop_are_padded_with_one_warning(dataset: Dataset) -> None:
    with pytest.warns(PixelwrightWarning, match=r"2 of 4 images .* 20x20; the first is .*0\.png"):
        source = loader(dataset, crop=(20, 20))
    assert first(source, 1)[0].images.shape == (3, 20, 20, 3)


def test_f19_a_file_that_vanishes_in_mid_epoch_is_named_to_the_consumer(dataset: Dataset) -> None:
    source = loader(Dataset(dataset.entries, CLASSES, budget=2000))
    assert source.dataset.sizes == SIZES
    for entry in dataset.entries[1:]:
        entry.image.unlink()
    with (
        pytest.warns(PixelwrightWarning, match="decoded anew"),
        pytest.raises(DataError, match=r"[123]\.png"),
    ):
        first(source, 10)
    assert_no_loader_threads()


def test_an_unexpected_failure_keeps_its_type_and_names_the_image(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(path: Path, channels: int = 3) -> np.ndarray:
        raise ZeroDivisionError

    monkeypatch.setattr(images, "read_image", broken)
    with pytest.raises(ZeroDivisionError) as caught:
        first(loader(dataset), 1)
    assert ".png" in caught.value.__notes__[0]


def assert_no_loader_threads() -> None:
    assert not [t for t in threading.enumerate() if t.name.startswith("pixelwright-loader")]


def test_closing_ends_the_threads_and_gives_opencv_its_own_back(dataset: Dataset) -> None:
    before = cv2.getNumThreads()
    batches = loader(dataset).batches()
    next(batches)
    batches.close()
    assert_no_loader_threads()
    assert cv2.getNumThreads() == before


def test_no_more_than_the_look_ahead_is_made(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = loader(dataset)
    asked: list[int] = []
    monkeypatch.setattr(source, "_fill", lambda *args: asked.append(args[2]))
    batches = source.batches()
    for _ in range(4):
        next(batches)
    batches.close()
    assert max(asked) < (4 + 2) * 3


def test_a_program_that_forgets_its_iterator_still_ends(dataset: Dataset) -> None:
    program = f"""
from pathlib import Path
from pixelwright.data.augment import Augment
from pixelwright.data.dataset import Dataset
from pixelwright.data.loader import Loader
from pixelwright.types import Classes, Entry
files = [Path(p) for p in {[str(e.image) for e in dataset.entries]!r}]
entries = [Entry(p.name, p, p.with_suffix(".mask.png")) for p in files]
classes = Classes(("a", "b"), ((0, 0, 0), (9, 9, 9)), {{0: 0, 1: 1}})
loader = Loader(Dataset(entries, classes), Augment(), crop=(16, 16), batch_size=3, threads=2)
batches = loader.batches()
next(batches)
"""
    done = subprocess.run([sys.executable, "-c", program], check=False, capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"")
