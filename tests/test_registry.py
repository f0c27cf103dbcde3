from collections.abc import Callable
from pathlib import Path

import pytest

from pixelwright.errors import RecipeError
from pixelwright.registry import Registry, Spec, parse_sum

schedules = Registry(
    "schedule",
    "pixelwright.training.schedule",
    names=("constant", "plateau", "step", "warmup-cosine"),
)


def test_a_value_may_hold_commas_and_equals_signs() -> None:
    spec = Spec.parse("folders:images=a,b/c,masks=d=e,names=road,car")
    assert spec.options == {"images": "a,b/c", "masks": "d=e", "names": "road,car"}
    assert str(spec) == "folders:images=a,b/c,masks=d=e,names=road,car"


def test_a_sum_has_weights() -> None:
    terms = parse_sum("cross-entropy + 0.5*dice:smooth=1 + 1e-1*focal")
    assert [(factor, spec.name) for factor, spec in terms] == [
        (1.0, "cross-entropy"),
        (0.5, "dice"),
        (0.1, "focal"),
    ]


@pytest.mark.parametrize("text", ["unet:width", "unet:width=1,width=2", ":width=1"])
def test_unreadable_specs_are_refused(text: str) -> None:
    with pytest.raises(RecipeError, match="width"):
        Spec.parse(text)


def test_every_problem_of_a_spec_is_told_at_once() -> None:
    problems = schedules.problems(Spec.parse("warmup-cosine:warmpu=0.1,floor=2"))
    assert len(problems) == 2
    assert "Did you mean 'warmup'?" in problems[0]
    assert "less than or equal to 1" in problems[1]


def test_an_unknown_name_gets_the_nearest() -> None:
    with pytest.raises(RecipeError, match="Did you mean 'plateau'"):
        schedules.build(Spec("platoo"))


@pytest.mark.parametrize("value", ["nan", "inf", "-1", "x"])
def test_numbers_outside_their_range_are_refused(value: str) -> None:
    assert schedules.problems(Spec("warmup-cosine", {"warmup": value}))


def test_text_becomes_the_annotated_type() -> None:
    at: Callable[[float], float] = schedules.build(Spec.parse("step:at=0.25,0.5,factor=0.5"))
    assert [at(p) for p in (0.0, 0.25, 0.9)] == [1.0, 0.5, 0.25]


def test_paths_become_absolute() -> None:
    layouts = Registry("layout", "pixelwright.data.layouts")
    resolved = layouts.resolve(Spec("camvid", {"root": "data/camvid"}))
    assert resolved.options["root"] == Path.cwd() / "data/camvid"


def test_listing_a_package_imports_none_of_its_modules() -> None:
    listed = list(Registry("layout", "pixelwright.data.layouts"))
    assert {"camvid", "folders", "pair"} <= set(listed)
    assert listed == sorted(listed)
