"""A path may lead into a zip archive: listed, sized, read and refused like a file on disk."""

import shutil
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import tiny
from pixelwright import images
from pixelwright.data.check import check
from pixelwright.data.index import load
from pixelwright.errors import DataError
from pixelwright.images import archives
from pixelwright.registry import Spec


@pytest.fixture
def packed(tmp_path: Path) -> tuple[Path, Path]:
    """A folder of images and masks, and the same as an archive."""
    tiny.draw_folders(tmp_path / "plain", count=6)
    return tmp_path / "plain", tiny.pack(tmp_path / "Photos.ZIP", tmp_path / "plain")


def test_an_archive_is_a_folder(packed: tuple[Path, Path]) -> None:
    plain, archive = packed
    assert images.is_folder(archive)
    assert images.is_folder(archive / "images")
    assert not images.is_folder(archive / "images/00.jpg")
    assert images.children(archive) == [archive / "images", archive / "masks"]
    names = [path.name for path in images.children(archive / "masks")]
    assert names == sorted(path.name for path in (plain / "masks").iterdir())
    assert images.exists(archive / "images/00.jpg")
    assert not images.exists(archive / "images/99.jpg")
    assert images.stored_bytes(archive / "images/99.jpg") == -1


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_members_are_read_as_files_are(tmp_path: Path, method: int) -> None:
    image, labels = tiny.scene(20, 30)
    plain = [tiny.save(tmp_path / "a.png", image), tiny.save(tmp_path / "m.png", labels)]
    with zipfile.ZipFile(tmp_path / "x.zip", "w", method) as file:
        for path in plain:
            file.write(path, f"deep/er/{path.name}")
    inside = [tmp_path / "x.zip/deep/er" / path.name for path in plain]
    assert np.array_equal(images.read_image(inside[0]), image)
    assert np.array_equal(images.raw_mask(inside[1]), labels)
    assert [images.size(path) for path in inside] == [(20, 30)] * 2
    assert [images.fingerprint(path) for path in inside] == [images.fingerprint(p) for p in plain]
    assert [images.stored_bytes(p) for p in inside] == [p.stat().st_size for p in plain]


def test_a_layout_finds_in_an_archive_what_it_finds_in_a_folder(packed: tuple[Path, Path]) -> None:
    one, other = (load(Spec("folders", {"root": root})) for root in packed)
    assert one.classes == other.classes
    for split, entries in one.splits.items():
        assert [e.key for e in entries] == [e.key for e in other.splits[split]]
        for a, b in zip(entries, other.splits[split], strict=True):
            assert np.array_equal(images.read_image(a.image), images.read_image(b.image))
    assert check(other).problems == ()


def test_many_threads_read_one_archive(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w", zipfile.ZIP_DEFLATED) as file:
        for i in range(64):
            file.writestr(f"{i}.bin", bytes([i]) * 5000)
    with ThreadPoolExecutor(8) as pool:
        found = list(
            pool.map(lambda i: images.read_bytes(tmp_path / f"x.zip/{i % 64}.bin"), range(999))
        )
    assert found == [bytes([i % 64]) * 5000 for i in range(999)]


def test_the_list_of_members_is_read_once_until_the_archive_changes(
    packed: tuple[Path, Path], tmp_path: Path
) -> None:
    _, archive = packed
    archives._contents.cache_clear()
    for _ in range(3):
        for path in images.children(archive / "masks"):
            images.raw_mask(path)
    assert archives._contents.cache_info().misses == 1
    tiny.pack(archive, tiny.save(tmp_path / "new/b.png", np.zeros((2, 2), np.uint8)).parent)
    assert images.children(archive) == [archive / "b.png"]


def test_a_folder_whose_name_ends_in_zip_is_a_folder(tmp_path: Path) -> None:
    path = tiny.save(tmp_path / "old.zip/a.png", np.zeros((2, 3), np.uint8))
    assert images.size(path) == (2, 3)
    assert images.children(tmp_path / "old.zip") == [path]
    with pytest.raises(DataError, match=r"b\.png does not exist\.$"):
        images.read_bytes(tmp_path / "old.zip/b.png")


def test_names_that_lead_out_of_the_archive_are_passed_over(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as file:
        for name in ("../up.png", "/root.png", "good/a.png", "good/../../b.png"):
            file.writestr(name, b"x")
    assert images.children(tmp_path / "x.zip") == [tmp_path / "x.zip/good"]
    assert images.children(tmp_path / "x.zip/good") == [tmp_path / "x.zip/good/a.png"]


@pytest.mark.parametrize("keep", [0, 40, 0.5, 0.99])
def test_f51_a_truncated_archive_is_named_in_one_line(
    packed: tuple[Path, Path], keep: float
) -> None:
    _, archive = packed
    data = archive.read_bytes()
    archive.write_bytes(data[: int(keep if keep > 1 else keep * len(data))])
    for act in (images.is_folder, images.children, images.read_bytes):
        with pytest.raises(DataError, match=r"Photos\.ZIP is damaged or no zip archive") as error:
            act(archive / "images")
        assert "\n" not in str(error.value)


def test_f51_a_damaged_member_is_named_with_its_archive(packed: tuple[Path, Path]) -> None:
    _, archive = packed
    with zipfile.ZipFile(archive) as file:
        info = file.getinfo("images/03.jpg")
    data = bytearray(archive.read_bytes())
    data[info.header_offset + 200] ^= 1
    archive.write_bytes(data)
    with pytest.raises(DataError, match=r"Photos\.ZIP/images/03\.jpg is damaged within the zip"):
        images.read_image(archive / "images/03.jpg")
    assert images.read_image(archive / "images/02.jpg").shape == (*tiny.SIZE, 3)
    findings = check(load(Spec("folders", {"root": archive})))
    assert len(findings.problems) == 1


def test_what_cannot_be_read_within_an_archive_says_what_to_do(
    packed: tuple[Path, Path], tmp_path: Path
) -> None:
    _, archive = packed
    with pytest.raises(DataError, match=r"images/9\.jpg does not exist: the zip archive holds no"):
        images.read_image(archive / "images/9.jpg")
    with pytest.raises(DataError, match="is a folder of a zip archive"):
        images.read_image(archive / "images")
    with pytest.raises(DataError, match="cannot be listed"):
        images.children(archive / "pictures")
    with zipfile.ZipFile(tmp_path / "b.zip", "w", zipfile.ZIP_BZIP2) as file:
        file.writestr("a.png", b"a" * 99)
    with pytest.raises(DataError, match=r"by method 12, which is not read .* Extract the"):
        images.read_bytes(tmp_path / "b.zip/a.png")


def test_a_missing_path_in_an_archive_says_what_there_is(packed: tuple[Path, Path]) -> None:
    _, archive = packed
    options = {"images": archive / "imgs", "masks": archive / "masks"}
    with pytest.raises(DataError, match=r"Photos\.ZIP exists and holds images, masks\."):
        load(Spec("folders", options))


def test_camvid_is_read_from_its_archive(tmp_path: Path) -> None:
    tiny.draw_camvid(tmp_path / "plain")
    archive = tiny.pack(tmp_path / "camvid.zip", tmp_path / "plain", "CamVid")
    shutil.rmtree(tmp_path / "plain")
    index = load(Spec("camvid", {"root": archive / "CamVid"}))
    assert [len(entries) for entries in index.splits.values()] == [3, 3, 3]
    assert check(index).problems == ()
