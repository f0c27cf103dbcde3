"""Small pictures with what they are and what they were taken for, in groups of rows."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw

from pixelwright.render.colors import three_channels
from pixelwright.render.letters import INK, PALE_INK, PAPER, letters, shortened


@dataclass(frozen=True, slots=True)
class Labelled:
    """A picture and the lines below it, the first of which is darker."""

    image: UInt8[np.ndarray, "h w c"]
    lines: tuple[str, ...]


def labelled_sheet(
    groups: Sequence[tuple[str, Sequence[Labelled]]],
    *,
    columns: int = 4,
    side: int = 192,
    text: int = 22,
) -> UInt8[np.ndarray, "height width 3"]:
    """Groups of pictures below each other, each under its heading.

    Args:
        groups: Headings, or "", and pictures of any sizes. Without a picture a group is left out.
        columns: Pictures in a row.
        side: Longest side of each picture in pixels; tiny ones are enlarged without smoothing.
        text: Height of the letters in pixels.
    """
    shown = [(heading, list(pictures)) for heading, pictures in groups if pictures]
    gap, margin, line = text // 2, text, round(1.35 * text)
    width = 2 * margin + columns * side + (columns - 1) * gap
    heights = [_height(heading, pictures, columns, side, line) for heading, pictures in shown]
    sheet = Image.new("RGB", (width, 2 * margin + sum(heights)), PAPER)
    draw = ImageDraw.Draw(sheet)
    top = margin
    for (heading, pictures), height in zip(shown, heights, strict=True):
        y = top
        if heading:
            bold = letters(round(1.1 * text), bold=True)
            title = shortened(heading, bold, width - 2 * margin)
            draw.text((margin, y), title, INK, bold, anchor="la")
            y += round(1.6 * line)
        for place, picture in enumerate(pictures):
            row, column = divmod(place, columns)
            corner = (
                margin + column * (side + gap),
                y + row * _cell(pictures, side, line),
            )
            _paste(sheet, draw, picture, corner, side, text)
        top += height
    return np.array(sheet)


def _cell(pictures: Sequence[Labelled], side: int, line: int) -> int:
    """Height of a picture with its lines."""
    return side + max(len(picture.lines) for picture in pictures) * line + line // 2


def _height(heading: str, pictures: Sequence[Labelled], columns: int, side: int, line: int) -> int:
    rows = -(-len(pictures) // columns)
    return rows * _cell(pictures, side, line) + (round(1.6 * line) if heading else 0)


def _paste(
    sheet: Image.Image,
    draw: ImageDraw.ImageDraw,
    picture: Labelled,
    corner: tuple[int, int],
    side: int,
    text: int,
) -> None:
    fitted = _fitted(three_channels(picture.image), side)
    left, top = corner
    # The bottom stands on the first line.
    sheet.paste(Image.fromarray(fitted), (left, top + side - len(fitted)))
    font = letters(text)
    for number, words in enumerate(picture.lines):
        y = top + side + round((0.2 + 1.35 * number) * text)
        ink = PALE_INK if number else INK
        draw.text((left, y), shortened(words, font, side), ink, font, anchor="la")


def _fitted(image: UInt8[np.ndarray, "h w 3"], side: int) -> UInt8[np.ndarray, "_ _ 3"]:
    height, width = image.shape[:2]
    longest = max(height, width)
    if 2 * longest <= side:
        factor = side // longest
        return np.asarray(image.repeat(factor, axis=0).repeat(factor, axis=1))
    scale = side / longest
    size = max(1, round(width * scale)), max(1, round(height * scale))
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, size, interpolation=how))
