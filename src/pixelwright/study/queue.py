"""Trains what a study still lacks: each run as a process of its own, so that a crash loses one.

failed = run_all(study, jobs=1, on_event=tell)

What is done is skipped, what was stopped goes on from its checkpoint. A stop of the queue stops the
trainings by SIGTERM, which makes them save one.
"""

import os
import re
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from pixelwright.console import count, duration
from pixelwright.errors import MachineError, PixelwrightWarning
from pixelwright.files import write_text
from pixelwright.run import Run
from pixelwright.study.plan import Cell, Study
from pixelwright.types import Event, OnEvent

_LOOK_SECONDS = 5.0
"""Between two looks at the logs of the trainings."""


@dataclass
class _Training:
    """A process that trains a cell."""

    cell: Cell
    process: "subprocess.Popen[bytes]"
    output: Path
    resumed: bool
    began: float = field(default_factory=time.monotonic)

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.began

    def steps(self) -> tuple[int, int]:
        """Steps done and to do, as the log says; 0, 0 before it says anything."""
        done = total = 0
        for row in self.cell.run.log():
            done = max(done, row.get("step") or 0)
            total = row.get("steps", total)
        return done, total

    def why(self) -> str:
        """Why it failed: its last words."""
        code = self.process.returncode
        if code < 0:
            return f"was killed by signal {-code}; if that was not you, the memory may be full"
        lines = [line for line in _tail(self.output).splitlines() if line.strip()]
        said = [line for line in lines if line.startswith("pixelwright: ")] or lines
        last = said[-1].removeprefix("pixelwright: ") if said else "it said nothing"
        return f"exit {code}: {last}"


def plan(study: Study) -> list[tuple[Cell, str]]:
    """What would happen to each cell: "done", "continue" or "train"."""
    return [(cell, _state(cell)) for cell in study.cells]


def _state(cell: Cell) -> str:
    if cell.done:
        return "done"
    return "continue" if cell.run.recipe_file.is_file() else "train"


def run_all(
    study: Study, *, jobs: int = 1, force: bool = False, on_event: OnEvent
) -> list[tuple[Cell, str]]:
    """Train every cell that is not done.

    Args:
        study: Checked.
        jobs: Trainings at a time; on a CPU they share its cores.
        force: Train although the data has problems.
        on_event: Told the progress.

    Returns:
        The cells that failed, and why.

    Raises:
        RecipeError: Another process trains this study.
        MachineError: The folder cannot be written.
    """
    try:
        study.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise MachineError(
            f"The folder {study.out} cannot be made: {error.strerror}. Give another with --out."
        ) from None
    if jobs > 1 and any(cell.recipe.train.minutes is not None for cell in study.cells):
        warnings.warn(
            f"{jobs} trainings at a time share the machine, so train.minutes gives each fewer "
            f"steps, and not all the same. Set train.steps, or --jobs 1, for a fair comparison.",
            PixelwrightWarning,
            stacklevel=2,
        )
    with Run(study.out).locked():
        return _Queue(study, jobs, force, on_event).work()


class _Queue:
    def __init__(self, study: Study, jobs: int, force: bool, on_event: OnEvent) -> None:
        self._study = study
        self._jobs = jobs
        self._force = force
        self._tell = on_event
        self._waiting = [cell for cell, state in plan(study) if state != "done"]
        self._active: list[_Training] = []
        self._failed: list[tuple[Cell, str]] = []
        self._took: dict[str, list[float]] = {}

    def work(self) -> list[tuple[Cell, str]]:
        done = len(self._study.cells) - len(self._waiting)
        if done and self._waiting:
            self._note(f"{count(done, 'run is', 'runs are')} done and skipped")
        looked = 0.0
        try:
            while self._waiting or self._active:
                while self._waiting and len(self._active) < self._jobs:
                    self._start(self._waiting.pop(0))
                # Waits for one of them, and wakes now and then for the others and the logs.
                with suppress(subprocess.TimeoutExpired):
                    self._active[0].process.wait(timeout=0.2)
                for training in [t for t in self._active if t.process.poll() is not None]:
                    self._end(training)
                if time.monotonic() - looked > _LOOK_SECONDS:
                    looked = time.monotonic()
                    self._show()
        except BaseException:
            self._stop()
            raise
        return self._failed

    def _start(self, cell: Cell) -> None:
        _clear_remains(cell.run)
        name = cell.run.name
        recipe = self._study.out / "recipes" / f"{name}.toml"
        output = self._study.out / "output" / f"{name}.txt"
        for written in (recipe, output):
            written.parent.mkdir(exist_ok=True)
        write_text(recipe, cell.recipe.to_toml())
        resume = _state(cell) == "continue"
        arguments = [str(cell.run.path), "--resume"]
        if not resume:
            arguments = [str(recipe), "--out", str(cell.run.path)]
            arguments += ["--force"] if self._force else []
        environment = dict(os.environ)
        if self._jobs > 1:
            environment.setdefault("OMP_NUM_THREADS", str(max(_cores() // self._jobs, 1)))
        with output.open("ab") as file:
            # In a session of its own: Ctrl-C reaches us alone, and we pass it on as SIGTERM.
            process = subprocess.Popen(
                [sys.executable, "-m", "pixelwright", "train", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                env=environment,
                start_new_session=True,
            )
        self._active.append(_Training(cell, process, output, resume))
        self._note(f"{'continues' if resume else 'trains'} {cell.title} in {cell.run.path}")

    def _end(self, training: _Training) -> None:
        self._active.remove(training)
        cell = training.cell
        self._tell(Event("progress", {"what": cell.title, "done": 1, "total": 1}))
        if training.process.returncode == 0 and cell.done:
            if not training.resumed:
                self._took.setdefault(cell.case, []).append(training.seconds)
            score = cell.run.scores("val").get(self._study.score)
            found = "n/a" if score is None else f"{score:.3f}"
            text = f"{cell.title}: {found} on val after {duration(training.seconds)}"
        else:
            self._failed.append((cell, training.why()))
            text = f"{cell.title} failed: {training.why()} ({training.output} holds all it said)"
        every = len(self._study.cells)
        ended = every - len(self._waiting) - len(self._active)
        left = self._left()
        soon = "" if left is None or ended == every else f", about {duration(left)} left"
        self._note(f"{text}; {ended} of {every} runs{soon}")

    def _show(self) -> None:
        for training in self._active:
            done, total = training.steps()
            if total:
                what = training.cell.title
                shown = min(done, total - 1)
                data = {"what": what, "done": shown, "total": total, "left": self._left()}
                self._tell(Event("progress", data))

    def _left(self) -> float | None:
        """Seconds to go, from what the same case took, else any; None where nothing is known."""
        spent = [a.seconds for a in self._active] + [0.0] * len(self._waiting)
        cells = [*(a.cell for a in self._active), *self._waiting]
        needed = [seconds for cell in cells if (seconds := self._needs(cell)) is not None]
        if not cells or len(needed) < len(cells):
            return None
        left = sum(max(0.0, n - s) for n, s in zip(needed, spent, strict=True))
        return left / min(self._jobs, len(cells))

    def _needs(self, cell: Cell) -> float | None:
        """Seconds that a whole training of this cell takes."""
        if cell.recipe.train.minutes is not None:
            return 60 * cell.recipe.train.minutes
        took = self._took.get(cell.case) or [s for case in self._took.values() for s in case]
        if took:
            return sum(took) / len(took)
        paces = [(a.seconds, a.steps()) for a in self._active]
        known = [seconds * total / done for seconds, (done, total) in paces if done]
        return sum(known) / len(known) if known else None

    def _stop(self) -> None:
        """Ask all trainings to save and stop; a second signal ends them at once."""
        for training in self._active:
            _signal(training.process, signal.SIGTERM)
        try:
            for training in self._active:
                training.process.wait()
        except BaseException:
            for training in self._active:
                _signal(training.process, signal.SIGKILL)
            raise

    def _note(self, text: str) -> None:
        self._tell(Event("note", {"text": text}))


def _signal(process: "subprocess.Popen[bytes]", number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        process.send_signal(number)


def _clear_remains(run: Run) -> None:
    """Remove the folder of a training that was killed before it had written its recipe."""
    if run.path.is_dir() and not run.recipe_file.is_file() and not run.owner:
        for file in run.path.glob("lock"):
            file.unlink()
        with suppress(OSError):
            run.path.rmdir()


def _cores() -> int:
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def _tail(file: Path, size: int = 20_000) -> str:
    try:
        with file.open("rb") as opened:
            opened.seek(max(0, file.stat().st_size - size))
            text = opened.read().decode("utf-8", "replace")
    except OSError:
        return ""
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


def failures(failed: Sequence[tuple[Cell, str]]) -> str:
    """What failed, as one line."""
    shown = " ".join(f"{cell.title}: {why.rstrip('.')}." for cell, why in failed[:3])
    more = f" And {len(failed) - 3} more." if len(failed) > 3 else ""
    return f"{count(len(failed), 'run')} failed. {shown}{more} The same command tries again."
