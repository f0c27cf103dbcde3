"""Run a study, or take finished runs; compare them, and write what came out.

result = compare("upsampling.toml")                    # trains what is not yet trained
result = compare(["runs/unet-1", "runs/unet-2"], split="test")
result.headline(), result.verdicts(), result.files
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pixelwright.errors import CheckpointError, DataError, MachineError, RecipeError, unknown
from pixelwright.files import write_text
from pixelwright.jobs.watch import watched
from pixelwright.recipe import Recipe, setting
from pixelwright.reporting import study as page
from pixelwright.run import Run
from pixelwright.study import queue
from pixelwright.study.case import JUDGED
from pixelwright.study.comparison import Comparison
from pixelwright.study.plan import Cell, Study, flat, is_study
from pixelwright.types import OnEvent, silent


def compare(
    source: str | Path | Sequence[str | Path | Run],
    *,
    split: str = "val",
    score: str | None = None,
    baseline: str | None = None,
    out: str | Path | None = None,
    settings: Sequence[str] = (),
    jobs: int = 1,
    force: bool = False,
    pictures: bool = True,
    on_event: OnEvent | None = None,
) -> Comparison:
    """Compare the cases of a study, or finished runs, on the same images.

    Args:
        source: A study file, whose missing runs are trained first; or runs, or folders of runs,
            which are taken as seeds of one case where only their seeds differ.
        split: Whose stored scores are compared.
        score: "mean_iou", "top1" or another of `study.case.JUDGED`; by default the study's, or
            mean IoU of masks and top-1 of labels.
        baseline: Compare all cases with this one, instead of all with all.
        out: Where the result is written: by default the study's folder, or the next free
            `runs/compare-<number>`.
        settings: `key=value`, set in the recipe of the study.
        jobs: Trainings at a time.
        force: Train although the data has problems.
        pictures: Predict some images again, for the page.
        on_event: Told the progress; None draws it, in a terminal and a notebook alike.

    Raises:
        RecipeError: The study cannot be run as it is.
        DataError: The runs were not scored on the same images, masks and classes.
        CheckpointError: There is no run, or no scores of the split.
        MachineError: No run could be trained. Where some could, the result's `failed` says which
            are missing.
    """
    if score is not None and score not in JUDGED:
        raise RecipeError(unknown("score", score, JUDGED))
    paths = [source] if isinstance(source, (str, Path)) else list(source)
    with watched(on_event) as tell:
        if len(paths) == 1 and is_study(paths[0]):
            study = Study.read(str(paths[0]), settings, out=out, baseline=baseline)
            study.check(split)
            failed = queue.run_all(study, jobs=jobs, force=force, on_event=tell)
            result = of_study(study, failed, split=split, score=score)
            return write(result, study.out, pictures=pictures, on_event=tell)
        if settings or force or jobs != 1:
            raise RecipeError("Settings, force and jobs are for a study; these runs are trained.")
        result = of_runs(paths, split=split, score=score, baseline=baseline)
        folder = Path(out) if out else Run.create(Path("runs"), "compare").path
        return write(result, folder, pictures=pictures, on_event=tell)


def of_study(
    study: Study,
    failed: Sequence[tuple[Cell, str]] = (),
    *,
    split: str = "val",
    score: str | None = None,
) -> Comparison:
    """Compare what is trained of a study.

    Raises:
        MachineError: Nothing is.
    """
    runs = {case: [c.run for c in study.cells if c.case == case and c.done] for case in study.cases}
    trained = {case: found for case, found in runs.items() if found}
    if not trained:
        raise MachineError(f"No run of {study.out} is finished. {queue.failures(failed)}")
    baseline = study.baseline if study.baseline in trained else None
    missing = [f"{cell.title} is missing: {why.rstrip('.')}." for cell, why in failed]
    if baseline != study.baseline:
        missing.append(f"All are compared with all, as the baseline {study.baseline} is missing.")
    return Comparison.of(
        trained,
        name=study.name,
        split=split,
        score=score or study.score,
        baseline=baseline,
        settings=study.settings,
        failed=missing,
    )


@dataclass(frozen=True)
class _Known:
    """A finished run and its recipe without seed and name, as dotted keys."""

    run: Run
    seed: int
    table: Mapping[str, object]


def of_runs(
    paths: Iterable[str | Path | Run],
    *,
    split: str = "val",
    score: str | None = None,
    baseline: str | None = None,
) -> Comparison:
    """Compare finished runs; those whose recipes differ in nothing but the seed are one case.

    Raises:
        CheckpointError: One is no run, or is not finished, or has no scores of the split.
        DataError: Two are the same training.
    """
    known = [_known(run) for run in _runs(paths)]
    groups: dict[str, list[_Known]] = {}
    for one in known:
        groups.setdefault(json.dumps(one.table, sort_keys=True, default=str), []).append(one)
    for group in groups.values():
        seeds: dict[int, Run] = {}
        for one in group:
            twin = seeds.setdefault(one.seed, one.run)
            if twin is not one.run:
                raise DataError(
                    f"{twin.path} and {one.run.path} are the same training: one recipe, one seed. "
                    f"Leave one out."
                )
    settings = _differences([group[0].table for group in groups.values()])
    names = _names(settings, [[one.run for one in group] for group in groups.values()])
    if baseline is not None and baseline not in names:
        raise RecipeError(unknown("case", baseline, names))
    cases = {
        name: [one.run for one in sorted(group, key=lambda one: one.seed)]
        for name, group in zip(names, groups.values(), strict=True)
    }
    return Comparison.of(
        cases,
        name="compare",
        split=split,
        score=score,
        baseline=baseline,
        settings=dict(zip(names, settings, strict=True)),
    )


def _runs(paths: Iterable[str | Path | Run]) -> list[Run]:
    """The runs named, and the finished ones in folders named."""
    found: dict[Path, Run] = {}
    for path in paths:
        folder = path.path if isinstance(path, Run) else Path(path)
        inside = [] if (folder / "recipe.toml").is_file() else Run.list(folder)
        runs = [run for run in inside if run.status == "finished"] or [Run.open(folder)]
        for run in runs:
            if run.status != "finished":
                raise CheckpointError(
                    f"{run.path} is {run.status}, not finished. Go on with 'pixelwright train "
                    f"{run.path} --resume', or leave it out."
                )
            found.setdefault(run.path.absolute(), run)
    return list(found.values())


def _known(run: Run) -> _Known:
    recipe = Recipe.read(run.recipe_file)
    table = flat(recipe.model_copy(update={"name": "", "seed": 0, "track": ()}).to_dict())
    table |= {"model": recipe.model.name}
    table |= {f"model.{key}": value for key, value in recipe.model.options.items()}
    if (minutes := run.info.get("minutes")) is not None:
        # Minutes became steps when the run began, more or fewer with every seed.
        for key in ("steps", "validate_every"):
            table.pop(f"train.{key}", None)
        table["train.minutes"] = minutes
    return _Known(run, recipe.seed, table)


def _differences(tables: Sequence[Mapping[str, object]]) -> list[tuple[str, ...]]:
    """What sets each table apart from the others, as settings."""
    absent = object()
    keys = sorted({key for table in tables for key in table})
    odd = [
        key for key in keys if any(t.get(key, absent) != tables[0].get(key, absent) for t in tables)
    ]
    return [tuple(_told(key, table[key]) for key in odd if key in table) for table in tables]


def _told(key: str, value: object) -> str:
    try:
        return setting(key, value)
    except RecipeError:  # no string says it, and nobody has to read this one back
        return f"{key}={value}"


def _names(settings: Sequence[tuple[str, ...]], runs: Sequence[Sequence[Run]]) -> list[str]:
    """A name for each case: what sets it apart, or the run's own where that says nothing."""
    names = []
    for own, group in zip(settings, runs, strict=True):
        parts = [one.partition("=") for one in own]
        words = [
            v if k in ("model", "loss") else f"{k.rpartition('.')[2]}={v}" for k, _, v in parts
        ]
        names.append(", ".join(words) or group[0].name)
    often = {name for name in names if names.count(name) > 1}
    return [
        f"{name} ({group[0].name})" if name in often else name
        for name, group in zip(names, runs, strict=True)
    ]


def write(
    result: Comparison, folder: Path, *, pictures: bool = True, on_event: OnEvent = silent
) -> Comparison:
    """Write `compare.json`, `compare.md`, pictures and page; the result with what was written."""
    folder.mkdir(parents=True, exist_ok=True)
    table, text = folder / "compare.json", folder / "compare.md"
    write_text(table, json.dumps(result.to_json(), indent=1, allow_nan=False) + "\n")
    write_text(text, result.to_markdown())
    if pictures:
        # The only part that needs torch, and the memory of a model.
        from pixelwright.study import pictures as side_by_side

        side_by_side.write(result, folder / "pictures", on_event)
    return replace(result, files=(table, text, page.write(folder)))
