"""Backends on tiles: megapixels a second, peak memory, share of the machine's rate, agreement.

    python benchmarks/backends.py --quick --json backends.json
    python benchmarks/backends.py --model "unet:width=16" --tile 512

Every model and backend runs in a process of its own. Of each tile the median time of several runs
counts, after one that does not; peak memory is what the process had at most, above what it had
before, with picture and logits. Weights are random, which no time depends on.
"""

import argparse
import json
import statistics
import time
from pathlib import Path
from typing import Any

import torch
from machine_rate import device_rate, multiply_adds
from processes import alone
from rich.console import Console
from rich.table import Table

from pixelwright import memory
from pixelwright.build.model import network
from pixelwright.exporting.opening import opened
from pixelwright.exporting.source import Source
from pixelwright.exporting.verify import compare
from pixelwright.inference.backends import NAMES, Name, missing
from pixelwright.inference.backends.torch import TorchBackend
from pixelwright.nn.receptive import field_of
from pixelwright.registry import Spec

MODELS = ("fcnn", "timm-unet:encoder=resnet34")
TILES = (256, 512, 1024)
CLASSES = 2
RUNS, SECONDS = 20, 6.0
"""Most of both, for one tile."""


def measure(
    spec: str, name: Name, tiles: tuple[int, ...], threads: int, middle: bool, rate: float
) -> list[dict[str, Any]]:
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    net = network(Spec.parse(spec), CLASSES, 3, (0.5,), (0.25,)).eval()
    source = Source(net, field_of(net.network), 3, tuple("ab"))
    start = time.perf_counter()
    backend = opened(name, source, keep=None)
    opening = time.perf_counter() - start
    rows = []
    for tile in tiles:
        picture = torch.randint(0, 256, (1, tile, tile, 3), dtype=torch.uint8).permute(0, 3, 1, 2)
        memory.forget_peak()
        before = memory.resident()
        logits = backend(picture)
        peak = memory.peak() - before
        agreement = compare(logits, TorchBackend(net)(picture))
        taken: list[float] = []
        while len(taken) < RUNS and sum(taken) < SECONDS:
            start = time.perf_counter()
            backend(picture)
            taken.append(time.perf_counter() - start)
        seconds = statistics.median(taken) if middle else min(taken)
        rows.append(
            {
                "case": f"{spec}, tile {tile}",
                "system": name,
                "seconds": seconds,
                "throughput": tile**2 / seconds / 1e6,
                "peak_mb": peak / 1e6,
                "share_of_rate": multiply_adds(net, 3, tile, tile) / seconds / rate,
                "difference": agreement.difference,
                "changed": agreement.changed,
                "opening_seconds": opening,
            }
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", action="append", help="repeatable; by default two")
    parser.add_argument("--tile", type=int, action="append", help="repeatable; by default three")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--best", action="store_true", help="the best run, where others compute")
    parser.add_argument("--quick", action="store_true", help="one network; under a minute")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows here")
    args = parser.parse_args()
    rate = device_rate()
    models = args.model or MODELS[: 1 if args.quick else None]
    tiles = tuple(args.tile or TILES[: 2 if args.quick else None])
    rows = []
    for spec in models:
        for name in NAMES:
            if not missing(name):
                rows += alone(measure, spec, name, tiles, args.threads, not args.best, rate)
    table = Table("case", "system", "Mpx/s", "peak MB", "of the rate", "differs by")
    for row in rows:
        table.add_row(
            row["case"],
            row["system"],
            f"{row['throughput']:.3g}",
            f"{row['peak_mb']:,.0f}",
            f"{row['share_of_rate']:.0%}",
            f"{row['difference']:.1e}",
        )
    console = Console()
    console.print(table)
    console.print(f"Machine: {rate / 1e9:.1f} G multiply-adds/s in float32, {args.threads} threads")
    if args.json:
        args.json.write_text(json.dumps({"machine_rate": rate, "rows": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
