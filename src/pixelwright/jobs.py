"""Whole jobs, as the user names them: train, evaluate, predict, report.

    run = train("recipe.toml")
    scores = evaluate(run, split="val")
    predictions = predict(run, "photo.jpg", out="out/")

`training` writes log and checkpoints; everything else in a run folder is written here.
"""

import io
import json
import os
import platform
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Integer, UInt8

from pixelwright import build, images, render
from pixelwright.console import Console
from pixelwright.data import index
from pixelwright.data.dataset import Dataset
from pixelwright.errors import DataError, MachineError, PixelwrightWarning, RecipeError
from pixelwright.metrics.scores import Scores
from pixelwright.recipe import Recipe
from pixelwright.registry import Spec
from pixelwright.report import figures, page
from pixelwright.run import Run, write_bytes, write_text
from pixelwright.training import loop, measure, state
from pixelwright.training.checkpoint import Checkpoints
from pixelwright.training.log import Log
from pixelwright.types import Classes, Entry, Event, Index, OnEvent

PICTURES = 3
"""Hardest and typical images that a run shows, each."""


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
    with run.locked(), _watched(on_event) as tell:
        built = build.training(recipe)
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
            built.trainee,
            built.loader.batches,
            lambda model: built.validate(model, tell),
            plan,
            progress,
            Checkpoints(run.checkpoints),
            log,
            tell,
        )
        log.write(
            "stop", why=why, step=progress.step, finished=True, largest_input=progress.largest
        )
        tell(Event("stop", {"why": why}))
        _finish(run, recipe, built, progress, tell)
    return run


def _check_same(recipe: Recipe, source: object, run: Run) -> None:
    """A recipe given beside --resume must be that of the run."""
    path = Path(str(source))
    given = source if isinstance(source, Recipe) else Recipe.read(path) if path.is_file() else None
    if given is None:
        return
    # A run's recipe holds steps where the given one may hold minutes or epochs.
    lengths = {"epochs": 30, "steps": None, "minutes": None, "validate_every": 1.0}
    theirs, ours = (
        r.model_copy(update={"name": "", "train": r.train.model_copy(update=lengths)})
        for r in (given, recipe)
    )
    if theirs.to_dict() != _relocated(ours).to_dict() != _relocated(theirs).to_dict():
        raise RecipeError(
            f"The recipe differs from that of {run.path}, so the run cannot be continued with it. "
            f"Continue with 'pixelwright train {run.path} --resume', or take another --out."
        )


def _relocated(recipe: Recipe) -> Recipe:
    """With its data as the layout reads it: typed options, absolute paths."""
    return recipe.model_copy(update={"data": index.layouts.resolve(recipe.data)})


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
    checkpoints.prepare()
    trainee = built.trainee
    progress = state.Progress()
    stop_after = None
    if resume and (checkpoints.last.is_file() or checkpoints.previous.is_file()):
        tensors, meta, note = checkpoints.newest()
        if note:
            warnings.warn(note, PixelwrightWarning, stacklevel=2)
        parts = trainee.model, trainee.optimizer, trainee.ema, trainee.callbacks
        progress = state.restore(tensors, meta, *parts)
    elif recipe.train.minutes is not None:
        on_event(Event("note", {"text": "Measuring how many steps fit into the time."}))
        recipe, stop_after = _within_minutes(recipe, built, began)
    recipe = _relocated(recipe)
    if not resume:
        write_text(run.recipe_file, recipe.to_toml())
        run.write_info(_info(recipe, built))
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
    reserve = min(4 * pace.validation + 8.0, 0.3 * budget)
    left = max(budget - reserve - (time.monotonic() - began), 1.0)
    steps, every = measure.steps_within(left, pace)
    train = recipe.train.model_copy(
        update={
            "minutes": None,
            "steps": steps,
            "validate_every": every / built.loader.steps_per_epoch,
        }
    )
    return recipe.model_copy(update={"train": train}), left


def _info(recipe: Recipe, built: build.Training) -> dict[str, Any]:
    import pixelwright

    model = built.trainee.model
    return {
        "pixelwright": pixelwright.__version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "device": built.trainee.engine.describe(),
        "commit": _commit(),
        "command": " ".join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "classes": list(built.index.classes.names),
        "colors": [list(color) for color in built.index.classes.colors],
        "images": {split: len(entries) for split, entries in built.index.splits.items()},
        "guard": built.index.guard,
        "parameters": sum(p.numel() for p in model.parameters()),
        "receptive_radius": None if built.field.unbounded else built.field.radius,
        "stride": built.field.stride,
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
    scores = scorer(model.network, "val", with_loss=True, on_event=on_event)
    _write_scores(run, scores, str(recipe.data))
    write_pictures(run, scores, scorer.entries("val"), model)
    # As many training images as validation ones say how far the model is over-fitted.
    train_entries = built.index.splits["train"]
    every = -(-len(train_entries) // max(len(scores.keys), 1))
    some = scorer(
        model.network, "train", with_loss=True, entries=train_entries[::every], on_event=on_event
    )
    _write_scores(run, some, str(recipe.data))
    if recipe.train.overfit:
        on_event(Event("note", {"text": _overfit_verdict(recipe, scores, progress)}))
    page.write(run)


def _overfit_verdict(recipe: Recipe, scores: Scores, progress: state.Progress) -> str:
    count, reached = len(scores.keys), scores.mean_iou
    if reached >= build.OVERFIT_GOAL - 0.01:
        return (
            f"Learnt {count} crops by heart (mean IoU {reached:.3f}) in {progress.step} steps: "
            f"the training procedure works."
        )
    return (
        f"Did not learn {count} crops by heart in {progress.step} steps (mean IoU {reached:.3f}, "
        f"goal {build.OVERFIT_GOAL}). Give it more steps or a higher train.lr; if that does not "
        f"help, look for wrong masks with 'pixelwright data show'."
    )


def _write_scores(run: Run, scores: Scores, data: str) -> None:
    table = replace(scores, data=data).to_json()
    write_text(run.scores_file(scores.split), json.dumps(table, ensure_ascii=False) + "\n")


def write_pictures(run: Run, scores: Scores, entries: Sequence[Entry], model: build.Model) -> None:
    """The hardest and some typical images of a split, each beside its truth and prediction."""
    run.pictures.mkdir(exist_ok=True)
    for old in run.pictures.glob("*.jpg"):
        old.unlink()
    dataset = Dataset(entries, model.classes, model.channels)
    predictor = model.predictor()
    places = {key: number for number, key in enumerate(scores.keys)}
    for kind, keys in (
        ("hardest", scores.hardest(PICTURES)),
        ("typical", scores.typical(PICTURES)),
    ):
        for rank, (key, score) in enumerate(keys, 1):
            sample = dataset.sample(places[key])
            panel = render.comparison(
                sample.image,
                np.asarray(sample.target),
                predictor.labels(sample.image).astype(np.int16),
                model.classes,
                caption=f"{key}: mean IoU {score:.3f}",
            )
            images.write_jpeg(run.pictures / f"{kind}-{rank}-{_file_name(key)}.jpg", panel)


def _file_name(key: str) -> str:
    return "".join(c if c.isalnum() or c in "-_." else "_" for c in key)[-100:]


def evaluate(
    run: Run | str | Path,
    *,
    data: str | Spec | None = None,
    split: str = "val",
    tile: int | None = None,
    device: str = "auto",
    on_event: OnEvent | None = None,
) -> Scores:
    """Score the model of a run, in float32.

    Args:
        run: The run, or its folder.
        data: Where to, such as "camvid:root=data/camvid"; by default the run's own.
        split: Of the data; "all" takes every picture whole.
        tile: Most pixels to a side that the network sees at once.
        device: "auto", "cpu", "cuda" or "mps".
        on_event: Told the progress; None draws it, in a terminal and a notebook alike.

    Raises:
        CheckpointError: The run has no good model.
        DataError: The data cannot be read, or has other classes.
    """
    run = Run.open(run)
    model = build.load_model(run, device)
    own = Recipe.read(run.recipe_file).data
    spec = own if data is None else Spec.parse(data) if isinstance(data, str) else data
    with _watched(on_event) as tell:
        found = _with_classes(index.load(spec), model.classes)
        scores = model.scorer(found, tile)(model.network, split, on_event=tell)
    scores = replace(scores, data=str(spec))
    if data is None:
        _write_scores(run, scores, str(spec))
    return scores


def _with_classes(found: Index, ours: Classes) -> Index:
    """An index under the class names that the model was trained with."""
    if len(found.classes) != len(ours):
        # Masks that lack a class look like fewer classes where none are declared.
        return replace(found, classes=ours) if len(found.classes) < len(ours) else found
    return replace(found, classes=replace(found.classes, names=ours.names, colors=ours.colors))


@dataclass(frozen=True)
class Prediction:
    """The classes of an image.

    Args:
        labels: Class index of every pixel.
        classes: What the indices mean.
        image: What was predicted, as the network saw it.
        probabilities: Of every class, if asked for.
        files: What was written, if anything.
    """

    labels: Integer[np.ndarray, "h w"]
    classes: Classes
    image: UInt8[np.ndarray, "h w c"]
    probabilities: Float[np.ndarray, "k h w"] | None = None
    files: tuple[Path, ...] = ()

    @property
    def overlay(self) -> UInt8[np.ndarray, "h w 3"]:
        """The image with the classes over it."""
        return render.overlay(self.image, self.labels.astype(np.int16), self.classes.colors)

    def _repr_png_(self) -> bytes:
        return images.encode_png(self.overlay)


def predict(
    run: Run | str | Path,
    image: str | Path | UInt8[np.ndarray, "h w c"] | Sequence[str | Path],
    *,
    out: str | Path | None = None,
    tile: int | None = None,
    probabilities: bool = False,
    overwrite: bool = False,
    device: str = "auto",
    on_event: OnEvent | None = None,
) -> Prediction | list[Prediction]:
    """Classify every pixel of one image or of several, of any size.

    Args:
        run: The run, or its folder.
        image: A file, an array, or a list of files and folders.
        out: Where to write `<stem>.png` (class indices, with palette) and `<stem>.overlay.jpg`;
            nothing is written without.
        tile: Most pixels to a side that the network sees at once.
        probabilities: Also keep, and write, `<stem>.probabilities.npy`.
        overwrite: Replace predictions that are there.
        device: "auto", "cpu", "cuda" or "mps".
        on_event: Told the progress; None draws it, in a terminal and a notebook alike.

    Returns:
        One prediction for one image, else a list in the order of the files.

    Raises:
        DataError: The image cannot be read.
        MachineError: Some images of a list cannot be read; the others are done.
    """
    model = build.load_model(Run.open(run), device)
    folder = Path(out) if out is not None else None
    if isinstance(image, np.ndarray):
        return _predict_one(model, image, None, folder, tile, probabilities)
    single = isinstance(image, (str, Path)) and not Path(image).is_dir()
    given = [image] if isinstance(image, (str, Path)) else list(image)
    files = _image_files([Path(item) for item in given])
    if folder:
        _check_out(files, folder, overwrite)
    done: list[Prediction] = []
    failed: list[str] = []
    with _watched(on_event) as tell:
        for number, file in enumerate(files, 1):
            try:
                pixels = images.read_image(file, model.channels)
                one = _predict_one(model, pixels, file, folder, tile, probabilities)
            except DataError as error:
                if single:
                    raise
                failed.append(str(error))
            else:
                # A long list would fill the memory with what lies on disk already.
                done.append(one if single or not folder else _light(one))
            tell(Event("progress", {"what": "predict", "done": number, "total": len(files)}))
    if failed:
        raise MachineError(
            f"{len(failed)} of {len(files)} images could not be read, the others are done: "
            f"{' '.join(failed[:3])}"
        )
    return done[0] if single else done


def _light(prediction: Prediction) -> Prediction:
    nothing = np.zeros((0, 0, prediction.image.shape[2]), np.uint8)
    return replace(prediction, labels=nothing[..., 0], image=nothing, probabilities=None)


def _predict_one(
    model: build.Model,
    pixels: UInt8[np.ndarray, "h w c"],
    file: Path | None,
    folder: Path | None,
    tile: int | None,
    probabilities: bool,
) -> Prediction:
    predictor = model.predictor(tile)
    likely = predictor.probabilities(pixels).cpu().numpy() if probabilities else None
    labels = predictor.labels(pixels) if likely is None else _labels(likely)
    result = Prediction(labels, model.classes, pixels, likely)
    if folder is None:
        return result
    stem = file.stem if file else "prediction"
    folder.mkdir(parents=True, exist_ok=True)
    written = [folder / f"{stem}.png", folder / f"{stem}.overlay.jpg"]
    images.write_mask(written[0], labels, model.classes.colors)
    images.write_jpeg(written[1], result.overlay)
    if likely is not None:
        written.append(folder / f"{stem}.probabilities.npy")
        write_bytes(written[-1], _npy(likely))
    return replace(result, files=tuple(written))


def _labels(likely: Float[np.ndarray, "k h w"]) -> Integer[np.ndarray, "h w"]:
    return np.asarray(likely.argmax(0), np.uint8 if len(likely) <= 256 else np.uint16)


def _npy(array: Float[np.ndarray, "k h w"]) -> bytes:
    """Half precision as a .npy file: three digits of a probability are plenty."""
    buffer = io.BytesIO()
    np.save(buffer, array.astype(np.float16), allow_pickle=False)
    return buffer.getvalue()


def _image_files(given: list[Path]) -> list[Path]:
    """The files named, and those in the folders named."""
    files: list[Path] = []
    for path in given:
        if path.is_dir():
            inside = sorted(p for p in path.iterdir() if p.suffix.lower() in images.IMAGE_SUFFIXES)
            if not inside:
                raise DataError(f"{path} holds no image.")
            files += inside
        elif not path.exists():
            raise DataError(f"There is no image at {path}.")
        else:
            files.append(path)
    return files


def _check_out(files: list[Path], folder: Path, overwrite: bool) -> None:
    seen: dict[str, Path] = {}
    for file in files:
        if file.stem in seen:
            raise DataError(
                f"{seen[file.stem]} and {file} would both be written as {file.stem}.png. Predict "
                f"them into two folders."
            )
        seen[file.stem] = file
        target = folder / f"{file.stem}.png"
        if target.exists() and target.resolve() == file.resolve():
            raise DataError(f"{file} would be replaced by its prediction. Take another --out.")
        if target.exists() and not overwrite:
            raise DataError(f"{target} is there already. Replace it with --overwrite.")


def report(run: Run | str | Path) -> Path:
    """Write the report of a run again, from what lies in its folder."""
    run = Run.open(run)
    if run.log():
        figures.loss_vs_epochs(run.log(), run.loss_figure)
    return page.write(run)


@contextmanager
def _watched(on_event: OnEvent | None) -> Iterator[OnEvent]:
    """Who is told: the caller's, or the console. The same warning is given once, not per file."""
    with warnings.catch_warnings():
        warnings.filterwarnings("once", category=PixelwrightWarning)
        if on_event is not None:
            yield on_event
            return
        with Console().watch() as drawn:
            yield drawn
