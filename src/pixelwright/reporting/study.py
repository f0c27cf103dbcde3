"""One page about a comparison: scores, intervals, tests, classes, curves, pictures.

    study.write(Path("runs/upsampling"))               # runs/upsampling/study.html

It reads `compare.json` and `pictures/` of the folder, and the logs of the runs.
"""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup
from matplotlib.figure import Figure

from pixelwright.errors import shown
from pixelwright.files import write_text
from pixelwright.reporting import figures
from pixelwright.reporting.page import environment
from pixelwright.reporting.pictures import embedded
from pixelwright.run import Run

Table = Mapping[str, Any]

_COLORS = 8
"""Colours in the style sheet; further cases begin again."""
_FEW = 6
"""Verdicts that are told at the top of the page."""
_CLOSE = 0.05
"""A difference of a class that has the strongest shade."""
_MOST_BYTES = 12_000_000
_KINDS = {
    "apart": ("Where they differ most", "Images whose scores lie furthest apart."),
    "close": (
        "Close-ups",
        "The square of the images above in which most pixels near true edges are disputed.",
    ),
    "typical": ("Typical images", "Images whose mean score is nearest to the median."),
    "hardest": ("Hardest images", "Images with the lowest mean score."),
}
_LABEL_KINDS = {
    "apart": (
        "Where they disagree",
        "Images that some cases label right and others wrong, the surest disagreements first.",
    ),
    "hardest": ("Hard for all", "Images that every case labels wrong, the surest first."),
}


def write(folder: Path) -> Path:
    """Write `study.html` and return its path."""
    page = folder / "study.html"
    write_text(page, render(folder))
    return page


def render(folder: Path) -> str:
    """The page."""
    table = json.loads((folder / "compare.json").read_text(encoding="utf-8"))
    cases = [{**case, "color": f"c{place % _COLORS}"} for place, case in enumerate(table["cases"])]
    colors = {case["case"]: case["color"] for case in cases}
    pairs = [{**p, "colors": (colors[p["a"]], colors[p["b"]])} for p in table["pairs"]]
    # Tables that are older than labels say nothing of these.
    labels = table.get("counted") == "labels"
    lower = [table["titles"][name] for name in table.get("lower_is_better", [])]
    contents = {
        "part_title": "IoU",
        "part_of": "class",
        **table,
        "labels": labels,
        "lower": lower or ["calibration error"],
        "cases": cases,
        "pairs": pairs,
        "title": table["titles"][table["score"]],
        "known": {
            key: text
            for key, text in table["titles"].items()
            if any(case[key]["value"] is not None for case in cases)
        },
        "seeds": sorted({len(case["seeds"]) for case in cases}),
        "axis": _axis([c[table["score"]] for c in cases], [v for c in cases for v in c["by_seed"]]),
        "pair_axis": _axis([pair["difference"] for pair in pairs], [0.0]),
        "rows": _class_rows(table, cases),
        "reference": _reference(table, cases),
        "curves": _curves(cases, table["score"]),
        "pictures": _pictures(folder / "pictures", _LABEL_KINDS if labels else _KINDS),
        "minutes": _minutes(cases),
        "told": _told(pairs, cases[0]["case"]),
    }
    built = environment()
    built.filters.update(signed=_signed, chance=_chance)
    return built.get_template("study.html.j2").render(contents)


def _signed(value: float | None) -> str:
    if value is None:
        return "n/a"
    return f"{value:+.3f}".replace("-", "−") if abs(value) >= 0.0005 else "0.000"


def _chance(p: float | None) -> str:
    return "n/a" if p is None else "< 0.001" if p < 0.001 else f"{p:.3f}"


def _axis(ends: Iterable[Table], values: Iterable[float | None]) -> dict[str, Any]:
    """A scale that holds intervals and values, and round places on it for marks."""
    numbers = [e[key] for e in ends for key in ("low", "value", "high")]
    known = [n for n in [*numbers, *values] if n is not None]
    low, high = (min(known), max(known)) if known else (0.0, 1.0)
    room = max(high - low, 1e-3)
    # The roundest step of which three to seven fit.
    step = 10.0 ** math.floor(math.log10(room / 3))
    step *= next(factor for factor in (1, 2, 5, 10) if room / (factor * step) <= 6)
    low, high = low - 0.04 * room, high + 0.04 * room
    first = math.ceil(low / step)
    marks = [step * i for i in range(first, math.floor(high / step) + 1)]
    digits = max(0, -math.floor(math.log10(step)))

    def place(value: float | None) -> float:
        """In [0, 1]; NaN where there is none."""
        return math.nan if value is None else (value - low) / (high - low)

    return {"place": place, "marks": [(place(m), f"{m + 0.0:.{digits}f}") for m in marks]}


def _told(pairs: Sequence[Table], best: str) -> list[Table]:
    """The pairs whose verdicts stand at the top: all, or of many those of the best case."""
    if len(pairs) <= _FEW:
        return list(pairs)
    return [pair for pair in pairs if best in (pair["a"], pair["b"])][:_FEW]


def _reference(table: Table, cases: Sequence[Table]) -> str:
    """The case that the classes of the others are held against: the baseline, or the best."""
    return str(table["baseline"] or cases[0]["case"])


def _class_rows(table: Table, cases: Sequence[Table]) -> list[dict[str, Any]]:
    """For every class what each case scores, and the difference from that of the reference."""
    reference, part = _reference(table, cases), table.get("part", "iou")
    against: dict[str, tuple[int, Table]] = {}
    for pair in table["pairs"]:
        if reference in (pair["a"], pair["b"]):
            other, sign = (pair["b"], -1) if pair["a"] == reference else (pair["a"], 1)
            against[other] = sign, pair[part]
    rows = []
    for k, name in enumerate(table["classes"]):
        cells = []
        for case in cases:
            sign, of_classes = against.get(case["case"], (0, {}))
            found = of_classes.get(name, {})
            value, low, high = (found.get(key) for key in ("value", "low", "high"))
            sure = low is not None and high is not None and (low > 0 or high < 0)
            by = None if value is None else sign * value
            shade = 0.0 if by is None or not sure else min(abs(by) / _CLOSE, 1.0)
            cell = {"value": case[part][name]["value"], "by": by, "sure": sure, "shade": shade}
            cells.append(cell)
        rows.append({"name": name, "color": table["colors"][k], "cells": cells})
    return rows


def _curves(cases: Sequence[Table], score: str) -> Markup | None:
    """The validation score of every run against its epochs, as inline SVG."""
    look = figures.PAGE
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    axes = figure.subplots()
    figures.plain(axes, look)
    named: list[tuple[Any, str]] = []
    variables = {f"#0101{place:02x}": f"c{place}" for place in range(_COLORS)}
    for place, case in enumerate(cases):
        # Beyond the colours, the style of the line tells the cases apart.
        style = ("-", "--", ":", "-.")[place // _COLORS % 4]
        label: str | None = shown(case["case"])
        for path in case["runs"]:
            rows = figures.epoch_rows(Run(Path(path)).log())
            epochs, values = figures.series(rows, f"val_{score}")
            if values:
                color = f"#0101{place % _COLORS:02x}"
                marker = "o" if len(values) < 3 else ""
                (line,) = axes.plot(epochs, values, style, color=color, marker=marker, ms=4)
                line.set(linewidth=1.5, alpha=0.85)
                named += [] if label is None else [(line, label)]
                label = None
    if not axes.lines:
        return None
    axes.set_xlabel("epoch", color=look.pale, fontsize=9)
    if len(cases) <= _COLORS:
        # Handed over, as a label that begins with a line is otherwise left out.
        handles, labels = zip(*named, strict=True)
        legend = axes.legend(
            handles, labels, frameon=False, labelcolor=look.ink, fontsize=9, handlelength=1.4
        )
        for text in legend.get_texts():
            text.set_parse_math(False)
    return Markup(figures.inline_svg("Validation score against epochs", figure, variables))


def _pictures(folder: Path, kinds: Mapping[str, tuple[str, str]]) -> list[dict[str, Any]]:
    """The pictures by kind, as far as they fit into a page."""
    room = _MOST_BYTES
    groups = []
    for kind, (title, text) in kinds.items():
        found = []
        for path in sorted(folder.glob(f"{kind}-*.jpg")):
            source = embedded(path, 1700)
            if source is not None and len(source) <= room:
                room -= len(source)
                found.append({"source": source, "name": path.stem.split("-", 2)[-1]})
        if found:
            groups.append({"title": title, "text": text, "pictures": found})
    return groups


def _minutes(cases: Sequence[Table]) -> float:
    """Of all trainings together."""
    return sum(seconds or 0.0 for case in cases for seconds in case["seconds"]) / 60
