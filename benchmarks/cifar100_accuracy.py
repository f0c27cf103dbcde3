"""Validation accuracy on CIFAR-100 after so many minutes: a recipe of ours, and a plain loop.

By the clock, as is wanted, or after fixed steps of each. By the clock, whatever else runs takes
steps away from the one whose turn it is, and three seeds would tell of the machine as much as of
the trainings. So `pace` tells on a quiet machine how many steps of each fit into the minutes, with
the start, validations and scores of ours, and a race over as many steps may then share it, and
train several at once.
"""

import math
import os
import statistics
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from processes import alone

RECIPE = Path(__file__).resolve().parents[1] / "recipes" / "cifar100-quick.toml"


class Race(NamedTuple):
    """What is raced over.

    Args:
        minutes: Of each training, from the start of its process.
        steps: Of ours and of the plain loop, instead of the clock; None is by the clock.
        settings: Of our recipe, as `--set` of the command changes them.
    """

    minutes: float
    steps: tuple[int, int] | None = None
    settings: tuple[str, ...] = ()


class Plain(NamedTuple):
    """How the plain loop trains.

    Args:
        model: A network; empty takes that of our recipe.
        workers: That load.
        lr: Highest learning rate.
    """

    model: str
    workers: int
    lr: float

    def filled(self) -> "Plain":
        from pixelwright.recipe import Recipe

        return self._replace(model=self.model or str(Recipe.read(RECIPE).model))


def our_recipe(folder: Path, settings: list[str], recipe: Path = RECIPE) -> Any:
    import pixelwright as pw

    return pw.Recipe.read(recipe).override([f"data.root={folder}", "device=cpu", *settings])


def train_ours(folder: Path, race: Race, seed: int, out: Path) -> dict[str, float]:
    """Wall seconds, images seen and validation accuracy of our recipe."""
    begin = time.monotonic()
    import pixelwright as pw

    length = [f"train.minutes={race.minutes}"]
    if race.steps:
        # Validated once: no model is chosen by the pictures that it is scored on.
        length = ["train.minutes=none", f"train.steps={race.steps[0]}", "train.validate_every=1e3"]
    chosen = our_recipe(folder, [*length, f"seed={seed}", *race.settings])
    run = pw.train(chosen, out=out, on_event=lambda event: None)
    seconds = time.monotonic() - begin
    images = run.log()[-1]["step"] * chosen.train.batch_size
    return {"accuracy": run.scores("val")["top1"], "seconds": seconds, "images": images}


def plain_parts(folder: Path, seed: int, plain: Plain) -> tuple[Any, Any, Any]:
    """Learner, pictures to learn from and those held out: the same as ours."""
    import torch
    from plain_loop import UNVARIED, VARIED, Learner, Pictures, precision_of

    from pixelwright.data import index
    from pixelwright.data.resident import Resident
    from pixelwright.models import models
    from pixelwright.registry import Spec

    found = index.load_for_training(Spec("cifar100", {"root": folder}))
    train, val = (Resident.of(found.splits[split], found.classes) for split in ("train", "val"))
    torch.manual_seed(seed)
    network = models.build(Spec.parse(plain.model), classes=len(found.classes), channels=3)
    varied = Pictures(train.images, train.labels, VARIED)
    unvaried = Pictures(val.images, val.labels, UNVARIED)
    return Learner(network, precision_of("auto"), plain.lr), varied, unvaried


def train_plain(folder: Path, race: Race, seed: int, plain: Plain) -> dict[str, float]:
    """The same of the plain loop, which is scored after its time."""
    begin = time.monotonic()
    from plain_loop import BATCH, train

    learner, varied, unvaried = plain_parts(folder, seed, plain)
    started = time.monotonic()
    left = begin + 60 * race.minutes - started

    def along(steps: int) -> float:
        return steps / race.steps[1] if race.steps else (time.monotonic() - started) / left

    steps = train(learner, varied, plain.workers, along)
    seconds = time.monotonic() - begin
    accuracy = learner.accuracy(unvaried)
    return {"accuracy": accuracy, "seconds": seconds, "images": steps * BATCH}


def seconds_of(step: Callable[[], object], seconds: float) -> float:
    """The mean of steps over so many seconds, waits for data included; ten before do not count."""
    for _ in range(10):
        step()
    begin, steps = time.monotonic(), 0
    while (taken := time.monotonic() - begin) < seconds:
        step()
        steps += 1
    return taken / steps


def our_pace(folder: Path, race: Race, seconds: float) -> dict[str, float]:
    """Steps that `pixelwright train` would plan for the minutes, and what it plans them by."""
    begin = time.monotonic()
    import pixelwright

    pixelwright.share_cores()
    from pixelwright import build
    from pixelwright.training import loop, measure

    chosen = our_recipe(folder, list(race.settings))
    training = build.training(chosen)
    trainee, source = training.trainee, training.loader.batches()
    start = time.monotonic() - begin

    def step() -> None:
        loop.train_step(trainee, next(source), accumulate=1, clip=chosen.train.clip)
        if trainee.ema:
            trainee.ema.update(trainee.model, 1)

    found = measure.Pace(seconds_of(step, seconds), training.validation_seconds(trainee.kept))
    # The pace is timed, and time for scores and report reserved, as in jobs/training.py.
    left = 60 * race.minutes - start - 10 - (4 * found.validation + 12)
    steps, every = measure.steps_within(left, found)
    return {"start": start, **found.__dict__, "steps": steps, "validate_every": every}


def plain_pace(folder: Path, minutes: float, seconds: float, plain: Plain) -> dict[str, float]:
    """Steps of the plain loop that fit into the minutes: all that its start leaves."""
    begin = time.monotonic()
    from plain_loop import batches

    learner, varied, _ = plain_parts(folder, 0, plain)
    source = batches(varied, plain.workers)
    first = next(source)
    start = time.monotonic() - begin
    learner.step(*first)
    one = seconds_of(lambda: learner.step(*next(source)), seconds)
    return {"start": start, "step": one, "steps": int((60 * minutes - start) / one)}


def pace(folder: Path, race: Race, plain: Plain, turns: int = 3, seconds: float = 15.0) -> None:
    """Print how many steps of each fit into the minutes: the middle of several turns.

    Args:
        folder: Where the binary version of CIFAR-100 lies.
        race: Over the clock.
        plain: The plain loop.
        turns: Of each, one after the other, so that a slow minute of the machine meets both.
        seconds: That steps are timed for in a turn.
    """
    plain = plain.filled()
    ours, others = [], []
    for _ in range(turns):
        ours.append(alone(our_pace, folder, race, seconds))
        others.append(alone(plain_pace, folder, race.minutes, seconds, plain))
        print("ours:", ours[-1], "plain:", others[-1], flush=True)
    middle = [sorted(found, key=lambda one: one["steps"])[turns // 2] for found in (ours, others)]
    print("--steps", *(int(one["steps"]) for one in middle))


def accuracy(
    folder: Path, race: Race, seeds: int, plain: Plain, at_once: int = 1
) -> list[dict[str, Any]]:
    """Both, seed by seed in turn, each training in a process of its own.

    Args:
        folder: Where the binary version of CIFAR-100 lies.
        race: By the clock or over steps.
        seeds: Trainings of each.
        plain: The plain loop.
        at_once: Trainings that share the cores; one by the clock.
    """
    plain = plain.filled()
    found: dict[str, list[dict[str, float]]] = {"pixelwright": [], f"plain, {plain.model}": []}

    def work(seed: int, name: str) -> None:
        if name == "pixelwright":
            result = alone(train_ours, folder, race, seed, folder / f"run-{seed}")
        else:
            result = alone(train_plain, folder, race, seed, plain)
        found[name].append(result | {"seed": seed})
        print(f"seed {seed}, {name}: {result}", file=sys.stderr, flush=True)

    if at_once > 1:
        os.environ["OMP_NUM_THREADS"] = str(max((os.cpu_count() or 1) // at_once, 1))
    with ThreadPoolExecutor(at_once) as pool:
        for done in [pool.submit(work, s, name) for s in range(seeds) for name in found]:
            done.result()
    for each in found.values():
        each.sort(key=lambda one: one["seed"])
    length = f"{race.minutes:g} min" + (" of steps" if race.steps else "")
    case = f"validation top-1 after {length}"
    return [{"case": case, "system": name, **summary(each)} for name, each in found.items()]


def train_until(
    folder: Path, recipe: Path, settings: list[str], seed: int, out: Path
) -> dict[str, Any]:
    """Seconds from the start of the process to every validation, and its top-1."""
    begin = time.monotonic()
    import pixelwright as pw
    from pixelwright import memory
    from pixelwright.types import Event

    found: list[tuple[float, float]] = []

    def listen(event: Event) -> None:
        if event.kind == "epoch":
            found.append((time.monotonic() - begin, event.data["score"]))

    chosen = our_recipe(folder, [*settings, f"seed={seed}"], recipe)
    run = pw.train(chosen, out=out, on_event=listen)
    images = run.log()[-1]["step"] * chosen.train.batch_size
    return {
        "validations": found,
        "throughput": images / found[-1][0],
        "peak_mb": memory.peak() / 1e6,
        "device": run.info["device"],
    }


def until(
    folder: Path, recipe: Path, settings: list[str], scores: list[float], seeds: int
) -> list[dict[str, Any]]:
    """A row for each score: the median over seeds of the seconds until a validation reaches it.

    Args:
        folder: Where the binary version of CIFAR-100 lies.
        recipe: Decides how long is trained, and how often validated.
        settings: Changes to it.
        scores: Validation top-1, in [0, 1], from low to high.
        seeds: Trainings, one after the other.
    """
    trainings: list[dict[str, Any]] = []
    for seed in range(seeds):
        out = folder / f"until-{seed}"
        trainings.append(alone(train_until, folder, recipe, settings, seed, out))
        best = max(score for _, score in trainings[-1]["validations"])
        print(f"seed {seed}: best {best:.4f}", file=sys.stderr, flush=True)
    rows = []
    for score in scores:
        times = [
            next((at for at, found in one["validations"] if found >= score), None)
            for one in trainings
        ]
        # A training that never gets there counts as slower than any that does.
        median = sorted(math.inf if at is None else at for at in times)[(seeds - 1) // 2]
        rows.append(
            {
                "case": f"validation top-1 of {score:g}",
                "system": f"pixelwright, {recipe.stem}, {trainings[0]['device']}",
                "seconds": None if math.isinf(median) else median,
                "throughput": statistics.median(one["throughput"] for one in trainings),
                "peak_mb": max(one["peak_mb"] for one in trainings),
                "reached": sum(at is not None for at in times),
                "seeds": times,
                "best": [max(score for _, score in one["validations"]) for one in trainings],
            }
        )
    return rows


def summary(trainings: list[dict[str, float]]) -> dict[str, Any]:
    """The mean over seeds, with the 95 % interval that Student's t gives it; none for one seed."""
    from scipy.stats import t

    each, count = [one["accuracy"] for one in trainings], len(trainings)
    mean, low, high = statistics.fmean(each), None, None
    if count > 1:
        half = float(t.ppf(0.975, count - 1)) * statistics.stdev(each) / math.sqrt(count)
        low, high = mean - half, mean + half
    return {
        "seconds": statistics.fmean(one["seconds"] for one in trainings),
        "throughput": statistics.fmean(one["images"] / one["seconds"] for one in trainings),
        "peak_mb": None,
        "accuracy": mean,
        "low": low,
        "high": high,
        "seeds": each,
    }
