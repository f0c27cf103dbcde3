"""How scores are told: numbers, intervals and tables as they are printed, written and shown."""

import html
import importlib
import math
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from pixelwright.errors import CheckpointError, PixelwrightError


def number(value: float) -> str:
    """A score as it is printed: three digits, or n/a where it is undefined."""
    return "n/a" if math.isnan(value) else f"{value:.3f}"


def span(low: float, high: float) -> str:
    """An interval as it is printed: `0.690 to 0.730`, or n/a where there is none."""
    return "n/a" if math.isnan(low) else f"{low:.3f} to {high:.3f}"


def or_null(value: float) -> float | None:
    """A number for JSON, which has none that is not finite."""
    return float(value) if math.isfinite(value) else None


def not_scores(error: Exception) -> CheckpointError:
    """What to raise where a table holds no scores."""
    return CheckpointError(
        f"These are not scores that Pixelwright wrote: {type(error).__name__} {error}. Make them "
        f"again with 'pixelwright evaluate'."
    )


def calibration_told(error: float, ends: tuple[float, float], bias: float) -> str:
    """A sentence.

    Args:
        error: Of calibration.
        ends: Of its interval.
        bias: Mean confidence minus accuracy.
    """
    side = f"{abs(100 * bias):.1f} points {'above' if bias > 0 else 'below'} its accuracy"
    return (
        f"Calibration error {number(error)} ({span(*ends)}): the model's mean confidence is "
        f"{side if abs(bias) >= 0.0005 else 'equal to its accuracy'}."
    )


@runtime_checkable
class Tellable(Protocol):
    """What can be told as a table with sentences."""

    def table(self) -> list[tuple[str, ...]]: ...
    def verdict(self) -> str: ...
    def further(self) -> list[str]: ...
    def notes(self) -> list[str]: ...


def as_html(scores: Tellable) -> str:
    """Scores as a notebook shows them."""
    head, *rows = [[html.escape(cell) for cell in row] for row in scores.table()]
    lines = [f"<tr>{''.join(f'<th>{cell}</th>' for cell in head)}</tr>"]
    lines += [f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows]
    notes = "".join(f"<br>{html.escape(note)}" for note in [*scores.further(), *scores.notes()])
    return f"<p>{html.escape(scores.verdict())}{notes}</p><table>{''.join(lines)}</table>"


def data_frame(classes: Mapping[str, Mapping[str, Any]], whole: Sequence[str]) -> Any:
    """A pandas data frame with one row per class.

    Args:
        classes: Columns by class.
        whole: Those of whole numbers.

    Raises:
        PixelwrightError: pandas is not installed.
    """
    try:
        pandas = importlib.import_module("pandas")
    except ImportError:
        raise PixelwrightError(
            "A data frame needs pandas. Install it with 'pip install pandas'."
        ) from None
    frame = pandas.DataFrame.from_dict(classes, orient="index").rename_axis("class")
    # A column of nulls alone would otherwise hold objects.
    return frame.astype({name: float for name in frame.columns if name not in whole})
