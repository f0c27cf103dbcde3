"""One page about a run that needs no network and no other file.

    page.write(Run.open("runs/fcnn-pair-1"))           # runs/fcnn-pair-1/report.html

It reads only the run folder, and says so where something is missing.
"""

import math
import shlex
import tomllib
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from markupsafe import Markup

from pixelwright.errors import CheckpointError, shown
from pixelwright.files import write_text
from pixelwright.metrics.hardest import hardest_classes
from pixelwright.metrics.scores import OF_DETAILS, TITLES, Scores, number, span
from pixelwright.render import palette
from pixelwright.report import figures
from pixelwright.report.figures import Row, epoch_rows
from pixelwright.report.fit import fit
from pixelwright.report.pictures import pictures
from pixelwright.report.reliability import reliability_svg
from pixelwright.run import Run

_FIRST_SPLITS = ("test", "val", "train")
_MOST_CLASSES_IN_MATRIX = 24
_HARDEST = 5
"""Classes of which the page says why they are hard."""


def write(run: Run) -> Path:
    """Write `report.html` and return its path."""
    write_text(run.report_file, render(run))
    return run.report_file


def render(run: Run) -> str:
    """The page."""
    return environment().get_template("report.html.j2").render(_contents(run))


def environment() -> jinja2.Environment:
    """What turns the templates of all our pages into text."""
    folder = jinja2.FileSystemLoader(Path(__file__).parent / "templates")
    built = jinja2.Environment(
        loader=folder,
        autoescape=True,
        finalize=_visible,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    built.filters.update(number=_number, span=_span, percent=_percent, count=_count)
    built.filters.update(duration=_duration, short_count=_short_count)
    return built


def _contents(run: Run) -> dict[str, Any]:
    info, rows, recipe = run.info, run.log(), _text(run.recipe_file)
    epochs = epoch_rows(rows)
    every, broken = _all_scores(run)
    main = every[0] if every else None
    # Pictures are chosen from the validation images, whatever else was scored since.
    chosen_from = next((scores for scores in every if scores.split == "val"), main)
    train = next((scores for scores in every if scores.split == "train"), None)
    chosen, left_out = pictures(run, chosen_from, train)
    return {
        "name": run.path.absolute().name,
        "status": run.status,
        "facts": _facts(info, recipe),
        "has_model": run.model_file.is_file(),
        "main": main,
        "splits": every,
        "looks": run.looks(),
        "looks_told": run.looks_told(),
        "broken": broken,
        "cards": _cards(main, info, rows),
        "classes": _class_rows(main, info) if main else [],
        "hardest": hardest_classes(main, train, _HARDEST) if main else [],
        "reliability": _reliability(main),
        "matrix": _matrix(main) if main else None,
        "confused": _most_confused(main) if main else [],
        "losses": Markup(figures.loss_svg(epochs)) if epochs else None,
        "score_curve": Markup(figures.score_svg(epochs)) if epochs else None,
        "stop": next((row for row in reversed(rows) if row.get("kind") == "stop"), None),
        "notes": [str(row["text"]) for row in rows if row.get("kind") == "note" and "text" in row],
        "fit": fit(epochs, {scores.split: scores for scores in every}, info.get("guard")),
        "pictures": chosen,
        "left_out": left_out,
        "recipe": recipe,
        "environment": _environment(info),
        "commands": _commands(run, info, every),
    }


def _visible(value: object) -> object:
    """Names with control or direction marks show them; line ends of a text stay."""
    if isinstance(value, str) and not isinstance(value, Markup):
        return "\n".join(shown(line) for line in value.split("\n"))
    return "" if value is None else value


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""


def _all_scores(run: Run) -> tuple[list[Scores], list[str]]:
    """The scores of every split, the most telling first, and the files that hold none."""
    found, broken = [], []
    for path in sorted(run.path.glob("scores-*.json")):
        try:
            found.append(Scores.from_json(run.scores(path.stem.removeprefix("scores-"))))
        except CheckpointError:
            broken.append(path.name)
    rank = {split: position for position, split in enumerate(_FIRST_SPLITS)}
    return sorted(found, key=lambda scores: rank.get(scores.split, 1.5)), broken


def _facts(info: Mapping[str, Any], recipe: str) -> list[str]:
    """What was trained on what, for the line below the title."""
    try:
        table = tomllib.loads(recipe)
    except tomllib.TOMLDecodeError:
        table = {}
    data = str(table.get("data", "")).partition(":")[0]
    facts = [str(table["model"])] if "model" in table else []
    facts += [f"on {data}"] if data else []
    created = str(info.get("created", ""))[:10]
    return [*facts, created] if created else facts


def _cards(
    main: Scores | None, info: Mapping[str, Any], rows: Sequence[Row]
) -> list[dict[str, Any]]:
    """The key numbers; those of a score have ends for a small drawing of the interval."""
    cards: list[dict[str, Any]] = []
    for name, title in TITLES.items() if main else ():
        low, high = main.interval(name) if main else (math.nan, math.nan)
        value = getattr(main, name)
        if math.isnan(value) and name in OF_DETAILS:
            continue
        cards.append({"title": title, "text": number(value), "value": value, "ends": (low, high)})
    epochs = epoch_rows(rows)
    if epochs:
        seconds = [s for row in epochs if isinstance(s := row.get("seconds"), (int, float))]
        kept = next((row for row in reversed(epochs) if row.get("best")), None)
        below = f"best after {_short(kept['epoch'])}" if kept else ""
        cards.append({"title": "epochs", "text": _short(epochs[-1]["epoch"]), "below": below})
        if seconds:
            below = str(info.get("device", ""))
            cards.append(
                {"title": "training time", "text": _duration(max(seconds)), "below": below}
            )
    if isinstance(info.get("parameters"), int):
        radius = info.get("receptive_radius")
        below = f"sees {radius} px around each" if isinstance(radius, int) else ""
        text = _short_count(info["parameters"])
        cards.append({"title": "parameters", "text": text, "below": below})
    return cards


def _class_rows(main: Scores, info: Mapping[str, Any]) -> list[dict[str, Any]]:
    total, ends = main.total, main.iou_intervals()
    iou, dice, accuracy = total.iou(), total.dice(), total.accuracy()
    boundary, boundary_ends = main.boundary_iou(), main.boundary_intervals()
    share = total.pixels / max(int(total.pixels.sum()), 1)
    colors = info.get("colors")
    if not isinstance(colors, list) or len(colors) != len(main.names):
        colors = list(palette(len(main.names)))
    rows = [
        {
            "name": name,
            "color": ",".join(str(int(part)) for part in colors[k]),
            "iou": iou[k],
            "ends": tuple(ends[k].tolist()),
            "boundary": boundary[k],
            "boundary_ends": tuple(boundary_ends[k].tolist()),
            "dice": dice[k],
            "accuracy": accuracy[k],
            "share": share[k],
        }
        for k, name in enumerate(main.names)
    ]
    return sorted(rows, key=lambda row: -1 if math.isnan(row["iou"]) else row["iou"], reverse=True)


def _reliability(main: Scores | None) -> Markup | None:
    if main is None or math.isnan(main.calibration_error) or main.details is None:
        return None
    return Markup(reliability_svg(main.details.calibration))


def _shares(main: Scores) -> np.ndarray:
    """Which share of each true class's pixels was predicted as which class."""
    counts = main.total.counts
    truth = counts.sum(1, keepdims=True)
    return np.asarray(np.divide(counts, truth, out=np.zeros(counts.shape), where=truth > 0))


def _matrix(main: Scores) -> list[tuple[str, list[float]]] | None:
    if len(main.names) > _MOST_CLASSES_IN_MATRIX:
        return None
    return list(zip(main.names, _shares(main).tolist(), strict=True))


def _most_confused(main: Scores, most: int = 5) -> list[dict[str, Any]]:
    """The wrong cells that hold the most pixels."""
    wrong = main.total.counts * (1 - np.eye(len(main.names), dtype=np.int64))
    shares = _shares(main)
    every = max(int(wrong.sum()), 1)
    found = []
    for cell in np.argsort(-wrong, axis=None, kind="stable")[:most]:
        row, column = divmod(int(cell), len(main.names))
        if wrong[row, column]:
            found.append(
                {
                    "truth": main.names[row],
                    "taken": main.names[column],
                    "share": shares[row, column],
                    "of_errors": wrong[row, column] / every,
                }
            )
    return found


def _environment(info: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Everything of `run.json` that is not told elsewhere, as names and texts."""
    told = {"classes", "colors", "command", "parameters"}
    lines = []
    for key, value in info.items():
        if key in told or value is None:
            continue
        if isinstance(value, Mapping):
            value = ", ".join(f"{name} {part}" for name, part in value.items())  # noqa: PLW2901
        elif isinstance(value, list):
            value = ", ".join(map(str, value))  # noqa: PLW2901
        lines.append((key.replace("_", " "), str(value)))
    return lines


def _commands(run: Run, info: Mapping[str, Any], every: list[Scores]) -> list[tuple[str, str]]:
    """What to type to get all this again, each under what it does."""
    path = shlex.quote(str(run.path))
    recipe = shlex.quote(str(run.recipe_file))
    command = info.get("command")
    command = shlex.join(map(str, command)) if isinstance(command, list) else command
    lines = [("Made by", str(command))] if command else []
    if run.status == "stopped":
        lines.append(("Continue", f"pixelwright train {path} --resume"))
    lines.append(("Train the same recipe again", f"pixelwright train {recipe}"))
    if run.model_file.is_file():
        splits = [scores.split for scores in every] or ["val"]
        lines += [
            (f"Score on {split}", f"pixelwright evaluate {path} --split {shlex.quote(split)}")
            for split in splits
        ]
        lines.append(("Use it", f"pixelwright predict IMAGE --run {path} --out out/"))
    return lines


def _number(value: float | int | None) -> str:
    return "n/a" if value is None else number(value)


def _span(ends: tuple[float, float]) -> str:
    return span(*ends)


def _percent(share: float) -> str:
    digits = 1 if 0 < share < 0.1 else 0
    return "n/a" if math.isnan(share) else f"{100 * share:.{digits}f} %"


def _count(value: int, noun: str) -> str:
    return f"{value:,} {noun}" if value == 1 else f"{value:,} {noun}s"


def _short(value: float | int) -> str:
    """An epoch without needless digits."""
    return f"{value:.1f}".removesuffix(".0") if value >= 1 else f"{value:.2g}"


def _short_count(value: int) -> str:
    for unit, name in ((1_000_000, " M"), (1_000, " k")):
        if value >= unit:
            return f"{value / unit:.3g}{name}"
    return str(value)


def _duration(seconds: float | int) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    hours, rest = divmod(timedelta(seconds=seconds), timedelta(hours=1))
    return f"{hours} h {rest.seconds // 60} min"
