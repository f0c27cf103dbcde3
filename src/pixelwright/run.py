"""A run folder: what it holds, how it is made, opened, locked and listed. No torch.

run = Run.create(Path("runs"), "fcnn-pair")      # runs/fcnn-pair-1
with run.locked():
    ...                                          # train
Run.open("runs/fcnn-pair-1").info["commit"]
"""

import html
import json
import os
import shutil
import socket
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from pixelwright.errors import CheckpointError, MachineError, RecipeError
from pixelwright.files import append_line, write_text

Status = Literal["new", "running", "stopped", "finished"]

_FILES = (
    "recipe.toml",
    "run.json",
    "log.jsonl",
    "looks.jsonl",
    "model.safetensors",
    "loss_vs_epochs.png",
)
_FOLDERS = ("checkpoints", "exports", "pictures", "tensorboard", "wandb")


@dataclass(frozen=True, slots=True)
class Look:
    """One time that a run was scored on a split that is neither for training nor for choosing."""

    date: str
    split: str
    data: str


@dataclass(frozen=True)
class Run:
    """One training and all that came of it, in one folder."""

    path: Path

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def recipe_file(self) -> Path:
        return self.path / "recipe.toml"

    @property
    def info_file(self) -> Path:
        return self.path / "run.json"

    @property
    def log_file(self) -> Path:
        return self.path / "log.jsonl"

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def model_file(self) -> Path:
        return self.path / "model.safetensors"

    @property
    def pictures(self) -> Path:
        return self.path / "pictures"

    @property
    def exports(self) -> Path:
        return self.path / "exports"

    @property
    def loss_figure(self) -> Path:
        return self.path / "loss_vs_epochs.png"

    @property
    def report_file(self) -> Path:
        return self.path / "report.html"

    def scores_file(self, split: str) -> Path:
        return self.path / f"scores-{split}.json"

    @property
    def looks_file(self) -> Path:
        return self.path / "looks.jsonl"

    @property
    def _lock_file(self) -> Path:
        return self.path / "lock"

    @property
    def info(self) -> dict[str, Any]:
        """What `run.json` says: versions, machine, commit, command. Empty before it is written."""
        return _read_json(self.info_file)

    def scores(self, split: str) -> dict[str, Any]:
        """The scores of a split as written; empty where it was not evaluated."""
        return _read_json(self.scores_file(split))

    def log(self) -> list[dict[str, Any]]:
        """The rows of the log; a last line cut off by a crash is left out."""
        return _read_lines(self.log_file)

    def looks(self) -> list[Look]:
        """Every look at a test split so far, the first first."""
        names = Look.__dataclass_fields__
        return [
            Look(**{name: str(row.get(name, "")) for name in names})
            for row in _read_lines(self.looks_file)
        ]

    def looks_told(self) -> list[str]:
        """`test looked at 2 times`, one line for each split that was looked at."""
        looks = self.looks()
        several = len({look.data for look in looks}) > 1
        times = Counter(f"{k.split} of {k.data}" if several else k.split for k in looks)
        return [f"{what} looked at {n} time{'s'[: n > 1]}" for what, n in times.items()]

    def count_look(self, split: str, data: str) -> None:
        """Write down that the run was scored on a test split of some data.

        Raises:
            MachineError: The folder cannot be written.
        """
        look = Look(datetime.now(UTC).isoformat(timespec="seconds"), split, data)
        append_line(self.looks_file, json.dumps(asdict(look)))

    @property
    def owner(self) -> dict[str, Any] | None:
        """The process that trains this run now, as its lock says; None when nobody does."""
        lock = _read_json(self._lock_file)
        return lock if lock and _alive(lock) else None

    @property
    def status(self) -> Status:
        if self.owner:
            return "running"
        kinds = [row.get("kind") for row in self.log()]
        if "stop" in kinds:
            return "finished"
        return "stopped" if "epoch" in kinds or "start" in kinds else "new"

    def write_info(self, info: Mapping[str, Any]) -> None:
        write_text(self.info_file, json.dumps(info, indent=2) + "\n")

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the run against a second training in the same folder.

        Raises:
            RecipeError: Another living process holds it, on this host or on another.
        """
        me = {"pid": os.getpid(), "host": socket.gethostname(), "boot": _started(os.getpid())}
        if self.owner:
            raise RecipeError(
                f"{self.path} is in use by process {self.owner['pid']} on {self.owner['host']}. "
                f"Wait for it, or take another --out. If that machine is gone, delete "
                f"{self._lock_file}."
            )
        self._lock_file.unlink(missing_ok=True)
        try:
            with self._lock_file.open("x", encoding="utf-8") as file:
                json.dump(me, file)
        except FileExistsError:
            raise RecipeError(f"{self.path} was taken by another process this moment.") from None
        except OSError as error:
            raise MachineError(f"{self.path} cannot be written: {error.strerror}.") from None
        try:
            yield
        finally:
            self._lock_file.unlink(missing_ok=True)

    @classmethod
    def create(cls, root: Path, name: str) -> "Run":
        """Make `root/name-N` with the first free N."""
        number = 1
        while True:
            path = root / f"{name}-{number}"
            try:
                path.mkdir(parents=True)
            except FileExistsError:
                number += 1
            except OSError as error:
                raise MachineError(
                    f"The run folder {path} cannot be made: {error.strerror}. "
                    f"Give a folder that can be written with --out."
                ) from None
            else:
                return cls(path)

    @classmethod
    def create_at(cls, path: Path, *, overwrite: bool = False) -> "Run":
        """Make exactly `path`.

        Raises:
            RecipeError: It holds something already and `overwrite` is off, or it is not a run.
        """
        run = cls(path)
        if path.exists() and not path.is_dir():
            raise RecipeError(f"--out {path} is a file. Name a folder.")
        if path.is_dir() and any(path.iterdir()):
            if run.owner:
                raise RecipeError(
                    f"{path} is in use by process {run.owner['pid']} on {run.owner['host']}. "
                    f"Wait for it, or take another --out."
                )
            if not overwrite:
                raise RecipeError(
                    f"{path} is not empty. Continue it with --resume, replace it with "
                    f"--overwrite, or take another --out."
                )
            if not run.recipe_file.is_file():
                raise RecipeError(
                    f"{path} is not empty and not a run, so --overwrite leaves it alone. "
                    f"Take another --out."
                )
            run._clear()
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise MachineError(
                f"The run folder {path} cannot be made: {error.strerror}. "
                f"Give a folder that can be written with --out."
            ) from None
        return run

    def discard_if_empty(self) -> None:
        """Remove the folder of a training that failed before it had anything to keep."""
        with suppress(OSError):
            self.path.rmdir()

    def _clear(self) -> None:
        """Remove what a run writes, and nothing else that may lie in the folder."""
        for name in _FOLDERS:
            shutil.rmtree(self.path / name, ignore_errors=True)
        for file in (*map(self.path.joinpath, _FILES), *self.path.glob("scores-*.json")):
            file.unlink(missing_ok=True)
        self.report_file.unlink(missing_ok=True)

    @classmethod
    def open(cls, path: "str | Path | Run") -> "Run":
        """Open a run that exists.

        Raises:
            CheckpointError: There is none at `path`.
        """
        run = path if isinstance(path, Run) else cls(Path(path))
        if not run.path.is_dir():
            raise CheckpointError(f"There is no run at {run.path}. 'pixelwright runs' lists them.")
        if not run.recipe_file.is_file():
            raise CheckpointError(f"{run.path} is not a run: it has no recipe.toml.")
        return run

    @classmethod
    def list(cls, root: str | Path = "runs") -> "list[Run]":
        """The runs below `root`, newest last."""
        found = [cls(file.parent) for file in Path(root).glob("**/recipe.toml")]
        runs = [run for run in found if run.info_file.is_file()]
        return sorted(runs, key=lambda run: (run.info_file.stat().st_mtime, run.name))

    def _repr_html_(self) -> str:
        text = f"Run <code>{html.escape(str(self.path))}</code> ({self.status})"
        if self.report_file.is_file():
            text += f': <a href="{html.escape(str(self.report_file))}">report</a>'
        return text


def _read_json(path: Path) -> dict[str, Any]:
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError):
        return {}
    return table if isinstance(table, dict) else {}


def _read_lines(path: Path) -> list[dict[str, Any]]:
    """One JSON object a line; one that was cut off is left out."""
    if not path.is_file():
        return []
    rows = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        with suppress(json.JSONDecodeError):
            rows.append(json.loads(line))
    return [row for row in rows if isinstance(row, dict)]


def _alive(lock: Mapping[str, Any]) -> bool:
    """Whether the holder of a lock still lives; of another host we cannot know, so yes."""
    if lock.get("host") != socket.gethostname():
        return True
    pid = lock.get("pid")
    if not isinstance(pid, int):
        return False
    if os.name == "nt":  # there, signal 0 is not a question but Ctrl-C
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    # A process id may have been handed to another program since.
    return lock.get("boot") == _started(pid)


def _started(pid: int) -> str:
    """When a process began, in the kernel's ticks; empty where the system does not say."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    return stat.rpartition(")")[2].split()[19]
