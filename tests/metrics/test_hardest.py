"""Each reason is given where its cause was built in, and not where another was."""

import json

import numpy as np
import pytest

from pixelwright.metrics.confusion import Confusion
from pixelwright.metrics.details import Details
from pixelwright.metrics.hardest import (
    HardClass,
    described,
    hardest_classes,
    hardest_images,
    why_image,
)
from pixelwright.metrics.scores import Scores

NAMES = ("ground", "thing", "stuff")
Maps = tuple[np.ndarray, np.ndarray]


def field(*boxes: tuple[int, int, int, int, int]) -> np.ndarray:
    """Ground of 80x120, with boxes of a class: label, top, left, height, width."""
    labels = np.zeros((80, 120), np.int16)
    for label, top, left, height, width in boxes:
        labels[top : top + height, left : left + width] = label
    return labels


def scored(*maps: Maps, split: str = "val", names: tuple[str, ...] = NAMES) -> Scores:
    """Predictions and truths, scored."""
    size = len(names)
    sure = np.ones((80, 120), np.float32)
    tables = [(f"image {i}", Confusion.of(p, t, size)) for i, (p, t) in enumerate(maps)]
    details = Details.joined([Details.of(p, t, sure, size) for p, t in maps], size)
    return Scores.of_images(names, tables, split=split, details=details)


def why(name: str, *maps: Maps, train: Scores | None = None) -> tuple[HardClass, set[str]]:
    found = {hard.name: hard for hard in hardest_classes(scored(*maps), train)}
    return found[name], {reason.cause for reason in found[name].reasons}


HALF_THING = (field((1, 20, 20, 40, 50)), field((1, 20, 20, 40, 60)))


def test_a_class_that_is_taken_for_another_names_it_with_its_share() -> None:
    # Of 40x60 pixels of thing, 40x30 are called stuff, of which there is as much elsewhere.
    truth = field((1, 20, 10, 40, 60), (2, 20, 80, 40, 30))
    prediction = field((1, 20, 10, 40, 30), (2, 20, 40, 40, 30), (2, 20, 80, 40, 30))
    thing, causes = why("thing", (prediction, truth))
    assert "confusion" in causes
    assert thing.score == 0.5
    assert thing.summary == (
        "50 % of its pixels are missed; 0 % of what is called thing is something else."
    )
    assert "50 % of it is taken for stuff, which is 100 % of all that is missed." in str(thing)
    stuff, _ = why("stuff", (prediction, truth))
    assert "50 % of what is called stuff is thing." in str(stuff)


def test_a_thin_class_is_told_with_its_width() -> None:
    lines = [(1, 5, left, 70, 3) for left in range(5, 115, 20)]
    shifted = [(1, 5, left + 1, 70, 3) for left in range(5, 115, 20)]
    thin, causes = why("thing", (field(*shifted), field(*lines)))
    # Three wide and seventy long: 2 * 210 / 146 = 2.9 on average.
    assert "about 2.9 px wide on average, and 100 % of it lies within 3 px" in str(thin)
    assert "thin" in causes
    assert "thin" not in why("ground", (field(*shifted), field(*lines)))[1]


def test_small_objects_are_told_with_their_size_and_score() -> None:
    dots = [(1, top, left, 12, 12) for top in (5, 40) for left in (5, 30, 55)]
    large = (1, 20, 75, 36, 36)
    found, causes = why("thing", (field(large), field(*dots, large)))
    assert "small" in causes
    assert "below 32 px across (40 % of its pixels) have IoU 0.00, the others 1.00." in str(found)
    alone, causes = why("thing", (field(*dots[:3]), field(*dots)))
    assert "small" in causes
    assert "half of its pixels lie in ones below" in str(alone)
    assert "small" not in why("thing", HALF_THING)[1]


def test_a_rare_class_is_told_with_its_share_of_the_training_pixels() -> None:
    rare = field((1, 0, 0, 4, 12))
    train = scored(*[(rare, rare)] + [(field(), field())] * 9, split="train")
    found, causes = why("thing", HALF_THING, train=train)
    assert "rare" in causes
    # 48 of 10 * 9600 pixels.
    assert "0.05 % of the training pixels, in 1 of 10 training images" in str(found)
    assert "rare" not in why("thing", HALF_THING)[1]
    # The training images explain another split, not themselves.
    assert "training" not in str(hardest_classes(train, train)[0])


def test_a_wrong_outline_and_a_wrong_area_are_told_apart() -> None:
    # Two pixels too wide on every side: 24 * 24 of 28 * 28 pixels, and right away from there.
    outline, causes = why("thing", (field((1, 18, 18, 28, 28)), field((1, 20, 20, 24, 24))))
    assert causes >= {"boundary"}
    assert "100 % of its errors lie within 3 px of a true boundary" in str(outline)
    assert "farther away its IoU is 1.00" in str(outline)
    area, causes = why("thing", (field((1, 20, 20, 40, 10)), field((1, 20, 20, 40, 60))))
    assert "areas" in causes
    assert "boundary" not in causes
    # Of 40x50 missed pixels all but 34x47 lie within 3 of an outline: 402 of 2000.
    assert "only 20 % of its errors" in str(area)


def test_a_class_that_is_never_predicted_and_one_that_is_never_true_say_so() -> None:
    unseen, _ = why("thing", (field(), field((1, 20, 20, 40, 60))))
    assert unseen.summary == "It is never predicted: all of its 2,400 pixels are missed."
    absent, _ = why("thing", (field((1, 20, 20, 40, 60)), field()))
    assert absent.summary == "It is never true here, but predicted on 2,400 pixels."
    assert absent.score == 0


def test_the_lowest_come_first_and_a_class_that_nowhere_occurs_not_at_all() -> None:
    assert [hard.name for hard in hardest_classes(scored(HALF_THING))] == ["thing", "ground"]
    assert [hard.name for hard in hardest_classes(scored(HALF_THING), count=1)] == ["thing"]


def test_an_image_names_the_classes_that_cost_most() -> None:
    # Ground 0.98, thing 0 and stuff 0 of three classes: mean (0.98 + 0 + 0) / 3.
    truth = field((1, 20, 20, 6, 6))
    prediction = field((2, 60, 60, 10, 10))
    [hard] = hardest_images(scored((prediction, truth)))
    assert hard.key == "image 0"
    assert hard.why[0] == (
        "thing costs 0.33 of the 0.67 lost: 0.38 % of the picture, missed altogether, most often "
        "taken for ground."
    )
    assert hard.why[1] == (
        "stuff costs 0.33: it is not there, but predicted on 100 pixels, most of them ground."
    )
    assert len(hard.why) == 3
    assert hard.why[2].startswith("99 % of its pixels are right: the mean is low for classes")


def test_an_image_tells_how_much_of_a_class_is_missed_or_false() -> None:
    truth, part = field((1, 20, 20, 20, 40), (2, 50, 20, 20, 40)), field((1, 20, 20, 20, 10))
    missed = why_image(scored((part, truth)), 0)
    assert any("75 % of it is missed, most often for ground (75 %)." in line for line in missed)
    [false] = [line for line in why_image(scored((truth, part)), 0) if line.startswith("thing")]
    assert "75 % of what is called so is something else, most often ground (75 %)" in false


def test_an_image_whose_outlines_are_wrong_says_so_and_a_right_one_nothing() -> None:
    shifted = (field((1, 20, 20, 30, 30)), field((1, 20, 22, 30, 30)))
    right = (field((1, 20, 20, 30, 30)),) * 2
    both = scored(shifted, right)
    assert any("within 3 px of a true boundary" in line for line in why_image(both, 0))
    assert why_image(both, 1) == []


def test_what_was_found_is_in_json_with_its_cause() -> None:
    table = described(scored(HALF_THING))
    json.dumps(table, allow_nan=False)
    first = table["hardest_classes"][0]
    assert first["class"] == "thing"
    assert {"cause", "text"} == set(first["why"][0])
    assert table["hardest_images"][0]["key"] == "image 0"
    assert Scores.from_json(table).to_json() == scored(HALF_THING).to_json()


@pytest.mark.parametrize("names", [("a", "b"), NAMES])
def test_scores_without_details_still_have_reasons(names: tuple[str, ...]) -> None:
    size = len(names)
    counts = np.full((size, size), 10) + 50 * np.eye(size, dtype=np.int64)
    bare = Scores.of_images(names, [("x", Confusion(counts)), ("y", Confusion(counts))])
    assert all(hard.summary for hard in hardest_classes(bare))
    assert hardest_images(bare)[0].why
    empty = Scores.of_images(names, [])
    assert hardest_classes(empty) == []
    assert hardest_images(empty) == []
