"""Predict pictures of any size: a class for every pixel, or one label, as the model gives it."""

import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float, Integer, UInt8

from pixelwright import build, images, render
from pixelwright.errors import DataError, PredictError, RecipeError
from pixelwright.files import write_bytes
from pixelwright.jobs.evaluation import check_options
from pixelwright.jobs.label_prediction import (
    LabelPrediction,
    check_out,
    failure,
    predict_labels,
    write_table,
)
from pixelwright.jobs.watch import watched
from pixelwright.nn.normalise import looks_scaled
from pixelwright.run import Run
from pixelwright.types import Classes, Event, OnEvent


@dataclass(frozen=True)
class Prediction:
    """The classes of an image.

    Args:
        labels: Class index of every pixel.
        classes: What the indices mean.
        image: What was predicted, as the network saw it.
        probabilities: Of every class, if asked for.
        files: What was written, if anything.
    """

    labels: Integer[np.ndarray, "h w"]
    classes: Classes
    image: UInt8[np.ndarray, "h w c"]
    probabilities: Float[np.ndarray, "k h w"] | None = None
    files: tuple[Path, ...] = ()

    @property
    def overlay(self) -> UInt8[np.ndarray, "h w 3"]:
        """The image with the classes over it."""
        return render.overlay(self.image, self.labels.astype(np.int16), self.classes.colors)

    def _repr_png_(self) -> bytes:
        return images.encode_png(self.overlay)


def predict(
    run: Run | str | Path | Sequence[Run | str | Path],
    image: str | Path | np.ndarray | Sequence[str | Path],
    *,
    out: str | Path | None = None,
    tile: int | None = None,
    probabilities: bool = False,
    overwrite: bool = False,
    flip: bool = False,
    snapshots: bool = False,
    device: str = "auto",
    on_event: OnEvent | None = None,
) -> Prediction | LabelPrediction | list[Prediction] | list[LabelPrediction]:
    """Predict one image or several, of any size.

    Args:
        run: The run, or its folder; of classifiers several, whose probabilities are averaged.
        image: A file, an array of pixel values "h w c", or a list of files and folders.
        out: Where to write `<stem>.png` (class indices, with palette) and `<stem>.overlay.jpg`, or
            of a classifier `predictions.csv`; nothing is written without.
        tile: Most pixels to a side that the network sees at once.
        probabilities: Also keep, and write, `<stem>.probabilities.npy`; a classifier always tells
            them.
        overwrite: Replace predictions that are there.
        flip: Let classifiers see every picture mirrored as well, and average.
        snapshots: Take the models that a run kept along its way, in place of its best.
        device: "auto", "cpu", "cuda" or "mps".
        on_event: Told the progress; None draws it, in a terminal and a notebook alike.

    Returns:
        One prediction for one image, else a list in the order of the files; with `out`, those of a
        list name their files and hold no pixels, which thousands of images would fill memory with.

    Raises:
        DataError: The image cannot be read.
        MachineError: Some images of a list cannot be read; the others are done.
        RecipeError: Options that are not for this kind of model.
    """
    given_runs = [run] if isinstance(run, (Run, str, Path)) else list(run)
    opened = [Run.open(one) for one in given_runs]
    members = build.load_members(opened, device, snapshots=snapshots)
    model = members[0]
    check_options(model, tile=tile, flip=flip, together=snapshots or len(members) > 1)
    if model.one_label and probabilities:
        raise RecipeError(
            "--probabilities is for networks that give every pixel a class; predictions.csv always "
            "holds those of a classifier. Leave it out."
        )
    folder = Path(out) if out is not None else None
    if isinstance(image, np.ndarray):
        array = pixel_values(image)
        if model.one_label:
            with watched(on_event) as tell:
                return predict_labels(members, array, flip=flip, on_event=tell)[0][0]
        return _predict_one(model, array, None, folder, tile, probabilities)
    single = isinstance(image, (str, Path)) and not images.is_folder(image)
    given = [image] if isinstance(image, (str, Path)) else list(image)
    files = image_files([Path(item) for item in given])
    with watched(on_event) as tell:
        if model.one_label:
            return _labels_of(members, files, folder, flip, overwrite, single, tell)
        return _masks_of(model, files, folder, tile, probabilities, overwrite, single, tell)


def _masks_of(
    model: build.Model,
    files: list[Path],
    folder: Path | None,
    tile: int | None,
    probabilities: bool,
    overwrite: bool,
    single: bool,
    on_event: OnEvent,
) -> Prediction | list[Prediction]:
    if folder:
        _check_out(files, folder, overwrite)
    done: list[Prediction] = []
    failed: list[str] = []
    for number, file in enumerate(files, 1):
        try:
            pixels = images.read_image(file, model.channels)
            one = _predict_one(model, pixels, file, folder, tile, probabilities)
        except DataError as error:
            if single:
                raise
            failed.append(str(error))
            on_event(Event("note", {"text": str(error)}))
        else:
            done.append(one if single or not folder else _light(one))
        on_event(Event("progress", {"what": "predict", "done": number, "total": len(files)}))
    if failed:
        raise failure(failed, len(files))
    return done[0] if single else done


def _labels_of(
    members: Sequence[build.Model],
    files: list[Path],
    folder: Path | None,
    flip: bool,
    overwrite: bool,
    single: bool,
    on_event: OnEvent,
) -> LabelPrediction | list[LabelPrediction]:
    if folder:
        check_out(folder, overwrite)
    found, failed = predict_labels(members, files, flip=flip, on_event=on_event, single=single)
    if folder:
        write_table(folder, found)
    if failed:
        raise failure(failed, len(files))
    return found[0] if single else found


def pixel_values(image: np.ndarray) -> UInt8[np.ndarray, "h w c"]:
    """An array as pixel values.

    Raises:
        PredictError: It holds something else, such as parts of the full range.
    """
    if image.dtype == np.uint8:
        return image
    if np.issubdtype(image.dtype, np.integer) and image.size and image.min() >= 0:
        if image.max() <= 255:
            return image.astype(np.uint8)
        found = f"values up to {image.max()}"
    elif looks_scaled(image):
        found = f"no value above {np.abs(image).max():.3g}, as if it were scaled already"
    else:
        found = "values that are no pixel values"
    raise PredictError(
        f"The image is an array of {image.dtype} with {found}. Give pixel values from 0 to 255, as "
        f"uint8: the model centres and scales them itself."
    )


def _light(prediction: Prediction) -> Prediction:
    nothing = np.zeros((0, 0, prediction.image.shape[2]), np.uint8)
    return replace(prediction, labels=nothing[..., 0], image=nothing, probabilities=None)


def _predict_one(
    model: build.Model,
    pixels: UInt8[np.ndarray, "h w c"],
    file: Path | None,
    folder: Path | None,
    tile: int | None,
    probabilities: bool,
) -> Prediction:
    predictor = model.predictor(tile)
    likely = predictor.probabilities(pixels).cpu().numpy() if probabilities else None
    labels = predictor.labels(pixels) if likely is None else _labels(likely)
    result = Prediction(labels, model.classes, pixels, likely)
    if folder is None:
        return result
    stem = file.stem if file else "prediction"
    folder.mkdir(parents=True, exist_ok=True)
    written = [folder / f"{stem}.png", folder / f"{stem}.overlay.jpg"]
    images.write_mask(written[0], labels, model.classes.colors)
    images.write_jpeg(written[1], result.overlay)
    if likely is not None:
        written.append(folder / f"{stem}.probabilities.npy")
        write_bytes(written[-1], _npy(likely))
    return replace(result, files=tuple(written))


def _labels(likely: Float[np.ndarray, "k h w"]) -> Integer[np.ndarray, "h w"]:
    return np.asarray(likely.argmax(0), np.uint8 if len(likely) <= 256 else np.uint16)


def _npy(array: Float[np.ndarray, "k h w"]) -> bytes:
    """Half precision as a .npy file: three digits of a probability are plenty."""
    buffer = io.BytesIO()
    np.save(buffer, array.astype(np.float16), allow_pickle=False)
    return buffer.getvalue()


def image_files(given: list[Path]) -> list[Path]:
    """The files named, and those in the folders named."""
    files: list[Path] = []
    for path in given:
        if images.is_folder(path):
            held = images.children(path)
            inside = [p for p in held if p.suffix.lower() in images.IMAGE_SUFFIXES]
            if not inside:
                raise DataError(f"{path} holds no image.")
            files += inside
        elif not images.exists(path):
            raise DataError(f"There is no image at {path}.")
        else:
            files.append(path)
    return files


def _check_out(files: list[Path], folder: Path, overwrite: bool) -> None:
    seen: dict[str, Path] = {}
    for file in files:
        if file.stem in seen:
            raise DataError(
                f"{seen[file.stem]} and {file} would both be written as {file.stem}.png. Predict "
                f"them into two folders."
            )
        seen[file.stem] = file
        target = folder / f"{file.stem}.png"
        if target.exists() and target.resolve() == file.resolve():
            raise DataError(f"{file} would be replaced by its prediction. Take another --out.")
        if target.exists() and not overwrite:
            raise DataError(f"{target} is there already. Replace it with --overwrite.")
