import json
import math
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from pixelwright.files import write_bytes
from pixelwright.metrics.confusion import Confusion
from pixelwright.metrics.details import Details
from pixelwright.metrics.scores import Scores
from pixelwright.render import comparison, palette
from pixelwright.reporting import page
from pixelwright.run import Run
from pixelwright.types import Classes

NAMES = ("background", "road")
ODD = (
    '<script>alert("a")</script>',
    "'\"><img src=x onerror=alert(1)>",
    "\u202ebad\x1b[31m & more",
)


class Tags(HTMLParser):
    """Collects tags and attributes, and the text a reader sees."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in ("meta", "img", "wbr"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"</{tag}> closes nothing"

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.text += data


def jpeg(height: int = 40, names: tuple[str, ...] = NAMES) -> bytes:
    from io import BytesIO

    from PIL import Image

    image, labels = np.zeros((height, 50, 3), np.uint8), np.zeros((height, 50), np.int16)
    panel = comparison(image, labels, labels, Classes(names, palette(len(names))))
    buffer = BytesIO()
    Image.fromarray(panel).save(buffer, "JPEG")
    return buffer.getvalue()


def scores(names: tuple[str, ...], split: str, seed: int = 0, images: int = 6) -> Scores:
    generator = np.random.default_rng(seed)
    size = len(names)
    tables = generator.integers(1, 20, (images, size, size)) + 40 * np.eye(size, dtype=np.int64)
    counted = [(f"image {i}", Confusion(table)) for i, table in enumerate(tables)]
    return Scores.of_images(names, counted, loss=0.5, split=split, data="folders:root=x")


def detailed(names: tuple[str, ...], split: str = "val") -> Scores:
    """Scores with details, of drawn labels: the last class is thin, rare and mostly missed."""
    generator = np.random.default_rng(3)
    tables, parts = [], []
    for number in range(4):
        truth = np.zeros((40, 60), np.int16)
        truth[20:] = 1
        truth[5:35, 10 + number] = len(names) - 1
        prediction = np.where(generator.random(truth.shape) < 0.1, 0, truth).astype(np.int16)
        prediction[prediction == len(names) - 1] = 0
        sure = generator.uniform(0.5, 1, truth.shape).astype(np.float32)
        losses = {f"loss {names[0]}": 0.7, "dice": 0.1 * number}
        tables.append((f"image {number}", Confusion.of(prediction, truth, len(names))))
        parts.append(Details.of(prediction, truth, sure, len(names), losses))
    found = Details.joined(parts, len(names))
    return Scores.of_images(names, tables, split=split, data="x", details=found)


def make_run(folder: Path, names: tuple[str, ...] = NAMES, epochs: int = 8) -> Run:
    run = Run(folder)
    run.pictures.mkdir(parents=True)
    run.recipe_file.write_text(f"model = {json.dumps(names[-1])}\ndata = 'folders:root=x'\n")
    run.model_file.write_bytes(b"")
    run.write_info({"machine": names[0], "command": f"pixelwright train {names[0]}", "guard": 32})
    rows = [
        {
            "kind": "epoch",
            "epoch": e,
            "train_loss": 1 / e,
            "val_loss": 1 / e + 0.01 * e,
            "val_mean_iou": 1 - 1 / e,
            "best": True,
            "seconds": 3.0 * e,
        }
        for e in range(1, epochs + 1)
    ]
    stop = {"kind": "stop", "why": names[0], "step": 80}
    lines = [*rows, {"kind": "note", "text": names[-1]}, {**stop, "largest_input": [4, 128, 128]}]
    run.log_file.write_text("".join(json.dumps(row) + "\n" for row in lines))
    for split in ("val", "train"):
        table = scores(names, split).to_json()
        write_bytes(run.scores_file(split), json.dumps(table).encode())
    for name in ("hardest-1-image_3", "hardest-2-<b>&", "typical-1-image_1"):
        write_bytes(run.pictures / f"{name}.jpg", jpeg())
    return run


def test_a_page_says_the_score_its_interval_and_where_it_comes_from(tmp_path: Path) -> None:
    run = make_run(tmp_path / "roads-1")
    path = page.write(run)
    text = Tags(path.read_text(encoding="utf-8")).text
    val = scores(NAMES, "val")
    low, high = val.interval("mean_iou")
    assert path == run.report_file
    assert f"{val.mean_iou:.3f}" in text
    assert f"{low:.3f} to {high:.3f}" in text
    assert "6 images of val" in text
    assert "4 × 128 × 128" in text
    assert "at least 32 pixels apart" in text
    assert f"mean IoU {dict(val.hardest(6))['image 3']:.3f}" in text
    assert "folders:root=x" in text


def test_a_page_tells_boundaries_calibration_losses_and_why_a_class_is_hard(
    tmp_path: Path,
) -> None:
    run = make_run(tmp_path / "lines-1")
    names = ("sky", "road", "pole")
    subject = detailed(names)
    run.scores_file("val").write_text(json.dumps(subject.to_json()))
    run.scores_file("train").write_text(json.dumps(detailed(names, "train").to_json()))
    page_text = page.render(run)
    text = Tags(page_text).text
    for value in (subject.mean_boundary_iou, subject.calibration_error):
        assert f"{value:.3f}" in text
    assert "Accuracy against confidence" in page_text
    assert "0.150" in text  # the mean of the Dice losses
    assert "It is never predicted: all of its 120 pixels are missed." in text
    assert "It is thin: about" in text
    assert "of the training pixels" in text
    # Image 3 is shown as hardest, so its reasons stand below it.
    assert "pole costs" in text


def test_a_page_needs_nothing_but_itself(tmp_path: Path) -> None:
    run = make_run(tmp_path / "roads-1")
    run.scores_file("val").write_text(json.dumps(detailed(("a", "b", "c")).to_json()))
    text = page.render(run)
    found = Tags(text)
    assert not re.search(r"https?:|//[a-z]|@import|url\((?!#)", re.sub(r"base64,[^\"]*", "", text))
    assert not {"script", "link", "iframe", "object", "form", "base"} & set(found.tags)
    sources = [value for name, value in found.attributes if name == "src"]
    assert len(sources) == 3
    assert all(source and source.startswith("data:image/jpeg;base64,") for source in sources)
    assert all((value or "").startswith("#") for name, value in found.attributes if name == "href")


def test_a_page_forbids_scripts_and_loading(tmp_path: Path) -> None:
    text = page.render(make_run(tmp_path / "roads-1"))
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', text)
    assert policy is not None
    assert "default-src 'none'" in policy[1]
    assert "script-src" not in policy[1]


def test_f86_names_of_classes_files_and_runs_are_text_and_nothing_else(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run <b>&\u202e", ODD)
    run.scores_file("val").write_text(json.dumps(detailed(ODD).to_json()))
    text = page.render(run)
    found = Tags(text)
    assert "script" not in found.tags
    assert found.tags.count("img") == 3
    assert not [name for name, _ in found.attributes if name.startswith("on")]
    assert "\u202e" not in text
    assert "\x1b" not in text
    assert '<script>alert("a")</script>' in found.text
    assert "\\u202ebad\\x1b[31m & more" in found.text


@pytest.mark.parametrize(
    "missing", ["scores-*.json", "log.jsonl", "run.json", "recipe.toml", "p*/*"]
)
def test_a_run_with_a_part_missing_still_has_a_page(tmp_path: Path, missing: str) -> None:
    run = make_run(tmp_path / "roads-1")
    for path in tmp_path.glob(f"roads-1/{missing}"):
        path.unlink()
    assert "roads-1" in Tags(page.render(run)).text


def test_an_empty_folder_still_has_a_page_that_says_what_is_missing(tmp_path: Path) -> None:
    text = Tags(page.render(Run(tmp_path))).text
    assert "no scores yet" in text
    assert "no recipe.toml" in text
    assert "nan" not in text


def test_a_stopped_run_says_so_and_how_to_continue(tmp_path: Path) -> None:
    run = make_run(tmp_path / "roads-1")
    rows = run.log_file.read_text().splitlines(keepends=True)
    run.log_file.write_text("".join(rows[:3]))
    text = Tags(page.render(run)).text
    assert "was stopped before its end" in text
    assert "--resume" in text


def test_files_that_cannot_be_read_are_named_and_left_out(tmp_path: Path) -> None:
    run = make_run(tmp_path / "roads-1")
    (run.pictures / "hardest-3-cut.jpg").write_bytes(jpeg()[:500])
    run.scores_file("test").write_text("{}")
    text = Tags(page.render(run)).text
    assert "hardest-3-cut.jpg" in text
    assert "scores-test.json cannot be read" in text


def test_an_image_that_is_typical_and_hard_is_shown_once(tmp_path: Path) -> None:
    run = make_run(tmp_path / "roads-1")
    (run.pictures / "typical-2-image_3.jpg").write_bytes(jpeg())
    assert Tags(page.render(run)).tags.count("img") == 3


def test_large_pictures_are_made_small_enough_to_mail(tmp_path: Path) -> None:
    from PIL import Image

    run = make_run(tmp_path / "roads-1")
    noise = np.random.default_rng(0).integers(0, 255, (2400, 2400, 3), np.uint8)
    for number in range(1, 9):
        Image.fromarray(noise).save(run.pictures / f"typical-{number}-noise.jpg")
    path = page.write(run)
    assert path.stat().st_size < 5_000_000
    assert "Left out" in path.read_text(encoding="utf-8")


def test_undefined_scores_are_na_and_never_nan(tmp_path: Path) -> None:
    run = make_run(tmp_path / "roads-1")
    nothing = Scores.of_images(NAMES, [("a", Confusion(np.array([[4, 0], [0, 0]])))])
    assert math.isnan(nothing.interval("mean_iou")[0])
    run.scores_file("val").write_text(json.dumps(nothing.to_json()))
    text = page.render(run)
    assert "n/a" in text
    assert "nan" not in Tags(text).text.lower()
    assert not re.search(r"--\w+:nan", text)


def test_many_classes_show_the_main_confusions_but_no_matrix(tmp_path: Path) -> None:
    many = tuple(f"class {k}" for k in range(40))
    text = page.render(make_run(tmp_path / "many-1", many))
    assert "was taken for" in text
    assert 'class="matrix"' not in text


def test_equal_runs_have_equal_pages(tmp_path: Path) -> None:
    run = make_run(tmp_path / "roads-1")
    assert page.render(run) == page.render(run)
