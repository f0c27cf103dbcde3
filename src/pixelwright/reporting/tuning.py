"""One page about a search: its trials, what mattered, and where the good values lie.

    tuning.write(Path("runs/tune"))            # runs/tune/tuning.html and tuning.png

It reads `tuning.json` of the folder.
"""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from pixelwright.files import write_text
from pixelwright.reporting.figures import PAGE, Look, inline_svg, plain, write_png
from pixelwright.reporting.page import environment

Table = Mapping[str, Any]
Draw = Callable[[Axes, Table, Look], None]

_MOST_TICKS = 8


def write(folder: Path) -> list[Path]:
    """Write `tuning.html` and `tuning.png`, and return their paths."""
    table = json.loads((folder / "tuning.json").read_text(encoding="utf-8"))
    page, picture = folder / "tuning.html", folder / "tuning.png"
    write_text(page, render(table, folder.absolute().name))
    draws = [_history, *([_importance] if table["importance"] else []), _courses]
    keys = list(table["ranges"])
    columns = 3
    rows = -(-(len(draws) + len(keys)) // columns)
    figure = Figure(figsize=(4.6 * columns, 3.2 * rows), layout="constrained", facecolor="#ffffff")
    places = list(figure.subplots(rows, columns, squeeze=False).flat)
    for draw in draws:
        draw(places.pop(0), table, Look())
    for key in keys:
        _slice(places.pop(0), table, Look(), key=key)
    for empty in places:
        empty.set_axis_off()
    write_png(figure, picture)
    return [page, picture]


def render(table: Table, name: str) -> str:
    """The page."""
    trials, keys = table["trials"], list(table["ranges"])
    order = {"finished": 0, "pruned": 1, "stopped": 2, "failed": 3}
    best = next((t for t in trials if t["number"] == table["best"]), None)
    contents = {
        "name": name,
        "score": table["score"],
        "keys": keys,
        "ranges": {key: one["text"] for key, one in table["ranges"].items()},
        "importance": table["importance"],
        "best": best,
        "counts": {state: n for state in order if (n := sum(t["state"] == state for t in trials))},
        "trials": sorted(
            trials, key=lambda t: (order[t["state"]], -(t["score"] or 0.0), t["number"])
        ),
        "seconds": sum(t["seconds"] for t in trials),
        "history": _inline(_history, table, "Score of each trial"),
        "courses": _inline(_courses, table, "Score of each trial during its training"),
        "weights": _inline(
            _importance,
            table,
            "Importance of each key",
            (10.0, 0.9 + 0.42 * len(table["importance"])),
        )
        if table["importance"]
        else None,
        "parallel": _inline(_parallel, table, "Values and score of each trial", (10.0, 3.6))
        if len(keys) > 1 and best
        else None,
        "slices": [_inline(partial(_slice, key=key), table, f"Score by {key}") for key in keys],
        "short": short,
    }
    return environment().get_template("tuning.html.j2").render(contents)


def short(value: object) -> str:
    """A value of a trial as it is shown."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _inline(draw: Draw, table: Table, label: str, size: tuple[float, float] = (5.0, 3.1)) -> Markup:
    figure = Figure(figsize=size, layout="constrained")
    draw(figure.subplots(), table, PAGE)
    return Markup(inline_svg(label, figure))


def _finished(table: Table) -> list[Table]:
    return [t for t in table["trials"] if t["state"] == "finished" and t["score"] is not None]


def _title(axes: Axes, look: Look, title: str, below: str) -> None:
    axes.set_title(title, loc="left", color=look.ink, fontsize=11)
    axes.set_xlabel(below, color=look.pale, fontsize=9)


def _dots(axes: Axes, places: Mapping[int, float | int], table: Table, look: Look) -> None:
    """A dot for each finished trial, the best in another colour; marks below for the others.

    Args:
        axes: To draw on.
        places: Across, by the number of the trial.
        table: Of the search.
        look: The colours.
    """
    for trial in _finished(table):
        best = trial["number"] == table["best"]
        (dot,) = axes.plot([places[trial["number"]]], [trial["score"]], "o", ms=8 if best else 5)
        dot.set(mfc=look.validation if best else look.train, mec="none", zorder=6 if best else 4)
    # Their scores are of other moments, so they cannot be compared with those of the finished.
    low, high = axes.get_ylim()
    low -= 0.08 * (high - low)
    for state, mark in (("pruned", "o"), ("failed", "x")):
        below = [places[t["number"]] for t in table["trials"] if t["state"] == state]
        if not below:
            continue
        (marks,) = axes.plot(below, [low] * len(below), mark, ms=4, color=look.pale, clip_on=False)
        marks.set(mfc="none", zorder=4)
    axes.set_ylim(low, high)


def _history(axes: Axes, table: Table, look: Look) -> None:
    """The score of each trial in turn, and the best so far."""
    plain(axes, look)
    highest, steps = -math.inf, []
    for trial in _finished(table):
        highest = max(highest, trial["score"])
        steps.append((trial["number"], highest))
    if steps:
        steps.append((table["trials"][-1]["number"], highest))
        axes.step(*zip(*steps, strict=True), where="post", color=look.pale, linewidth=1.2)
    _dots(axes, {t["number"]: t["number"] for t in table["trials"]}, table, look)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    _title(axes, look, table["score"], "trial (ring: pruned, cross: failed)")


def _courses(axes: Axes, table: Table, look: Look) -> None:
    """The best score so far of each trial, at tenths of its training."""
    plain(axes, look)
    for trial in table["trials"]:
        curve = sorted((10 * int(rung), score) for rung, score in trial["curve"].items())
        if not curve:
            continue
        best = trial["number"] == table["best"]
        color = look.validation if best else look.train
        style = "-" if trial["state"] == "finished" else ":"
        axes.plot(
            *zip(*curve, strict=True),
            style,
            color=color,
            alpha=1.0 if best else 0.55,
            linewidth=1.8 if best else 1.1,
            marker="o" if len(curve) == 1 else "",
            ms=3,
        )
    axes.set_xlim(0, 103)
    _title(axes, look, f"{table['score']} so far", "percent of the training (dotted: pruned)")


def _importance(axes: Axes, table: Table, look: Look) -> None:
    """How much of the difference between trials each key explains."""
    plain(axes, look)
    axes.grid(visible=False)
    names = list(table["importance"])[::-1]
    shares = [100 * table["importance"][name] for name in names]
    axes.barh(range(len(names)), shares, color=look.train, height=0.3)
    # Names above their bars: beside them, long ones would leave no room for the bars.
    for place, (name, share) in enumerate(zip(names, shares, strict=True)):
        text = f"{name}  {share:.0f} %"
        axes.text(0, place + 0.22, text, va="bottom", color=look.ink, fontsize=9, in_layout=False)
    axes.set_yticks([])
    axes.set_ylim(-0.4, len(names) - 0.2)
    _title(axes, look, "importance", "percent of what sets trials apart")


def _slice(axes: Axes, table: Table, look: Look, *, key: str) -> None:
    """The score against the values of one key."""
    plain(axes, look)
    values = {t["number"]: t["values"][key] for t in table["trials"]}
    if any(isinstance(value, str) for value in values.values()):
        names = sorted(set(map(str, values.values())))
        _dots(axes, {n: names.index(str(v)) for n, v in values.items()}, table, look)
        axes.set_xticks(range(len(names)), [_cut(name) for name in names])
        axes.set_xlim(-0.6, len(names) - 0.4)
    else:
        _dots(axes, values, table, look)
        if table["ranges"][key]["log"]:
            axes.set_xscale("log")
        elif all(isinstance(value, int) for value in values.values()):
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    _title(axes, look, key, "")


def _parallel(axes: Axes, table: Table, look: Look) -> None:
    """A line for each trial through its values; the best last, and on top."""
    plain(axes, look)
    axes.grid(visible=False)
    trials = sorted(_finished(table), key=lambda t: t["score"])
    keys = [*table["ranges"], "score"]
    columns = []
    for place, key in enumerate(keys):
        values = [t["score"] if key == "score" else t["values"][key] for t in trials]
        log = key != "score" and table["ranges"][key]["log"]
        heights, ends = _heights(values, log)
        columns.append(heights)
        axes.axvline(place, color=look.rule, linewidth=1)
        for height, text in ends:
            axes.text(place + 0.02, height, text, color=look.pale, fontsize=8, va="center")
    best = next((t["score"] for t in trials if t["number"] == table["best"]), None)
    for line, trial in enumerate(trials):
        top = trial["number"] == table["best"] and trial["score"] == best
        # The better half in colour, the rest as a background.
        color = look.validation if top else look.train if 2 * line >= len(trials) else look.pale
        axes.plot(
            range(len(keys)),
            [column[line] for column in columns],
            color=color,
            alpha=1.0 if top else 0.5,
            linewidth=2.2 if top else 1.0,
        )
    axes.set_xticks(
        range(len(keys)), [*(_cut(key.rpartition(".")[2]) for key in keys[:-1]), table["score"]]
    )
    axes.set_yticks([])
    axes.set_xlim(-0.1, len(keys) - 0.6)
    axes.set_title("values and score", loc="left", color=look.ink, fontsize=11)


def _heights(values: Sequence[Any], log: bool) -> tuple[list[float], list[tuple[float, str]]]:
    """Values between 0 and 1, and the marks beside the axis."""
    if any(isinstance(value, str) for value in values):
        names = sorted(set(map(str, values)))
        last = max(len(names) - 1, 1)
        marks = [(place / last, _cut(name)) for place, name in enumerate(names)]
        return [names.index(str(v)) / last for v in values], marks[:_MOST_TICKS]
    scaled = [math.log(v) if log else float(v) for v in values]
    low, high = min(scaled), max(scaled)
    spread = high - low or 1.0
    return (
        [(v - low) / spread for v in scaled],
        [(0.0, short(min(values))), (1.0, short(max(values)))] if high > low else [],
    )


def _cut(text: str) -> str:
    """A text that fits below an axis, and is not read as a formula."""
    return (text if len(text) <= 24 else f"{text[:22]}...").replace("$", r"\$")
