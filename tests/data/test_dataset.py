import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import tiny
from pixelwright import images
from pixelwright.data.dataset import Dataset
from pixelwright.errors import DataError, PixelwrightWarning
from pixelwright.types import Classes, Entry, Window

CLASSES = Classes(("a", "b", "c"), ((0, 0, 0), (9, 9, 9), (99, 0, 0)), {0: 0, 1: 1, 2: 2})
PLENTY = 2**30


def draw_entries(folder: Path, count: int = 3, size: tuple[int, int] = (12, 16)) -> list[Entry]:
    entries = []
    for i in range(count):
        image, labels = tiny.scene(*size, classes=3, seed=i)
        entries.append(
            Entry(
                f"{i}",
                tiny.save(folder / f"{i}.png", image),
                tiny.save(folder / "masks" / f"{i}.png", labels),
            )
        )
    return entries


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of images as they are decoded."""
    names: list[str] = []
    read = images.read_image

    def noted(path: Path, channels: int = 3) -> np.ndarray:
        names.append(path.name)
        return read(path, channels)

    monkeypatch.setattr(images, "read_image", noted)
    return names


def test_a_sample_holds_the_pixels_of_its_files(tmp_path: Path) -> None:
    sample = Dataset(draw_entries(tmp_path), CLASSES, budget=PLENTY).sample(2)
    image, labels = tiny.scene(12, 16, classes=3, seed=2)
    assert np.array_equal(sample.image, image)
    assert np.array_equal(sample.target, labels)
    assert sample.key == "2"


def test_a_window_is_cut_out_of_image_and_mask_as_a_view(tmp_path: Path) -> None:
    [whole] = draw_entries(tmp_path, 1)
    part = Entry("part", whole.image, whole.target, Window(3, 5, 6, 7))
    dataset = Dataset([whole, part], CLASSES, budget=PLENTY)
    everything, window = dataset.sample(0), dataset.sample(1)
    assert np.array_equal(window.image, everything.image[3:9, 5:12])
    assert np.array_equal(window.target, everything.target[3:9, 5:12])
    assert np.shares_memory(window.image, everything.image)
    assert np.shares_memory(window.target, everything.target)


def test_sizes_come_from_windows_and_headers(tmp_path: Path, decoded: list[str]) -> None:
    [whole] = draw_entries(tmp_path, 1)
    part = Entry("part", whole.image, whole.target, Window(3, 5, 6, 7))
    assert Dataset([whole, part], CLASSES).sizes == ((12, 16), (6, 7))
    assert decoded == []


def test_what_fits_is_decoded_once(tmp_path: Path, decoded: list[str]) -> None:
    dataset = Dataset(draw_entries(tmp_path), CLASSES, budget=PLENTY)
    for _ in range(3):
        for number in range(3):
            dataset.sample(number)
    assert decoded == ["0.png", "1.png", "2.png"]


def test_what_does_not_fit_is_decoded_anew_and_drives_nothing_out(
    tmp_path: Path, decoded: list[str]
) -> None:
    need = 12 * 16 * (3 + 2)
    dataset = Dataset(draw_entries(tmp_path), CLASSES, budget=2 * need)
    for _ in range(3):
        for number in (2, 1, 0):
            dataset.sample(number)
    assert sorted(decoded) == ["0.png", "1.png", "2.png", "2.png", "2.png"]


def test_windows_of_one_file_share_one_decoding_among_threads(
    tmp_path: Path, decoded: list[str]
) -> None:
    [whole] = draw_entries(tmp_path, 1)
    entries = [Entry(f"{i}", whole.image, whole.target, Window(i, 0, 4, 4)) for i in range(8)]
    dataset = Dataset(entries, CLASSES, budget=PLENTY)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(dataset.sample, range(8)))
    assert decoded == ["0.png"]


def test_a_file_larger_than_the_budget_is_named_in_a_warning(tmp_path: Path) -> None:
    dataset = Dataset(draw_entries(tmp_path, 1), CLASSES, budget=100)
    with pytest.warns(PixelwrightWarning, match=r"0\.png: larger .* decoded anew each time"):
        dataset.sample(0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        dataset.sample(0)


def test_f27_a_mask_of_another_size_is_refused_with_both_sizes(tmp_path: Path) -> None:
    image = tiny.save(tmp_path / "a.png", np.zeros((12, 16, 3), np.uint8))
    mask = tiny.save(tmp_path / "m.png", np.zeros((12, 15), np.uint8))
    dataset = Dataset([Entry("a", image, mask)], CLASSES, budget=PLENTY)
    with pytest.raises(DataError, match=r"(?s)a\.png.*") as caught:
        dataset.sample(0)
    assert "m.png" in str(caught.value)
    assert "16" in str(caught.value)
    assert "15" in str(caught.value)


def test_f19_a_file_that_changed_size_is_named(tmp_path: Path) -> None:
    dataset = Dataset(draw_entries(tmp_path, 1), CLASSES, budget=PLENTY)
    assert dataset.sizes == ((12, 16),)
    tiny.save(tmp_path / "0.png", np.zeros((5, 5, 3), np.uint8))
    with pytest.raises(DataError, match=r"0\.png was 12x16 at first and is 5x5 now"):
        dataset.sample(0)


def test_f19_a_file_that_vanished_is_named(tmp_path: Path) -> None:
    dataset = Dataset(draw_entries(tmp_path, 1), CLASSES, budget=PLENTY)
    assert dataset.sizes == ((12, 16),)
    (tmp_path / "0.png").unlink()
    with pytest.raises(DataError, match=r"0\.png"):
        dataset.sample(0)


def test_an_entry_without_a_target_says_so(tmp_path: Path) -> None:
    [entry] = draw_entries(tmp_path, 1)
    with pytest.raises(DataError, match=r"0\.png has no target"):
        Dataset([Entry("0", entry.image, None)], CLASSES, budget=PLENTY).sample(0)


def test_a_class_index_is_a_target(tmp_path: Path) -> None:
    [entry] = draw_entries(tmp_path, 1)
    sample = Dataset([Entry("0", entry.image, 2)], CLASSES, channels=3, budget=PLENTY).sample(0)
    assert sample.target == 2
