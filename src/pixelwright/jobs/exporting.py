"""Write a run's network as a file for other programs: ONNX or OpenVINO, in float32 or 8 bits."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from pixelwright import build
from pixelwright.build.sources import source_of
from pixelwright.data import index
from pixelwright.errors import DataError, MachineError, RecipeError, unknown
from pixelwright.exporting.onnx import description, onnx_of
from pixelwright.exporting.openvino import openvino_of, quantised, write
from pixelwright.exporting.verify import Agreement, verify
from pixelwright.files import write_bytes
from pixelwright.inference.backends import require
from pixelwright.inference.backends.onnxruntime import OnnxBackend
from pixelwright.inference.backends.openvino import OpenVinoBackend
from pixelwright.jobs.calibration import Loss, loss_of, parts
from pixelwright.jobs.watch import watched
from pixelwright.recipe import Recipe
from pixelwright.run import Run
from pixelwright.types import Event, Index, OnEvent

Format = Literal["onnx", "openvino"]
SUFFIXES: Mapping[Format, str] = {"onnx": ".onnx", "openvino": ".xml"}

STEM = "model"
"""What files are called where --out names a folder, or nothing."""


@dataclass(frozen=True)
class Exported:
    """What was written, and how near it comes to the run's network.

    Args:
        files: Written; OpenVINO's come in pairs.
        agreement: Of the file in float32 with the network.
        loss: What 8 bits cost on the validation split, if they were asked for.
    """

    files: tuple[Path, ...]
    agreement: Agreement
    loss: Loss | None = None


def export(
    run: Run | str | Path,
    *,
    to: str | None = None,
    int8: bool = False,
    out: str | Path | None = None,
    overwrite: bool = False,
    on_event: OnEvent | None = None,
) -> Exported:
    """Write the network of a run for other programs.

    The file takes pixel values, "image" float32 "n c h w" in [0, 255], and gives "logits"; number,
    height and width are free, but for what its metadata say. It is run, and compared with the
    network, before it bears its name. Everything is done on the CPU, so that it does not depend on
    the machine.

    Args:
        run: The run, or its folder.
        to: "onnx" or "openvino"; by default what the suffix of `out` says, else OpenVINO for
            `int8` and ONNX without.
        int8: Also write a quantised file beside it, `<stem>-int8.xml`, its ranges taken from
            training pictures, and score both on the validation split.
        out: A file `.onnx` or `.xml`, or a folder, made if need be; by default `exports` in the
            run, where what lies there is replaced.
        overwrite: Replace files at `out`.
        on_event: Told the progress; None draws it, in a terminal and a notebook alike.

    Raises:
        ExportError: The network cannot be written in this format, or what was written does not
            compute the same.
        RecipeError: A package is not installed, or options contradict each other.
        DataError: `int8` without pictures to take ranges from.
    """
    opened = Run.open(run)
    form = _format(to, out, int8)
    require(f"Exporting to {_TITLES[form]}", *_NEEDED[form], *(("nncf",) if int8 else ()))
    path = _target(opened, form, out)
    targets = [path, *([path.with_name(f"{path.stem}-int8.xml")] if int8 else [])]
    if out is not None and not overwrite:
        for target in targets:
            if target.exists():
                raise RecipeError(f"{target} is there already. Replace it with --overwrite.")
    model = build.load_model(opened, "cpu")
    with watched(on_event) as tell:
        found = _data(opened, model) if int8 else None
        tell(Event("note", {"text": f"tracing {model.spec.name}"}))
        source = source_of(model)
        content = onnx_of(source)
        _make(path.parent)
        if form == "onnx":
            agreement = verify(OnnxBackend(content), source)
            write_bytes(path, content)
            return Exported((path,), agreement)
        agreement = verify(OpenVinoBackend(content), source)
        about = description(source)
        files = write(openvino_of(content), path, about)
        if found is None:
            return Exported(files, agreement)
        loss, small = _quantise(model, found, content, targets[-1], about, tell)
        return Exported((*files, *small), agreement, loss)


_TITLES: Mapping[Format, str] = {"onnx": "ONNX", "openvino": "OpenVINO"}
_NEEDED: Mapping[Format, tuple[str, ...]] = {
    "onnx": ("onnx", "onnxscript", "onnxruntime"),
    "openvino": ("onnx", "onnxscript", "openvino"),
}


def _format(to: str | None, out: str | Path | None, int8: bool) -> Format:
    """The format that is meant.

    Raises:
        RecipeError: There is no such format, or options contradict each other.
    """
    asked = next((form for form in get_args(Format) if form == to), None)
    if to is not None and asked is None:
        raise RecipeError(unknown("format", to, SUFFIXES))
    suffix = "" if out is None else Path(out).suffix.lower()
    named = next((form for form in get_args(Format) if SUFFIXES[form] == suffix), None)
    if asked and named and asked != named:
        raise RecipeError(
            f"--out {out} is a file of {_TITLES[named]}, and --to says {to}. Give "
            f"{SUFFIXES[asked]} or leave out --to."
        )
    form: Format = asked or named or ("openvino" if int8 else "onnx")
    if int8 and form != "openvino":
        raise RecipeError(
            "--int8 writes files of OpenVINO: 8 bits are worth while with its kernels. Use --to "
            "openvino, or leave out --int8."
        )
    return form


def _target(run: Run, form: Format, out: str | Path | None) -> Path:
    if out is None:
        return run.exports / f"{STEM}{SUFFIXES[form]}"
    path = Path(out)
    return path if path.suffix.lower() == SUFFIXES[form] else path / f"{STEM}{SUFFIXES[form]}"


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise MachineError(f"The folder {folder} cannot be made: {error.strerror}.") from None


def _data(run: Run, model: build.Model) -> Index:
    """The data that the run was trained on.

    Raises:
        DataError: It cannot be read, or lacks a split.
    """
    spec = Recipe.read(run.recipe_file).data
    try:
        found = index.load(spec)
        empty = [split for split in ("train", "val") if not found.splits.get(split)]
        if empty:
            raise DataError(f"{spec} has no split '{empty[0]}'.")
    except DataError as error:
        raise DataError(
            f"--int8 takes ranges from training pictures and is scored on validation pictures, and "
            f"those of {run.path} cannot be had. {error}"
        ) from None
    return found


def _quantise(
    model: build.Model,
    found: Index,
    content: bytes,
    path: Path,
    about: Mapping[str, Any],
    tell: OnEvent,
) -> tuple[Loss, tuple[Path, ...]]:
    pictures = parts(model, found)
    tell(Event("note", {"text": f"taking ranges from {len(pictures)} pictures of 'train'"}))
    small = quantised(openvino_of(content), pictures)
    loss = loss_of(model, found, OpenVinoBackend(content), OpenVinoBackend(small), "val", tell)
    told = {"int8": str(loss), "before": loss.before.value, "after": loss.after.value}
    return loss, write(small, path, {**about, **told})
