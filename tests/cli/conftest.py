"""Commands run as a user runs them, inside this process."""

from collections.abc import Callable
from pathlib import Path

import pytest

from pixelwright.cli import main

Say = Callable[..., tuple[int, str, str]]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Where commands run; a test file may put another folder here."""
    return tmp_path


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str], home: Path, monkeypatch: pytest.MonkeyPatch) -> Say:
    """Run a command in `home`; exit code, standard output, standard error."""
    for name in ("FORCE_COLOR", "TTY_COMPATIBLE", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(home)

    def run(*arguments: object) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main([str(a) for a in arguments])
        return code, *capsys.readouterr()

    return run
