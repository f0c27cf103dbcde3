"""Show where a trained network sees what speaks for its classes."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float32, UInt8
from scipy.special import softmax

from pixelwright import build, images, render
from pixelwright.data.resident import fitted
from pixelwright.errors import (
    DataError,
    MachineError,
    PixelwrightWarning,
    RecipeError,
    first_few,
    unknown,
)
from pixelwright.files import make_folder
from pixelwright.inference import explain as cam
from pixelwright.jobs.label_prediction import TOP
from pixelwright.jobs.prediction import image_files, pixel_values
from pixelwright.jobs.watch import watched
from pixelwright.run import Run
from pixelwright.types import Event, OnEvent, Window

MOST_CLASSES = 4
"""Of a segmentation that are explained where none are named: those with most pixels."""

COARSE = 4
"""Maps of fewer rows or columns hardly tell one part of a picture from another."""

_NAMELESS = "image"
"""What the picture of an array is called."""

_TITLES = {"gradcam": "Grad-CAM", "hirescam": "HiResCAM"}

_Pixels = UInt8[np.ndarray, "h w c"]
_Region = Bool[np.ndarray, "h w"]


@dataclass(frozen=True)
class ClassHeat:
    """What speaks for one class.

    Args:
        name: Of the class.
        heat: At the image's size, in [0, 1]: 1 where most speaks for it. See `inference.explain`.
        raw: What each place of the layer's maps adds to the class's logit, with its sign.
        probability: Of the class, in [0, 1]; of a segmentation its mean over the pixels explained.
        share: Of the image's pixels that are predicted as the class; None of a classifier.
        pixels: Of a segmentation those that are explained.
    """

    name: str
    heat: Float32[np.ndarray, "h w"]
    raw: Float32[np.ndarray, "rows cols"]
    probability: float
    share: float | None = None
    pixels: _Region | None = None

    @property
    def title(self) -> str:
        """The class and its numbers on one line."""
        if self.share is None:
            told = f"{self.name} {_percent(self.probability)}"
        else:
            told = f"{self.name}: {_percent(self.share)}, p {self.probability:.2f}"
        return told if self.heat.any() or not self.heat.size else f"{told}, nothing speaks for it"


@dataclass(frozen=True)
class Explanation:
    """Why a network says what it says of an image.

    Args:
        image: What was explained, as the network saw it.
        classes: One entry for each class that was asked for.
        layer: Whose maps were explained.
        method: "gradcam" or "hirescam".
        top: The most probable classes of a classifier and their probabilities, most first.
        window: Where `image` lies in a picture that is too large to be explained whole.
        source: The file; None for an array.
        file: What was written, if anything.
    """

    image: _Pixels
    classes: tuple[ClassHeat, ...]
    layer: str
    method: str
    top: tuple[tuple[str, float], ...] = ()
    window: Window | None = None
    source: Path | None = None
    file: Path | None = None

    @property
    def picture(self) -> UInt8[np.ndarray, "height width 3"]:
        """The image, and over it what speaks for each class."""
        if not self.image.size:
            raise ValueError(f"The pixels were not kept: {self.file} shows them.")
        name = self.source.name if self.source else _NAMELESS
        caption = f"{name}: {_TITLES[self.method]} of the layer {self.layer}"
        heats = [(one.title, one.heat, one.pixels) for one in self.classes]
        return render.heat_sheet(self.image, heats, caption, self._notes())

    def _notes(self) -> list[str]:
        notes = []
        if self.top:
            said = [f"{name} {_percent(p)}" for name, p in self.top]
            # On two lines: small pictures make a narrow sheet.
            notes.append(f"most probable: {', '.join(said[:2])}")
            notes += [f"then {', '.join(said[2:])}"] if said[2:] else []
        else:
            notes.append("%: pixels predicted as the class; p: its mean probability in the outline")
        if self.window is not None:
            top, left, height, width = self.window
            notes.append(f"{height} x {width} pixels from row {top}, column {left} of the picture")
        return notes

    def _repr_png_(self) -> bytes:
        return images.encode_png(self.picture)


def explain(
    run: Run | str | Path,
    image: str | Path | np.ndarray | Sequence[str | Path],
    *,
    out: str | Path | None = None,
    classes: str | Sequence[str] | None = None,
    method: str = "gradcam",
    layer: str | None = None,
    region: Window | tuple[int, int, int, int] | None = None,
    device: str = "auto",
    overwrite: bool = False,
    on_event: OnEvent | None = None,
) -> list[Explanation]:
    """Show where in an image, or in several, a network sees what speaks for a class.

    Args:
        run: The run, or its folder.
        image: A file, an array of pixel values "h w c", or a list of files and folders.
        out: Where to write `<stem>.explain.jpg`; nothing is written without.
        classes: Names of the classes to explain. None takes the predicted class of a classifier,
            and of a segmenter the four that are predicted at most pixels. A named class that is
            predicted nowhere is explained over all pixels.
        method: "gradcam", or "hirescam", which shows only what the score depends on.
        layer: Whose maps are explained, by its name inside the network; None takes the encoder,
            or the deepest maps of a segmenter that has none.
        region: Top, left, height and width in pixels: of a segmentation, explain these, whatever
            they are predicted as. Pictures of more than 2 megapixels need one.
        device: "auto", "cpu", "cuda" or "mps".
        overwrite: Replace explanations that are there.
        on_event: Told the progress; None draws it, in a terminal and a notebook alike.

    Returns:
        One explanation an image; with `out`, those of several images name their files and hold no
        pixels, which would fill memory.

    Raises:
        DataError: The image cannot be read, or is too large to be explained whole.
        MachineError: Some images of a list cannot be explained; the others are done.
        PredictError: There is no such layer, or it gives no maps.
        RecipeError: There is no such class or method.
    """
    model = build.load_model(Run.open(run), device)
    asked = _asked(model, classes, method, layer, region)
    folder = Path(out) if out is not None else None
    if isinstance(image, np.ndarray):
        if folder:
            _check_out([Path(_NAMELESS)], folder, overwrite)
        return [_explained(asked, pixel_values(image), None, folder)]
    given = [image] if isinstance(image, (str, Path)) else list(image)
    files = image_files([Path(item) for item in given])
    if folder:
        _check_out(files, folder, overwrite)
    with watched(on_event) as tell:
        return _all_explained(asked, files, folder, tell)


@dataclass(frozen=True)
class _Asked:
    """What is to be explained of every image."""

    model: build.Model
    explainer: cam.Explainer
    indices: tuple[int, ...]
    method: str
    region: Window | None


def _all_explained(
    asked: _Asked, files: Sequence[Path], folder: Path | None, tell: OnEvent
) -> list[Explanation]:
    done: list[Explanation] = []
    failed: list[str] = []
    for number, file in enumerate(files, 1):
        try:
            pixels = images.read_image(file, asked.model.channels)
            one = _explained(asked, pixels, file, folder)
        except DataError as error:
            if len(files) == 1:
                raise
            failed.append(str(error))
            tell(Event("note", {"text": str(error)}))
        else:
            done.append(one if len(files) == 1 or not folder else _light(one))
        tell(Event("progress", {"what": "explain", "done": number, "total": len(files)}))
    if failed:
        raise MachineError(
            f"{len(failed)} of {len(files)} images could not be explained, the others are done: "
            f"{first_few(failed)}"
        )
    return done


def _asked(
    model: build.Model,
    classes: str | Sequence[str] | None,
    method: str,
    layer: str | None,
    region: Window | tuple[int, int, int, int] | None,
) -> _Asked:
    names = model.classes.names
    wanted = [classes] if isinstance(classes, str) else list(classes or ())
    if method not in cam.METHODS:
        raise RecipeError(unknown("method", method, cam.METHODS))
    for name in wanted:
        if name not in names:
            raise RecipeError(unknown("class", name, names))
    if region is not None and model.one_label:
        raise RecipeError(
            f"The model {model.spec.name} gives a whole picture one label, so that no region of it "
            f"has a label of its own. Leave the region out."
        )
    explainer = cam.Explainer(
        model.network,
        model.field,
        layer=layer,
        channels=model.channels,
        device=model.engine.device,
    )
    indices = tuple(dict.fromkeys(names.index(name) for name in wanted))
    return _Asked(model, explainer, indices, method, None if region is None else Window(*region))


def _explained(
    asked: _Asked, pixels: _Pixels, source: Path | None, folder: Path | None
) -> Explanation:
    if pixels.ndim != 3 or pixels.shape[2] != asked.model.channels:
        raise DataError(
            f"The image is an array of {'x'.join(map(str, pixels.shape))}; the model takes height "
            f"x width x {asked.model.channels}."
        )
    of_kind = _label_explained if asked.model.one_label else _pixels_explained
    found = replace(of_kind(asked, pixels), source=source)
    if folder is None:
        return found
    make_folder(folder)
    file = folder / f"{source.stem if source else _NAMELESS}.explain.jpg"
    images.write_jpeg(file, found.picture)
    return replace(found, file=file)


def _label_explained(asked: _Asked, pixels: _Pixels) -> Explanation:
    model = asked.model
    assert model.side is not None
    seen = fitted(pixels, model.side)
    look = asked.explainer.look(seen)
    rows, cols = look.places
    if min(rows, cols) < COARSE:
        earlier = first_few(asked.explainer.parts[-2::-1])
        warnings.warn(
            f"The maps of the layer {asked.explainer.layer} have {rows} x {cols} places for "
            f"pictures of {seen.shape[0]} x {seen.shape[1]}, so that heat is coarse. Earlier "
            f"layers have finer maps{f': {earlier}' if earlier else ''}.",
            PixelwrightWarning,
            stacklevel=2,
        )
    likely = softmax(look.logits)
    order = np.argsort(-likely, kind="stable")[:TOP]
    names = model.classes.names
    heats = []
    for index in asked.indices or (int(order[0]),):
        heat = look.heat(index, cam.METHODS[asked.method])
        heats.append(ClassHeat(names[index], heat.map, heat.raw, float(likely[index])))
    top = tuple((names[k], float(likely[k])) for k in order)
    return Explanation(seen, tuple(heats), asked.explainer.layer, asked.method, top)


def _pixels_explained(asked: _Asked, pixels: _Pixels) -> Explanation:
    model = asked.model
    seen, window, region = _part(asked, pixels)
    look = asked.explainer.look(seen)
    likely = softmax(look.logits, axis=0)
    labels = likely.argmax(axis=0)
    shares = np.bincount(labels.ravel(), minlength=len(model.classes)) / labels.size
    asked_for = labels if region is None else labels[region]
    most = np.argsort(-np.bincount(asked_for.ravel(), minlength=len(model.classes)), kind="stable")
    occurring = [int(k) for k in most[:MOST_CLASSES] if (asked_for == k).any()]
    heats = []
    for index in asked.indices or occurring:
        explained = _pixels_of(labels, index) if region is None else region
        heat = look.heat(index, cam.METHODS[asked.method], explained)
        sure = float(likely[index][explained].mean())
        share = float(shares[index])
        name = model.classes.names[index]
        heats.append(ClassHeat(name, heat.map, heat.raw, sure, share, explained))
    return Explanation(seen, tuple(heats), asked.explainer.layer, asked.method, window=window)


def _pixels_of(labels: np.ndarray, index: int) -> _Region:
    """Those predicted as a class; all, where none is: why is it not there?"""
    pixels = labels == index
    return pixels if pixels.any() else np.ones_like(pixels)


def _part(
    asked: _Asked, pixels: _Pixels
) -> tuple[
    UInt8[np.ndarray, "part_h part_w c"], Window | None, Bool[np.ndarray, "part_h part_w"] | None
]:
    """What is shown to the network: the part itself, where it lies, and the region inside it.

    Raises:
        DataError: The picture is too large to be explained whole and no region is named, or the
            region does not lie in it.
    """
    height, width = pixels.shape[:2]
    region, too_large = asked.region, height * width > cam.GRADIENT_PIXELS
    if region is None:
        if too_large:
            raise DataError(
                f"The picture of {height} x {width} has more than the {cam.GRADIENT_PIXELS:,} "
                f"pixels that are explained in one pass. Name a region of it: top, left, height "
                f"and width in pixels."
            )
        return pixels, None, None
    top, left, rows, cols = region
    if min(region) < 0 or not rows * cols or top + rows > height or left + cols > width:
        raise DataError(
            f"The region of {rows} x {cols} from row {top}, column {left} does not lie in the "
            f"picture of {height} x {width}."
        )
    part = Window(0, 0, height, width)
    if too_large:
        part, complete = cam.around(region, (height, width), asked.model.field, cam.GRADIENT_PIXELS)
        if not complete:
            warnings.warn(
                f"Only {part.height} x {part.width} pixels around the region are shown to the "
                f"network, as more do not fit into one pass; in the whole picture it sees further.",
                PixelwrightWarning,
                stacklevel=2,
            )
    inside = np.zeros((part.height, part.width), bool)
    start = top - part.top, left - part.left
    inside[start[0] : start[0] + rows, start[1] : start[1] + cols] = True
    seen = pixels[part.top : part.top + part.height, part.left : part.left + part.width]
    return seen, part if too_large else None, inside


def _light(explanation: Explanation) -> Explanation:
    nothing = np.zeros((0, 0), np.float32)
    light = tuple(
        replace(one, heat=nothing, raw=nothing, pixels=None) for one in explanation.classes
    )
    channels = explanation.image.shape[2]
    return replace(explanation, image=np.zeros((0, 0, channels), np.uint8), classes=light)


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _check_out(files: Sequence[Path], folder: Path, overwrite: bool) -> None:
    seen: dict[str, Path] = {}
    for file in files:
        target = folder / f"{file.stem}.explain.jpg"
        if file.stem in seen:
            raise DataError(
                f"{seen[file.stem]} and {file} would both be explained in {target.name}. Explain "
                f"them into two folders."
            )
        seen[file.stem] = file
        if target.exists() and not overwrite:
            raise DataError(f"{target} is there already. Replace it with --overwrite.")
