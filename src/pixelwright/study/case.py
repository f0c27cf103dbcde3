"""One case of a comparison: its runs, one per seed, and what they scored.

case = Case("dice", ("loss=dice",), runs, seeds, scores)
estimate(case.trained("mean_iou"))
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Num

from pixelwright.console import count
from pixelwright.errors import DataError, first_few
from pixelwright.metrics.calibration import Calibration
from pixelwright.metrics.confusion import Margins
from pixelwright.metrics.paired import Trained
from pixelwright.metrics.scores import OF_DETAILS, TITLES, Scores
from pixelwright.recipe import Recipe
from pixelwright.run import Run

JUDGED: Mapping[str, str] = {str(name): title for name, title in TITLES.items()}
"""The scores by which cases can be judged, and their titles."""

LOWER_IS_BETTER = ("calibration_error",)


@dataclass(frozen=True, eq=False)
class Case:
    """One system: its runs, one per seed, and what they scored.

    Args:
        name: What tells it from the others.
        settings: The same as settings of the recipe.
        runs: One per seed.
        seeds: Of the runs.
        scores: Of each run on the split.
    """

    name: str
    settings: tuple[str, ...]
    runs: tuple[Run, ...]
    seeds: tuple[int, ...]
    scores: tuple[Scores, ...]

    def trained(self, score: str) -> Trained:
        """What its networks score; "iou" is that of every class."""
        counts = [_counts(scores, score) for scores in self.scores]
        return Trained.of(counts, lambda sums: _scored(sums, score), self.seeds)

    @property
    def parameters(self) -> int | None:
        """Of the network, where its run says."""
        found = self.runs[0].info.get("parameters")
        return found if isinstance(found, int) else None

    @property
    def seconds(self) -> tuple[float | None, ...]:
        """How long each seed was trained, validation included."""
        return tuple(_seconds(run) for run in self.runs)

    def typical(self, score: str) -> int:
        """The position of the run whose score is nearest to the mean over seeds."""
        values = np.array([getattr(s, score) for s in self.scores])
        return int(np.nanargmin(np.abs(values - np.nanmean(values)))) if len(values) > 1 else 0


def _counts(scores: Scores, score: str) -> Num[np.ndarray, "images 3 numbers"]:
    """What the score is made of, image by image: three counts of every class, or of every bin."""
    if score not in OF_DETAILS:
        return np.stack(Margins.of(scores.tables), axis=1)
    if scores.details is None:
        # Nothing was counted: every score of these is undefined.
        return np.zeros((len(scores.keys), 3, len(scores.names)))
    return scores.details.bins if score in LOWER_IS_BETTER else scores.details.boundaries


def _scored(sums: Num[np.ndarray, "*stack 3 numbers"], score: str) -> Float[np.ndarray, "..."]:
    parts = np.moveaxis(sums, -2, 0)
    if score in LOWER_IS_BETTER:
        return Calibration(*parts.astype(np.float64)).error()
    method = "mean_iou" if score in OF_DETAILS else score
    found: np.ndarray = getattr(Margins(*parts), method)()
    return found


def stored(run: Run, split: str) -> Scores | None:
    """The scores of a run on a split; None where it was not evaluated."""
    table = run.scores(split)
    return Scores.from_json(table) if table else None


def seed_of(run: Run) -> int:
    """Of its recipe."""
    return Recipe.read(run.recipe_file).seed


def _seconds(run: Run) -> float | None:
    """As its log says; None where it says nothing."""
    told = [s for row in run.log() if isinstance(s := row.get("seconds"), (int, float))]
    return max(told, default=None)


def check_same(found: Mapping[Any, Scores]) -> None:
    """See that all were scored on the same classes, images and masks.

    Raises:
        DataError: What differs, and between which runs.
    """
    (first, ours), *others = found.items()
    for path, theirs in others:
        both = f"{first} and {path} cannot be compared on '{ours.split}':"
        if theirs.names != ours.names:
            odd = [*(set(ours.names) ^ set(theirs.names))]
            which = first_few(sorted(odd)) if odd else "the same names in another order"
            raise DataError(f"{both} their classes differ ({which}).")
        if theirs.keys != ours.keys:
            odd = sorted(set(ours.keys) ^ set(theirs.keys))
            which = f"only one has {first_few(odd)}" if odd else "in another order"
            raise DataError(
                f"{both} one was scored on {count(len(ours.keys), 'image')}, the other on "
                f"{len(theirs.keys)}, {which}. Score both on the same with 'pixelwright evaluate'."
            )
        unlike = (theirs.tables.sum(2) != ours.tables.sum(2)).any(1)
        if unlike.any():
            odd = [key for key, differs in zip(ours.keys, unlike, strict=True) if differs]
            raise DataError(
                f"{both} the masks of {count(len(odd), 'image')} differ ({first_few(odd)}). "
                f"Score both on the same with 'pixelwright evaluate'."
            )
