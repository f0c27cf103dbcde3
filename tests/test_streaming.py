import io
import warnings
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from pixelwright import images
from pixelwright.errors import MachineError
from pixelwright.images import Geo, geo, geotiff, streaming
from pixelwright.types import IGNORE

with_rasterio = pytest.mark.skipif(not geo.installed(), reason="needs the extra 'geo'")
PLACE = Geo("EPSG:32633", (0.5, 0.0, 4e5, 0.0, -0.5, 5e6))


def labels_of(classes: int, *, ignored: bool, height: int = 70, width: int = 90) -> np.ndarray:
    rng = np.random.default_rng(classes)
    drawn = rng.integers(0, classes, (height // 10, width // 10)).repeat(10, 0).repeat(10, 1)
    if ignored:
        drawn[20:23, 5:60] = IGNORE
    return drawn.astype(np.int32)


def colors_of(classes: int) -> tuple[tuple[int, int, int], ...]:
    return tuple((i % 256, i // 256, 7 * i % 256) for i in range(classes))


@pytest.mark.parametrize("classes", [2, 255, 256, 300])
@pytest.mark.parametrize("ignored", [False, True])
def test_labels_written_by_rows_are_those_of_a_mask_written_whole(
    tmp_path: Path, classes: int, ignored: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streaming, "CHUNK_BYTES", 1000)  # several chunks
    labels, colors = labels_of(classes, ignored=ignored), colors_of(classes)
    nothing = images.ignored_value(classes)
    raw = np.where(labels == IGNORE, nothing, labels).astype(np.uint8 if classes < 256 else "u2")
    streaming.write_labels(tmp_path / "x.png", raw, colors)
    images.write_mask(tmp_path / "y.png", labels, colors)
    found, expected = Image.open(tmp_path / "x.png"), Image.open(tmp_path / "y.png")
    assert found.mode == expected.mode
    assert np.array_equal(found, expected)
    assert found.getpalette() == expected.getpalette()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x.png", "y.png"]


def test_grey_values_are_written_as_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streaming, "CHUNK_BYTES", 1000)
    values = np.random.default_rng(0).integers(0, 256, (70, 90)).astype(np.uint8)
    streaming.write_grey(tmp_path / "x.png", values)
    assert np.array_equal(images.read_image(tmp_path / "x.png", 1)[..., 0], values)
    assert np.array_equal(cv2.imread(str(tmp_path / "x.png"), cv2.IMREAD_UNCHANGED), values)


def test_planes_become_one_array(tmp_path: Path) -> None:
    planes = np.random.default_rng(0).integers(0, 256, (3, 70, 90)).astype(np.uint8)
    streaming.write_npy(tmp_path / "x.npy", list(planes))
    buffer = io.BytesIO()
    np.save(buffer, planes)
    assert (tmp_path / "x.npy").read_bytes() == buffer.getvalue()


@pytest.mark.parametrize("height", [1, 64, 275])
def test_a_jpeg_of_strips_is_the_one_that_is_written_whole(tmp_path: Path, height: int) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (20, 30, 3)).astype(np.uint8)
    picture = cv2.resize(noise, (333, height), interpolation=cv2.INTER_CUBIC)
    tops = range(0, height, streaming.STRIP_ROWS)
    strips = (picture[top : top + streaming.STRIP_ROWS] for top in tops)
    streaming.write_jpeg_strips(tmp_path / "x.jpg", strips, height)
    images.write_jpeg(tmp_path / "y.jpg", picture)
    for read in (images.read_image, lambda path: np.asarray(Image.open(path))):
        assert np.array_equal(read(tmp_path / "x.jpg"), read(tmp_path / "y.jpg"))


def test_f72_a_writer_that_fails_midway_leaves_nothing(tmp_path: Path) -> None:
    def strips() -> Iterator[np.ndarray]:
        yield np.zeros((64, 64, 3), np.uint8)
        raise OSError(28, "No space left on device")

    with pytest.raises(MachineError, match=r"x\.jpg cannot be written: No space left"):
        streaming.write_jpeg_strips(tmp_path / "x.jpg", strips(), 128)
    assert list(tmp_path.iterdir()) == []


@with_rasterio
@pytest.mark.parametrize("classes", [5, 300])
def test_f73_labels_keep_their_place_their_colours_and_what_means_no_data(
    tmp_path: Path, classes: int
) -> None:
    import rasterio

    labels = labels_of(classes, ignored=True, height=1200, width=1100)
    nothing = images.ignored_value(classes)
    raw = np.where(labels == IGNORE, nothing, labels).astype(np.uint8 if classes < 256 else "u2")
    colors = colors_of(classes)
    geotiff.write_geotiff(tmp_path / "x.tif", [raw], PLACE, colors=colors, nodata=nothing)
    with rasterio.open(tmp_path / "x.tif") as file:
        assert np.array_equal(file.read(1), raw)
        assert file.crs.to_epsg() == 32633
        assert file.transform[:6] == PLACE.transform
        assert file.nodata == nothing
        assert file.overviews(1) == [2, 4]
        assert file.block_shapes == [(512, 512)]
        assert file.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        if classes == 5:
            assert [file.colormap(1)[i][:3] for i in range(5)] == list(colors)
    assert [path.name for path in tmp_path.iterdir()] == ["x.tif"]


@with_rasterio
def test_f73_a_place_told_by_points_is_kept(tmp_path: Path) -> None:
    points = (
        (0.0, 0.0, 10.0, 50.0, 0.0),
        (0.0, 90.0, 11.0, 50.0, 0.0),
        (70.0, 0.0, 10.0, 49.0, 1.0),
    )
    place = Geo("EPSG:4326", (1.0, 0.0, 0.0, 0.0, 1.0, 0.0), points)
    values = np.zeros((70, 90), np.uint8)
    geotiff.write_geotiff(tmp_path / "x.tif", [values], place)
    with images.open_raster(tmp_path / "x.tif", 1) as raster:
        assert raster.geo is not None
        assert raster.geo.points == points


@with_rasterio
def test_probabilities_are_bands_with_names_and_a_scale(tmp_path: Path) -> None:
    import rasterio

    values = np.random.default_rng(0).integers(0, 256, (3, 70, 90)).astype(np.uint8)
    names = ("wood", "field", "town")
    geotiff.write_geotiff(tmp_path / "x.tif", list(values), PLACE, names=names, scale=1 / 255)
    with rasterio.open(tmp_path / "x.tif") as file:
        assert np.array_equal(file.read(), values)
        assert file.descriptions == names
        assert file.scales == (1 / 255,) * 3


@with_rasterio
def test_f72_a_geotiff_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    class Failing:
        shape, dtype = (600, 600), np.dtype(np.uint8)

        def __getitem__(self, rows: slice) -> np.ndarray:
            if rows.start:
                raise OSError(28, "No space left on device")
            return np.zeros((256, 600), np.uint8)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(MachineError, match=r"x\.tif cannot be written: No space left"):
            geotiff.write_geotiff(tmp_path / "x.tif", [Failing()], PLACE)
    assert list(tmp_path.iterdir()) == []
