"""What predictions by bands take, by the pixels of a band: where `inference.plan` has it from.

    python benchmarks/bands.py --quick --json bands.json
    python benchmarks/bands.py --case fcnn --width 4096 --height 2048

Each figure is one fresh process: the fastest of some passes over random pixels, and the memory at
most above what was held before them. "stated" is what the plan reckons with. "beginning" are the
pixels that take as long as to begin a band does, by the least squares of seconds against bands.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from footprint import network, pixels
from processes import alone
from rich.console import Console
from rich.table import Table

from pixelwright import memory
from pixelwright.inference.graph import graph_of
from pixelwright.inference.stream import Stream
from pixelwright.nn.receptive import field_of

CASES = ("fcnn", "timm-unet:encoder=resnet34")
PIXELS = (2**16, 2**17, 2**18, 2**19, 2**20)


def taken(text: str, height: int, width: int, band: int, passes: int) -> tuple[float, int, int]:
    """Seconds of the fastest pass, and bytes of memory: that it takes, and that are stated."""
    memory.keep_freed()
    model = network(text)
    stream = Stream(graph_of(model, 3, field_of(model, 3).multiple))
    image = pixels(max(height, width))[:, :, :height, :width]
    seconds = []
    with torch.inference_mode():
        before, _ = memory.resident(), memory.forget_peak()
        for _ in range(passes):
            start = time.perf_counter()
            for _ in stream.bands(lambda top, stop: image[:, :, top:stop], height, band):
                pass
            seconds.append(time.perf_counter() - start)
    return min(seconds), memory.peak() - before, stream.bytes(height, width, band)


def measure(text: str, height: int, width: int, passes: int) -> list[dict[str, Any]]:
    """A row for each height of bands that divides the picture's."""
    bands = [one // width for one in PIXELS if 32 <= one // width <= height // 2]
    rows: list[dict[str, Any]] = []
    for band in bands:
        seconds, bytes_, stated = alone(taken, text, height, width, band, passes)
        rows.append(
            {
                "case": f"{text}, {height} x {width}",
                "system": f"bands of {band} rows",
                "seconds": seconds,
                "throughput": height * width / seconds / 1e6,
                "peak_mb": bytes_ / 1e6,
                "stated_mb": stated / 1e6,
            }
        )
    if len(bands) > 1:
        each, rest = np.polyfit([height / band for band in bands], [r["seconds"] for r in rows], 1)
        for row in rows:
            row["beginning"] = each / (rest / (height * width))
    return rows


def show(rows: list[dict[str, Any]]) -> None:
    table = Table("network, picture", "", title=f"{torch.get_num_threads()} threads")
    for column in ("s", "Mpx/s", "peak MB", "stated MB", "beginning, px"):
        table.add_column(column, justify="right")
    for row in rows:
        table.add_row(
            row["case"],
            row["system"],
            f"{row['seconds']:.2f}",
            f"{row['throughput']:.2f}",
            f"{row['peak_mb']:.0f}",
            f"{row['stated_mb']:.0f}",
            f"{row.get('beginning', 0):,.0f}",
        )
    Console(width=max(Console().width, 130)).print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--case", help="one network (default: all)")
    parser.add_argument("--height", type=int, default=2048, help="of the picture")
    parser.add_argument("--width", type=int, default=4096, help="of the picture")
    parser.add_argument("--passes", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="a small picture; under a minute")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows here")
    given = parser.parse_args()
    height, width, passes = given.height, given.width, given.passes
    if given.quick:
        height, width, passes = 512, 1024, 2
    found: dict[str, Any] = {"threads": torch.get_num_threads(), "torch": torch.__version__}
    rows: list[dict[str, Any]] = []
    for text in [given.case] if given.case else CASES:
        rows += measure(text, height, width, passes)
        if given.json:
            given.json.write_text(json.dumps(found | {"rows": rows}, indent=2) + "\n")
    show(rows)


if __name__ == "__main__":
    memory.huge_pages()
    main()
