import io
import struct
import warnings
import zlib
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from pixelwright import images
from pixelwright.errors import DataError, PixelwrightWarning
from pixelwright.types import IGNORE, Classes, Color

COLORS: tuple[Color, ...] = ((0, 0, 0), (200, 30, 30), (40, 160, 60), (30, 60, 220))


def classes(
    count: int, *ignore: int, by_color: bool = False, threshold: bool = False, step: int = 1
) -> Classes:
    values = {i * step: i for i in range(count)} | dict.fromkeys(ignore, IGNORE)
    names = tuple(f"class {i}" for i in range(count))
    colors = tuple((i % 256, i // 256, 0) for i in range(4, count))
    return Classes(names, (COLORS + colors)[:count], values, by_color, threshold)


BINARY = classes(2, step=255)


def labels(count: int, height: int = 21, width: int = 27) -> np.ndarray:
    """Blocks in which every class occurs; the width is no multiple of 8."""
    y, x = np.mgrid[:height, :width]
    return ((x // 3 + 5 * (y // 3)) % count).astype(np.uint8)


def saved(
    path: Path, array: np.ndarray | Image.Image, kind: str = "PNG", **options: object
) -> Path:
    picture = array if isinstance(array, Image.Image) else Image.fromarray(array)
    picture.save(path, kind, **options)
    return path


def grey_png(path: Path, samples: np.ndarray, bits: int) -> Path:
    """A grey PNG of 1, 2, 4 or 8 bits a sample, by hand: Pillow does not write 2 and 4."""
    height, width = samples.shape
    rows = b""
    for row in samples:
        each = np.unpackbits(row[:, np.newaxis], axis=1)[:, 8 - bits :]
        rows += b"\0" + np.packbits(each.ravel()).tobytes()

    def chunk(kind: bytes, body: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + body))
        return struct.pack(">I", len(body)) + kind + body + check

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, 0, 0, 0, 0))
    data = chunk(b"IDAT", zlib.compress(rows))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + header + data + chunk(b"IEND", b""))
    return path


def with_palette(samples: np.ndarray, colors: tuple[Color, ...] = COLORS) -> Image.Image:
    picture = Image.fromarray(samples).convert("L")
    # Pillow silently cuts indices beyond the palette when it writes.
    longer = (colors * 64)[: max(len(colors), int(samples.max()) + 1)]
    picture.putpalette([sample for color in longer for sample in color])
    return picture


@pytest.mark.parametrize("count", [2, 4, 21, 256])
def test_a_mask_that_was_written_is_read_back(tmp_path: Path, count: int) -> None:
    target = labels(count).astype(np.int16)
    images.write_mask(tmp_path / "x.png", target, classes(count).colors)
    assert np.array_equal(images.read_mask(tmp_path / "x.png", classes(count)), target)


def test_a_written_mask_keeps_its_palette_and_ignored_pixels(tmp_path: Path) -> None:
    target = labels(4).astype(np.int16)
    target[3] = IGNORE
    images.write_mask(tmp_path / "x.png", target, COLORS)
    assert np.array_equal(images.read_mask(tmp_path / "x.png", classes(4, 255)), target)
    shown = np.asarray(Image.open(tmp_path / "x.png").convert("RGB"))
    assert np.array_equal(shown[0], np.array(COLORS)[target[0]])
    assert (shown[3] == 255).all()


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_f20_palette_masks_are_indices(tmp_path: Path, bits: int) -> None:
    raw = labels(min(2**bits, 200))
    path = saved(tmp_path / "x.png", with_palette(raw), bits=bits)
    assert np.array_equal(images.raw_mask(path), raw)
    assert np.array_equal(images.read_mask(path, classes(200)), raw)


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_f21_grey_samples_are_read_as_stored(tmp_path: Path, bits: int) -> None:
    raw = labels(2**bits)
    path = grey_png(tmp_path / "x.png", raw, bits)
    assert np.array_equal(images.raw_mask(path), raw)
    assert images.raw_mask(path).dtype == np.uint8


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "BMP", "GIF", "WEBP"])
def test_masks_of_any_lossless_kind_are_read(tmp_path: Path, kind: str) -> None:
    options = {"lossless": True} if kind == "WEBP" else {}
    path = saved(tmp_path / "x", labels(12), kind, **options)
    assert np.array_equal(images.read_mask(path, classes(12)), labels(12))


def test_f22_colours_become_classes(tmp_path: Path) -> None:
    target = labels(4)
    path = saved(tmp_path / "x.png", np.array(COLORS, np.uint8)[target])
    assert np.array_equal(images.read_mask(path, classes(4, by_color=True)), target)


def test_f22_a_palette_or_grey_mask_among_colour_masks_is_read_by_its_colours(
    tmp_path: Path,
) -> None:
    reverse = saved(tmp_path / "x.png", with_palette(labels(4), COLORS[::-1]))
    assert np.array_equal(images.read_mask(reverse, classes(4, by_color=True)), 3 - labels(4))
    black = saved(tmp_path / "y.png", np.zeros((5, 6), np.uint8))
    assert not images.read_mask(black, classes(4, by_color=True)).any()


def test_f22_unknown_colours_are_counted_with_their_nearest_classes(tmp_path: Path) -> None:
    picture = np.array(COLORS, np.uint8)[labels(4, 40, 50)]
    picture[0, :9] = (201, 30, 30)
    picture[1, :4] = (0, 0, 250)
    picture[2, :2] = 1
    picture[3, :1] = 2
    path = saved(tmp_path / "x.png", picture)
    with pytest.raises(DataError, match=r"x\.png has 16 of 2,000 pixels in 4 colours") as error:
        images.read_mask(path, classes(4, by_color=True))
    text = str(error.value)
    assert "(201, 30, 30) near class 1 (200, 30, 30); (0, 0, 250) near class 3" in text
    assert text.count(" near ") == 3


def test_f22_colour_masks_need_colours(tmp_path: Path) -> None:
    path = saved(tmp_path / "x.png", np.array(COLORS, np.uint8)[labels(4)])
    assert images.raw_mask(path).shape == (21, 27, 3)
    with pytest.raises(DataError, match=r"x\.png is a colour picture.*colors="):
        images.read_mask(path, classes(4))


@pytest.mark.parametrize("bands", [3, 4])
def test_colour_pictures_that_are_grey_everywhere_are_grey(tmp_path: Path, bands: int) -> None:
    raw = np.repeat(labels(3)[..., np.newaxis], bands, axis=2)
    raw[..., 3:] = 255
    assert np.array_equal(images.raw_mask(saved(tmp_path / "x.png", raw)), labels(3))


def test_transparency_of_a_mask_is_dropped_with_a_warning(tmp_path: Path) -> None:
    raw = np.repeat(labels(3)[..., np.newaxis], 4, axis=2)
    with pytest.warns(PixelwrightWarning, match="Transparency is dropped from masks"):
        assert np.array_equal(images.raw_mask(saved(tmp_path / "x.png", raw)), labels(3))


@pytest.mark.parametrize("kind", ["JPEG", "WEBP"])
def test_f23_masks_stored_with_loss_are_refused_unless_allowed(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = saved(tmp_path / "x.png", labels(2) * 255, kind)
    with pytest.raises(DataError, match=r"x\.png is a mask stored as .*Export it again as PNG"):
        images.raw_mask(path)
    monkeypatch.setenv("PIXELWRIGHT_ALLOW_JPEG_MASKS", "1")
    assert images.raw_mask(path).shape[:2] == (21, 27)


def test_f24_undeclared_values_are_counted(tmp_path: Path) -> None:
    raw = labels(5, 30, 50)
    path = saved(tmp_path / "x.png", raw)
    pixels = np.count_nonzero(raw == 4)
    with pytest.raises(DataError, match=rf"x\.png .* value 4 \({pixels:,} px\) of 1,500"):
        images.read_mask(path, classes(4))
    with pytest.raises(DataError, match="declared are 0-1, 11"):
        images.read_mask(path, classes(2, 11))


def test_f24_black_and_white_where_indices_are_declared_gets_a_hint(tmp_path: Path) -> None:
    white = saved(tmp_path / "x.png", labels(2) * 255)
    with pytest.raises(DataError, match=r"Did you mean a 0/255 mask.*values=0 255"):
        images.read_mask(white, classes(2))
    indices = saved(tmp_path / "y.png", labels(2))
    with pytest.raises(DataError, match="Did you mean a 0/1 mask"):
        images.read_mask(indices, BINARY)
    border = labels(3)
    border[border == 2] = 255
    with pytest.raises(DataError, match="declare ignore=255"):
        images.read_mask(saved(tmp_path / "z.png", border), classes(2))


def test_f25_negative_values_are_refused(tmp_path: Path) -> None:
    raw = labels(3).astype(np.int32)
    raw[0, :5] = -100
    path = saved(tmp_path / "x.tif", raw, "TIFF")
    with pytest.raises(DataError, match=r"x\.tif: Value -100 stands in 5 pixels"):
        images.read_mask(path, classes(3))
    with pytest.raises(DataError, match="Value -100 stands in 5 pixels"):
        images.infer_values({0: 10, 1: 10, -100: 5})


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_f26_more_than_256_classes_do_not_wrap(tmp_path: Path, suffix: str) -> None:
    target = np.arange(600, dtype=np.int16).reshape(20, 30)
    target[0, 0] = IGNORE
    if suffix == "png":
        images.write_mask(tmp_path / "x.png", target, classes(600).colors)
    else:
        saved(tmp_path / "x.tif", target.astype(np.uint16), "TIFF")
    path = tmp_path / f"x.{suffix}"
    assert np.array_equal(images.read_mask(path, classes(600, 65535)), target)
    with pytest.raises(DataError, match=r"values 300 \(1 px\), 301 .* and 297 more"):
        images.read_mask(path, classes(300, 65535))


def test_f27_sizes_that_differ_are_both_told(tmp_path: Path) -> None:
    images.check_sizes("a.jpg", (3, 4), "a.png", (3, 4))
    with pytest.raises(DataError, match=r"a\.jpg has 4x3 pixels but its mask a\.png has 8x6"):
        images.check_sizes("a.jpg", (3, 4), "a.png", (6, 8))


def test_f27_swapped_sizes_are_called_so(tmp_path: Path) -> None:
    image = saved(tmp_path / "a.jpg", np.zeros((30, 40, 3), np.uint8), "JPEG")
    with pytest.raises(DataError, match=r"Height and width are swapped.*transposed.*EXIF"):
        images.check_sizes(image, images.size(image), "a.png", (40, 30))


def test_f06_a_mask_of_the_unrotated_size_is_called_so(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    image = saved(tmp_path / "a.jpg", np.zeros((30, 40, 3), np.uint8), "JPEG", exif=exif)
    assert images.size(image) == (40, 30)
    with pytest.raises(DataError, match=r"orientation 6\).*only its unrotated size"):
        images.check_sizes(image, images.size(image), "a.png", (30, 40))


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_f06_masks_are_turned_like_images(tmp_path: Path, kind: str) -> None:
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        path = saved(tmp_path / "x", labels(9), kind, exif=exif)
        assert np.array_equal(images.raw_mask(path), images.read_image(path, 1)[..., 0])
        assert images.raw_mask(path).shape == images.size(path)


def test_f29_a_mask_may_ignore_everything(tmp_path: Path) -> None:
    path = saved(tmp_path / "x.png", np.full((4, 5), 255, np.uint8))
    assert (images.read_mask(path, classes(3, 255)) == IGNORE).all()


def test_f32_fractions_are_refused(tmp_path: Path) -> None:
    path = saved(tmp_path / "x.tif", labels(3).astype(np.float32) / 2, "TIFF")
    with pytest.raises(DataError, match=r"x\.tif holds fractions \(0 to 1\).*whole numbers"):
        images.raw_mask(path)


def test_kinds_whose_values_would_be_altered_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"x\.pgm .*raw values are not kept"):
        images.raw_mask(saved(tmp_path / "x.pgm", labels(3), "PPM"))


def test_grey_edges_are_cut_at_half(tmp_path: Path) -> None:
    raw = np.array([[0, 1, 127, 128, 254, 255]], np.uint8)
    path = saved(tmp_path / "x.png", raw)
    target = images.read_mask(path, classes(2, threshold=True, step=255))
    assert target.tolist() == [[0, 0, 0, 1, 1, 1]]


def test_one_pixel_is_a_mask(tmp_path: Path) -> None:
    path = saved(tmp_path / "x.png", np.full((1, 1), 2, np.uint8))
    assert images.read_mask(path, classes(3)).tolist() == [[2]]


def inferred(counts: dict[int, int]) -> tuple[images.Values, list[str]]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        return images.infer_values(counts), [str(warning.message) for warning in caught]


def even(*values: int) -> dict[int, int]:
    return dict.fromkeys(values, 100)


@pytest.mark.parametrize(
    ("counts", "count", "values"),
    [
        (even(0, 255), 2, {0: 0, 255: 1}),
        (even(0, 1), 2, {0: 0, 1: 1}),
        (even(0, 1, 255), 2, {0: 0, 1: 1, 255: IGNORE}),
        (even(*range(12)), 12, {i: i for i in range(12)}),
        (even(*range(21), 255), 21, {i: i for i in range(21)} | {255: IGNORE}),
        (even(*range(151), 255), 151, {i: i for i in range(151)} | {255: IGNORE}),
        (even(*range(256)), 255, {i: i for i in range(255)} | {255: IGNORE}),
        (even(*range(600)), 600, {i: i for i in range(600)}),
    ],
)
def test_an_index_is_an_index(counts: dict[int, int], count: int, values: dict[int, int]) -> None:
    assert inferred(counts) == (images.Values(values, count), [])


def test_background_and_ignored_pixels_may_dominate_an_index_mask() -> None:
    counts = {0: 5000, 255: 1000} | dict.fromkeys(range(1, 21), 50)
    assert inferred(counts)[0].classes == 21


def test_gaps_between_indices_are_classes_that_never_occur() -> None:
    values, told = inferred(even(0, 3, 7))
    assert values == images.Values({i: i for i in range(8)}, 8)
    assert len(told) == 1
    assert "8 classes, of which 5 never occur: 1, 2, 4 and 2 more" in told[0]


@pytest.mark.parametrize(
    ("greys", "white"),
    [(range(1, 255), 255), (range(1, 237), 237), ([64, 128, 191], 255), ([90], 255)],
)
def test_smooth_edges_are_cut_at_half_with_a_count(greys: list[int], white: int) -> None:
    counts = {0: 7000, white: 2000} | dict.fromkeys(greys, 2)
    values, told = inferred(counts)
    assert values == images.Values({0: 0, 255: 1}, 2, threshold=True)
    total = sum(counts.values())
    assert f"{2 * len(greys):,} of {total:,} pixels" in told[0]


@pytest.mark.parametrize("counts", [{}, {0: 9}, {255: 9}, {0: 9, 1: 0}])
def test_masks_of_one_value_teach_nothing(counts: dict[int, int]) -> None:
    with pytest.raises(DataError, match="nothing to learn"):
        images.infer_values(counts)


@pytest.mark.parametrize("values", [(0, 200), (0, 65535), (7, 100, 255), (0, 40000)])
def test_values_too_far_apart_are_no_indices(values: tuple[int, ...]) -> None:
    with pytest.raises(DataError, match="too far apart"):
        images.infer_values(even(*values))


def test_inferred_classes_read_the_mask_they_came_from(tmp_path: Path) -> None:
    y, x = np.mgrid[:200, :200]
    disk = ((x - 100) ** 2 + (y - 100) ** 2 < 60**2).astype(np.uint8)
    smooth = cv2.GaussianBlur(disk * 255, (3, 3), 0)
    path = saved(tmp_path / "x.png", smooth)
    counts = Counter(images.raw_mask(path).ravel().tolist())
    values, _ = inferred(counts)
    shown = Classes(("out", "in"), COLORS[:2], values.values, threshold=values.threshold)
    assert np.array_equal(images.read_mask(path, shown), disk)


def test_a_truncated_mask_is_an_error(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    Image.fromarray(labels(4)).save(buffer, "PNG")
    (tmp_path / "x.png").write_bytes(buffer.getvalue()[:-15])
    with pytest.raises(DataError, match=r"x\.png is damaged: the PNG is cut short"):
        images.raw_mask(tmp_path / "x.png")
