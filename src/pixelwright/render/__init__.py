"""Labels as pictures: class colours, overlays, panels to compare, contact sheets.

colors = palette(len(classes))
overlay(image, target, colors)                     # the image, tinted by class
comparison(image, target, prediction, classes)     # image, truth, prediction, errors
side_by_side(image, target, predictions, classes)  # image, truth, several predictions
"""

from pixelwright.render.colors import colorize, overlay, palette
from pixelwright.render.sheets import comparison, contact_sheet, shares_below, side_by_side

__all__ = [
    "colorize",
    "comparison",
    "contact_sheet",
    "overlay",
    "palette",
    "shares_below",
    "side_by_side",
]
