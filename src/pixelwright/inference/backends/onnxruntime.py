"""An ONNX file in ONNX Runtime.

On a CPU it has an arena, which keeps the memory of one picture for the next of the same size and
gives it back when the size changes. Where freed memory goes back to the system at once, that saves
a quarter of the processor time: at tiles of 1024 px, FCNN took 0.40 s of one core in place of
0.53 s, a U-Net over ResNet34 2.9 s in place of 3.8 s. Peaks were 1.4 times those without an arena,
about as much as torch's own; an arena as it comes had 1.6 times, and kept it.
"""

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float32, UInt8
from torch import Tensor

from pixelwright.errors import RecipeError
from pixelwright.inference.backends import require
from pixelwright.inference.backends._tensors import in_and_out

_ONLY_FATAL = 4
"""Of ONNX Runtime's log, which goes to standard error; what it raises is told in any case."""


class OnnxBackend:
    """Runs an ONNX file that `exporting` wrote: `image` float32 "n c h w", `logits` "n k *hw".

    Pictures and logits stay where torch has them: neither is copied, but for the change from
    integers and from channels last.

    Args:
        model: The file, or what is in it.
        device: "cpu", or "cuda" where the package of ONNX Runtime can use it.

    Raises:
        RecipeError: ONNX Runtime is not installed, or not for this device.
    """

    name = "onnxruntime"

    def __init__(self, model: bytes | Path, device: str | torch.device = "cpu") -> None:
        require("The backend 'onnxruntime'", "onnxruntime")
        import onnxruntime

        self.device = torch.device(device)
        options = onnxruntime.SessionOptions()
        options.log_severity_level = _ONLY_FATAL
        options.intra_op_num_threads = torch.get_num_threads()
        # One block for all steps, planned for each size of pictures anew.
        options.enable_mem_pattern = False
        _register_arena()
        options.add_session_config_entry("session.use_env_allocators", "1")
        # Threads that spin between steps were faster at every tile measured; between pictures they
        # would take the cores from whoever reads and writes.
        options.add_session_config_entry("session.force_spinning_stop", "1")
        content = model if isinstance(model, bytes) else str(model)
        self._session: Any = onnxruntime.InferenceSession(
            content, options, providers=providers(self.device)
        )
        self._logits = tuple(self._session.get_outputs()[0].shape)
        self._keeping, self._emptying = onnxruntime.RunOptions(), onnxruntime.RunOptions()
        self._emptying.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
        self._last: torch.Size | None = None

    @property
    def metadata(self) -> dict[str, str]:
        """What the file says of itself."""
        return dict(self._session.get_modelmeta().custom_metadata_map)

    def __call__(
        self, images: UInt8[Tensor, "n c h w"] | Float[Tensor, "n c h w"]
    ) -> Float32[Tensor, "n k *hw"]:
        """Logits, on the device."""
        batch, logits = in_and_out(images, self._logits, self.device)
        if self.device.type == "cuda":  # ONNX Runtime has a stream of its own
            torch.cuda.synchronize(self.device)
        binding = self._session.io_binding()
        binding.bind_input("image", *self._place(batch))
        binding.bind_output("logits", *self._place(logits))
        same = images.shape == self._last or self.device.type != "cpu"
        self._session.run_with_iobinding(binding, self._keeping if same else self._emptying)
        self._last = images.shape
        return logits

    def _place(self, tensor: Tensor) -> tuple[str, int, type, tuple[int, ...], int]:
        """Where a tensor lies, in ONNX Runtime's words."""
        index = self.device.index or 0
        return self.device.type, index, np.float32, tuple(tensor.shape), tensor.data_ptr()


@cache
def _register_arena() -> None:
    """Have ONNX Runtime ask for as much memory as it needs, not for the next power of two."""
    import onnxruntime

    kind = onnxruntime.OrtAllocatorType.ORT_ARENA_ALLOCATOR
    place = onnxruntime.OrtMemoryInfo("Cpu", kind, 0, onnxruntime.OrtMemType.DEFAULT)
    any_size, as_requested, default = 0, 1, -1
    settings = onnxruntime.OrtArenaCfg(any_size, as_requested, default, default)
    onnxruntime.create_and_register_allocator(place, settings)


def providers(device: torch.device) -> list[Any]:
    """What computes, the first choice first.

    Raises:
        RecipeError: Nothing here computes on this device.
    """
    if device.type == "cpu":
        return ["CPUExecutionProvider"]
    import onnxruntime

    there = onnxruntime.get_available_providers()
    if device.type != "cuda" or "CUDAExecutionProvider" not in there:
        raise RecipeError(
            f"The ONNX Runtime that is installed does not compute on '{device.type}'. Use --device "
            f"cpu or --backend torch; for CUDA, install onnxruntime-gpu in place of onnxruntime."
        )
    # TF32 keeps three digits, which is less than what files are checked for.
    cuda = {"device_id": device.index or 0, "use_tf32": 0}
    return [("CUDAExecutionProvider", cuda), "CPUExecutionProvider"]
