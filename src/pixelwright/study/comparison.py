"""Finished runs side by side: means over seeds, paired tests, verdicts.

result = Comparison.of({"dice": [run, run], "focal": [run, run]}, split="val")
result.verdicts()                  # "dice is better than focal by 0.013 (0.004 to 0.022), ..."
result.to_json()
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from pixelwright.console import count
from pixelwright.errors import CheckpointError, first_few
from pixelwright.metrics.paired import Estimate, Trained, estimate, holm
from pixelwright.metrics.told import number, span
from pixelwright.render import palette
from pixelwright.run import Run
from pixelwright.study.case import (
    JUDGED,
    LABELS,
    LOWER_IS_BETTER,
    Case,
    Kind,
    check_same,
    check_score,
    kind_of,
    seed_of,
    stored,
)

LEVEL = 0.05
"""A corrected p below this is a difference."""

_FEW = 10
"""Pairs up to which every verdict is told; of more, those of the best case."""


@dataclass(frozen=True, eq=False)
class Pair:
    """Two cases on the same images.

    Args:
        a: The case with the better mean.
        b: The other.
        found: By how much `a` is better.
        p: Corrected for the number of pairs.
        classes: By how much its IoU, or accuracy, of each class or superclass is higher.
    """

    a: Case
    b: Case
    found: Estimate
    p: float
    classes: Estimate

    @property
    def differ(self) -> bool:
        """Whether the difference is claimed: p, corrected, is below 0.05."""
        return self.p < LEVEL


@dataclass(frozen=True, eq=False)
class Comparison:
    """Cases that were scored on the same images.

    Args:
        name: Of the study.
        split: On which they were scored.
        score: By which they are judged.
        cases: The best first.
        baseline: The case that the others are compared with; None compares all with all.
        failed: Runs that are missing, a sentence each.
        files: What was written.
    """

    name: str
    split: str
    score: str
    cases: tuple[Case, ...]
    baseline: str | None = None
    failed: tuple[str, ...] = ()
    files: tuple[Path, ...] = ()

    @classmethod
    def of(
        cls,
        cases: Mapping[str, Sequence[Run]],
        *,
        name: str = "",
        split: str = "val",
        score: str | None = None,
        baseline: str | None = None,
        settings: Mapping[str, Sequence[str]] | None = None,
        failed: Sequence[str] = (),
    ) -> "Comparison":
        """Read the scores of the runs of every case.

        Args:
            cases: Runs by the name of their case.
            name: Of the study.
            split: Whose scores are read.
            score: By which they are judged; None takes mean IoU of masks, and top-1 of labels.
            baseline: The case that the others are compared with.
            settings: What sets each case apart.
            failed: Runs that are missing, a sentence each.

        Raises:
            CheckpointError: Scores of the split are missing.
            DataError: They are not of the same images, classes, and masks or labels.
            RecipeError: They cannot be judged by this score.
        """
        scored = {run.path: stored(run, split) for runs in cases.values() for run in runs}
        missing = [path for path, scores in scored.items() if scores is None]
        if missing:
            raise CheckpointError(
                f"{count(len(missing), 'run has', 'runs have')} no scores of '{split}': "
                f"{first_few(missing)}. Make them with 'pixelwright evaluate {missing[0]} "
                f"--split {split}'."
            )
        found = {path: scores for path, scores in scored.items() if scores is not None}
        check_same(found)
        score = score or kind_of(next(iter(found.values()))).score
        check_score(score, found)
        listed = [
            Case(
                case,
                tuple((settings or {}).get(case, ())),
                tuple(runs),
                tuple(map(seed_of, runs)),
                tuple(found[run.path] for run in runs),
            )
            for case, runs in cases.items()
        ]

        sign = -1 if score in LOWER_IS_BETTER else 1

        def mean(case: Case) -> float:
            values = [sign * getattr(scores, score) for scores in case.scores]
            return -math.inf if any(map(math.isnan, values)) else sum(values) / len(values)

        ranked = tuple(sorted(listed, key=mean, reverse=True))
        return cls(name, split, score, ranked, baseline, tuple(failed))

    @property
    def title(self) -> str:
        """Of the score."""
        return JUDGED[self.score]

    @property
    def kind(self) -> Kind:
        """Whether masks or labels were scored."""
        return self.cases[0].kind

    @property
    def parts(self) -> tuple[str, ...]:
        """The classes, or the superclasses where there are many classes."""
        return self.cases[0].parts

    @property
    def part_of(self) -> str:
        return "superclass" if self.cases[0].by_group else "class"

    @property
    def images(self) -> int:
        return len(self.cases[0].scores[0].keys)

    @cached_property
    def _trained(self) -> dict[str, Trained]:
        return {case.name: case.trained(self.score) for case in self.cases}

    @cached_property
    def _by_class(self) -> dict[str, Trained]:
        return {case.name: case.trained(self.kind.part) for case in self.cases}

    def mean(self, case: Case, score: str | None = None) -> Estimate:
        """The score of a case: its mean over seeds, and the interval over images and seeds."""
        if score is None or score == self.score:
            return _within(estimate(self._trained[case.name]), self.score)
        return _within(estimate(case.trained(score)), score)

    def class_means(self, case: Case) -> Estimate:
        """The IoU, or accuracy, of each of `parts`."""
        return _within(estimate(self._by_class[case.name]), self.kind.part)

    @cached_property
    def pairs(self) -> tuple[Pair, ...]:
        """The comparisons that the study is for, the largest differences of the best case first."""
        two = [
            (a, b)
            for a, b in combinations(self.cases, 2)
            if self.baseline is None or self.baseline in (a.name, b.name)
        ]
        lower = self.score in LOWER_IS_BETTER
        sides = [(b, a) if lower else (a, b) for a, b in two]
        found = [estimate(self._trained[x.name], self._trained[y.name]) for x, y in sides]
        corrected = holm([float(one.p) for one in found])
        return tuple(
            Pair(a, b, one, p, estimate(self._by_class[a.name], self._by_class[b.name]))
            for (a, b), one, p in zip(two, found, corrected, strict=True)
        )

    def verdict(self, pair: Pair) -> str:
        """What can be said of two cases, in one or two sentences."""
        seeds = len(pair.a.runs), len(pair.b.runs)
        value, low, high = (float(x) for x in (pair.found.value, pair.found.low, pair.found.high))
        a, b = _quoted(pair.a.name), _quoted(pair.b.name)
        if math.isnan(pair.p):
            return f"{a} and {b} cannot be compared: that needs two labelled images or more."
        many = len(self.pairs)
        after = f" after correction for {many} comparisons" if many > 1 else ""
        by = f"{value:.3f} ({span(low, high)})"
        chance = f"{_chance(pair.p)}{after}"
        alone = (
            " One seed each: this is over images only; trained again, it may turn out otherwise."
        )
        if seeds == (1, 1):
            if pair.differ:
                return f"This run of {a} is better than that of {b} by {by}, {chance}.{alone}"
            return f"{a} and {b} are not distinguishable: {a} is ahead by {by}, {chance}.{alone}"
        with_seeds = f"{seeds[0]} seeds" if seeds[0] == seeds[1] else _unequal(pair)
        borrowed = " The single seed is taken to vary as the others do." if min(seeds) == 1 else ""
        if pair.differ:
            return f"{a} is better than {b} by {by}, {chance}, with {with_seeds}.{borrowed}"
        return (
            f"{a} and {b} are not distinguishable with {with_seeds}: {a} is ahead by {by}, "
            f"{chance}.{borrowed}"
        )

    def verdicts(self, *, every: bool = False) -> list[str]:
        """A verdict per pair; of very many, unless `every` is asked for, those of the best case."""
        best = self.cases[0].name
        few = every or len(self.pairs) <= _FEW
        return [self.verdict(p) for p in self.pairs if few or best in (p.a.name, p.b.name)]

    def headline(self) -> str:
        """The best case, and those that cannot be told from it."""
        best = self.cases[0]
        mine = [p for p in self.pairs if best.name == p.a.name]
        if not mine:
            return f"{best.name}: {self.title} {number(float(self.mean(best).value))}."
        like = [_quoted(p.b.name) for p in mine if not p.differ]
        text = f"{_quoted(best.name)} scores best"
        if all(len(case.runs) == 1 for case in self.cases):
            text += ", as far as one seed each can tell"
        if not like:
            others = "all others" if len(mine) > 1 else _quoted(mine[0].b.name)
            return f"{text}, and is better than {others}."
        if len(like) == len(mine) > 1:
            return f"{text}, but is not distinguishable from any other."
        return f"{text}, but is not distinguishable from {', '.join(like)}."

    def notes(self) -> list[str]:
        """What a reader of the numbers has to know, one sentence each."""
        notes = list(self.failed)
        few = sorted({len(case.runs) for case in self.cases})
        if few == [1]:
            notes.append(
                "One seed each: intervals and tests are over images only. How much another seed "
                "would change is not known; take three or more to compare methods."
            )
        elif len(few) > 1:
            counts = ", ".join(f"{case.name} {len(case.runs)}" for case in self.cases)
            notes.append(f"The cases have different numbers of seeds: {counts}.")
        hidden = len(self.pairs) - len(self.verdicts())
        if hidden:
            notes.append(f"{hidden} more comparisons among the others are in compare.json.")
        runs = [run for case in self.cases for run in case.runs]
        looks = [sum(look.split == self.split for look in run.looks()) for run in runs]
        if max(looks) > 1:
            notes.append(
                f"Some of the runs were scored on '{self.split}' up to {max(looks)} times: what "
                f"was chosen in between may fit these images by chance."
            )
        for key, what in (
            ("commit", "commits"),
            ("device", "devices"),
            ("torch", "torch versions"),
        ):
            said = {str(run.info.get(key)) for run in runs}
            if len(said) > 1:
                notes.append(f"The runs are of different {what}: {first_few(sorted(said), 4)}.")
        return notes

    def table(self) -> list[tuple[str, ...]]:
        """Rows to print: a header, then one per case, the best first."""
        head = ("case", self.title, "95 % interval", "by seed", "minutes", "parameters")
        rows: list[tuple[str, ...]] = [head]
        for case in self.cases:
            mean = self.mean(case)
            seeds = " ".join(number(getattr(scores, self.score)) for scores in case.scores)
            known = [seconds for seconds in case.seconds if seconds is not None]
            minutes = f"{sum(known) / len(known) / 60:.1f}" if known else "n/a"
            size = "n/a" if case.parameters is None else f"{case.parameters:,}"
            found = number(float(mean.value)), span(float(mean.low), float(mean.high))
            rows.append((case.name, *found, seeds, minutes, size))
        return rows

    def score_table(self) -> list[tuple[str, ...]]:
        """Rows to print: a header, then every known score of one case each, mean over seeds."""
        means = {
            title: [number(float(self.mean(case, score).value)) for case in self.cases]
            for score, title in self.kind.titles.items()
        }
        known = {title: column for title, column in means.items() if set(column) != {"n/a"}}
        names = [case.name for case in self.cases]
        return [("case", *known), *zip(names, *known.values(), strict=True)]

    def class_table(self) -> list[tuple[str, ...]]:
        """Rows to print: a header of cases, then the IoU, or accuracy, of one class each."""
        means = [self.class_means(case) for case in self.cases]
        rows: list[tuple[str, ...]] = [(self.part_of, *(case.name for case in self.cases))]
        for k, name in enumerate(self.parts):
            rows.append((name, *(number(float(mean.value[k])) for mean in means)))
        return rows

    def to_markdown(self) -> str:
        """The tables and verdicts, to be put into a report."""
        seeds = sorted({len(case.runs) for case in self.cases})
        lines = [
            *_markdown(self.table(), left=1),
            "",
            f"{self.title[0].upper()}{self.title[1:]} on {count(self.images, 'image')} of "
            f"'{self.split}', mean over {' or '.join(map(str, seeds))} "
            f"{'seed' if seeds == [1] else 'seeds'}; 95 % intervals over images"
            f"{'' if seeds == [1] else ' and seeds'}.",
            "",
            *(f"- {line}" for line in self.verdicts()),
            *(f"- {line}" for line in self.notes()),
            "",
            *_markdown(self.score_table(), left=1),
            "",
            *_markdown(self.class_table(), left=1),
        ]
        return "\n".join(lines) + "\n"

    def to_json(self) -> dict[str, Any]:
        """Everything, as JSON types; what is undefined is null."""
        return {
            "name": self.name,
            "split": self.split,
            "score": self.score,
            "images": self.images,
            "titles": dict(self.kind.titles),
            "lower_is_better": [name for name in self.kind.titles if name in LOWER_IS_BETTER],
            "counted": self.kind.counted,
            "part": self.kind.part,
            "part_title": self.kind.part_title,
            "part_of": self.part_of,
            "classes": list(self.parts),
            "colors": self._colors(),
            "baseline": self.baseline,
            "headline": self.headline(),
            "cases": [self._case_json(case) for case in self.cases],
            "pairs": [self._pair_json(pair) for pair in self.pairs],
            "notes": self.notes(),
        }

    def _colors(self) -> list[str]:
        """Of the classes, as `red,green,blue`; empty where they have none."""
        if self.kind is LABELS:
            return [""] * len(self.parts)
        told = self.cases[0].runs[0].info.get("colors")
        fits = isinstance(told, list) and len(told) == len(self.parts)
        colors = told if fits else palette(len(self.parts))
        return [",".join(str(int(part)) for part in color) for color in colors or ()]

    def _case_json(self, case: Case) -> dict[str, Any]:
        by_class = self.class_means(case)
        return {
            "case": case.name,
            "settings": list(case.settings),
            "parameters": case.parameters,
            "seeds": list(case.seeds),
            "runs": [str(run.path) for run in case.runs],
            "seconds": list(case.seconds),
            "by_seed": [_null(getattr(scores, self.score)) for scores in case.scores],
            **{name: _ends(self.mean(case, name)) for name in self.kind.titles},
            self.kind.part: {name: _ends(by_class, k) for k, name in enumerate(self.parts)},
        }

    def _pair_json(self, pair: Pair) -> dict[str, Any]:
        return {
            "a": pair.a.name,
            "b": pair.b.name,
            "difference": _ends(pair.found),
            "p": _null(float(pair.found.p)),
            "p_corrected": _null(pair.p),
            "better": pair.a.name if pair.differ else None,
            "verdict": self.verdict(pair),
            self.kind.part: {name: _ends(pair.classes, k) for k, name in enumerate(self.parts)},
        }

    def _repr_html_(self) -> str:
        from html import escape

        head, *rows = [[escape(cell) for cell in row] for row in self.table()]
        lines = [f"<tr>{''.join(f'<th>{cell}</th>' for cell in head)}</tr>"]
        lines += [f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows]
        told = "".join(f"<li>{escape(line)}</li>" for line in [*self.verdicts(), *self.notes()])
        return f"<p>{escape(self.headline())}</p><table>{''.join(lines)}</table><ul>{told}</ul>"


def _unequal(pair: Pair) -> str:
    a, b = len(pair.a.runs), len(pair.b.runs)
    return f"{count(a, 'seed')} of {_quoted(pair.a.name)} and {b} of {_quoted(pair.b.name)}"


def _chance(p: float) -> str:
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}" if p < 0.1 else f"p = {p:.2f}"


def _within(mean: Estimate, score: str) -> Estimate:
    """A score's interval ends at 0 and 1; a log loss has no upper end."""
    low = np.maximum(mean.low, 0.0)
    high = mean.high if score == "log_loss" else np.minimum(mean.high, 1.0)
    return replace(mean, low=np.asarray(low), high=np.asarray(high))


def _quoted(name: str) -> str:
    """A name that holds a comma would fall apart in a sentence."""
    return f"'{name}'" if "," in name else name


def _null(value: float) -> float | None:
    return None if math.isnan(value) else float(value)


def _ends(found: Estimate, k: int | None = None) -> dict[str, float | None]:
    def at(values: Any) -> float | None:
        return _null(float(values if k is None else values[k]))

    return {"value": at(found.value), "low": at(found.low), "high": at(found.high)}


def _markdown(rows: Sequence[Sequence[str]], *, left: int) -> list[str]:
    head, *body = [[cell.replace("|", "\\|") for cell in row] for row in rows]
    rule = [":--" if place < left else "--:" for place in range(len(head))]
    return [f"| {' | '.join(row)} |" for row in (head, rule, *body)]
