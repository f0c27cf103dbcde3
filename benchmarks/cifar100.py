"""CIFAR-100 on a CPU: ours beside a plain PyTorch loop of the same networks.

    python benchmarks/cifar100.py --quick --json cifar100.json
    python benchmarks/cifar100.py --accuracy 10 --seeds 3 --json cifar100-accuracy.json
    python benchmarks/cifar100.py --until 0.75 0.78 --device cuda --seeds 5 --recipe FILE

"pipeline" makes batches of 128 pictures, moved by up to 4 pixels and mirrored, and normalises them;
"network" does steps on a batch that lies ready; "both" trains. Ours is what a recipe builds; the
plain loop is in `plain_loop.py`: DataLoader with 0, 1 and 2 workers, torchvision's v2 transforms,
channels last. All take the same precision and the same SGD. Pixelwright asks glibc to keep freed
memory and OpenMP's threads to spin briefly; "network alone" does so too, so that what is left
between it and ours is the pipeline and the loop.

Each system has a process of its own; they take turns, and each figure is the median of several
rounds by the clock. Before a round is timed, so many batches are used that none made ahead is left.

`--accuracy` trains recipes/cifar100-quick.toml and the plain loop for so many minutes each, seed by
seed in turn, and tells the validation accuracy of the same held-out pictures with the interval of
its mean over seeds. Loading data counts for both, scoring only for ours. With `--steps OURS PLAIN`
they train for so many steps instead, as many as `--pace` found to fit into the minutes when nothing
else ran: then what else runs changes no result, and several may train `--at-once`.

`--until` trains a recipe, as long as it says, and tells the wall seconds from the start of the
process, imports and data included, to the first validation that reaches each top-1: the median over
seeds. `--set train.compile=true` and others change the recipe.

The pictures are those of shared/data/cifar100 where that lies beside the checkout, and drawn ones
elsewhere.
"""

import argparse
import json
import multiprocessing
import os
import resource
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

from cifar100_pictures import CLASSES, lay_out
from rich.console import Console
from rich.table import Table

BATCH = 128
EXERCISE_SECONDS, EXERCISE_IMAGES = 35.0, 45_000
"""What the exercise quotes for an epoch of VGG16 on its GPU, and the images of an epoch."""

NETWORKS = ("convnet:width=32,norm=batch", "wide-resnet:depth=16,width=2")
VGG = "vgg16:head=dense"
PIPELINE = "pipeline"
ALONE = ("network alone", "network alone, PyTorch's settings")

Step = Callable[[], object]


class Job(NamedTuple):
    """What a process measures.

    Args:
        system: A key of `SYSTEMS`.
        model: Of the networks; empty for the pipeline.
        folder: Where the binary version lies.
        precision: auto, float32 or bfloat16.
        size: At which the network sees pictures; None is as they are.
        workers: Of the plain loop.
    """

    system: str
    model: str
    folder: Path
    precision: str
    size: int | None = None
    workers: int = 0


def recipe(job: Job) -> Any:
    from pixelwright.recipe import Recipe

    train: dict[str, Any] = {"batch_size": BATCH, "optimizer": "sgd:nesterov=true", "lr": 0.1}
    table: dict[str, Any] = {
        "data": f"cifar100:root={job.folder}",
        "model": job.model or NETWORKS[0],
        "device": "cpu",
        "precision": job.precision,
        "train": train,
        "augment": {"shift": 4},
    }
    if job.model == VGG:
        # As the exercise fine-tunes: RMSprop at a low rate, the last block open.
        train |= {"encoder": "upper", "optimizer": "rmsprop", "lr": 1e-5}
    if job.size:
        table["size"] = job.size
    return Recipe.from_dict(table)


def built(job: Job) -> Any:
    """What the recipe builds, and the settings of the process that come with it."""
    import pixelwright

    pixelwright.share_cores()
    from pixelwright import build

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*random weights")
        return build.training(recipe(job))


def our_pipeline(job: Job) -> Step:
    training = built(job)
    source, engine, model = (
        training.loader.batches(),
        training.trainee.engine,
        training.trainee.model,
    )

    def step() -> None:
        images = engine.images(next(source).images)
        (images.float() - model.mean).div_(model.std)

    return step


def our_loop(job: Job) -> Step:
    training = built(job)
    from pixelwright.training import loop
    from pixelwright.training.checkpoint import Checkpoints
    from pixelwright.training.log import Log
    from pixelwright.training.state import Progress
    from pixelwright.types import silent

    plan = loop.Plan(
        steps=10**6,
        steps_per_epoch=training.loader.steps_per_epoch,
        validate_every=10**6,
        accumulate=1,
        clip=None,
        save_seconds=1e9,
        stop_after=None,
        header={},
    )
    source = training.loader.batches()
    sitting = loop.Sitting(
        trainee=training.trainee,
        batches=lambda start: source,
        validate=training.validate,
        plan=plan,
        progress=Progress(),
        checkpoints=Checkpoints(Path()),
        log=Log(Path()),
        on_event=silent,
    )
    loop.Watch(training.trainee, sitting.progress)
    return lambda: loop.step(sitting, source)


def learner(job: Job) -> Any:
    import torch
    from plain_loop import Learner, precision_of

    from pixelwright.models import models
    from pixelwright.registry import Spec

    torch.manual_seed(0)
    model = models.build(Spec.parse(job.model), classes=CLASSES, channels=3)
    return Learner(model, precision_of(job.precision))


def bare_network(job: Job, settings: bool) -> Step:
    """Steps on one batch; with Pixelwright's settings of the process, or PyTorch's own."""
    if settings:
        built(job)
    import torch

    plain = learner(job)
    images = torch.randn(BATCH, 3, 32, 32).contiguous(memory_format=torch.channels_last)
    targets = torch.randint(CLASSES, (BATCH,))
    return lambda: plain.step(images, targets)


def plain_data(job: Job) -> Any:
    from plain_loop import VARIED, Pictures

    from pixelwright import images

    path = job.folder / "train.bin"
    return Pictures(images.rows(path).copy(), images.row_labels(path)["fine"], VARIED)


def plain_pipeline(job: Job) -> Step:
    import torch
    from plain_loop import batches

    source = batches(plain_data(job), job.workers)
    return lambda: next(source)[0].to(memory_format=torch.channels_last)


def plain_both(job: Job) -> Step:
    from plain_loop import batches

    plain, source = learner(job), batches(plain_data(job), job.workers)
    return lambda: plain.step(*next(source))


SYSTEMS: dict[str, Callable[[Job], Step]] = {
    "our pipeline": our_pipeline,
    "our loop": our_loop,
    "network alone": lambda job: bare_network(job, True),
    "network alone, PyTorch's settings": lambda job: bare_network(job, False),
    "plain pipeline": plain_pipeline,
    "plain loop": plain_both,
}

_step: list[Step] = []  # of this process, made when it starts


def start(job: Job) -> None:
    _step.append(SYSTEMS[job.system](job))


def is_ready() -> bool:
    return bool(_step)


def ahead(job: Job) -> int:
    """Batches to use before a round is timed: one, and as many as may lie ready."""
    return 1 + (2 if job.system.startswith("our") else 2 * job.workers)


def one_round(before: int, count: int) -> float:
    """Seconds of a batch, after so many that are not timed."""
    for _ in range(before):
        _step[0]()
    begin = time.perf_counter()
    for _ in range(count):
        _step[0]()
    return (time.perf_counter() - begin) / count


def peak_mb() -> float:
    """Of this process and those that it has started."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    own = peak / (2**20 if sys.platform == "darwin" else 2**10)
    for child in multiprocessing.active_children():
        status = Path(f"/proc/{child.pid}/status")
        if status.exists():
            lines = status.read_text().splitlines()
            own += sum(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))
    return own


def measure(case: str, jobs: dict[str, Job], count: int, rounds: int) -> list[dict[str, Any]]:
    """The rows of a case: systems that take turns, and their ratios to the first."""
    context = multiprocessing.get_context("spawn")
    with ExitStack() as stack:
        pools = [
            stack.enter_context(ProcessPoolExecutor(1, context, initializer=start, initargs=(job,)))
            for job in jobs.values()
        ]
        # All begin at once: importing is most of what a short run takes.
        for begun in [pool.submit(is_ready) for pool in pools]:
            begun.result()
        turns = list(zip(pools, map(ahead, jobs.values()), strict=True))
        times = [[p.submit(one_round, n, count).result() for p, n in turns] for _ in range(rounds)]
        peaks = [pool.submit(peak_mb).result() for pool in pools]
    medians = [statistics.median(column) for column in zip(*times, strict=True)]
    return [
        row(case, name, seconds, peak, seconds / medians[0])
        for name, seconds, peak in zip(jobs, medians, peaks, strict=True)
    ]


def row(case: str, system: str, seconds: float, peak: float | None, ratio: float) -> dict[str, Any]:
    return {
        "case": case,
        "system": system,
        "seconds": seconds,
        "throughput": BATCH / seconds,
        "peak_mb": peak,
        "ratio": ratio,
    }


def name_of(workers: int) -> str:
    return f"plain, {workers} worker{'' if workers == 1 else 's'}"


def speed(folder: Path, precision: str, quick: bool) -> list[dict[str, Any]]:
    workers = (0, 1) if quick else (0, 1, 2)
    rounds = 1 if quick else 5

    def job(system: str, model: str = "", at: int = 0, size: int | None = None) -> Job:
        return Job(system, model, folder, precision, size, at)

    plain = {name_of(n): job("plain pipeline", at=n) for n in workers}
    rows = measure(
        PIPELINE, {"pixelwright": job("our pipeline"), **plain}, 10 if quick else 40, rounds
    )
    for model in NETWORKS[:1] if quick else NETWORKS:
        small = model.startswith("convnet")
        name = model.partition(":")[0] if small else "WRN-16-2"
        ours = {"pixelwright": job("our loop", model)}
        # The wide one takes three times as long: only what the small one showed to matter.
        alone = {key: job(key, model) for key in ALONE[: 2 if small else 1]}
        plain = {name_of(n): job("plain loop", model, n) for n in workers[: 3 if small else 2]}
        rows += measure(name, ours | alone | plain, 3 if quick else 10 if small else 6, rounds)
    for size in (None,) if quick else (None, 64):
        case = f"VGG16, upper block, {size or 32}x{size or 32}"
        ours = {"pixelwright": job("our loop", VGG, size=size)}
        [found] = measure(case, ours, 1 if quick else 3, 1 if quick else 3)
        quoted = EXERCISE_SECONDS * BATCH / EXERCISE_IMAGES
        gpu = row(case, "GPU of the exercise", quoted, None, quoted / found["seconds"])
        rows += [r | {"epoch": r["seconds"] / BATCH * EXERCISE_IMAGES} for r in (found, gpu)]
    return rows


def show(rows: list[dict[str, Any]], title: str) -> None:
    """One row of the table for each, with the columns that it has figures for."""
    columns: dict[str, Callable[[dict[str, Any]], str]] = {
        "case": lambda r: r["case"],
        "system": lambda r: r["system"],
        "images/s": lambda r: f"{r['throughput']:,.0f}",
    }
    if "reached" in rows[0]:
        columns |= {
            "s": lambda r: "not reached" if r["seconds"] is None else f"{r['seconds']:.1f}",
            "reached": lambda r: f"{r['reached']} of {len(r['seeds'])}",
            "of each seed": lambda r: " ".join(
                "-" if s is None else f"{s:.1f}" for s in r["seeds"]
            ),
            "peak MB": lambda r: f"{r['peak_mb']:.0f}",
        }
    elif "accuracy" in rows[0]:
        columns |= {
            "top-1 in %": lambda r: f"{100 * r['accuracy']:.2f}",
            "95 % interval": lambda r: (
                "" if r["low"] is None else f"{100 * r['low']:.2f} to {100 * r['high']:.2f}"
            ),
            "of each seed": lambda r: " ".join(f"{100 * one:.2f}" for one in r["seeds"]),
        }
    else:
        columns |= {
            "ms a batch": lambda r: f"{1e3 * r['seconds']:.2f}",
            "peak MB": lambda r: "" if r["peak_mb"] is None else f"{r['peak_mb']:.0f}",
            "x ours": lambda r: f"{r['ratio']:.3f}",
            "s an epoch": lambda r: f"{r['epoch']:.0f}" if "epoch" in r else "",
        }
    table = Table(title=title)
    for name in columns:
        left = name in ("case", "system")
        table.add_column(name, justify="left" if left else "right", no_wrap=True)
    for r in rows:
        table.add_row(*(told(r) for told in columns.values()))
    Console(width=max(Console().width, 170)).print(table)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one short round; under a minute")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows here")
    parser.add_argument("--precision", choices=("auto", "float32", "bfloat16"), default="auto")
    parser.add_argument("--accuracy", type=float, metavar="MINUTES", help="train for so long")
    parser.add_argument("--pace", action="store_true", help="tell what --steps to take")
    parser.add_argument(
        "--until", type=float, nargs="+", metavar="TOP1", help="tell the seconds to each"
    )
    parser.add_argument("--recipe", type=Path, metavar="FILE", help="for --until")
    parser.add_argument("--device", help="for --until; auto by default")
    parser.add_argument(
        "--steps",
        type=int,
        nargs=2,
        metavar=("OURS", "PLAIN"),
        help="of each, for --accuracy: instead of its minutes by the clock",
    )
    parser.add_argument("--seeds", type=int, default=3, help="trainings of each, for --accuracy")
    parser.add_argument("--plain-model", default="", help="of the plain loop; that of the recipe")
    parser.add_argument("--plain-workers", type=int, default=1)
    parser.add_argument("--plain-lr", type=float, default=0.1)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="of ours")
    parser.add_argument("--at-once", type=int, default=1, help="trainings, with --steps")
    options = parser.parse_args()
    if options.at_once > 1 and not options.steps:
        parser.error("--at-once needs --steps: by the clock, trainings must not share the cores")
    trains = options.until or options.accuracy or options.pace
    if options.set and not trains:
        parser.error("--set is for --until, --accuracy and --pace")
    if (options.recipe or options.device) and not options.until:
        parser.error("--recipe and --device are for --until")
    if trains and (options.quick or options.precision != "auto"):
        parser.error("--quick and --precision are for speed; trainings take --set precision=...")
    return options


def main() -> None:
    options = arguments()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        trains = options.accuracy or options.pace or options.until
        real = lay_out(folder, 500 if trains or not options.quick else 50)
        if trains:
            from cifar100_accuracy import RECIPE, Plain, Race, accuracy, pace, until

            if options.until:
                settings = [f"device={options.device or 'auto'}", *options.set]
                recipe = options.recipe or RECIPE
                rows = until(folder, recipe, settings, sorted(options.until), options.seeds)
                finish(options, rows, real)
                return
            plain = Plain(options.plain_model, options.plain_workers, options.plain_lr)
            steps = options.steps and tuple(options.steps)
            race = Race(options.accuracy or 10.0, steps, tuple(options.set))
            if options.pace:
                pace(folder, race, plain)
                return
            rows = accuracy(folder, race, options.seeds, plain, options.at_once)
        else:
            rows = speed(folder, options.precision, options.quick)
    finish(options, rows, real)


def finish(options: argparse.Namespace, rows: list[dict[str, Any]], real: bool) -> None:
    """Show the rows, and keep them."""
    kind = "CIFAR-100" if real else "drawn pictures"
    length = "" if options.until else f"batches of {BATCH} of "
    show(rows, f"{length}{kind}, {os.cpu_count()} cores")
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2, allow_nan=False) + "\n")


if __name__ == "__main__":
    main()
