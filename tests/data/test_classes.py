from pathlib import Path

import numpy as np
import pytest

import tiny
from pixelwright import images
from pixelwright.data import class_file
from pixelwright.data.check import check
from pixelwright.data.class_file import parse_color
from pixelwright.data.classes import classes_from_masks
from pixelwright.data.index import load
from pixelwright.errors import DataError, PixelwrightWarning, RecipeError
from pixelwright.registry import Spec
from pixelwright.types import IGNORE, Index


def mask(path: Path, values: object, dtype: type = np.uint8) -> Path:
    return tiny.save(path, np.array(values, dtype))


def test_values_are_inferred_from_all_masks_together(tmp_path: Path) -> None:
    paths = [mask(tmp_path / "a.png", [[0, 1]]), mask(tmp_path / "b.png", [[0, 2]])]
    classes = classes_from_masks(paths)
    assert classes.names == ("class 0", "class 1", "class 2")
    assert classes.values == {0: 0, 1: 1, 2: 2}


def test_white_is_foreground(tmp_path: Path) -> None:
    classes = classes_from_masks([mask(tmp_path / "a.png", [[0, 255]])])
    assert classes.names == ("background", "foreground")
    assert classes.values == {0: 0, 255: 1}


def test_255_beside_0_and_1_is_ignored(tmp_path: Path) -> None:
    classes = classes_from_masks([mask(tmp_path / "a.png", [[0, 1, 255]])])
    assert classes.values == {0: 0, 1: 1, 255: IGNORE}


def test_ignored_values_are_no_classes(tmp_path: Path) -> None:
    classes = classes_from_masks([mask(tmp_path / "a.png", [[0, 1, 2, 9]])], ignore=[9])
    assert classes.values == {0: 0, 1: 1, 2: 2, 9: IGNORE}


def test_declared_classes_are_taken_at_their_word(tmp_path: Path) -> None:
    path = mask(tmp_path / "a.png", [[0, 255]])
    classes = classes_from_masks([path], ["sea", "land"])
    assert classes.values == {0: 0, 1: 1}
    with pytest.raises(DataError, match="255"):
        images.read_mask(path, classes)


def test_declared_values_say_what_each_class_is_in_the_masks(tmp_path: Path) -> None:
    path = mask(tmp_path / "a.png", [[0, 255, 7]])
    classes = classes_from_masks([path], ["sea", "land"], values=[255, 0], ignore=[7])
    assert images.read_mask(path, classes).tolist() == [[1, 0, IGNORE]]


def test_smooth_edges_are_cut_at_half_where_classes_are_declared_black_and_white(
    tmp_path: Path,
) -> None:
    path = mask(tmp_path / "a.png", [[0, 127, 128, 255]])
    classes = classes_from_masks([path], ["sea", "land"], values=[0, 255])
    assert images.read_mask(path, classes).tolist() == [[0, 0, 1, 1]]


def test_a_broken_mask_is_left_for_the_check(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"")
    paths = [tmp_path / "a.png", mask(tmp_path / "b.png", [[0, 1]])]
    assert len(classes_from_masks(paths)) == 2
    with pytest.raises(DataError, match="empty file"):
        classes_from_masks(paths[:1])


def test_f22_colour_masks_need_colours_and_are_told_theirs(tmp_path: Path) -> None:
    path = mask(tmp_path / "a.png", [[[255, 0, 0], [255, 0, 0], [0, 128, 0]]])
    with pytest.raises(DataError, match=r"colours #ff0000, #008000\. Declare which class"):
        classes_from_masks([path])
    with pytest.raises(DataError, match="colours #ff0000, #008000"):
        classes_from_masks([path], ["a", "b"])
    classes = classes_from_masks([path], ["roof", "grass"], ["#ff0000", "0 128 0"])
    assert classes.by_color
    assert images.read_mask(path, classes).tolist() == [[0, 0, 1]]


def test_a_photo_given_as_a_mask_is_told(tmp_path: Path) -> None:
    path = tiny.save(tmp_path / "a.png", tiny.scene(32, 32)[0])
    with pytest.raises(DataError, match="so it is no mask"):
        classes_from_masks([path])


@pytest.mark.parametrize(
    ("declared", "told"),
    [
        ({"names": ["a", "b"], "colors": ["red"]}, "2 names, 1 colors"),
        ({"names": ["a", "a"]}, "share one of the names: a"),
        ({"names": ["a"]}, "Only one class"),
        ({"names": ["a", "b"], "values": [0, 9], "ignore": [9]}, "both a class and ignored"),
        ({"names": ["a", "b"], "ignore": [1]}, "ignore=1 is the value of class 1 of 2"),
        ({"names": ["a", "b"], "colors": ["red", "rot"]}, "'rot' is no colour"),
    ],
)
def test_contradicting_declarations_are_refused(
    tmp_path: Path, declared: dict[str, list[object]], told: str
) -> None:
    path = mask(tmp_path / "a.png", [[0, 1]])
    with pytest.raises(RecipeError, match=told):
        classes_from_masks([path], **declared)


def test_no_values_that_make_sense_are_told(tmp_path: Path) -> None:
    path = mask(tmp_path / "a.png", [[0, 3000]], np.uint16)
    with pytest.raises(DataError, match="values="):
        classes_from_masks([path])


def test_a_class_that_never_occurs_is_warned_of(tmp_path: Path) -> None:
    with pytest.warns(PixelwrightWarning, match="never occur: 1"):
        assert len(classes_from_masks([mask(tmp_path / "a.png", [[0, 2]])])) == 3


@pytest.mark.parametrize("text", ["#ff8000", "255 128 0", " #FF8000 ", "255/128/0"])
def test_colours_are_read_as_people_write_them(text: str) -> None:
    assert parse_color(text) == (255, 128, 0)


@pytest.mark.parametrize("text", ["256 0 0", "reed", "", "1 2"])
def test_what_is_no_colour_is_refused(text: str) -> None:
    with pytest.raises(RecipeError, match="no colour"):
        parse_color(text)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("classes.txt", "# of the city\n128 128 128 sky\n0 0 255\ttall building\n"),
        ("label_colors.txt", "128 128 128\tsky\r\n0 0 255\ttall building\r\n"),
        ("class_dict.csv", "name,r,g,b\nsky,128,128,128\ntall building,0,0,255\n"),
    ],
)
def test_class_files_of_the_usual_shapes_are_read(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    declared = class_file.read(class_file.find(tmp_path) or tmp_path)
    assert declared.names == ("sky", "tall building")
    assert [parse_color(color) for color in declared.colors] == [(128, 128, 128), (0, 0, 255)]


def test_a_class_file_may_hold_names_alone_and_options_go_before_it(tmp_path: Path) -> None:
    spec = tiny.draw_folders(tmp_path, classes=2)
    (tmp_path / "classes.txt").write_text("sea\ndry land\n")
    assert load(spec).classes.names == ("sea", "dry land")
    assert load(spec.with_option("names", ("a", "b"))).classes.names == ("a", "b")


def test_a_class_file_that_is_not_one_class_a_line_is_told(tmp_path: Path) -> None:
    (tmp_path / "classes.csv").write_text("sky,128,128,128\nid;what;else\n")
    with pytest.raises(DataError, match=r"classes\.csv, line 2"):
        class_file.read(tmp_path / "classes.csv")


def targets(index: Index) -> np.ndarray:
    entries = index.splits["train"]
    return np.stack([images.read_mask(Path(str(e.target)), index.classes) for e in entries])


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("map.csv", "id,name,r,g,b\n3,sky,128,128,128\n9,wall,0,0,255\n"),
        ("map.csv", "Name;Red;Green;Blue;Value\nsky;128;128;128;3\nwall;0;0;255;9\n"),
        ("map.csv", "r,g,b,name,id\n128,128,128,sky,3\n0,0,255,wall,9\n"),
        (
            "map.toml",
            '[[class]]\nname = "sky"\ncolor = "#808080"\nvalue = 3\n'
            '[[class]]\nname = "wall"\ncolor = "blue"\nvalue = 9\n',
        ),
    ],
)
def test_a_colour_map_serves_masks_of_indices_and_of_colours(
    tmp_path: Path, name: str, text: str
) -> None:
    (tmp_path / name).write_text(text)
    spec = tiny.draw_folders(tmp_path, count=3, classes=2)
    given = spec.with_option("classes", tmp_path / name)
    for path in (tmp_path / "masks").iterdir():
        labels = images.raw_mask(path)
        tiny.save(path, np.array([3, 9], np.uint8)[labels])
    by_index = load(given)
    before = targets(by_index)
    assert by_index.classes.names == ("sky", "wall")
    for path in (tmp_path / "masks").iterdir():
        colors = np.zeros((10, 3), np.uint8)
        colors[3], colors[9] = (128, 128, 128), (0, 0, 255)
        tiny.save(path, colors[images.raw_mask(path)])
    by_color = load(given)
    assert by_color.classes.by_color
    assert np.array_equal(before, targets(by_color))


def test_other_shapes_of_colour_maps_are_read(tmp_path: Path) -> None:
    (tmp_path / "labelmap.txt").write_text(
        "# label:color_rgb:parts:actions\nbackground:0,0,0::\ncar:128,0,0::\n"
    )
    declared = class_file.read(tmp_path / "labelmap.txt")
    assert (declared.names, declared.colors) == (("background", "car"), ("0 0 0", "128 0 0"))


def test_colours_may_be_ignored_whether_or_not_a_file_names_them(tmp_path: Path) -> None:
    pixels = [[[0, 0, 0], [255, 0, 0], [0, 128, 0]]] * 2
    for i in range(2):
        mask(tmp_path / "masks" / f"{i}.png", pixels)
        tiny.save(tmp_path / "images" / f"{i}.png", np.full((2, 3), i, np.uint8))
    (tmp_path / "classes.txt").write_text("0 0 0 void\n255 0 0 roof\n0 128 0 grass\n")
    spec = Spec("folders", {"root": tmp_path, "ignore_colors": ("#000000",)})
    index = load(spec)
    assert index.classes.names == ("roof", "grass")
    path = Path(str(index.splits["train"][0].target))
    assert images.read_mask(path, index.classes).tolist() == [[IGNORE, 0, 1]] * 2
    listed = Spec("folders", {**spec.options, "names": ("a", "b"), "colors": ("red", "0 128 0")})
    assert images.read_mask(path, load(listed).classes).tolist() == [[IGNORE, 0, 1]] * 2


def test_a_colour_mask_that_is_black_all_over_does_not_hide_the_others(tmp_path: Path) -> None:
    paths = [
        mask(tmp_path / "a.png", [[[0, 0, 0], [0, 0, 0]]]),
        mask(tmp_path / "b.png", [[[0, 0, 0], [255, 0, 0]]]),
    ]
    classes = classes_from_masks(paths, ["sea", "land"], ["black", "red"])
    assert [images.read_mask(path, classes).tolist() for path in paths] == [[[0, 0]], [[0, 1]]]


def test_f22_colours_without_a_class_are_counted_with_the_nearest(tmp_path: Path) -> None:
    path = mask(tmp_path / "a.png", [[[255, 0, 0], [250, 0, 0], [0, 128, 0]]])
    classes = classes_from_masks([path], ["roof", "grass"], ["#ff0000", "0 128 0"])
    told = r"1 of 3 pixels in 1 colours .*\(250, 0, 0\) near roof \(255, 0, 0\)"
    with pytest.raises(DataError, match=told):
        images.read_mask(path, classes)


@pytest.mark.parametrize(
    ("declared", "told"),
    [
        ({"colors": ["red", "#ff0000"]}, r"Colour \(255, 0, 0\) is declared twice"),
        ({"colors": ["red", "blue"], "ignore_colors": ["red"]}, "is declared twice"),
        (
            {"colors": ["red", "blue"], "ignore": [7]},
            "colours that count nowhere are ignore_colors",
        ),
        ({"ignore_colors": ["red"]}, "no meaning without names"),
    ],
)
def test_colours_that_contradict_each_other_are_refused(
    tmp_path: Path, declared: dict[str, list[object]], told: str
) -> None:
    path = mask(tmp_path / "a.png", [[[255, 0, 0], [0, 0, 255]]])
    with pytest.raises(RecipeError, match=told):
        classes_from_masks([path], **declared)


def test_ignored_colours_are_refused_where_masks_hold_indices(tmp_path: Path) -> None:
    path = mask(tmp_path / "a.png", [[0, 1]])
    with pytest.raises(RecipeError, match="Give their values: ignore="):
        classes_from_masks([path], ["a", "b"], ignore_colors=["red"])


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("c.csv", "name,r,g,b\nsky,1,2\n", "line 2: 'sky,1,2' does not declare"),
        ("c.toml", "[[class]]\ncolour = 3\n", r"Write \[\[class\]\] tables"),
        ("c.toml", "[[class]\n", "is no TOML"),
        ("c.txt", "\n# nothing\n", "declares no class"),
    ],
)
def test_class_files_that_cannot_be_read_are_told(
    tmp_path: Path, name: str, text: str, told: str
) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match=told):
        class_file.read(tmp_path / name)


def test_a_file_given_as_a_colour_says_how_to_give_it(tmp_path: Path) -> None:
    spec = tiny.draw_folders(tmp_path).with_option("colors", ("map.csv",))
    with pytest.raises(RecipeError, match="given as classes=FILE"):
        load(spec)
    both = spec.with_option("classes", tiny.save(tmp_path / "c.png", np.zeros((1, 1), np.uint8)))
    with pytest.raises(RecipeError, match="not both"):
        load(both)


def test_f34_splits_share_the_classes_of_all_their_masks(tmp_path: Path) -> None:
    for split, values in (("train", [[0, 1, 2]]), ("val", [[0, 1, 3]])):
        mask(tmp_path / split / "masks/a.png", values)
        mask(tmp_path / split / "images/a.png", values)
    index = load(Spec("folders", {"root": tmp_path}))
    assert len(index.classes) == 4
    assert any("class 3 occurs in val but never in train" in w for w in check(index).warnings)
    declared = load(Spec("folders", {"root": tmp_path, "names": ("a", "b", "c")}))
    assert "val/masks/a.png holds undeclared value 3 (1 px)" in check(declared).problems[0]


def test_a_training_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    spec = tiny.draw_folders(tmp_path).with_option("train_split", "train_small")
    with pytest.raises(DataError, match=r"train_split=train_small: .* has no such folder"):
        load(spec)
