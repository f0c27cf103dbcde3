"""Predict pictures of any size: a class for every pixel, or one label, as the model gives it."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from pixelwright import build, images
from pixelwright.errors import DataError, PredictError, RecipeError, unknown
from pixelwright.files import check_folder
from pixelwright.inference import backends
from pixelwright.inference.answers import Extra
from pixelwright.inference.views import ALL_EIGHT, MIRRORED, PLAIN
from pixelwright.jobs.canvas import file_names
from pixelwright.jobs.label_prediction import (
    TABLE,
    LabelPrediction,
    check_out,
    predict_labels,
    write_table,
)
from pixelwright.jobs.mask_prediction import MaskPredictor
from pixelwright.jobs.masks import Prediction, Wanted
from pixelwright.jobs.unread import Unread, UnreadError, write_failed
from pixelwright.jobs.watch import watched
from pixelwright.memory import huge_pages, parse
from pixelwright.nn.normalise import looks_scaled
from pixelwright.run import Run
from pixelwright.types import Event, OnEvent

BACKENDS = ("auto", *backends.NAMES)

PRECISIONS = ("float32", "bfloat16", "float16")


def predict(
    run: Run | str | Path | Sequence[Run | str | Path],
    image: str | Path | np.ndarray | Sequence[str | Path],
    *,
    out: str | Path | None = None,
    tile: int | None = None,
    memory: str | int | None = None,
    backend: str = "torch",
    precision: str = "float32",
    compile: bool = False,
    probabilities: bool = False,
    uncertainty: bool = False,
    overwrite: bool = False,
    resume: bool = False,
    flip: bool = False,
    d4: bool = False,
    snapshots: bool = False,
    bands: Sequence[int] | None = None,
    nodata: images.NoData | None = None,
    page: int | None = None,
    device: str = "auto",
    on_event: OnEvent | None = None,
) -> Prediction | LabelPrediction | list[Prediction] | list[LabelPrediction]:
    """Predict one image or several, of any size.

    A class for every pixel is computed in one pass, by tiles, or band by band, whichever is
    fastest within the memory; the result is that of one pass over the whole image, unless the
    network needs all of it at once and memory is too small, which is said.

    Args:
        run: The run, or its folder; of several the probabilities are averaged.
        image: A file, an array of pixel values "h w c", or a list of files and folders.
        out: Where to write `<stem>.png` (class indices, with palette; `<stem>.tif` of a picture
            that knows where on earth it lies) and `<stem>.overlay.jpg`, or of a classifier
            `predictions.csv`; nothing is written without.
        tile: Most pixels to a side that the network sees at once.
        memory: That the process may take in all, as bytes or "2GB"; None takes a share of
            what is free.
        backend: torch, onnxruntime, openvino, or auto for the fastest that agrees with torch.
        precision: float32; or bfloat16 or, on a GPU, float16, in which most is computed, faster on
            machines made for it; pixels whose classes were nearly tied may get another.
        compile: Let `torch.compile` fuse the networks' steps, which takes a while at the start.
        probabilities: Also keep, and write, `<stem>.probabilities.npy`, uint8 "k h w" in steps of
            1/255; a classifier always tells them.
        uncertainty: Also `<stem>.entropy.png`, and with several networks or views
            `<stem>.disagreement.png`: 0 to 254 for the share of the most there can be.
        overwrite: Replace predictions that are there.
        resume: Go on where a prediction was stopped: pictures of which all that is wanted is
            written already are passed over.
        flip: See every picture mirrored as well, and average.
        d4: See it mirrored and turned in all eight ways; for networks that label pixels.
        snapshots: Take the models that a run kept along its way, in place of its best.
        bands: Which bands of the images to use, from 1.
        nodata: The value that stands for no data, "nan", or "alpha" for transparent pixels.
        page: Of images that have several, from 1.
        device: "auto", "cpu", "cuda" or "mps".
        on_event: Told the progress; None draws it, in a terminal and a notebook alike.

    Returns:
        One prediction for one image, else a list in the order of the files; with `out`, those of a
        list name their files and hold no pixels, which thousands of images would fill memory with.

    Raises:
        DataError: The one image cannot be read, or results would replace what is there.
        MachineError: Some of several images cannot be read (`jobs.UnreadError`, which holds the
            predictions of the others), or `out` cannot be made.
        PredictError: The memory is too small; it says how much would do.
        RecipeError: Options that are not for this kind of model, or a run that is given twice.
    """
    huge_pages()
    given_runs = [run] if isinstance(run, (Run, str, Path)) else list(run)
    opened = [Run.open(one) for one in given_runs]
    members = build.load_members(opened, device, snapshots=snapshots)
    if backend not in BACKENDS:
        raise RecipeError(unknown("backend", backend, BACKENDS))
    budget = parse(memory) if isinstance(memory, str) else memory
    folder = Path(out) if out is not None else None
    if folder is not None:
        check_folder(folder)
    several = len(members) > 1 or flip or d4
    extras: tuple[Extra, ...] = ("probabilities",) if probabilities else ()
    if uncertainty:
        extras += ("entropy", "disagreement") if several else ("entropy",)
    if members[0].one_label:
        _only_masks(
            tile=tile is not None, memory=budget is not None, backend=backend != "torch",
            precision=precision != "float32", compile=compile, probabilities=probabilities,
            uncertainty=uncertainty, d4=d4, resume=resume, bands=bands is not None,
            nodata=nodata is not None, page=page is not None,
        )  # fmt: skip
        return _labels_of(members, image, folder, flip, overwrite, on_event)
    _agree(overwrite=overwrite, resume=resume, flip=flip, d4=d4)
    if compile:
        _check_compile(backend, budget)
    _check_precision(precision, backend, members[0].engine.device.type)
    if bands is not None:
        images.check_bands(bands, members[0].channels)
    wanted = Wanted(
        out=folder,
        tile=tile,
        budget=budget,
        backend=backend,
        precision=precision,
        compile=compile,
        extras=extras,
        views=ALL_EIGHT if d4 else MIRRORED if flip else PLAIN,
        overwrite=overwrite,
        resume=resume,
        bands=None if bands is None else tuple(bands),
        nodata=nodata,
        page=page,
        light=folder is not None and not _single(image),
    )
    owners = opened if len(opened) == len(members) else [opened[0]] * len(members)
    with watched(on_event) as tell:
        return _masks_of(MaskPredictor(members, owners, wanted, tell), image)


def _masks_of(
    job: MaskPredictor, image: str | Path | np.ndarray | Sequence[str | Path]
) -> Prediction | list[Prediction]:
    out = job.wanted.out
    if isinstance(image, np.ndarray):
        wanted = job.wanted
        pixels = pixel_values(image)
        channels = job.models[0].channels
        raster = images.array_raster(pixels, channels, bands=wanted.bands, nodata=wanted.nodata)
        return job.one(raster, "prediction")
    given = _given(image)
    files, alone = image_files(given), _alone(given)
    before: dict[Path, Prediction] = {}
    if out is not None:
        _keep_apart(given, out)
        before = _there(files, job)
    left = [file for file in files if file not in before]
    failed: list[Unread] = []
    if alone and left:
        found = [job.one(job.open(files[0]), files[0].stem)]
    else:
        found, failed = job.several(left)
    if out is not None:
        write_failed(out, files, failed)
    made = {one.source: one for one in (*before.values(), *found)}
    done = [made[file] for file in files if file in made]
    if failed:
        raise UnreadError(failed, done)
    return done[0] if _single(image) else done


def _labels_of(
    members: Sequence[build.Model],
    image: str | Path | np.ndarray | Sequence[str | Path],
    folder: Path | None,
    flip: bool,
    overwrite: bool,
    on_event: OnEvent | None,
) -> LabelPrediction | list[LabelPrediction]:
    with watched(on_event) as tell:
        if isinstance(image, np.ndarray):
            return predict_labels(members, pixel_values(image), flip=flip, on_event=tell)[0][0]
        given = _given(image)
        files, alone = image_files(given), _alone(given)
        if folder:
            check_out(folder, overwrite)
        found, failed = predict_labels(members, files, flip=flip, on_event=tell, alone=alone)
        if folder:
            if found:
                write_table(folder, found)
            write_failed(folder, files, failed)
        if failed:
            raise UnreadError(failed, found)
        return found[0] if _single(image) else found


def _only_masks(**given: bool) -> None:
    """Refuse options that a classifier would ignore.

    Raises:
        RecipeError: One of them was given.
    """
    names = [f"--{name}" for name, there in given.items() if there]
    if names:
        listed = " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))
        be, them = ("is", "it") if len(names) == 1 else ("are", "them")
        likely = given["probabilities"] or given["uncertainty"]
        why = f" {TABLE} always holds the probabilities." if likely else ""
        raise RecipeError(
            f"{listed} {be} for networks that give every pixel a class, and this is a classifier."
            f"{why} Leave {them} out."
        )


def _check_compile(backend: str, budget: int | None) -> None:
    """Refuse what does not go with a compiled network.

    Raises:
        RecipeError: The backend is another, or memory is bounded.
    """
    if backend != "torch":
        raise RecipeError(
            f"--compile is for the backend torch, not for {backend}. Leave one of them out."
        )
    if budget is not None:
        raise RecipeError(
            "What torch.compile takes is not known beforehand, so that --memory could not be kept. "
            "Leave --compile or --memory out."
        )


def _check_precision(precision: str, backend: str, device: str) -> None:
    """Refuse a precision that is not there.

    Raises:
        RecipeError: It is not known, not for the device, or not for the backend.
    """
    if precision not in PRECISIONS:
        raise RecipeError(unknown("precision", precision, PRECISIONS))
    if backend != "torch" and precision != "float32":
        raise RecipeError(
            f"--precision {precision} is for the backend torch, not for {backend}. Leave one of "
            f"them out."
        )
    if precision == "float16" and device == "cpu":
        raise RecipeError(
            "float16 is for a GPU: a CPU computes faster in float32. Leave --precision out, or "
            "take bfloat16 on a CPU that is made for it."
        )


def _agree(*, overwrite: bool, resume: bool, flip: bool, d4: bool) -> None:
    """Refuse options that contradict each other.

    Raises:
        RecipeError: Two of them do.
    """
    if overwrite and resume:
        raise RecipeError(
            "--overwrite replaces results and --resume keeps them. Leave one of the two out."
        )
    if flip and d4:
        raise RecipeError("--d4 holds the mirrored view of --flip already. Leave --flip out.")


def _given(image: str | Path | Sequence[str | Path]) -> list[Path]:
    return [Path(image)] if isinstance(image, (str, Path)) else [Path(one) for one in image]


def _single(image: str | Path | np.ndarray | Sequence[str | Path]) -> bool:
    """Whether one prediction is asked for, and no list."""
    if isinstance(image, np.ndarray):
        return True
    return isinstance(image, (str, Path)) and not images.is_folder(image)


def _alone(given: Sequence[Path]) -> bool:
    """Whether one file is asked for, rather than what a folder holds: then it must be read."""
    return len(given) == 1 and not images.is_folder(given[0])


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


def _keep_apart(given: Sequence[Path], out: Path) -> None:
    """See that no results come to lie in a folder of pictures, where they would be some too.

    Raises:
        DataError: They would.
    """
    for folder in given:
        if folder.is_dir() and folder.resolve() == out.resolve():
            raise DataError(
                f"The results would lie among the pictures of {folder}, and be predicted with them "
                f"the next time. Take another --out."
            )


def _there(files: list[Path], job: MaskPredictor) -> dict[Path, Prediction]:
    """The files that are predicted already, and are passed over.

    Raises:
        DataError: Results would lie over one another, over an image, or over earlier ones.
    """
    wanted = job.wanted
    assert wanted.out is not None
    seen: dict[str, Path] = {}
    before: dict[Path, Prediction] = {}
    for file in files:
        if file.stem in seen:
            raise DataError(
                f"{seen[file.stem]} and {file} would both be written as {file.stem}.png. Predict "
                f"them into two folders."
            )
        seen[file.stem] = file
        targets = [wanted.out / file_names(file.stem, geo=geo)[0] for geo in (False, True)]
        there = [target for target in targets if target.exists()]
        if any(target.resolve() == file.resolve() for target in there):
            raise DataError(f"{file} would be replaced by its prediction. Take another --out.")
        if there and not (wanted.overwrite or wanted.resume):
            raise DataError(
                f"{there[0]} is there already. Replace it with --overwrite, or predict only what "
                f"is missing with --resume."
            )
        if there and wanted.resume:
            found = job.there(file)
            text = "is predicted already" if found else "lacks some of what is wanted: once more"
            job.tell(Event("note", {"text": f"{file.name} {text}"}))
            if found:
                before[file] = found
    return before
