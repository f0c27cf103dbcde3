"""Keep what runs and benchmarks measured; write it into README, recipes and exercises.

    python benchmarks/figures.py keep runs/camvid-unet-1 camvid-unet      # results/camvid-unet.json
    python benchmarks/figures.py keep-study runs/losses losses            # results/study-losses.*
    python benchmarks/figures.py keep-tuning runs/tune tuning             # results/study-tuning.md
    python benchmarks/load.py --json benchmarks/results/load.json
    python benchmarks/figures.py write                                     # into the texts
    python benchmarks/figures.py check                                     # exit 1: they differ

No figure in those texts is typed by hand: each stands between marks that `write` fills.
"""

import argparse
import json
import re
import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from pixelwright.recipe import Recipe
from pixelwright.run import Run
from pixelwright.types import chosen_score

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
_BLOCK = re.compile(r"(<!-- figures: ([\w-]+) -->\n).*?(<!-- end -->)", re.DOTALL)
_EXPECT = re.compile(r"^# Expect:.*\n(?:#   .*\n)*", re.MULTILINE)

RUNS = {
    "fcnn-pair-earth": ("earth: land and water, one picture", "foreground"),
    "roads-unet": ("roads: aerial photographs", "road"),
    "camvid-unet": ("CamVid: driving scenes, 11 classes", None),
    "camvid-light": ("CamVid: driving scenes, 11 classes", None),
    "drive-proposed": ("DRIVE: vessels of the retina, no options", "foreground"),
    "cifar100-quick": ("CIFAR-100: 100 classes, from scratch", None),
}
"""What each kept run shows, and the class whose score it is about."""


_PER_IMAGE = {"tables", "keys", "data", "details", "hardest_images"}
_PER_IMAGE |= {"truth", "top", "likely", "losses", "confusion", "confused", "groups"}
"""What of a run's scores is not kept: it would be large, and no text tells it."""


def keep(run: Run, name: str) -> None:
    """Store what a run measured: scores, time, machine, commit."""
    info, scores = run.info, run.scores("val")
    kept = {key: value for key, value in scores.items() if key not in _PER_IMAGE}
    train = run.scores("train")
    ended = run.report_file.stat().st_mtime
    began = datetime.fromisoformat(info["created"]).timestamp()
    recipe = Recipe.read(run.recipe_file)
    table = {
        "minutes": round((ended - began) / 60, 1),
        "budget": info.get("minutes"),
        "steps": run.log()[-1]["step"],
        "seed": recipe.seed,
        "model": str(recipe.model),
        "parameters": info["parameters"],
        "machine": info["machine"],
        "device": info["device"],
        "commit": info["commit"],
        "date": info["created"][:10],
        "largest_input": run.log()[-1].get("largest_input"),
        "train_mean_iou": train.get("mean_iou"),
        "val": kept,
    }
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps(table, indent=2, ensure_ascii=False) + "\n")
    print(f"wrote {path.relative_to(ROOT)}")


def keep_study(folder: Path, name: str) -> None:
    """Store what `pixelwright compare` found: its tables and verdicts, time, machine, commit."""
    table = json.loads((folder / "compare.json").read_text())
    infos = [Run.open(Path(run)).info for case in table["cases"] for run in case["runs"]]
    seconds = sum(s for case in table["cases"] for s in case["seconds"] if s is not None)
    commits = sorted({info["commit"] for info in infos})
    places = sorted({f"{info['machine']} ({info['device']})" for info in infos})
    for case in table["cases"]:
        case["runs"] = [Path(run).name for run in case["runs"]]
    table |= {"minutes": round(seconds / 60, 1), "machine": places, "commit": commits}
    path = RESULTS / f"study-{name}.json"
    path.write_text(json.dumps(table, indent=1, ensure_ascii=False) + "\n")
    runs = f"{len(infos)} trainings, {table['minutes']:g} minutes in sum"
    place = f"{runs}; {'; '.join(places)}; commit {', '.join(commits)}."
    text = (folder / "compare.md").read_text()
    path.with_suffix(".md").write_text(f"{text}\n{place}\n")
    print(f"wrote {path.relative_to(ROOT)} and .md")


def keep_tuning(folder: Path, name: str) -> None:
    """Store what `pixelwright tune` found: every trial, and the look at the test split."""
    table = json.loads((folder / "tuning.json").read_text())
    trials = sorted(table["trials"], key=lambda trial: (trial["state"], -(trial["score"] or 0)))
    keys = list(table["ranges"])
    head = ["trial", "state", f"val {table['score']}", *keys, "seconds"]
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for trial in trials:
        values = [f"{v:.3g}" if isinstance(v, float) else str(v) for v in trial["values"].values()]
        score = "n/a" if trial["score"] is None else f"{trial['score']:.3f}"
        cells = [str(trial["number"]), trial["state"], score, *values, f"{trial['seconds']:.0f}"]
        lines.append(f"| {' | '.join(cells)} |")
    best = Run.open(folder / f"trial-{table['best']}")
    if test := best.scores("test"):
        span = _percent(test["mean_iou_low"], test["mean_iou_high"])
        lines += [
            "",
            f"The best trial on the test split, looked at {len(best.looks())} time: mean IoU "
            f"{test['mean_iou']:.3f} ({span}, 95 % over {test['images']} images).",
        ]
    info = best.info
    minutes = sum(trial["seconds"] for trial in trials) / 60
    place = f"{info['machine']} ({info['device']}); commit {info['commit']}."
    lines += ["", f"{len(trials)} trials, {minutes:.1f} minutes in sum; {place}"]
    path = RESULTS / f"study-{name}.md"
    path.write_text("\n".join(lines) + "\n")
    print(f"wrote {path.relative_to(ROOT)}")


def keep_runs(runs: list[Run], name: str) -> None:
    """Store what several runs came to, a line each; of other data, how many classes those have."""
    title, _ = chosen_score(runs[0].scores("val"), "")
    recipes = [Recipe.read(run.recipe_file) for run in runs]
    head = ["model", "minutes planned for", "steps", f"val {title}"]
    counts = [len(run.scores("val")["classes"]) for run in runs]
    apart = len(set(counts)) > 1
    if apart:
        head = ["classes", *head, "95 % interval", "times guessing", "superclass accuracy"]
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for run, recipe, count in zip(runs, recipes, counts, strict=True):
        scores, planned = run.scores("val"), run.info.get("minutes")
        _, score = chosen_score(scores, "")
        minutes = "" if planned is None else f"{planned:g}"
        cells = [f"`{recipe.model.without('weights')}`", minutes, f"{run.log()[-1]['step']:,}"]
        cells.append(f"{score:.3f}")
        if apart:
            span = _percent(scores["top1_low"], scores["top1_high"])
            cells = [str(count), *cells, span, f"{score * count:.1f}"]
            cells.append(f"{scores['group_accuracy']:.3f}")
        lines.append(f"| {' | '.join(cells)} |")
    path = RESULTS / f"study-{name}.md"
    path.write_text("\n".join(lines) + "\n")
    print(f"wrote {path.relative_to(ROOT)}")


def study(name: str) -> str:
    """The stored tables and verdicts of a study."""
    path = RESULTS / f"{name}.md"
    return path.read_text() if path.is_file() else ""


def read(name: str) -> Any:
    path = RESULTS / f"{name}.json"
    return json.loads(path.read_text()) if path.is_file() else None


def _percent(low: float | None, high: float | None) -> str:
    return "no interval" if low is None or high is None else f"{low:.3f} to {high:.3f}"


def runs_table() -> str:
    """The kept runs, one line each."""
    columns = ("data", "model, parameters", "minutes", "score on the validation split")
    columns += ("95 % interval of IoU or top-1",)
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    places: dict[str, list[str]] = {}
    for name, (title, focus) in RUNS.items():
        if not (r := read(name)):
            continue
        val = r["val"]
        if focus:
            one = val["classes"][focus]
            named = "Dice" if name.startswith("drive") else "IoU"
            score = f"{named} of {focus} {one[named.lower()]:.3f}"
            score += f", IoU {one['iou']:.3f}" if named == "Dice" else ""
            span = _percent(one["iou_low"], one["iou_high"])
        elif "top1" in val:
            score, span = f"top-1 {val['top1']:.3f}", _percent(val["top1_low"], val["top1_high"])
        else:
            score = f"mean IoU {val['mean_iou']:.3f}"
            span = _percent(val["mean_iou_low"], val["mean_iou_high"])
        model = f"`{r['model']}`, {r['parameters']:,}"
        places.setdefault(f"{r['machine']} ({r['device']})", []).append(title.partition(":")[0])
        lines.append(f"| {title} | {model} | {_minutes(r)} | {score} | {span} |")
    where = [f"{', '.join(dict.fromkeys(rows))} on {place}" for place, rows in places.items()]
    lines += ["", f"Seed 0; {'; '.join(where)}."] if where else []
    return "\n".join(lines) + "\n"


def _minutes(r: Any, unit: str = "") -> str:
    """What a run took; if that was more than planned, what its steps were planned for as well."""
    took, budget = r["minutes"], r.get("budget")
    late = budget is not None and took > 1.02 * budget
    planned = f"{budget:g}{unit} planned, " if late else ""
    return f"{planned}{took:g}{unit}{' with other work beside' if late else ''}"


def classes_table(name: str) -> str:
    """IoU, Dice and accuracy of each class of a kept run."""
    lines = [
        "| class | IoU | 95 % interval | Dice | accuracy | pixels |",
        "|---|---|---|---|---|---|",
    ]
    r = read(name)
    for label, one in (r["val"]["classes"] if r else {}).items():
        cells = ["n/a" if one[k] is None else f"{one[k]:.3f}" for k in ("iou", "dice", "accuracy")]
        span = _percent(one["iou_low"], one["iou_high"])
        lines.append(
            f"| {label} | {cells[0]} | {span} | {cells[1]} | {cells[2]} | {one['pixels']:,} |"
        )
    return "\n".join(lines) + "\n"


def benchmark_table(name: str) -> str:
    """The rows of a benchmark, times as a ratio to its first system of each case."""
    rows = read(name) or []
    epochs = any("epoch" in row for row in rows)
    head = ["case", "system", "ms", "times ours", *(["s an epoch"] if epochs else [])]
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    ours: dict[str, float] = {}
    for row in rows:
        ratio = row["seconds"] / ours.setdefault(row["case"], row["seconds"])
        cells = [row["case"], row["system"], f"{row['seconds'] * 1e3:.2f}", f"{ratio:.2f}"]
        if epochs:
            cells.append(f"{row['epoch']:.0f}" if "epoch" in row else "")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def predict_table(name: str) -> str:
    """Systems on one picture, with the time and memory of each in parts of its case's first."""
    r = read(name)
    rows = [row for row in r["rows"] if "share_of_rate" in row] if r else []
    head = ["case", "system", "s", "times ours", "Mpx/s", "peak MB", "of the machine's rate"]
    head += ["pixels that differ", "of them decided"]
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    ours: dict[str, float] = {}
    for row in rows:
        ratio = row["seconds"] / ours.setdefault(row["case"], row["seconds"])
        cells = [row["case"], row["system"], f"{row['seconds']:.2f}", f"{ratio:.2f}"]
        cells += [f"{row['throughput']:.2f}", f"{row['peak_mb']:,.0f}"]
        cells += [f"{row['share_of_rate']:.0%}", f"{row['differ']:,}", f"{row['decided']:,}"]
        lines.append(f"| {' | '.join(cells)} |")
    if r:
        covered = ", ".join(f"{name} {share:.0%}" for name, share in r["classes"].items())
        lines += ["", f"Classes of the picture: {covered}. {r['machine']}."]
    return "\n".join(lines) + "\n"


def predict_exact_table(name: str) -> str:
    """Plans in float64 beside one pass, then pictures larger than memory against their budget."""
    rows = (read(name) or {"rows": []})["rows"]
    lines = ["| case in float64 | plan | pixels that differ | logits by |", "|---|---|---|---|"]
    for row in rows:
        if "logits_differ_by" in row:
            cells = [row["case"], row["plan"], str(row["differ"])]
            lines.append(f"| {' | '.join(cells)} | {row['logits_differ_by']:.0e} |")
    head = ["case", "plan", "s", "Mpx/s", "peak MB", "pixels compared", "differ", "decided"]
    lines += ["", f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for row in rows:
        if "compared" in row:
            cells = [row["case"], row["plan"], f"{row['seconds']:.0f}", f"{row['throughput']:.2f}"]
            cells += [f"{row['peak_mb']:,.0f}", f"{row['compared']:,}"]
            cells += [f"{row['differ']:,}", f"{row['decided']:,}"]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def accuracy_table(name: str) -> str:
    """What ours and a plain loop came to in the same time: the mean over seeds."""
    lines = ["| case | system | top-1 | 95 % interval | by seed |", "|---|---|---|---|---|"]
    for row in read(name) or []:
        seeds = " ".join(f"{one:.3f}" for one in row["seeds"])
        span = _percent(row["low"], row["high"])
        lines.append(
            f"| {row['case']} | {row['system']} | {row['accuracy']:.3f} | {span} | {seeds} |"
        )
    return "\n".join(lines) + "\n"


def fit_table(name: str) -> str:
    """How far a run of one picture fits its training part better than the part held out."""
    r = read(name)
    if not r:
        return ""
    n, h, w = r["largest_input"]
    lines = [
        "| mean IoU of training blocks | of validation blocks | largest input | minutes |",
        "|---|---|---|---|",
        f"| {r['train_mean_iou']:.4f} | {r['val']['mean_iou']:.4f} | {n} x {h} x {w} | "
        f"{r['minutes']:g} |",
    ]
    return "\n".join(lines) + "\n"


BLOCKS: dict[str, Callable[[], str]] = {
    "runs": runs_table,
    "camvid-classes": lambda: classes_table("camvid-unet"),
    "load": lambda: benchmark_table("load"),
    "metrics": lambda: benchmark_table("metrics"),
    "cifar100": lambda: benchmark_table("cifar100"),
    "predict": lambda: predict_table("predict"),
    "predict-exact": lambda: predict_exact_table("predict"),
    "cifar100-accuracy": lambda: accuracy_table("cifar100-accuracy"),
    "train-step": lambda: benchmark_table("train_step"),
    "fcnn-pair-earth": lambda: fit_table("fcnn-pair-earth"),
}


def block(name: str) -> str:
    """What stands between the marks of this name."""
    return study(name) if name.startswith("study-") else BLOCKS[name]()


def expectation(name: str) -> str | None:
    """The header lines of a recipe that say what to expect."""
    if not (r := read(name)):
        return None
    val = r["val"]
    focus = RUNS[name][1]
    key, score = ("top1", "top-1") if "top1" in val else ("mean_iou", "mean IoU")
    span = _percent(val[f"{key}_low"], val[f"{key}_high"])
    about = f"{score} {val[key]:.3f} ({span}, 95 % over {val['images']} images)"
    if focus:
        one = val["classes"][focus]
        about = (
            f"IoU of {focus} {one['iou']:.3f} ({_percent(one['iou_low'], one['iou_high'])}), "
            f"Dice {one['dice']:.3f}, {about}"
        )
    place = f"{_minutes(r, ' min')}, {r['steps']:,} steps on {r['machine']}, {r['device']}"
    return f"# Expect: val {about};\n#   seed {r['seed']}; {place}; commit {r['commit']}.\n"


def texts() -> dict[Path, str]:
    """Every file that tells figures, as it should read."""
    wanted = {}
    for path in [ROOT / "README.md", *ROOT.glob("exercises/*/README.md"), *ROOT.glob("docs/*.md")]:
        wanted[path] = _BLOCK.sub(
            lambda m: m.group(1) + block(m.group(2)) + m.group(3), path.read_text()
        )
    for path in [*ROOT.glob("recipes/*.toml"), *ROOT.glob("exercises/*/recipe.toml")]:
        name = path.stem if path.stem in RUNS else f"{path.parent.name}-earth"
        header = expectation(name) if name in RUNS else None
        text = path.read_text()
        wanted[path] = _EXPECT.sub(lambda m, h=header: h, text, count=1) if header else text
    return wanted


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    kept = commands.add_parser("keep", help="store what a run measured")
    kept.add_argument("run", type=Path)
    kept.add_argument("name", choices=RUNS)
    studies = commands.add_parser("keep-study", help="store what a comparison found")
    studies.add_argument("folder", type=Path)
    studies.add_argument("name")
    several = commands.add_parser("keep-runs", help="store what several runs came to")
    several.add_argument("name")
    several.add_argument("runs", type=Path, nargs="+")
    tunings = commands.add_parser("keep-tuning", help="store what a search found")
    tunings.add_argument("folder", type=Path)
    tunings.add_argument("name")
    commands.add_parser("write", help="write the stored figures into the texts")
    commands.add_parser("check", help="tell which texts differ from the stored figures")
    options = parser.parse_args()
    if options.command == "keep":
        keep(Run.open(options.run), options.name)
        return
    if options.command == "keep-study":
        keep_study(options.folder, options.name)
        return
    if options.command == "keep-runs":
        keep_runs([Run.open(run) for run in options.runs], options.name)
        return
    if options.command == "keep-tuning":
        keep_tuning(options.folder, options.name)
        return
    stale = [path for path, text in texts().items() if path.read_text() != text]
    for path in stale:
        if options.command == "write":
            path.write_text(texts()[path])
        print(f"{'wrote' if options.command == 'write' else 'stale:'} {path.relative_to(ROOT)}")
    sys.exit(1 if stale and options.command == "check" else 0)


if __name__ == "__main__":
    main()
