"""Draw how whole pictures are varied, for all of a batch at once.

draws = draw_batch(options, seed=0, positions=np.arange(128), size=(32, 32), fill=grey)
pairs = draw_pairs(options, seed=0, step=0, count=128, size=(32, 32))

What a picture gets depends on the seed and on the position of its draw, not on its batch; only whom
it is mixed with does.
"""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64, UInt8

from pixelwright.data.augment import DAMAGE, GREY, LUMA, Augment, generator
from pixelwright.data.damage import NUMBERS, Damage, draw_damage
from pixelwright.data.uniform import uniform
from pixelwright.errors import RecipeError
from pixelwright.types import Window

_WHOLE, _PAIRS = 5, 6
"""Streams, beside those that `augment`, `loader`, `aim` and `paste` take."""

_PARTS = 256
"""In which a share of mixup is counted, so that blends are exact, and equal on every device."""


@dataclass(frozen=True, slots=True)
class Draws:
    """How the pictures of a batch are varied, in this order.

    Args:
        flip_x: Mirror left and right.
        flip_y: Mirror top and bottom.
        move_y: Whole pixels by which what is seen lies lower in the picture, before any mirror.
        move_x: The same to the right.
        affine: All of the above with turn and zoom, where there are any: from (x, y, 1) of the
            result to (x, y) of the picture; pixel centres are integers.
        color: From the channels in [0, 255] and 1 to the new channels.
        damage: Blur, noise and compression; empty for none.
        holes: Top, left, height and width of what is cut out; height or width is 0 for nothing.
        fill: What holes are filled with.
    """

    flip_x: Bool[np.ndarray, " n"]
    flip_y: Bool[np.ndarray, " n"]
    move_y: Int64[np.ndarray, " n"]
    move_x: Int64[np.ndarray, " n"]
    affine: Float64[np.ndarray, "n 2 3"] | None
    color: Float32[np.ndarray, "n c c1"] | None
    damage: tuple[Damage, ...]
    holes: Int64[np.ndarray, "n 4"] | None
    fill: UInt8[np.ndarray, " c"]


@dataclass(frozen=True, slots=True)
class Pairs:
    """What each picture of a batch is mixed with: another one of the same batch.

    Args:
        partners: Their places in the batch.
        share: That a picture keeps of itself, in [0, 1].
        box: The part that comes from the partner, as it is; None blends all of both.
    """

    partners: Int64[np.ndarray, " n"]
    share: float
    box: Window | None


def check_shift(options: Augment, size: tuple[int, int]) -> None:
    """See that no picture moves out of sight.

    Raises:
        RecipeError: It could.
    """
    if options.shift >= min(size):
        raise RecipeError(
            f"augment.shift = {options.shift} moves pictures of {size[0]}x{size[1]} out of sight: "
            f"take at most {min(size) - 1}."
        )


def draw_batch(
    options: Augment,
    seed: int,
    positions: Int64[np.ndarray, " n"],
    size: tuple[int, int],
    fill: UInt8[np.ndarray, " c"],
) -> Draws:
    """Draw how pictures are varied.

    Args:
        options: How far to go.
        seed: Of the training.
        positions: Numbers of the draws in the training's endless sequence.
        size: Height and width of the pictures.
        fill: For what is cut out.
    """
    # Each draw has columns of its own, so that no option shifts what another draws; the last ones
    # are left out where nothing needs them.
    turns = bool(options.rotate) or options.scale != (1.0, 1.0)
    recolors = options.brightness or options.contrast or options.saturation or options.hue
    u = uniform(seed, _WHOLE, positions, 17 if turns or recolors or options.cutout else 6)
    chosen = u[:, :2] < 0.5
    move = np.floor(u[:, 4:6] * (2 * options.shift + 1)).astype(np.int64) - options.shift
    never = np.zeros(len(positions), np.bool_)
    flip_x, flip_y = (
        chosen[:, i] if on else never for i, on in enumerate((options.flip, options.flip_vertical))
    )
    return Draws(
        flip_x=flip_x,
        flip_y=flip_y,
        move_y=move[:, 0],
        move_x=move[:, 1],
        affine=_affine(options, u, flip_x, flip_y, move, size) if turns else None,
        color=_color(options, u[:, 8:12], len(fill)) if recolors else None,
        damage=_damage(options, seed, positions, size),
        holes=_holes(options.cutout, u[:, 12:], size) if options.cutout else None,
        fill=fill,
    )


def _affine(
    options: Augment,
    u: Float64[np.ndarray, "n numbers"],
    flip_x: Bool[np.ndarray, " n"],
    flip_y: Bool[np.ndarray, " n"],
    move: Int64[np.ndarray, "n 2"],
    size: tuple[int, int],
) -> Float64[np.ndarray, "n 2 3"]:
    """Maps from results to pictures.

    What is zoomed in on lies anywhere in the picture, before it is moved; what is zoomed out of is
    in the middle.
    """
    low, high = options.scale
    zoom = low * (high / low) ** u[:, 3]
    angle = math.radians(options.rotate) * (2 * u[:, 2] - 1)
    cos, sin = np.cos(angle) / zoom, np.sin(angle) / zoom
    across, down = np.where(flip_x, -1, 1), np.where(flip_y, -1, 1)
    maps = np.empty((len(u), 2, 3))
    maps[:, 0, 0], maps[:, 0, 1] = cos * across, -sin * down
    maps[:, 1, 0], maps[:, 1, 1] = sin * across, cos * down
    slack = np.maximum(1 - 1 / zoom, 0)[:, np.newaxis] * np.array(size)
    middle_y, middle_x = (move + (u[:, 6:8] - 0.5) * slack + (np.array(size) - 1) / 2).T
    half = np.array([size[1] - 1, size[0] - 1]) / 2
    maps[:, :, 2] = np.stack([middle_x, middle_y], 1) - maps[:, :, :2] @ half
    return maps


def _color(
    options: Augment, u: Float64[np.ndarray, "n 4"], channels: int
) -> Float32[np.ndarray, "n c c1"]:
    """The matrices that `augment.draw` would make of these numbers."""
    strengths = np.array([options.brightness, options.contrast, options.saturation])
    bright, contrast, saturate = (1 + strengths * (2 * u[:, :3] - 1)).T
    if channels == 1:
        # On the grey axis hue and saturation change nothing.
        grey = np.stack([contrast * bright, (1 - contrast) * GREY], 1)
        return grey.astype(np.float32)[:, np.newaxis]
    turn = 2 * math.pi * options.hue * (2 * u[:, 3] - 1)
    # Rodrigues' rotation about (1, 1, 1): every row is the one before, moved on by one.
    same = (1 + 2 * np.cos(turn)) / 3
    after = (1 - np.cos(turn)) / 3 - np.sin(turn) / math.sqrt(3)
    before = (1 - np.cos(turn)) / 3 + np.sin(turn) / math.sqrt(3)
    cycle = [same, after, before, before, same, after, after, before, same]
    rotate = np.stack(cycle, 1).reshape(-1, 3, 3)
    saturate = saturate[:, np.newaxis, np.newaxis]
    color = np.empty((len(u), 3, 4), np.float32)
    mix = rotate @ (saturate * np.eye(3) + (1 - saturate) * LUMA)
    color[:, :, :3] = (contrast * bright)[:, np.newaxis, np.newaxis] * mix
    color[:, :, 3] = ((1 - contrast) * GREY)[:, np.newaxis]
    return color


def _damage(
    options: Augment, seed: int, positions: Int64[np.ndarray, " n"], size: tuple[int, int]
) -> tuple[Damage, ...]:
    """As crops are blurred, made noisy and compressed."""
    if not spoils(options):
        return ()
    return tuple(
        draw_damage(
            generator(seed, position, DAMAGE).random(NUMBERS),
            blur=options.blur,
            noise=options.noise,
            jpeg=options.jpeg,
            cutout=0.0,
            crop=size,
        )
        for position in positions.tolist()
    )


def spoils(options: Augment) -> bool:
    """Whether pictures are varied one by one, which only a CPU does."""
    return bool(options.blur or options.noise or options.jpeg)


def _holes(
    most: float, u: Float64[np.ndarray, "n 5"], size: tuple[int, int]
) -> Int64[np.ndarray, "n 4"]:
    """A rectangle in every second picture, at most twice as long as wide.

    Paper: DeVries and Taylor, 2017, https://arxiv.org/abs/1708.04552
    Differs: of any size up to a share of the picture and inside it, instead of one square of fixed
    size that may poke out; every second picture stays whole.
    """
    area = u[:, 1] * most * size[0] * size[1]
    aspect = 2.0 ** (2 * u[:, 2] - 1)
    height = np.rint(np.sqrt(area * aspect)).clip(max=size[0]) * (u[:, 0] < 0.5)
    width = np.rint(np.sqrt(area / aspect)).clip(max=size[1])
    top = np.floor(u[:, 3] * (size[0] - height + 1))
    left = np.floor(u[:, 4] * (size[1] - width + 1))
    return np.stack([top, left, height, width], 1).astype(np.int64)


def draw_pairs(
    options: Augment, seed: int, step: int, count: int, size: tuple[int, int]
) -> Pairs | None:
    """Draw whom the pictures of a batch are mixed with, and how; None where nothing mixes.

    Where both ways are asked for, each batch takes one of them, whichever a fair coin says.

    Args:
        options: The shares.
        seed: Of the training.
        step: Number of the batch.
        count: Pictures in it.
        size: Their height and width.

    Paper: mixup, Zhang et al., 2018, https://arxiv.org/abs/1710.09412;
    CutMix, Yun et al., 2019, https://arxiv.org/abs/1905.04899
    Differs: the share of mixup is one of 257, in steps of 1/256.
    """
    if not (options.mixup or options.cutmix):
        return None
    from scipy.special import betaincinv

    u = generator(seed, step, _PAIRS).random(4 + count)
    partners = u[4:].argsort().astype(np.int64)
    blend = bool(options.mixup) and (not options.cutmix or u[0] < 0.5)
    alpha = options.mixup if blend else options.cutmix
    share = float(betaincinv(alpha, alpha, u[1]))
    if blend:
        return Pairs(partners, round(share * _PARTS) / _PARTS, None)
    box = _box(math.sqrt(1 - share), u[2], u[3], size)
    return Pairs(partners, 1 - box.height * box.width / (size[0] * size[1]), box)


def _box(side: float, down: float, across: float, size: tuple[int, int]) -> Window:
    """A box of this share of each side whose middle is anywhere; what pokes out is cut off."""
    spans = []
    for length, at in zip(size, (down, across), strict=True):
        middle, half = int(at * length), int(length * side) // 2
        spans.append((max(middle - half, 0), min(middle + half, length)))
    (top, bottom), (left, right) = spans
    return Window(top, left, bottom - top, right - left)
