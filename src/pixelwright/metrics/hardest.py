"""Which classes and images score lowest, and why, in sentences made of counts.

for hard in hardest_classes(scores, train):
    hard.name, hard.score, hard.summary        # "pole", 0.31, "48 % of its pixels are missed; ..."
    [reason.text for reason in hard.reasons]   # "It is thin: about 3 px wide on average, ..."

A reason is given where a measured quantity passes a limit that stands beside its rule. The rules
say what goes together with the errors; what causes them only another training can show.
"""

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Int64

from pixelwright.metrics.boundary import NEAR
from pixelwright.metrics.confusion import Margins
from pixelwright.metrics.details import Details
from pixelwright.metrics.objects import SMALL, across
from pixelwright.metrics.scores import Scores

Cause = Literal["confusion", "rare", "small", "thin", "boundary", "areas"]


@dataclass(frozen=True, slots=True)
class Reason:
    """One thing that goes together with a class's errors, in a sentence with its numbers."""

    cause: Cause
    text: str


@dataclass(frozen=True, slots=True)
class HardClass:
    """A class, its IoU, what share of it is wrong, and why."""

    name: str
    score: float
    summary: str
    reasons: tuple[Reason, ...]

    def __str__(self) -> str:
        return " ".join([self.summary, *(reason.text for reason in self.reasons)])


@dataclass(frozen=True, slots=True)
class HardImage:
    """An image, its mean IoU, and what that loses it, one sentence each."""

    key: str
    score: float
    why: tuple[str, ...]


def hardest_classes(
    scores: Scores, train: Scores | None = None, count: int | None = None
) -> list[HardClass]:
    """The classes that score lowest, the lowest first.

    Args:
        scores: What to explain.
        train: Of training images: how rare a class was there. Else it is told of `scores`.
        count: At most so many; None is all that have a score.
    """
    iou = scores.total.iou()
    order = [int(k) for k in np.argsort(iou, kind="stable") if not math.isnan(iou[k])]
    return [
        HardClass(
            scores.names[k],
            float(iou[k]),
            _summary(scores.names[k], Margins.of(scores.total.counts), k),
            tuple(_reasons(scores, train, k)),
        )
        for k in order[:count]
    ]


def hardest_images(scores: Scores, train: Scores | None = None, count: int = 5) -> list[HardImage]:
    """The images that score lowest, the lowest first; see `hardest_classes`."""
    place = {key: number for number, key in enumerate(scores.keys)}
    return [
        HardImage(key, score, tuple(why_image(scores, place[key], train)))
        for key, score in scores.hardest(count)
    ]


def described(scores: Scores, train: Scores | None = None) -> dict[str, Any]:
    """`Scores.to_json` with the hardest classes and images, and why."""
    return {
        **scores.to_json(),
        "hardest_classes": [
            {
                "class": hard.name,
                "iou": hard.score,
                "summary": hard.summary,
                "why": [{"cause": r.cause, "text": r.text} for r in hard.reasons],
            }
            for hard in hardest_classes(scores, train)
        ],
        "hardest_images": [
            {"key": hard.key, "mean_iou": hard.score, "why": list(hard.why)}
            for hard in hardest_images(scores, train)
        ],
    }


def _summary(name: str, margins: Margins, k: int) -> str:
    hit, truth, predicted = (int(part[k]) for part in margins)
    if not truth:
        return f"It is never true here, but predicted on {predicted:,} pixels."
    if not predicted:
        return f"It is never predicted: all of its {truth:,} pixels are missed."
    missed, false = (truth - hit) / truth, (predicted - hit) / predicted
    return (
        f"{_percent(missed)} of its pixels are missed; {_percent(false)} of what is called {name} "
        f"is something else."
    )


def _reasons(scores: Scores, train: Scores | None, k: int) -> list[Reason]:
    counts = scores.total.counts
    reasons = _confusion(scores.names, counts, k)
    if counts[k].sum():
        reasons += _rarity(scores, train, k)
        if scores.details:
            reasons += _size(scores.details, k)
            reasons += _shape(scores.details, Margins.of(counts), k)
    return reasons


_FLOW, _MAIN_FLOW = 0.05, 0.3
"""A confusion is told from this share of the class on, and of the class's errors of its kind."""


def _confusion(names: tuple[str, ...], counts: Int64[np.ndarray, "k k"], k: int) -> list[Reason]:
    """The class that most of it is taken for, and the one that is most taken for it."""
    if len(names) == 2:
        return []  # the summary says it: there is only one other
    partly = ", which is {part} of all that is missed" if counts[k, k] else ""
    reasons = []
    for line, text in (
        (counts[k], f"{{share}} of it is taken for {{other}}{partly}."),
        (counts[:, k], "{share} of what is called {name} is {other}."),
    ):
        wrong = line * (np.arange(len(names)) != k)
        most = int(wrong.argmax())
        if wrong[most] >= max(_FLOW * line.sum(), _MAIN_FLOW * wrong.sum(), 1):
            said = text.format(
                share=_percent(wrong[most] / line.sum()),
                part=_percent(wrong[most] / wrong.sum()),
                other=names[most],
                name=names[k],
            )
            reasons.append(Reason("confusion", said))
    return reasons


_RARE_SHARE, _RARE_IMAGES = 0.2, 0.1
"""A class is rare below this part of an even share of the pixels, or in fewer of the images."""


def _rarity(scores: Scores, train: Scores | None, k: int) -> list[Reason]:
    known, where = (train, "training ") if _tells(train, scores) else (scores, "")
    assert known is not None
    share, images = _frequency(known, k)
    if share >= _RARE_SHARE / len(scores.names) and images >= _RARE_IMAGES * len(known.keys):
        return []
    text = (
        f"It is rare: {_percent(share)} of the {where}pixels, in {images:,} of "
        f"{len(known.keys):,} {where}images."
    )
    return [Reason("rare", text)]


_GAP, _SOME = 0.15, 0.1
"""Small objects are told apart where their IoU is lower by this, and they are this share of it."""


def _size(details: Details, k: int) -> list[Reason]:
    _, truth, hit, false = details.sizes[k]
    small, large = (
        float(hit[part].sum() / max(truth[part].sum() + false[part].sum(), 1))
        for part in (slice(SMALL), slice(SMALL, None))
    )
    share = truth[:SMALL].sum() / truth.sum()
    gap = share < 1 and large - small >= _GAP
    apart = f"have IoU {small:.2f}, the others {large:.2f}."
    limit = f"those below {round(2 ** (SMALL / 2))} px"
    if share >= 0.5:
        text = f"Its objects are small: half of its pixels lie in ones below {across(truth):.0f} px"
        return [Reason("small", f"{text} across; {limit} {apart}" if gap else f"{text} across.")]
    if share >= _SOME and gap:
        text = f"Its small objects are hard: {limit} across ({_percent(share)} of its pixels)"
        return [Reason("small", f"{text} {apart}")]
    return []


_THIN = 2 * NEAR
"""Narrower than this in pixels, a class lies near its boundary everywhere."""
_OUTLINE, _AREAS, _BETTER = 0.5, 0.25, 0.1
"""Errors are those of the outline from this share on, where IoU is better by so much inside; below
the second share they are those of whole areas."""


def _shape(details: Details, total: Margins, k: int) -> list[Reason]:
    near = Margins(*(part[[k]] for part in details.near_margins))
    every = Margins(*(part[[k]] for part in total))
    length = int(details.outlines[:, k].sum())
    # A strip of width w and length l has w * l pixels and an outline of 2 * l.
    width = 2 * every.truth[0] / length if length else math.inf
    if width < _THIN:
        inside = _percent(near.truth[0] / every.truth[0])
        text = f"It is thin: about {width:.1f} px wide on average, and {inside} of it lies within "
        return [Reason("thin", f"{text}{NEAR} px of a boundary.")]
    errors, close = (int(m.truth[0] + m.predicted[0] - 2 * m.hit[0]) for m in (every, near))
    if not errors:
        return []
    share = close / errors
    far = Margins(*(a - b for a, b in zip(every, near, strict=True))).iou()[0]
    where = f"{_percent(share)} of its errors lie within {NEAR} px of a true boundary"
    if share >= _OUTLINE and far - every.iou()[0] >= _BETTER:
        text = f"Its outline is wrong more than its inside: {where}; farther away its IoU is "
        return [Reason("boundary", f"{text}{far:.2f}.")]
    if share <= _AREAS:
        return [Reason("areas", f"Whole areas are wrong rather than outlines: only {where}.")]
    return []


_MOST_COSTLY, _ENOUGH = 3, 0.6
"""So many classes at most are named in an image, or those that cost this share of what is lost."""


def why_image(scores: Scores, number: int, train: Scores | None = None) -> list[str]:
    """What an image's mean IoU loses, and to which classes; sentences, the costliest class first.

    Args:
        scores: Of the split.
        number: Which of its images.
        train: Of training images.
    """
    counts = scores.tables[number]
    iou = Margins.of(counts).iou()
    defined = ~np.isnan(iou)
    if not defined.any() or (iou[defined] == 1).all():
        return []
    cost = np.where(defined, 1 - iou, 0) / defined.sum()
    sentences, told = [], 0.0
    named: list[int] = []
    for k in np.argsort(-cost, kind="stable").tolist()[:_MOST_COSTLY]:
        if not cost[k] or told >= _ENOUGH * cost.sum():
            break
        told += cost[k]
        named.append(k)
        of = f" of the {cost.sum():.2f} lost" if len(named) == 1 else ""
        what = _in_image(scores, counts, k, train)
        sentences.append(f"{scores.names[k]} costs {cost[k]:.2f}{of}: {what}.")
    sentences += _of_image(scores, number, named)
    return sentences


def _in_image(
    scores: Scores, counts: Int64[np.ndarray, "k k"], k: int, train: Scores | None
) -> str:
    hit, truth, predicted = (int(part[k]) for part in Margins.of(counts))
    if not truth:
        other = scores.names[int(counts[:, k].argmax())]
        return f"it is not there, but predicted on {predicted:,} pixels, most of them {other}"
    share = truth / counts.sum()
    parts = [f"{_percent(share)} of the picture" if share < 0.02 else ""]
    wrong = counts[k] * (np.arange(len(counts)) != k)
    other, taken = scores.names[int(wrong.argmax())], wrong.max() / truth
    if not hit:
        parts.append(f"missed altogether, most often taken for {other}")
    elif truth - hit >= predicted - hit:
        missed = _percent((truth - hit) / truth)
        parts.append(f"{missed} of it is missed, most often for {other} ({_percent(taken)})")
    else:
        false = counts[:, k] * (np.arange(len(counts)) != k)
        source = scores.names[int(false.argmax())]
        wrongly, mostly = (predicted - hit) / predicted, _percent(false.max() / predicted)
        parts.append(
            f"{_percent(wrongly)} of what is called so is something else, most often {source} "
            f"({mostly})"
        )
    if _tells(train, scores):
        assert train is not None
        in_training, _ = _frequency(train, k)
        if in_training < _RARE_SHARE / len(counts):
            parts.append(f"rare in training ({_percent(in_training)} of the pixels)")
    return ", ".join(filter(None, parts))


def _of_image(scores: Scores, number: int, named: list[int]) -> list[str]:
    """What the image as a whole adds: that little of it is wrong, or that outlines are."""
    counts = scores.tables[number]
    margins = Margins.of(counts)
    right, every = int(margins.hit.sum()), int(counts.sum())
    sentences = []
    share = margins.truth[named].sum() / every
    if share < 0.05 and right / every >= scores.pixel_accuracy:
        sentences.append(
            f"{_percent(right / every)} of its pixels are right: the mean is low for classes that "
            f"fill {_percent(share)} of it."
        )
    if scores.details and every > right:
        near = scores.details.near[number]
        close = int(near[1].sum() - near[0].sum()) / (every - right)
        if close >= _OUTLINE:
            sentences.append(
                f"{_percent(close)} of its wrong pixels lie within {NEAR} px of a true boundary."
            )
    return sentences


def _tells(train: Scores | None, scores: Scores) -> bool:
    """Whether training images are known, and are others than those that are explained."""
    return (
        train is not None
        and train.names == scores.names
        and train.split != scores.split
        and bool(train.tables.any())
    )


def _frequency(scores: Scores, k: int) -> tuple[float, int]:
    """A class's share of the true pixels, and how many images have it."""
    per_image = scores.tables[:, k].sum(1)
    return float(per_image.sum() / scores.tables.sum()), int((per_image > 0).sum())


def _percent(share: float) -> str:
    """`0.04 %`, `3.1 %`, `48 %`, `99.8 %`: the digits that count; all and nothing are exact."""
    value = 100 * float(share)
    if 99 <= value < 100:
        return f"{min(value, 99.9):.1f} %"
    digits = 0 if value >= 10 or value == 0 else 1 if value >= 1 else 2
    return f"{value:.{digits}f} %"
