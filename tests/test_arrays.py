"""Pictures that lie as rows of one file: pickled, binary and .npy; and pickles that are refused."""

import io
import os
import pickle
import struct
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tiny
from pixelwright import images
from pixelwright.errors import DataError
from pixelwright.images import arrays

PIXELS, LABELS = tiny.cifar(10, 2)
PLANES = PIXELS.transpose(0, 3, 1, 2).reshape(20, -1)


def pickled(path: Path, table: object, protocol: int = 2) -> Path:
    path.write_bytes(pickle.dumps(table, protocol=protocol))
    return path


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_a_pickled_batch_gives_pictures_and_labels(tmp_path: Path, protocol: int) -> None:
    path = pickled(tmp_path / "data_batch_1", {"data": PLANES, "labels": LABELS}, protocol)
    assert np.array_equal(images.rows(path), PIXELS)
    assert {kind: found.tolist() for kind, found in images.row_labels(path).items()} == {
        "label": LABELS
    }


def test_a_batch_as_python_2_wrote_it_is_read(tmp_path: Path) -> None:
    # As published: text is bytes (opcodes U and T), NumPy's module is the old one, and the keys
    # are in the order of a Python 2 dictionary.
    def text(data: bytes) -> bytes:
        short = len(data) < 256
        return (b"U" + bytes([len(data)]) if short else b"T" + struct.pack("<i", len(data))) + data

    def number(value: int) -> bytes:
        return b"K" + bytes([value])

    kind = b"cnumpy\ndtype\n(" + text(b"u1") + number(0) + number(1) + b"tR("
    kind += number(3) + text(b"|") + b"NNN" + b"J\xff\xff\xff\xff" * 2 + number(0) + b"tb"
    empty = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n" + number(0) + b"\x85"
    empty += text(b"b") + b"tR"
    shape = number(20) + b"M" + struct.pack("<H", 3072) + b"\x86"
    array = empty + b"(" + number(1) + shape + kind + b"\x89" + text(PLANES.tobytes()) + b"tb"
    labels = b"](" + b"".join(map(number, LABELS)) + b"e"
    items = text(b"data") + array + text(b"labels") + labels + text(b"batch_label") + text(b"one")
    (tmp_path / "data_batch_1").write_bytes(b"\x80\x02}(" + items + b"u.")
    assert np.array_equal(images.rows(tmp_path / "data_batch_1"), PIXELS)
    assert images.row_labels(tmp_path / "data_batch_1")["label"].tolist() == LABELS


@pytest.mark.parametrize("order", ["C", "F"])
def test_arrays_of_labels_and_either_order_in_memory_are_read(tmp_path: Path, order: Any) -> None:
    labels = np.array(LABELS, ">i4")
    table = {"data": np.array(PLANES, order=order), "labels": labels}
    path = pickled(tmp_path / "batch", table)
    assert np.array_equal(images.rows(path), PIXELS)
    assert images.row_labels(path)["label"].tolist() == LABELS


def test_binary_batches_give_what_pickled_ones_give(tmp_path: Path) -> None:
    ten = tiny.save_batch(tmp_path / "data_batch_1.bin", PIXELS, {"labels": LABELS})
    assert np.array_equal(images.rows(ten), PIXELS)
    assert images.row_labels(ten)["label"].tolist() == LABELS
    both = {"coarse": [19 - label for label in LABELS], "fine": [99 - label for label in LABELS]}
    hundred = tiny.save_batch(tmp_path / "train.bin", PIXELS, both)
    assert np.array_equal(images.rows(hundred), PIXELS)
    assert {kind: found.tolist() for kind, found in images.row_labels(hundred).items()} == both


def test_npy_stacks_in_colour_and_in_grey(tmp_path: Path) -> None:
    np.save(tmp_path / "color.npy", PIXELS)
    np.save(tmp_path / "fortran.npy", np.asfortranarray(PIXELS))
    np.save(tmp_path / "grey.npy", PIXELS[..., 0])
    np.save(tmp_path / "one.npy", PIXELS[..., :1])
    assert np.array_equal(images.rows(tmp_path / "color.npy"), PIXELS)
    assert np.array_equal(images.rows(tmp_path / "fortran.npy"), PIXELS)
    for name in ("grey.npy", "one.npy"):
        assert np.array_equal(images.rows(tmp_path / name), PIXELS[..., [0, 0, 0]])
    assert dict(images.row_labels(tmp_path / "color.npy")) == {}
    assert np.array_equal(images.read_row(tmp_path / "grey.npy", 3, channels=1), PIXELS[3, ..., :1])


def test_a_row_is_an_array_of_its_own_and_all_rows_are_not_to_be_written(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", PIXELS)
    row = images.read_row(tmp_path / "x.npy", 7)
    assert np.array_equal(row, PIXELS[7])
    row[:] = 0
    assert np.array_equal(images.rows(tmp_path / "x.npy"), PIXELS)
    with pytest.raises(ValueError, match="read-only"):
        images.rows(tmp_path / "x.npy")[0] = 0


def test_sizes_of_rows_and_of_files(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", PIXELS[:, :20])
    tiny.save(tmp_path / "x.png", PIXELS[0])
    assert images.size(tmp_path / "x.npy", 3) == (20, 32)
    assert images.size(tmp_path / "x.png") == (32, 32)


def test_equal_rows_and_equal_files_have_equal_contents(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", PIXELS[[0, 1, 0]])
    tiny.save(tmp_path / "x.png", PIXELS[1])
    one, two, again = images.row_contents(tmp_path / "x.npy")
    assert one == again != two
    assert two == images.content(images.read_image(tmp_path / "x.png"))


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of files as they are read."""
    names: list[str] = []
    read = arrays.read_bytes

    def noted(path: Path) -> bytes:
        names.append(path.name)
        return read(path)

    monkeypatch.setattr(arrays, "read_bytes", noted)
    return names


def test_a_file_is_read_once_among_threads_and_again_when_it_has_changed(
    tmp_path: Path, reads: list[str]
) -> None:
    path = tmp_path / "x.npy"
    np.save(path, PIXELS)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda row: images.read_row(path, row), range(20)))
    assert reads == ["x.npy"]
    np.save(path, PIXELS[:2])
    os.utime(path, ns=(1, 1))
    assert len(images.rows(path)) == 2
    assert reads == ["x.npy"] * 2


def test_the_files_of_cifar_10_are_all_kept(tmp_path: Path, reads: list[str]) -> None:
    for i in range(6):
        np.save(tmp_path / f"{i}.npy", PIXELS)
    for _ in range(3):
        for i in range(6):
            images.rows(tmp_path / f"{i}.npy")
    assert len(reads) == 6


def test_rows_within_a_zip_archive_are_read_where_they_lie(tmp_path: Path) -> None:
    batch = tiny.save_batch(tmp_path / "train", PIXELS, {"labels": LABELS})
    with zipfile.ZipFile(tmp_path / "x.zip", "w", zipfile.ZIP_DEFLATED) as file:
        file.write(batch, "cifar/train")
    inside = tmp_path / "x.zip" / "cifar" / "train"
    assert np.array_equal(images.rows(inside), PIXELS)
    with pytest.raises(DataError, match="holds no such file"):
        images.rows(tmp_path / "x.zip" / "cifar" / "test")


def test_names_of_classes(tmp_path: Path) -> None:
    meta = {"label_names": [b"cat", "dog"], "num_vis": 3072}
    assert images.row_names(pickled(tmp_path / "meta", meta)) == {"label": ("cat", "dog")}
    with pytest.raises(DataError, match="names no classes"):
        images.row_names(pickled(tmp_path / "other", {"data": [1]}))


class Evil:
    """Writes a file when it is unpickled."""

    def __init__(self, victim: Path) -> None:
        self.victim = victim

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return os.mkdir, (str(self.victim),)


@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_f55_a_malicious_pickle_is_refused_by_name_and_never_executed(
    tmp_path: Path, protocol: int
) -> None:
    victim = tmp_path / "victim"
    table = {"data": PLANES, "labels": LABELS, "more": Evil(victim)}
    path = pickled(tmp_path / "train", table, protocol)
    with pytest.raises(DataError, match=r"train is a pickle that asks for \w+\.mkdir, which could"):
        images.rows(path)
    assert not victim.exists()
    # The file does what it says where pickles are trusted, so the refusal is what saved us.
    pickle.loads(path.read_bytes())
    assert victim.exists()


@pytest.mark.parametrize(
    ("program", "named"),
    [
        (b"\x80\x02cos\nsystem\n(U\x04echoth.", "os.system"),
        (b"\x80\x02c__builtin__\neval\n(U\x011tR.", "__builtin__.eval"),
        (b"\x80\x04\x8c\x08builtins\x8c\x07getattr\x93.", "builtins.getattr"),
        (b"\x80\x04\x8c\x05numpy\x8c\x12ndarray.__reduce__\x93.", "numpy.ndarray.__reduce__"),
        (b"\x80\x02cnumpy\nload\n.", "numpy.load"),
        (b"\x80\x02(inumpy.core.multiarray\nscalar\n.", "numpy.core.multiarray.scalar"),
        (b"\x80\x02ccollections\nOrderedDict\n)R.", "collections.OrderedDict"),
    ],
)
def test_f55_anything_else_that_is_asked_for_is_refused_by_name(
    tmp_path: Path, program: bytes, named: str
) -> None:
    (tmp_path / "train").write_bytes(program)
    with pytest.raises(DataError) as error:
        images.rows(tmp_path / "train")
    assert f"asks for {named}, which could run a program" in str(error.value)


@pytest.mark.parametrize(
    "program",
    [
        # State set on a class, through which later pickles could be read otherwise.
        b"\x80\x02c_codecs\nencode\n}U\x08__code__K\x01sb.",
        b"\x80\x02cnumpy\nndarray\n(K\x01K\x02K\x03K\x04K\x05tb.",
        # Encodings that unpack.
        b"\x80\x02c_codecs\nencode\nU\x01aU\x04zlib\x86R.",
        # A memo of 4,294,967,295 places; a length of as many bytes.
        b"\x80\x02}r\xff\xff\xff\xff.",
        b"\x80\x02T\xff\xff\xff\x7fabc.",
        # An array of objects, and one that is larger than its bytes.
        b"\x80\x02cnumpy\nndarray\n)R(K\x01K\x01\x85cnumpy\ndtype\nU\x01O\x85R\x89]tb.",
        b"\x80\x02cnumpy\nndarray\n)R(K\x01J\xff\xff\xff\x7f\x85cnumpy\ndtype\nU\x02u1\x85R\x89U\x01atb.",
        b"\x80\x02.",
        b"\x80\x02}",
        b"\x80\x02K\x01.",
    ],
)
def test_f55_a_pickle_that_does_odd_things_is_an_error_of_ours(
    tmp_path: Path, program: bytes
) -> None:
    (tmp_path / "train").write_bytes(program)
    with pytest.raises(DataError, match="train"):
        images.rows(tmp_path / "train")
    # And the next one is read as ever.
    pickled(tmp_path / "good", {"data": PLANES, "labels": LABELS})
    assert np.array_equal(images.rows(tmp_path / "good"), PIXELS)


def test_f55_an_array_that_was_never_filled_is_no_batch(tmp_path: Path) -> None:
    items = b"X\x04\x00\x00\x00datacnumpy\nndarray\n)\x81X\x06\x00\x00\x00labels]"
    (tmp_path / "train").write_bytes(b"\x80\x02}(" + items + b"u.")
    with pytest.raises(DataError, match="but not both data and labels"):
        images.rows(tmp_path / "train")


@pytest.mark.parametrize("keep", [0, 1, 2, 5000, -1])
def test_a_pickle_cut_short_is_an_error(tmp_path: Path, keep: int) -> None:
    path = pickled(tmp_path / "train", {"data": PLANES, "labels": LABELS})
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(DataError, match=r"train (is|has)"):
        images.rows(path)


@pytest.mark.parametrize("name", ["train.bin", "data_batch_1.bin"])
@pytest.mark.parametrize("change", [-1, 1, -3000])
def test_a_binary_file_cut_short_is_an_error(tmp_path: Path, name: str, change: int) -> None:
    kinds = ("labels",) if "batch" in name else ("coarse", "fine")
    path = tiny.save_batch(tmp_path / name, PIXELS, dict.fromkeys(kinds, LABELS))
    data = path.read_bytes()
    path.write_bytes(data[:change] if change < 0 else data + b"\0")
    with pytest.raises(DataError, match=r"not whole pictures of 3,07[34] bytes: it is cut short"):
        images.rows(path)


def npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (npy(PIXELS)[:-1], "61,440 bytes of pictures are declared and 61,439 are there"),
        (npy(PIXELS)[:40], "its .npy header cannot be read"),
        (npy(PIXELS).replace(b"(20, 32,", b"(20000000000000000000, 32,")[:-19], "are declared"),
        (npy(PIXELS.astype(np.float32)), "holds float32 of shape"),
        (npy(PLANES), r"shape \(20, 3072\). A stack of pictures was expected"),
        (npy(PIXELS[:0]), "holds no picture"),
        (npy(np.array([{"a": 1}], object)), "holds object of shape"),
        (b"<html>", "no pickled batch of CIFAR .starts with b'<html>'"),
        (b"", "is an empty file"),
    ],
)
def test_f01_f02_f12_other_arrays_are_refused(tmp_path: Path, data: bytes, told: str) -> None:
    (tmp_path / "x.npy").write_bytes(data)
    with pytest.raises(DataError, match=told):
        images.rows(tmp_path / "x.npy")


@pytest.mark.parametrize("wrong", [-1, 10, 255, 70000])
def test_f24_a_label_out_of_range_is_named_with_file_row_and_value(
    tmp_path: Path, wrong: int
) -> None:
    labels = [*LABELS[:5], wrong, *LABELS[6:]]
    path = pickled(tmp_path / "data_batch_1", {"data": PLANES, "labels": labels})
    with pytest.raises(DataError) as error:
        images.rows(path)
    assert f"Row 5 of {path} has the label {wrong}; labels are 0 to 9." in str(error.value)


def test_f24_a_coarse_label_out_of_range_in_a_binary_file(tmp_path: Path) -> None:
    kinds = {"coarse": [*LABELS[:3], 20, *LABELS[4:]], "fine": LABELS}
    path = tiny.save_batch(tmp_path / "train.bin", PIXELS, kinds)
    with pytest.raises(
        DataError, match=r"Row 3 of .*train\.bin has the coarse label 20; labels are 0 to 19"
    ):
        images.row_labels(path)


@pytest.mark.parametrize("labels", [LABELS[:-1], [*LABELS[:-1], "9"], "cat", [[1]] * 20])
def test_labels_that_do_not_fit_the_pictures_are_refused(tmp_path: Path, labels: object) -> None:
    path = pickled(tmp_path / "data_batch_1", {"data": PLANES, "labels": labels})
    with pytest.raises(DataError, match="has 20 pictures, and of its label labels"):
        images.rows(path)


def test_a_row_that_is_not_there_is_named(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", PIXELS)
    with pytest.raises(DataError, match=r"holds 20 pictures, so there is no row 20"):
        images.read_row(tmp_path / "x.npy", 20)
    with pytest.raises(DataError, match=r"x\.npy, row 3, is a colour picture, but 1 channel"):
        images.read_row(tmp_path / "x.npy", 3, channels=1)


def test_f16_a_folder_or_nothing_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        images.rows(tmp_path / "train")
    with pytest.raises(DataError, match="is a folder"):
        images.rows(tmp_path)
