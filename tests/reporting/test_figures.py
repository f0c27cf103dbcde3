from pathlib import Path

import pytest
from matplotlib.figure import Figure
from PIL import Image

from pixelwright.reporting.figures import (
    Look,
    draw_losses,
    loss_svg,
    loss_vs_epochs,
    score_svg,
    series,
)

ODD = ("$x^", "<b>&", "\u202e道\x1b[31m")


def rows(count: int) -> list[dict[str, object]]:
    return [
        {"kind": "start", "step": 0},
        *(
            {
                "kind": "epoch",
                "epoch": epoch,
                "train_loss": 2 / epoch,
                "val_loss": 2 / epoch + 0.1,
                "val_mean_iou": 1 - 1 / epoch,
                "best": epoch == count,
            }
            for epoch in range(1, count + 1)
        ),
    ]


@pytest.mark.parametrize("count", [0, 1, 40])
def test_a_log_of_any_length_makes_a_figure(tmp_path: Path, count: int) -> None:
    loss_vs_epochs(rows(count), tmp_path / "loss.png")
    with Image.open(tmp_path / "loss.png") as figure:
        assert figure.size[0] > 1000
    assert [path.name for path in tmp_path.iterdir()] == ["loss.png"]


@pytest.mark.parametrize(("low", "high"), [(0.05, 1.2), (0.03, 0.6), (1e-4, 2.0), (1e-7, 1.0)])
def test_losses_that_fall_far_have_numbers_beside_them(low: float, high: float) -> None:
    axes = Figure().subplots()
    draw_losses(axes, [{"epoch": 1, "train_loss": high}, {"epoch": 2, "train_loss": low}], Look())
    assert axes.get_yscale() == "log"
    axes.figure.canvas.draw()
    bottom, top = axes.get_ylim()
    shown = [
        float(label.get_text().replace("\N{MINUS SIGN}", "-"))
        for label in axes.get_yticklabels()
        if bottom <= label.get_position()[1] <= top
    ]
    assert 3 <= len(shown) <= 15
    assert shown == sorted(shown)


def test_validations_without_a_number_are_left_out_of_the_curve() -> None:
    found = [{"epoch": 1, "val_loss": None}, {"epoch": 2, "val_loss": 0.5}, {"epoch": 3}]
    assert series([*found, {"epoch": 4, "val_loss": float("nan")}], "val_loss") == ([2], [0.5])


def test_figures_of_the_page_take_its_colours_and_name_no_address() -> None:
    for svg in (loss_svg(rows(20)), score_svg(rows(20))):
        assert svg.startswith("<svg viewBox=")
        assert "var(--validation)" in svg
        assert "#0102" not in svg
        assert "http" not in svg


def test_equal_logs_give_equal_figures() -> None:
    assert loss_svg(rows(20)) == loss_svg(rows(20))


def test_the_score_of_a_classifier_is_drawn_with_its_top5() -> None:
    labels = [
        {"kind": "epoch", "epoch": e, "val_top1": 0.1 * e, "val_top5": 0.2 * e, "best": e == 3}
        for e in range(1, 5)
    ]
    svg = score_svg(labels)
    for text in ("top-1", "validation, top-5", "kept: 0.300"):
        assert text in svg
    assert "mean IoU" not in svg
    assert "top-5" not in score_svg(rows(5))
