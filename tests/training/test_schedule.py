import pytest

from pixelwright.registry import Spec
from pixelwright.training.schedule import schedules


def rate(text: str, *points: float) -> list[float]:
    schedule = schedules.build(Spec.parse(text))
    return [schedule(p) for p in points]


def test_warmup_cosine_rises_then_falls_to_its_floor() -> None:
    # Half way through the warm-up the rate is a half; half way along the cosine it is the mean of
    # top and floor.
    values = rate("warmup-cosine:warmup=0.2,floor=0.1", 0.0, 0.1, 0.2, 0.6, 1.0)
    assert values == pytest.approx([0.01, 0.5, 1.0, 0.55, 0.1])


def test_step_falls_at_its_points() -> None:
    assert rate("step", 0, 0.49, 0.5, 0.75) == pytest.approx([1, 1, 0.1, 0.01])


def test_constant_stays() -> None:
    assert rate("constant", 0, 0.99) == [1, 1]


@pytest.mark.parametrize("name", list(schedules))
def test_every_schedule_is_a_factor_in_the_unit_range(name: str) -> None:
    schedule = schedules.build(Spec(name))
    assert all(0 <= schedule(i / 100) <= 1 for i in range(100))


def test_plateau_falls_after_its_patience_and_starts_to_wait_afresh() -> None:
    plateau = schedules.build(Spec.parse("plateau:factor=0.5,patience=2"))
    levels = []
    for score in (0.1, 0.2, 0.2, 0.1, 0.3, 0.3, 0.3):
        plateau.observe(score)
        levels.append(plateau(0.5))
    assert levels == [1, 1, 1, 0.5, 0.5, 0.5, 0.25]
