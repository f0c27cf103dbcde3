"""`log.jsonl`: one JSON object a line, appended and flushed; cut back to a checkpoint on resume."""

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pixelwright.errors import MachineError


class Log:
    """Appends rows to a file.

    Args:
        path: Made when the first row comes.
        length: Bytes of it that count; what lies beyond is cut off, as the steps that wrote it
            will be done again.
    """

    def __init__(self, path: Path, length: int | None = None) -> None:
        self._path = path
        if length is not None and path.is_file() and path.stat().st_size > length:
            os.truncate(path, length)

    @property
    def length(self) -> int:
        return self._path.stat().st_size if self._path.is_file() else 0

    def write(self, kind: str, **values: Any) -> None:
        """Append one row. NaN and infinity, which JSON lacks, become null."""
        row = {"kind": kind, **{key: _finite(value) for key, value in values.items()}}
        try:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
        except OSError as error:
            raise MachineError(f"{self._path} cannot be written: {error.strerror}.") from None


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {key: _finite(inner) for key, inner in value.items()}
    return value
