"""Amounts of memory: as people write them, as the system tells them."""

import mmap
import subprocess
import sys
from pathlib import Path

import pytest

from pixelwright import memory
from pixelwright.errors import PredictError

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="read from /proc")


@pytest.mark.parametrize(
    ("text", "bytes_"),
    [
        ("2GB", 2_000_000_000),
        ("2 gb", 2_000_000_000),
        ("800MB", 800_000_000),
        ("1.5GiB", 1_610_612_736),
        ("512m", 512_000_000),
        (" .5 T ", 500_000_000_000),
        ("64kB", 64_000),
        ("64KiB", 65_536),
        ("4096", 4096),
        ("4096 B", 4096),
    ],
)
def test_amounts_are_read_as_people_write_them(text: str, bytes_: int) -> None:
    assert memory.parse(text) == bytes_


@pytest.mark.parametrize(
    "text", ["", "GB", "much", "-1GB", "2,5GB", "1e9", "2 GB free", "3XB", "nan"]
)
def test_what_is_no_amount_is_refused_with_examples(text: str) -> None:
    with pytest.raises(PredictError, match=r"not an amount of memory.*800MB, 2GB or 1\.5GiB"):
        memory.parse(text)


@pytest.mark.parametrize("text", ["0", "0GB", "0.5B"])
def test_no_memory_at_all_is_refused(text: str) -> None:
    with pytest.raises(PredictError, match="no memory at all"):
        memory.parse(text)


def write(folder: Path, **files: object) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name.replace("__", ".")).write_text(f"{content}\n")
    return folder


def test_free_memory_is_some_and_a_container_lowers_it(tmp_path: Path) -> None:
    assert 0 < memory.free() < 2**63
    assert memory._of_container(tmp_path) == 2**63
    write(tmp_path, memory__max=1000, memory__current=400)
    assert memory._of_container(tmp_path) == 600
    write(tmp_path, memory__max="max")
    assert memory._of_container(tmp_path) == 2**63


def test_files_that_a_container_has_cached_count_as_free(tmp_path: Path) -> None:
    stat = "anon 150\ninactive_file 250\nactive_file 0"
    write(tmp_path, memory__max=1000, memory__current=400, memory__stat=stat)
    assert memory._of_container(tmp_path) == 850


def test_the_first_version_of_control_groups_is_read_too(tmp_path: Path) -> None:
    write(
        tmp_path / "memory",
        memory__limit_in_bytes=1000,
        memory__usage_in_bytes=700,
        memory__stat="inactive_file 1\ntotal_inactive_file 200",
    )
    assert memory._of_container(tmp_path) == 500


def test_the_tightest_group_around_this_process_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = write(tmp_path / "self", cgroup="7:cpu:/x\n0::/user.slice/job")
    monkeypatch.setattr(memory, "_PROCESS", process)
    groups = tmp_path / "groups"
    write(groups, memory__max=9000, memory__current=0)
    write(groups / "user.slice", memory__max=5000, memory__current=1000)
    write(groups / "user.slice" / "job", memory__max="max", memory__current=900)
    write(groups / "x", memory__max=1, memory__current=0)
    assert memory._of_container(groups) == 4000


def test_a_cpu_has_the_memory_of_the_machine() -> None:
    assert memory.free_on("cpu") == pytest.approx(memory.free(), rel=0.5)


@on_linux
def test_the_peak_is_at_least_what_is_held_and_can_be_forgotten() -> None:
    # A mapping of its own goes back to the system whatever the allocator was told.
    with mmap.mmap(-1, 40_000_000) as block:
        block.write(b"x" * len(block))
        held = memory.resident()
        assert memory.peak() >= held - 1_000_000 > 0
    high = memory.peak()
    if memory.forget_peak():
        assert memory.peak() < high - 20_000_000


MAKE_AND_FREE = """
import numpy as np
from pixelwright import memory
memory.{how}()
before = memory.resident()
# A small piece after each large one: what is kept cannot be given back from the end of the heap.
pieces = [(np.ones(2_000_000), np.ones(1000)) for _ in range(8)]
small = [piece[1] for piece in pieces]
del pieces
print(memory.resident() - before)
"""


@on_linux
@pytest.mark.parametrize(("how", "kept"), [("keep_freed", True), ("return_freed", False)])
def test_freed_memory_is_kept_or_returned_as_asked(how: str, kept: bool) -> None:
    code = MAKE_AND_FREE.format(how=how)
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (int(ran.stdout) > 100_000_000) == kept


FAULTS = """
import resource
from pixelwright import memory
memory.huge_pages()
import torch
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
torch.ones(16_000_000)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
HUGE = Path("/sys/kernel/mm/transparent_hugepage/enabled")


@pytest.mark.skipif(
    not HUGE.exists() or "[never]" in HUGE.read_text(), reason="the system has no huge pages"
)
def test_huge_pages_are_asked_for_before_the_first_tensor() -> None:
    ran = subprocess.run([sys.executable, "-c", FAULTS], capture_output=True, text=True, check=True)
    # 64 MB are 15,625 pages of 4 kB, or 31 of 2 MB.
    assert int(ran.stdout) < 8_000
