"""What the runs of studies score on pictures they learnt from, beside those held out.

    python benchmarks/gaps.py cifar100-gaps runs/cifar100-heads runs/cifar100-transfer

A training score far above that of validation is over-fitting. Both are of pictures as they are, by
the kept model. Kept as results/study-NAME.md, which `figures.py write` shows.
"""

import argparse
import statistics
from pathlib import Path

from pixelwright.run import Run
from pixelwright.types import chosen_score

RESULTS = Path(__file__).parent / "results"


def score_of(run: Run, split: str) -> float:
    _, score = chosen_score(run.scores(split), "")
    assert score is not None, run.path
    return score


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name")
    parser.add_argument("studies", type=Path, nargs="+", help="folders of runs CASE-seedN")
    options = parser.parse_args()
    cases: dict[str, list[Run]] = {}
    for path in [p for folder in options.studies for p in sorted(folder.glob("*-seed*"))]:
        cases.setdefault(path.name.rpartition("-seed")[0], []).append(Run.open(path))
    title, _ = chosen_score(next(iter(cases.values()))[0].scores("val"), "")
    head = ("case", f"{title} in training", "in validation", "apart, by seed")
    lines = [f"| {' | '.join(head)} |", "|---|--:|--:|--:|"]
    for case, runs in cases.items():
        splits = ("train", "val")
        seen, held = ([score_of(run, s) for run in runs] for s in splits)
        apart = " ".join(f"{a - b:+.3f}" for a, b in zip(seen, held, strict=True))
        means = f"{statistics.fmean(seen):.3f} | {statistics.fmean(held):.3f}"
        lines.append(f"| `{case}` | {means} | {apart} |")
    path = RESULTS / f"study-{options.name}.md"
    path.write_text("\n".join(lines) + "\n")
    print(path.read_text())


if __name__ == "__main__":
    main()
