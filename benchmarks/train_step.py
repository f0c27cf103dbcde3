"""A training step: ours beside a bare loop of the same network, batch, format and optimiser.

    python benchmarks/train_step.py --quick --json train_step.json

The bare loop is what one writes by hand: zero the gradients, forward, cross-entropy, backward,
step. Ours is `training.loop.step`, with schedule, events and the watch on inputs. Both work on the
same batches in memory, in one process, and take turns step by step, so that whatever else the
machine does strikes both; the ratio is that of the medians. "default allocator" is the bare loop in
a process in which Pixelwright has not asked glibc to keep freed memory. `--precision` takes
float32, bfloat16 or both.
"""

import argparse
import json
import multiprocessing
import resource
import statistics
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from rich.console import Console
from rich.table import Table

from pixelwright.losses._combine import build_loss
from pixelwright.metrics.scores import Scores
from pixelwright.models import models
from pixelwright.nn.normalise import Normalised
from pixelwright.registry import Spec
from pixelwright.training import loop
from pixelwright.training.checkpoint import Checkpoints
from pixelwright.training.engine import Engine
from pixelwright.training.log import Log
from pixelwright.training.optim import optimizers
from pixelwright.training.state import Progress
from pixelwright.types import Batch, silent

CASES = {
    "fcnn, 4 crops of 128": ("fcnn", 2, 4, 128),
    "unet:width=16, 8 crops of 256": ("unet:width=16", 11, 8, 256),
    "unet:width=32,depth=3, 4 crops of 256": ("unet:width=32,depth=3", 2, 4, 256),
}
LR = 1e-3
Step = Callable[[], None]


def batches(classes: int, n: int, crop: int) -> Iterator[Batch]:
    rng = np.random.default_rng(0)
    made = []
    for _ in range(4):
        images = rng.integers(0, 256, (n, crop, crop, 3), np.uint8)
        targets = rng.integers(0, classes, (n, crop, crop)).astype(np.int16)
        made.append(Batch(images, targets, tuple(map(str, range(n)))))
    return cycle(made)


def network(spec: str, classes: int) -> Normalised:
    torch.manual_seed(0)
    built = models.build(Spec.parse(spec), classes=classes, channels=3)
    return Normalised(built, [127.5] * 3, [63.75] * 3)


def ours(case: str, precision: str) -> Step:
    spec, classes, n, crop = CASES[case]
    engine = Engine.of("cpu", precision)
    model = engine.place(network(spec, classes))
    trainee = loop.Trainee(
        model=model,
        loss=build_loss("cross-entropy", classes, lambda scheme: np.ones(classes)),
        optimizer=optimizers.build(Spec("adamw"), model=model, lr=LR),
        schedule=lambda progress: 1.0,
        lr=LR,
        ema=None,
        callbacks=[],
        engine=engine,
    )
    plan = loop.Plan(
        steps=10**6,
        steps_per_epoch=100,
        validate_every=100,
        accumulate=1,
        clip=None,
        save_seconds=1e9,
        stop_after=None,
        header={},
    )
    source = batches(classes, n, crop)
    sitting = loop.Sitting(
        trainee=trainee,
        batches=lambda start: source,
        validate=lambda model: Scores((), (), np.zeros((0, 0, 0), np.int64)),
        plan=plan,
        progress=Progress(),
        checkpoints=Checkpoints(Path()),
        log=Log(Path()),
        on_event=silent,
    )
    loop.Watch(trainee, sitting.progress)

    def step() -> None:
        loop.step(sitting, source)

    return step


def bare(case: str, precision: str) -> Step:
    spec, classes, n, crop = CASES[case]
    model = network(spec, classes).to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(model.parameters(), lr=LR, fused=True)
    source = batches(classes, n, crop)

    def step() -> None:
        batch = next(source)
        images = torch.from_numpy(batch.images).permute(0, 3, 1, 2)
        targets = torch.from_numpy(batch.targets).long()
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
            logits = model(images)
        loss = F.cross_entropy(logits.float(), targets, ignore_index=-1)
        loss.backward()
        optimizer.step()
        loss.item()

    return step


def timed(steps: list[Step], rounds: int) -> list[list[float]]:
    """Seconds of each step function in each round; they take turns, after a warm-up."""
    for step in steps:
        step()
        step()
    times: list[list[float]] = [[] for _ in steps]
    for turn in range(rounds):
        # Whoever comes second finds warmer caches: swap.
        for place in range(len(steps)) if turn % 2 else reversed(range(len(steps))):
            start = time.perf_counter()
            steps[place]()
            times[place].append(time.perf_counter() - start)
    return times


def together(case: str, precision: str, rounds: int) -> list[dict[str, Any]]:
    times = timed([ours(case, precision), bare(case, precision)], rounds)
    return [
        row(case, precision, system, found)
        for system, found in zip(("pixelwright", "bare loop"), times, strict=True)
    ]


def alone(case: str, precision: str, rounds: int) -> list[dict[str, Any]]:
    (times,) = timed([bare(case, precision)], rounds)
    return [row(case, precision, "bare loop, default allocator", times)]


def row(case: str, precision: str, system: str, times: list[float]) -> dict[str, Any]:
    seconds = statistics.median(times)
    return {
        "case": f"{case}, {precision}",
        "system": system,
        "seconds": seconds,
        "throughput": CASES[case][2] / seconds,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def measure(case: str, precision: str, rounds: int) -> list[dict[str, Any]]:
    """The rows of one case, each group in a fresh process, and their ratios to the bare loop."""
    context = multiprocessing.get_context("spawn")
    rows = []
    for work in (together, alone):
        with ProcessPoolExecutor(1, mp_context=context) as pool:
            rows += pool.submit(work, case, precision, rounds).result()
    base = next(r["seconds"] for r in rows if r["system"] == "bare loop")
    return [r | {"ratio": r["seconds"] / base} for r in rows]


def show(rows: list[dict[str, Any]]) -> None:
    table = Table(title=f"one optimiser step, {torch.get_num_threads()} threads")
    for column in ("case", "system", "seconds", "images/s", "of the bare loop", "peak MB"):
        table.add_column(column, justify="left" if column in ("case", "system") else "right")
    for r in rows:
        table.add_row(
            r["case"],
            r["system"],
            f"{r['seconds']:.4f}",
            f"{r['throughput']:.1f}",
            f"{r['ratio']:.3f}",
            f"{r['peak_mb']:.0f}",
        )
    Console(width=max(Console().width, 110)).print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer rounds; under a minute")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows here")
    parser.add_argument("--precision", choices=("float32", "bfloat16", "both"), default="both")
    options = parser.parse_args()
    both = ("float32", "bfloat16")
    precisions = both if options.precision == "both" else (options.precision,)
    if options.quick:
        precisions = precisions[-1:]
    rounds = 3 if options.quick else 15
    rows = [r for case in CASES for p in precisions for r in measure(case, p, rounds)]
    show(rows)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
