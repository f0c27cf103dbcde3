"""The key numbers at the top of a page."""

import math
from typing import Any

from pixelwright.metrics.told import number, span


def score_card(
    title: str, value: float, ends: tuple[float, float], whole: float = 1.0
) -> dict[str, Any]:
    """A score with a small drawing of its interval.

    Args:
        title: Of the score.
        value: The score.
        ends: Of its interval.
        whole: What fills the drawing.
    """
    drawn = [min(part / whole, 1.0) for part in (value, *ends)]
    told = "no interval" if math.isnan(ends[0]) else span(*ends)
    return {
        "title": title,
        "text": number(value),
        "value": drawn[0],
        "ends": (drawn[1], drawn[2]),
        "told": told,
    }
