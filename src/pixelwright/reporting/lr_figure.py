"""The losses of a learning-rate range test, drawn."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from pixelwright.reporting.figures import Look, plain, write_png


def write(
    path: Path,
    rates: Sequence[float],
    losses: Sequence[float],
    curve: Sequence[float],
    suggestion: Mapping[str, Any],
) -> None:
    """Write the loss against the rate, with the rates that were read from it.

    Args:
        path: A PNG file, written whole or not at all.
        rates: One a step.
        losses: As they were.
        curve: Smoothed.
        suggestion: `rate`, `steepest` and `lowest`, None where there is none.
    """
    look = Look()
    figure = Figure(figsize=(7.2, 4.2), layout="constrained", facecolor=look.paper)
    axes = figure.subplots()
    plain(axes, look)
    axes.plot(rates, losses, ".", color=look.rule, ms=5, label="each step")
    axes.plot(rates, curve, color=look.train, linewidth=1.8, label="smoothed")
    axes.set_xscale("log")
    # What ran away would leave the rest flat on the ground.
    if curve:
        low, start = min(curve), curve[0]
        axes.set_ylim(low - 0.1 * (start - low + 1e-9), start + 0.6 * (start - low + 1e-9))
    marks = (
        ("rate", "suggested", look.validation, "-"),
        ("steepest", "falls fastest", look.pale, ":"),
        ("lowest", "lowest", look.pale, "--"),
    )
    for key, label, color, style in marks:
        if suggestion.get(key) is not None:
            text = f"{label}: {suggestion[key]:.2g}"
            axes.axvline(suggestion[key], color=color, linestyle=style, linewidth=1.4, label=text)
    axes.set_title("loss while the rate rises", loc="left", color=look.ink, fontsize=11)
    axes.set_xlabel("learning rate", color=look.pale, fontsize=9)
    axes.legend(frameon=False, labelcolor=look.ink, fontsize=9, handlelength=1.8)
    write_png(figure, path)
