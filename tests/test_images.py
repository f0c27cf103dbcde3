import io
import os
import struct
import time
import warnings
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from pixelwright import images
from pixelwright.errors import DataError, MachineError, PixelwrightWarning


def photo(height: int = 60, width: int = 80) -> np.ndarray:
    """Smooth ramps with noise: no two corners alike, so that a turned picture is noticed."""
    y, x = np.mgrid[:height, :width]
    ramps = np.stack([255 * x / width, 255 * y / height, 120 + 0 * x], axis=-1)
    noise = np.random.default_rng(0).normal(0, 6, ramps.shape)
    return (ramps + noise).clip(0, 255).astype(np.uint8)


def encoded(kind: str, picture: np.ndarray | Image.Image, **options: object) -> bytes:
    buffer = io.BytesIO()
    if not isinstance(picture, Image.Image):
        picture = Image.fromarray(picture)
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def saved(folder: Path, name: str, data: bytes) -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


def png_of(width: int, height: int, data: bytes = b"") -> bytes:
    """A PNG that declares a size, whatever its pixel data are."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", data) + chunk(b"IEND", b"")


LOSSLESS = [
    ("PNG", {}),
    ("WEBP", {"lossless": True}),
    ("TIFF", {}),
    ("TIFF", {"compression": "tiff_lzw"}),
    ("TIFF", {"compression": "tiff_deflate"}),
    ("TIFF", {"big_tiff": True}),
    ("BMP", {}),
    ("PPM", {}),
]


@pytest.mark.parametrize(("kind", "options"), LOSSLESS)
def test_lossless_pictures_are_read_as_they_were_drawn(
    tmp_path: Path, kind: str, options: dict[str, object]
) -> None:
    path = saved(tmp_path, "x.png", encoded(kind, photo(), **options))
    assert np.array_equal(images.read_image(path), photo())
    assert images.size(path) == (60, 80)


def test_a_jpeg_is_red_first(tmp_path: Path) -> None:
    path = saved(tmp_path, "x.jpg", encoded("JPEG", photo(), quality=95, subsampling=0))
    assert np.abs(images.read_image(path).astype(int) - photo()).mean() < 4


@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_a_picture_that_was_written_is_read_back(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"x.{suffix}"
    if suffix == "png":
        images.write_png(path, photo())
        assert np.array_equal(images.read_image(path), photo())
    else:
        images.write_jpeg(path, photo(), quality=100)
        assert np.abs(images.read_image(path).astype(int) - photo()).mean() < 4
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_what_cannot_be_written_leaves_the_old_file(tmp_path: Path) -> None:
    (tmp_path / "x.png").mkdir()
    with pytest.raises(MachineError, match=r"x\.png cannot be written"):
        images.write_png(tmp_path / "x.png", photo())
    with pytest.raises(MachineError, match="there is no folder"):
        images.write_png(tmp_path / "missing" / "x.png", photo())
    assert [file.name for file in tmp_path.iterdir()] == ["x.png"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk_is_a_fault_of_the_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = Path.open
    monkeypatch.setattr(
        Path, "open", lambda self, mode: plain(Path("/dev/full"), mode.replace("x", "w"))
    )
    with pytest.raises(MachineError, match="No space left"):
        images.write_png(tmp_path / "x.png", photo())
    assert list(tmp_path.iterdir()) == []


def test_f01_an_empty_file_is_named(tmp_path: Path) -> None:
    path = saved(tmp_path, "x.png", b"")
    for read in (images.read_image, images.size, images.raw_mask):
        with pytest.raises(DataError, match=r"x\.png is an empty file"):
            read(path)


@pytest.mark.parametrize("data", [b"<!DOCTYPE html><html>", b"oid sha256:1\n", b"RIFF1234WAVEfmt "])
def test_f02_text_saved_as_a_picture_shows_how_it_starts(tmp_path: Path, data: bytes) -> None:
    path = saved(tmp_path, "x.png", data)
    for read in (images.read_image, images.size):
        with pytest.raises(DataError, match=r"x\.png is not an image .*\(starts with b'") as error:
            read(path)
        assert repr(data[:16]) in str(error.value)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("kept", [0.02, 0.3, 0.9, -2])
def test_f03_a_cut_jpeg_is_an_error(tmp_path: Path, progressive: bool, kept: float) -> None:
    # The thumbnail has an end marker of its own, which must not be taken for the picture's.
    exif = Image.Exif()
    exif[0x010E] = encoded("JPEG", photo(16, 16)).decode("latin-1")
    data = encoded("JPEG", photo(), progressive=progressive, exif=exif)
    end = int(kept) if kept < 0 else int(kept * len(data))
    path = saved(tmp_path, "x.jpg", data[:end])
    with pytest.raises(DataError, match=r"x\.jpg is damaged.*Replace it"):
        images.read_image(path)


def test_f03_bytes_after_the_end_of_a_jpeg_do_no_harm(tmp_path: Path) -> None:
    data = encoded("JPEG", photo())
    whole = images.read_image(saved(tmp_path, "x.jpg", data))
    longer = images.read_image(saved(tmp_path, "y.jpg", data + bytes(1000) + b"trailer"))
    assert np.array_equal(whole, longer)


@pytest.mark.parametrize(
    ("kind", "options"), [*LOSSLESS[1:], ("PNG", {}), ("GIF", {}), ("WEBP", {})]
)
def test_f03_any_cut_picture_is_an_error(
    tmp_path: Path, kind: str, options: dict[str, object]
) -> None:
    data = encoded(kind, photo(), **options)
    for end in (20, len(data) // 2, len(data) - 20):
        with pytest.raises(DataError, match=r"x\.img is damaged"):
            images.read_image(saved(tmp_path, "x.img", data[:end]))


@pytest.mark.parametrize("at", [-20, -6, 29, "middle"])
def test_f04_an_altered_png_is_an_error(tmp_path: Path, at: int | str) -> None:
    data = bytearray(encoded("PNG", photo()))
    data[len(data) // 2 if isinstance(at, str) else at] ^= 0xFF
    path = saved(tmp_path, "x.png", bytes(data))
    for read in (images.read_image, images.raw_mask):
        with pytest.raises(DataError, match=r"x\.png is damaged"):
            read(path)


@pytest.mark.parametrize("kept", [0, 1, 20])
def test_f04_a_png_with_too_few_pixels_is_an_error(tmp_path: Path, kept: int) -> None:
    path = saved(tmp_path, "x.png", png_of(60, 60, zlib.compress(photo().tobytes())[:kept]))
    for read in (images.read_image, images.raw_mask):
        with pytest.raises(DataError, match=r"x\.png is damaged"):
            read(path)


def test_f05_the_content_decides_not_the_suffix(tmp_path: Path) -> None:
    data = encoded("JPEG", photo())
    one, other = saved(tmp_path, "x.png", data), saved(tmp_path, "x.jpg", data)
    assert np.array_equal(images.read_image(one), images.read_image(other))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_f06_orientation_is_applied_once(tmp_path: Path, kind: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(kind, photo(), exif=exif)
    path = saved(tmp_path, "x.img", data)
    image = images.read_image(path)
    # OpenCV's own rotation is the witness, or Pillow's, which alone reads turned TIFFs right.
    if kind == "TIFF":
        witness = np.asarray(Image.open(path))
    else:
        witness = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
    assert np.array_equal(image, witness)
    assert images.size(path) == image.shape[:2] == ((60, 80) if orientation < 5 else (80, 60))


def test_f06_unreadable_exif_counts_as_upright(tmp_path: Path) -> None:
    data = encoded("JPEG", photo(), exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    assert images.read_image(saved(tmp_path, "x.jpg", data)).shape == (60, 80, 3)


def test_f07_cmyk_becomes_rgb_with_a_warning(tmp_path: Path) -> None:
    path = saved(tmp_path, "x.jpg", encoded("JPEG", Image.fromarray(photo()).convert("CMYK")))
    with pytest.warns(PixelwrightWarning, match="from CMYK to RGB"):
        image = images.read_image(path)
    assert np.abs(image.astype(int) - photo()).mean() < 6


@pytest.mark.parametrize("suffix", [".png", ".tiff"])
@pytest.mark.parametrize("bands", [1, 3])
def test_f08_sixteen_bits_are_scaled_never_clipped(tmp_path: Path, suffix: str, bands: int) -> None:
    deep = np.linspace(0, 65535, 60 * 80).astype(np.uint16).reshape(60, 80)
    stored = deep if bands == 1 else np.dstack([deep[::-1], deep, deep])  # blue first
    path = saved(tmp_path, "x", cv2.imencode(suffix, stored)[1].tobytes())
    image = images.read_image(path)
    expected = np.rint(deep / 65535 * 255)
    assert np.array_equal(image[..., 0], expected)
    assert np.array_equal(image[..., 2], expected if bands == 1 else expected[::-1])


def test_f08_twelve_bits_in_sixteen_keep_all_levels_when_stated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = np.arange(4096, dtype=np.uint16).reshape(64, 64)
    path = saved(tmp_path, "x.png", cv2.imencode(".png", deep)[1].tobytes())
    with pytest.warns(PixelwrightWarning, match="PIXELWRIGHT_IMAGE_BITS=12"):
        assert images.read_image(path, 1).max() == 16
    monkeypatch.setenv("PIXELWRIGHT_IMAGE_BITS", "12")
    assert len(np.unique(images.read_image(path, 1))) == 256
    monkeypatch.setenv("PIXELWRIGHT_IMAGE_BITS", "10")
    with pytest.raises(DataError, match="a sample of 4095"):
        images.read_image(path)


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
def test_f09_transparency_is_dropped_with_a_warning_where_there_is_some(
    tmp_path: Path, kind: str
) -> None:
    alpha = np.full((60, 80, 1), 255, np.uint8)
    options = {"lossless": True, "exact": True} if kind == "WEBP" else {}
    opaque = encoded(kind, np.dstack([photo(), alpha]), **options)
    assert np.array_equal(images.read_image(saved(tmp_path, "x", opaque)), photo())
    alpha[:9] = 0
    clear = encoded(kind, np.dstack([photo(), alpha]), **options)
    with pytest.warns(PixelwrightWarning, match="Transparency is dropped"):
        image = images.read_image(saved(tmp_path, "x", clear))
    assert np.array_equal(image, photo())


def test_one_warning_stands_for_all_pictures_of_a_folder(tmp_path: Path) -> None:
    data = encoded("PNG", np.zeros((2, 2, 4), np.uint8))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for name in "abc":
            images.read_image(saved(tmp_path, name, data))
    assert len({str(warning.message) for warning in caught}) == 1


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "BMP", "GIF", "PPM"])
def test_f10_grey_pictures_serve_any_model(tmp_path: Path, kind: str) -> None:
    path = saved(tmp_path, "x", encoded(kind, photo()[..., 0]))
    image = images.read_image(path)
    assert image.shape == (60, 80, 3)
    assert np.ptp(image, axis=2).max() == 0
    assert np.array_equal(images.read_image(path, 1), image[..., :1])


def test_f10_colour_pictures_are_refused_by_a_grey_model(tmp_path: Path) -> None:
    path = saved(tmp_path, "x.png", encoded("PNG", photo()))
    with pytest.raises(DataError, match=r"x\.png is a colour picture, but 1 channel"):
        images.read_image(path, 1)


def test_f10_grey_pictures_stored_in_colour_serve_a_grey_model(tmp_path: Path) -> None:
    grey = np.repeat(photo()[..., :1], 3, axis=2)
    path = saved(tmp_path, "x.png", encoded("PNG", grey))
    assert np.array_equal(images.read_image(path, 1), grey[..., :1])


def tiff_of_bands(bands: int) -> bytes:
    """A TIFF by hand, as no library here writes one of many bands."""
    entries = [(256, 4, 2), (257, 4, 2), (258, 3, 8), (259, 3, 1), (262, 3, 1)]
    entries += [(273, 4, 200), (277, 3, bands), (278, 4, 2), (279, 4, 4 * bands)]
    directory = struct.pack("<H", len(entries))
    for tag, kind, value in entries:
        directory += struct.pack("<HHII" if kind == 4 else "<HHIHxx", tag, kind, 1, value)
    start = b"II*\0" + struct.pack("<I", 8) + directory + bytes(4)
    return start.ljust(200, b"\0") + bytes(range(4 * bands))


def test_f11_many_bands_are_an_error_that_counts_them(tmp_path: Path) -> None:
    path = saved(tmp_path, "x.tif", tiff_of_bands(6))
    assert images.size(path) == (2, 2)
    with pytest.raises(DataError, match=r"x\.tif has 6 bands; 1, 3 or 4"):
        images.read_image(path)


def test_f12_fractions_need_a_known_range(tmp_path: Path) -> None:
    values = np.linspace(0, 1, 100, dtype=np.float32).reshape(10, 10)
    path = saved(tmp_path, "x.tif", encoded("TIFF", values))
    assert np.array_equal(images.read_image(path, 1)[..., 0], np.rint(values * 255))
    values[3, :2] = np.nan, np.inf
    with pytest.raises(DataError, match=r"x\.tif has 2 samples that are NaN or infinite"):
        images.read_image(saved(tmp_path, "x.tif", encoded("TIFF", values)))
    with pytest.raises(DataError, match="from 0 to 1000"):
        big = np.float32([[0, 1000]])
        images.read_image(saved(tmp_path, "x.tif", encoded("TIFF", big)))


@pytest.mark.parametrize("kind", ["GIF", "TIFF", "PNG", "WEBP"])
def test_f13_the_first_of_several_pages_is_read_with_a_warning(tmp_path: Path, kind: str) -> None:
    pages = [Image.fromarray(np.full((8, 9, 3), level, np.uint8)) for level in (40, 200)]
    options = {"lossless": True} if kind == "WEBP" else {}
    data = encoded(kind, pages[0], save_all=True, append_images=pages[1:], **options)
    with pytest.warns(PixelwrightWarning, match="Only the first page or frame"):
        image = images.read_image(saved(tmp_path, "x", data))
    assert image.shape == (8, 9, 3)
    assert (image == 40).all()


@pytest.mark.parametrize("shape", [(1, 1), (3, 70000), (70000, 3)])
def test_f14_extreme_shapes_are_read(tmp_path: Path, shape: tuple[int, int]) -> None:
    path = tmp_path / "x.png"
    images.write_png(path, np.full((*shape, 3), 7, np.uint8))
    assert images.size(path) == shape
    assert images.read_image(path).shape == (*shape, 3)


def test_f15_a_size_bomb_is_refused_from_its_header(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = saved(tmp_path, "x.png", png_of(200_000, 200_000))
    for read in (images.size, images.read_image, images.raw_mask):
        start = time.perf_counter()
        with pytest.raises(DataError, match=r"200000x200000 .*PIXELWRIGHT_MAX_PIXELS=40000000000"):
            read(path)
        assert time.perf_counter() - start < 0.1
    monkeypatch.setenv("PIXELWRIGHT_MAX_PIXELS", "40000000000")
    assert images.size(path) == (200_000, 200_000)
    monkeypatch.setenv("PIXELWRIGHT_MAX_PIXELS", "99")
    with pytest.raises(DataError, match="more than the limit of 99"):
        images.size(saved(tmp_path, "y.png", encoded("PNG", photo(10, 10))))
    monkeypatch.setenv("PIXELWRIGHT_MAX_PIXELS", "lots")
    with pytest.raises(DataError, match="PIXELWRIGHT_MAX_PIXELS is 'lots'"):
        images.size(path)


def test_f15_a_picture_without_pixels_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="declares 0x5 pixels"):
        images.size(saved(tmp_path, "x.png", png_of(0, 5)))


def test_f16_what_is_no_readable_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "link.png").symlink_to(tmp_path / "gone.png")
    expected = {"folder.png": "is a folder", "link.png": "is a link to .*gone", "no.png": "exist"}
    for name, text in expected.items():
        for read in (images.size, images.read_image, images.raw_mask, images.fingerprint):
            with pytest.raises(DataError, match=rf"{name} .*{text}"):
                read(tmp_path / name)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read all")
def test_f16_a_file_without_permission_is_named(tmp_path: Path) -> None:
    path = saved(tmp_path, "x.png", encoded("PNG", photo()))
    path.chmod(0)
    with pytest.raises(DataError, match=r"x\.png may not be read"):
        images.read_image(path)


ODD_NAMES = [
    "new\nline.png",
    "quote'\".png",
    "\N{OWL}.png",
    "right\u202eleft.png",
    "x" * 251 + ".png",
    os.fsdecode(b"latin-\xe9.png"),
]


@pytest.mark.parametrize("name", ODD_NAMES)
def test_f18_odd_names_work_and_are_printed_on_one_line(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    try:
        images.write_png(path, photo())
    except MachineError:
        pytest.skip("this file system refuses the name")
    assert np.array_equal(images.read_image(path), photo())
    path.write_bytes(b"")
    with pytest.raises(DataError, match="is an empty file") as error:
        images.size(path)
    assert str(error.value).isprintable()
    str(error.value).encode("utf-8")


def test_f35_copies_have_one_fingerprint(tmp_path: Path) -> None:
    data = encoded("PNG", photo())
    one, copy = saved(tmp_path, "x.png", data), saved(tmp_path, "y.png", data)
    other = saved(tmp_path, "z.png", encoded("PNG", photo() + 1))
    assert images.fingerprint(one) == images.fingerprint(copy) != images.fingerprint(other)
