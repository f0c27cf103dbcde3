"""How much memory this process may still take."""

import os
from pathlib import Path

_CONTROL_GROUP = Path("/sys/fs/cgroup")


def free() -> int:
    """Bytes that can be taken without swapping and without breaking a container's limit."""
    return min(_of_machine(), _of_container(_CONTROL_GROUP))


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


def _of_container(group: Path) -> int:
    try:
        limit = int((group / "memory.max").read_text())
        used = int((group / "memory.current").read_text())
    except (OSError, ValueError):  # no control group, or "max": no limit
        return 2**63
    return max(limit - used, 0)
