"""VGG16 as Keras saves it, read into our names: files of weights and of whole models.

Keras keeps kernels as "h w in out", lays maps flat with their channels last, and its VGG16 takes
blue, green and red less their means, the pixels unscaled. All of that is turned into ours exactly.
Source: keras.applications, https://keras.io/api/applications/vgg/
"""

import io
import math
import re
import zipfile
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pixelwright.build.published.vgg16 import BLOCKS, CAFFE
from pixelwright.build.published.weights import Weights
from pixelwright.errors import CheckpointError

SUFFIXES = (".h5", ".hdf5", ".keras")

LARGEST = 2**28
"""Numbers in a tensor; the first dense layer of VGG16 has 2**27."""

CONVOLUTIONS = [f"block{b}_conv{c}" for b, many in enumerate(BLOCKS, 1) for c in range(1, many + 1)]
DENSE = {"fc1": "fc1", "fc2": "fc2", "predictions": "out"}
"""Our names of Keras's dense layers."""

# "block1_conv1/block1_conv1_W_1:0", "model_weights/block1_conv1/block1_conv1/kernel:0", "fc1/bias".
_NAMED = re.compile(r"(?:^|.*/)(block[1-5]_conv[1-3]|fc[12]|predictions)/(?:.*[/_])?([^/_]+)")
_PARTS = {"W": "kernel", "kernel": "kernel", "b": "bias", "bias": "bias"}
# Keras 3 counts the layers of each kind: "layers/conv2d_3/vars/0" is the kernel of the fourth.
_COUNTED = re.compile(r"(.*)/(conv2d|dense)(?:_(\d+))?/vars/([01])")

Layers = dict[str, dict[str, Any]]


def read(path: Path) -> Weights:
    """The weights of a file of Keras under our own names.

    Raises:
        CheckpointError: It cannot be read, or is not of a VGG16.
    """
    try:
        import h5py
    except ImportError:
        raise CheckpointError(
            f"{path} is a file of Keras, and h5py, which reads those, is not installed. Install it "
            f"with 'pip install pixelwright[keras]'."
        ) from None
    try:
        with h5py.File(_opened(path), "r") as file:
            layers = _layers(file)
            missing = [name for name in CONVOLUTIONS if set(layers[name]) != {"kernel", "bias"}]
            if missing:
                raise CheckpointError(
                    f"{path} is not of a VGG16: of its 13 convolutions, {missing[0]} is missing"
                    f"{f' and {len(missing) - 1} more are' if len(missing) > 1 else ''}."
                )
            tensors = dict(_ours(layers, path))
    except (OSError, ValueError, KeyError, RuntimeError, zipfile.BadZipFile) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
        raise CheckpointError(f"{path} cannot be read as a file of Keras: {reason}.") from None
    mean, std = CAFFE
    note = (
        "Its first kernels were turned from blue, green, red to red, green, blue, and pictures are "
        "centred as Keras does it for VGG16; if it was trained otherwise, set mean and std."
    )
    return Weights(tensors, str(path), mean, std, notes=(note,))


def _opened(path: Path) -> Any:
    """The file, or that inside of a zip archive with configuration and weights."""
    if path.suffix.lower() != ".keras":
        return path
    with zipfile.ZipFile(path) as archive:
        if archive.getinfo("model.weights.h5").file_size > 8 * LARGEST:
            raise ValueError("it holds far more than a VGG16")
        return io.BytesIO(archive.read("model.weights.h5"))


def _layers(file: Any) -> Layers:
    """Kernel and bias by the name of the layer."""
    import h5py

    named: Layers = defaultdict(dict)
    counted: dict[tuple[str, str], Layers] = defaultdict(lambda: defaultdict(dict))

    def look(name: str, found: Any) -> None:
        if not isinstance(found, h5py.Dataset) or name.startswith("optimizer"):
            return
        if match := _NAMED.fullmatch(re.sub(r"(_\d+)?(:0)?$", "", name)):
            if match[2] in _PARTS:
                named[match[1]][_PARTS[match[2]]] = found
        elif match := _COUNTED.fullmatch(name):
            where, kind, number, part = match.groups()
            own = str(found.parent.attrs.get("name", ""))
            key = own if own in CONVOLUTIONS or own in DENSE else number or "0"
            counted[where, kind][key]["bias" if part == "1" else "kernel"] = found

    file.visititems(look)
    for (_, kind), layers in counted.items():
        names = CONVOLUTIONS if kind == "conv2d" else list(DENSE)
        if set(layers) <= set(names):
            named |= layers
        elif len(layers) == len(names) and all(key.isdigit() for key in layers):
            named |= zip(names, (layers[key] for key in sorted(layers, key=int)), strict=True)
    return named


def _ours(layers: Layers, path: Path) -> Iterator[tuple[str, Tensor]]:
    for name in CONVOLUTIONS:
        kernel = _tensor(layers[name]["kernel"])
        if kernel.ndim != 4 or kernel.shape[:2] != (3, 3):
            raise CheckpointError(
                f"{path} has kernels of {tuple(kernel.shape)} in {name}, not (3, 3, in, out): they "
                f"lie as for Theano. Take the file whose name says tf_kernels."
            )
        kernel = kernel.permute(3, 2, 0, 1)
        if name == CONVOLUTIONS[0] and kernel.shape[1] == 3:
            kernel = kernel.flip(1)
        place = f"encoder.{name.replace('_', '.')}"
        yield f"{place}.weight", kernel.contiguous()
        yield f"{place}.bias", _tensor(layers[name]["bias"])
    channels = layers[CONVOLUTIONS[-1]]["kernel"].shape[-1]
    for name, ours in DENSE.items():
        if set(layers[name]) != {"kernel", "bias"}:
            continue
        kernel = _tensor(layers[name]["kernel"])
        if name == "fc1":
            side = math.isqrt(len(kernel) // channels)
            if side * side * channels == len(kernel):
                maps = kernel.reshape(side, side, channels, -1)
                kernel = maps.permute(2, 0, 1, 3).reshape(len(kernel), -1)
        yield f"head.{ours}.weight", kernel.T.contiguous()
        yield f"head.{ours}.bias", _tensor(layers[name]["bias"])


def _tensor(found: Any) -> Tensor:
    """A data set as float32.

    Raises:
        ValueError: It is no array of numbers, or far too large.
    """
    if found.dtype.kind != "f" or found.size > LARGEST:
        raise ValueError(f"{found.name} holds {found.size} values of type {found.dtype}")
    return torch.from_numpy(found[()]).float()
