"""Rasters: windows of pictures, of TIFFs and of arrays are what reading them whole gives."""

import io
import os
import tracemalloc
import warnings
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

import tiny
from pixelwright import images
from pixelwright.errors import DataError, PixelwrightWarning
from pixelwright.images import Raster, array_raster, geo, open_raster
from pixelwright.types import Window

with_rasterio = pytest.mark.skipif(not geo.installed(), reason="needs the extra 'geo'")
WINDOW = Window(5, 7, 30, 41)
PART = (slice(5, 35), slice(7, 48))


def drawn(height: int = 60, width: int = 80, bands: int = 3) -> np.ndarray:
    return tiny.noise(height, width, bands)


def whole(raster: Raster) -> Window:
    return Window(0, 0, raster.height, raster.width)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "BMP", "WEBP"])
@pytest.mark.parametrize("orientation", [1, 6])
def test_windows_of_a_picture_are_what_reading_it_whole_gives(
    tmp_path: Path, kind: str, orientation: int
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tiny.save(
        tmp_path / "x", drawn(), format=kind, **({} if kind == "BMP" else {"exif": exif})
    )
    with open_raster(path, 3) as raster:
        assert (raster.height, raster.width) == images.size(path)
        pixels = raster.read(WINDOW._replace(width=20))
        assert raster.dtype == np.uint8
        assert raster.invalid(WINDOW._replace(width=20)) is None
    assert np.array_equal(pixels, images.read_image(path)[5:35, 7:27])


@with_rasterio
@pytest.mark.parametrize(
    "options",
    [
        {"photometric": "rgb", "interleave": "pixel"},
        {"photometric": "rgb", "compress": "lzw", "interleave": "band"},
        {"photometric": "rgb", "tiled": True, "blockxsize": 16, "blockysize": 16},
        {"photometric": "rgb", "bigtiff": "yes", "compress": "deflate", "predictor": 2},
    ],
)
def test_tiffs_read_by_windows_are_what_is_decoded_whole(
    tmp_path: Path, options: dict[str, object]
) -> None:
    path = tiny.save_tiff(tmp_path / "x.tif", drawn().transpose(2, 0, 1), **options)
    with open_raster(path, 3) as raster:
        assert raster.held <= drawn().nbytes
        assert np.array_equal(raster.read(WINDOW), drawn()[PART])
        assert np.array_equal(raster.read(whole(raster)), images.read_image(path))


@with_rasterio
def test_the_colours_of_a_palette_are_what_a_tiff_shows(tmp_path: Path) -> None:
    indices = drawn(bands=1)[..., 0] % 5
    colors = {i: (40 * i, 200 - 9 * i, i, 255) for i in range(5)}
    path = tiny.save_tiff(
        tmp_path / "x.tif", indices[np.newaxis], colors=colors, photometric="palette"
    )
    with open_raster(path, 3) as raster:
        pixels = raster.read(whole(raster))
    assert np.array_equal(pixels, np.array([colors[i][:3] for i in range(5)], np.uint8)[indices])
    assert np.array_equal(pixels, images.read_image(path))


@pytest.mark.parametrize("shape", [(60, 80, 3), (60, 80), (2, 60, 80, 3)])
def test_arrays_are_read_where_they_lie(tmp_path: Path, shape: tuple[int, ...]) -> None:
    array = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    np.save(tmp_path / "x.npy", array)
    page = 2 if len(shape) == 4 else None
    channels = 1 if len(shape) == 2 else 3
    with open_raster(tmp_path / "x.npy", channels, page=page) as raster:
        assert raster.held == 0
        found = raster.read(WINDOW)
    expected = array[1] if len(shape) == 4 else array
    assert np.array_equal(found, expected.reshape(60, 80, -1)[PART])
    with pytest.raises(DataError, match="so there is no page 3"):
        open_raster(tmp_path / "x.npy", channels, page=3)


def test_windows_of_a_large_array_take_memory_for_themselves_only(tmp_path: Path) -> None:
    np.lib.format.open_memmap(tmp_path / "x.npy", "w+", np.uint8, (6000, 6000, 3)).flush()
    with open_raster(tmp_path / "x.npy", 3) as raster:
        tracemalloc.start()
        for top in range(0, 6000, 250):
            raster.read(Window(top, 0, 250, 6000))
            raster.read(Window(top, 300, 250, 512))
        assert raster.picture(whole(raster), 100).shape == (60, 60, 3)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < 40e6, "a strip of 250 x 6000 is 4.5 MB, the picture 108 MB"


@pytest.mark.parametrize(
    ("shape", "kind"), [((60, 80), np.complex64), ((6,), np.uint8), ((9, 9), "O"), ((0, 9), "u1")]
)
def test_arrays_that_are_no_pictures_are_refused(
    tmp_path: Path, shape: tuple[int, ...], kind: object
) -> None:
    np.save(tmp_path / "x.npy", np.zeros(shape, kind))  # type: ignore[call-overload]
    with pytest.raises(DataError, match=r"A picture was expected|of type complex64"):
        open_raster(tmp_path / "x.npy", 1)


def test_f03_an_array_that_is_cut_short_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "x.npy"
    np.save(path, drawn())
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DataError, match=r"14,400 bytes of samples are declared and 14,399 are"):
        open_raster(path, 3)


def test_pictures_in_a_zip_archive_are_read_like_any_other(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        for name in ("a.tif", "a.png"):
            archive.write(tiny.save(tmp_path / name, drawn()), f"in/{name}")
        buffer = io.BytesIO()
        np.save(buffer, drawn())
        archive.writestr("in/a.npy", buffer.getvalue())
    for name in ("a.tif", "a.png", "a.npy"):
        with open_raster(tmp_path / "x.zip" / "in" / name, 3) as raster:
            assert np.array_equal(raster.read(WINDOW), drawn()[PART])


def test_an_array_in_memory_is_a_raster() -> None:
    with array_raster(drawn(), 3) as raster:
        assert np.array_equal(raster.read(WINDOW), drawn()[PART])
        assert raster.source is None
        assert raster.held == drawn().nbytes


@pytest.mark.parametrize("step", [1, 7])
def test_a_picture_to_look_at_is_made_of_means(step: int) -> None:
    flat = np.repeat(np.repeat(drawn(10, 12), 7, axis=0), 7, axis=1)
    with array_raster(flat, 3) as raster:
        small = raster.picture(Window(7, 14, 63, 70), step)
    assert np.array_equal(small, drawn(10, 12)[1:, 2:] if step == 7 else flat[7:, 14:])


@pytest.mark.parametrize("kind", ["GIF", "TIFF", "PNG", "WEBP"])
def test_f13_a_page_can_be_chosen(tmp_path: Path, kind: str) -> None:
    pages = [Image.fromarray(np.full((8, 9, 3), level, np.uint8)) for level in (40, 200)]
    options = {"lossless": True} if kind == "WEBP" else {}
    pages[0].save(tmp_path / "x", kind, save_all=True, append_images=pages[1:], **options)
    with pytest.warns(PixelwrightWarning, match="Only the first page or frame"):
        assert (open_raster(tmp_path / "x", 3).read(Window(0, 0, 8, 9)) == 40).all()
    assert (open_raster(tmp_path / "x", 3, page=1).read(Window(0, 0, 8, 9)) == 40).all()
    assert (open_raster(tmp_path / "x", 3, page=2).read(Window(0, 0, 8, 9)) == 200).all()
    for page in (0, 3):
        with pytest.raises(DataError, match=f"2 pages.*so there is no page {page}"):
            open_raster(tmp_path / "x", 3, page=page)


@pytest.mark.parametrize("rasterio", [False, pytest.param(True, marks=with_rasterio)])
def test_f13_a_page_of_deep_colours_can_be_chosen(
    tmp_path: Path, rasterio: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = np.random.default_rng(0).integers(0, 2**16, (2, 8, 9, 3)).astype(np.uint16)
    cv2.imwritemulti(str(tmp_path / "x.tif"), [page[..., ::-1] for page in deep])
    monkeypatch.setattr(geo, "installed", lambda: rasterio)
    with open_raster(tmp_path / "x.tif", 3, page=2) as raster:
        assert np.allclose(raster.read(Window(0, 0, 8, 9)), deep[1] / 257)


def test_f15_a_size_bomb_is_refused_only_where_it_would_be_decoded_whole(tmp_path: Path) -> None:
    path = tmp_path / "x.npy"
    with path.open("wb") as file:
        file.write(images.npy_header((200_000, 200_000), np.uint8))
        file.truncate(file.tell() + 200_000**2)  # takes no space: nothing is written there
    with open_raster(path, 1) as raster:
        assert not raster.read(Window(199_000, 199_000, 1000, 1000)).any()
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("x.npy", images.npy_header((200_000, 200_000), np.uint8))
    with pytest.raises(DataError, match="damaged"):
        open_raster(tmp_path / "x.zip" / "x.npy", 1)


@with_rasterio
def test_f15_a_tiff_that_is_read_by_windows_may_be_of_any_size(tmp_path: Path) -> None:
    import rasterio

    path = tmp_path / "x.tif"
    sparse = {"tiled": True, "sparse_ok": True, "bigtiff": "yes", "photometric": "rgb"}
    shape = {"height": 10**5, "width": 10**5, "count": 3, "dtype": "uint8"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        with rasterio.open(path, "w", driver="GTiff", **shape, **sparse) as file:
            file.write(drawn(256, 256).transpose(2, 0, 1), window=((512, 768), (256, 512)))
    with open_raster(path, 3) as raster:
        assert np.array_equal(raster.read(Window(512, 256, 256, 256)), drawn(256, 256))
        assert raster.held <= geo.CACHE_BYTES
    with pytest.raises(DataError, match="more than the limit"):
        images.read_image(path)


@with_rasterio
def test_f73_a_raster_knows_where_on_earth_it_lies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rasterio import Affine

    place = {"crs": "EPSG:32633", "transform": Affine(0.5, 0, 4e5, 0, -0.5, 5e6)}
    path = tiny.save_tiff(
        tmp_path / "x.tif", drawn().transpose(2, 0, 1), photometric="rgb", **place
    )
    with open_raster(path, 3) as raster:
        assert raster.geo is not None
        assert raster.geo.transform == (0.5, 0, 4e5, 0, -0.5, 5e6)
        assert '"WGS 84 / UTM zone 33N"' in raster.geo.crs
    with open_raster(tiny.save_tiff(tmp_path / "y.tif", drawn().transpose(2, 0, 1)), 3) as raster:
        assert raster.geo is None
    monkeypatch.setattr(geo, "installed", lambda: False)
    with pytest.warns(PixelwrightWarning, match=r"georeference is not kept.*pixelwright\[geo\]"):
        assert open_raster(path, 3).geo is None


@with_rasterio
def test_f04_a_tiff_that_is_damaged_inside_is_an_error(tmp_path: Path) -> None:
    path = tiny.save_tiff(
        tmp_path / "x.tif", drawn(600, 600).transpose(2, 0, 1), compress="deflate", tiled=True
    )
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 2000] = bytes(2000)
    path.write_bytes(data)
    with open_raster(path, 3) as raster, pytest.raises(DataError, match=r"x\.tif is damaged"):
        raster.read(whole(raster))


@with_rasterio
def test_f18_a_tiff_with_an_odd_name_is_read(tmp_path: Path) -> None:
    for name in ("new\nline.tif", "a:b 'c'.tif", os.fsdecode(b"latin-\xe9.tif")):
        try:
            path = tiny.save(tmp_path / name, drawn(), format="TIFF")
        except OSError:
            continue  # this file system refuses the name
        with open_raster(path, 3) as raster:
            assert np.array_equal(raster.read(WINDOW), drawn()[PART])


@with_rasterio
def test_threads_may_read_one_tiff_at_once(tmp_path: Path) -> None:
    options = {"tiled": True, "compress": "lzw", "photometric": "rgb"}
    array = drawn(1000, 1000)
    path = tiny.save_tiff(tmp_path / "x.tif", array.transpose(2, 0, 1), **options)
    tops = list(range(0, 1000, 50)) * 3
    with open_raster(path, 3, nodata=0) as raster, ThreadPoolExecutor(4) as pool:
        read = pool.map(lambda top: raster.read(Window(top, 0, 50, 1000)), tops)
        invalid = pool.map(lambda top: raster.invalid(Window(top, 0, 50, 1000)), tops)
        for top, pixels, missing in zip(tops, read, invalid, strict=True):
            assert np.array_equal(pixels, array[top : top + 50])
            assert np.array_equal(missing, (array[top : top + 50] == 0).all(2))
