"""Losses of regions and edges: values worked out by hand, and what they are equal to."""

import math

import numpy as np
import pytest
import torch
from scipy import ndimage

from pixelwright.errors import RecipeError
from pixelwright.losses.boundary import boundary_loss, signed_distances
from pixelwright.losses.cross_entropy import cross_entropy_loss
from pixelwright.losses.dice import dice_loss
from pixelwright.losses.generalised_dice import generalised_dice_loss
from pixelwright.losses.lovasz import BINS, lovasz_loss
from pixelwright.losses.tversky import tversky_loss
from pixelwright.types import IGNORE


def drawn(*pixels: int, n: int = 2, classes: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(2)
    target = torch.randint(-1, classes, (n, *pixels))
    return 2 * torch.randn(n, classes, *pixels, requires_grad=True), target


def certain(labels: torch.Tensor, classes: int) -> torch.Tensor:
    """Logits of a prediction without doubt."""
    return 200.0 * torch.nn.functional.one_hot(labels, classes).movedim(-1, 1).double()


def test_generalised_dice_of_a_hand_worked_case() -> None:
    # Class 0 everywhere, right on 3 of 4 counted pixels. Weights 1/9 and 1; class 2 is absent.
    # Overlap 3/9 + 0; both regions (4 + 3)/9 + (0 + 1).  1 - 2 * (1/3) / (16/9) = 5/8.
    logits = certain(torch.zeros(1, 5, dtype=torch.long), 3)
    target = torch.tensor([[0, 0, 0, 1, IGNORE]])
    assert generalised_dice_loss(logits, target).item() == pytest.approx(5 / 8)
    # Every pixel alike: 1 - 2 * 3 / (7 + 1).
    assert generalised_dice_loss(logits, target, power=0.0).item() == pytest.approx(1 / 4)


def test_tversky_of_a_hand_worked_case() -> None:
    # Class 0: 3 right, 1 claimed wrongly. Class 1: 1 missed. In halves, as Dice has it:
    # (2 * 0.3 * 1) / (6 + 0.6 + 1) and (2 * 0.7 * 1) / (0 + 1.4 + 1).
    logits = certain(torch.zeros(1, 4, dtype=torch.long), 2)
    target = torch.tensor([[0, 0, 0, 1]])
    wrong, missed = 0.6 / 7.6, 1.4 / 2.4
    assert tversky_loss(logits, target).item() == pytest.approx((wrong + missed) / 2)
    focal = tversky_loss(logits, target, gamma=4 / 3)
    assert focal.item() == pytest.approx((wrong**0.75 + missed**0.75) / 2)


def test_tversky_with_equal_prices_is_dice() -> None:
    logits, target = drawn(8, 8)
    equal = tversky_loss(logits, target, alpha=0.5, beta=0.5, smooth=3.0)
    torch.testing.assert_close(equal, dice_loss(logits, target, smooth=3.0))


def test_generalised_dice_of_equal_classes_is_dice_where_it_is_pooled() -> None:
    target = torch.arange(3).repeat(8).reshape(2, 12)
    one, other = (generalised_dice_loss(drawn(12)[0], target, power=power) for power in (2.0, 0.0))
    torch.testing.assert_close(one, other)


@pytest.mark.parametrize("per_image", [False, True])
def test_lovasz_of_a_certain_prediction_is_one_minus_the_mean_iou(per_image: bool) -> None:
    torch.manual_seed(0)
    target, labels = torch.randint(-1, 4, (3, 9, 7)), torch.randint(0, 4, (3, 9, 7))
    parts = [(target, labels)] if not per_image else list(zip(target, labels, strict=True))
    means = []
    for true, found in parts:
        counted = true != IGNORE
        ious = [
            ((true == c) & (found == c)).sum() / (((true == c) | (found == c)) & counted).sum()
            for c in range(4)
        ]
        means.append(1 - torch.stack(ious).mean().item())
    value = lovasz_loss(certain(labels, 4), target, per_image=per_image)
    assert value.item() == pytest.approx(np.mean(means), abs=1e-6)


def test_lovasz_of_a_hand_worked_case() -> None:
    # Two classes, three pixels of 0, 1, 1 with shares of class 1 of 0.4, 0.8 and 0.1.
    # Class 0, from the largest error: 0.9 (other), 0.4 (own), 0.2 (other). One minus the IoU of the
    # sets so far: 1/2, 1, 1. So 0.9/2 + 0.4/2 = 0.65.
    # Class 1: 0.9 (own), 0.4 (other), 0.2 (own): 1/2, 2/3, 1. 0.9/2 + 0.4/6 + 0.2/3 = 0.58333.
    share = torch.tensor([0.4, 0.8, 0.1])
    logits = torch.stack([(1 - share).log(), share.log()]).reshape(1, 2, 3)
    value = lovasz_loss(logits, torch.tensor([[0, 1, 1]]))
    assert value.item() == pytest.approx((0.65 + 0.45 + 0.4 / 6 + 0.2 / 3) / 2, abs=1e-6)


def sorted_lovasz(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """The paper's definition, class by class, by sorting."""
    counted = target != IGNORE
    shares, labels = logits.softmax(1).movedim(1, -1)[counted], target[counted]
    terms = []
    for label in labels.unique():
        own = (labels == label).double()
        errors, order = (own - shares[:, label]).abs().sort(descending=True)
        own = own[order]
        missed = own.sum() - own.cumsum(0)
        loss = 1 - missed / (own.sum() + (1 - own).cumsum(0))
        terms.append((errors * loss.diff(prepend=loss.new_zeros(1))).sum())
    return torch.stack(terms).mean()


def test_lovasz_is_the_sorted_one_to_a_bin() -> None:
    logits, target = drawn(40, 40)
    value, exact = lovasz_loss(logits, target), sorted_lovasz(logits, target)
    assert 0 <= exact - value < 1 / BINS
    gradient, expected = (torch.autograd.grad(v, logits)[0] for v in (value, exact))
    assert (gradient - expected).norm() < 1e-2 * expected.norm()


def test_lovasz_of_pixels_in_bins_of_their_own_is_exact() -> None:
    # 30 errors hardly ever share one of 4096 bins.
    logits, target = drawn(15)
    value, exact = lovasz_loss(logits, target), sorted_lovasz(logits, target)
    torch.testing.assert_close(value, exact.float())
    gradient, expected = (torch.autograd.grad(v, logits)[0] for v in (value, exact))
    torch.testing.assert_close(gradient, expected, rtol=1e-4, atol=1e-6)


def test_signed_distances_of_a_hand_worked_case() -> None:
    # The edge lies between the columns 1 and 2; the last column is ignored and makes none.
    target = np.array([[0, 0, 1, 1, IGNORE]] * 2, np.int16)
    distances = signed_distances(target, 3)
    assert distances[0, 0].tolist() == [-1.5, -0.5, 0.5, 1.5, 0]
    assert distances[1, 0].tolist() == [1.5, 0.5, -0.5, -1.5, 0]
    assert not distances[2].any()


def test_signed_distances_are_euclidean() -> None:
    rng = np.random.default_rng(0)
    target = ndimage.zoom(rng.integers(0, 4, (6, 5)), 7, order=0).astype(np.int64)
    target[rng.random(target.shape) < 0.1] = IGNORE
    counted = target != IGNORE
    distances = signed_distances(target, 5)
    for label in range(4):
        own, rest = target == label, counted & (target != label)
        outside = ndimage.distance_transform_edt(~own) - 0.5
        inside = 0.5 - ndimage.distance_transform_edt(~rest)
        expected = np.where(own, inside, outside) * counted
        np.testing.assert_allclose(distances[label], expected, atol=1e-4)


def test_boundary_of_a_hand_worked_case() -> None:
    # Half sure everywhere: the distances of both classes cancel. All of class 1: 1.5, 0.5, -0.5,
    # -1.5 over four pixels. The right answer: -1.5, -0.5, -0.5, -1.5.
    target = torch.tensor([[[0, 0, 1, 1, IGNORE]]])
    assert boundary_loss(torch.zeros(1, 2, 1, 5), target).item() == 0
    ones = certain(torch.ones(1, 1, 5, dtype=torch.long), 2)
    assert boundary_loss(ones, target).item() == pytest.approx(0)
    right = certain(target.clamp(min=0), 2)
    assert boundary_loss(right, target).item() == pytest.approx(-1)


def test_boundary_has_nothing_to_say_of_a_mask_without_an_edge() -> None:
    logits, target = drawn(6, 6)
    assert boundary_loss(logits, target.where(target == IGNORE, 1)).item() == 0


def test_boundary_needs_a_mask() -> None:
    with pytest.raises(RecipeError, match="edges"):
        boundary_loss(*drawn())


def test_the_hardest_pixels_of_a_hand_worked_case() -> None:
    # Losses of the five counted pixels: log 4 for class 0, log 4/3 for class 1. Half of five is
    # rounded up to three: both of class 0 and one of class 1.
    logits = torch.tensor([0.0, math.log(3)]).reshape(1, 2, 1).expand(1, 2, 6)
    target = torch.tensor([[1, 0, 1, 1, 0, IGNORE]])
    value = cross_entropy_loss(logits, target, hardest=0.5)
    assert value.item() == pytest.approx((2 * math.log(4) + math.log(4 / 3)) / 3)
    # Class 1 counts nine times: 9 * 0.288 is more than 1.386. The mean is over 9 + 9 + 9.
    weighted = cross_entropy_loss(logits, target, weights=torch.tensor([1.0, 9.0]), hardest=0.5)
    assert weighted.item() == pytest.approx(math.log(4 / 3))
    # A class of weight 0 is not counted: half of the two that are left is one.
    alone = cross_entropy_loss(logits, target, weights=torch.tensor([1.0, 0.0]), hardest=0.5)
    assert alone.item() == pytest.approx(math.log(4))


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weights", [None, torch.tensor([1.0, 2.0, 0.5])])
def test_all_pixels_as_the_hardest_are_the_cross_entropy(
    smoothing: float, weights: torch.Tensor | None
) -> None:
    logits, target = drawn(8, 8)
    plain = cross_entropy_loss(logits, target, weights=weights, smoothing=smoothing)
    same = cross_entropy_loss(logits, target, weights=weights, smoothing=smoothing, hardest=1.0)
    assert torch.equal(plain, same)
    nearly = cross_entropy_loss(
        logits, target, weights=weights, smoothing=smoothing, hardest=1 - 1e-6
    )
    torch.testing.assert_close(nearly, plain)


def test_only_the_hardest_pixels_pass_a_gradient() -> None:
    logits, target = drawn(10, 10, n=1)
    cross_entropy_loss(logits, target, hardest=0.2).backward()
    logits_grad = torch.autograd.grad(cross_entropy_loss(logits, target, hardest=0.2), logits)[0]
    touched = logits_grad.abs().sum(1) > 0
    each = torch.nn.functional.cross_entropy(logits, target, ignore_index=IGNORE, reduction="none")
    kept = math.ceil(0.2 * (target != IGNORE).sum().item())
    assert touched.sum() == kept
    assert each[touched].min() > each[~touched].max()


def test_a_class_of_weight_0_counts_nowhere_with_smoothing_too() -> None:
    logits, target = drawn(8, 8)
    weights = torch.tensor([1.0, 2.0, 0.0])
    without = target.where(target != 2, IGNORE)
    torch.testing.assert_close(
        cross_entropy_loss(logits, target, weights=weights, smoothing=0.1),
        cross_entropy_loss(logits, without, weights=weights, smoothing=0.1),
    )
