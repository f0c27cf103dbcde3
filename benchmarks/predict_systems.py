"""The ways to give every pixel a class that `predict.py` compares, each in a process of its own."""

import ctypes
import gc
import statistics
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from machine_rate import multiply_adds
from torch import Tensor, nn

from pixelwright import build, memory
from pixelwright.images import array_raster
from pixelwright.jobs.mask_prediction import MaskPredictor, Wanted
from pixelwright.run import Run
from pixelwright.types import silent

Image = np.ndarray
"""uint8 "h w c"."""

Predict = Callable[[Image], tuple[np.ndarray, str]]
"""Classes "h w", and how they were made, if there is something to tell."""

WINDOW = 256
"""Side of the peers' windows."""


class Where(NamedTuple):
    """On what is computed, and how: "cpu" or "cuda", in "float32" or "bfloat16"."""

    device: str = "cpu"
    precision: str = "float32"

    def mixed(self) -> AbstractContextManager[object]:
        return torch.autocast(self.device, torch.bfloat16, enabled=self.precision == "bfloat16")


DECIDED = 1e-5
"""Pixels whose two best logits differ by more, relative to the larger, may not change class."""

RUNS = 4
"""Most that one system is timed for. Ours plans in the first, so it has two."""

NETWORK = "network.pt"
"""Beside a run: its network, for peers, who do not open runs."""


def ours(run: Path, where: Where, **options: Any) -> Predict:
    """As `pixelwright predict` works, on an array."""
    memory.huge_pages()
    opened, wanted = Run.open(run), Wanted(precision=where.precision, **options)
    job = MaskPredictor([build.load_model(opened, where.device)], [opened], wanted, silent)

    def predict(image: Image) -> tuple[np.ndarray, str]:
        done = job.one(array_raster(image, 3), "picture")
        return done.labels, str(done.plan)

    return predict


def network_of(run: Path, where: Where | None = None) -> nn.Module:
    """With its kernels as they were trained; channels last if it is to be somewhere."""
    network: nn.Module = torch.load(run / NETWORK, weights_only=False)
    if where is None:
        return network
    return network.to(where.device, memory_format=torch.channels_last)


def whole(run: Path, where: Where, *, channels_last: bool) -> Predict:
    """One pass of the network, as its author runs it."""
    network = network_of(run, where) if channels_last else network_of(run).to(where.device)
    form = torch.channels_last if channels_last else torch.contiguous_format

    @torch.inference_mode()
    def predict(image: Image) -> tuple[np.ndarray, str]:
        with where.mixed():
            batch = batch_of(image).to(where.device).contiguous(memory_format=form)
            return labels_of(network(batch)), ""

    return predict


def tiles(run: Path, where: Where) -> Predict:
    """Tiles side by side, which see nothing of each other."""
    network = network_of(run, where)

    @torch.inference_mode()
    def predict(image: Image) -> tuple[np.ndarray, str]:
        labels = np.empty(image.shape[:2], np.uint8)
        for top in range(0, image.shape[0], WINDOW):
            for left in range(0, image.shape[1], WINDOW):
                part = slice(top, top + WINDOW), slice(left, left + WINDOW)
                batch = batch_of(image[part]).to(where.device)
                with where.mixed():
                    logits = network(batch.contiguous(memory_format=torch.channels_last))
                labels[part] = labels_of(logits)
        return labels, ""

    return predict


def monai(run: Path, where: Where, *, overlap: float, mode: str) -> Predict:
    from monai.inferers import sliding_window_inference

    network = network_of(run, where)

    @torch.inference_mode()
    def predict(image: Image) -> tuple[np.ndarray, str]:
        batch = batch_of(image).to(where.device)
        batch = batch.to(torch.float32, memory_format=torch.channels_last)
        with where.mixed():
            logits = sliding_window_inference(batch, WINDOW, 4, network, overlap=overlap, mode=mode)
        assert isinstance(logits, Tensor)
        return labels_of(logits), ""

    return predict


def batch_of(image: Image) -> Tensor:
    return torch.from_numpy(image).permute(2, 0, 1).unsqueeze(0)


def labels_of(logits: Tensor) -> np.ndarray:
    # On a CPU `argmax` over channels takes four times as long.
    return logits.max(dim=1).indices[0].to(torch.uint8).cpu().numpy()


SYSTEMS: dict[str, Callable[[Path, Where], Predict]] = {
    "pixelwright": ours,
    "pixelwright, 1 GB": lambda run, at: ours(run, at, budget=10**9),
    "pixelwright, 2 GB": lambda run, at: ours(run, at, budget=2 * 10**9),
    "pixelwright, tiles": lambda run, at: ours(run, at, tile=1024),
    "pixelwright, ONNX Runtime": lambda run, at: ours(run, at, backend="onnxruntime"),
    "pixelwright, OpenVINO": lambda run, at: ours(run, at, backend="openvino"),
    "whole": lambda run, at: whole(run, at, channels_last=False),
    "whole, channels last": lambda run, at: whole(run, at, channels_last=True),
    f"tiles of {WINDOW}": tiles,
    "MONAI, overlap 0.25": lambda run, at: monai(run, at, overlap=0.25, mode="constant"),
    "MONAI, overlap 0.5": lambda run, at: monai(run, at, overlap=0.5, mode="gaussian"),
}

CPU_ONLY = ("pixelwright, 1 GB", "pixelwright, 2 GB", "pixelwright, ONNX Runtime")
CPU_ONLY += ("pixelwright, OpenVINO",)
"""Systems of which a GPU shows nothing, or that compute in float32 alone."""


def truth(run: Path, image: Path, out: Path, where: Where) -> int:
    """Classes of one pass in float32, and how far apart the two best logits lie, relatively.

    Returns:
        Multiply-adds of that pass.
    """
    network = network_of(run, where)
    pixels = np.load(image)
    with torch.inference_mode():
        best, classes = network(batch_of(pixels).to(where.device))[0].topk(2, dim=0)
        apart = (best[0] - best[1]) / best.abs().amax(0).clamp_min(1e-30)
    np.savez(out, labels=classes[0].to(torch.uint8).cpu().numpy(), apart=apart.cpu().numpy())
    return multiply_adds(network, 3, *pixels.shape[:2])


def measure(
    system: str, run: Path, picture: Path, reference: Path, seconds: float, where: Where
) -> dict[str, Any]:
    """One system on one picture: seconds, peak memory above the start, pixels that differ.

    Args:
        system: Of `SYSTEMS`.
        run: Of the network.
        picture: In a .npy file.
        reference: What `truth` wrote.
        seconds: After which no further run begins.
        where: On what. The memory of a GPU is that of its tensors.
    """
    image = np.load(picture)
    predict = SYSTEMS[system](run, where)
    predict(np.ascontiguousarray(image[:512, :512]))
    on_gpu = where.device != "cpu"
    if on_gpu:
        torch.cuda.reset_peak_memory_stats()
    held = torch.cuda.memory_allocated() if on_gpu else trimmed()
    memory.forget_peak()
    start = time.perf_counter()
    labels, plan = predict(image)
    taken = [time.perf_counter() - start]
    peak = (torch.cuda.max_memory_allocated() if on_gpu else memory.peak()) - held
    twice = system.startswith("pixelwright") or system == "whole, channels last"
    while (len(taken) < RUNS and sum(taken) < seconds) or len(taken) < 1 + twice:
        start = time.perf_counter()
        predict(image)
        taken.append(time.perf_counter() - start)
    # The first run may have prepared what the others find.
    median = statistics.median(taken[1:] or taken)
    with np.load(reference) as whole_pass:
        differ = labels != whole_pass["labels"]
        apart = whole_pass["apart"][differ]
    return {
        "seconds": median,
        "throughput": labels.size / median / 1e6,
        "peak_mb": peak / 1e6,
        "first": taken[0],
        "runs": taken,
        "plan": plan,
        "differ": int(differ.sum()),
        "decided": int((apart > DECIDED).sum()),
        "widest": float(apart.max(initial=0)),
        **({"busy": busy(lambda: predict(image))} if on_gpu else {}),
    }


def busy(work: Callable[[], object]) -> float:
    """Share of the time in which a GPU computes or copies."""
    from torch.profiler import ProfilerActivity, profile

    torch.cuda.synchronize()
    start = time.perf_counter()
    with profile(activities=[ProfilerActivity.CUDA]) as found:
        work()
        torch.cuda.synchronize()
        wall = time.perf_counter() - start
    return sum(event.self_device_time_total for event in found.key_averages()) / 1e6 / wall


def trimmed() -> int:
    """Bytes that this process holds once freed memory is given back."""
    gc.collect()
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
    return memory.resident()
