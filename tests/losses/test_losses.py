"""Promises that every loss keeps, and values worked out by hand."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from pixelwright.errors import RecipeError
from pixelwright.losses import losses
from pixelwright.losses._combine import build_loss, problems
from pixelwright.losses._loss import Loss
from pixelwright.losses.cross_entropy import cross_entropy_loss
from pixelwright.losses.dice import dice_loss
from pixelwright.losses.focal import focal_loss
from pixelwright.types import IGNORE

TEXTS = [
    *losses,
    "cross-entropy:weights=median-frequency,smoothing=0.1",
    "cross-entropy:weights=0.5,2,1",
    "focal:gamma=0.5,weights=inverse-frequency",
    "cross-entropy + 0.5*dice:smooth=2",
    "cross-entropy:hardest=0.3",
    "cross-entropy:weights=0.5,2,1,smoothing=0.1,hardest=0.5",
    "tversky:gamma=1.33",
    "tversky:alpha=0,beta=1,gamma=0.75",
    "generalised-dice:power=0",
    "lovasz:per_image=true",
]
OF_SHAPES = ["boundary"]
"""Losses that look at where pixels lie, and so at images only."""
each_loss_of_pixels = pytest.mark.parametrize(
    "loss", [text for text in TEXTS if text not in OF_SHAPES], indirect=True
)


def scheme(name: str) -> np.ndarray:
    return {"median-frequency": np.array([0.5, 1.0, 3.0])}.get(name, np.array([1.0, 2.0, 0.0]))


@pytest.fixture(params=TEXTS)
def loss(request: pytest.FixtureRequest) -> Loss:
    return build_loss(request.param, 3, scheme)


def drawn(*pixels: int, n: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(1)
    target = torch.randint(0, 3, (n, *pixels))
    target.reshape(-1)[0] = IGNORE
    return torch.randn(n, 3, *pixels, requires_grad=True), target


def test_f29_a_batch_without_counted_pixels_gives_exactly_zero_and_no_gradient(loss: Loss) -> None:
    logits, target = drawn(4, 5)
    value = loss(logits, torch.full_like(target, IGNORE))
    value.backward()
    assert value.item() == 0
    assert logits.grad is not None
    assert logits.grad.eq(0).all()


@pytest.mark.parametrize("loss", [t for t in TEXTS if "hardest" not in t], indirect=True)
def test_ignored_pixels_pass_no_gradient_and_all_others_do(loss: Loss) -> None:
    logits, _ = drawn(4, 5)
    target = torch.tensor([0, 1]).repeat(20).reshape(2, 4, 5)
    target[:, :2] = IGNORE
    loss(logits, target).backward()
    assert logits.grad is not None
    assert logits.grad[:, :, :2].eq(0).all()
    assert logits.grad[:, :, 2:].ne(0).all()


def test_ignored_pixels_change_nothing(loss: Loss) -> None:
    logits, target = drawn(4, 5)
    target[0, :2] = IGNORE
    other = logits.detach().clone()
    other[0, :, :2] = 7
    torch.testing.assert_close(loss(other, target), loss(logits, target))


def test_the_right_answer_costs_less_than_a_wrong_one(loss: Loss) -> None:
    _, target = drawn(4, 5)
    right = 3.0 * F.one_hot(target.clamp(min=0), 3).movedim(-1, 1)
    assert loss(right, target) < loss(torch.zeros_like(right), target)
    assert loss(torch.zeros_like(right), target) < loss(right.roll(1, dims=1), target)


@pytest.mark.parametrize(
    "loss", [t for t in TEXTS if t not in OF_SHAPES and "per_image" not in t], indirect=True
)
def test_images_without_pixels_are_classification(loss: Loss) -> None:
    logits, target = drawn(n=12)
    one_image = loss(logits.T.reshape(1, 3, 3, 4), target.reshape(1, 3, 4))
    torch.testing.assert_close(loss(logits, target), one_image)


@each_loss_of_pixels
def test_the_order_of_pixels_does_not_matter(loss: Loss) -> None:
    logits, target = drawn(30)
    order = torch.randperm(30)
    torch.testing.assert_close(loss(logits[..., order], target[..., order]), loss(logits, target))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_extreme_logits_stay_finite(loss: Loss, dtype: torch.dtype) -> None:
    logits, target = drawn(4, 5)
    extreme = (logits.detach().sign() * 1e4).to(dtype).requires_grad_()
    value = loss(extreme, target)
    value.backward()
    assert extreme.grad is not None
    assert value.isfinite()
    assert extreme.grad.isfinite().all()


def test_mixed_precision_logits_are_summed_in_float32(loss: Loss) -> None:
    logits, target = drawn(64, 64)
    narrow = logits.detach().bfloat16()
    value = loss(narrow, target)
    assert value.dtype == torch.float32
    torch.testing.assert_close(value, loss(narrow.float(), target))


def test_memory_format_does_not_matter(loss: Loss) -> None:
    logits, target = drawn(16, 16)
    channels_last = logits.detach().contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(loss(channels_last, target), loss(logits, target))


def test_the_order_of_images_does_not_matter(loss: Loss) -> None:
    logits, target = drawn(6, 5, n=4)
    order = torch.tensor([2, 0, 3, 1])
    torch.testing.assert_close(loss(logits[order], target[order]), loss(logits, target))


def test_the_numbering_of_classes_does_not_matter() -> None:
    logits, target = drawn(6, 5, n=4)
    order = torch.tensor([2, 0, 1])
    renamed = target.where(target == IGNORE, order.argsort()[target.clamp(min=0)])
    for text in [*losses, "lovasz:per_image=true", "cross-entropy:hardest=0.4"]:
        loss = build_loss(text, 3, scheme)
        torch.testing.assert_close(loss(logits[:, order], renamed), loss(logits, target))


@each_loss_of_pixels
def test_a_class_that_never_occurs_keeps_everything_finite(loss: Loss) -> None:
    logits, target = drawn(4, 5)
    value = loss(logits, torch.zeros_like(target))
    value.backward()
    assert logits.grad is not None
    assert value.isfinite()
    assert logits.grad.isfinite().all()
    assert logits.grad.any()


def test_gradients_are_those_of_the_values(loss: Loss) -> None:
    logits, target = drawn(4, 5)
    logits = logits.detach().double().requires_grad_()
    (gradient,) = torch.autograd.grad(loss(logits, target), logits)
    direction = torch.randn_like(logits)
    step = 1e-5 * direction / direction.norm()
    slope = (loss(logits + step, target) - loss(logits - step, target)).item() / 2e-5
    expected = ((gradient * direction).sum() / direction.norm()).item()
    assert slope == pytest.approx(expected, rel=2e-2, abs=1e-6)


def test_cross_entropy_of_a_hand_worked_case() -> None:
    # Two classes with odds 1:3 everywhere. The counted targets are 0, 1, 1.
    logits = torch.tensor([0.0, math.log(3)]).reshape(1, 2, 1).expand(1, 2, 4)
    target = torch.tensor([[0, 1, 1, IGNORE]])
    plain = (math.log(4) + 2 * math.log(4 / 3)) / 3
    assert cross_entropy_loss(logits, target).item() == pytest.approx(plain)
    # Class 0 counts five times: divided by 5 + 1 + 1.
    weighted = (5 * math.log(4) + 2 * math.log(4 / 3)) / 7
    weights = torch.tensor([5.0, 1.0])
    value = cross_entropy_loss(logits, target, weights=weights)
    assert value.item() == pytest.approx(weighted)


def test_label_smoothing_of_a_hand_worked_case() -> None:
    # Of the certainty 0.2 is spread over two classes: 0.9 on the target, 0.1 on the other.
    logits = torch.tensor([[0.0, math.log(3)]])
    expected = 0.9 * math.log(4 / 3) + 0.1 * math.log(4)
    value = cross_entropy_loss(logits, torch.tensor([1]), smoothing=0.2)
    assert value.item() == pytest.approx(expected)


def test_dice_of_a_hand_worked_case() -> None:
    # Certain of class 0 everywhere, right on 3 of 4 counted pixels.
    # Class 0: (2*3 + 1) / (4 + 3 + 1) = 7/8.  Class 1: (0 + 1) / (0 + 1 + 1) = 1/2.
    # Class 2 is absent from both: 1.
    logits = torch.tensor([50.0, -50.0, -50.0]).reshape(1, 3, 1).expand(1, 3, 5)
    target = torch.tensor([[0, 0, 0, 1, IGNORE]])
    assert dice_loss(logits, target).item() == pytest.approx(1 - (7 / 8 + 1 / 2 + 1) / 3)


def test_focal_of_a_hand_worked_case() -> None:
    # Target share 3/4: (1/4)**2 * log(4/3). Target share 1/4: (3/4)**2 * log(4).
    logits = torch.tensor([0.0, math.log(3)]).reshape(1, 2, 1).expand(1, 2, 2)
    target = torch.tensor([[1, 0]])
    easy, hard = math.log(4 / 3) / 16, 9 * math.log(4) / 16
    assert focal_loss(logits, target).item() == pytest.approx((easy + hard) / 2)
    weights = torch.tensor([1.0, 3.0])
    weighted = focal_loss(logits, target, weights=weights)
    assert weighted.item() == pytest.approx((3 * easy + hard) / 4)


def test_focal_without_focus_is_cross_entropy() -> None:
    logits, target = drawn(8, 8)
    weights = torch.tensor([1.0, 2.0, 0.5])
    torch.testing.assert_close(
        focal_loss(logits, target, gamma=0.0, weights=weights),
        cross_entropy_loss(logits, target, weights=weights),
    )


def test_a_sum_adds_its_weighted_terms() -> None:
    logits, target = drawn(8, 8)
    both = build_loss("2*cross-entropy + 0.5*dice", 3, scheme)
    expected = 2 * cross_entropy_loss(logits, target) + 0.5 * dice_loss(logits, target)
    torch.testing.assert_close(both(logits, target), expected)


def test_no_scheme_asks_for_no_counts() -> None:
    def refuse(name: str) -> np.ndarray:
        raise AssertionError(name)

    build_loss("cross-entropy:weights=1,2,3 + dice + focal", 3, refuse)


def test_a_sum_tells_every_problem_at_once() -> None:
    found = problems("cros-entropy + 0.5*dice:smooth=0 + focal:gama=2")
    assert len(found) == 3
    assert "cross-entropy" in found[0]
    assert "smooth=0" in found[1]
    assert "gamma" in found[2]
    assert problems("cross-entropy:weights=1,2.5,0 + focal:weights=effective-number") == []


@pytest.mark.parametrize("weights", ["often", "1,-2,3", "1,nan,3"])
def test_f37_weights_that_are_no_weights_are_refused(weights: str) -> None:
    assert len(problems(f"cross-entropy:weights={weights}")) == 1


@pytest.mark.parametrize("weights", ["1,2", "0,0,0"])
def test_f37_weights_that_do_not_fit_the_classes_are_refused(weights: str) -> None:
    with pytest.raises(RecipeError):
        build_loss(f"cross-entropy:weights={weights}", 3, scheme)
