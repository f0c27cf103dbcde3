"""Train a recipe, or go on with a run; then score it and write what it shows."""

import os
import platform
import subprocess
import sys
import time
import warnings
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import torch

import pixelwright
from pixelwright import build
from pixelwright.errors import PixelwrightWarning, RecipeError
from pixelwright.files import write_bytes, write_text
from pixelwright.jobs.mirror import mirrored, openers
from pixelwright.jobs.show import write_label_pictures, write_pictures, write_scores
from pixelwright.jobs.watch import watched
from pixelwright.metrics.labels import LabelScores
from pixelwright.metrics.scores import Scores
from pixelwright.recipe import Recipe
from pixelwright.reporting import figures, page
from pixelwright.run import Run
from pixelwright.training import loop, measure, state
from pixelwright.training.checkpoint import Checkpoints
from pixelwright.training.log import Log
from pixelwright.types import Event, OnEvent


def train(
    source: Recipe | str | Path,
    *,
    out: str | Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    on_event: OnEvent | None = None,
) -> Run:
    """Train a recipe, keep the best model, score it and write the report.

    Args:
        source: A recipe or its file; with `resume` also the folder of a run.
        out: The run's folder; by default the next free `runs/<name>-<number>`.
        resume: Go on from the last checkpoint, bit for bit as if there had been no stop.
        overwrite: Replace a run that is in `out`.
        on_event: Told the progress; None draws it, in a terminal and a notebook alike.

    Raises:
        RecipeError, DataError: The recipe or its data cannot be used as they are.
        MachineError: The folder cannot be written.
    """
    began = time.monotonic()
    if resume:
        run = Run.open(Path(out) if out else Path(str(source)))
        recipe = Recipe.read(run.recipe_file)
        _check_same(recipe, source, run)
    else:
        recipe = source if isinstance(source, Recipe) else Recipe.read(source)
        run = _new_run(recipe, out, overwrite)
    try:
        opened = openers(run, recipe)
        with run.locked(), watched(on_event) as told, mirrored(run, opened, told) as tell:
            _train(run, recipe, resume, began, tell)
    finally:
        run.discard_if_empty()
    # Outside the lock, or the page would say that the run is still running.
    page.write(run)
    return run


def _train(run: Run, recipe: Recipe, resume: bool, began: float, tell: OnEvent) -> None:
    going_on = resume and Checkpoints(run.checkpoints).any
    built = build.training(recipe, fresh=not going_on, on_event=tell)
    recipe = built.recipe
    if built.note:
        tell(Event("note", {"text": built.note}))
    if recipe.device == "auto" and built.trainee.engine.device.type == "cpu":
        where = built.trainee.engine.describe()
        tell(Event("note", {"text": f"No GPU was found; training on {where}."}))
    progress, plan, recipe = _prepare(run, recipe, built, resume, began, tell)
    log = Log(run.log_file, progress.log_length)
    first = progress.step
    log_start = {
        "step": first,
        "steps": plan.steps,
        "epochs": plan.steps / plan.steps_per_epoch,
    }
    if not first:
        log.write("start", **log_start, device=built.trainee.engine.describe())
    tell(Event("start", log_start))
    why = loop.fit(
        loop.Sitting(
            trainee=built.trainee,
            batches=built.loader.batches,
            validate=lambda model: built.validate(model, tell),
            plan=plan,
            progress=progress,
            checkpoints=Checkpoints(run.checkpoints),
            log=log,
            on_event=tell,
        )
    )
    log.write("stop", why=why, step=progress.step, largest_input=progress.largest)
    tell(Event("stop", {"why": why}))
    _finish(run, recipe, built, progress, tell)


def _check_same(recipe: Recipe, source: object, run: Run) -> None:
    """A recipe given beside --resume must be that of the run."""
    path = Path(str(source))
    given = source if isinstance(source, Recipe) else Recipe.read(path) if path.is_file() else None
    if given is None:
        return
    # A run's recipe holds steps where the given one may hold minutes or epochs.
    lengths = {"epochs": 30, "steps": None, "minutes": None, "validate_every": 1.0}
    # And the mean and std that pretrained weights expect where the given one holds none.
    theirs_alone = {key: () for key in ("mean", "std") if not getattr(given, key)}
    theirs, ours = (
        r.model_copy(
            update={
                "name": "",
                "track": (),
                "train": r.train.model_copy(update=lengths),
                **theirs_alone,
            }
        )
        for r in (given, recipe)
    )
    if theirs.located().to_dict() != ours.located().to_dict():
        raise RecipeError(
            f"The recipe differs from that of {run.path}, so the run cannot be continued with it. "
            f"Continue with 'pixelwright train {run.path} --resume', or take another --out."
        )


def _new_run(recipe: Recipe, out: str | Path | None, overwrite: bool) -> Run:
    name = recipe.name or recipe.model.name
    return Run.create_at(Path(out), overwrite=overwrite) if out else Run.create(Path("runs"), name)


def _prepare(
    run: Run,
    recipe: Recipe,
    built: build.Training,
    resume: bool,
    began: float,
    on_event: OnEvent,
) -> tuple[state.Progress, loop.Plan, Recipe]:
    """Decide how long to train, or take up where a run stopped; write what the run is."""
    checkpoints = Checkpoints(run.checkpoints)
    trainee = built.trainee
    progress = state.Progress()
    minutes, stop_after = recipe.train.minutes, None
    if resume and checkpoints.any:
        tensors, meta, note = checkpoints.newest()
        if note:
            warnings.warn(note, PixelwrightWarning, stacklevel=2)
        parts = trainee.model, trainee.optimizer, trainee.ema, trainee.callbacks
        progress = state.restore(tensors, meta, *parts)
    elif minutes is not None:
        on_event(Event("note", {"text": "Measuring how many steps fit into the time."}))
        recipe, stop_after = _within_minutes(recipe, built, began)
    recipe = recipe.located()
    if not resume:
        write_text(run.recipe_file, recipe.to_toml())
        run.write_info(_info(built, began) | {"minutes": minutes})
    checkpoints.prepare()
    per_epoch = built.loader.steps_per_epoch
    steps = recipe.train.steps or recipe.train.epochs * per_epoch
    plan = loop.Plan(
        steps=steps,
        steps_per_epoch=per_epoch,
        validate_every=min(max(round(recipe.train.validate_every * per_epoch), 1), steps),
        accumulate=built.accumulate,
        clip=recipe.train.clip,
        save_seconds=60 * recipe.train.save_minutes,
        stop_after=stop_after,
        header=built.header,
        snapshots=recipe.train.snapshots,
    )
    return progress, plan, recipe


def _within_minutes(recipe: Recipe, built: build.Training, began: float) -> tuple[Recipe, float]:
    """The recipe with steps for its minutes, and the seconds after which to stop all the same."""
    assert recipe.train.minutes is not None
    budget = 60 * recipe.train.minutes
    pace = measure.pace(
        built.trainee,
        built.loader.batches,
        built.validation_seconds,
        accumulate=built.accumulate,
        clip=recipe.train.clip,
        seconds=min(0.02 * budget, 10.0),
    )
    # What comes after training: the scores of validation and training images in float32, which
    # takes up to twice the time of bfloat16 each, the pictures and the page.
    reserve = min(4 * pace.validation + 12.0, 0.3 * budget)
    left = max(budget - reserve - (time.monotonic() - began), 1.0)
    steps, every = measure.steps_within(left, pace)
    if recipe.train.overfit:
        # A few crops are scored in no time, and training stops where they are found to be learnt.
        every = min(every, 25)
    train = recipe.train.model_copy(
        update={
            "minutes": None,
            "steps": steps,
            "validate_every": every / built.loader.steps_per_epoch,
        }
    )
    return recipe.model_copy(update={"train": train}), left


def _info(built: build.Training, began: float) -> dict[str, Any]:
    field = built.material.field
    created = datetime.now(UTC) - timedelta(seconds=time.monotonic() - began)
    return {
        "pixelwright": pixelwright.__version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "device": built.trainee.engine.describe(),
        "commit": _commit(),
        "command": " ".join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "created": created.isoformat(timespec="seconds"),
        "classes": list(built.index.classes.names),
        "colors": [list(color) for color in built.index.classes.colors],
        "images": {split: len(entries) for split, entries in built.index.splits.items()},
        "guard": built.index.guard,
        "parameters": built.parameters,
        "receptive_radius": None if field.unbounded else field.radius,
        "stride": field.stride,
        "started_from": built.note,
        "steps_per_epoch": built.loader.steps_per_epoch,
    }


def _commit() -> str | None:
    """The commit of the code that trains, where it runs from a checkout."""
    here = Path(__file__).parent
    try:
        found = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=10"],
            cwd=here,
            capture_output=True,
            text=True,
            timeout=5,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return found.stdout.strip() or None


def _finish(
    run: Run,
    recipe: Recipe,
    built: build.Training,
    progress: state.Progress,
    on_event: OnEvent,
) -> None:
    """Score the kept model and write everything that a run shows."""
    best = Checkpoints(run.checkpoints).best
    write_bytes(run.model_file, best.read_bytes())
    figures.loss_vs_epochs(run.log(), run.loss_figure)
    model = build.load_model(run, str(built.trainee.engine.device))
    scorer = built.score
    entries = scorer.entries("val")
    # As many training images as validation ones say how far the model is over-fitted; the scores
    # of validation, written after them, say how rare a hard class was in training.
    train_entries = built.index.splits["train"]
    every = -(-len(train_entries) // max(len(entries), 1))
    some = scorer(
        model.network, "train", depth="loss", entries=train_entries[::every], on_event=on_event
    )
    write_scores(run, some, str(recipe.data))
    scores = scorer(model.network, "val", depth="all", on_event=on_event)
    write_scores(run, scores, str(recipe.data))
    if isinstance(scores, LabelScores):
        write_label_pictures(run, scores, entries, model)
    else:
        write_pictures(run, scores, entries, model)
    if recipe.train.overfit:
        on_event(Event("note", {"text": _overfit_verdict(recipe, scores, progress)}))


def _overfit_verdict(recipe: Recipe, scores: Scores | LabelScores, progress: state.Progress) -> str:
    labels = isinstance(scores, LabelScores)
    what, score = ("images", "top-1") if labels else ("crops", "mean IoU")
    count, reached = len(scores.keys), scores.value
    if reached >= build.OVERFIT_GOAL - 0.01:
        return (
            f"Learnt {count} {what} by heart ({score} {reached:.3f}) in {progress.step} steps: "
            f"the training procedure works."
        )
    return (
        f"Did not learn {count} {what} by heart in {progress.step} steps ({score} {reached:.3f}, "
        f"goal {build.OVERFIT_GOAL}). Give it more steps or a higher train.lr; if that does not "
        f"help, look for wrong labels with 'pixelwright data show'."
    )
