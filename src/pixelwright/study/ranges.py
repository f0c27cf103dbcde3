"""A tuning file: a recipe, and the ranges of what is to be found. All is checked before a start.

tuning = Tuning.read("tune.toml")
tuning.ranges                    # (Numbers("model.width", 8, 64, whole=True), ...)
tuning.recipe_with({"model.width": 24, "train.lr": 0.003})

    [tune]                       # may be left out
    trials = 20
    pruning = "median"           # or "hyperband", "none"
    [ranges]
    "model.width" = [8, 64]      # two whole numbers: all between them
    "model.dropout" = [0.0, 0.5]                            # two numbers, one with a point
    "train.lr" = {low = 1e-4, high = 1e-1, log = true}
    "model.kernel" = {choices = [3, 5]}
    loss = ["cross-entropy", "dice", "cross-entropy + dice"]
"""

import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pixelwright.errors import PixelwrightWarning, RecipeError, unknown
from pixelwright.models import models
from pixelwright.recipe import Recipe, read_table, setting
from pixelwright.registry import Registry, Spec
from pixelwright.training.optim import optimizers
from pixelwright.training.schedule import schedules

Pruning = Literal["median", "hyperband", "none"]
Value = int | float | str

_OWN = ("tune", "ranges")
_FIXED = {
    "data": "trials are compared on the same images",
    "seed": "the best of several seeds is luck; 'pixelwright compare' tells how much it matters",
    "name": "it names the folder",
    "track": "it changes no result",
    "device": "it changes no result",
    "train.overfit": "it has no validation images of its own",
}
_REGISTRIES: Mapping[str, Registry] = {
    "model": models,
    "train.optimizer": optimizers,
    "train.schedule": schedules,
}
_WIDE = 100.0
"""A range that spans such a factor is mostly searched at its upper end, unless by log."""


class Head(BaseModel):
    """The table `[tune]`."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    name: str = Field("", pattern=r"^[^/\\]*$", description="of the folder")
    trials: int | None = Field(None, ge=1, description="in all; 20 where no time is set either")
    minutes: float | None = Field(None, gt=0, description="of one call")
    pruning: Pruning = "median"
    seed: int = Field(0, ge=0, description="of the search; equal seeds propose equal trials")
    startup: int = Field(8, ge=1, description="trials drawn at random, before any are learnt from")


@dataclass(frozen=True)
class Numbers:
    """All numbers between two.

    Args:
        key: Of a recipe.
        low: The lowest.
        high: The highest.
        whole: Whole numbers only.
        log: Equal factors are equally likely, not equal differences.
        step: Only every so many from `low` on.
    """

    key: str
    low: int | float
    high: int | float
    whole: bool
    log: bool = False
    step: int | float | None = None

    def ends(self) -> tuple[Value, ...]:
        return self.low, self.high

    def holds(self, value: object) -> bool:
        """Whether a recipe's value is one of these."""
        if isinstance(value, bool) or not isinstance(value, int if self.whole else (int, float)):
            return False
        steps = (value - self.low) / self.step if self.step else 0.0
        return self.low <= value <= self.high and math.isclose(steps, round(steps), abs_tol=1e-9)

    def __str__(self) -> str:
        parts = f"{self.low:g} to {self.high:g}"
        parts += f" by {self.step:g}" if self.step else ""
        return parts + (", log" if self.log else "")


@dataclass(frozen=True)
class Choices:
    """One of several values, each as `Recipe.override` takes it."""

    key: str
    texts: tuple[str, ...]

    def ends(self) -> tuple[Value, ...]:
        return self.texts

    def holds(self, value: object) -> bool:
        return isinstance(value, str) and value in self.texts

    def __str__(self) -> str:
        return " | ".join(self.texts)


Range = Numbers | Choices


@dataclass(frozen=True)
class Tuning:
    """What is to be tuned, and in which ranges.

    Args:
        recipe: With everything that is not tuned.
        ranges: At least one; whole models and losses before the options that change them.
        head: How long and by which rules to search.
        out: The folder of the trials.
    """

    recipe: Recipe
    ranges: tuple[Range, ...]
    head: Head
    out: Path

    @classmethod
    def read(
        cls,
        path: str | Path,
        settings: Sequence[str] = (),
        *,
        out: str | Path | None = None,
        **head: Any,
    ) -> "Tuning":
        """Read a tuning file and check both ends of every range, and every choice.

        Args:
            path: A TOML file.
            settings: `key=value`, set in the recipe beforehand.
            out: The folder, instead of `runs/<name>`.
            head: What is set instead of a key of `[tune]`; None leaves the file's.

        Raises:
            RecipeError: Everything that is wrong, at once.
        """
        path = Path(path)
        table = read_table(path)
        own = {key: table.pop(key, {}) for key in _OWN}
        if not own["ranges"]:
            raise RecipeError(
                f'{path} says not what to tune: add [ranges], such as "model.width" = [8, 64]. '
                f"'pixelwright train {path}' trains a single recipe."
            )
        if not isinstance(own["tune"], Mapping) or not isinstance(own["ranges"], Mapping):
            raise RecipeError(f"{path}: write [tune] and [ranges] as tables.")
        given = {key: value for key, value in head.items() if value is not None}
        read = _head({**own["tune"], **given}, str(path))
        if read.trials is None and read.minutes is None:
            read = read.model_copy(update={"trials": 20})
        recipe = Recipe.from_dict(table, where=str(path)).override(settings)
        ranges, problems = [], []
        for key, value in _flat(own["ranges"]):
            try:
                ranges.append(_range(key, value))
            except RecipeError as error:
                problems.append(str(error))
        ranges.sort(key=lambda one: one.key.count("."))
        problems += [p for one in ranges for p in _problems(recipe, one)]
        if problems:
            raise RecipeError(f"{path}: {' '.join(dict.fromkeys(problems))}")
        folder = Path(out) if out is not None else Path("runs") / (read.name or path.stem)
        return cls(recipe, tuple(ranges), read, folder)

    def recipe_with(self, values: Mapping[str, Value]) -> Recipe:
        """The recipe of a trial.

        Raises:
            RecipeError: The values do not go together.
        """
        return self.recipe.override(f"{one.key}={values[one.key]}" for one in self.ranges)

    def as_it_stands(self) -> dict[str, Value] | None:
        """The recipe's own values of what is tuned; None where one lies outside its range."""
        values: dict[str, Value] = {}
        for one in self.ranges:
            value = _current(self.recipe, one.key)
            if isinstance(one, Choices):
                value = setting(one.key, value).partition("=")[2]
            if not one.holds(value):
                return None
            assert isinstance(value, (int, float, str))
            values[one.key] = value
        return values

    def to_json(self) -> dict[str, Any]:
        """What the results of two calls must agree in to be one search."""
        recipe = self.recipe.located().model_copy(update={"name": "", "track": ()})
        ranges = {one.key: str(one) for one in self.ranges}
        return {"recipe": recipe.to_dict(), "ranges": ranges, "seed": self.head.seed}


def _head(table: Mapping[str, Any], where: str) -> Head:
    try:
        return Head.model_validate(table)
    except ValidationError as error:
        problems = []
        for one in error.errors():
            key = ".".join(str(part) for part in one["loc"])
            message = one["msg"][0].lower() + one["msg"][1:].rstrip(".")
            problems.append(
                unknown("key of tune", key, Head.model_fields)
                if one["type"] == "extra_forbidden"
                else f"tune.{key} = {one['input']!r}: {message}."
            )
        raise RecipeError(f"{where}: {' '.join(problems)}") from None


def _flat(table: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """Keys with dots and their ranges, written flat or as tables in tables."""
    for key, value in table.items():
        if isinstance(value, Mapping) and not value.keys() & {"low", "high", "choices"}:
            yield from _flat(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", value


def _range(key: str, value: object) -> Range:
    """Read one range.

    Raises:
        RecipeError: What is wrong with it.
    """
    if (why := _FIXED.get(key)) or (key.startswith("data.") and (why := _FIXED["data"])):
        raise RecipeError(f"{key} is not tuned: {why}.")
    if isinstance(value, Mapping):
        if "choices" in value:
            return _choices(key, value)
        return _numbers(key, **_between(key, value))
    if not isinstance(value, list) or len(value) < 2:
        raise RecipeError(
            f"ranges {key} = {value!r}: write [low, high], a list of values, or "
            f"{{low = 1e-4, high = 1e-1, log = true}}."
        )
    if len(value) == 2 and all(map(_is_number, value)):
        found = _numbers(key, *value)
        if found.low > 0 and found.high >= _WIDE * found.low:
            warnings.warn(
                f"ranges {key} spans a factor of {found.high / found.low:,.0f} evenly, so nine in "
                f"ten trials lie in its upper nine tenths. {{low = {found.low:g}, high = "
                f"{found.high:g}, log = true}} tries all magnitudes alike.",
                PixelwrightWarning,
                stacklevel=2,
            )
        return found
    return _choices(key, {"choices": value})


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _choices(key: str, table: Mapping[str, Any]) -> Choices:
    values = table["choices"]
    if len(table) > 1 or not isinstance(values, list) or len(values) < 2:
        raise RecipeError(f"ranges {key}: write {{choices = [a, b]}} with two values or more.")
    texts = tuple(setting(key, value).partition("=")[2] for value in values)
    if len(set(texts)) < len(texts):
        raise RecipeError(f"ranges {key}: a choice is there twice.")
    return Choices(key, texts)


def _between(key: str, table: Mapping[str, Any]) -> dict[str, Any]:
    known = ("low", "high", "log", "step")
    wrong = [unknown(f"key of the range of {key}", name, known) for name in table.keys() - {*known}]
    wrong += [f"ranges {key} lacks {name}." for name in known[:2] if name not in table]
    numbers = [table[name] for name in ("low", "high", "step") if name in table]
    if not all(map(_is_number, numbers)) or not isinstance(table.get("log", False), bool):
        wrong.append(f"ranges {key}: low, high and step are numbers, log is true or false.")
    if wrong:
        raise RecipeError(" ".join(wrong))
    return dict(table)


def _numbers(
    key: str,
    low: int | float,
    high: int | float,
    log: bool = False,
    step: int | float | None = None,
) -> Numbers:
    whole = all(isinstance(value, int) for value in (low, high, step or 1))
    if not low < high:
        raise RecipeError(
            f"ranges {key}: {low:g} to {high:g} holds nothing: low must be below high."
        )
    if log and (low <= 0 or step is not None):
        raise RecipeError(f"ranges {key}: log needs a positive low, and goes with no step.")
    if step is not None and not 0 < step <= high - low:
        raise RecipeError(
            f"ranges {key}: step = {step:g} does not fit between {low:g} and {high:g}."
        )
    if step is not None:
        # The highest that steps from the lowest reach.
        high = low + math.floor((high - low) / step + 1e-9) * step
    return Numbers(key, low, high, whole, log, step)


def _problems(recipe: Recipe, one: Range) -> list[str]:
    """Why its ends or its choices cannot be set, each by itself, in the recipe as it stands."""
    problems = []
    for value in one.ends():
        try:
            recipe.override([f"{one.key}={value}"])
        except RecipeError as error:
            problems.append(str(error).removeprefix("settings: "))
    return problems


def _current(recipe: Recipe, key: str) -> object:
    """The value of a key in a recipe, typed; a spec as its text."""
    above, _, option = key.rpartition(".")
    if above in _REGISTRIES:
        spec = _field(recipe, above)
        assert isinstance(spec, Spec)
        typed = _REGISTRIES[above].resolve(spec).options
        known = _REGISTRIES[above].options(spec.name)
        return typed.get(option, known[option].default if option in known else None)
    value = _field(recipe, key)
    return str(value) if isinstance(value, Spec) else value


def _field(recipe: Recipe, key: str) -> object:
    value: object = recipe
    for part in key.split("."):
        value = getattr(value, part)
    return value
