"""The reliability diagram: how often the model is right where it says how sure it is."""

import numpy as np
from matplotlib.figure import Figure

from pixelwright.metrics.calibration import Calibration
from pixelwright.reporting.figures import PAGE, inline_svg, plain


def reliability_svg(calibration: Calibration, what: str = "pixels") -> str:
    """Accuracy against confidence, and below it how many there are of what, as inline SVG."""
    look = PAGE
    rows = calibration.rows()
    starts, ends, pixels, confidence, accuracy = (np.array(c) for c in zip(*rows, strict=True))
    figure = Figure(figsize=(5, 4.6), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[3.6, 1])
    for axes in (upper, lower):
        plain(axes, look)
    upper.plot([0, 1], [0, 1], color=look.pale, linewidth=1, linestyle=(0, (4, 3)))
    upper.vlines(confidence, confidence, accuracy, color=look.validation, linewidth=2)
    upper.plot(confidence, accuracy, color=look.train, linewidth=1.8, marker="o", ms=5)
    for x, y, text, side in (
        (0.02, 0.97, "more often right than it says", "left"),
        (0.98, 0.04, "less often right than it says", "right"),
    ):
        upper.text(x, y, text, color=look.pale, fontsize=9, ha=side, va="center")
    upper.set_ylim(0, 1)
    upper.set_xlim(0, 1)
    upper.set_title("share that is right", loc="left", color=look.ink, fontsize=11)
    lower.bar(starts, pixels / pixels.sum(), ends - starts, align="edge", color=look.train)
    for bar in lower.patches:
        bar.set(edgecolor=look.paper, linewidth=1)
    lower.yaxis.set_major_formatter(lambda value, _: f"{100 * value:g} %")
    lower.set_title(f"share of the {what}", loc="left", color=look.ink, fontsize=11)
    lower.set_xlabel("confidence: probability of the predicted class", color=look.pale, fontsize=9)
    return inline_svg("Accuracy against confidence", figure)
