"""Data sets are mended as a user mends them, and every copy is looked through."""

from collections.abc import Callable
from pathlib import Path

import pytest

import tiny
from pixelwright.data.check import check
from pixelwright.data.index import load
from pixelwright.data.repair.copy import Repaired, repair
from pixelwright.registry import Spec
from pixelwright.types import Index

Mended = Callable[[Spec], tuple[Repaired, Index]]


@pytest.fixture
def mended(tmp_path: Path) -> Mended:
    """Repair a data set of `data` into `out`; the copy is clean, and the source is as before."""

    def mend(spec: Spec) -> tuple[Repaired, Index]:
        before = tiny.tree(tmp_path / "data")
        done = repair(spec, tmp_path / "out")
        assert tiny.tree(tmp_path / "data") == before
        index = load(Spec("folders", {"root": tmp_path / "out"}))
        assert check(index).problems == ()
        return done, index

    return mend
