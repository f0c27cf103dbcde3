"""One page about a run that needs no network and no other file.

    page.write(Run.open("runs/fcnn-pair-1"))           # runs/fcnn-pair-1/report.html

It reads only the run folder, and says so where something is missing.
"""

import math
import re
import shlex
import tomllib
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from pixelwright.errors import CheckpointError, shown
from pixelwright.files import write_text
from pixelwright.metrics import LabelScores, Scores, read_scores
from pixelwright.metrics.told import number, span
from pixelwright.reporting import figures
from pixelwright.reporting.figures import Row, epoch_rows
from pixelwright.reporting.fit import fit
from pixelwright.reporting.labels import label_contents
from pixelwright.reporting.masks import mask_contents
from pixelwright.run import Run

_FIRST_SPLITS = ("test", "val", "train")


def write(run: Run) -> Path:
    """Write `report.html` and return its path."""
    write_text(run.report_file, render(run))
    return run.report_file


def render(run: Run) -> str:
    """The page."""
    every, broken = _all_scores(run)
    told = _contents(run, every)
    if every:
        labels = isinstance(every[0], LabelScores)
    else:
        labels = any("val_top1" in row for row in run.log())
    template, more = (
        ("labels.html.j2", label_contents(run, [s for s in every if isinstance(s, LabelScores)]))
        if labels
        else ("masks.html.j2", mask_contents(run, [s for s in every if isinstance(s, Scores)]))
    )
    # The scores first, then what the training was.
    cards = [*more.pop("cards"), *told["cards"]]
    contents = {**told, **more, "cards": cards, "broken": broken}
    return environment().get_template(template).render(contents)


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
    built.filters.update(duration=_duration, short_count=_short_count, breakable=_breakable)
    return built


def _contents(run: Run, every: Sequence[Scores | LabelScores]) -> dict[str, Any]:
    """What the pages of all runs tell."""
    info, rows, recipe = run.info, run.log(), _text(run.recipe_file)
    epochs = epoch_rows(rows)
    return {
        "name": run.path.absolute().name,
        "status": run.status,
        "facts": _facts(info, recipe),
        "has_model": run.model_file.is_file(),
        "main": every[0] if every else None,
        "splits": every,
        "looks": run.looks(),
        "looks_told": run.looks_told(),
        "cards": _run_cards(info, epochs),
        "losses": Markup(figures.loss_svg(epochs)) if epochs else None,
        "score_curve": Markup(figures.score_svg(epochs)) if epochs else None,
        "stop": next((row for row in reversed(rows) if row.get("kind") == "stop"), None),
        "notes": [str(row["text"]) for row in rows if row.get("kind") == "note" and "text" in row],
        "fit": fit(epochs, {scores.split: scores for scores in every}, info.get("guard")),
        "recipe": recipe,
        "environment": _environment(info),
        "commands": _commands(run, info, every),
    }


def _visible(value: object) -> object:
    """Names with control or direction marks show them; line ends of a text stay."""
    if isinstance(value, str) and not isinstance(value, Markup):
        return "\n".join(shown(line) for line in value.split("\n"))
    return "" if value is None else value


def _breakable(name: str) -> Markup:
    """A name whose parts may stand on lines of their own."""
    return Markup("<wbr>").join(re.split(r"(?<=[_/-])(?=.)", shown(name)))


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""


def _all_scores(run: Run) -> tuple[Sequence[Scores | LabelScores], list[str]]:
    """The scores of every split, the most telling first, and the files that hold none.

    A file with scores of another kind than those of the first belongs to another run.
    """
    found: list[tuple[str, Scores | LabelScores]] = []
    broken = []
    for path in sorted(run.path.glob("scores-*.json")):
        try:
            found.append((path.name, read_scores(run.scores(path.stem.removeprefix("scores-")))))
        except CheckpointError:
            broken.append(path.name)
    rank = {split: position for position, split in enumerate(_FIRST_SPLITS)}
    found.sort(key=lambda one: rank.get(one[1].split, 1.5))
    kind = type(found[0][1]) if found else Scores
    broken += [name for name, scores in found if type(scores) is not kind]
    return [scores for _, scores in found if type(scores) is kind], broken


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


def _run_cards(info: Mapping[str, Any], epochs: Sequence[Row]) -> list[dict[str, Any]]:
    """The key numbers of the training itself."""
    cards = []
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


def _commands(
    run: Run, info: Mapping[str, Any], every: Sequence[Scores | LabelScores]
) -> list[tuple[str, str]]:
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


def _count(value: int, one: str, many: str = "") -> str:
    return f"{value:,} {one if value == 1 else many or one + 's'}"


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
