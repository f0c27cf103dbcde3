"""Heat as colours over a picture."""

import cv2
import numpy as np

from pixelwright.render import heat_over, heat_sheet
from pixelwright.render.colors import _seen
from pixelwright.render.heat import OUTLINE, heat_color, heat_colors, outline

RAMP = np.linspace(0, 1, 256)[None]


def test_hotter_is_lighter_for_every_eye_in_even_steps() -> None:
    lightness = _seen(heat_colors(RAMP)[0])[..., 0]
    assert (np.diff(lightness, axis=0) > -0.01).all()
    shades = cv2.cvtColor(heat_colors(RAMP).astype(np.float32) / 255, cv2.COLOR_RGB2LAB)[0, :, 0]
    # Even in CAM02, whose dark shades lie further apart than those of CIE Lab.
    np.testing.assert_allclose(shades, np.linspace(shades[0], shades[-1], 256), atol=6)
    assert shades[0] < 2
    assert shades[-1] > 95


def test_heat_outside_of_its_range_has_the_colour_of_the_end() -> None:
    assert heat_color(-3.0) == heat_color(0.0)
    assert heat_color(7.0) == heat_color(1.0)


def test_all_colour_over_a_picture_is_heat() -> None:
    image = np.random.default_rng(0).integers(0, 256, (1, 256, 3), np.uint8)
    plain = heat_over(image, RAMP, alpha=0.0)
    assert (plain == plain[..., :1]).all()
    assert (heat_over(image, RAMP, alpha=1.0) == heat_colors(RAMP)).all()
    assert heat_over(image[..., :1], RAMP).shape == (1, 256, 3)


def test_an_outline_lies_inside_its_pixels() -> None:
    picture, pixels = np.zeros((9, 9, 3), np.uint8), np.zeros((9, 9), bool)
    pixels[:4, 3:8] = True
    outline(picture, pixels)
    drawn = (picture == OUTLINE).all(-1)
    assert not (drawn & ~pixels).any()
    assert (pixels & ~drawn).sum() == 2 * 3


def test_a_sheet_shows_the_image_and_each_class_large_enough() -> None:
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    heat = np.linspace(0, 1, 32 * 32, dtype=np.float32).reshape(32, 32)
    one = heat_sheet(image, [("cat 93.1 %", heat, None)], "a.png", ["most probable: cat"])
    two = heat_sheet(image, [("cat", heat, heat > 0.5), ("dog", 1 - heat, None)])
    assert one.shape[1] > 2 * 256
    assert two.shape[1] > 3 * 256
    # Only the second has an outline.
    assert not (one == OUTLINE).all(-1).any()
    assert (two == OUTLINE).all(-1).any()
    shrunk = heat_sheet(np.zeros((900, 1200, 1), np.uint8), [("x", np.zeros((900, 1200)), None)])
    assert shrunk.shape[1] < 1300
