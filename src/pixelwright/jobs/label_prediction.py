"""Give pictures of any size one label each, by one classifier or several together."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32, UInt8

from pixelwright import build, images
from pixelwright.data.resident import fitted
from pixelwright.errors import DataError
from pixelwright.files import make_folder, write_text
from pixelwright.inference.labels import log_probabilities, mean_of
from pixelwright.jobs.unread import Unread
from pixelwright.types import Classes, Event, OnEvent

TOP = 5
"""Classes that are told for each picture."""
CHUNK = 256
"""Pictures that are decoded and predicted together: memory does not grow with their number."""
TABLE = "predictions.csv"

_Pixels = UInt8[np.ndarray, "h w c"]


@dataclass(frozen=True)
class LabelPrediction:
    """What a picture is taken for.

    Args:
        probabilities: Of every class, in [0, 1].
        classes: What the indices mean.
        source: The file; None for an array.
    """

    probabilities: Float32[np.ndarray, " k"]
    classes: Classes
    source: Path | None = None

    @property
    def label(self) -> str:
        """The most probable class."""
        return self.top[0][0]

    @property
    def top(self) -> tuple[tuple[str, float], ...]:
        """The five most probable classes, or all there are, and their probabilities."""
        order = np.argsort(-self.probabilities, kind="stable")[:TOP]
        return tuple((self.classes.names[k], float(self.probabilities[k])) for k in order)

    def told(self) -> dict[str, Any]:
        """What scripts want to know of it, as JSON types."""
        top = [{"class": name, "probability": round(share, 6)} for name, share in self.top]
        return {"image": str(self.source) if self.source else None, "top": top}


def predict_labels(
    members: Sequence[build.Model],
    source: _Pixels | Sequence[Path],
    *,
    flip: bool,
    on_event: OnEvent,
    alone: bool = False,
) -> tuple[list[LabelPrediction], list[Unread]]:
    """Label pictures.

    Args:
        members: Classifiers of the same classes, whose probabilities are averaged.
        source: One array, or files.
        flip: Whether every picture is also seen mirrored.
        on_event: Told the progress.
        alone: One file was asked for, so that it must be read.

    Returns:
        The predictions in the order of the files, and which could not be read, and why.

    Raises:
        DataError: The one file cannot be read.
    """
    classes = members[0].classes
    if isinstance(source, np.ndarray):
        views = {kind: [_seen(source, kind)] for kind in _kinds(members)}
        return [LabelPrediction(_probabilities(members, views, flip)[0], classes)], []
    done: list[LabelPrediction] = []
    failed: list[Unread] = []
    for start in range(0, len(source), CHUNK):
        views = {kind: [] for kind in _kinds(members)}
        read: list[Path] = []
        for file in source[start : start + CHUNK]:
            try:
                # At the size that is wanted at once: a chunk of photographs would fill the memory.
                seen = {kind: _seen(images.read_image(file, kind[0]), kind) for kind in views}
            except DataError as error:
                if alone:
                    raise
                failed.append((file, str(error)))
                on_event(Event("note", {"text": str(error)}))
                continue
            read.append(file)
            for kind, pixels in seen.items():
                views[kind].append(pixels)
        if read:
            found = _probabilities(members, views, flip)
            pairs = zip(found, read, strict=True)
            done += [LabelPrediction(row, classes, file) for row, file in pairs]
        progress = {"what": "predict", "done": len(done) + len(failed), "total": len(source)}
        on_event(Event("progress", progress))
    return done, failed


_Kind = tuple[int, tuple[int, int]]
"""Channels, and height and width, of the pictures that a classifier was trained on."""


def _kinds(members: Sequence[build.Model]) -> list[_Kind]:
    return list(dict.fromkeys(_kind(member) for member in members))


def _kind(member: build.Model) -> _Kind:
    assert member.side is not None
    return member.channels, member.side


def _seen(pixels: _Pixels, kind: _Kind) -> UInt8[np.ndarray, "_h _w c"]:
    """A picture as a classifier knows them.

    Raises:
        DataError: It has other channels.
    """
    if pixels.ndim != 3 or pixels.shape[2] != kind[0]:
        raise DataError(
            f"The image is an array of {'x'.join(map(str, pixels.shape))}; the model takes height "
            f"x width x {kind[0]}."
        )
    return fitted(pixels, kind[1])


def _probabilities(
    members: Sequence[build.Model], views: Mapping[_Kind, Sequence[_Pixels]], flip: bool
) -> Float32[np.ndarray, "n k"]:
    """The mean of what the members say, each of pictures as it knows them."""
    said = [
        log_probabilities(
            member.network,
            np.stack(views[_kind(member)]),
            device=member.engine.device,
            flip=flip,
            side=member.size,
        )
        for member in members
    ]
    return np.asarray(np.exp(mean_of(said)), np.float32)


def write_table(folder: Path, predictions: Sequence[LabelPrediction]) -> Path:
    """Write `predictions.csv`: a file a row, its five most probable classes and how probable.

    Raises:
        MachineError: The folder cannot be written.
    """
    make_folder(folder)
    buffer = io.StringIO()
    table = csv.writer(buffer, lineterminator="\n")
    count = min(TOP, len(predictions[0].classes)) if predictions else 0
    head = [part for i in range(1, count + 1) for part in (f"class {i}", f"probability {i}")]
    table.writerow(["file", *head])
    for one in predictions:
        cells = [part for name, p in one.top for part in (_harmless(name), f"{p:.6f}")]
        table.writerow([_harmless(str(one.source)), *cells])
    path = folder / TABLE
    write_text(path, buffer.getvalue())
    return path


def _harmless(text: str) -> str:
    """A name that no spreadsheet takes for a formula."""
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text


def check_out(folder: Path, overwrite: bool) -> None:
    """See that no earlier table would be lost.

    Raises:
        DataError: There is one.
    """
    if (folder / TABLE).exists() and not overwrite:
        raise DataError(f"{folder / TABLE} is there already. Replace it with --overwrite.")
