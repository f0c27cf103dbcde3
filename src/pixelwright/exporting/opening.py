"""A backend by name, for a network: its file written once and kept, checked whenever it is opened.

backend = opened("onnxruntime", source, keep=run.path / "exports")
backend = choose(source, NAMES, sample, keep=..., on_event=...)        # the fastest that agrees
"""

import hashlib
import statistics
import time
from collections.abc import Sequence
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from pixelwright import __version__
from pixelwright.errors import ExportError, MachineError, PixelwrightError, RecipeError
from pixelwright.exporting.onnx import onnx_of
from pixelwright.exporting.source import Source
from pixelwright.exporting.verify import TOLERANCE, compare, verify
from pixelwright.files import write_bytes
from pixelwright.inference.backends import PACKAGES, Backend, Name, missing, require
from pixelwright.inference.backends.onnxruntime import OnnxBackend, providers
from pixelwright.inference.backends.openvino import OpenVinoBackend
from pixelwright.inference.backends.torch import TorchBackend
from pixelwright.types import Event, OnEvent, silent

FORMAT = 1
"""To be raised whenever the same network would give another file."""

WORTH_WHILE = 20.0
"""Seconds of torch from which on other backends are tried: to write a file for them takes five."""

_RUNS = 5
_MOST_SECONDS = 2.0
"""Of runs to time one backend by, the first and longest aside."""

_MOST_FILES = 8
"""That are kept in a folder, the newest."""

_PREFIX = "kept-"


def opened(
    name: Name,
    source: Source,
    *,
    keep: Path | None,
    device: str = "cpu",
    mixed: torch.dtype | None = None,
    compiled: bool = False,
) -> Backend:
    """A backend that computes what the network does, within `verify.TOLERANCE`.

    Args:
        name: Of `backends.NAMES`.
        source: The network.
        keep: The folder of files that were written for it before; made if need be. None keeps
            none.
        device: Where torch and ONNX Runtime compute; OpenVINO has the CPU.
        mixed: The type in which torch computes most, instead of the network's own.
        compiled: Whether torch compiles the network.

    Raises:
        RecipeError: A package is not installed, or does not compute on the device.
        ExportError: The network cannot be written as a file, or the backend does not agree.
    """
    if name == "torch":
        return TorchBackend(source.network, device, autocast=mixed, compiled=compiled)
    require(f"The backend '{name}'", *PACKAGES[name])
    if name == "onnxruntime":
        providers(torch.device(device))
    elif torch.device(device).type != "cpu":
        raise RecipeError(
            f"The backend 'openvino' computes on the CPU, not on '{device}'. Use --device cpu, or "
            f"--backend torch."
        )
    file = None if keep is None else keep / f"{_PREFIX}{_key(source)}.onnx"
    if file is not None and file.is_file():
        # A file that was damaged, or that a package changed its mind about, is written again.
        with suppress(ExportError):
            return _checked(name, file, source, device)
    content = onnx_of(source)
    backend = _checked(name, content, source, device)
    if file is not None:
        _keep(file, content)
    return backend


def _checked(name: Name, content: bytes | Path, source: Source, device: str) -> Backend:
    """A backend that runs a file, compared with the network.

    Raises:
        ExportError: It cannot be run, or does not agree.
    """
    try:
        backend: Backend = (
            OnnxBackend(content, device) if name == "onnxruntime" else OpenVinoBackend(content)
        )
        verify(backend, source, quick=True)
    except PixelwrightError:
        raise
    except Exception as error:  # both raise classes of their own making
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
        raise ExportError(f"The backend '{name}' cannot run the network: {reason}.") from error
    return backend


def choose(
    source: Source,
    names: Sequence[Name],
    sample: UInt8[Tensor, "n c h w"] | Float[Tensor, "n c h w"],
    *,
    keep: Path | None,
    pixels: int | None = None,
    device: str = "cpu",
    on_event: OnEvent = silent,
) -> Backend:
    """The fastest backend on this machine, for pictures such as the sample.

    Torch is timed first. Where all that is to be predicted would take it less than 20 seconds, it
    is taken at once. Those that are not installed are passed over; what is found is told by a note.

    Args:
        source: The network.
        names: Which to try.
        sample: A tile as it will be predicted, in size and number.
        keep: See `opened`.
        pixels: That are to be predicted in all; None is more than any.
        device: Where to compute.
        on_event: Told what was found.

    Returns:
        One of `names`; torch where none of them can be had.
    """
    reference = TorchBackend(source.network, device)
    truth = reference(sample)
    of_sample = sample.shape[0] * sample.shape[-2] * sample.shape[-1]
    rates = {"torch": of_sample / _seconds(reference, sample)}
    found: dict[str, Backend] = {"torch": reference}
    little = pixels is not None and pixels / rates["torch"] < WORTH_WHILE
    wanted = [] if little else [n for n in names if n != "torch" and not missing(n)]
    for name in wanted:
        try:
            backend = opened(name, source, keep=keep, device=device)
            agreement = compare(backend(sample).to(truth.device), truth, TOLERANCE)
            if not agreement.good:
                raise ExportError(f"The backend '{name}' is passed over: {agreement}.")
        except (ExportError, RecipeError) as error:
            on_event(Event("note", {"text": str(error)}))
            continue
        found[name] = backend
        rates[name] = of_sample / _seconds(backend, sample)
    if "torch" not in names and len(found) > 1:
        del found["torch"]
    best = max(found, key=rates.__getitem__)
    on_event(Event("note", {"text": _told(best, rates)}))
    return found[best]


def _told(best: str, rates: dict[str, float]) -> str:
    others = [f"{name} {rate / 1e6:.3g}" for name, rate in rates.items() if name != best]
    beside = f"; {', '.join(others)}" if others else ""
    return f"backend {best}: {rates[best] / 1e6:.3g} megapixels/s on a tile{beside}"


def _seconds(backend: Backend, sample: Tensor) -> float:
    """The median of a few runs, after one that does not count."""
    backend(sample)
    taken: list[float] = []
    while len(taken) < _RUNS and sum(taken) < _MOST_SECONDS:
        start = time.perf_counter()
        done = backend(sample)
        if done.device.type == "cuda":
            torch.cuda.synchronize(done.device)
        taken.append(time.perf_counter() - start)
    return statistics.median(taken)


def _keep(file: Path, content: bytes) -> None:
    """Keep a file for the next time; where that cannot be, it is written again then."""
    with suppress(OSError, MachineError):
        file.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(file, content)
        kept = file.parent.glob(f"{_PREFIX}*.onnx")
        for old in sorted(kept, key=lambda path: path.stat().st_mtime_ns)[:-_MOST_FILES]:
            old.unlink(missing_ok=True)


def _key(source: Source) -> str:
    """A name for the file: of the weights, and of the programs that write it."""
    found = [FORMAT, __version__, torch.__version__, source.digest]
    for package in ("onnx", "onnxscript"):
        with suppress(PackageNotFoundError):
            found.append(version(package))
    return hashlib.sha256(" ".join(map(str, found)).encode()).hexdigest()[:32]
