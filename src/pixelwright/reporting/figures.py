"""Figures of a run, as PNG files for people and as inline SVG for the page."""

import io
import math
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator, StrMethodFormatter

from pixelwright.files import write_bytes
from pixelwright.types import CHOSEN_BY, chosen_score

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Look:
    """Colours of a figure."""

    ink: str = "#1d2126"
    pale: str = "#6a727b"
    rule: str = "#dddad2"
    train: str = "#0b7a75"
    validation: str = "#d0650a"
    paper: str = "#ffffff"


# Colours that occur nowhere else; in the SVG each becomes the page's variable of that name, so that
# the figure follows the page into its dark scheme.
PAGE = Look("#010203", "#010204", "#010205", "#010206", "#010207", "#010208")


def loss_vs_epochs(rows: Sequence[Row], path: Path) -> None:
    """Write the losses of training and validation against epochs, and the validation score.

    Args:
        rows: The run's log; only its rows of kind "epoch" are drawn.
        path: A PNG file, written whole or not at all.
    """
    epochs = epoch_rows(rows)
    figure = Figure(figsize=(11, 4.2), layout="constrained", facecolor=Look().paper)
    left, right = figure.subplots(1, 2)
    draw_losses(left, epochs, Look())
    draw_score(right, epochs, Look())
    write_png(figure, path)


def loss_svg(rows: Sequence[Row]) -> str:
    """The losses as inline SVG in the page's colours."""
    return _curve("Loss", draw_losses, rows)


def score_svg(rows: Sequence[Row]) -> str:
    """The validation score as inline SVG in the page's colours."""
    return _curve("Validation score", draw_score, rows)


def epoch_rows(rows: Sequence[Row]) -> list[Row]:
    return [row for row in rows if row.get("kind") == "epoch"]


def series(rows: Sequence[Row], name: str) -> tuple[list[float], list[float]]:
    """Epochs and values of a column, where it has a finite value."""
    points = [(row.get("epoch"), row.get(name)) for row in rows]
    finite = [
        (float(epoch), float(value))
        for epoch, value in points
        if isinstance(epoch, (int, float))
        and isinstance(value, (int, float))
        and math.isfinite(value)
    ]
    return [epoch for epoch, _ in finite], [value for _, value in finite]


def draw_losses(axes: Axes, rows: Sequence[Row], look: Look) -> None:
    plain(axes, look)
    lines = (("training", "train_loss", look.train), ("validation", "val_loss", look.validation))
    every: list[float] = []
    for label, name, color in lines:
        epochs, losses = series(rows, name)
        every += losses
        if losses:
            _line(axes, epochs, losses, color, label)
    # On a linear axis a fall by more than this leaves the end of the curve flat on the ground.
    if every and 0 < 15 * min(every) < max(every):
        axes.set_yscale("log")
        # By default only powers of ten have numbers, and there may be but one.
        between = (1, 2, 5) if max(every) < 1e4 * min(every) else (1,)
        axes.yaxis.set_major_locator(LogLocator(subs=between))
        axes.yaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    elif every:
        axes.set_ylim(bottom=min(0.0, *every))
    _finish(axes, look, "loss")


def draw_score(axes: Axes, rows: Sequence[Row], look: Look) -> None:
    plain(axes, look)
    title = next((chosen_score(row)[0] for row in rows), "score")
    name = next((name for name, known in CHOSEN_BY.items() if known == title), "score")
    # Of labels the top 5 as well, paler: it is another score, not another kind of images.
    lines = (
        ("training", f"train_{name}", look.train, 1.0),
        ("validation", f"val_{name}", look.validation, 1.0),
        ("validation, top-5", "val_top5", look.validation, 0.45),
    )
    for label, column, color, strength in lines:
        epochs, scores = series(rows, column)
        if scores:
            _line(axes, epochs, scores, color, label, strength)
    kept = [
        (row["epoch"], score)
        for row in rows
        if row.get("best") and (score := chosen_score(row)[1]) is not None
    ]
    for epoch, score in kept[-1:]:
        (ring,) = axes.plot([epoch], [score], "o", label=f"kept: {score:.3f}", zorder=5, ms=8)
        ring.set(mfc=look.paper, mec=look.validation, mew=2)
    axes.set_ylim(0, 1)
    _finish(axes, look, title)


def _line(
    axes: Axes,
    epochs: Sequence[float],
    values: Sequence[float],
    color: str,
    label: str,
    strength: float = 1.0,
) -> None:
    marker = "o" if len(epochs) < 3 else ""
    (line,) = axes.plot(epochs, values, color=color, linewidth=1.8, marker=marker, label=label)
    line.set(ms=4, alpha=strength)


def plain(axes: Axes, look: Look) -> None:
    """Give axes the look of all our figures."""
    axes.set_facecolor("none")
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(look.pale)
    axes.tick_params(colors=look.pale, labelcolor=look.pale, length=0, labelsize=9)
    axes.tick_params(axis="x", length=3)
    axes.grid(axis="y", color=look.rule, linewidth=0.8)
    axes.set_axisbelow(True)


def _finish(axes: Axes, look: Look, title: str) -> None:
    axes.set_title(title, loc="left", color=look.ink, fontsize=11)
    axes.set_xlabel("epoch", color=look.pale, fontsize=9)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True, steps=[1, 2, 5, 10]))
    if axes.lines:
        axes.legend(frameon=False, labelcolor=look.ink, fontsize=9, handlelength=1.4)
    else:
        axes.text(
            0.5, 0.5, "nothing measured yet", transform=axes.transAxes, ha="center", color=look.pale
        )


def write_png(figure: Figure, path: Path) -> None:
    """Write a figure, whole or not at all."""
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        # A name in a script that DejaVu lacks is drawn as boxes.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        figure.savefig(buffer, format="png", dpi=150)
    write_bytes(path, buffer.getvalue())


def _curve(
    title: str, draw: Callable[[Axes, Sequence[Row], Look], None], rows: Sequence[Row]
) -> str:
    figure = Figure(figsize=(5, 3.1), layout="constrained")
    draw(figure.subplots(), epoch_rows(rows), PAGE)
    return inline_svg(f"{title} against epochs", figure)


def inline_svg(label: str, figure: Figure, colors: Mapping[str, str] = MappingProxyType({})) -> str:
    """A figure drawn in the colours `PAGE`, as SVG for a page whose style sheet defines them.

    Args:
        label: What it shows, for those who do not see it.
        figure: Made with the constructor, never with pyplot.
        colors: More colours that occur nowhere else, and the page's variables of each.
    """
    buffer = io.StringIO()
    nothing = {"Date": None, "Creator": None, "Format": None, "Type": None}
    # A fixed salt gives equal runs equal pages.
    with (
        rc_context({"svg.fonttype": "none", "svg.hashsalt": "pixelwright"}),
        warnings.catch_warnings(),
    ):
        # The page has letters for names that DejaVu lacks.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        figure.savefig(buffer, format="svg", transparent=True, metadata=nothing)
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    ours = {getattr(PAGE, name): name for name in Look.__dataclass_fields__}
    for color, name in {**ours, **colors}.items():
        svg = svg.replace(color, f"var(--{name})")
    # Inline SVG needs no name spaces, and so the page holds no address at all.
    svg = re.sub(r'\sxmlns(:\w+)?="[^"]*"|<style.*?</style>', "", svg, flags=re.DOTALL)
    svg = re.sub(r"font-family: [^;]*", "font-family: var(--sans)", svg)
    svg = re.sub(
        r"<svg[^>]*?(viewBox=\S+ \S+ \S+ [^\s\"]+\")[^>]*>",
        rf'<svg \1 role="img" aria-label="{label}">',
        svg,
        count=1,
    )
    return svg.replace("xlink:href", "href")
