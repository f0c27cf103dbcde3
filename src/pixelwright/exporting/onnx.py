"""A network as an ONNX file.

content = onnx_of(source)                # bytes, to be written or run
about(content)                           # what it says of itself
"""

import io
import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.export import ExportedProgram

from pixelwright import __version__
from pixelwright.errors import ExportError
from pixelwright.exporting.source import INPUT, OUTPUT, Source, program_of
from pixelwright.inference.backends import require

KEY = "pixelwright"
"""Under which a file says what it is, as JSON."""

_MOST = 2**31 - 1
"""Bytes of an ONNX file that keeps its weights within: what protobuf can hold."""


def onnx_of(source: Source) -> bytes:
    """What an ONNX file of the network holds.

    `image` takes float32 pixel values in [0, 255], "n c h w"; `logits` are "n k h w", or of a
    classifier "n k". Number, height and width are free.

    Raises:
        RecipeError: onnx or onnxscript is not installed.
        ExportError: The network cannot be written as ONNX.
    """
    require("Writing an ONNX file", "onnx", "onnxscript")
    program = program_of(source)
    with _quiet():
        try:
            built = torch.onnx.export(
                program, (), dynamo=True, input_names=[INPUT], output_names=[OUTPUT], verbose=False
            )
        except Exception as error:
            raise ExportError(
                f"The network cannot be written as ONNX: {_reason(error)}."
            ) from error
    assert built is not None
    model: Any = built.model
    _name_axes(model, program)
    model.producer_name, model.producer_version = "pixelwright", __version__
    model.metadata_props[KEY] = json.dumps(description(source), ensure_ascii=False)
    buffer = io.BytesIO()
    try:
        import onnx

        proto = built.model_proto
        buffer.write(proto.SerializeToString())
        onnx.checker.check_model(proto)
    except ValueError as error:  # of protobuf
        raise ExportError(
            f"The network is too large for an ONNX file, which holds {_MOST:,} bytes: {error}."
        ) from None
    return buffer.getvalue()


def description(source: Source) -> dict[str, Any]:
    """What a file says of the network in it."""
    field = source.field
    return {
        "pixelwright": __version__,
        "weights": source.digest,
        "classes": list(source.classes),
        "channels": source.channels,
        "pixels": "float32 in [0, 255], not centred, not scaled",
        "side": None if source.side is None else list(source.side),
        "field": {
            "before": field.before,
            "after": field.after,
            "stride": field.stride,
            "multiple": field.multiple,
            "unbounded": field.unbounded,
        },
        **source.about,
    }


def _name_axes(model: Any, program: ExportedProgram) -> None:
    """Call the free axes by their letters, wherever the exporter numbered them."""
    image, logits = model.graph.inputs[0], model.graph.outputs[0]
    image.shape = _lettered(image.shape)
    logits.shape = _lettered(logits.shape)


def _lettered(shape: Any) -> Any:
    import onnxscript.ir

    axes = zip(shape, "nchw", strict=False)
    return onnxscript.ir.Shape([size if isinstance(size, int) else axis for size, axis in axes])


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporter's remarks, which are for whoever wrote the network."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    before = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)


def _reason(error: Exception) -> str:
    """The first line of what went wrong at the bottom of it."""
    while error.__cause__ is not None and isinstance(error.__cause__, Exception):
        error = error.__cause__
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
