"""What a pass is stated to take beside what a process takes, by how freed memory is treated.

    python benchmarks/footprint.py --quick --json footprint.json
    python benchmarks/footprint.py --case unet:width=16 --side 1024 --passes 3

Each figure is one fresh process: the high-water mark of its memory during some passes over random
pixels, above what it held before them, after a small pass for warming up. "stated" is
`nn.footprint`, found without computing; "returned", "left" and "kept" are what the process took
under `memory.return_freed`, as glibc has it, and under `memory.keep_freed`. Seconds are of a
processor, not of a clock, so that whatever else the machine does hardly strikes them.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import torch
from processes import alone
from rich.console import Console
from rich.table import Table

from pixelwright import memory
from pixelwright.models import models
from pixelwright.nn.footprint import footprint
from pixelwright.nn.normalise import Normalised
from pixelwright.registry import Spec

CASES = {
    "fcnn": 1024,
    "unet:width=16": 1024,
    "light": 1024,
    "convunext:width=16": 512,
    "timm-unet:encoder=resnet34": 1024,
    "timm-unet:encoder=mobilenetv3_large_100": 512,
    "smp:encoder=resnet34": 512,
    "smp:arch=deeplabv3plus,encoder=resnet34": 512,
    "smp:arch=segformer,encoder=mit_b0": 512,
    "smp:encoder=tu-mobilenetv3_small_100": 512,
}
FREED = ("returned", "left", "kept")


def network(text: str) -> Normalised:
    torch.manual_seed(0)
    built = models.build(Spec.parse(text), classes=11, channels=3)
    model = Normalised(built, [127.5] * 3, [63.75] * 3).eval()
    return model.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def pixels(side: int) -> torch.Tensor:
    made = torch.randint(0, 256, (1, side, side, 3), dtype=torch.uint8)
    return made.permute(0, 3, 1, 2)


def taken(text: str, side: int, freed: str, passes: int) -> tuple[int, float]:
    """Bytes that a process takes for passes of a network, and the fastest one's seconds."""
    if freed == "kept":
        memory.keep_freed()
    elif freed == "returned":
        memory.return_freed()
    model = network(text)
    seconds = []
    with torch.inference_mode():
        model(pixels(64))
        before, _ = memory.resident(), memory.forget_peak()
        for _ in range(passes):
            images = pixels(side)
            start = time.process_time()
            logits = model(images)
            seconds.append(time.process_time() - start)
            del images, logits
    return memory.peak() - before, min(seconds)


def measure(text: str, side: int, passes: int) -> list[dict[str, Any]]:
    """A row for each way to treat freed memory."""
    model = network(text)
    footprint(model, (1, 3, 64, 64))  # loads what PyTorch needs for it
    start = time.process_time()
    cost = footprint(model, (1, 3, side, side))
    finding = time.process_time() - start
    rows = []
    for freed in FREED:
        bytes_, seconds = alone(taken, text, side, freed, passes)
        rows.append(
            {
                "case": f"{text}, {side} x {side}",
                "system": freed,
                "seconds": seconds,
                "throughput": side**2 / seconds / 1e6,
                "peak_mb": bytes_ / 1e6,
                "stated_mb": cost.peak_bytes / 1e6,
                "finding_seconds": finding,
            }
        )
    return rows


def show(rows: list[dict[str, Any]]) -> None:
    table = Table("network, side", "freed memory is", title=f"{torch.get_num_threads()} threads")
    for column in ("stated MB", "peak MB", "stated / peak", "s", "Mpx/s", "found in s"):
        table.add_column(column, justify="right")
    for row in rows:
        table.add_row(
            row["case"],
            row["system"],
            f"{row['stated_mb']:.0f}",
            f"{row['peak_mb']:.0f}",
            f"{row['stated_mb'] / row['peak_mb']:.2f}",
            f"{row['seconds']:.2f}",
            f"{row['throughput']:.2f}",
            f"{row['finding_seconds']:.2f}",
        )
    Console(width=max(Console().width, 130)).print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--case", help="one network (default: all)")
    parser.add_argument("--side", type=int, help="of the picture, in pixels")
    parser.add_argument("--passes", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="two networks; under a minute")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows here")
    given = parser.parse_args()
    cases = {given.case: CASES.get(given.case, 512)} if given.case else CASES
    if given.quick:
        cases = dict(list(cases.items())[:2])
    found: dict[str, Any] = {"threads": torch.get_num_threads(), "torch": torch.__version__}
    rows: list[dict[str, Any]] = []
    for text, side in cases.items():
        rows += measure(text, given.side or side, given.passes)
        if given.json:
            given.json.write_text(json.dumps(found | {"rows": rows}, indent=2) + "\n")
    show(rows)


if __name__ == "__main__":
    memory.huge_pages()
    main()
