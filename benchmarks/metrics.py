"""Count right and wrong pixels: ours beside torchmetrics and segmentation-models-pytorch.

    python benchmarks/metrics.py --quick --json metrics.json

Every system counts the same label maps of one megapixel, of which three in a hundred pixels are
ignored and about one in ten is wrong, and its counts are compared with ours. Each is handed the
type that it reads without a copy: ours uint8 predictions and int16 targets, the others int64
tensors, as `argmax` makes them; their checks of the arguments are off. Each system has a process of
its own with the default threads; they take turns, and each figure is the best of several rounds, in
seconds of wall time per megapixel.
"""

import argparse
import json
import multiprocessing
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from rich.console import Console
from rich.table import Table

SIDE, MAPS, IGNORE = 1024, 4, -1
CASES = {f"{classes} classes": classes for classes in (11, 19, 150)}

Maps = list[tuple[np.ndarray, np.ndarray]]
Margins = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Right, missed and falsely predicted pixels of each class."""


def margins(table: np.ndarray) -> Margins:
    hit = np.diagonal(table)
    return hit, table.sum(1) - hit, table.sum(0) - hit


class System:
    """Counts pairs of label maps one after the other, and adds up."""

    def __init__(self, maps: Maps, classes: int) -> None:
        self.maps = [self.taken(*pair) for pair in maps]
        self.classes = classes

    def taken(self, prediction: np.ndarray, target: np.ndarray) -> tuple[Any, Any]:
        """A pair of maps as this system reads it without a copy."""
        import torch

        return (
            torch.from_numpy(prediction.astype(np.int64))[None],
            torch.from_numpy(target.astype(np.int64))[None],
        )

    def count(self, prediction: Any, target: Any) -> None:
        raise NotImplementedError

    def counted(self) -> Margins:
        raise NotImplementedError


class Ours(System):
    def __init__(self, maps: Maps, classes: int) -> None:
        from pixelwright.metrics.confusion import Confusion

        super().__init__(maps, classes)
        self.of, self.total = Confusion.of, Confusion.empty(classes)

    def taken(self, prediction: np.ndarray, target: np.ndarray) -> tuple[Any, Any]:
        return prediction, target

    def count(self, prediction: Any, target: Any) -> None:
        self.total = self.total + self.of(prediction, target, self.classes)

    def counted(self) -> Margins:
        return margins(self.total.counts)


class Torchmetrics(System):
    kind = "MulticlassConfusionMatrix"

    def __init__(self, maps: Maps, classes: int) -> None:
        from torchmetrics import classification

        super().__init__(maps, classes)
        build = getattr(classification, self.kind)
        self.metric = build(classes, ignore_index=IGNORE, validate_args=False)

    def count(self, prediction: Any, target: Any) -> None:
        self.metric.update(prediction, target)

    def counted(self) -> Margins:
        return margins(self.metric.confmat.numpy())


class Jaccard(Torchmetrics):
    kind = "MulticlassJaccardIndex"


class Smp(System):
    def __init__(self, maps: Maps, classes: int) -> None:
        from segmentation_models_pytorch import metrics

        super().__init__(maps, classes)
        self.get_stats = metrics.get_stats
        self.sums = [np.zeros(classes, np.int64)] * 3

    def count(self, prediction: Any, target: Any) -> None:
        tp, fp, fn, _ = self.get_stats(
            prediction, target, "multiclass", num_classes=self.classes, ignore_index=IGNORE
        )
        self.sums = [
            total + part.sum(0).numpy() for total, part in zip(self.sums, (tp, fn, fp), strict=True)
        ]

    def counted(self) -> Margins:
        hit, missed, false = self.sums
        return hit, missed, false


SYSTEMS: dict[str, Callable[[Maps, int], System]] = {
    "pixelwright": Ours,
    "torchmetrics matrix": Torchmetrics,
    "torchmetrics Jaccard": Jaccard,
    "smp get_stats": Smp,
}


def draw(classes: int, file: Path) -> Path:
    """Regions with smooth outlines; the prediction's lie elsewhere by a few pixels, with specks."""
    rng = np.random.default_rng(classes)
    drawn = []
    for _ in range(MAPS):
        occurring = rng.permutation(classes)[:24]
        fields = rng.standard_normal((len(occurring), 10, 10)).astype(np.float32)
        highest = np.argmax([cv2.resize(f, (SIDE, SIDE), None, 0, 0, 2) for f in fields], axis=0)
        target = occurring[highest].astype(np.int16)
        prediction = np.roll(target, (2, 3), (0, 1)).astype(np.uint8)
        specks = rng.random(target.shape) < 0.03
        prediction[specks] = rng.integers(0, classes, int(specks.sum()))
        target[:31] = IGNORE
        drawn.append((prediction, target))
    predictions, targets = zip(*drawn, strict=True)
    np.savez(file, predictions=predictions, targets=targets)
    return file


class Bench:
    """One system in this process, ready for rounds of one case."""

    def __init__(self, name: str, classes: int, file: Path) -> None:
        # Once a large block was freed, as in any training, the C library keeps freed memory.
        np.ones(2**24, np.uint8)
        with np.load(file) as maps:
            pairs = list(zip(maps["predictions"], maps["targets"], strict=True))
        self.system = SYSTEMS[name](pairs, classes)

    def counts(self) -> Margins:
        """Of all maps once; warms up as well."""
        self.round(MAPS)
        return self.system.counted()

    def round(self, count: int) -> float:
        """Seconds per megapixel."""
        # The threads of the system before may still spin, waiting for more work.
        time.sleep(0.02)
        start = time.perf_counter()
        for pair in islice(cycle(self.system.maps), count):
            self.system.count(*pair)
        return (time.perf_counter() - start) / (count * SIDE**2 / 2**20)


_bench: list[Bench] = []  # of this process, filled when it starts


def start(name: str, classes: int, file: Path) -> None:
    _bench.append(Bench(name, classes, file))


def counts() -> Margins:
    return _bench[0].counts()


def one_round(count: int) -> float:
    return _bench[0].round(count)


def peak_mb() -> float:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


def check_equal(every: list[Margins]) -> None:
    for name, found in zip(SYSTEMS, every, strict=True):
        for what, ours, theirs in zip(("hit", "missed", "false"), every[0], found, strict=True):
            assert np.array_equal(ours, theirs), f"{name}: {what} differs from ours"
    assert every[0][1].sum() > 0


def run(case: str, file: Path, quick: bool) -> list[dict[str, Any]]:
    rounds = 6 if quick else 40
    context = multiprocessing.get_context("spawn")
    with ExitStack() as stack:
        pools = [
            stack.enter_context(
                ProcessPoolExecutor(
                    1, context, initializer=start, initargs=(name, CASES[case], file)
                )
            )
            for name in SYSTEMS
        ]
        check_equal([pool.submit(counts).result() for pool in pools])
        times = [[p.submit(one_round, MAPS).result() for p in pools] for _ in range(rounds)]
        peaks = [pool.submit(peak_mb).result() for pool in pools]
    best = np.min(times, axis=0).tolist()
    return [
        {
            "case": case,
            "system": name,
            "seconds": seconds,
            "throughput": 1 / seconds,
            "peak_mb": peak,
            "ratio": seconds / best[0],
        }
        for name, seconds, peak in zip(SYSTEMS, best, peaks, strict=True)
    ]


def show(rows: list[dict[str, Any]]) -> None:
    table = Table(title="counting pixels, per megapixel")
    for name in ("case", "system", "ms", "Mpx/s", "peak MB", "x ours"):
        table.add_column(
            name, justify="left" if name in ("case", "system") else "right", no_wrap=True
        )
    for row in rows:
        table.add_row(
            row["case"],
            row["system"],
            f"{row['seconds'] * 1e3:.2f}",
            f"{row['throughput']:.0f}",
            f"{row['peak_mb']:.0f}",
            f"{row['ratio']:.1f}",
        )
    Console().print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer rounds; under a minute")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows here")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rows = [
            row
            for case, classes in CASES.items()
            for row in run(case, draw(classes, Path(folder) / f"{classes}.npz"), options.quick)
        ]
    show(rows)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
