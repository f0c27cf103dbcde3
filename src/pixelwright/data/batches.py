"""Batches of whole pictures that are in memory: endless for training, or all in order.

loader = ResidentLoader(pictures, Augment(shift=4), batch_size=128, seed=0)
for batch in loader.batches():                                      # without end
    ...
for batch in views(pictures, Augment(shift=4), count=3, seed=0):    # each three times
    ...
"""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import count as count_from
from typing import Any

import cv2
import numpy as np
from jaxtyping import Int64, UInt8

from pixelwright.data import on_device
from pixelwright.data.augment import Augment, generator
from pixelwright.data.draws import Draws, Pairs, check_shift, draw_batch, draw_pairs, spoils
from pixelwright.data.loader import ORDER
from pixelwright.data.resident import Resident
from pixelwright.data.vary import varied
from pixelwright.types import Batch, Mix

_AHEAD = 2
"""Batches that are made while one is used."""


class ResidentLoader:
    """Batches of whole pictures in memory, varied as they are made.

    The training is one endless sequence of draws. In every epoch each picture is drawn once; the
    order is a new permutation. What draw p is depends on the seed and on p alone; whom it is mixed
    with, by mixup and CutMix, also on its batch.

    Args:
        resident: What to draw from.
        augment: How pictures are varied.
        batch_size: Pictures in a batch.
        seed: Of the whole sequence.
        device: A GPU on which pictures live and batches are made, as tensors "n c h w", where they
            take at most half of its free memory, and none is blurred, made noisy or compressed,
            which only a CPU does. Else, and for None, batches are arrays.

    Raises:
        RecipeError: Pictures would move out of sight.
    """

    def __init__(
        self,
        resident: Resident,
        augment: Augment,
        *,
        batch_size: int,
        seed: int = 0,
        device: Any = None,
    ) -> None:
        self.resident = resident
        self.augment = augment
        self.batch_size = batch_size
        self.seed = seed
        self._size = resident.images.shape[1:3]
        check_shift(augment, self._size)
        self._fill = _mean_color(resident)
        self._epoch = (-1, np.arange(len(resident)))
        self._varied = _varier(resident, augment, device)

    @property
    def steps_per_epoch(self) -> int:
        """Batches until every picture was drawn; the last is filled from the next epoch."""
        return -(-len(self.resident) // self.batch_size)

    def batches(self, start: int = 0) -> Iterator[Batch]:
        """Batches from step `start` on, without end; made ahead while the last one is used.

        Close the iterator, or let go of it, to end its thread.
        """
        opencv_threads = cv2.getNumThreads()
        # A batch of small pictures takes less time than it takes to share it out.
        cv2.setNumThreads(1)
        pool = ThreadPoolExecutor(1, thread_name_prefix="pixelwright-loader")
        try:
            made: deque[Future[Batch]] = deque(
                pool.submit(self.batch, step) for step in range(start, start + _AHEAD)
            )
            for step in count_from(start + _AHEAD):
                batch = made.popleft().result()
                made.append(pool.submit(self.batch, step))
                yield batch
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
            cv2.setNumThreads(opencv_threads)

    def batch(self, step: int) -> Batch:
        """The batch of a step, made now."""
        first = step * self.batch_size
        positions = np.arange(first, first + self.batch_size)
        numbers = self._numbers(first)
        draws = draw_batch(self.augment, self.seed, positions, self._size, self._fill)
        pairs = draw_pairs(self.augment, self.seed, step, self.batch_size, self._size)
        made = self._varied(numbers, draws, pairs)
        labels = self.resident.labels[numbers]
        mix = None if pairs is None else Mix(labels[pairs.partners], pairs.share)
        return Batch(made, labels, _keys(self.resident, numbers), mix)

    def _numbers(self, first: int) -> Int64[np.ndarray, " n"]:
        """Which pictures the draws of a batch take."""
        found: list[Int64[np.ndarray, " part"]] = []
        position, left = first, self.batch_size
        while left:
            epoch, place = divmod(position, len(self.resident))
            part = self._order(epoch)[place : place + left]
            found.append(part)
            position, left = position + len(part), left - len(part)
        return np.concatenate(found)

    def _order(self, epoch: int) -> Int64[np.ndarray, " n"]:
        known, order = self._epoch
        if known != epoch:
            # As `loader.Loader` orders entries of which each holds one crop.
            order = generator(self.seed, epoch, ORDER).random(len(self.resident)).argsort()
            # One value, since two iterators may ask from two threads.
            self._epoch = epoch, order
        return order


def views(
    resident: Resident, augment: Augment, count: int, seed: int, *, batch_size: int = 256
) -> Iterator[Batch]:
    """Every picture several times, each time varied anew, in batches.

    Args:
        resident: The pictures.
        augment: How they are varied; nothing is mixed.
        count: Times.
        seed: Of the variation.
        batch_size: Most pictures in a batch.

    Yields:
        The batches of the first view of all pictures, in order, then those of the second, and on.

    Raises:
        RecipeError: Pictures would move out of sight.
    """
    assert not (augment.mixup or augment.cutmix), "a view is of one picture"
    size = resident.images.shape[1:3]
    check_shift(augment, size)
    fill = _mean_color(resident)
    for turn in range(count):
        for start in range(0, len(resident), batch_size):
            numbers = np.arange(start, min(start + batch_size, len(resident)))
            positions = turn * len(resident) + numbers
            draws = draw_batch(augment, seed, positions, size, fill)
            made = varied(resident.images, numbers, draws)
            yield Batch(made, resident.labels[numbers], _keys(resident, numbers))


def _varier(
    resident: Resident, augment: Augment, device: Any
) -> Callable[[Int64[np.ndarray, " n"], Draws, Pairs | None], Any]:
    """What makes the images of a batch."""
    on_cpu = device is None or str(device).partition(":")[0] == "cpu" or spoils(augment)
    if on_cpu or not on_device.fits(resident.images, device):
        return lambda numbers, draws, pairs: varied(resident.images, numbers, draws, pairs)
    return on_device.OnDevice(resident.images, device).varied


def _mean_color(resident: Resident) -> UInt8[np.ndarray, " c"]:
    """What holes are filled with: the data's mean, of a thousand pictures, as in the paper."""
    some = resident.images[:: max(len(resident) // 1000, 1)]
    return np.asarray(np.rint(some.mean((0, 1, 2))), np.uint8)


def _keys(resident: Resident, numbers: Int64[np.ndarray, " n"]) -> tuple[str, ...]:
    return tuple([resident.keys[number] for number in numbers.tolist()])
