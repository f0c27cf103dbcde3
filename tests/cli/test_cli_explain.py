"""Explanations from the command line, and from Python, on tiny pictures."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

import pixelwright as pw
import tiny
from commands import Say
from pixelwright.errors import DataError, PixelwrightWarning
from pixelwright.types import silent


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A segmenter in `run`, classifiers in `labels` and `blind`, and their data."""
    folder = tmp_path_factory.mktemp("explain")
    masks = tiny.draw_folders(folder / "set", count=3)
    labels = tiny.draw_class_folders(folder / "animals")
    tiny.draw_run(folder / "run", masks, "unet:width=4,depth=1")
    tiny.draw_run(folder / "labels", labels, "convnet:width=8,depth=2", (8, 8))
    tiny.draw_run(folder / "blind", labels, "convnet:width=2,depth=4", (8, 8))
    return folder


@pytest.fixture
def home(place: Path) -> Path:
    return place


def fails(answer: tuple[int, str, str], *words: str, code: int = 2) -> None:
    """The exit code, and a last line on standard error that holds `words`."""
    found, _, err = answer
    assert found == code, err
    last = err.splitlines()[-1]
    assert last.startswith("pixelwright: ")
    for word in words:
        assert word in last


def test_each_image_gives_a_sheet(say: Say) -> None:
    code, out, err = say("explain", "set/images", "--run", "run", "--out", "out")
    assert code == 0, err
    assert out.splitlines() == [f"wrote {Path(f'out/0{i}.explain.jpg')}" for i in range(3)]
    with Image.open("out/00.explain.jpg") as sheet:
        assert min(sheet.size) > 200
    fails(say("explain", "set/images/00.jpg", "--run", "run", "--out", "out"), "--overwrite")
    again = say("explain", "set/images/00.jpg", "--run", "run", "--out", "out", "--overwrite")
    assert again[0] == 0


def test_classes_method_layer_and_region_can_be_named(say: Say) -> None:
    few = say("explain", "set/images/00.jpg", "--run", "run", "--out", "few", "--class", "class 1")
    assert few[0] == 0, few[2]
    options = [f"--class=class {k}" for k in range(3)] + ["--method", "hirescam"]
    options += ["--layer", "merge.0", "--region", "4,8,16,16"]
    more = say("explain", "set/images/00.jpg", "--run", "run", "--out", "more", *options)
    assert more[0] == 0, more[2]
    sheets = [cv2.imread(f"{folder}/00.explain.jpg") for folder in ("few", "more")]
    assert sheets[0].size < sheets[1].size


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--class", "class9"), ("'class9'. Did you mean", "class 0, class 1, class 2")),
        (("--method", "grad-cam"), ("Did you mean 'gradcam'?", "hirescam")),
        (("--layer", "down.9"), ("'down.9'", "Did you mean 'down.0'?")),
        (("--region", "1,2,3"), ("--region 1,2,3", "top,left,height,width")),
        (("--region", "40,8,16,16"), ("16 x 16 from row 40, column 8", "48 x 64")),
        (("--region", "4,8,0,16"), ("0 x 16",)),
    ],
)
def test_what_is_not_there_is_refused(
    say: Say, options: tuple[str, ...], words: tuple[str, ...]
) -> None:
    fails(say("explain", "set/images/00.jpg", "--run", "run", "--out", "no", *options), *words)
    assert not Path("no").exists()


def test_two_images_of_one_name_are_refused(say: Say) -> None:
    names = ("animals/train/ant/00.png", "animals/train/bee/00.png")
    fails(say("explain", *names, "--run", "labels", "--out", "no"), *names, "00.explain.jpg")
    fails(say("explain", "nothing.png", "--run", "run", "--out", "no"), "nothing.png")
    file = "set/images/00.jpg"
    fails(say("explain", file, "--run", "run", "--out", file), "cannot be made", code=3)


def test_one_bad_file_of_many_leaves_the_others_done(say: Say) -> None:
    Path("mixed").mkdir()
    Path("mixed/a.png").write_bytes(Path("animals/train/ant/00.png").read_bytes())
    Path("mixed/b.png").write_bytes(b"")
    fails(say("explain", "mixed", "--run", "run", "--out", "most"), "1 of 2", "b.png", code=3)
    assert [path.name for path in Path("most").iterdir()] == ["a.explain.jpg"]


def test_a_classifier_is_explained_by_what_it_predicts(say: Say) -> None:
    code, out, err = say("explain", "animals/val/ant", "--run", "labels", "--out", "animals-out")
    assert code == 0, err
    assert f"wrote {Path('animals-out/00.explain.jpg')}" in out
    region = ("--region", "0,0,4,4")
    answer = say("explain", "animals/val/ant", "--run", "labels", "--out", "no", *region)
    fails(answer, "convnet", "one label")


def test_an_explanation_of_a_classifier_holds_heat_and_the_most_probable_classes(
    place: Path,
) -> None:
    image = np.asarray(Image.open(place / "animals/val/cat/00.png"))
    (found,) = pw.explain(place / "labels", image, on_event=silent)
    prediction = pw.predict(place / "labels", image, on_event=silent)
    assert [name for name, _ in found.top] == [name for name, _ in prediction.top]
    np.testing.assert_allclose([p for _, p in found.top], [p for _, p in prediction.top], rtol=1e-5)
    (heat,) = found.classes
    assert (heat.name, heat.probability) == found.top[0]
    assert heat.heat.shape == found.image.shape[:2] == (8, 8)
    assert heat.pixels is None
    assert found._repr_png_().startswith(b"\x89PNG")
    for _ in range(2):
        pw.explain(place / "labels", image, out=place / "array", overwrite=True, on_event=silent)
    with pytest.raises(DataError, match=r"image.explain.jpg is there already"):
        pw.explain(place / "labels", image, out=place / "array", on_event=silent)
    (named,) = pw.explain(place / "labels", image, classes="bee", on_event=silent)
    assert [one.name for one in named.classes] == ["bee"]


def test_an_explanation_of_a_segmenter_holds_heat_for_the_classes_that_occur(place: Path) -> None:
    file = place / "set/images/01.jpg"
    (found,) = pw.explain(place / "run", file, on_event=silent)
    labels = pw.predict(place / "run", file, on_event=silent).labels
    shares = np.bincount(labels.ravel(), minlength=3) / labels.size
    order = [k for k in np.argsort(-shares) if shares[k]]
    assert [one.name for one in found.classes] == [f"class {k}" for k in order]
    for one, k in zip(found.classes, order, strict=True):
        assert one.share == pytest.approx(shares[k])
        assert one.heat.shape == (48, 64)
        np.testing.assert_array_equal(one.pixels, labels == k)
        # Of three classes, the predicted one is more probable than a third.
        assert 1 / 3 < one.probability < 1


def test_a_class_that_is_predicted_nowhere_is_explained_over_all_pixels(place: Path) -> None:
    image = np.full((1, 1, 3), 7, np.uint8)
    (first,) = pw.explain(place / "run", image, on_event=silent)
    absent = next(
        f"class {k}" for k in range(3) if f"class {k}" not in {c.name for c in first.classes}
    )
    (found,) = pw.explain(place / "run", image, classes=[absent], on_event=silent)
    assert found.classes[0].share == 0
    assert found.classes[0].pixels.all()


def test_a_region_is_explained_as_what_it_is_predicted(place: Path) -> None:
    file = place / "set/images/02.jpg"
    labels = pw.predict(place / "run", file, on_event=silent).labels
    (found,) = pw.explain(place / "run", file, region=(20, 30, 1, 1), on_event=silent)
    assert [one.name for one in found.classes] == [f"class {labels[20, 30]}"]
    assert np.argwhere(found.classes[0].pixels).tolist() == [[20, 30]]
    assert found.window is None


def test_a_picture_too_large_for_one_pass_needs_a_region(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pixelwright.inference.explain.GRADIENT_PIXELS", 1500)
    file = place / "set/images/02.jpg"
    with pytest.raises(DataError, match=r"48 x 64 .* more than the 1,500 pixels.*region"):
        pw.explain(place / "run", file, on_event=silent)
    labels = pw.predict(place / "run", file, on_event=silent).labels
    (found,) = pw.explain(place / "run", file, region=(20, 30, 3, 3), on_event=silent)
    assert found.window is not None
    assert found.image.shape[0] * found.image.shape[1] <= 1500
    assert {one.name for one in found.classes} == {
        f"class {k}" for k in labels[20:23, 30:33].ravel()
    }
    assert "column" in found._notes()[-1]
    monkeypatch.setattr("pixelwright.inference.explain.GRADIENT_PIXELS", 300)
    with pytest.warns(PixelwrightWarning, match="more do not fit"):
        pw.explain(place / "run", file, region=(20, 30, 3, 3), on_event=silent)


def test_explanations_of_many_images_hold_no_pixels_once_written(
    place: Path, tmp_path: Path
) -> None:
    found = pw.explain(place / "run", place / "set/images", out=tmp_path, on_event=silent)
    assert [one.file for one in found] == [tmp_path / f"0{i}.explain.jpg" for i in range(3)]
    assert all(one.image.size == one.classes[0].heat.size == 0 for one in found)
    assert all(one.classes[0].probability > 0 for one in found)
    kept = pw.explain(place / "run", place / "set/images", on_event=silent)
    assert all(one.image.shape == (48, 64, 3) for one in kept)


def test_maps_that_are_too_coarse_to_tell_parts_apart_come_with_a_warning(place: Path) -> None:
    image = np.asarray(Image.open(place / "animals/val/cat/00.png"))
    words = (
        r"layer encoder have 1 x 1 places .* 8 x 8.* finer maps: encoder\.pool3, encoder\.stage3"
    )
    with pytest.warns(PixelwrightWarning, match=words):
        (found,) = pw.explain(place / "blind", image, on_event=silent)
    assert np.unique(found.classes[0].heat).size == 1
