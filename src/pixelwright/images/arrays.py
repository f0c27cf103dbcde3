"""Pictures that lie as rows of one file: CIFAR's batches, pickled or binary, and .npy stacks.

pixels = rows("cifar-100-python/train")             # uint8 "n h w 3"
labels = row_labels("cifar-100-python/train")       # {"fine": int16 "n", "coarse": int16 "n"}
names = row_names("cifar-100-python/meta")          # {"fine": ("apple", ...), "coarse": (...)}

A pickle is a program. This one is run with stand-ins, defined below, for the few names that an
array needs; any other name is refused. So nothing that a file chooses is ever called (F55).
"""

import functools
import hashlib
import io
import pickle
import re
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int16, Integer, UInt8

from pixelwright.errors import DataError, shown
from pixelwright.images import archives, headers
from pixelwright.images.files import read_bytes, refusal, refuse_bomb
from pixelwright.images.photos import Samples, with_channels
from pixelwright.images.stored import NPY, read_npy_header

SIDE = 32
"""Of CIFAR's pictures, in pixels."""

KINDS = {"label": 10, "fine": 100, "coarse": 20}
"""The labels that a batch may hold, and how many classes each tells apart."""

_VALUES = 3 * SIDE * SIDE
_PICKLED_LABELS = {"labels": "label", "fine_labels": "fine", "coarse_labels": "coarse"}
_PICKLED_NAMES = {
    "label_names": "label",
    "fine_label_names": "fine",
    "coarse_label_names": "coarse",
}
_PICKLE = tuple(b"\x80" + bytes((protocol,)) for protocol in range(2, 6))
_AGAIN = "Unpack it again."

_MOST_FILES = 8
"""That are kept: CIFAR-10 has six."""

_LOCK = threading.Lock()


class _Stack(NamedTuple):
    """What a file holds: pictures, and labels by their kind."""

    pixels: UInt8[np.ndarray, "n h w 3"]
    labels: Mapping[str, Int16[np.ndarray, " n"]]


def rows(path: Path | str) -> UInt8[np.ndarray, "n h w 3"]:
    """All pictures of a file, red first. Read once and kept until the file changes: do not write.

    Args:
        path: A pickled batch of CIFAR, a binary one (`.bin`), or a stack of 8-bit pictures in
            `.npy`, grey or in colour. May lead into a zip archive.

    Raises:
        DataError: The file is missing, cut short, or nothing of these; or it is a pickle that asks
            for more than arrays (F55).
    """
    return _stack(path).pixels


def row_labels(path: Path | str) -> Mapping[str, Int16[np.ndarray, " n"]]:
    """The labels of a batch of CIFAR by their kind: "label" of CIFAR-10, "fine" and "coarse".

    Raises:
        DataError: As `rows`; also where a label is none of the classes that there are.
    """
    return _stack(path).labels


def read_row(path: Path | str, row: int, channels: int = 3) -> UInt8[np.ndarray, "h w c"]:
    """One picture of a file of them, as an array of its own.

    Args:
        path: As for `rows`.
        row: Which, from 0.
        channels: 3 for colour, 1 for grey.

    Raises:
        DataError: As `rows`; also where there is no such row, or it has colours and 1 channel is
            asked for (F10).
    """
    pixels = rows(path)
    if not 0 <= row < len(pixels):
        raise DataError(f"{shown(path)} holds {len(pixels):,} pictures, so there is no row {row}.")
    return with_channels(pixels[row], channels, f"{path}, row {row},").copy()


def size(path: Path | str, row: int | None = None) -> tuple[int, int]:
    """Height and width of a picture or mask from its header, with EXIF's rotation applied.

    Args:
        path: The file.
        row: Which picture, in a file that holds an array of them.

    Raises:
        DataError: If the file is no picture, cannot be read, or declares too many pixels.
    """
    if row is None:
        return headers.size(path)
    height, width = rows(path).shape[1:3]
    return height, width


def content(pixels: UInt8[np.ndarray, "h w 3"]) -> str:
    """A name for what a picture shows: equal names, equal pixels, however they are stored (F35)."""
    digest = hashlib.blake2b(np.ascontiguousarray(pixels).data, digest_size=16).hexdigest()
    return f"{pixels.shape[0]}x{pixels.shape[1]} {digest}"


def row_contents(path: Path | str) -> tuple[str, ...]:
    """The `content` of every picture of a file. Worked out once and kept, as `rows`."""
    file = _place(path)
    with _LOCK:
        return _contents(*file)


def row_names(path: Path | str) -> Mapping[str, tuple[str, ...]]:
    """The names of the classes by kind of label, from a pickled `meta` or `batches.meta`.

    Raises:
        DataError: It is damaged, no such file, or a pickle that asks for more than arrays (F55).
    """
    table = _unpickled(path, read_bytes(path))
    found = {}
    for key, kind in _PICKLED_NAMES.items():
        names = table.get(key)
        if isinstance(names, list) and names:
            found[kind] = tuple(_text(name) for name in names)
    if not found:
        raise DataError(f"{shown(path)} names no classes: it has no {', '.join(_PICKLED_NAMES)}.")
    return found


def _stack(path: Path | str) -> _Stack:
    file = _place(path)
    # One at a time: who waits for the same file shall not read it as well.
    with _LOCK:
        return _read(*file)


def _place(path: Path | str) -> tuple[Path, int, int]:
    """The file, and what tells it from one that has changed: bytes and time of change."""
    path = Path(path).absolute()
    try:
        state = path.stat()
    except OSError as error:
        place = archives.inside(path)
        if place is None:
            raise refusal(path, error) from error
        state = place[0].stat()
    return path, state.st_size, state.st_mtime_ns


@functools.lru_cache(maxsize=_MOST_FILES)
def _read(path: Path, size: int, changed: int) -> _Stack:
    data = read_bytes(path)
    if data.startswith(NPY):
        stack = _Stack(_from_npy(path, data), {})
    elif path.suffix.lower() == ".bin":
        stack = _from_binary(path, data)
    else:
        stack = _from_pickle(path, data)
    if not len(stack.pixels):
        raise DataError(f"{shown(path)} holds no picture.")
    for array in (stack.pixels, *stack.labels.values()):
        array.setflags(write=False)
    return stack


@functools.lru_cache(maxsize=_MOST_FILES)
def _contents(path: Path, size: int, changed: int) -> tuple[str, ...]:
    return tuple(content(pixels) for pixels in _read(path, size, changed).pixels)


def _from_npy(path: Path, data: bytes) -> UInt8[np.ndarray, "n h w 3"]:
    file = io.BytesIO(data)
    shape, fortran, kind = read_npy_header(file, path)
    grey = len(shape) == 3 or (len(shape) == 4 and shape[3] == 1)
    if kind != np.uint8 or not (grey or (len(shape) == 4 and shape[3] == 3)):
        raise DataError(
            f"{shown(path)} holds {kind} of shape {shape}. A stack of pictures was expected: uint8 "
            "of shape (n, height, width), or (n, height, width, 3) with red first."
        )
    if shape[0]:
        refuse_bomb(path, shape[1], shape[2])
    there = len(data) - file.tell()
    # Python's integers: NumPy's product of a lying header would overflow.
    declared = functools.reduce(int.__mul__, (int(length) for length in shape), 1)
    if there != declared:
        raise headers.damaged(
            path, f"{declared:,} bytes of pictures are declared and {there:,} are there"
        )
    pixels = np.frombuffer(data, np.uint8, declared, file.tell())
    pixels = pixels.reshape(shape, order="F" if fortran else "C")
    if grey:
        pixels = np.repeat(pixels.reshape(*shape[:3], 1), 3, axis=3)
    return np.ascontiguousarray(pixels)


def _from_binary(path: Path, data: bytes) -> _Stack:
    # CIFAR-10's files are called batches; those of CIFAR-100 have two labels a picture.
    kinds = ("label",) if "batch" in path.stem.lower() else ("coarse", "fine")
    record = len(kinds) + _VALUES
    count, over = divmod(len(data), record)
    if over:
        number = 10 if len(kinds) == 1 else 100
        raise DataError(
            f"{shown(path)} has {len(data):,} bytes, which are not whole pictures of {record:,} "
            f"bytes: it is cut short, or no binary file of CIFAR-{number}. {_AGAIN}"
        )
    table = np.frombuffer(data, np.uint8).reshape(count, record)
    labels = {kind: _checked(path, kind, table[:, i]) for i, kind in enumerate(kinds)}
    return _Stack(_from_planes(table[:, len(kinds) :]), labels)


def _from_planes(planes: UInt8[np.ndarray, "n values"]) -> UInt8[np.ndarray, "n h w 3"]:
    """Red, green and blue one after the other become pixels."""
    pixels = planes.reshape(-1, 3, SIDE, SIDE).transpose(0, 2, 3, 1)
    return np.ascontiguousarray(pixels)


def _from_pickle(path: Path, data: bytes) -> _Stack:
    table = _unpickled(path, data)
    planes = _array(table.get("data"))
    kinds = {kind: table[key] for key, kind in _PICKLED_LABELS.items() if key in table}
    if planes is None or not kinds:
        held = ", ".join(sorted(shown(key) for key in table)) or "nothing"
        raise DataError(
            f"{shown(path)} is no batch of CIFAR: it holds {held}, but not both data and labels."
        )
    if planes.dtype != np.uint8 or planes.shape != (*planes.shape[:1], _VALUES):
        raise DataError(
            f"{shown(path)} holds pictures as {planes.dtype} of shape {planes.shape}; uint8 of "
            f"shape (n, {_VALUES}) was expected."
        )
    labels = {
        kind: _checked(path, kind, _numbers(path, kind, found, len(planes)))
        for kind, found in kinds.items()
    }
    return _Stack(_from_planes(planes), labels)


def _numbers(path: Path, kind: str, found: Any, count: int) -> Integer[np.ndarray, " n"]:
    """Labels of one kind as they were pickled: a list, or an array."""
    array = _array(found)
    if array is None and isinstance(found, list) and all(type(one) is int for one in found):
        # No class is so large, and these fit.
        array = np.array([min(max(one, -(2**62)), 2**62) for one in found], np.int64)
    if array is None or array.dtype.kind not in "iu" or array.shape != (count,):
        there = "none that are numbers" if array is None else f"{array.size:,} of them"
        raise DataError(
            f"{shown(path)} has {count:,} pictures, and of its {kind} labels {there}. {_AGAIN}"
        )
    return array


def _checked(path: Path, kind: str, found: Integer[np.ndarray, " n"]) -> Int16[np.ndarray, " n"]:
    wrong = np.flatnonzero((found < 0) | (found >= KINDS[kind]))
    if wrong.size:
        what = "label" if kind == "label" else f"{kind} label"
        raise DataError(
            f"Row {wrong[0]} of {shown(path)} has the {what} {found[wrong[0]]}; labels are 0 to "
            f"{KINDS[kind] - 1}. It is the first of {wrong.size:,} out of range, so the file is "
            "damaged, or not of CIFAR."
        )
    return found.astype(np.int16)


class _Type:
    """Stands for `numpy.dtype`."""

    def __init__(self, code: object = "", *_: object) -> None:
        self._code = _text(code)
        self._order = "="

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self._order = _text(state[1])

    @property
    def numpy(self) -> np.dtype[Any]:
        if not re.fullmatch(r"[iu][1248]", self._code) or self._order not in ("<", ">", "=", "|"):
            raise ValueError(f"an array of type {self._code}")
        return np.dtype(self._code).newbyteorder(self._order)  # type: ignore[arg-type]


class _Array:
    """Stands for `numpy.ndarray`, and for what NumPy makes empty ones with."""

    def __init__(self, *_: object) -> None:
        self.array: Samples = np.empty(0, np.uint8)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, kind, fortran, data = state
        self._fill(data, kind, shape, "F" if fortran else "C")

    def _fill(self, data: Any, kind: Any, shape: Any, order: Any) -> None:
        if not isinstance(kind, _Type) or not isinstance(data, bytes | bytearray):
            raise ValueError("an array of objects")
        flat = np.frombuffer(data, kind.numpy)
        self.array = flat.reshape(shape, order="F" if _text(order) == "F" else "C")


class _Buffered(_Array):
    """Stands for what NumPy makes arrays with in protocol 5."""

    def __init__(self, data: Any, kind: Any, shape: Any, order: Any) -> None:
        self._fill(data, kind, shape, order)


class _Encoded:
    """Stands for `_codecs.encode`, with which Python 3 writes bytes in protocol 2."""

    def __new__(cls, text: str, encoding: str = "latin1") -> bytes:  # type: ignore[misc]
        return text.encode({"latin1": "latin-1"}[encoding])

    def __setstate__(self, state: object) -> None:
        """Classes have state set by pickles only through this, so none can be set on ours."""


_CONTAINERS = {one.__name__: one for one in (dict, frozenset, list, set, tuple)}

_ALLOWED: dict[tuple[str, str], Any] = {
    **{("numpy", name): found for name, found in (("ndarray", _Array), ("dtype", _Type))},
    **{(f"numpy.{core}.multiarray", "_reconstruct"): _Array for core in ("core", "_core")},
    **{(f"numpy.{core}.numeric", "_frombuffer"): _Buffered for core in ("core", "_core")},
    ("_codecs", "encode"): _Encoded,
    **{("builtins", name): kind for name, kind in _CONTAINERS.items()},
    **{("__builtin__", name): kind for name, kind in _CONTAINERS.items()},  # Python 2
}


class _Unpickler(pickle.Unpickler):
    """Makes dictionaries, lists, numbers, text and stand-ins, and refuses all else by its name."""

    def __init__(self, data: bytes, path: Path | str) -> None:
        # What Python 2 wrote is bytes; as text, 150 MB of pixels would be made twice.
        super().__init__(io.BytesIO(data), encoding="bytes")
        self._path = path

    def find_class(self, module: str, name: str) -> Any:
        found = _ALLOWED.get((module, name))
        if found is None:
            raise DataError(
                f"{shown(self._path)} is a pickle that asks for {shown(module)}.{shown(name)}, "
                "which could run a program. It was not executed. A batch of CIFAR holds arrays "
                "and lists only: fetch it anew, or use the binary version."
            )
        return found


def _unpickled(path: Path | str, data: bytes) -> dict[str, Any]:
    """A pickled dictionary, its keys as text."""
    if not data.startswith(_PICKLE):
        raise DataError(
            f"{shown(path)} is no pickled batch of CIFAR (starts with {data[:16]!r}). {_AGAIN}"
        )
    try:
        table = _Unpickler(data, path).load()
    except DataError:
        raise
    # A damaged program fails in many ways; each means the same to the user.
    except Exception as error:
        raise headers.damaged(path, f"its pickle cannot be read ({error})") from error
    if not isinstance(table, dict):
        raise DataError(f"{shown(path)} is a pickle, but not of a dictionary as CIFAR's are.")
    return {_text(key): value for key, value in table.items()}


def _text(found: object) -> str:
    if isinstance(found, bytes):
        return found.decode("latin-1")
    return found if isinstance(found, str) else ""


def _array(found: object) -> Samples | None:
    # A pickle may make one without ever filling it.
    return getattr(found, "array", None) if isinstance(found, _Array) else None
