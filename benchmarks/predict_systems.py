"""The ways to give every pixel a class that `predict.py` compares, each in a process of its own."""

import ctypes
import gc
import statistics
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

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

DECIDED = 1e-5
"""Pixels whose two best logits differ by more, relative to the larger, may not change class."""

RUNS = 4
"""Most that one system is timed for. Ours plans in the first, so it has two."""

NETWORK = "network.pt"
"""Beside a run: its network, for peers, who do not open runs."""


def ours(run: Path, **options: Any) -> Predict:
    """As `pixelwright predict` works, on an array."""
    memory.huge_pages()
    opened = Run.open(run)
    job = MaskPredictor([build.load_model(opened, "cpu")], [opened], Wanted(**options), silent)

    def predict(image: Image) -> tuple[np.ndarray, str]:
        done = job.one(array_raster(image, 3), "picture")
        return done.labels, str(done.plan)

    return predict


def network_of(run: Path) -> nn.Module:
    network: nn.Module = torch.load(run / NETWORK, weights_only=False)
    return network


def whole(run: Path, *, channels_last: bool) -> Predict:
    """One pass of the network, as its author runs it."""
    network = network_of(run)
    form = torch.channels_last if channels_last else torch.contiguous_format
    network = network.to(memory_format=form)

    @torch.inference_mode()
    def predict(image: Image) -> tuple[np.ndarray, str]:
        return labels_of(network(batch_of(image).contiguous(memory_format=form))), ""

    return predict


def tiles(run: Path) -> Predict:
    """Tiles side by side, which see nothing of each other."""
    network = network_of(run).to(memory_format=torch.channels_last)

    @torch.inference_mode()
    def predict(image: Image) -> tuple[np.ndarray, str]:
        labels = np.empty(image.shape[:2], np.uint8)
        for top in range(0, image.shape[0], WINDOW):
            for left in range(0, image.shape[1], WINDOW):
                part = slice(top, top + WINDOW), slice(left, left + WINDOW)
                batch = batch_of(image[part]).contiguous(memory_format=torch.channels_last)
                labels[part] = labels_of(network(batch))
        return labels, ""

    return predict


def monai(run: Path, *, overlap: float, mode: str) -> Predict:
    from monai.inferers import sliding_window_inference

    network = network_of(run).to(memory_format=torch.channels_last)

    @torch.inference_mode()
    def predict(image: Image) -> tuple[np.ndarray, str]:
        batch = batch_of(image).to(torch.float32, memory_format=torch.channels_last)
        logits = sliding_window_inference(batch, WINDOW, 4, network, overlap=overlap, mode=mode)
        assert isinstance(logits, Tensor)
        return labels_of(logits), ""

    return predict


def batch_of(image: Image) -> Tensor:
    return torch.from_numpy(image).permute(2, 0, 1).unsqueeze(0)


def labels_of(logits: Tensor) -> np.ndarray:
    # On a CPU `argmax` over channels takes four times as long.
    return logits.max(dim=1).indices[0].to(torch.uint8).numpy()


SYSTEMS: dict[str, Callable[[Path], Predict]] = {
    "pixelwright": ours,
    "pixelwright, 1 GB": lambda run: ours(run, budget=10**9),
    "pixelwright, 2 GB": lambda run: ours(run, budget=2 * 10**9),
    "pixelwright, tiles": lambda run: ours(run, tile=1024),
    "pixelwright, ONNX Runtime": lambda run: ours(run, backend="onnxruntime"),
    "pixelwright, OpenVINO": lambda run: ours(run, backend="openvino"),
    "whole": lambda run: whole(run, channels_last=False),
    "whole, channels last": lambda run: whole(run, channels_last=True),
    f"tiles of {WINDOW}": tiles,
    "MONAI, overlap 0.25": lambda run: monai(run, overlap=0.25, mode="constant"),
    "MONAI, overlap 0.5": lambda run: monai(run, overlap=0.5, mode="gaussian"),
}


def truth(run: Path, image: Path, out: Path) -> int:
    """Classes of one pass in float32, and how far apart the two best logits lie, relatively.

    Returns:
        Multiply-adds of that pass.
    """
    network = network_of(run).to(memory_format=torch.channels_last)
    pixels = np.load(image)
    with torch.inference_mode():
        best, classes = network(batch_of(pixels))[0].topk(2, dim=0)
        apart = (best[0] - best[1]) / best.abs().amax(0).clamp_min(1e-30)
    np.savez(out, labels=classes[0].to(torch.uint8).numpy(), apart=apart.numpy())
    return multiply_adds(network, 3, *pixels.shape[:2])


def measure(
    system: str, run: Path, picture: Path, reference: Path, seconds: float
) -> dict[str, Any]:
    """One system on one picture: seconds, peak memory above the start, pixels that differ.

    Args:
        system: Of `SYSTEMS`.
        run: Of the network.
        picture: In a .npy file.
        reference: What `truth` wrote.
        seconds: After which no further run begins.
    """
    image = np.load(picture)
    predict = SYSTEMS[system](run)
    predict(np.ascontiguousarray(image[:512, :512]))
    held = trimmed()
    memory.forget_peak()
    start = time.perf_counter()
    labels, plan = predict(image)
    taken = [time.perf_counter() - start]
    peak = memory.peak() - held
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
    }


def trimmed() -> int:
    """Bytes that this process holds once freed memory is given back."""
    gc.collect()
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
    return memory.resident()
