"""Which layout a folder has, where its user does not say so."""

from pathlib import Path

from pixelwright.data import class_tree
from pixelwright.data.layouts import cifar10, cifar100, folders
from pixelwright.errors import PixelwrightError
from pixelwright.images import exists


def layout_of(folder: Path) -> str:
    """The name of the layout: of CIFAR unpacked, of images and masks, or of a folder per class.

    What is none of these is called "folders", which says what would be.

    Raises:
        DataError: Some folders hold pictures by class and others do not.
    """
    for data in (cifar100.PUBLISHED, cifar10.PUBLISHED):
        held = data.held_by(folder)
        # A file called `train` alone may be anything.
        if held and any(exists(held[1] / name) for name in held[0].names.values()):
            return data.layout
    try:
        folders.find(root=folder)
    except PixelwrightError:
        return "class-folders" if class_tree.is_tree(folder) else "folders"
    return "folders"
