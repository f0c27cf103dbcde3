"""A study file: a recipe, what is varied in it, and the seeds. All is checked before a start.

study = Study.read("upsampling.toml")
study.cases                      # ("nearest", "bilinear", "transposed")
study.cells[0].recipe, study.cells[0].run

    [study]
    seeds = [0, 1, 2]
    [grid]                       # every combination of the lists
    "model.upsample" = ["nearest", "transposed"]
    [[case]]                     # settings that go together, under a name
    name = "small"
    "model.width" = 8
"""

import hashlib
import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pixelwright.data import index
from pixelwright.errors import CheckpointError, DataError, RecipeError, first_few, unknown
from pixelwright.recipe import Recipe, read_table, setting
from pixelwright.run import Run
from pixelwright.study.case import JUDGED

_OWN = ("study", "grid", "case")
_SPECS = ("data", "model", "loss", "train.optimizer", "train.schedule")
_LENGTHS = ("epochs", "steps", "minutes", "validate_every")


class _Head(BaseModel):
    """The table `[study]`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    seeds: tuple[int, ...] = Field(min_length=1)
    name: str = Field("", pattern=r"^[^/\\]*$")
    baseline: str | None = None
    out: Path | None = None
    score: str | None = None


@dataclass(frozen=True)
class Cell:
    """One training of a study: a case with a seed, and the folder of its run."""

    case: str
    seed: int
    recipe: Recipe
    run: Run

    @property
    def title(self) -> str:
        return f"{self.case}, seed {self.seed}"

    @property
    def done(self) -> bool:
        """Whether it is trained and scored to the end."""
        run = self.run
        files = (run.recipe_file, run.model_file, run.scores_file("val"))
        return all(file.is_file() for file in files) and run.status == "finished"

    def changes(self) -> list[str]:
        """What the run that lies in the folder was trained with otherwise, as sentences' ends."""
        if not self.run.recipe_file.is_file():
            return []
        asked, found = Recipe.read(self.run.recipe_file), self.recipe
        old, new = (flat(r.located().to_dict()) for r in (asked, found))
        for key in ("mean", "std"):
            if not getattr(self.recipe, key):
                # Taken from the model's weights when the run began.
                old.pop(key, None)
        minutes = self.recipe.train.minutes
        if minutes is not None:
            # Minutes became steps when the run began; it remembers how many minutes they were.
            for key in (f"train.{length}" for length in _LENGTHS):
                old.pop(key, None)
                new.pop(key, None)
            old["train.minutes"], new["train.minutes"] = self.run.info.get("minutes"), minutes
        return [
            f"{key} {_shown(old.get(key))}, now {_shown(new.get(key))}"
            for key in sorted(old.keys() | new.keys())
            if key not in ("name", "track") and old.get(key) != new.get(key)
        ]


@dataclass(frozen=True)
class Study:
    """What is to be trained and compared.

    Args:
        name: Of the study.
        out: The folder of its runs and its result.
        cells: Every case with every seed; all cases of the first seed first, so that a study that
            is stopped half-way compares them all.
        settings: What sets each case apart, by its name.
        baseline: The case that the others are compared with; None compares all with all.
        score: By which they are judged; None takes mean IoU of masks, and top-1 of labels.
    """

    name: str
    out: Path
    cells: tuple[Cell, ...]
    settings: Mapping[str, tuple[str, ...]]
    baseline: str | None
    score: str | None

    @property
    def cases(self) -> tuple[str, ...]:
        return tuple(self.settings)

    @classmethod
    def read(
        cls,
        path: str | Path,
        settings: Sequence[str] = (),
        *,
        out: str | Path | None = None,
        baseline: str | None = None,
    ) -> "Study":
        """Read a study file and check the recipe of every case.

        Args:
            path: A TOML file.
            settings: `key=value`, set in the recipe before anything is varied.
            out: The folder, instead of `[study] out` or `runs/<name>`.
            baseline: Instead of `[study] baseline`.

        Raises:
            RecipeError: Everything that is wrong, at once.
        """
        path = Path(path)
        table = read_table(path)
        own = {key: table.pop(key) for key in _OWN if key in table}
        if "study" not in own:
            raise RecipeError(
                f"{path} is no study: it has no [study] table with seeds = [0, 1, 2]. "
                f"'pixelwright train {path}' trains a single recipe."
            )
        head = _head(own["study"], str(path))
        if "seed" in table or any(s.partition("=")[0].strip() == "seed" for s in settings):
            raise RecipeError(f"{path}: seed is set beside [study] seeds. Give only the seeds.")
        recipe = Recipe.from_dict(table, where=str(path)).override(settings)
        varied = _varied(own.get("case", []), own.get("grid", {}), str(path))
        name = head.name or path.stem
        folder = Path(out) if out is not None else head.out or Path("runs") / name
        baseline = baseline if baseline is not None else head.baseline
        if baseline is not None and baseline not in varied:
            raise RecipeError(f"{path}: {unknown('case', baseline, varied)}")
        cells = _cells(recipe, varied, head.seeds, folder, str(path))
        return cls(name, folder, cells, varied, baseline, head.score)

    def check(self, split: str = "val") -> None:
        """See that the data of every case is there, and that no run in the folder is in the way.

        Args:
            split: Whose scores are wanted: those of a split that training does not score must be
                there.

        Raises:
            CheckpointError: They are not.
            DataError: Data cannot be found, or two cases would be scored on different images.
            RecipeError: Runs of another recipe, or of a living process, lie in the folder.
        """
        if split not in ("train", "val"):
            for cell in self.cells:
                if not cell.run.scores(split):
                    raise CheckpointError(
                        f"{cell.run.path} has no scores of '{split}'; training scores 'train' and "
                        f"'val'. Compare on one of these, or score each run of the study first: "
                        f"pixelwright evaluate RUN --split {split}."
                    )
        specs = {str(cell.recipe.data): cell.recipe.data for cell in self.cells}
        held_out = {}
        for name, spec in specs.items():
            found = index.load_for_training(spec)
            keys = tuple(entry.key for entry in found.splits["val"])
            held_out[name] = found.classes.names, keys
        (first, ours), *others = held_out.items()
        for name, theirs in others:
            if theirs != ours:
                raise DataError(
                    f"{first} and {name} have other classes or other images in 'val', so that "
                    f"cases trained on them cannot be compared."
                )
        changed = [(cell, changes) for cell in self.cells if (changes := cell.changes())]
        if changed:
            cell, changes = changed[0]
            many = f"{len(changed)} runs of" if len(changed) > 1 else "A run of"
            raise RecipeError(
                f"{many} {self.out} had another recipe; {cell.run.path} had "
                f"{first_few(changes)}. Take another --out, or delete what is outdated."
            )
        for cell in self.cells:
            if owner := cell.run.owner:
                raise RecipeError(
                    f"{cell.run.path} is being trained by process {owner['pid']} on "
                    f"{owner['host']}. Wait for it, or stop it with 'kill {owner['pid']}'."
                )


def is_study(path: str | Path | Run) -> bool:
    """Whether it names a study file, not a run."""
    return not isinstance(path, Run) and Path(path).suffix == ".toml" and not Path(path).is_dir()


def _head(table: object, where: str) -> _Head:
    try:
        head = _Head.model_validate(table)
    except ValidationError as error:
        raise RecipeError(f"{where}: {' '.join(map(_sentence, error.errors()))}") from None
    if len(set(head.seeds)) < len(head.seeds) or min(head.seeds) < 0:
        raise RecipeError(
            f"{where}: seeds = {list(head.seeds)} must be different and not negative."
        )
    if head.score is not None and head.score not in JUDGED:
        raise RecipeError(f"{where}: {unknown('score', head.score, JUDGED)}")
    return head


def _sentence(error: Any) -> str:
    key = ".".join(str(part) for part in error["loc"] if isinstance(part, str)) or "study"
    if error["type"] == "extra_forbidden":
        return unknown("key of study", key, _Head.model_fields)
    if error["type"] == "missing":
        return f"study.{key} is missing: say which, as {key} = [0, 1, 2]."
    message: str = error["msg"].removeprefix("Value error, ")
    return f"study.{key} = {error['input']!r}: {message[0].lower()}{message[1:].rstrip('.')}."


def _varied(cases: object, grid: object, where: str) -> dict[str, tuple[str, ...]]:
    """The settings of every case, by its name: each `[[case]]` with each combination of the grid.

    Raises:
        RecipeError: Nothing is varied, or two cases would have one name.
    """
    if not isinstance(grid, Mapping) or not isinstance(cases, list):
        raise RecipeError(f"{where}: write [grid] as a table, and each case as [[case]].")
    named: list[tuple[str, dict[str, Any]]] = []
    for number, table in enumerate(cases, 1):
        name = table.get("name") if isinstance(table, Mapping) else None
        if not isinstance(name, str) or not name.strip():
            raise RecipeError(f"{where}: [[case]] {number} needs a name.")
        named.append((name, flat({k: v for k, v in table.items() if k != "name"})))
    lists = flat(grid)
    for key, values in lists.items():
        if not isinstance(values, list) or not values:
            raise RecipeError(f"{where}: grid {key} = {values!r} must be a list of values.")
    _refuse_own([*lists, *(key for _, table in named for key in table)], where)
    found: dict[str, tuple[str, ...]] = {}
    for name, table in named or [("", {})]:
        for values in itertools.product(*lists.values()):
            combined = {**table, **dict(zip(lists, values, strict=True))}
            parts = [_label(key, value) for key, value in zip(lists, values, strict=True)]
            label = ", ".join([*([name] if name else []), *parts])
            if label in found:
                raise RecipeError(f"{where}: two cases are called '{label}'.")
            # A whole model or layout first, then the options that change it.
            order = sorted(combined.items(), key=lambda item: item[0] not in _SPECS)
            found[label] = tuple(setting(key, value) for key, value in order)
    if list(found) == [""]:
        raise RecipeError(
            f"{where}: nothing is varied. Add [grid] with lists, such as "
            f'"model.upsample" = ["nearest", "transposed"], or [[case]] tables.'
        )
    return found


def _refuse_own(keys: Iterable[str], where: str) -> None:
    for key in keys:
        if key in ("seed", "name"):
            other = "seeds" if key == "seed" else "name"
            raise RecipeError(f"{where}: {key} cannot be varied; [study] has {other} for it.")


def _label(key: str, value: object) -> str:
    """What tells a case: `dice`, `width=8`."""
    text = setting(key, value).partition("=")[2]
    return text if isinstance(value, (str, Mapping)) else f"{key.rpartition('.')[2]}={text}"


def _cells(
    recipe: Recipe,
    varied: Mapping[str, tuple[str, ...]],
    seeds: Sequence[int],
    folder: Path,
    where: str,
) -> tuple[Cell, ...]:
    recipes: dict[str, Recipe] = {}
    problems: list[str] = []
    for case, settings in varied.items():
        try:
            recipes[case] = recipe.override(settings)
        except RecipeError as error:
            problems.append(f"'{case}': {str(error).removeprefix('settings: ')}")
    if problems:
        raise RecipeError(f"{where}: {' '.join(problems)}")
    same: dict[str, str] = {}
    for case, settled in recipes.items():
        twin = same.setdefault(settled.to_toml(), case)
        if twin != case:
            raise RecipeError(f"{where}: '{twin}' and '{case}' are the same recipe.")
    slugs = _slugs(varied)
    return tuple(
        Cell(
            case,
            seed,
            recipes[case].model_copy(update={"seed": seed, "name": ""}),
            Run(folder / f"{slugs[case]}-seed{seed}"),
        )
        for seed in seeds
        for case in varied
    )


def _slugs(cases: Iterable[str]) -> dict[str, str]:
    """Folder names: the case's name in plain letters, with a hash where that loses something."""
    plain = {case: re.sub(r"[^\w.=-]+", "-", case, flags=re.ASCII).strip("-.") for case in cases}
    often = [slug.lower() for slug in plain.values()]
    return {
        case: slug
        if slug and len(slug) <= 80 and often.count(slug.lower()) == 1
        else f"{slug[:70]}-{hashlib.sha256(case.encode()).hexdigest()[:8]}"
        for case, slug in plain.items()
    }


def flat(table: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """Nested tables as dotted keys; a table with a name is a value: a spec."""
    dotted: dict[str, Any] = {}
    for key, value in table.items():
        if isinstance(value, Mapping) and "name" not in value:
            dotted |= flat(value, f"{above}{key}.")
        else:
            dotted[f"{above}{key}"] = value
    return dotted


def _shown(value: object) -> str:
    return "the default" if value is None else str(value)
