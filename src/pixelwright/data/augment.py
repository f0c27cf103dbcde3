"""Vary a picture and its mask: one affine matrix, one colour matrix, drawn by position.

    options = Augment(rotate=10, scale=(0.8, 1.25), brightness=0.2)
    change = draw(options, seed=0, position=17, image=(360, 480), crop=(256, 256))
    crop = apply(change, sample, (256, 256))

Draw 17 is the same in whatever order and on whatever thread it is made, so a training that resumes
at a step sees what it would have seen.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float32, Float64, Int16, UInt8

from pixelwright.data.damage import NUMBERS, Damage, draw_damage, spoil
from pixelwright.types import IGNORE, Sample

# Rec. 601: what the eye takes for brightness.
LUMA = np.array([0.299, 0.587, 0.114])
GREY = 127.5
DAMAGE = 4
"""The stream of blur, noise and the like, apart from a crop's own draws, which are stream 0."""


@dataclass(frozen=True, slots=True)
class Augment:
    """How far training crops may be varied.

    Args:
        flip: Mirror left and right, every second time.
        flip_vertical: Mirror top and bottom, every second time.
        rotate: Largest turn either way, in degrees.
        scale: Zoom is drawn between these, evenly in its logarithm; above 1 things look larger.
        brightness: All values are multiplied by a factor in 1 ± this.
        contrast: Distances from middle grey are multiplied by a factor in 1 ± this.
        saturation: Distances from a pixel's own grey are multiplied by a factor in 1 ± this.
        hue: Largest turn about the grey axis either way, in whole turns.
        blur: Every second crop is blurred, by a Gaussian of a sigma up to this, in pixels.
        noise: Every second crop gets Gaussian noise of a standard deviation up to this, in parts of
            the full range.
        jpeg: Every second crop is compressed, at a quality from 100 down to this; 0 is off.
        cutout: Every second crop loses up to this share of its pixels in one to four rectangles,
            which count nowhere.
        shift: Largest move either way, in pixels. This and what follows is for pictures that are
            seen whole, with one label each; `draws` and `vary` vary those.
        mixup: Batches are blended with their own pictures in another order, by a share from
            Beta(this, this); 0 is off.
        cutmix: Batches get a rectangle of their own pictures in another order; 0 is off.
    """

    flip: bool = True
    flip_vertical: bool = False
    rotate: float = 0.0
    scale: tuple[float, float] = (1.0, 1.0)
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    hue: float = 0.0
    blur: float = 0.0
    noise: float = 0.0
    jpeg: int = 0
    cutout: float = 0.0
    shift: int = 0
    mixup: float = 0.0
    cutmix: float = 0.0


@dataclass(frozen=True, slots=True)
class Draw:
    """One crop and its variation.

    Args:
        affine: From (x, y, 1) of the crop to (x, y) of the image; pixel centres are integers.
        color: From (red, green, blue, 1) in [0, 255] to the new colour; None changes nothing.
        damage: Blur, noise, compression and holes; None leaves the crop as it is.
    """

    affine: Float64[np.ndarray, "2 3"]
    color: Float32[np.ndarray, "3 4"] | None = None
    damage: Damage | None = None


def generator(seed: int, number: int, stream: int = 0) -> np.random.Generator:
    """Random numbers that depend on these three values alone, and start at once for any of them."""
    key = np.array([seed, number], np.uint64)
    counter = np.array([0, 0, 0, stream], np.uint64)
    return np.random.Generator(np.random.Philox(key=key, counter=counter))


def draw(
    options: Augment,
    seed: int,
    position: int,
    image: tuple[int, int],
    crop: tuple[int, int],
    around: tuple[int, int] | None = None,
) -> Draw:
    """Draw where to crop and how to vary.

    The place is drawn as if the crop stood upright, anywhere inside the image, so the image's
    margins are seen at every angle, and the corners of a turned crop may poke out. An image smaller
    than the crop lies in its middle, where no turn can lose it.

    Args:
        options: How far to go.
        seed: Of the training.
        position: Number of the draw in the training's endless sequence.
        image: Height and width of what is cropped.
        crop: Height and width of the crop.
        around: Row and column of a pixel that must be in the crop, anywhere in it.
    """
    # Always all ten, so that one option does not shift what another draws.
    u = generator(seed, position).random(10)
    turn, zoom = draw_turn(options, u[:4])
    a, b, c, d = turn.ravel().tolist()
    row, column = around or (None, None)
    middle_y = _place(u[4], image[0], crop[0] / zoom, row) - 0.5
    middle_x = _place(u[5], image[1], crop[1] / zoom, column) - 0.5
    half_y, half_x = (crop[0] - 1) / 2, (crop[1] - 1) / 2
    affine = np.array(
        [
            [a, b, middle_x - a * half_x - b * half_y],
            [c, d, middle_y - c * half_x - d * half_y],
        ]
    )
    if around is not None:
        _hold(affine, around, crop)
    return Draw(affine, _draw_color(options, u[6:]), _draw_damage(options, seed, position, crop))


def _draw_damage(
    options: Augment, seed: int, position: int, crop: tuple[int, int]
) -> Damage | None:
    if not (options.blur or options.noise or options.jpeg or options.cutout):
        return None
    return draw_damage(
        generator(seed, position, DAMAGE).random(NUMBERS),
        blur=options.blur,
        noise=options.noise,
        jpeg=options.jpeg,
        cutout=options.cutout,
        crop=crop,
    )


def draw_turn(
    options: Augment, u: Float64[np.ndarray, "4"]
) -> tuple[Float64[np.ndarray, "2 2"], float]:
    """From a step in the crop to one in the image, and the zoom: mirrored, turned and zoomed.

    Args:
        options: How far to go.
        u: Even in [0, 1).
    """
    low, high = options.scale
    zoom = low * (high / low) ** float(u[3])
    angle = math.radians(options.rotate * (2 * u[2] - 1))
    flip_x = -1 if options.flip and u[0] < 0.5 else 1
    flip_y = -1 if options.flip_vertical and u[1] < 0.5 else 1
    cos, sin = math.cos(angle) / zoom, math.sin(angle) / zoom
    return np.array([[cos * flip_x, -sin * flip_y], [sin * flip_x, cos * flip_y]]), zoom


def _place(u: float, length: int, footprint: float, pixel: int | None = None) -> float:
    """Where the middle of a footprint comes to lie, its near end a whole number of pixels in.

    With a pixel to hold, evenly among the places where the footprint holds it.
    """
    slack = length - footprint
    if slack <= 0:
        return math.floor(slack / 2) + footprint / 2
    first, last = 0, math.floor(slack)
    if pixel is not None:
        last = min(last, pixel)
        first = min(max(math.ceil(pixel + 1 - footprint), 0), last)
    return first + math.floor(u * (last - first + 1)) + footprint / 2


def _hold(
    affine: Float64[np.ndarray, "2 3"], pixel: tuple[int, int], crop: tuple[int, int]
) -> None:
    """Move a map by as little as it takes to have a pixel of the image in the crop.

    A turned crop lacks the corners of its upright footprint, in which the pixel may lie.
    """
    at = np.linalg.solve(affine[:, :2], np.array(pixel[::-1]) - affine[:, 2])
    inside = at.clip(0, [crop[1] - 1, crop[0] - 1])
    if np.abs(inside - at).max() > 1e-6:
        affine[:, 2] += affine[:, :2] @ (at - inside)


def _draw_color(options: Augment, u: Float64[np.ndarray, "4"]) -> Float32[np.ndarray, "3 4"] | None:
    strengths = (options.brightness, options.contrast, options.saturation, options.hue)
    if not any(strengths):
        return None
    bright, contrast, saturate = (
        1 + strength * (2 * at - 1) for strength, at in zip(strengths[:3], u[:3], strict=True)
    )
    turn = 2 * math.pi * options.hue * (2 * u[3] - 1)
    # Rodrigues' rotation about (1, 1, 1): every row is the one before, moved on by one.
    same = (1 + 2 * math.cos(turn)) / 3
    after = (1 - math.cos(turn)) / 3 - math.sin(turn) / math.sqrt(3)
    before = (1 - math.cos(turn)) / 3 + math.sin(turn) / math.sqrt(3)
    rotate = np.array([[same, after, before], [before, same, after], [after, before, same]])
    mix = rotate @ (saturate * np.eye(3) + (1 - saturate) * LUMA)
    color = np.empty((3, 4), np.float32)
    color[:, :3] = contrast * bright * mix
    color[:, 3] = (1 - contrast) * GREY
    return color


def apply(
    change: Draw,
    sample: Sample,
    crop: tuple[int, int],
    into: Sample | None = None,
    compose: Callable[[Sample], None] | None = None,
) -> Sample:
    """The crop of `sample` that `change` describes.

    Beyond its edge the image is mirrored, since a black wedge would be a shape to learn, and the
    target is `IGNORE`, since nobody labelled what lies there. The image is resampled bilinearly,
    its target takes the nearest pixel; a map that only moves whole pixels copies them. Zooming out
    by more than about 1.5 aliases: four neighbours are read, not an area.

    Args:
        change: From `draw`.
        sample: A whole entry, or the window that it is.
        crop: Height and width of the result.
        into: A sample of the result's shape to write into; None makes a new one.
        compose: Called with the crop before its colours are changed: what it puts in is then
            changed like all of the picture.
    """
    if into is None:
        image = np.empty((*crop, sample.image.shape[2]), np.uint8)
        target = sample.target if isinstance(sample.target, int) else np.empty(crop, np.int16)
        into = Sample(image, target, sample.key)
    _warp(sample.image, change.affine, into.image, cv2.INTER_LINEAR, cv2.BORDER_REFLECT_101)
    if not isinstance(sample.target, int) and not isinstance(into.target, int):
        _warp(sample.target, change.affine, into.target, cv2.INTER_NEAREST, cv2.BORDER_CONSTANT)
    if compose is not None:
        compose(into)
    if change.color is not None:
        _recolor(into.image, change.color)
    if change.damage is not None:
        spoil(change.damage, into.image, None if isinstance(into.target, int) else into.target)
    return into


Pixels = UInt8[np.ndarray, "_h _w c"] | Int16[np.ndarray, "_h _w"]


def _warp(
    source: Pixels, affine: Float64[np.ndarray, "2 3"], out: Pixels, how: int, edge: int
) -> None:
    if _copy(source, affine, out):
        return
    height, width = out.shape[:2]
    part, moved = _reach(source, affine, height, width)
    flags = how | cv2.WARP_INVERSE_MAP
    cv2.warpAffine(
        part, moved, (width, height), dst=out, flags=flags, borderMode=edge, borderValue=IGNORE
    )


def _copy(source: Pixels, affine: Float64[np.ndarray, "2 3"], out: Pixels) -> bool:
    """Copy where the map moves or mirrors whole pixels inside the image; False where it does not.

    Saves three quarters of the time of a crop without rotation and zoom.
    """
    (a, b, x), (c, d, y) = affine.tolist()
    if b or c or abs(a) != 1 or abs(d) != 1 or x % 1 or y % 1:
        return False
    height, width = out.shape[:2]
    left = int(x) - (width - 1 if a < 0 else 0)
    top = int(y) - (height - 1 if d < 0 else 0)
    if min(top, left) < 0 or top + height > source.shape[0] or left + width > source.shape[1]:
        return False
    part = source[top : top + height, left : left + width]
    if a > 0 and d > 0:
        out[...] = part
    else:
        cv2.flip(part, -1 if a < 0 and d < 0 else int(a < 0), dst=out)
    return True


def _reach(
    source: Pixels, affine: Float64[np.ndarray, "2 3"], height: int, width: int
) -> tuple[Pixels, Float64[np.ndarray, "2 3"]]:
    """The part of the source that a crop can read, and the map into that part.

    OpenCV maps coordinates in 16 bits, so it refuses pictures of 32767 pixels and more.
    """
    corners = np.array(
        [[0, 0, 1], [width - 1, 0, 1], [0, height - 1, 1], [width - 1, height - 1, 1]]
    )
    at = corners @ affine.T
    low, high = np.floor(at.min(axis=0)), np.ceil(at.max(axis=0))
    # What pokes out by some pixels is mirrored from at most as many inside.
    margin = high - low + 2
    left, top = np.maximum(low - margin, 0).astype(int)
    right, bottom = (high + margin).astype(int)
    moved = affine.copy()
    moved[:, 2] -= left, top
    return source[top : bottom + 1, left : right + 1], moved


def _recolor(image: UInt8[np.ndarray, "h w c"], color: Float32[np.ndarray, "3 4"]) -> None:
    if image.shape[2] == 1:
        # On the grey axis all three rows agree: hue and saturation change nothing there.
        color = np.array([[color[0, :3].sum(), color[0, 3]]], np.float32)
    cv2.transform(image, color, dst=image)
