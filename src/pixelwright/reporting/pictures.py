"""The pictures of a run, small enough to travel inside the page."""

import base64
import io
import re
import warnings
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from pixelwright.metrics.hardest import why_image
from pixelwright.metrics.scores import Scores
from pixelwright.run import Run

MOST_BYTES = 4_000_000
"""Of all pictures together: what a mail server lets pass, after base64 and with room to spare."""
_SIDE = 1200
_NAME = re.compile(r"(hardest|typical)-(\d+)-(.*)", re.DOTALL)
_ORDER = ("predictions", "typical", "hardest", "other")


@dataclass(frozen=True, slots=True)
class Picture:
    """One picture: its group, what it shows, itself as a data URI, and why it is hard."""

    group: str
    caption: str
    score: float | None
    source: str
    why: tuple[str, ...] = ()


def pictures(
    run: Run, scores: Scores | None, train: Scores | None = None
) -> tuple[list[Picture], list[str]]:
    """The pictures of a run in the order to show, and the files that were left out.

    Args:
        run: Whose folder holds them.
        scores: Of the split that they were chosen from.
        train: Of training images, which say how rare a class was.
    """
    files = [*run.path.glob("predictions.jpg"), *sorted(run.pictures.glob("*.jpg"))]
    shown: list[Picture] = []
    left_out: list[str] = []
    room = MOST_BYTES
    hardest = {key for group, key in map(_group, files) if group == "hardest"}
    for path in sorted(files, key=_rank):
        group, key = _group(path)
        if group == "typical" and key in hardest:  # of few images, many are both
            continue
        source = embedded(path)
        if source is None or len(source) > room:
            left_out.append(path.name)
            continue
        room -= len(source)
        number = _number(key, scores)
        if scores is None or number is None:
            shown.append(Picture(group, key, None, source))
            continue
        score = float(scores.image_mean_iou()[number])
        why = tuple(why_image(scores, number, train)) if group == "hardest" else ()
        shown.append(Picture(group, scores.keys[number], score, source, why))
    return shown, left_out


def _group(path: Path) -> tuple[str, str]:
    found = _NAME.fullmatch(path.stem)
    if found:
        return found[1], found[3]
    return ("predictions" if path.stem == "predictions" else "other"), path.stem


def _rank(path: Path) -> tuple[int, int, str]:
    found = _NAME.fullmatch(path.stem)
    return _ORDER.index(_group(path)[0]), int(found[2]) if found else 0, path.name


def _number(name: str, scores: Scores | None) -> int | None:
    """Which image a file shows. The file's name holds the key without unusual signs."""

    def bare(text: str) -> str:
        return "".join(c for c in text if c.isalnum())

    if scores and bare(name):
        for number, key in enumerate(scores.keys):
            if bare(key).endswith(bare(name)):
                return number
    return None


def embedded(path: Path, side: int = _SIDE) -> str | None:
    """A picture as a data URI, made smaller where it is large; None if it cannot be read."""
    try:
        with warnings.catch_warnings(), Image.open(path) as image:
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            image.draft("RGB", (side, side))
            picture = image.convert("RGB")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError, Warning):
        return None
    picture.thumbnail((side, side), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=82, optimize=True, progressive=True)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
