"""Several classifiers together beside the best single one, on the pictures held out.

    python benchmarks/ensembles.py runs/cifar100-networks --snapshots runs/cifar100-snapshots

The best single run is chosen on the very pictures that all are scored on, which flatters it, and
makes what an ensemble gains over it look smaller. Intervals are over pictures, of the difference
to it. Kept as results/study-cifar100-ensembles.md, which `figures.py write` shows.
"""

import argparse
import re
from pathlib import Path

import numpy as np

import pixelwright as pw
from pixelwright.metrics.labels import LabelScores
from pixelwright.recipe import Recipe

RESULT = Path(__file__).parent / "results" / "study-cifar100-ensembles.md"


def scored(*runs: Path, flip: bool = False, snapshots: bool = False) -> LabelScores:
    found = pw.evaluate(runs, flip=flip, snapshots=snapshots)
    assert isinstance(found, LabelScores)
    return found


def row(case: str, scores: LabelScores, alone: LabelScores) -> str:
    ahead = scores.right.astype(float) - alone.right
    margin = 1.96 * ahead.std() / np.sqrt(len(ahead))
    low, high = ahead.mean() - margin, ahead.mean() + margin
    gained = "" if scores is alone else f"{ahead.mean():+.3f} ({low:+.3f} to {high:+.3f})"
    return f"| {case} | {scores.top1:.3f} | {scores.log_loss:.3f} | {gained} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("study", type=Path, help="folder of runs NAME-seedN")
    parser.add_argument("--snapshots", type=Path, metavar="RUN", help="a run that kept some")
    options = parser.parse_args()
    runs = sorted(p for p in options.study.glob("*-seed*") if p.is_dir())
    best = max(runs, key=lambda run: pw.Run.open(run).scores("val")["top1"])
    alone = scored(best)
    name = re.sub(r"-seed\d+$", "", best.name)
    seeds = [run for run in runs if run.name.startswith(f"{name}-seed")]
    lines = [
        "| who answers | top-1 | log loss | ahead of the best single by |",
        "|---|--:|--:|--:|",
    ]
    lines += [
        row("the best single one", alone, alone),
        row("it, and mirrored", scored(best, flip=True), alone),
        row(f"{len(seeds)} seeds of its network", scored(*seeds), alone),
        row(f"all {len(runs)} runs, {len(runs) // len(seeds)} networks", scored(*runs), alone),
    ]
    if options.snapshots:
        count = Recipe.read(pw.Run.open(options.snapshots).recipe_file).train.snapshots
        last, together = (scored(options.snapshots, snapshots=some) for some in (False, True))
        lines += ["", lines[0].replace("the best single", "that model"), lines[1]]
        lines += [
            row("the best model of that run", last, last),
            row(f"its {count} snapshots", together, last),
        ]
    about = f"{len(alone.right):,} pictures of 'val'; 95 % intervals over pictures."
    RESULT.write_text("\n".join([*lines, "", about]) + "\n")
    print(RESULT.read_text())


if __name__ == "__main__":
    main()
