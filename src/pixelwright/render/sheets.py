"""Pictures in a grid, with titles and legend: panels to compare, contact sheets."""

import math
from collections.abc import Mapping, Sequence

import cv2
import numpy as np
from jaxtyping import Bool, Float, Integer, UInt8
from PIL import Image, ImageDraw

from pixelwright.render.colors import HATCH, colorize, overlay, three_channels
from pixelwright.render.heat import OUTLINE, heat_color, heat_over, outline
from pixelwright.render.letters import INK, PALE_INK, PAPER, letters, shortened
from pixelwright.types import IGNORE, Classes, Color

_MISSED: Color = (230, 25, 110)
_FALSE_ALARM: Color = (0, 190, 235)


def comparison(
    image: UInt8[np.ndarray, "h w c"],
    target: Integer[np.ndarray, "h w"] | None,
    prediction: Integer[np.ndarray, "h w"],
    classes: Classes,
    caption: str = "",
    *,
    side: int = 560,
) -> UInt8[np.ndarray, "height width 3"]:
    """A panel with titles and legend: image, truth, prediction, errors.

    Without a target it shows image, prediction, and the prediction over the image. With two
    classes the errors tell apart what was missed and what was a false alarm.

    Args:
        image: One channel or three.
        target: Class indices, or `IGNORE`; None where the truth is not known.
        prediction: Class indices.
        classes: Names and colours for the legend.
        caption: A line above the pictures.
        side: Longest side of each picture in pixels. Larger images are made smaller; tiny ones are
            enlarged without smoothing.
    """
    share = math.nan if target is None else _share_wrong(target, prediction)
    height, width = _fitted(image.shape[0], image.shape[1], side)
    image = _resize_image(three_channels(image), height, width)
    prediction = _resize_labels(prediction, height, width)
    colors = classes.colors
    if target is None:
        pictures = [
            ("image", image),
            ("prediction", colorize(prediction, colors)),
            ("prediction over image", overlay(image, prediction, colors)),
        ]
        return _sheet(pictures, caption, _class_legend(prediction, None, classes))
    target = _resize_labels(target, height, width)
    errors, error_legend = _errors(image, target, prediction, classes)
    legend = [*_class_legend(prediction, target, classes), *error_legend]
    pictures = [
        ("image", image),
        ("truth", colorize(target, colors)),
        ("prediction", colorize(prediction, colors)),
        (f"errors: {100 * share:.1f} % of pixels" if share >= 0 else "errors", errors),
    ]
    return _sheet(pictures, caption, legend)


def side_by_side(
    image: UInt8[np.ndarray, "h w c"],
    target: Integer[np.ndarray, "h w"],
    predictions: Sequence[tuple[str, Integer[np.ndarray, "h w"]]],
    classes: Classes,
    caption: str = "",
    *,
    side: int = 400,
) -> UInt8[np.ndarray, "height width 3"]:
    """A panel with titles and legend: image, truth, and what several systems predicted.

    Args:
        image: One channel or three.
        target: Class indices, or `IGNORE`.
        predictions: A title and class indices, of each system.
        classes: Names and colours for the legend.
        caption: A line above the pictures.
        side: Longest side of each picture in pixels.
    """
    height, width = _fitted(image.shape[0], image.shape[1], side)
    labels = [("truth", target), *predictions]
    pictures = [("image", _resize_image(three_channels(image), height, width))]
    pictures += [
        (title, colorize(_resize_labels(map_, height, width), classes.colors))
        for title, map_ in labels
    ]
    every = np.concatenate([map_.ravel() for _, map_ in predictions])
    # Few in a row, so that each is large enough to see its edges.
    columns = 3 if len(pictures) <= 9 else 4
    return _sheet(pictures, caption, _class_legend(every, target, classes), columns)


def heat_sheet(
    image: UInt8[np.ndarray, "h w c"],
    heats: Sequence[tuple[str, Float[np.ndarray, "h w"], Bool[np.ndarray, "h w"] | None]],
    caption: str = "",
    notes: Sequence[str] = (),
    *,
    side: int = 560,
) -> UInt8[np.ndarray, "height width 3"]:
    """A panel with titles and a scale: the image, and what speaks for each class over it in grey.

    Args:
        image: One channel or three.
        heats: Of each class a title, a map in [0, 1], and the pixels to outline, if any.
        caption: A line above the pictures.
        notes: Lines below the scale.
        side: Longest side of each picture in pixels.
    """
    height, width = _fitted(image.shape[0], image.shape[1], side)
    image = _resize_image(three_channels(image), height, width)
    pictures = [("image", image)]
    for title, heat, pixels in heats:
        # Enlarged before it is coloured: smooth, whatever becomes of the image.
        smooth = cv2.resize(np.asarray(heat, np.float32), (width, height))
        picture = heat_over(image, smooth)
        if pixels is not None:
            outline(picture, _resize_labels(pixels.astype(np.uint8), height, width) > 0)
        pictures.append((title, picture))
    scale = {0.0: "nothing speaks for the class", 0.5: "half of the most", 1.0: "the most"}
    below: Legend = [(heat_color(share), name) for share, name in scale.items()]
    if any(pixels is not None for _, _, pixels in heats):
        below.append((OUTLINE, "around the pixels that are explained"))
    # Five in a row would be a strip.
    columns = 3 if len(pictures) > 4 else 0
    return _sheet(pictures, caption, [*below, *((PAPER, note) for note in notes)], columns)


def contact_sheet(
    panels: Sequence[UInt8[np.ndarray, "_ _ _"]],
    columns: int,
    *,
    titles: Sequence[str] = (),
    caption: str = "",
    side: int = 320,
) -> UInt8[np.ndarray, "height width 3"]:
    """Pictures of any sizes in rows of `columns`.

    Args:
        panels: One channel or three each.
        columns: Pictures in a row.
        titles: One above each picture, or none.
        caption: A line above all.
        side: Longest side of each picture in pixels.
    """
    labelled = []
    for position, panel in enumerate(panels):
        height, width = _fitted(panel.shape[0], panel.shape[1], side)
        title = titles[position] if titles else ""
        labelled.append((title, _resize_image(three_channels(panel), height, width)))
    return _sheet(labelled, caption, [], columns)


def shares_below(
    sheet: UInt8[np.ndarray, "height width 3"],
    classes: Classes,
    counts: Mapping[str, Sequence[int]],
) -> UInt8[np.ndarray, "taller width 3"]:
    """A sheet with a bar below it for each kind of count, cut in the classes' shares.

    Args:
        sheet: From `contact_sheet`.
        classes: Names and colours.
        counts: Title of the bar -> pixels of each class.
    """
    size, margin = 15, 20
    width = sheet.shape[1]
    shares = [np.array(pixels) / max(sum(pixels), 1) for pixels in counts.values()]
    order = [int(k) for k in np.argsort(-shares[0], kind="stable") if any(s[k] for s in shares)]
    legend: Legend = [
        (classes.colors[k], f"{classes.names[k]} {' → '.join(f'{s[k]:.1%}' for s in shares)}")
        for k in order
    ]
    lines = _legend_lines(legend, width - 2 * margin, size)
    block = 4 * size
    height = len(counts) * block + len(lines) * round(1.7 * size) + margin
    below = Image.new("RGB", (width, height), PAPER)
    draw = ImageDraw.Draw(below)
    for row, (title, share) in enumerate(zip(counts, shares, strict=True)):
        y = row * block
        draw.text((margin, y), title, PALE_INK, letters(size), anchor="la")
        stops = margin + np.cumsum([0, *share[order]]) * (width - 2 * margin)
        for k, start, stop in zip(order, stops[:-1], stops[1:], strict=True):
            if round(stop) > round(start):
                box = (round(start), y + 1.5 * size, round(stop) - 1, y + 3 * size)
                draw.rectangle(box, classes.colors[k])
    _draw_legend(draw, lines, margin, len(counts) * block, size)
    return np.concatenate([sheet, np.array(below)])


def _fitted(height: int, width: int, side: int) -> tuple[int, int]:
    longest = max(height, width)
    if longest < side // 2:
        factor = side // 2 // longest
        return height * factor, width * factor
    scale = min(1.0, side / longest)
    return max(1, round(height * scale)), max(1, round(width * scale))


def _resize_image(
    image: UInt8[np.ndarray, "h w 3"], height: int, width: int
) -> UInt8[np.ndarray, "_ _ 3"]:
    smaller = height < image.shape[0] or width < image.shape[1]
    how = cv2.INTER_AREA if smaller else cv2.INTER_NEAREST
    return np.asarray(cv2.resize(image, (width, height), interpolation=how))


def _resize_labels(
    labels: Integer[np.ndarray, "h w"], height: int, width: int
) -> Integer[np.ndarray, "_ _"]:
    size = (width, height)
    return np.asarray(
        cv2.resize(labels.astype(np.int16), size, interpolation=cv2.INTER_NEAREST_EXACT)
    )


Legend = list[tuple[Color | None, str]]
"""Swatch and name; the swatch None is the hatch of `IGNORE`."""


def _class_legend(
    prediction: Integer[np.ndarray, "*hw"],
    target: Integer[np.ndarray, "h w"] | None,
    classes: Classes,
    most: int = 24,
) -> Legend:
    """The classes that occur, the frequent ones first where there are too many to name."""
    pixels = np.bincount(prediction.ravel(), minlength=len(classes))
    if target is not None:
        pixels = pixels + np.bincount(target[target != IGNORE].ravel(), minlength=len(classes))
    occurring = [int(k) for k in np.argsort(-pixels, kind="stable") if pixels[k] > 0]
    shown = sorted(occurring[:most]) if len(classes) > 12 else range(len(classes))
    legend: Legend = [(classes.colors[k], classes.names[k]) for k in shown]
    if len(classes) > 12 and len(occurring) > most:
        legend.append((PAPER, f"and {len(occurring) - most} more"))
    if target is not None and (target == IGNORE).any():
        legend.append((None, "not counted"))
    return legend


def _share_wrong(
    target: Integer[np.ndarray, "h w"], prediction: Integer[np.ndarray, "h w"]
) -> float:
    counted = target != IGNORE
    wrong = counted & (target != prediction)
    return float(wrong.sum() / counted.sum()) if counted.any() else math.nan


def _errors(
    image: UInt8[np.ndarray, "h w 3"],
    target: Integer[np.ndarray, "h w"],
    prediction: Integer[np.ndarray, "h w"],
    classes: Classes,
) -> tuple[UInt8[np.ndarray, "h w 3"], Legend]:
    """The image in pale grey with the wrong pixels marked, and the legend."""
    wrong = (target != IGNORE) & (target != prediction)
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    picture = np.repeat((150 + 0.4 * grey).astype(np.uint8)[:, :, None], 3, axis=2)
    if len(classes) != 2:
        picture[wrong] = _MISSED
        return picture, [(_MISSED, "wrong")]
    picture[wrong & (target == 1)] = _MISSED
    picture[wrong & (target == 0)] = _FALSE_ALARM
    name = classes.names[1]
    return picture, [(_MISSED, f"missed {name}"), (_FALSE_ALARM, f"false {name}")]


def _sheet(
    pictures: list[tuple[str, UInt8[np.ndarray, "_ _ 3"]]],
    caption: str,
    legend: Legend,
    columns: int = 0,
) -> UInt8[np.ndarray, "height width 3"]:
    """Pictures in a grid on white, titles above them, the legend below."""
    cell_height = max(picture.shape[0] for _, picture in pictures)
    cell_width = max(180, *(picture.shape[1] for _, picture in pictures))
    columns = columns or _columns(len(pictures), cell_width / cell_height)
    columns = min(columns, len(pictures))
    rows = -(-len(pictures) // columns)
    size = 13 if cell_width < 320 else 17
    gap, margin, line = size, round(1.4 * size), round(1.7 * size)
    title = line if any(text for text, _ in pictures) else 0
    width = 2 * margin + columns * cell_width + (columns - 1) * gap
    lines = _legend_lines(legend, width - 2 * margin, size)
    top = margin + (round(1.5 * line) if caption else 0)
    bottom = len(lines) * line + (gap // 2 if lines else 0)
    height = top + rows * (title + cell_height) + (rows - 1) * gap + bottom + margin
    sheet = Image.new("RGB", (width, height), PAPER)
    draw = ImageDraw.Draw(sheet)
    if caption:
        bold = letters(round(1.2 * size), bold=True)
        text = shortened(caption, bold, width - 2 * margin)
        draw.text((margin, margin), text, INK, bold, anchor="la")
    for position, (text, picture) in enumerate(pictures):
        left = margin + position % columns * (cell_width + gap)
        y = top + position // columns * (title + cell_height + gap)
        font = letters(size)
        draw.text((left, y), shortened(text, font, cell_width), PALE_INK, font, anchor="la")
        sheet.paste(Image.fromarray(picture), (left, y + title))
    _draw_legend(draw, lines, margin, height - margin - len(lines) * line, size)
    return np.array(sheet)


def _columns(count: int, aspect: float) -> int:
    """The columns of full rows that make the sheet's shape nearest to 3:2, as screens are."""
    full = [columns for columns in range(1, count + 1) if count % columns == 0]
    return min(full, key=lambda columns: abs(math.log(aspect * columns**2 / count / 1.5)))


def _swatch(draw: ImageDraw.ImageDraw, x: int, y: int, size: int, color: Color | None) -> None:
    edge = (x, y, x + size, y + size)
    if color != PAPER:
        draw.rectangle(edge, color or HATCH[0], HATCH[1] if color is None else None)
    if color is None:
        draw.line((x, y + size, x + size, y), HATCH[1], 2)


def _legend_lines(
    legend: Legend, width: int, size: int
) -> list[list[tuple[Color | None, str, int]]]:
    lines: list[list[tuple[Color | None, str, int]]] = []
    room = 0
    for color, name in legend:
        text = shortened(name, letters(size), width - 3 * size)
        advance = round(letters(size).getlength(text) + 3 * size)
        if not lines or advance - round(1.2 * size) > room:
            lines.append([])
            room = width
        lines[-1].append((color, text, advance))
        room -= advance
    return lines


def _draw_legend(
    draw: ImageDraw.ImageDraw,
    lines: list[list[tuple[Color | None, str, int]]],
    left: int,
    top: int,
    size: int,
) -> None:
    line = round(1.7 * size)
    for number, row in enumerate(lines):
        x, y = left, top + number * line + (line - size) // 2
        for color, name, advance in row:
            _swatch(draw, x, y, size, color)
            draw.text((x + 1.5 * size, y + size / 2), name, INK, letters(size), anchor="lm")
            x += advance
