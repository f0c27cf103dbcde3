import numpy as np

from pixelwright.metrics.confusion import Confusion
from pixelwright.metrics.scores import Scores
from pixelwright.reporting.fit import fit


def scores(wrong: int) -> Scores:
    tables = [[[100 - wrong - i, wrong + i], [wrong + i, 100 - wrong - i]] for i in range(4)]
    return Scores.of_images(
        ("a", "b"), [(str(i), Confusion(np.array(t))) for i, t in enumerate(tables)]
    )


def said(losses: list[float], train: int = 10, val: int = 10) -> str:
    epochs = [{"epoch": i, "val_loss": loss} for i, loss in enumerate(losses, 1)]
    return " ".join(fit(epochs, {"train": scores(train), "val": scores(val)})["sentences"])


def test_equal_scores_are_no_sign_of_over_fitting() -> None:
    assert "no sign of over-fitting" in said([1.0, 0.5, 0.4])


def test_a_gap_between_training_and_validation_is_named() -> None:
    assert "better on training than on validation" in said([1.0, 0.5, 0.4], train=5, val=20)
    assert "better on validation than on training" in said([1.0, 0.5, 0.4], train=20, val=5)


def test_a_validation_loss_that_rises_again_is_named_with_its_lowest_epoch() -> None:
    assert "lowest (0.400) at epoch 3 and ended 50 % above" in said([1.0, 0.5, 0.4, 0.5, 0.6])


def test_a_loss_that_still_falls_asks_for_a_longer_training() -> None:
    assert "still falling" in said([1.0, 0.8, 0.6, 0.5, 0.4])
    assert "levelled out" in said([1.0, 0.5, 0.401, 0.4, 0.4])


def test_parts_of_one_picture_are_said_to_be_so() -> None:
    assert "at least 20 pixels apart" in " ".join(fit([], {}, guard=20)["sentences"])


def test_nothing_measured_says_nothing() -> None:
    assert fit([], {}) == {"rows": [], "sentences": []}
