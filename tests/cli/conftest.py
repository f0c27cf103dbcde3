"""Commands run as a user runs them, inside this process."""

from pathlib import Path

import pytest

import tiny
from commands import Predict, Say
from pixelwright.cli import main


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


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Segmenters in `run` and `other`, a classifier in `labels`, and their data."""
    folder = tmp_path_factory.mktemp("predict")
    masks = tiny.draw_folders(folder / "set", count=3)
    animals = tiny.draw_class_folders(folder / "animals")
    tiny.draw_run(folder / "run", masks, "fcnn")
    tiny.draw_run(folder / "other", masks, "unet:width=4,depth=1")
    tiny.draw_run(folder / "labels", animals, "convnet:width=8,depth=2", (8, 8))
    return folder


@pytest.fixture
def predict(say: Say, tmp_path: Path) -> Predict:
    """Predict into `out` of this test; exit code, standard output, standard error."""

    def run(
        *arguments: object, run: str = "run", out: str = "out", code: int = 0
    ) -> tuple[int, str, str]:
        where = ("--run", run, "--out", tmp_path / out, "--device", "cpu")
        answer = say("predict", *arguments, *where)
        assert answer[0] == code, answer[2]
        return answer

    return run
