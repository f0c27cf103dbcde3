"""Validation accuracy on CIFAR-100 after so many minutes: a recipe of ours, and a plain loop."""

import math
import multiprocessing
import statistics
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

RECIPE = Path(__file__).resolve().parents[1] / "recipes" / "cifar100-quick.toml"


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


def train_ours(folder: Path, minutes: float, seed: int, out: Path) -> dict[str, float]:
    """Wall seconds, images seen and validation accuracy of our recipe."""
    begin = time.monotonic()
    import pixelwright as pw

    settings = [f"data.root={folder}", f"train.minutes={minutes}", f"seed={seed}", "device=cpu"]
    chosen = pw.Recipe.read(RECIPE).override(settings)
    run = pw.train(chosen, out=out, on_event=lambda event: None)
    seconds = time.monotonic() - begin
    images = run.log()[-1]["step"] * chosen.train.batch_size
    return {"accuracy": run.scores("val")["top1"], "seconds": seconds, "images": images}


def train_plain(folder: Path, minutes: float, seed: int, plain: Plain) -> dict[str, float]:
    """The same of the plain loop, on the same pictures, and the same of them held out."""
    begin = time.monotonic()
    import torch
    from plain_loop import BATCH, UNVARIED, VARIED, Learner, Pictures, precision_of, train_for

    from pixelwright.data import index
    from pixelwright.data.resident import Resident
    from pixelwright.models import models
    from pixelwright.registry import Spec

    found = index.load_for_training(Spec("cifar100", {"root": folder}))
    train, val = (Resident.of(found.splits[split], found.classes) for split in ("train", "val"))
    torch.manual_seed(seed)
    network = models.build(Spec.parse(plain.model), classes=len(found.classes), channels=3)
    learner = Learner(network, precision_of("auto"), plain.lr)
    data = Pictures(train.images, train.labels, VARIED)
    steps = train_for(learner, data, plain.workers, begin + 60 * minutes)
    seconds = time.monotonic() - begin
    accuracy = learner.accuracy(Pictures(val.images, val.labels, UNVARIED))
    return {"accuracy": accuracy, "seconds": seconds, "images": steps * BATCH}


def accuracy(folder: Path, minutes: float, seeds: int, plain: Plain) -> list[dict[str, Any]]:
    """Both, seed by seed in turn, each training in a process of its own.

    Args:
        folder: Where the binary version of CIFAR-100 lies.
        minutes: Of each training, from the start of its process; the plain loop is scored after.
        seeds: Trainings of each.
        plain: The plain loop.
    """
    from pixelwright.recipe import Recipe

    plain = plain._replace(model=plain.model or str(Recipe.read(RECIPE).model))
    found: dict[str, list[dict[str, float]]] = {"pixelwright": [], f"plain, {plain.model}": []}
    for seed in range(seeds):
        works = (
            (train_ours, (folder, minutes, seed, folder / f"run-{seed}")),
            (train_plain, (folder, minutes, seed, plain)),
        )
        for name, (work, given) in zip(found, works, strict=True):
            with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
                found[name].append(pool.submit(work, *given).result())
            print(f"seed {seed}, {name}: {found[name][-1]}", file=sys.stderr)
    case = f"validation top-1 after {minutes:g} min"
    return [{"case": case, "system": name, **summary(each)} for name, each in found.items()]


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
