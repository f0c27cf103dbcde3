"""Tensors and plain values in one safetensors file, checked, and written whole or not at all.

No pickle: the header holds JSON, and a SHA-256 of every tensor.
"""

import hashlib
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from pixelwright.errors import CheckpointError, MachineError
from pixelwright.files import write_bytes

FORMAT = 1
"""Raised when an older program could not read a newer file."""


def save(path: Path, tensors: Mapping[str, Tensor], meta: Mapping[str, Any]) -> None:
    """Write a checkpoint.

    Args:
        path: Its final name, which it bears only when it is whole.
        tensors: On any device.
        meta: Whatever JSON can hold.

    Raises:
        MachineError: The disk has not 1.1 times the room, or the folder cannot be written.
    """
    held = {name: tensor.detach().to("cpu").contiguous() for name, tensor in tensors.items()}
    sums = {name: _digest(tensor) for name, tensor in held.items()}
    header = {
        "format": str(FORMAT),
        "pixelwright": json.dumps(meta),
        "sha256": json.dumps(sums),
    }
    data = safetensors.torch.save(held, header)
    path.parent.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(path.parent).free
    if free < 1.1 * len(data):
        raise MachineError(
            f"{path} needs {len(data):,} bytes and {free:,} are free. Make room, then continue "
            f"with --resume; the last checkpoint is unharmed."
        )
    write_bytes(path, data)


def load(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read a checkpoint and check every tensor against its sum.

    Raises:
        CheckpointError: It is missing, cut short, altered, from a newer version or not ours.
    """
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if "pixelwright" not in header:
            raise CheckpointError(f"{path} was not written by Pixelwright.")
        if int(header["format"]) > FORMAT:
            raise CheckpointError(
                f"{path} has format {header['format']}; this version reads up to {FORMAT}. "
                f"Update Pixelwright."
            )
        meta = json.loads(header["pixelwright"])
        sums = json.loads(header["sha256"])
    except FileNotFoundError:
        raise CheckpointError(f"There is no checkpoint at {path}.") from None
    except (SafetensorError, OSError, KeyError, ValueError, MemoryError) as error:
        size = path.stat().st_size if path.is_file() else 0
        raise CheckpointError(
            f"{path} ({size:,} bytes) is damaged: {str(error).splitlines()[0] or 'unreadable'}."
        ) from None
    for name, tensor in tensors.items():
        if sums.get(name) != _digest(tensor):
            raise CheckpointError(f"{path} is damaged: the tensor {name} has changed since saved.")
    return tensors, meta


def _digest(tensor: Tensor) -> str:
    flat = tensor.contiguous().reshape(-1)
    raw = flat.view(torch.uint8) if flat.numel() else flat
    return hashlib.sha256(raw.numpy().data).hexdigest()


class Checkpoints:
    """The folder of a training's checkpoints: `last`, the one before it, and `best`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.last = folder / "last.safetensors"
        self.previous = folder / "previous.safetensors"
        self.best = folder / "best.safetensors"

    def snapshot(self, step: int) -> Path:
        """Where the model of a step is kept, whatever it scores."""
        return self.folder / f"snapshot-{step}.safetensors"

    @property
    def snapshots(self) -> list[Path]:
        """The models kept along the way, the first first."""
        found = self.folder.glob("snapshot-*.safetensors")
        return sorted(found, key=lambda path: int(path.stem.partition("-")[2]))

    @property
    def any(self) -> bool:
        """Whether there is a state to go on from, good or damaged."""
        return self.last.is_file() or self.previous.is_file()

    def prepare(self) -> None:
        """Make the folder, and remove what an interrupted write left."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for orphan in self.folder.glob(".*.tmp"):
            orphan.unlink(missing_ok=True)

    def save_last(self, tensors: Mapping[str, Tensor], meta: Mapping[str, Any]) -> None:
        """Keep the newest state; the one before stays as `previous`."""
        if self.last.is_file():
            self.last.replace(self.previous)
        save(self.last, tensors, meta)

    def newest(self) -> tuple[dict[str, Tensor], dict[str, Any], str | None]:
        """The newest good state, and a sentence if a newer one is damaged.

        Raises:
            CheckpointError: There is no good one.
        """
        damage = None
        for path in (self.last, self.previous):
            try:
                tensors, meta = load(path)
            except CheckpointError as error:
                damage = damage or str(error)
            else:
                note = f"{damage} Continuing from {path.name}." if damage else None
                return tensors, meta, note
        raise CheckpointError(f"{damage} No good checkpoint is left in {self.folder}.")
