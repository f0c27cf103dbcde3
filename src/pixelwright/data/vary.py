"""Vary a batch of whole pictures at once: moves and mirror images are copies, without a loop.

images = varied(pictures, numbers, draws, pairs)            # uint8 "128 32 32 3"

`on_device` does the same with tensors, for a GPU.
"""

import cv2
import numpy as np
from jaxtyping import Float64, Int64, UInt8

from pixelwright.data.damage import spoil
from pixelwright.data.draws import Draws, Pairs

Images = UInt8[np.ndarray, "n h w c"]


def varied(
    pictures: UInt8[np.ndarray, "all h w c"],
    numbers: Int64[np.ndarray, " n"],
    draws: Draws,
    pairs: Pairs | None = None,
) -> Images:
    """Some pictures, varied and mixed as drawn.

    Beyond their edges pictures are mirrored, since black borders would be a shape to learn.

    Args:
        pictures: To choose from.
        numbers: Of those that make the batch.
        draws: How each is varied.
        pairs: With whom each is mixed, after all else.
    """
    if draws.affine is None:
        images = _moved(pictures, numbers, draws)
    else:
        images = _warped(pictures, numbers, draws.affine)
    if draws.color is not None:
        # One product for all would be made in floats and takes ten times as long.
        for image, color in zip(images, draws.color, strict=True):
            cv2.transform(image, color, dst=image)
    for image, damage in zip(images, draws.damage, strict=False):
        spoil(damage, image, None)
    if draws.holes is not None:
        _cut(images, draws.holes, draws.fill)
    return images if pairs is None else _mixed(images, pairs)


def _moved(
    pictures: UInt8[np.ndarray, "all h w c"], numbers: Int64[np.ndarray, " n"], draws: Draws
) -> Images:
    """Copies that are moved by whole pixels and mirrored."""
    _, height, width, channels = pictures.shape
    if draws.move_y.any() or draws.flip_y.any():
        edge = int(np.abs(draws.move_y).max())
        moves = np.arange(-edge, edge + 1)[:, np.newaxis]
        rows = mirrored(np.arange(height) + moves, height)[draws.move_y + edge]
        rows[draws.flip_y] = rows[draws.flip_y, ::-1]
        rows += numbers[:, np.newaxis] * height
        flat = pictures.reshape(-1, width * channels)
        # "clip" for speed: else NumPy copies twice, so that a wrong index spoils nothing.
        taken = np.take(flat, rows.reshape(-1), axis=0, mode="clip")
    else:
        taken = np.take(pictures, numbers, axis=0, mode="clip")
    images: Images = taken.reshape(-1, height, width, channels)
    if draws.move_x.any():
        images = _slid(images, draws.move_x)
    flipped = np.flatnonzero(draws.flip_x)
    if len(flipped):
        # As one tall picture: a call of OpenCV takes longer than mirroring 32x32 pixels.
        tall = images[flipped].reshape(-1, width, channels)
        images[flipped] = cv2.flip(tall, 1).reshape(-1, height, width, channels)
    return images


def _slid(images: Images, move: Int64[np.ndarray, " n"]) -> Images:
    """Copies of which each is seen some pixels to the right: windows on rows with mirrored ends."""
    count, height, width, channels = images.shape
    edge = int(np.abs(move).max())
    tall = images.reshape(-1, width, channels)
    padded = cv2.copyMakeBorder(tall, 0, 0, edge, edge, cv2.BORDER_REFLECT_101)
    # All windows that there are, whose pixels overlap. A row is one item of so many bytes, which
    # NumPy copies at once; one by one it would take three times as long.
    pitch = (width + 2 * edge) * channels
    windows = np.ndarray(
        (count, 2 * edge + 1, height),
        np.dtype(f"V{width * channels}"),
        np.ascontiguousarray(padded),
        0,
        (height * pitch, channels, pitch),
    )
    seen = windows[np.arange(count), move + edge]
    return np.asarray(seen.view(np.uint8).reshape(images.shape))


def mirrored(at: Int64[np.ndarray, "*any"], length: int) -> Int64[np.ndarray, "*any"]:
    """Indices that may lie beyond either end, by less than all, at the pixels they mirror."""
    last = length - 1
    return np.asarray(last - np.abs(last - np.abs(at)))


def _warped(
    pictures: UInt8[np.ndarray, "all h w c"],
    numbers: Int64[np.ndarray, " n"],
    affine: Float64[np.ndarray, "n 2 3"],
) -> Images:
    height, width = pictures.shape[1:3]
    images = np.empty((len(numbers), *pictures.shape[1:]), np.uint8)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    # One `remap` of all as a tall picture takes as long, and needs two more arrays.
    for image, number, one in zip(images, numbers.tolist(), affine, strict=True):
        cv2.warpAffine(
            pictures[number],
            one,
            (width, height),
            dst=image,
            flags=flags,
            borderMode=cv2.BORDER_REFLECT_101,
        )
    return images


def _cut(images: Images, holes: Int64[np.ndarray, "n 4"], fill: UInt8[np.ndarray, " c"]) -> None:
    height, width, channels = images.shape[1:]
    top, left, tall, wide = (column[:, np.newaxis] for column in holes.T)
    rows, columns = np.arange(height), np.arange(width)
    down = (rows >= top) & (rows < top + tall)
    across = (columns >= left) & (columns < left + wide)
    pixel = np.dtype(f"V{channels}")
    # A pixel is one item: value by value it would take eight times as long.
    images.view(pixel)[..., 0][down[:, :, np.newaxis] & across[:, np.newaxis]] = fill.view(pixel)[0]


def _mixed(images: Images, pairs: Pairs) -> Images:
    if pairs.box is None:
        flat = images.reshape(len(images), -1)
        blend = cv2.addWeighted(flat, pairs.share, flat[pairs.partners], 1 - pairs.share, 0)
        return np.asarray(blend, np.uint8).reshape(images.shape)
    top, left, height, width = pairs.box
    part = np.s_[:, top : top + height, left : left + width]
    images[part] = images[part][pairs.partners]
    return images
