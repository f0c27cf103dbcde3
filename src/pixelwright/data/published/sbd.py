"""The masks of the Semantic Boundaries Dataset in the form of VOC's.

Paper: Hariharan et al., 2011, https://doi.org/10.1109/ICCV.2011.6126343
Files: cls/*.mat, train.txt and val.txt in; SegmentationClassAug/*.png, and a list `trainaug`, out.
Differs: where VOC 2012 has a mask of its own, that one is kept: it is finer, and its borders are
    ignored. The list leaves out what VOC validates on.
"""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from pixelwright import images
from pixelwright.data.layouts.voc2012 import color
from pixelwright.errors import DataError, shown
from pixelwright.types import Event, OnEvent, silent


def convert(sbd: Path, voc: Path, into: Path, on_event: OnEvent = silent) -> list[str]:
    """Write a PNG for each mask of SBD or VOC, with VOC's colours.

    Args:
        sbd: Holds `cls`, `train.txt` and `val.txt`.
        voc: VOC 2012: holds `SegmentationClass` and `ImageSets/Segmentation`.
        into: A folder that is there.
        on_event: Gets the progress, in masks.

    Returns:
        The pictures to train on: those with a mask that are not in VOC's `val`.

    Raises:
        DataError: A list or a mask is missing or damaged.
    """
    own = {path.stem: path for path in (voc / "SegmentationClass").glob("*.png")}
    lists = voc / "ImageSets" / "Segmentation"
    held_out = set(_names(lists / "val.txt"))
    theirs = [*_names(sbd / "train.txt"), *_names(sbd / "val.txt")]
    keys = sorted({*theirs, *own})
    palette = tuple(color(index) for index in range(256))
    for done, key in enumerate(keys, start=1):
        target = into / f"{key}.png"
        if key in own:
            shutil.copyfile(own[key], target)
        else:
            images.write_png(target, _read_mat(sbd / "cls" / f"{key}.mat"), palette)
        on_event(Event("progress", {"what": "convert", "done": done, "total": len(keys)}))
    return sorted({*theirs, *_names(lists / "train.txt")} - held_out)


def _names(path: Path) -> Sequence[str]:
    try:
        return path.read_text(encoding="utf-8").split()
    except OSError as error:
        raise DataError(f"{shown(path)} cannot be read: {error.strerror}.") from error


def _read_mat(path: Path) -> UInt8[np.ndarray, "h w"]:
    """`GTcls.Segmentation`: 0 for background, then VOC's classes."""
    from scipy.io import loadmat

    try:
        content: Any = loadmat(path, variable_names=["GTcls"])["GTcls"]
        mask = np.asarray(content["Segmentation"][0, 0])
    # The parser meets damage with errors of many types; each means the same to the user.
    except Exception as error:
        raise DataError(
            f"{shown(path)} is no mask of SBD ({shown(error)}). Fetch the archive again."
        ) from error
    if mask.ndim != 2 or mask.dtype != np.uint8 or int(mask.max(initial=0)) > 20:
        raise DataError(f"{shown(path)} holds no classes from 0 to 20. Fetch the archive again.")
    return mask
