"""Endless training batches; batch s is the same whenever and wherever it is made."""

import os
import warnings
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from itertools import count

import cv2
import numpy as np

from pixelwright.data.aim import Aim, ClassAware, Places
from pixelwright.data.augment import Augment, Draw, apply, draw, generator
from pixelwright.data.dataset import Dataset
from pixelwright.data.paste import CopyBlob, Pasted
from pixelwright.errors import PixelwrightError, PixelwrightWarning
from pixelwright.types import Batch, Sample

ORDER = 1
"""The stream of the order of entries, apart from that of augmentations, which is 0."""


class Loader:
    """Random crops of a data set, in batches.

    The training is one endless sequence of draws. In every epoch an entry is drawn as often as its
    area holds a crop, at least once, so that an epoch sees each pixel about once; the order is a
    new permutation. What draw p is depends on the seed and on p alone: not on threads, not on where
    the sequence was entered.

    With `class_aware`, that share of the draws takes another entry than the order says, and a place
    in it where a class occurs; how many draws an epoch has stays.

    Args:
        dataset: What to draw from; at least one entry.
        augment: How crops are varied.
        crop: Height and width.
        batch_size: Crops in a batch.
        seed: Of the whole sequence.
        threads: That decode and crop; None takes all cores but one, 8 at most: the one is for the
            training, and 8 feed a large GPU.
        class_aware: Share of the crops that are aimed at a class, see `aim.ClassAware`.
        places: Where classes occur; needed for `class_aware`.
        paste: Puts objects of other entries into the crops; None puts none.
    """

    def __init__(
        self,
        dataset: Dataset,
        augment: Augment,
        *,
        crop: tuple[int, int],
        batch_size: int,
        seed: int = 0,
        threads: int | None = None,
        class_aware: float = 0.0,
        places: Places | None = None,
        paste: CopyBlob | None = None,
    ) -> None:
        assert len(dataset) > 0, "a loader needs at least one entry"
        assert places is not None or not class_aware, "nothing says where the classes are"
        self.dataset = dataset
        self.augment = augment
        self.crop = crop
        self.batch_size = batch_size
        self.seed = seed
        self.threads = threads or _spare_cores()
        areas = np.array([height * width for height, width in dataset.sizes])
        shares = np.maximum(np.rint(areas / (crop[0] * crop[1])), 1).astype(int)
        self._slots = np.repeat(np.arange(len(dataset)), shares)
        self._epoch = (-1, self._slots)
        self._aim = ClassAware(places, class_aware, shares) if places and class_aware else None
        self._paste = paste
        self._warn_of_small_images()

    @property
    def steps_per_epoch(self) -> int:
        """Batches until every entry has been drawn its share; the last is filled from the next."""
        return -(-len(self._slots) // self.batch_size)

    def batches(self, start: int = 0) -> Iterator[Batch]:
        """Batches from step `start` on, without end; made ahead while the last one is used.

        Close the iterator, or let go of it, to end its threads.

        Raises:
            DataError: A file cannot be read, or changed since the training began.
        """
        opencv_threads = cv2.getNumThreads()
        # A crop is too small to share out; OpenCV's pool would only take cores from the training.
        cv2.setNumThreads(1)
        pool = ThreadPoolExecutor(self.threads, thread_name_prefix="pixelwright-loader")
        try:
            # Two batches ahead ride out a slow file; more where a batch has fewer crops than
            # there are threads.
            ahead = max(2, -(-2 * self.threads // self.batch_size))
            made = deque(self._make(pool, step) for step in range(start, start + ahead))
            for step in count(start + ahead):
                batch, parts = made.popleft()
                for part in parts:
                    part.result()
                made.append(self._make(pool, step))
                yield batch
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
            cv2.setNumThreads(opencv_threads)

    def aim_at(self, position: int) -> tuple[int, Aim | None]:
        """The entry of a draw, and what it is aimed at, if it is."""
        aim = self._aim.draw(self.seed, position) if self._aim else None
        return (self._entry_at(position) if aim is None else aim.entry), aim

    def crop_at(self, position: int) -> tuple[Sample, list[Pasted]]:
        """One draw as a batch would hold it, and what was pasted into it."""
        number, aim = self.aim_at(position)
        shape = (*self.crop, self.dataset.channels)
        target = self.dataset.entries[number].target
        into = Sample(
            np.empty(shape, np.uint8),
            target if isinstance(target, int) else np.empty(self.crop, np.int16),
            self.dataset.entries[number].key,
        )
        return into, self._cut(into, position, number, aim)

    def _make(self, pool: ThreadPoolExecutor, step: int) -> tuple[Batch, list[Future[None]]]:
        """Start to fill a batch; it is whole when every future is done."""
        first = step * self.batch_size
        positions = range(first, first + self.batch_size)
        aims = [self.aim_at(p) for p in positions]
        keys = tuple(self.dataset.entries[entry].key for entry, _ in aims)
        masks = not isinstance(self.dataset.entries[0].target, int)
        images = np.empty((self.batch_size, *self.crop, self.dataset.channels), np.uint8)
        targets = np.empty((self.batch_size, *self.crop) if masks else self.batch_size, np.int16)
        batch = Batch(images, targets, keys)
        work = enumerate(zip(positions, aims, strict=True))
        return batch, [pool.submit(self._fill, batch, row, p, *aim) for row, (p, aim) in work]

    def _fill(self, batch: Batch, row: int, position: int, number: int, aim: Aim | None) -> None:
        label = self.dataset.entries[number].target
        target = label if isinstance(label, int) else batch.targets[row]
        into = Sample(batch.images[row], target, batch.keys[row])
        self._cut(into, position, number, aim)
        if isinstance(label, int):
            batch.targets[row] = label

    def _cut(self, into: Sample, position: int, number: int, aim: Aim | None) -> list[Pasted]:
        """Fill a crop; what was pasted into it."""
        pasted: list[Pasted] = []
        try:
            sample = self.dataset.sample(number)
            size = sample.image.shape[:2]
            around = divmod(aim.pixel, size[1]) if aim and aim.pixel is not None else None
            change = draw(self.augment, self.seed, position, size, self.crop, around)
            compose = partial(self._compose, pasted, change, number, position)
            apply(change, sample, self.crop, into, compose if self._paste else None)
        except PixelwrightError:
            raise
        except Exception as error:
            error.add_note(f"while cropping {self.dataset.entries[number].image}, draw {position}")
            raise
        return pasted

    def _compose(
        self, pasted: list[Pasted], change: Draw, number: int, position: int, crop: Sample
    ) -> None:
        """Paste into a crop, and tell what."""
        assert self._paste is not None
        pasted.extend(self._paste(crop, change, number, self.seed, position))

    def _entry_at(self, position: int) -> int:
        epoch, place = divmod(position, len(self._slots))
        if self._epoch[0] != epoch:
            order = generator(self.seed, epoch, ORDER).random(len(self._slots)).argsort()
            self._epoch = (epoch, self._slots[order])
        return int(self._epoch[1][place])

    def _warn_of_small_images(self) -> None:
        small = [
            entry.image
            for entry, (height, width) in zip(self.dataset.entries, self.dataset.sizes, strict=True)
            if height < self.crop[0] or width < self.crop[1]
        ]
        if small:
            warnings.warn(
                f"{len(small)} of {len(self.dataset)} images are smaller than the crop of "
                f"{self.crop[0]}x{self.crop[1]}; the first is {small[0]}. They are padded by "
                f"mirroring, and the padding counts nowhere. A smaller train.crop wastes less.",
                PixelwrightWarning,
                stacklevel=3,
            )


def _spare_cores() -> int:
    # Where it is told, what this process may use: less than the machine has in a container.
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return min(max((usable or 1) - 1, 1), 8)
