"""A training as a process of its own, so that a crash loses one run and not those beside it.

training = Training.start(run, output, recipe=file)
while training.exit_code() is None: ...
training.stop()                        # it saves a checkpoint; start(run, output) goes on
"""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from pixelwright.run import Run

_STEP = re.compile(r"^step ([\d,]+)/", re.MULTILINE)


@dataclass
class Training:
    """A process that trains a run.

    Args:
        run: What it trains.
        output: The file that gets all it says.
        resumed: Whether it goes on with a run.
        process: Ours, or None where somebody who is gone had started it.
        began: By the monotonic clock.
    """

    run: Run
    output: Path
    resumed: bool
    process: "subprocess.Popen[bytes] | None"
    began: float = field(default_factory=time.monotonic)

    @classmethod
    def start(
        cls,
        run: Run,
        output: Path,
        *,
        recipe: Path | None = None,
        options: tuple[str, ...] = (),
        environment: Mapping[str, str] | None = None,
    ) -> "Training":
        """Start `python -m pixelwright train`.

        Args:
            run: Where it trains.
            output: Gets all it says, at the end of what it holds.
            recipe: What it trains; None goes on with the run.
            options: More of the command line.
            environment: Variables besides our own.
        """
        source = [str(run.path), "--resume"] if recipe is None else [str(recipe)]
        place = [] if recipe is None else ["--out", str(run.path)]
        if recipe is not None:
            _clear_remains(run)
        with output.open("ab") as file:
            # In a session of its own: Ctrl-C reaches us alone, and we pass it on as SIGTERM.
            process = subprocess.Popen(
                [sys.executable, "-m", "pixelwright", "train", *source, *place, *options],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(environment or {})},
                start_new_session=True,
            )
        return cls(run, output, recipe is None, process)

    @classmethod
    def adopt(cls, run: Run, output: Path) -> "Training":
        """The process that trains a run by itself, as whoever started it was killed."""
        return cls(run, output, True, None)

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.began

    def exit_code(self, wait: float = 0.0) -> int | None:
        """How it ended, waiting for so many seconds; None while it goes on."""
        if self.process is None:
            if self.run.owner:
                time.sleep(wait)
                return None
            return 0 if self.run.status == "finished" else 1
        with suppress(subprocess.TimeoutExpired):
            return self.process.wait(timeout=wait)
        return None

    def steps(self) -> tuple[int, int]:
        """Steps done and to do, as log and output say; 0, 0 before they say anything."""
        done = total = 0
        for row in self.run.log():
            done = max(done, row.get("step") or 0)
            total = row.get("steps", total)
        # The log has a row at every validation, the output a line every half minute.
        said = _STEP.findall(_tail(self.output, 2000))
        done = max([done, *(int(step.replace(",", "")) for step in said)])
        return min(done, total), total

    def why(self) -> str:
        """Why it failed: its last words."""
        code = self.exit_code() or 0
        if code < 0:
            return f"was killed by signal {-code}; if that was not you, the memory may be full"
        lines = [line for line in _tail(self.output).splitlines() if line.strip()]
        said = [line for line in lines if line.startswith("pixelwright: ")] or lines
        last = said[-1].removeprefix("pixelwright: ") if said else "it said nothing"
        return f"exit {code}: {last}"

    def ask_to_stop(self) -> None:
        """Ask it to save a checkpoint and end."""
        self._signal(signal.SIGTERM)

    def wait(self) -> None:
        """Wait for its end."""
        while self.exit_code(wait=0.2) is None:
            pass

    def kill(self) -> None:
        """End it at once; what it did since its last checkpoint is lost."""
        self._signal(signal.SIGKILL)

    def stop(self) -> None:
        """Ask it to save a checkpoint, and wait for its end; a signal to us ends it at once."""
        self.ask_to_stop()
        try:
            self.wait()
        except BaseException:
            self.kill()
            raise

    def _signal(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            if self.process is not None:
                self.process.send_signal(number)
            elif owner := self.run.owner:
                os.kill(owner["pid"], number)


def _clear_remains(run: Run) -> None:
    """Remove the folder of a training that was killed before it had written its recipe."""
    if run.path.is_dir() and not run.recipe_file.is_file() and not run.owner:
        for file in run.path.glob("lock"):
            file.unlink()
        with suppress(OSError):
            run.path.rmdir()


def _tail(file: Path, size: int = 20_000) -> str:
    try:
        with file.open("rb") as opened:
            opened.seek(max(0, file.stat().st_size - size))
            text = opened.read().decode("utf-8", "replace")
    except OSError:
        return ""
    return re.sub(r"\x1b\[[0-9;]*m", "", text)
