"""CIFAR-100's training pictures from shared/data/cifar100, or drawn ones, as the binary version."""

from pathlib import Path

import cv2
import numpy as np

MOSAICS = Path(__file__).resolve().parents[2] / "shared" / "data" / "cifar100"
CLASSES = 100


def pictures(each: int) -> tuple[np.ndarray, np.ndarray]:
    """uint8 "n 32 32 3" and fine labels, so many of each class."""
    found = []
    rng = np.random.default_rng(0)
    for path in sorted(MOSAICS.glob("*.webp")):
        sheet = cv2.imread(str(path), cv2.IMREAD_COLOR_RGB)
        assert sheet is not None, path
        tiles = sheet.reshape(20, 32, 25, 32, 3).transpose(0, 2, 1, 3, 4).reshape(-1, 32, 32, 3)
        found.append(tiles[:each])
    for _ in range(CLASSES - len(found)):
        coarse = rng.integers(0, 256, (each, 5, 5, 3), np.uint8)
        found.append(np.stack([cv2.resize(one, (32, 32)) for one in coarse]))
    return np.concatenate(found), np.repeat(np.arange(CLASSES), each)


def lay_out(folder: Path, each: int) -> bool:
    """Write the binary version of CIFAR-100, so many of each class; whether all pictures are real.

    It holds coarse label, fine label, and the red, green and blue plane of each.
    """
    from pixelwright.data.layouts.cifar100 import COARSE_OF_FINE

    images, fine = pictures(each)
    order = np.random.default_rng(0).permutation(len(fine))
    images, fine = images[order], fine[order]
    labels = np.stack([np.array(COARSE_OF_FINE)[fine], fine], 1).astype(np.uint8)
    planes = images.transpose(0, 3, 1, 2).reshape(len(fine), -1)
    (folder / "train.bin").write_bytes(np.concatenate([labels, planes], 1).tobytes())
    return len(list(MOSAICS.glob("*.webp"))) == CLASSES
