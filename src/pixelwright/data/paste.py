"""CopyBlob: objects of rare classes, pasted into crops of other training pictures.

    paste = CopyBlob(dataset, blobs, rate=0.5, place="row", augment=augment)
    pasted = paste(crop, change, entry=3, seed=0, position=17)   # written into the crop

Drawn by the same counter-based generator as the crop: what is pasted into crop 17 is the same in
whatever order and on whatever thread it is made.
"""

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

import cv2
import numpy as np
from jaxtyping import Bool, Float64, UInt8

from pixelwright.data.augment import Augment, Draw, draw_turn, generator
from pixelwright.data.blobs import Blobs, of_class
from pixelwright.data.dataset import Dataset
from pixelwright.types import Sample

# Apart from what else is drawn for the same position.
_STREAM = 3

Place = Literal["row", "anywhere"]

TRIES = 4
"""Places that are looked at for one object before the crop goes without."""

HIDDEN = 0.25
"""Of the pixels of a rare class in the crop: a paste that hides more is not made."""

LARGEST = 0.25
"""Of the crop. An object that would cover more is not pasted."""

ROW_JITTER = 0.03
"""An object stands up to this share of the picture's height above or below its old row."""

SIZE_JITTER = (0.8, 1.25)
"""Zoom of an object that stands in its old row, beside that of the crop."""

_SOFT = 0.6
"""Sigma, in pixels, by which the outline is softened in the image: pixels along a true edge are
mixtures too. A line of one pixel keeps two thirds of itself."""


class Pasted(NamedTuple):
    """An object in a crop.

    Args:
        label: Its class.
        top: First row of its mask, in the crop.
        left: First column of its mask, in the crop.
        mask: Its pixels.
    """

    label: int
    top: int
    left: int
    mask: UInt8[np.ndarray, "h w"]


class _Pose(NamedTuple):
    """Which object, and the map from (x, y, 1) of the crop to (x, y) of the object's entry."""

    blob: int
    affine: Float64[np.ndarray, "2 3"]


class CopyBlob:
    """Pastes objects into crops: each is a connected region of one class, with its exact outline.

    A crop receives `rate` objects on average: as many as the whole part of it says, and one more
    with the probability of the rest. For each, a class is drawn evenly, then one of its objects in
    another entry that fit, by the square root of their areas: most objects are specks, from which
    little is learnt. With place "row" the object stands where a thing of its size may stand under a
    camera that looks ahead: at about the height in the picture at which it stood in its own, as
    large as there up to `SIZE_JITTER`, upright, mirrored every second time where crops are. With
    "anywhere", as from above or through a microscope, it lies anywhere in the crop, mirrored,
    turned and zoomed as if its own picture had been drawn as a crop.

    The object replaces image and target. Only pixels of its own region are copied: what is ignored
    inside its box is not. Pixels that were `IGNORE` get its class. It is resampled bilinearly and
    its mask by nearest pixel, through one map. The target's outline is hard, the image's softened
    over one pixel. A paste that would hide more than `HIDDEN` of the pixels that the crop has of a
    class to paste is tried elsewhere, then not made. Colours change after it, in the whole crop.

    Args:
        dataset: The training entries. Donors are read through its memory, and copied only in part;
            where not all entries fit into it, an object may cost the decoding of its picture.
        blobs: The objects of these entries.
        rate: Objects per crop.
        place: "row" or "anywhere".
        augment: How crops are varied.

    Paper: Ghiasi et al., 2021, Simple Copy-Paste, https://arxiv.org/abs/2012.07177
    Differs: They paste a random subset of all instances of one other image at its own place in it,
    varied by large-scale jitter. Here classes are drawn evenly, objects are connected regions of
    a class map (two that touch are one), one at a time is taken from any picture, and the place is
    drawn with the prior above.
    """

    def __init__(
        self, dataset: Dataset, blobs: Blobs, *, rate: float, place: Place, augment: Augment
    ) -> None:
        self.rate = rate
        self._dataset = dataset
        self._blobs = blobs
        self._place = place
        self._augment = augment
        self.labels = tuple(np.unique(blobs.classes).tolist())
        self._slices = {label: of_class(blobs, label) for label in self.labels}
        windows = [entry.window for entry in dataset.entries]
        self._above = np.array([window.top if window else 0 for window in windows])
        self._heights = np.array([height for height, _ in dataset.pictures])
        # How far down its picture an object stands, as a share of the picture's height.
        feet = self._above[blobs.entries] + blobs.tops + blobs.heights
        self._feet = feet / self._heights[blobs.entries]
        self._weights = np.sqrt(blobs.pixels)

    def __call__(
        self, crop: Sample, change: Draw, entry: int, seed: int, position: int
    ) -> list[Pasted]:
        """Paste into a crop, in place.

        Args:
            crop: Image and mask, cut but not yet recoloured.
            change: By which the crop was cut.
            entry: From which it was cut; no object of it is pasted.
            seed: Of the training.
            position: Of the crop in the training's endless sequence.

        Raises:
            DataError: A donor's files cannot be read.
        """
        random = generator(seed, position, _STREAM)
        count = math.floor(self.rate) + (random.random() < self.rate % 1)
        pasted: list[Pasted] = []
        for _ in range(count if self.labels else 0):
            # Every try takes as many numbers, whatever became of it.
            for u in random.random((TRIES, 10)):
                pose = self._pose(u, change, entry, crop.image.shape[:2])
                done = self._paste(crop, pose) if pose else None
                if done:
                    pasted.append(done)
                    break
        return pasted

    def _pose(
        self, u: Float64[np.ndarray, "10"], change: Draw, entry: int, crop: tuple[int, int]
    ) -> _Pose | None:
        """An object of another entry that fits, and how it lies; None where none fits."""
        part = self._slices[self.labels[int(u[0] * len(self.labels))]]
        at = math.floor(u[1] * crop[1]), math.floor(u[2] * crop[0])
        if self._place == "anywhere":
            turn, zoom = draw_turn(self._augment, u[3:7])
            fit = self._fit(part, entry, zoom, crop)
        else:
            turn, zoom = self._upright(u[3:5], change)
            rows = self._rows(part, entry, at[0], float(u[5]), change)
            # Half of the object or more is to be seen.
            middle = rows - zoom * self._blobs.heights[part] / 2
            fit = self._fit(part, entry, zoom, crop) & (middle >= 0) & (middle < crop[0])
        chosen = np.flatnonzero(fit)
        if not len(chosen):
            return None
        until = np.cumsum(self._weights[part][chosen])
        lot = int(np.searchsorted(until, u[7] * until[-1], side="right"))
        number = int(chosen[min(lot, len(chosen) - 1)])
        if self._place == "row":
            at = at[0], round(float(rows[number]))
        blob = part.start + number
        blobs = self._blobs
        x = int(blobs.lefts[blob]) + int(blobs.widths[blob]) // 2
        height = int(blobs.heights[blob])
        y = int(blobs.tops[blob]) + (height - 1 if self._place == "row" else height // 2)
        move = np.array([x, y]) - turn @ at
        return _Pose(blob, np.column_stack([turn, move]))

    def _fit(
        self, part: slice, entry: int, zoom: float, crop: tuple[int, int]
    ) -> Bool[np.ndarray, " n"]:
        """Which objects are from elsewhere and neither too large nor too small once zoomed."""
        blobs = self._blobs
        area = zoom**2 * blobs.pixels[part]
        longest = zoom * np.maximum(blobs.heights[part], blobs.widths[part])
        small = (area <= LARGEST * crop[0] * crop[1]) & (longest <= min(crop))
        return np.asarray((blobs.entries[part] != entry) & small & (area >= 16))

    def _upright(
        self, u: Float64[np.ndarray, "2"], change: Draw
    ) -> tuple[Float64[np.ndarray, "2 2"], float]:
        """From a step in the crop to one in the donor: as the crop lies, mirrored or not."""
        low, high = SIZE_JITTER
        size = low * (high / low) ** float(u[0])
        turn = change.affine[:, :2] / size
        if self._augment.flip and u[1] < 0.5:
            turn = np.diag([-1.0, 1.0]) @ turn
        (a, b), (c, d) = turn.tolist()
        return turn, 1 / math.sqrt(abs(a * d - b * c))

    def _rows(
        self, part: slice, entry: int, column: int, u: float, change: Draw
    ) -> Float64[np.ndarray, " n"]:
        """The row of the crop, in one of its columns, in which each object would stand."""
        share = self._feet[part] + ROW_JITTER * (2 * u - 1)
        rows = share * self._heights[entry] - self._above[entry] - 1
        (_, _, _), (c, d, y) = change.affine.tolist()
        return np.asarray((rows - y - c * column) / d)

    def _paste(self, crop: Sample, pose: _Pose) -> Pasted | None:
        """Write one object into the crop; None where nothing of it shows or it would hide much."""
        blobs, blob = self._blobs, pose.blob
        box = [int(a[blob]) for a in (blobs.tops, blobs.lefts, blobs.heights, blobs.widths)]
        rect = _footprint(pose.affine, box, crop.image.shape[:2])
        if rect is None:
            return None
        label = int(blobs.classes[blob])
        donor = self._dataset.sample(int(blobs.entries[blob]))
        assert not isinstance(donor.target, int)
        assert not isinstance(crop.target, int)
        top, left, height, width = rect
        # One pixel more of the picture than the box has, for the softened outline to mix with.
        y, x = max(box[0] - 1, 0), max(box[1] - 1, 0)
        stop_y, stop_x = box[0] + box[2] + 1, box[1] + box[3] + 1
        start = int(blobs.lefts[blob] + blobs.starts[blob]) - x, box[0] - y
        region = _region(donor.target[y:stop_y, x:stop_x] == label, start)
        affine = pose.affine.copy()
        affine[:, 2] += affine[:, :2] @ (left, top) - (x, y)
        nearest = cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP
        mask = np.asarray(cv2.warpAffine(region, affine, (width, height), flags=nearest))
        shown = mask > 0
        target = crop.target[top : top + height, left : left + width]
        if not shown.any() or self._hides_much(crop.target, target[shown]):
            return None
        pixels = cv2.warpAffine(
            donor.image[y:stop_y, x:stop_x],
            affine,
            (width, height),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REPLICATE,
        )
        _blend(crop.image[top : top + height, left : left + width], pixels, mask)
        target[shown] = label
        return Pasted(label, top, left, mask)

    def _hides_much(self, target: np.ndarray, covered: np.ndarray) -> bool:
        """Whether covering these labels would take too much of a rare class out of the crop."""
        for label in self.labels:
            hidden = np.count_nonzero(covered == label)
            if hidden and hidden > HIDDEN * np.count_nonzero(target == label):
                return True
        return False


def _footprint(
    affine: Float64[np.ndarray, "2 3"], box: Sequence[int], crop: tuple[int, int]
) -> tuple[int, int, int, int] | None:
    """Top, left, height and width of what a box covers in the crop, with a margin; None outside."""
    top, left, height, width = box
    (a, b, x), (c, d, y) = affine.tolist()
    size = a * d - b * c
    xs, ys = (left - 0.5 - x, left + width - 0.5 - x), (top - 0.5 - y, top + height - 0.5 - y)
    at_x = [(d * across - b * down) / size for across in xs for down in ys]
    at_y = [(a * down - c * across) / size for across in xs for down in ys]
    low_x, low_y = (max(math.floor(min(at)) - 1, 0) for at in (at_x, at_y))
    high_x = min(math.ceil(max(at_x)) + 2, crop[1])
    high_y = min(math.ceil(max(at_y)) + 2, crop[0])
    if high_x <= low_x or high_y <= low_y:
        return None
    return low_y, low_x, high_y - low_y, high_x - low_x


def _region(same: Bool[np.ndarray, "h w"], start: tuple[int, int]) -> UInt8[np.ndarray, "h w"]:
    """The one region of a class that holds a pixel (x, y), without the others in its box."""
    mask = same.astype(np.uint8)
    cv2.floodFill(mask, None, start, 2, flags=8)
    return np.asarray((mask == 2).view(np.uint8))


def _blend(
    image: UInt8[np.ndarray, "h w c"],
    pixels: UInt8[np.ndarray, "h w *c"],
    mask: UInt8[np.ndarray, "h w"],
) -> None:
    """Lay pixels over an image, softened along the outline of the mask."""
    weight = cv2.GaussianBlur(mask.astype(np.float32), (3, 3), _SOFT)
    image[...] = cv2.blendLinear(pixels, image, weight, 1 - weight).reshape(image.shape)
