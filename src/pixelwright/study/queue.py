"""Trains what a study still lacks: each run as a process of its own, so that a crash loses one.

failed = run_all(study, jobs=1, on_event=tell)

What is done is skipped, what was stopped goes on from its checkpoint. A stop of the queue stops the
trainings by SIGTERM, which makes them save one.
"""

import os
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

from pixelwright.console import count, duration
from pixelwright.errors import MachineError, PixelwrightWarning
from pixelwright.files import write_text
from pixelwright.run import Run
from pixelwright.study.plan import Cell, Study
from pixelwright.study.process import Training
from pixelwright.types import Event, OnEvent, chosen_score

_LOOK_SECONDS = 5.0
"""Between two looks at the logs of the trainings."""


@dataclass
class _Active:
    """A cell that is being trained."""

    cell: Cell
    training: Training


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
        self._active: list[_Active] = []
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
                self._active[0].training.exit_code(wait=0.2)
                for one in [a for a in self._active if a.training.exit_code() is not None]:
                    self._end(one)
                if time.monotonic() - looked > _LOOK_SECONDS:
                    looked = time.monotonic()
                    self._show()
        except BaseException:
            self._stop()
            raise
        return self._failed

    def _start(self, cell: Cell) -> None:
        name = cell.run.name
        recipe = self._study.out / "recipes" / f"{name}.toml"
        output = self._study.out / "output" / f"{name}.txt"
        for written in (recipe, output):
            written.parent.mkdir(exist_ok=True)
        write_text(recipe, cell.recipe.to_toml())
        resume = _state(cell) == "continue"
        environment = {}
        if self._jobs > 1 and "OMP_NUM_THREADS" not in os.environ:
            environment["OMP_NUM_THREADS"] = str(max(_cores() // self._jobs, 1))
        training = Training.start(
            cell.run,
            output,
            recipe=None if resume else recipe,
            options=("--force",) if self._force and not resume else (),
            environment=environment,
        )
        self._active.append(_Active(cell, training))
        self._note(f"{'continues' if resume else 'trains'} {cell.title} in {cell.run.path}")

    def _end(self, ended_one: _Active) -> None:
        self._active.remove(ended_one)
        cell, training = ended_one.cell, ended_one.training
        self._tell(Event("progress", {"what": cell.title, "done": 1, "total": 1}))
        if training.exit_code() == 0 and cell.done:
            if not training.resumed:
                self._took.setdefault(cell.case, []).append(training.seconds)
            table = cell.run.scores("val")
            asked = self._study.score
            score = table.get(asked) if asked else chosen_score(table, prefix="")[1]
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
        for one in self._active:
            done, total = one.training.steps()
            if total:
                what = one.cell.title
                shown = min(done, total - 1)
                data = {"what": what, "done": shown, "total": total, "left": self._left()}
                self._tell(Event("progress", data))

    def _left(self) -> float | None:
        """Seconds to go, from what the same case took, else any; None where nothing is known."""
        spent = [a.training.seconds for a in self._active] + [0.0] * len(self._waiting)
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
        paces = [(a.training.seconds, a.training.steps()) for a in self._active]
        known = [seconds * total / done for seconds, (done, total) in paces if done]
        return sum(known) / len(known) if known else None

    def _stop(self) -> None:
        """Ask all trainings to save and stop; a second signal ends them at once."""
        for one in self._active:
            one.training.ask_to_stop()
        if self._active:
            self._note("stops: the training saves a checkpoint, and the same command goes on")
        try:
            for one in self._active:
                one.training.wait()
        except BaseException:
            for one in self._active:
                one.training.kill()
            raise

    def _note(self, text: str) -> None:
        self._tell(Event("note", {"text": text}))


def _cores() -> int:
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def failures(failed: Sequence[tuple[Cell, str]]) -> str:
    """What failed, as one line."""
    shown = " ".join(f"{cell.title}: {why.rstrip('.')}." for cell, why in failed[:3])
    more = f" And {len(failed) - 3} more." if len(failed) > 3 else ""
    return f"{count(len(failed), 'run')} failed. {shown}{more} The same command tries again."
