"""Pictures in a folder for each class, split by folder or by lot.

Files, on disk or in a zip archive:
    <root>/train/<class>/*.png, <root>/val/<class>/*.png, <root>/test/...; `valid` and the like too
    <root>/<class>/*.png                                    a part is held out for validation
"""

from pathlib import Path
from typing import Annotated

from pydantic import Field

from pixelwright.data import class_tree
from pixelwright.data.labels import groups_from, index_of, with_held_out
from pixelwright.errors import DataError, first_few, shown
from pixelwright.images import children, is_folder
from pixelwright.types import Index


def class_folders(
    *,
    root: Path,
    groups: Path | None = None,
    train_split: str = "train",
    val: Annotated[float, Field(gt=0, lt=1)] = 0.2,
    test: Annotated[float, Field(ge=0, lt=1)] = 0.0,
    seed: int = 0,
) -> Index:
    """Point at folders of pictures, one for each class.

    Args:
        root: Holds a folder for each class, or a folder of such for each split.
        groups: CSV file with the columns class and group: the superclass of each class.
        train_split: Folder to train on where there are several, such as train_small.
        val: Share of each class to hold out for validation where no folder says it, in (0, 1).
        test: Share of each class to hold out as a test split first, where no folder is one; 0 holds
            out none.
        seed: Another seed holds out other pictures.
    """
    if not is_folder(root):
        raise DataError(f"root={shown(root)} is a file. Give the folder that holds the classes.")
    tree = class_tree.scan(root, train_split)
    if not tree.names:
        held = first_few(path.name for path in children(root)) or "nothing"
        raise DataError(
            f"{shown(root)} holds no folder of pictures for each class, only {shown(held)}. Lay "
            "them out as CLASS/*.png, or as train/CLASS/*.png and val/CLASS/*.png."
        )
    entries = class_tree.entries_of(tree, root)
    splits = with_held_out(entries, val=val, test=test, seed=seed, where=root)
    superclasses = groups_from(groups, tree.names) if groups else ()
    return index_of(root, tree.names, splits, superclasses, absent=tree.absent)
