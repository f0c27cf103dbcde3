"""CIFAR-10: 50,000 pictures of 32x32 to train on and 10,000 to test, in 10 classes.

Paper: Krizhevsky, 2009, https://www.cs.toronto.edu/~kriz/learning-features-2009-TR.pdf
Files: <root>/cifar-10-batches-py/{data_batch_1..5,test_batch,batches.meta}, or
<root>/cifar-10-batches-bin/*.bin, or <root>/{train,test}/<class>/*.png. Pickles are read without
executing them.
"""

from pathlib import Path
from typing import Annotated

from pydantic import Field

from pixelwright.data.labels import index_of
from pixelwright.data.layouts._cifar import Published, Version, splits_of
from pixelwright.types import Index

NAMES = (
    *("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
)

_BATCHES = tuple(f"data_batch_{number}" for number in range(1, 6))
PUBLISHED = Published(
    "CIFAR-10",
    "cifar10",
    "label",
    {"label": NAMES},
    (
        Version("cifar-10-batches-py", _BATCHES, "test_batch", {"label": "batches.meta"}),
        Version(
            "cifar-10-batches-bin",
            tuple(f"{name}.bin" for name in _BATCHES),
            "test_batch.bin",
            {"label": "batches.meta.txt"},
        ),
    ),
)


def cifar10(*, root: Path, val: Annotated[float, Field(gt=0, lt=1)] = 0.1, seed: int = 0) -> Index:
    """Point at CIFAR-10.

    Args:
        root: The folder in which an archive was unpacked, or the folder within.
        val: Share of each class to hold out from the training pictures for validation, in (0, 1).
        seed: Another seed holds out others.
    """
    return index_of(root, NAMES, splits_of(root, PUBLISHED, val=val, seed=seed))
