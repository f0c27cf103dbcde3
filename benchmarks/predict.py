"""Predict pictures of any size: ours beside one whole pass, a loop over tiles, and MONAI.

    python benchmarks/predict.py --quick
    python benchmarks/predict.py --models /tmp/models --json predict.json
    python benchmarks/predict.py --device cuda --precision bfloat16 --json predict-gpu.json

Two networks are trained on a part of a drawn aerial picture whose classes each cover more than a
tenth, and predict another part of it, from an array to an array of classes. Every system runs in a
process of its own, once on a corner of the picture and then on all of it; the median of several
runs counts, after one in which ours plans. Where memory comes to lie can slow a process down, so
those that are done within seconds take turns in three processes, of which the median counts. Peak
memory is what a process held at most in the first run, above what it held before. A pixel differs
if its class is not that of one pass in float32; it was decided if its two best logits are more than
1e-5 apart, in parts of the larger: an exact system changes no such pixel, since sums in another
order differ by about 1e-6. In float64 it changes none.

Then follow pictures that are larger than memory, made as they are read, and written as files: with
the process's peak against its budget, and windows compared with the network on their surroundings.

With `--device cuda` the systems are compared alone, and what is told besides is the share of time
in which the GPU is busy; its memory is that of tensors. In bfloat16 nothing is exact.

Rows are written after each case. A file that is there already keeps those that `--only` left out.
"""

import argparse
import json
import multiprocessing
import platform
import tempfile
from pathlib import Path
from typing import Any

import torch
from predict_large import check, in_float64, large
from predict_material import CLASSES, MODELS, Material
from predict_systems import CPU_ONLY, DECIDED, NETWORK, SYSTEMS, Where, measure, truth
from processes import alone
from rich.console import Console
from rich.table import Table

Row = dict[str, Any]

LEFT_OUT = {
    "fcnn": ("pixelwright, 2 GB",),
    "unet-resnet34": ("pixelwright, 1 GB", "pixelwright, tiles"),
}
QUICK = {
    "fcnn": ("pixelwright", "whole, channels last", "tiles of 256", "MONAI, overlap 0.25"),
    "unet-resnet34": ("pixelwright", "whole, channels last"),
}

SECONDS, WINDOWS = (15.0, 2.0), (40, 8)
"""Most that a system is timed for, and windows of a large picture that are compared: with --quick
the second of each."""

ROUNDS, SHORT = 3, 5.0
"""Processes of each system that takes less than so many seconds; the others have one."""

LARGE = ((4096, 4096), (30_000, 30_000), (100_000, 4096))
LARGE_QUICK = ((1024, 1024), (4096, 1024))
BUDGET = "1GB"


def start_fast() -> None:
    """Let processes come from one that has PyTorch: in a fraction of the time.

    Their memory above the start is measured as well as in fresh ones, but what they hold in all is
    not what a command would.
    """
    if "forkserver" in multiprocessing.get_all_start_methods():
        multiprocessing.set_start_method("forkserver", force=True)
        multiprocessing.set_forkserver_preload(["__main__", "pixelwright.jobs", "monai.inferers"])


def prepare(folder: Path, quick: bool, sides: tuple[int, ...]) -> None:
    """Draw the pictures, train the networks, and keep them for peers; in a process of its own."""
    from pixelwright import build

    material = Material(folder, quick)
    for side in sides:
        material.picture(side)
    for name in MODELS:
        run = material.run(name)
        network = build.load_model(run, "cpu").network
        torch.save(network.to(memory_format=torch.contiguous_format), run.path / NETWORK)


def rate(where: Where) -> float:
    from machine_rate import device_rate

    return device_rate(where.device, getattr(torch, where.precision))


def compare(
    console: Console,
    material: Material,
    name: str,
    side: int,
    systems: list[str],
    where: Where,
    speed: float,
    scratch: Path,
) -> list[Row]:
    """All systems on the picture; the speed is the machine's, in multiply-adds a second."""
    run, picture, case = material.run(name).path, material.picture(side), f"{name} {side} x {side}"
    reference = scratch / f"{name}.npz"
    work = alone(truth, run, picture, reference, Where(where.device))
    found: dict[str, list[Row]] = {system: [] for system in systems}
    for number in range(1 if material.quick else ROUNDS):
        for system, before in found.items():
            if number and before[0]["seconds"] >= SHORT:
                continue
            console.print(f"[dim]{case}: {system}[/]")
            limit = SECONDS[material.quick]
            before.append(alone(measure, system, run, picture, reference, limit, where))
    rows = []
    for system, processes in found.items():
        # An odd number, so one of them is the median.
        row = sorted(processes, key=lambda one: one["seconds"])[len(processes) // 2]
        row["peak_mb"] = max(one["peak_mb"] for one in processes)
        row["processes"] = sorted(one["seconds"] for one in processes)
        share = work / row["seconds"] / speed
        rows.append({"case": case, "system": system, **row, "share_of_rate": share})
    return rows


def double(material: Material, name: str, side: int) -> list[Row]:
    """Ours beside one pass in float64."""
    case = f"{name} {side} x {side} in float64"
    found = alone(in_float64, material.run(name).path, material.picture(side))
    return [{"case": case, **row} for row in found]


def beyond(
    console: Console,
    material: Material,
    side: int,
    sizes: tuple[tuple[int, int], ...],
    scratch: Path,
) -> list[Row]:
    """Pictures larger than memory, by the small network, and how they come out."""
    run, square = material.run("fcnn").path, material.picture(side)
    rows = []
    for size in sizes:
        case = f"fcnn {size[0]:,} x {size[1]:,}, {BUDGET} in all"
        console.print(f"[dim]{case}[/]")
        out = scratch / f"{size[0]}x{size[1]}"
        row = alone(large, run, square, size, BUDGET, out)
        windows = WINDOWS[material.quick]
        row |= alone(check, run, square, size, out / "picture.png", DECIDED, windows)
        rows.append({"case": case, "system": "pixelwright", **row})
    return rows


def tables(rows: list[Row]) -> list[Table]:
    """Of the systems; in float64; of large pictures."""
    beside = Table("case", "system", "s", "Mpx/s", "peak MB", "of the rate", "differ", "decided")
    exact = Table("case", "system", "differ", "logits by", "plan")
    huge = Table("case", "s", "Mpx/s", "peak MB", "compared", "differ", "decided", "plan")
    for column in (*beside.columns[2:], *exact.columns[2:4], *huge.columns[1:7]):
        column.justify = "right"
    for row in rows:
        timed = f"{row['seconds']:.2f}", f"{row.get('throughput', 0):.2f}"
        if "logits_differ_by" in row:
            by = f"{row['logits_differ_by']:.0e}"
            exact.add_row(row["case"], row["system"], str(row["differ"]), by, row["plan"])
            continue
        peak, pixels = f"{row['peak_mb']:,.0f}", (f"{row['differ']:,}", f"{row['decided']:,}")
        if "compared" in row:
            huge.add_row(row["case"], *timed, peak, f"{row['compared']:,}", *pixels, row["plan"])
            continue
        share = f"{row['share_of_rate']:.0%}"
        if "busy" in row:
            share += f", busy {row['busy']:.0%}"
        beside.add_row(row["case"], row["system"], *timed, peak, share, *pixels)
    return [table for table in (beside, exact, huge) if table.row_count]


def verdicts(rows: list[Row]) -> list[str]:
    """What was aimed for, and what came of it."""
    found = {(row["case"], row["system"]): row for row in rows}
    lines = []
    for name in MODELS:
        case = next((c for c, s in found if c.startswith(name) and s == "whole, channels last"), "")
        own = {s: r for (c, s), r in found.items() if c == case and s.startswith("pixelwright")}
        if not own:
            continue
        best = min(own, key=lambda system: own[system]["seconds"])
        for system in dict.fromkeys(("pixelwright", best)):
            row = own[system]
            times = [
                f"{other}: {r['seconds'] / row['seconds']:.2f} times the time, "
                f"{r['peak_mb'] / row['peak_mb']:.1f} times the memory"
                for (c, other), r in found.items()
                if c == case and other not in own
            ]
            lines.append(f"{case}, {system}. {'; '.join(times)}.")
    big = [row for row in rows if "compared" in row]
    for row in big[1:]:
        slower = row["seconds"] / _pixels(row) / (big[0]["seconds"] / _pixels(big[0])) - 1
        lines.append(
            f"{row['case']}: {row['peak_mb'] / row['budget_mb']:.0%} of the budget, "
            f"{slower:+.0%} time for a pixel beside the small picture."
        )
    return lines


def _pixels(row: Row) -> float:
    return float(row["seconds"] * row["throughput"])


def keep(file: Path | None, about: Row, rows: list[Row]) -> None:
    """Write rows in the places of those of the same case and system."""
    if file is None:
        return
    before = json.loads(file.read_text())["rows"] if file.exists() else []
    kept = {(row["case"], row["system"]): row for row in [*before, *rows]}
    file.write_text(json.dumps({**about, "rows": [*kept.values()]}, indent=2) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small; under a minute")
    parser.add_argument("--models", type=Path, metavar="FOLDER", help="keep networks, pictures")
    parser.add_argument("--only", action="append", choices=(*MODELS, "float64", "large"))
    parser.add_argument("--system", action="append", choices=SYSTEMS, help="of the comparison")
    parser.add_argument("--side", type=int, help="of the picture; 4096 by default")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows here")
    options = parser.parse_args()
    if options.quick:
        start_fast()
    console, rows = Console(), []
    side = options.side or (640 if options.quick else 4096)
    small = 512 if options.quick else min(side, 2048)
    where = Where(options.device, options.precision)
    if where != Where() and {"float64", "large"} & set(options.only or ()):
        parser.error("float64 and large are measured on a CPU, without --device and --precision")
    wanted = options.only or [*MODELS, *(("float64", "large") if where == Where() else ())]
    with tempfile.TemporaryDirectory() as temporary:
        scratch = Path(temporary)
        material = Material(options.models or scratch / "models", options.quick)
        alone(prepare, material.folder, options.quick, (side, small))
        covered, speed = alone(material.covered, side), alone(rate, where)
        machine = f"{platform.system()} {platform.machine()}, {torch.get_num_threads()} threads"
        if options.device == "cuda":
            machine += f", {torch.cuda.get_device_name()}, {options.precision}"
        about = {"machine": machine, "classes": dict(zip(CLASSES, covered, strict=True))}
        for name in MODELS:
            if name in wanted:
                left_out = LEFT_OUT[name]
                usual = QUICK[name] if options.quick else SYSTEMS
                if where != Where():
                    left_out += CPU_ONLY
                systems = options.system or [s for s in usual if s not in left_out]
                rows += compare(console, material, name, side, systems, where, speed, scratch)
                keep(options.json, about, rows)
        # The larger network sees further than half of a small picture: no tile would be cut.
        for name in list(MODELS)[: 1 if options.quick else None]:
            rows += double(material, name, small) if "float64" in wanted else []
            keep(options.json, about, rows)
        if "large" in wanted:
            sizes = LARGE_QUICK if options.quick else LARGE
            rows += beyond(console, material, side, sizes, scratch)
            keep(options.json, about, rows)
    for table in tables(rows):
        console.print(table)
    told = ", ".join(f"{n} {share:.0%}" for n, share in zip(CLASSES, covered, strict=True))
    console.print(f"Classes of the picture: {told}. {machine}.", *verdicts(rows), sep="\n")


if __name__ == "__main__":
    main()
