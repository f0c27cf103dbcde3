"""Labels as pictures: class colours, overlays, panels to compare, contact sheets.

colors = palette(len(classes))
overlay(image, target, colors)                     # the image, tinted by class
comparison(image, target, prediction, classes)     # image, truth, prediction, errors
side_by_side(image, target, predictions, classes)  # image, truth, several predictions
heat_sheet(image, [("cat", heat, None)])           # image, and what speaks for each class over it
"""

from pixelwright.render.colors import colorize, overlay, palette
from pixelwright.render.heat import heat_over
from pixelwright.render.sheets import (
    comparison,
    contact_sheet,
    heat_sheet,
    shares_below,
    side_by_side,
)

__all__ = [
    "colorize",
    "comparison",
    "contact_sheet",
    "heat_over",
    "heat_sheet",
    "overlay",
    "palette",
    "shares_below",
    "side_by_side",
]
