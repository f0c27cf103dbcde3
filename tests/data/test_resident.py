from pathlib import Path

import cv2
import numpy as np
import pytest

import tiny
from pixelwright import images
from pixelwright.data.resident import Resident, fitted
from pixelwright.errors import DataError
from pixelwright.types import Classes, Entry, Window

CLASSES = Classes(("cat", "dog", "owl"), ((0, 0, 0), (9, 9, 9), (99, 99, 99)))


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    return tiny.scene(height, width, seed=seed)[0]


def files(folder: Path, *sizes: tuple[int, int], suffix: str = "png") -> list[Entry]:
    return [
        Entry(f"{i}", tiny.save(folder / f"{i}.{suffix}", picture(*size, i)), i % 3)
        for i, size in enumerate(sizes)
    ]


def binary(folder: Path, pixels: np.ndarray) -> Path:
    """The binary version of CIFAR-100: coarse label, fine label, planes."""
    planes = pixels.transpose(0, 3, 1, 2).reshape(len(pixels), -1)
    labels = np.zeros((len(pixels), 2), np.uint8)
    path = folder / "train.bin"
    path.write_bytes(np.concatenate([labels, planes], axis=1).tobytes())
    return path


def test_pictures_of_one_size_are_kept_as_they_are_in_the_order_of_the_entries(
    tmp_path: Path,
) -> None:
    entries = files(tmp_path, *[(6, 5)] * 150)
    found = Resident.of(entries, CLASSES)
    assert found.images.shape == (150, 6, 5, 3)
    assert all((found.images[i] == picture(6, 5, i)).all() for i in (0, 1, 77, 149))
    assert found.labels.dtype == np.int16
    assert found.labels.tolist() == [i % 3 for i in range(150)]
    assert found.keys == tuple(map(str, range(150)))
    assert len(found) == 150


def test_rows_of_array_files_and_files_of_one_picture_may_be_mixed(tmp_path: Path) -> None:
    pixels = np.stack([picture(32, 32, seed) for seed in range(4)])
    stack = binary(tmp_path, pixels)
    np.save(tmp_path / "stack.npy", pixels[::-1])
    single = tiny.save(tmp_path / "a.png", picture(32, 32, 9))
    entries = [
        Entry("c", stack, 0, row=2),
        Entry("a", single, 1),
        Entry("b", stack, 2, row=0),
        Entry("d", tmp_path / "stack.npy", 2, row=0),
    ]
    found = Resident.of(entries, CLASSES)
    expected = [pixels[2], picture(32, 32, 9), pixels[0], pixels[3]]
    assert np.array_equal(found.images, np.stack(expected))
    assert found.labels.tolist() == [0, 1, 2, 2]


def test_grey_pictures_have_one_channel_where_that_is_asked_for(tmp_path: Path) -> None:
    grey = picture(8, 8)[..., 0]
    entries = [Entry("g", tiny.save(tmp_path / "g.png", grey), 0)]
    assert np.array_equal(Resident.of(entries, CLASSES, 1).images[0, ..., 0], grey)


def test_f10_colours_where_one_channel_is_asked_for_are_refused_in_files_and_rows(
    tmp_path: Path,
) -> None:
    stack = binary(tmp_path, np.stack([picture(32, 32)]))
    for entry in (*files(tmp_path, (8, 8)), Entry("r", stack, 0, row=0)):
        with pytest.raises(DataError, match=r"(0\.png|train\.bin).* colour"):
            Resident.of([entry], CLASSES, 1)


def test_a_row_that_is_not_there_is_named(tmp_path: Path) -> None:
    stack = binary(tmp_path, np.stack([picture(32, 32)]))
    with pytest.raises(DataError, match=r"train\.bin.*no row 1"):
        Resident.of([Entry("r", stack, 0, row=1)], CLASSES)


def test_an_entry_that_is_a_window_is_that_part(tmp_path: Path) -> None:
    file = tiny.save(tmp_path / "a.png", picture(20, 20))
    entries = [Entry("a", file, 0, Window(2, 3, 8, 9)), Entry("b", file, 1, Window(0, 0, 8, 9))]
    found = Resident.of(entries, CLASSES).images
    assert np.array_equal(found[0], picture(20, 20)[2:10, 3:12])


def test_larger_pictures_are_shrunk_to_the_size_and_smaller_ones_left_to_the_network(
    tmp_path: Path,
) -> None:
    entries = files(tmp_path, (16, 16), (16, 16))
    shrunk = Resident.of(entries, CLASSES, size=8).images
    assert shrunk.shape == (2, 8, 8, 3)
    # A quarter as many pixels: each the mean of four.
    whole = picture(16, 16).astype(float).reshape(8, 2, 8, 2, 3).mean((1, 3))
    assert np.abs(shrunk[0] - whole).max() <= 0.5
    assert np.array_equal(
        Resident.of(entries, CLASSES, size=64).images, Resident.of(entries, CLASSES).images
    )


def test_pictures_of_several_sizes_are_brought_to_the_size_by_their_middle_square(
    tmp_path: Path,
) -> None:
    entries = files(tmp_path, (8, 12), (20, 8), (6, 6))
    found = Resident.of(entries, CLASSES, size=8).images
    assert found.shape == (3, 8, 8, 3)
    assert np.array_equal(found[0], picture(8, 12, 0)[:, 2:10])
    assert np.array_equal(found[1], picture(20, 8, 1)[6:14])
    assert np.array_equal(found[2], cv2.resize(picture(6, 6, 2), (8, 8)))


def test_pictures_that_all_are_larger_than_the_size_may_differ(tmp_path: Path) -> None:
    found = Resident.of(files(tmp_path, (8, 12), (9, 8)), CLASSES, size=4).images
    assert found.shape == (2, 4, 4, 3)


def test_pictures_of_several_sizes_without_a_size_name_two_files_and_what_to_set(
    tmp_path: Path,
) -> None:
    entries = files(tmp_path, *[(8, 8)] * 70, (9, 7), *[(8, 8)] * 70, (5, 5))
    for _ in range(3):
        with pytest.raises(DataError) as caught:
            Resident.of(entries, CLASSES)
        text = str(caught.value)
        assert f"{tmp_path / '0.png'} (8x8) and {tmp_path / '70.png'} (9x7)" in text
        assert "Set size = 7" in text


def test_a_side_is_what_all_pictures_have(tmp_path: Path) -> None:
    entries = files(tmp_path, (6, 6), (6, 6))
    assert Resident.of(entries, CLASSES, side=(8, 12)).images.shape == (2, 8, 12, 3)


@pytest.mark.parametrize(
    ("size", "side"),
    [((9, 9), (9, 9)), ((7, 20), (7, 10)), ((1, 5), (32, 32)), ((301, 97), (5, 3))],
)
def test_any_picture_fits_any_side(size: tuple[int, int], side: tuple[int, int]) -> None:
    out = fitted(picture(*size), side)
    assert out.shape == (*side, 3)
    assert fitted(picture(*size)[..., :1], side).shape == (*side, 1)


def test_fitting_keeps_shapes_and_takes_the_middle() -> None:
    image = np.zeros((40, 100, 3), np.uint8)
    image[:, 30:70] = 200
    assert (fitted(image, (10, 10)) == 200).all()


def test_more_than_fits_says_how_much_there_is_and_which_size_would_fit(tmp_path: Path) -> None:
    entries = files(tmp_path, *[(32, 32)] * 4)
    need = 4 * 32 * 32 * 3
    assert len(Resident.of(entries, CLASSES, budget=need)) == 4
    with pytest.raises(DataError, match=r"4 pictures of 32x32 take .* Set size = 31|size = 31"):
        Resident.of(entries, CLASSES, budget=need - 1)
    assert len(Resident.of(entries, CLASSES, size=31, budget=need - 1)) == 4


def test_an_entry_without_a_label_is_refused(tmp_path: Path) -> None:
    [entry] = files(tmp_path, (8, 8))
    with pytest.raises(DataError, match=r"0\.png has no label"):
        Resident.of([Entry("a", entry.image, None)], CLASSES)
    with pytest.raises(DataError, match=r"0\.png has a mask"):
        Resident.of([Entry("a", entry.image, entry.image)], CLASSES)


@pytest.mark.parametrize("label", [-1, 3])
def test_a_label_that_no_class_has_is_refused(tmp_path: Path, label: int) -> None:
    [entry] = files(tmp_path, (8, 8))
    with pytest.raises(DataError, match=rf"0\.png has the label {label}, .* 3 classes, 0 to 2"):
        Resident.of([Entry("a", entry.image, label)], CLASSES)


def test_f03_of_several_files_that_cannot_be_read_the_first_is_named(tmp_path: Path) -> None:
    entries = files(tmp_path, *[(8, 8)] * 200)
    for number in (150, 90, 130):
        entries[number].image.write_bytes(b"\x89PNG\r\n\x1a\n")
    for _ in range(3):
        with pytest.raises(DataError, match=r"90\.png"):
            Resident.of(entries, CLASSES)


def test_files_are_read_as_everywhere(tmp_path: Path) -> None:
    [entry] = files(tmp_path, (8, 8), suffix="jpg")
    found = Resident.of([entry], CLASSES).images[0]
    assert np.array_equal(found, images.read_image(entry.image))
