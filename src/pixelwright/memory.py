"""How much memory there is, how much this process takes, and amounts as people write them.

memory.parse("2GB")        # 2_000_000_000
memory.free()              # bytes that may still be taken, without breaking a container's limit
memory.free_on("cuda")     # the same of a GPU
memory.resident()          # what this process holds now
memory.peak()              # the most that it has held
"""

import ctypes
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from pixelwright.errors import PredictError

if TYPE_CHECKING:
    import torch

_CONTROL_GROUPS = Path("/sys/fs/cgroup")
_PROCESS = Path("/proc/self")
_NO_LIMIT = 2**63
_AMOUNT = re.compile(r"\s*(\d+\.?\d*|\.\d+)\s*(?:([kmgt])(i?))?b?\s*", re.IGNORECASE)

# Numbers of glibc's malloc.h.
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -3, -4


def parse(text: str) -> int:
    """Bytes of an amount such as `800MB`, `2 GB`, `1.5GiB`; a number alone is bytes.

    kB, MB, GB and TB are thousands, KiB, MiB, GiB and TiB multiples of 1024; capitals and the "B"
    may be left out.

    Raises:
        PredictError: It is not an amount, or not one byte.
    """
    found = _AMOUNT.fullmatch(text)
    if not found:
        raise PredictError(
            f"'{text}' is not an amount of memory. Write a number and a unit, such as 800MB, 2GB "
            "or 1.5GiB."
        )
    number, prefix, binary = found.groups()
    power = "kmgt".index(prefix.lower()) + 1 if prefix else 0
    amount = int(float(number) * (1024 if binary else 1000) ** power)
    if amount < 1:
        raise PredictError(
            f"'{text}' is no memory at all. Write how much may be used, such as 800MB or 2GB."
        )
    return amount


def free() -> int:
    """Bytes that can be taken without swapping and without breaking a container's limit."""
    return min(_of_machine(), _of_container(_CONTROL_GROUPS))


def free_on(device: "str | torch.device") -> int:
    """Bytes that can be taken on a device: a GPU's own memory, or `free` for a CPU.

    On a GPU that includes what PyTorch holds there and no tensor uses.
    """
    import torch

    device = torch.device(device)
    if device.type == "cuda":
        there, _ = torch.cuda.mem_get_info(device)
        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(there + unused)
    if device.type == "mps":
        most = torch.mps.recommended_max_memory()
        return int(min(max(most - torch.mps.current_allocated_memory(), 0), free()))
    return free()


def resident() -> int:
    """Bytes of this process that lie in memory now; 0 where the system does not tell."""
    try:
        return int((_PROCESS / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError, ValueError):
        pass
    try:
        told = subprocess.run(
            ["ps", "-o", "rss=", "-p", str(os.getpid())], capture_output=True, check=True
        )
        return int(told.stdout) * 1024
    except (OSError, ValueError, subprocess.CalledProcessError):
        return 0


def peak() -> int:
    """The most bytes of this process that ever lay in memory, or since `forget_peak`.

    0 where the system does not tell. Differs from `ru_maxrss` on Linux, which a process
    inherits from the one that started it.
    """
    try:
        lines = (_PROCESS / "status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))
    except (OSError, StopIteration):
        pass
    try:
        import resource
    except ImportError:  # Windows
        return 0
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


def forget_peak() -> bool:
    """Let `peak` begin again from what is held now; whether the system can do that (Linux)."""
    try:
        (_PROCESS / "clear_refs").write_text("5")
    except OSError:
        return False
    return True


def keep_freed() -> None:
    """Let glibc keep the memory of freed tensors for the next ones: faster, and never given back.

    By default each large tensor is a mapping of its own, and every step pays again for the faults
    of all its pages: `benchmarks/train_step.py` measures what that costs. Other systems' allocators
    are left alone.
    """
    _tell_glibc({_MMAP_MAX: 0, _TRIM_THRESHOLD: 2**31 - 1})


def huge_pages() -> None:
    """Let PyTorch ask for pages of 2 MB on Linux, unless the environment says otherwise.

    It looks once, at the first tensor of the process; later this does nothing. It saves most of the
    time that new pages cost under `return_freed`: a pass of a U-Net of width 16 over 1024x1024 px
    took 1.4 s of one core in place of 2.3 s, and 1.2 s where freed memory was kept.
    """
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")


def return_freed(above: int = 2**20) -> None:
    """Let glibc give freed memory back at once: the process holds what its tensors take.

    Undoes `keep_freed`. Left to itself, glibc keeps pieces of up to 32 MB for later, and gaps
    between them that nothing fits into. Three passes of a U-Net of width 16 at 1024 px, whose
    tensors take 330 MB, were measured at 331 MB so, at 430 MB as glibc has it, and at 681 MB under
    `keep_freed`. Other systems' allocators are left alone.

    Args:
        above: Pieces of this many bytes or more are mappings of their own.
    """
    _tell_glibc({_MMAP_MAX: 65536, _MMAP_THRESHOLD: above, _TRIM_THRESHOLD: above})
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except (OSError, AttributeError, TypeError):
        return


def _tell_glibc(options: dict[int, int]) -> None:
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):
        return
    for option, value in options.items():
        mallopt(option, value)


def _of_machine() -> int:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line[:13] == "MemAvailable:")
    except (OSError, StopIteration):
        pass
    try:
        # Where the free part is not told (macOS), half of what is built in is a fair guess.
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    except (AttributeError, ValueError, OSError):
        return 2**31


def _of_container(root: Path) -> int:
    """What the tightest of the control groups around this process leaves."""
    return min(_left_in(group) for group in _groups(root))


def _groups(root: Path) -> Iterator[Path]:
    """Folders of this process's control groups, of version 2 and of version 1."""
    yield root
    yield root / "memory"
    try:
        lines = (_PROCESS / "cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        group = root / "memory" if controllers else root
        for part in Path(path).parts[1:]:
            group /= part
            yield group


def _left_in(group: Path) -> int:
    for limit, used, cache in (
        ("memory.max", "memory.current", "inactive_file"),
        ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    ):
        try:
            left = int((group / limit).read_text()) - int((group / used).read_text())
        except (OSError, ValueError):  # no control group, or "max": no limit
            continue
        # Files that were read count as used, and make room as soon as anyone needs it.
        return max(left + _stated(group / "memory.stat", cache), 0)
    return _NO_LIMIT


def _stated(file: Path, name: str) -> int:
    try:
        lines = file.read_text().splitlines()
        return next(int(value) for key, value in map(str.split, lines) if key == name)
    except (OSError, StopIteration, ValueError):
        return 0
