"""An ONNX file or OpenVINO's own in OpenVINO, on a CPU."""

import io
import sys
from functools import cache
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Float32, UInt8
from torch import Tensor

from pixelwright.inference.backends import require
from pixelwright.inference.backends._tensors import in_and_out


def without_telemetry() -> None:
    """Keep OpenVINO and NNCF from telling their maker, over the network and unasked, of their use.

    They do so as soon as they are imported, in processes of their own, unless the package that does
    it is not there. To be called before either is imported.
    """
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]


class OpenVinoBackend:
    """Runs a file that `exporting` wrote: `image` float32 "n c h w", `logits` "n k *hw".

    Computes in float32 wherever the file does: left alone, OpenVINO takes bfloat16 on some CPUs,
    and its digits with it.

    Args:
        model: The file, `.onnx` or `.xml`, or what is in an ONNX file, or OpenVINO's own model.

    Raises:
        RecipeError: OpenVINO is not installed.
    """

    name = "openvino"
    device = torch.device("cpu")

    def __init__(self, model: Any) -> None:
        require("The backend 'openvino'", "openvino")
        without_telemetry()
        import openvino

        core = _core()
        read = model
        if isinstance(model, bytes | Path):
            content = io.BytesIO(model) if isinstance(model, bytes) else str(model)
            read = core.read_model(content)
        settings = {
            "INFERENCE_PRECISION_HINT": "f32",
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        }
        self._tensor = openvino.Tensor
        self._request: Any = core.compile_model(read, "CPU", settings).create_infer_request()
        shape = read.output(0).partial_shape
        self._logits = tuple(d.get_length() if d.is_static else None for d in shape)

    def __call__(
        self, images: UInt8[Tensor, "n c h w"] | Float[Tensor, "n c h w"]
    ) -> Float32[Tensor, "n k *hw"]:
        """Logits, on the CPU."""
        batch, logits = in_and_out(images, self._logits, self.device)
        # Both are views: OpenVINO reads and writes torch's own memory.
        self._request.set_input_tensor(self._tensor(batch.numpy(), shared_memory=True))
        self._request.set_output_tensor(self._tensor(logits.numpy(), shared_memory=True))
        self._request.infer()
        return logits


@cache
def _core() -> Any:
    """OpenVINO's root, one for the process, which is never given up.

    On Linux each that computes puts up a stack for signal handlers, and on its end takes that away
    and the one before it up again. Of two that end in the order they began, the second takes up
    what the first took away, and the next signal, such as that of Ctrl-C, ends the process with
    SIGSEGV (OpenVINO 2026.4).
    """
    import openvino

    return openvino.Core()
