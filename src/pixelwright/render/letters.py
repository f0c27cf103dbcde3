"""Letters on sheets: their font, their inks, and texts cut to a width."""

import importlib.util
from functools import lru_cache
from pathlib import Path

from PIL import ImageFont

from pixelwright.errors import shown
from pixelwright.types import Color

PAPER: Color = (255, 255, 255)
INK: Color = (28, 32, 38)
PALE_INK: Color = (104, 112, 122)


def shortened(text: str, font: ImageFont.FreeTypeFont, width: int) -> str:
    """A text that fits into `width` pixels, on one line and without control signs."""
    text = shown(text)
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "…") > width:
        text = text[:-1]
    return text + "…"


@lru_cache(maxsize=32)
def letters(size: int, bold: bool = False) -> ImageFont.FreeTypeFont:
    """DejaVu Sans, which matplotlib ships: it has far more letters than Pillow's own font."""
    found = importlib.util.find_spec("matplotlib")
    assert found is not None and found.origin is not None, "matplotlib is a dependency"
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    fonts = Path(found.origin).parent / "mpl-data" / "fonts" / "ttf"
    return ImageFont.truetype(str(fonts / name), size)
