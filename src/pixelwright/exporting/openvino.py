"""A network as OpenVINO's own pair of files, in float32 or quantised to 8 bits.

model = openvino_of(onnx_of(source))
small = quantised(model, pictures)
write(small, Path("model-int8.xml"))
"""

import contextlib
import io
import json
import logging
import secrets
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from pixelwright.errors import ExportError, MachineError, shown
from pixelwright.exporting.onnx import KEY
from pixelwright.inference.backends import require
from pixelwright.inference.backends.openvino import without_telemetry

_NAMES = ("model.xml", "model.bin")


def openvino_of(content: bytes) -> Any:
    """OpenVINO's model of what is in an ONNX file.

    Raises:
        RecipeError: OpenVINO is not installed.
        ExportError: It does not know a step of the network.
    """
    require("Writing OpenVINO's files", "openvino")
    without_telemetry()
    import openvino

    try:
        model = openvino.Core().read_model(io.BytesIO(content))
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1].rstrip(".")
        raise ExportError(f"OpenVINO cannot take the network over: {reason}.") from error
    return model


def quantised(model: Any, pictures: Sequence[UInt8[np.ndarray, "n c _h _w"]]) -> Any:
    """The same model with 8-bit weights and values, their ranges taken from pictures.

    Args:
        model: Of OpenVINO. It is left as it is.
        pictures: In sizes that the model takes, such as those it was trained on; a few hundred.

    Raises:
        RecipeError: NNCF is not installed.
        ExportError: There is no picture, or NNCF does not know a step.

    Paper: Jacob et al., 2018, https://arxiv.org/abs/1712.05877, integers in place of floats;
    Kozlov et al., 2020, https://arxiv.org/abs/2002.08679, NNCF
    """
    require("Quantising to 8 bits", "openvino", "nncf")
    if not pictures:
        raise ExportError("There is no picture to take the ranges of 8-bit numbers from.")
    without_telemetry()
    with _quiet():
        import nncf

        try:
            return nncf.quantize(
                model,
                nncf.Dataset(pictures, lambda picture: picture.astype(np.float32)),
                # Values may be asymmetric around zero, weights are not: half the loss of accuracy
                # of the symmetric kind where something else than ReLU comes before.
                preset=nncf.QuantizationPreset.MIXED,
                subset_size=len(pictures),
            )
        except Exception as error:
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
            raise ExportError(f"The network cannot be quantised to 8 bits: {reason}.") from error


def write(model: Any, path: Path, about: Mapping[str, Any]) -> tuple[Path, Path]:
    """Write a model, both files or none.

    Args:
        model: Of OpenVINO.
        path: Of the structure, `.xml`; the weights lie beside it in a `.bin`.
        about: What the file says of itself.

    Returns:
        The two files.

    Raises:
        MachineError: The disk is full, or the folder cannot be written.
    """
    import openvino

    model.set_rt_info(json.dumps(about, ensure_ascii=True), [KEY])
    weights = path.with_suffix(".bin")
    folder = path.parent / f".pixelwright-{secrets.token_hex(8)}.tmp"
    try:
        folder.mkdir()
        try:
            # Half precision would halve the file, and keep three digits.
            openvino.save_model(model, folder / _NAMES[0], compress_to_fp16=False)
            # The structure names the pair, so it comes last.
            (folder / _NAMES[1]).replace(weights)
            (folder / _NAMES[0]).replace(path)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    except (OSError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or str(error).strip().splitlines()[-1]
        raise MachineError(f"{shown(path)} cannot be written: {reason}.") from error
    return path, weights


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without NNCF's log and bars; they are drawn by our own console or not at all."""
    logger = logging.getLogger("nncf")
    before = logger.disabled
    logger.disabled = True
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        logger.disabled = before
