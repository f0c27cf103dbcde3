"""Archives from elsewhere: whole or nothing, inside the folder, and of a bounded size."""

import io
import os
import stat
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pixelwright.data.published.archive import Limits, Member, examine, extract
from pixelwright.errors import DataError, MachineError
from pixelwright.types import Event

CONTENT = {
    "set/a.bin": np.random.default_rng(0).bytes(5000),
    "set/b/c.txt": b"two lines\nof text\n",
    "other.txt": b"",
}


def a_zip(path: Path, content: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as opened:
        opened.mkdir("set")
        for name, data in content.items():
            opened.writestr(name, data)
    return path


def a_tar(path: Path, content: dict[str, bytes], mode: str = "w") -> Path:
    with tarfile.open(path, mode) as opened:  # type: ignore[call-overload]
        folder = tarfile.TarInfo("./set")
        folder.type, folder.mode = tarfile.DIRTYPE, 0o2755  # setgid, as groups' archives have it
        opened.addfile(folder)
        for name, data in content.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            opened.addfile(info, io.BytesIO(data))
    return path


Write = Callable[[Path, dict[str, bytes]], Path]
KINDS: dict[str, Write] = {
    "zip": a_zip,
    "tar": a_tar,
    "tar.gz": lambda path, content: a_tar(path, content, "w:gz"),
    "tar.xz": lambda path, content: a_tar(path, content, "w:xz"),
    "tar.bz2": lambda path, content: a_tar(path, content, "w:bz2"),
}
each_kind = pytest.mark.parametrize("write", list(KINDS.values()), ids=list(KINDS))


def held(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


@each_kind
def test_what_was_packed_comes_out(tmp_path: Path, write: Write) -> None:
    events: list[Event] = []
    archive = write(tmp_path / "x", CONTENT)
    assert extract(archive, tmp_path / "out", on_event=events.append) == 3
    assert held(tmp_path / "out") == CONTENT
    assert events[-1].data == {"what": "unpack", "done": 5018, "total": 5018, "unit": "bytes"}
    assert Member("set/a.bin", 5000) in examine(archive)


def test_a_folder_of_the_archive_is_unpacked_without_its_name(tmp_path: Path) -> None:
    archive = a_zip(
        tmp_path / "x.zip", {"set-12/in/a": b"1", "set-12/b": b"2", "set-12/in/c/d": b""}
    )
    assert extract(archive, tmp_path / "out", inside="set-*/in") == 2
    assert held(tmp_path / "out") == {"a": b"1", "c/d": b""}
    with pytest.raises(DataError, match="holds no file in 'nowhere'"):
        extract(archive, tmp_path / "out2", inside="nowhere")
    with pytest.raises(DataError, match="there already"):
        extract(archive, tmp_path / "out")


@each_kind
@pytest.mark.parametrize("part", [0.1, 0.5, 0.9, 0.995])
def test_f51_a_cut_archive_leaves_nothing(tmp_path: Path, write: Write, part: float) -> None:
    archive = write(tmp_path / "x", CONTENT)
    data = archive.read_bytes()
    # What follows a tar's content is padding, whose loss is no loss.
    end = data.rstrip(b"\0") if write is a_tar else data
    archive.write_bytes(data[: int(part * len(end))])
    with pytest.raises(DataError, match=r"cut short or damaged|neither a zip nor a tar"):
        extract(archive, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


@each_kind
def test_f51_a_damaged_archive_leaves_nothing(tmp_path: Path, write: Write) -> None:
    archive = write(tmp_path / "x", CONTENT)
    data = bytearray(archive.read_bytes())
    if write is a_tar:  # has a checksum of headers only
        at = data.index(b"set/b/c.txt")
        data[at] ^= 0x20
    else:
        data[len(data) // 2] ^= 0xFF
    archive.write_bytes(data)
    with pytest.raises(DataError, match="cut short or damaged"):
        extract(archive, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_f51_what_is_no_archive_is_named(tmp_path: Path) -> None:
    page = tmp_path / "x.zip"
    for content in (b"<!doctype html>", b"", b"PK", b"\x1f\x8b"):
        page.write_bytes(content)
        with pytest.raises(DataError, match=r"x\.zip"):
            extract(page, tmp_path / "out")


def test_f51_a_tar_without_its_end_mark_is_cut(tmp_path: Path) -> None:
    archive = a_tar(tmp_path / "x", CONTENT)
    data = archive.read_bytes()
    # A folder, 5000 bytes in 10 blocks, 18 in one, none: each behind a header of one block.
    archive.write_bytes(data[: 512 * (1 + 1 + 10 + 1 + 1 + 1)])
    with pytest.raises(DataError, match="its end is missing"):
        examine(archive)


@pytest.mark.parametrize(
    "name",
    ["../x", "a/../../x", "/x", "//x", "C:/x", "c:x", "a\\b", "..\\x", "a/..", "x" * 256],
)
@each_kind
def test_f53_names_that_leave_the_folder_are_refused(
    tmp_path: Path, write: Write, name: str
) -> None:
    archive = write(tmp_path / "x", {**CONTENT, name: b"evil"})
    with pytest.raises(DataError, match="refused as a whole: its member"):
        extract(archive, tmp_path / "in" / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        (tarfile.SYMTYPE, "a link"),
        (tarfile.LNKTYPE, "a hard link"),
        (tarfile.CHRTYPE, "a device"),
        (tarfile.BLKTYPE, "a device"),
        (tarfile.FIFOTYPE, "a pipe"),
        (tarfile.CONTTYPE, "a special file"),
    ],
)
def test_f53_members_of_a_tar_that_are_no_files_are_refused(
    tmp_path: Path, kind: bytes, told: str
) -> None:
    archive = a_tar(tmp_path / "x", CONTENT)
    with tarfile.open(archive, "a") as opened:
        info = tarfile.TarInfo("set/evil")
        info.type, info.linkname = kind, "/etc/passwd"
        opened.addfile(info)
    with pytest.raises(DataError, match=f"'set/evil' is {told}"):
        extract(archive, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("mode", "told"),
    [
        (stat.S_IFLNK | 0o777, "a link"),
        (stat.S_IFCHR | 0o666, "a device"),
        (stat.S_IFIFO | 0o666, "a pipe"),
        (stat.S_IFREG | 0o4755, "setuid"),
        (stat.S_IFREG | 0o2755, "setuid"),
    ],
)
def test_f53_members_of_a_zip_that_are_no_plain_files_are_refused(
    tmp_path: Path, mode: int, told: str
) -> None:
    archive = a_zip(tmp_path / "x", CONTENT)
    with zipfile.ZipFile(archive, "a") as opened:
        info = zipfile.ZipInfo("set/evil")
        info.external_attr = mode << 16
        opened.writestr(info, b"/etc/passwd")
    with pytest.raises(DataError, match=told):
        extract(archive, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_f53_setuid_in_a_tar_is_refused(tmp_path: Path) -> None:
    archive = a_tar(tmp_path / "x", CONTENT)
    with tarfile.open(archive, "a") as opened:
        info = tarfile.TarInfo("run")
        info.mode = 0o4755
        opened.addfile(info)
    with pytest.raises(DataError, match=r"'run' would run with another user's rights"):
        examine(archive)


def test_f53_rights_of_members_are_not_applied(tmp_path: Path) -> None:
    archive = tmp_path / "x"
    with tarfile.open(archive, "w") as opened:
        info = tarfile.TarInfo("run")
        info.mode = 0o000
        opened.addfile(info)
    extract(archive, tmp_path / "out")
    assert os.access(tmp_path / "out" / "run", os.R_OK)
    assert not (tmp_path / "out" / "run").stat().st_mode & 0o111


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("names", [("a", "a"), ("a", "A"), ("a", "a/b"), ("d/e", "D/E")])
@each_kind
def test_f53_two_files_of_one_name_are_refused(
    tmp_path: Path, write: Write, names: tuple[str, str]
) -> None:
    archive = write(tmp_path / "x", {names[0]: b"1"})
    if write is a_zip:
        with zipfile.ZipFile(archive, "a") as opened:
            opened.writestr(names[1], b"2")
    else:
        content = [(names[0], b"1"), (names[1], b"2")]
        with tarfile.open(archive, "w:gz" if write is KINDS["tar.gz"] else "w") as packed:
            for name, data in content:
                info = tarfile.TarInfo(name)
                info.size = len(data)
                packed.addfile(info, io.BytesIO(data))
    with pytest.raises(DataError, match="refused as a whole"):
        extract(archive, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@each_kind
def test_f54_more_bytes_or_members_than_allowed_are_refused(tmp_path: Path, write: Write) -> None:
    archive = write(tmp_path / "x", CONTENT)
    with pytest.raises(DataError, match="5,018 bytes; 5,017 are allowed"):
        extract(archive, tmp_path / "out", limits=Limits(total=5017))
    with pytest.raises(DataError, match="the one after 3, the most allowed"):
        extract(archive, tmp_path / "out", limits=Limits(members=3))
    extract(archive, tmp_path / "out", limits=Limits(total=5018, members=4))


@each_kind
def test_f54_a_bomb_is_refused_by_its_ratio(tmp_path: Path, write: Write) -> None:
    archive = write(tmp_path / "x", {"zeros": bytes(2**22)})
    if write is not a_tar:
        with pytest.raises(DataError, match="are allowed for its size"):
            examine(archive, Limits(free=2**20))
    assert examine(archive)  # 4 MiB harm nobody


def test_f54_a_member_that_is_larger_than_it_says_is_stopped(tmp_path: Path) -> None:
    archive = a_zip(tmp_path / "x", {"zeros": bytes(2**22)})
    data = bytearray(archive.read_bytes())
    entry = data.index(b"PK\x01\x02", data.index(b"PK\x01\x02") + 1)
    data[entry + 24 : entry + 28] = (7).to_bytes(4, "little")  # the uncompressed size
    archive.write_bytes(data)
    with pytest.raises(DataError, match="cut short or damaged"):
        extract(archive, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_f54_a_header_that_fills_the_memory_is_refused(tmp_path: Path) -> None:
    archive = tmp_path / "x"
    with tarfile.open(archive, "w:gz") as opened:
        info = tarfile.TarInfo("long")
        info.type, info.size = tarfile.XHDTYPE, 2**22
        opened.addfile(info, io.BytesIO(bytes(2**22)))
    with pytest.raises(DataError, match="a header of 4,194,304 bytes"):
        examine(archive)


def test_an_encrypted_member_is_refused(tmp_path: Path) -> None:
    archive = a_zip(tmp_path / "x", {"secret": b"1"})
    data = bytearray(archive.read_bytes())
    entry = data.rindex(b"PK\x01\x02")
    data[entry + 8] |= 1
    archive.write_bytes(data)
    with pytest.raises(DataError, match="is encrypted"):
        examine(archive)


def test_a_disk_that_is_too_small_is_told_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = a_zip(tmp_path / "x", CONTENT)
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("", (), {"free": 5017}))
    with pytest.raises(MachineError, match=r"5,018 bytes, but .* has 5,017 free"):
        extract(archive, tmp_path / "out")
    assert not (tmp_path / "out").exists()
