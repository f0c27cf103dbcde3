"""Classes, probabilities and uncertainty of logits, against values worked out by hand."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from pixelwright.inference.answers import MOST_UNSURE, answer

EXTRAS = ("probabilities", "entropy", "disagreement")


def logits(*shares: float) -> Tensor:
    """Of one pixel with these probabilities."""
    return torch.tensor(shares, dtype=torch.float64).log().reshape(-1, 1, 1)


def test_without_more_the_answer_is_the_largest_logit() -> None:
    found = answer([torch.tensor([[[1.0, 5.0]], [[3.0, 2.0]], [[2.0, 9.0]]])])
    assert found.labels.tolist() == [[1, 2]]
    assert found.labels.dtype == np.uint8
    assert found.probabilities is found.entropy is found.disagreement is None


@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
@pytest.mark.parametrize("classes", [1, 2, 3, 6, 19, 256, 257])
def test_the_first_of_the_largest_logits_wins_in_any_memory_format(
    classes: int, layout: torch.memory_format
) -> None:
    drawn = torch.Generator().manual_seed(classes)
    scores = torch.randint(0, 4, (1, classes, 9, 7), generator=drawn).float()
    expected = scores[0].numpy().argmax(axis=0)
    given = scores.to(memory_format=layout)
    labels = answer([given[0]]).labels
    assert (labels == expected).all()
    assert labels.dtype == (np.uint16 if classes > 256 else np.uint8)
    assert torch.equal(given, scores)


def test_probabilities_are_parts_of_255() -> None:
    found = answer([logits(0.5, 0.3, 0.2)], ["probabilities"])
    assert found.probabilities is not None
    assert found.probabilities[:, 0, 0].tolist() == [128, 76, 51]


@pytest.mark.parametrize(
    ("shares", "entropy"),
    [
        ((1 / 3, 1 / 3, 1 / 3), 1.0),
        ((1 - 1e-12, 5e-13, 5e-13), 0.0),
        ((0.5, 0.5 - 1e-13, 1e-13), math.log(2) / math.log(3)),
    ],
)
def test_entropy_is_a_share_of_the_most_there_can_be(
    shares: tuple[float, ...], entropy: float
) -> None:
    found = answer([logits(*shares)], ["entropy"])
    assert found.entropy is not None
    assert found.entropy[0, 0] == round(entropy * MOST_UNSURE)


def test_two_that_are_sure_of_different_classes_disagree_altogether() -> None:
    sure, other = logits(1 - 1e-12, 1e-12), logits(1e-12, 1 - 1e-12)
    found = answer([sure, other], EXTRAS)
    assert found.entropy is not None and found.disagreement is not None
    assert found.entropy[0, 0] == found.disagreement[0, 0] == MOST_UNSURE


def test_two_that_are_unsure_alike_agree() -> None:
    found = answer([logits(0.5, 0.5), logits(0.5, 0.5)], EXTRAS)
    assert found.entropy is not None and found.disagreement is not None
    assert (found.entropy[0, 0], found.disagreement[0, 0]) == (MOST_UNSURE, 0)


def test_disagreement_is_what_the_mean_is_less_sure_of_than_its_members() -> None:
    def entropy(*shares: float) -> float:
        return -sum(share * math.log(share) for share in shares)

    found = answer([logits(0.9, 0.1), logits(0.4, 0.6)], EXTRAS)
    mutual = entropy(0.65, 0.35) - (entropy(0.9, 0.1) + entropy(0.4, 0.6)) / 2
    assert found.disagreement is not None and found.probabilities is not None
    assert found.disagreement[0, 0] == round(mutual / math.log(2) * MOST_UNSURE)
    assert found.probabilities[:, 0, 0].tolist() == [round(0.65 * 255), round(0.35 * 255)]


def test_probabilities_are_averaged_not_logits() -> None:
    # One is very sure; the mean of logits would follow it.
    found = answer([logits(0.999, 0.001), logits(0.4, 0.6), logits(0.02, 0.98)])
    assert found.labels.tolist() == [[1]]


def test_what_is_given_is_left_as_it_was() -> None:
    given = [torch.randn(3, 4, 5) for _ in range(2)]
    before = [one.clone() for one in given]
    answer(given, EXTRAS)
    assert all(torch.equal(one, two) for one, two in zip(given, before, strict=True))


def test_half_precision_is_averaged_in_single() -> None:
    given = [torch.randn(3, 8, 8, generator=torch.Generator().manual_seed(i)) for i in range(3)]
    half = [one.bfloat16() for one in given]
    found = answer(half, ["probabilities"])
    exact = answer([one.double() for one in half], ["probabilities"])
    assert found.probabilities is not None and exact.probabilities is not None
    assert np.abs(found.probabilities.astype(int) - exact.probabilities).max() <= 1


def test_more_than_256_classes_take_two_bytes() -> None:
    found = answer([torch.eye(300)[:, :, None]])
    assert found.labels.dtype == np.uint16
    assert found.labels[:, 0].tolist() == list(range(300))
