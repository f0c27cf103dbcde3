"""One case of a comparison: its runs, one per seed, and what they scored.

case = Case("dice", ("loss=dice",), runs, seeds, scores)
estimate(case.trained("mean_iou"))
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Num

from pixelwright.console import count
from pixelwright.errors import CheckpointError, DataError, RecipeError, first_few
from pixelwright.metrics import LabelScores, Scores, read_scores
from pixelwright.metrics.calibration import Calibration
from pixelwright.metrics.confusion import Margins
from pixelwright.metrics.labels import TITLES as LABEL_TITLES
from pixelwright.metrics.paired import Trained
from pixelwright.metrics.scores import OF_DETAILS
from pixelwright.metrics.scores import TITLES as MASK_TITLES
from pixelwright.recipe import Recipe
from pixelwright.run import Run

Told = Scores | LabelScores


@dataclass(frozen=True)
class Kind:
    """What the cases of one kind of networks are judged by.

    Args:
        counted: What they are scored on.
        titles: Of the scores by which they can be judged.
        score: The one by which they are judged unless another is asked for.
        part: What is told of every class.
        part_title: The same for people.
    """

    counted: str
    titles: Mapping[str, str]
    score: str
    part: str
    part_title: str


MASKS = Kind("masks", {str(n): t for n, t in MASK_TITLES.items()}, "mean_iou", "iou", "IoU")
LABELS = Kind(
    "labels", {str(n): t for n, t in LABEL_TITLES.items()}, "top1", "accuracy", "accuracy"
)

JUDGED: Mapping[str, str] = {**MASKS.titles, **LABELS.titles}
"""The scores by which cases of either kind can be judged, and their titles."""

LOWER_IS_BETTER = ("calibration_error", "log_loss")


def kind_of(scores: Told) -> Kind:
    """Whether masks or labels were scored."""
    return LABELS if isinstance(scores, LabelScores) else MASKS


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
    scores: tuple[Told, ...]

    def trained(self, score: str) -> Trained:
        """What its networks score; `kind.part` is that of each of `parts`."""
        counts = [counted(scores, score) for scores in self.scores]
        scored = _labels_scored if self.kind is LABELS else _masks_scored
        return Trained.of(counts, lambda sums: scored(sums, score), self.seeds)

    @property
    def kind(self) -> Kind:
        return kind_of(self.scores[0])

    @property
    def by_group(self) -> bool:
        """Whether its classes are told by their superclasses."""
        first = self.scores[0]
        return isinstance(first, LabelScores) and first.by_group

    @property
    def parts(self) -> tuple[str, ...]:
        """The classes, or the superclasses where there are many classes."""
        first = self.scores[0]
        if isinstance(first, LabelScores) and first.by_group:
            return first.group_names
        return first.names

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


def counted(scores: Told, score: str) -> Num[np.ndarray, "images rows numbers"]:
    """What the score is made of, image by image.

    Of masks that are three counts of every class, or of every bin. Of labels it is what adds to the
    score, and what counts: of the image, of every class, or of every bin.
    """
    if isinstance(scores, LabelScores):
        return _labels_counted(scores, score)
    if score not in OF_DETAILS:
        return np.stack(Margins.of(scores.tables), axis=1)
    if scores.details is None:
        # Nothing was counted: every score of these is undefined.
        return np.zeros((len(scores.keys), 3, len(scores.names)))
    return scores.details.bins if score in LOWER_IS_BETTER else scores.details.boundaries


def _masks_scored(
    sums: Num[np.ndarray, "*stack 3 numbers"], score: str
) -> Float[np.ndarray, "..."]:
    parts = np.moveaxis(sums, -2, 0)
    if score in LOWER_IS_BETTER:
        return Calibration(*parts.astype(np.float64)).error()
    method = "mean_iou" if score in OF_DETAILS else score
    found: np.ndarray = getattr(Margins(*parts), method)()
    return found


def _labels_counted(scores: LabelScores, score: str) -> Num[np.ndarray, "images rows numbers"]:
    if score == "calibration_error":
        return np.stack(Calibration.each(scores.likely[:, 0], scores.right), axis=1)
    if score in ("mean_class_accuracy", LABELS.part):
        of_groups = score == LABELS.part and scores.by_group
        right = scores.group_right if of_groups else scores.right
        number = scores.group_of[scores.truth] if of_groups else scores.truth
        every = len(scores.group_names) if of_groups else len(scores.names)
        # Whole numbers below 2**24 add exactly in float32, in half the memory.
        one = np.eye(every, dtype=np.float32)[number]
        return np.stack([one * right[:, None], one], axis=1)
    each = {
        "top1": scores.right,
        "top5": scores.in_top5,
        "group_accuracy": scores.group_right,
        "log_loss": scores.losses,
    }[score].astype(np.float64)
    return np.stack([each, np.ones(len(each))], axis=1)[..., None]


def _labels_scored(
    sums: Num[np.ndarray, "*stack rows numbers"], score: str
) -> Float[np.ndarray, "..."]:
    if score == "calibration_error":
        return Calibration(*np.moveaxis(sums, -2, 0)).error()
    part, whole = np.moveaxis(sums, -2, 0)
    nothing = np.full(part.shape, np.nan)
    rates = np.asarray(np.divide(part, whole, out=nothing, where=whole > 0))
    if score == LABELS.part:
        return rates
    # Classes without images are left out of the mean; without a class there is none.
    some = (whole > 0).sum(-1)
    total = np.where(whole > 0, rates, 0).sum(-1)
    empty = np.full(total.shape, np.nan)
    return np.asarray(np.divide(total, some, out=empty, where=some > 0))


def stored(run: Run, split: str) -> Told | None:
    """The scores of a run on a split; None where it was not evaluated."""
    table = run.scores(split)
    return read_scores(table) if table else None


def seed_of(run: Run) -> int:
    """Of its recipe."""
    return Recipe.read(run.recipe_file).seed


def _seconds(run: Run) -> float | None:
    """As its log says; None where it says nothing."""
    told = [s for row in run.log() if isinstance(s := row.get("seconds"), (int, float))]
    return max(told, default=None)


def check_same(found: Mapping[Any, Told]) -> None:
    """See that all were scored on the same classes, images, and masks or labels.

    Raises:
        DataError: What differs, and between which runs.
    """
    (first, ours), *others = found.items()
    for path, theirs in others:
        both = f"{first} and {path} cannot be compared on '{ours.split}':"
        if kind_of(theirs) is not kind_of(ours):
            raise DataError(
                f"{both} one was scored on {kind_of(ours).counted}, the other on "
                f"{kind_of(theirs).counted}. Compare runs of one kind."
            )
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
        unlike = _unlike(ours, theirs)
        if unlike.any():
            odd = [key for key, differs in zip(ours.keys, unlike, strict=True) if differs]
            raise DataError(
                f"{both} the {kind_of(ours).counted} of {count(len(odd), 'image')} differ "
                f"({first_few(odd)}). Score both on the same with 'pixelwright evaluate'."
            )
        if getattr(theirs, "groups", ()) != getattr(ours, "groups", ()):
            raise DataError(f"{both} their superclasses differ.")


def _unlike(ours: Told, theirs: Told) -> Bool[np.ndarray, " images"]:
    """Which images have another mask or label."""
    if isinstance(ours, LabelScores) and isinstance(theirs, LabelScores):
        return np.asarray(ours.truth != theirs.truth)
    assert isinstance(ours, Scores) and isinstance(theirs, Scores)
    return np.asarray((theirs.tables.sum(2) != ours.tables.sum(2)).any(1))


def check_score(score: str, found: Mapping[Any, Told]) -> None:
    """See that runs can be judged by a score.

    Raises:
        RecipeError: It is one of another kind of networks, or says nothing of these classes.
        CheckpointError: Their scores are older than it.
    """
    first = next(iter(found.values()))
    kind = kind_of(first)
    if score not in kind.titles:
        raise RecipeError(
            f"'{score}' is no score of these runs, which were scored on {kind.counted}. Take one "
            f"of {', '.join(kind.titles)}."
        )
    if isinstance(first, LabelScores) and score not in first.known:
        why = "have no superclasses" if score == "group_accuracy" else "are five or fewer"
        raise RecipeError(f"'{score}' says nothing of these runs: their classes {why}.")
    old = [p for p, s in found.items() if isinstance(s, Scores) and s.details is None]
    if old and score in OF_DETAILS and kind is MASKS:
        raise CheckpointError(
            f"The scores of {first_few(old)} hold no {JUDGED[score]}: they are older than that. "
            f"Make them again with 'pixelwright evaluate'."
        )
