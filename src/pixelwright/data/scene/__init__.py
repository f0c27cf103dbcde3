"""An aerial picture that never was, with its exact mask: to try everything without any data.

    scene = Scene(seed=7, height=1024, width=1024, foreground=("tree",))
    image, mask = draw(scene)                                # uint8 (1024, 1024, 3), (1024, 1024)
    part, part_mask = draw(scene, Window(512, 0, 256, 256))  # the same pixels, drawn alone
    write_pair("demo", scene)                                # demo/rgb.png, demo/gt.png

Every pixel is a pure function of the seed and of its place, so a scene has no size limit, any part
of it costs only itself, and equal seeds give equal pictures. A pixel is about half a metre.
"""

from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from pixelwright.data.scene.buildings import build
from pixelwright.data.scene.cars import park
from pixelwright.data.scene.ground import bare
from pixelwright.data.scene.land import survey
from pixelwright.data.scene.light import REACH, photograph
from pixelwright.data.scene.plants import grow
from pixelwright.data.scene.stamp import grid
from pixelwright.errors import DataError, unknown
from pixelwright.images import write_png
from pixelwright.types import Window

CLASSES = ("field", "road", "roof", "tree", "water")
PIECE = 1024  # px of the side of what is drawn at once, which bounds the memory


@dataclass(frozen=True, slots=True)
class Scene:
    """Which picture.

    Args:
        seed: The place, its season and its light; any integer.
        height: In pixels.
        width: In pixels.
        foreground: The names out of `CLASSES` that the mask shows as 1, the others as 0. Empty:
            the mask holds indices into `CLASSES`.

    Raises:
        DataError: A size below 1, or a foreground that is no class.
    """

    seed: int
    height: int
    width: int
    foreground: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.height < 1 or self.width < 1:
            raise DataError(
                f"A scene of {self.height} x {self.width} pixels has none. Both must be 1 or more."
            )
        for name in self.foreground:
            if name not in CLASSES:
                raise DataError(unknown("class of the scene", name, CLASSES))


def draw(
    scene: Scene, window: Window | None = None
) -> tuple[UInt8[np.ndarray, "h w 3"], UInt8[np.ndarray, "h w"]]:
    """The picture in RGB, and its mask; of a window of the scene, or of all of it.

    Raises:
        DataError: The window reaches outside of the scene.
    """
    w = window or Window(0, 0, scene.height, scene.width)
    inside = w.top >= 0 and w.left >= 0 and w.height > 0 and w.width > 0
    if not inside or w.top + w.height > scene.height or w.left + w.width > scene.width:
        raise DataError(f"{w} does not lie in a scene of {scene.height} x {scene.width} pixels.")
    image = np.empty((w.height, w.width, 3), dtype=np.uint8)
    mask = np.empty((w.height, w.width), dtype=np.uint8)
    for top, left in product(range(0, w.height, PIECE), range(0, w.width, PIECE)):
        part = slice(top, top + PIECE), slice(left, left + PIECE)
        height, width = mask[part].shape
        piece = Window(w.top + top, w.left + left, height, width)
        image[part], mask[part] = _draw_piece(scene.seed, piece)
    if scene.foreground:
        shown = np.array([name in scene.foreground for name in CLASSES], dtype=np.uint8)
        mask = shown[mask]
    return image, mask


def write_pair(folder: Path | str, scene: Scene) -> tuple[Path, Path]:
    """Write `rgb.png` and `gt.png`, with 0 and 255 where the mask has 0 and 1, and say where.

    Raises:
        MachineError: A file cannot be written.
    """
    image, mask = draw(scene)
    rgb, gt = Path(folder) / "rgb.png", Path(folder) / "gt.png"
    rgb.parent.mkdir(parents=True, exist_ok=True)
    write_png(rgb, image)
    write_png(gt, mask * 255 if scene.foreground else mask)
    return rgb, gt


def _draw_piece(
    seed: int, window: Window
) -> tuple[UInt8[np.ndarray, "h w 3"], UInt8[np.ndarray, "h w"]]:
    top, left, height, width = window
    wide = Window(top - REACH, left - REACH, height + 2 * REACH, width + 2 * REACH)
    y, x = grid(wide)
    surface = bare(seed, survey(seed, y, x), y, x)
    park(seed, surface, wide)
    build(seed, surface, wide)
    grow(seed, surface, wide)
    inner = slice(REACH, REACH + height), slice(REACH, REACH + width)
    return photograph(seed, surface, y, x)[inner], surface.kind[inner]
