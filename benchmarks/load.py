"""Decode and augment: ours beside Albumentations and torchvision v2, one thread each.

    python benchmarks/load.py --quick --json load.json

Every system does the same work on the same pictures: a random 256x256 crop of picture and mask,
mirrored every second time, turned by up to 10 degrees, zoomed by 0.8 to 1.25, brightness,
contrast and saturation changed by up to 0.2. "augment" starts from decoded pictures in memory,
"decode + augment" from files. "+ blur", "+ noise", "+ JPEG" and "+ cut-out" do that to every
second crop, beside Albumentations alone: up to a sigma of 1.5 or a deviation of 0.05, down to a
quality of 40, up to about a fifth of it. Each system has a process of its own; they take turns,
and each figure is the best of several rounds, in seconds of processor time, so that a busy
machine treats all alike.

The pictures are CamVid's (480x360, JPEG and PNG) where shared/data/camvid lies beside the checkout,
and drawn ones of that size and those formats elsewhere.
"""

import argparse
import json
import multiprocessing
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from itertools import cycle, islice
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from rich.console import Console
from rich.table import Table

CROP = 256
TURN, ZOOM, JITTER = 10.0, (0.8, 1.25), 0.2
UNLABELLED = 11
CAMVID = Path(__file__).resolve().parents[2] / "shared" / "data" / "camvid"
EXTRAS = ("blur", "noise", "JPEG", "cut-out")
FROM_FILES = "decode + augment"
CASES: dict[str, tuple[str, ...]] = {
    "augment": (),
    FROM_FILES: (),
    **{f"augment + {extra}": (extra,) for extra in EXTRAS},
    "augment + all four": EXTRAS,
}
SIGMA, DEVIATION, QUALITY, CUT = 1.5, 0.05, 40, 0.2

Files = list[tuple[Path, Path]]
Pair = tuple[Any, Any]


class System(NamedTuple):
    """How one library reads a picture with its mask, and how it varies them."""

    read: Callable[[Path, Path], Pair]
    vary: Callable[[Any, Any], Pair]
    as_numpy: Callable[[Any, Any], tuple[np.ndarray, np.ndarray]]


def ours(extras: tuple[str, ...]) -> System:
    from pixelwright import images
    from pixelwright.data.augment import Augment, apply, draw
    from pixelwright.types import IGNORE, Classes, Sample

    names = tuple(f"class {i}" for i in range(UNLABELLED))
    values = {**{i: i for i in range(UNLABELLED)}, UNLABELLED: IGNORE}
    classes = Classes(names, ((0, 0, 0),) * UNLABELLED, values)
    options = Augment(
        rotate=TURN,
        scale=ZOOM,
        brightness=JITTER,
        contrast=JITTER,
        saturation=JITTER,
        blur=SIGMA if "blur" in extras else 0.0,
        noise=DEVIATION if "noise" in extras else 0.0,
        jpeg=QUALITY if "JPEG" in extras else 0,
        cutout=CUT if "cut-out" in extras else 0.0,
    )
    positions = iter(range(10**9))

    def vary(image: np.ndarray, mask: np.ndarray) -> Pair:
        change = draw(options, 0, next(positions), image.shape[:2], (CROP, CROP))
        out = apply(change, Sample(image, mask, ""), (CROP, CROP))
        return out.image, out.target

    return System(
        read=lambda image, mask: (images.read_image(image), images.read_mask(mask, classes)),
        vary=vary,
        as_numpy=lambda image, mask: (image, np.where(mask == IGNORE, UNLABELLED, mask)),
    )


def albumentations(extras: tuple[str, ...]) -> System:
    os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"  # it asks the network for a newer version
    import albumentations as A

    factor = (1 - JITTER, 1 + JITTER)
    # One to four holes of a fifth of each side on average are a tenth of the crop, as ours are.
    sides = (0.1, 0.3)
    made = {
        "blur": lambda: A.GaussianBlur(blur_limit=0, sigma_limit=(0, SIGMA), p=0.5),
        "noise": lambda: A.GaussNoise(std_range=(0, DEVIATION), p=0.5),
        "JPEG": lambda: A.ImageCompression(quality_range=(QUALITY, 100), p=0.5),
        "cut-out": lambda: A.CoarseDropout(
            (1, 4), sides, sides, fill=128, fill_mask=UNLABELLED, p=0.5
        ),
    }
    pipeline = A.Compose(
        [
            A.HorizontalFlip(p=0.5),
            A.Affine(
                rotate=(-TURN, TURN),
                scale=ZOOM,
                p=1,
                border_mode=cv2.BORDER_CONSTANT,
                fill_mask=UNLABELLED,
            ),
            A.RandomCrop(CROP, CROP, pad_if_needed=True, fill_mask=UNLABELLED),
            A.ColorJitter(factor, factor, factor, hue=(0, 0), p=1),
            *(made[extra]() for extra in extras),
        ],
        seed=0,
    )

    def read(image: Path, mask: Path) -> Pair:
        return (
            cv2.imread(str(image), cv2.IMREAD_COLOR_RGB),
            cv2.imread(str(mask), cv2.IMREAD_UNCHANGED),
        )

    def vary(image: np.ndarray, mask: np.ndarray) -> Pair:
        out = pipeline(image=image, mask=mask)
        return out["image"], out["mask"]

    return System(read, vary, as_numpy=lambda image, mask: (image, mask))


def torchvision(extras: tuple[str, ...]) -> System:
    assert not extras
    import torch
    from torchvision import tv_tensors
    from torchvision.io import ImageReadMode, decode_jpeg, decode_png, read_file
    from torchvision.transforms import v2

    torch.set_num_threads(1)
    torch.manual_seed(0)
    # Colour last: on the crop it costs a third of what it costs on the whole picture.
    pipeline = v2.Compose(
        [
            v2.RandomAffine(
                TURN,
                scale=ZOOM,
                interpolation=v2.InterpolationMode.BILINEAR,
                fill={tv_tensors.Image: 0, tv_tensors.Mask: UNLABELLED},
            ),
            v2.RandomCrop(CROP),
            v2.RandomHorizontalFlip(),
            v2.ColorJitter(JITTER, JITTER, JITTER),
        ]
    )

    def read(image: Path, mask: Path) -> Pair:
        picture = decode_jpeg(read_file(str(image)), mode=ImageReadMode.RGB)
        labels = decode_png(read_file(str(mask)), mode=ImageReadMode.GRAY)
        return tv_tensors.Image(picture), tv_tensors.Mask(labels)

    return System(
        read,
        vary=lambda image, mask: tuple(pipeline(image, mask)),
        as_numpy=lambda image, mask: (image.permute(1, 2, 0).numpy(), mask[0].numpy()),
    )


SYSTEMS: dict[str, Callable[[tuple[str, ...]], System]] = {
    "pixelwright": ours,
    "albumentations": albumentations,
    "torchvision v2": torchvision,
}


class Bench:
    """One system in this process, ready for rounds of one case."""

    def __init__(self, name: str, case: str, files: Files) -> None:
        cv2.setNumThreads(1)
        # Once a large block was freed, as batches are in any training, the C library keeps freed
        # memory. Until then it is luck which of the systems pays for returning it at every picture.
        np.ones(2**24, np.uint8)
        self.system = SYSTEMS[name](CASES[case])
        self.files = files
        decoded = [] if case == FROM_FILES else [self.system.read(*pair) for pair in files]
        self.crops = self._from_memory(decoded) if decoded else self._from_files()

    def _from_memory(self, decoded: list[Pair]) -> Iterator[Pair]:
        for pair in cycle(decoded):
            yield self.system.vary(*pair)

    def _from_files(self) -> Iterator[Pair]:
        for pair in cycle(self.files):
            yield self.system.vary(*self.system.read(*pair))

    def likeness(self) -> tuple[float, float]:
        """Mean brightness and labelled share of some crops; warms up as well."""
        crops = islice(self.crops, 200)
        described = [describe(*self.system.as_numpy(*crop)) for crop in crops]
        brightness, labelled = np.mean(described, axis=0)
        return float(brightness), float(labelled)

    def round(self, count: int) -> float:
        """Seconds of processor time per crop, of all threads."""
        start = time.process_time()
        for _ in islice(self.crops, count):
            pass
        return (time.process_time() - start) / count


_bench: list[Bench] = []  # of this process, filled when it starts


def start(name: str, case: str, files: Files) -> None:
    _bench.append(Bench(name, case, files))


def likeness() -> tuple[float, float]:
    return _bench[0].likeness()


def one_round(count: int) -> float:
    return _bench[0].round(count)


def peak_mb() -> float:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


def describe(image: np.ndarray, mask: np.ndarray) -> tuple[float, float]:
    """Mean value of the labelled part of a crop, and how large that part is."""
    assert image.shape == (CROP, CROP, 3)
    assert image.dtype == np.uint8
    assert mask.shape == (CROP, CROP)
    assert mask.min() >= 0
    assert mask.max() <= UNLABELLED
    known = mask != UNLABELLED
    return float(image[known].mean()), float(known.mean())


def check_alike(likenesses: list[tuple[float, float]]) -> None:
    """The systems draw other numbers, but on average they must have done the same."""
    by_kind = zip(*likenesses, strict=True)
    for what, values in zip(("brightness", "labelled share"), by_kind, strict=True):
        assert max(values) <= min(values) * 1.08, f"{what} differs: {values}"


def draw_files(folder: Path, count: int) -> Files:
    """Regions of colour under noise: like photographs, they neither vanish nor fill the disk."""
    rng = np.random.default_rng(0)
    files = []
    for i in range(count):
        fields = rng.standard_normal((UNLABELLED, 6, 8)).astype(np.float32)
        labels = np.argmax([cv2.resize(f, (480, 360), None, 0, 0, 2) for f in fields], axis=0)
        picture = rng.integers(20, 236, (UNLABELLED, 3))[labels] + rng.normal(0, 8, (360, 480, 3))
        pair = folder / f"{i}.jpg", folder / f"{i}.png"
        pixels = cv2.GaussianBlur(picture.clip(0, 255).astype(np.uint8), (3, 3), 0)
        cv2.imwrite(str(pair[0]), pixels, [cv2.IMWRITE_JPEG_QUALITY, 97])
        cv2.imwrite(str(pair[1]), labels.astype(np.uint8))
        files.append(pair)
    return files


def run(case: str, files: Files, quick: bool) -> list[dict[str, Any]]:
    rounds, count = (5, 60) if quick else (15, 200)
    context = multiprocessing.get_context("spawn")
    names = [name for name in SYSTEMS if name != "torchvision v2" or not CASES[case]]
    with ExitStack() as stack:
        pools = [
            stack.enter_context(
                ProcessPoolExecutor(1, context, initializer=start, initargs=(name, case, files))
            )
            for name in names
        ]
        check_alike([pool.submit(likeness).result() for pool in pools])
        times = [[p.submit(one_round, count).result() for p in pools] for _ in range(rounds)]
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
        for name, seconds, peak in zip(names, best, peaks, strict=True)
    ]


def show(rows: list[dict[str, Any]], title: str) -> None:
    table = Table(title=title)
    for name in ("case", "system", "ms", "images/s", "peak MB", "x ours"):
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
            f"{row['ratio']:.2f}",
        )
    Console().print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer rounds; under a minute")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows here")
    options = parser.parse_args()
    os.environ.update(OMP_NUM_THREADS="1", MKL_NUM_THREADS="1")  # for the processes to come
    with tempfile.TemporaryDirectory() as folder:
        photos = sorted((CAMVID / "train").glob("*.jpg"))[:60]
        if photos:
            files = [(p, CAMVID / "trainannot" / f"{p.stem}.png") for p in photos]
        else:
            files = draw_files(Path(folder), 60)
        rows = [row for case in CASES for row in run(case, files, options.quick)]
    kind = "CamVid" if photos else "drawn pictures"
    show(rows, f"{CROP}x{CROP} crops of {kind}, 480x360, one thread")
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
