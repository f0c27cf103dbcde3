import pytest

from pixelwright.training.callbacks import Callback, EarlyStopping, Goal, Plateau


def test_early_stopping_waits_for_its_patience() -> None:
    stopping = EarlyStopping(2)
    said = [stopping.observe(score) for score in (0.1, 0.3, 0.2, 0.3)]
    assert said == [None, None, None, "no better score in 2 validations"]


def test_a_goal_stops_when_it_is_reached() -> None:
    goal = Goal(0.9)
    assert goal.observe(0.89) is None
    assert goal.observe(0.9) is not None


@pytest.mark.parametrize("make", [lambda: EarlyStopping(3), lambda: Plateau(0.5, 2)])
def test_a_restored_callback_goes_on_as_the_first_would(make: "type[Callback]") -> None:
    first = make()
    for score in (0.5, 0.4):
        first.observe(score)
    second = make()
    second.restore(first.state())
    later = [(first.observe(s), first.state()) for s in (0.4, 0.6, 0.1)]
    assert [(second.observe(s), second.state()) for s in (0.4, 0.6, 0.1)] == later
