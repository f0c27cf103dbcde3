"""What the samples of a raster mean: depth, transparency, channels and bands, no data."""

from pathlib import Path

import cv2
import numpy as np
import pytest

import tiny
from pixelwright import images
from pixelwright.errors import DataError, PixelwrightWarning, RecipeError
from pixelwright.images import array_raster, geo, open_raster
from pixelwright.types import Window

with_rasterio = pytest.mark.skipif(not geo.installed(), reason="needs the extra 'geo'")
WINDOW = Window(5, 7, 30, 41)
PART = (slice(5, 35), slice(7, 48))


def drawn(height: int = 60, width: int = 80, bands: int = 3) -> np.ndarray:
    return tiny.noise(height, width, bands)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("bands", [1, 3])
def test_f08_sixteen_bits_keep_their_full_depth(tmp_path: Path, suffix: str, bands: int) -> None:
    deep = np.linspace(0, 65535, 60 * 80).astype(np.uint16).reshape(60, 80)
    stored = deep if bands == 1 else np.dstack([deep[::-1], deep, deep])  # blue first
    (tmp_path / "x").write_bytes(cv2.imencode(suffix, stored)[1].tobytes())
    with open_raster(tmp_path / "x", bands) as raster:
        pixels = raster.read(WINDOW)
        assert raster.dtype == pixels.dtype == np.float32
        expected = deep.astype(np.float64) / 65535 * 255
        assert np.allclose(pixels[..., 0], expected[PART], rtol=1e-7, atol=0)
        assert raster.read(Window(0, 0, 60, 80)).max() == 255
        assert np.array_equal(np.rint(pixels), images.read_image(tmp_path / "x", bands)[PART])
        assert np.array_equal(raster.picture(WINDOW), np.rint(pixels))


def test_f08_twelve_bits_in_sixteen_span_the_whole_range_when_stated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = np.arange(4096, dtype=np.uint16).reshape(64, 64)
    path = tiny.save(tmp_path / "x.png", deep)
    with pytest.warns(PixelwrightWarning, match="PIXELWRIGHT_IMAGE_BITS=12"):
        open_raster(path, 1)
    monkeypatch.setenv("PIXELWRIGHT_IMAGE_BITS", "12")
    pixels = open_raster(path, 1).read(Window(0, 0, 64, 64))
    assert len(np.unique(pixels)) == 4096
    assert pixels.max() == 255
    monkeypatch.setenv("PIXELWRIGHT_IMAGE_BITS", "10")
    raster = open_raster(path, 1)
    with pytest.raises(DataError, match=r"rows 0 to 64, .* a sample of 4095, but its 10 bits"):
        raster.read(Window(0, 0, 64, 64))
    nothing = open_raster(path, 1, nodata=4095)
    assert nothing.read(Window(0, 0, 16, 64)).max() == 255
    monkeypatch.setenv("PIXELWRIGHT_IMAGE_BITS", "20")
    with pytest.raises(DataError, match="PIXELWRIGHT_IMAGE_BITS is 20"):
        open_raster(path, 1)


@with_rasterio
def test_f08_the_bits_that_a_file_declares_are_used(tmp_path: Path) -> None:
    deep = np.arange(4096, dtype=np.uint16).reshape(1, 64, 64)
    path = tiny.save_tiff(tmp_path / "x.tif", deep, nbits=12)
    with open_raster(path, 1) as raster:
        assert raster.read(Window(0, 0, 64, 64)).max() == 255


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_f09_transparency_is_dropped_with_a_warning_or_means_no_data(
    tmp_path: Path, kind: str
) -> None:
    alpha = np.full((60, 80, 1), 255, np.uint8)
    opaque = tiny.save(tmp_path / "y", np.dstack([drawn(), alpha]), format=kind)
    with open_raster(opaque, 3) as raster:
        assert np.array_equal(raster.read(WINDOW), drawn()[PART])
    alpha[:9], alpha[20] = 0, 100
    clear = tiny.save(tmp_path / "x", np.dstack([drawn(), alpha]), format=kind)
    with (
        open_raster(clear, 3) as raster,
        pytest.warns(PixelwrightWarning, match="Transparency is dropped"),
    ):
        assert np.array_equal(raster.read(WINDOW), drawn()[PART])
    with open_raster(clear, 3, nodata="alpha") as raster:
        assert np.array_equal(raster.read(WINDOW), drawn()[PART])
        invalid = raster.invalid(WINDOW)
    assert invalid is not None
    assert np.array_equal(invalid, (alpha == 0)[PART][..., 0])


def test_f10_grey_is_repeated_with_a_warning(tmp_path: Path) -> None:
    path = tiny.save(tmp_path / "x.png", drawn()[..., 0])
    with pytest.warns(PixelwrightWarning, match="Grey is repeated in 3 channels"):
        raster = open_raster(path, 3)
    assert np.array_equal(raster.read(WINDOW), images.read_image(path)[PART])


def test_f10_colours_are_refused_by_a_grey_network_unless_a_band_is_named(tmp_path: Path) -> None:
    path = tiny.save(tmp_path / "x.png", drawn())
    with pytest.raises(DataError, match=r"x\.png is a colour picture.*--bands 1"):
        open_raster(path, 1).read(WINDOW)
    assert np.array_equal(open_raster(path, 1, bands=[2]).read(WINDOW), drawn()[PART][..., 1:2])
    grey = tiny.save(tmp_path / "y.png", np.repeat(drawn()[..., :1], 3, axis=2))
    assert np.array_equal(open_raster(grey, 1).read(WINDOW), drawn()[PART][..., :1])


@pytest.mark.parametrize("suffix", ["npy", pytest.param("tif", marks=with_rasterio)])
def test_f11_of_many_bands_those_that_are_named_are_used(tmp_path: Path, suffix: str) -> None:
    path, array = tmp_path / f"x.{suffix}", drawn(bands=6)
    if suffix == "npy":
        np.save(path, array)
    else:
        tiny.save_tiff(path, array.transpose(2, 0, 1))
    with pytest.raises(DataError, match=r"6 bands, but the network takes 3 .*--bands 3,2,1"):
        open_raster(path, 3)
    with open_raster(path, 3, bands=[6, 1, 3]) as raster:
        assert np.array_equal(raster.read(WINDOW), array[PART][..., [5, 0, 2]])
        assert np.array_equal(raster.picture(WINDOW), array[PART][..., [5, 0, 2]])
    with pytest.raises(DataError, match="there is no band 7"):
        open_raster(path, 3, bands=[1, 2, 7])
    with pytest.raises(DataError, match="--bands names 2 bands"):
        open_raster(path, 3, bands=[1, 2])


@with_rasterio
def test_f11_without_rasterio_many_bands_say_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tiny.save_tiff(tmp_path / "x.tif", drawn(bands=6).transpose(2, 0, 1))
    monkeypatch.setattr(geo, "installed", lambda: False)
    with pytest.raises(DataError, match=r'x\.tif has 6 bands.*pip install "pixelwright\[geo\]"'):
        open_raster(path, 3, bands=[1, 2, 3])


def test_f12_fractions_that_are_no_numbers_are_an_error_unless_declared(tmp_path: Path) -> None:
    values = np.linspace(0, 1, 60 * 80, dtype=np.float32).reshape(60, 80)
    values[10, 20:22] = np.nan
    path = tiny.save(tmp_path / "x.tif", values)
    with pytest.raises(DataError, match=r"has 2 samples that are NaN or infinite.*--nodata nan"):
        open_raster(path, 1).read(WINDOW)
    with open_raster(path, 1, nodata=np.nan) as raster:
        pixels, invalid = raster.read(WINDOW), raster.invalid(WINDOW)
    assert invalid is not None
    assert np.array_equal(invalid, np.isnan(values)[PART])
    assert np.allclose(pixels[..., 0], np.nan_to_num(values[PART]) * 255)
    values[0, 0] = np.inf
    with pytest.raises(DataError, match="has 1 samples that are NaN or infinite"):
        open_raster(tiny.save(path, values), 1, nodata=np.nan).read(Window(0, 0, 20, 80))


def test_f12_fractions_need_a_known_range() -> None:
    with pytest.raises(DataError, match="fractional samples from 0 to 1000"):
        array_raster(np.float32([[0, 1000]]), 1).read(Window(0, 0, 1, 2))
    with array_raster(np.float32([[0.5, -9999]]), 1, nodata=-9999) as raster:
        assert raster.read(Window(0, 0, 1, 2)).ravel().tolist() == [127.5, 0]
    with pytest.raises(DataError, match="type int32, whose range is not known"):
        array_raster(np.int32([[0, 1000]]), 1)


def test_f71_a_value_for_no_data_counts_where_all_bands_have_it(tmp_path: Path) -> None:
    array = drawn()
    array[10:12, 20:30] = 0
    array[14, 20, 0] = 0
    path = tiny.save(tmp_path / "x.png", array)
    with open_raster(path, 3, nodata=0) as raster:
        assert raster.has_nodata
        invalid = raster.invalid(WINDOW)
        assert np.array_equal(raster.read(WINDOW), array[PART])
        inner = raster.invalid(Window(9, 18, 6, 20))
    assert invalid is not None
    assert invalid.sum() == 20
    assert inner is not None
    assert np.array_equal(inner, (array == 0).all(2)[9:15, 18:38])
    with open_raster(path, 3, nodata=-9999) as raster:
        assert not raster.has_nodata


@with_rasterio
def test_f71_what_a_tiff_declares_to_be_no_data_is(tmp_path: Path) -> None:
    array = drawn().transpose(2, 0, 1).copy()
    array[:, 10:12, 20:30] = 7
    path = tiny.save_tiff(tmp_path / "x.tif", array, nodata=7)
    expected = (array == 7).all(0)[PART]
    with open_raster(path, 3) as raster:
        assert np.array_equal(raster.invalid(WINDOW), expected)  # type: ignore[arg-type]
    with open_raster(path, 3, nodata=255) as raster:
        assert not np.any(raster.invalid(WINDOW))
    mask = np.full((60, 80), 255, np.uint8)
    mask[6:9, 8:20] = 0
    masked = tiny.save_tiff(
        tmp_path / "y.tif", drawn().transpose(2, 0, 1), mask=mask, photometric="rgb"
    )
    with open_raster(masked, 3) as raster:
        assert np.array_equal(raster.invalid(WINDOW), (mask == 0)[PART])  # type: ignore[arg-type]


@pytest.mark.parametrize(("text", "value"), [("-9999", -9999.0), ("Alpha", "alpha"), ("0", 0.0)])
def test_the_value_for_no_data_is_read_from_the_command_line(text: str, value: object) -> None:
    assert images.nodata_of(text) == value
    assert np.isnan(images.nodata_of("nan"))  # type: ignore[arg-type]
    with pytest.raises(RecipeError, match="--nodata is 'black'"):
        images.nodata_of("black")
