"""The only place that prints: tables, progress, warnings, errors.

    console = Console()
    with console.watch() as on_event:                  # a bar in a terminal or notebook, else lines
        run = jobs.train("recipe.toml", on_event=on_event)
    console.scores(run.scores("val"))

Results go to standard output; what happens meanwhile and what went wrong go to standard error.
Names come from files and people: they are never read as markup, nor obeyed by the terminal.
"""

import math
import os
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Protocol, runtime_checkable

import rich.console
from rich import box
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.syntax import Syntax
from rich.table import Column, Table
from rich.text import Text

from pixelwright.errors import PixelwrightWarning, shown
from pixelwright.types import Classes, Event, OnEvent, chosen_score, silent

QUIET_SECONDS = 30.0
"""Without a terminal, a long job says where it is this often."""


def number(value: float | None, digits: int = 4) -> str:
    """A score or loss; "n/a" where it is undefined."""
    return "n/a" if value is None or math.isnan(value) else f"{value:.{digits}f}"


def count(number: int, one: str, many: str = "") -> str:
    """`1 image`, `24 images`."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def duration(seconds: float) -> str:
    """`45 s`, `3:20 min` or `2:05 h`."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60}:{whole % 60:02d} min"
    return f"{whole // 3600}:{whole % 3600 // 60:02d} h"


def size(bytes_: float | int) -> str:
    """`512 B`, `3.4 MB` or `11 GB`, in thousands."""
    for unit in ("B", "kB", "MB"):
        if bytes_ < 999.5:
            return f"{bytes_:.3g} {unit}"
        bytes_ /= 1000
    return f"{bytes_:.3g} GB"


@runtime_checkable
class Scored(Protocol):
    """What can be shown as scores: `metrics.Scores` and `metrics.LabelScores`."""

    def table(self) -> Sequence[Sequence[str]]:
        """Headings, then one row per class, then the means."""

    def verdict(self) -> str:
        """One line."""

    def further(self) -> Sequence[str]:
        """Numbers beside the table."""

    def notes(self) -> Sequence[str]:
        """What a reader has to know."""


class _Rich(rich.console.Console):
    """Without a terminal: lines of any length. A closed pipe is the caller's business."""

    def __init__(self, *, stderr: bool) -> None:
        super().__init__(stderr=stderr, markup=False, highlight=False, emoji=False)

    @property
    def size(self) -> rich.console.ConsoleDimensions:
        if self.is_terminal or self.is_jupyter or "COLUMNS" in os.environ:
            return super().size
        return rich.console.ConsoleDimensions(1000, 25)

    @size.setter
    def size(self, new_size: tuple[int, int]) -> None:
        self._width, self._height = new_size

    def marked(self, mark: str, style: str, line: object) -> None:
        """A line behind a coloured word."""
        self.print(Text.assemble((mark, style), shown(line)), soft_wrap=True)

    def on_broken_pipe(self) -> None:
        self.quiet = True
        raise BrokenPipeError


class Console:
    """Standard output and standard error, as a person wants to read them."""

    def __init__(self) -> None:
        self._out = _Rich(stderr=False)
        self._err = _Rich(stderr=True)
        self._told: set[str] = set()

    def say(self, *lines: object) -> None:
        """Lines of a result."""
        for line in lines:
            self._out.print(Text(shown(line)), soft_wrap=True)

    def note(self, line: object, *, style: str = "") -> None:
        """A line about the job, not part of its result."""
        self._err.print(Text(shown(line), style=style), soft_wrap=True)

    def error(self, message: object) -> None:
        self._err.marked("pixelwright: ", "bold red", message)

    def traceback(self, error: BaseException) -> None:
        self._err.print(Text("".join(traceback.format_exception(error))), soft_wrap=True)

    def raw(self, text: str) -> None:
        """Text for another program, such as JSON: to standard output as it is."""
        sys.stdout.write(text)

    def table(
        self,
        columns: Sequence[str],
        rows: Iterable[Sequence[object]],
        *,
        title: str = "",
        right: Iterable[str] = (),
    ) -> None:
        """Rows under headings.

        Args:
            columns: The headings.
            rows: One cell per heading; anything printable.
            title: A line above.
            right: Headings of the columns of numbers, set flush right.
        """
        if title:
            self.say(title)
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
        for column in columns:
            justify: Any = "right" if column in right else "left"
            table.add_column(Text(column), justify=justify, overflow="fold")
        for row in rows:
            cells = (cell if isinstance(cell, Text) else Text(shown(cell)) for cell in row)
            table.add_row(*cells)
        if self._out.is_terminal or self._out.is_jupyter:
            self._out.print(table)
            return
        with self._out.capture() as drawn:
            self._out.print(table)
        # The last column is padded too; a file is better without.
        self.raw("".join(f"{line.rstrip()}\n" for line in drawn.get().splitlines()))

    def recipe(self, toml: str) -> None:
        """A recipe as it would be written to a file, in colours where there are colours."""
        if self._out.is_terminal or self._out.is_jupyter:
            lines = "\n".join(shown(line) for line in toml.splitlines())
            self._out.print(Syntax(lines, "toml", theme="ansi_dark", background_color="default"))
        else:
            self.say(*toml.splitlines())

    def scores(self, scores: Scored) -> None:
        """The scores of a split by class, and what a reader has to know about them."""
        head, *rows = scores.table()
        self.table(head, rows, title=scores.verdict(), right=head[1:])
        self.say(*scores.further(), *scores.notes())

    def classes(self, classes: Classes, counts: Mapping[str, Sequence[int]]) -> None:
        """The classes with their colours, how many pixels each has, and its share of them.

        Args:
            classes: Names and colours.
            counts: Heading -> pixels of each class.
        """
        columns: list[list[str]] = []
        for pixels in counts.values():
            total = sum(pixels) or 1
            columns += [[f"{n:,}" for n in pixels], [f"{n / total:.2%}" for n in pixels]]
        swatches = [Text("  ", style=f"on rgb({r},{g},{b})") for r, g, b in classes.colors]
        heads = [head for name in counts for head in (name, "share")]
        rows = zip(swatches, classes.names, *columns, strict=True)
        self.table(("", "class", *heads), rows, right=heads)

    def remark(self, word: str, line: object, *, style: str = "yellow") -> None:
        """A line of a result that stands out by its first word."""
        self._out.marked(f"{word}: ", style, line)

    def written(self, paths: Iterable[object]) -> None:
        """The files that a job made."""
        for path in paths:
            self.say(f"wrote {path}")

    @contextmanager
    def warnings_as_lines(self) -> Iterator[None]:
        """Show each different warning once in the life of this console, as one line."""

        def show(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
            text = str(message)
            if not issubclass(category, PixelwrightWarning):
                text = f"{text.strip().partition(chr(10))[0]} ({category.__name__})"
            if text not in self._told:
                self._told.add(text)
                self._err.marked("warning: ", "yellow", text)

        with warnings.catch_warnings():
            warnings.simplefilter("always", PixelwrightWarning)
            warnings.showwarning = show
            yield

    @contextmanager
    def watch(self, *, quiet: bool = False) -> Iterator[OnEvent]:
        """Hand out an `OnEvent` that draws a job, in a terminal, a notebook or a file alike."""
        if quiet:
            with self.warnings_as_lines():
                yield silent
            return
        alive = self._err.is_jupyter or (self._err.is_terminal and not self._err.is_dumb_terminal)
        bars = _Bars(self._err) if alive else None
        view = _View(self, bars)
        try:
            with self.warnings_as_lines():
                yield view
        finally:
            if bars:
                bars.close()


class _Bars:
    """Rows that move. In a notebook they are one output cell that is replaced."""

    def __init__(self, console: _Rich) -> None:
        width = 30 if console.width >= 100 else 10
        text = TextColumn(
            "{task.fields[text]}",
            markup=False,
            table_column=Column(no_wrap=True, overflow="ellipsis"),
        )
        self._notebook = console.is_jupyter
        self._progress = Progress(
            BarColumn(bar_width=width),
            text,
            console=console,
            transient=True,
            auto_refresh=not self._notebook,
            refresh_per_second=5,
        )
        self._tasks: dict[str, TaskID] = {}
        self._handle: Any = None
        self._drawn = 0.0

    def update(self, name: str, done: int, total: int | None, text: str) -> None:
        text = shown(text)
        if name not in self._tasks:
            self._tasks[name] = self._progress.add_task(name, total=total, text=text)
            if len(self._tasks) == 1:
                self._begin()
        self._progress.update(self._tasks[name], completed=done, total=total, text=text)
        self._draw()

    def remove(self, name: str) -> None:
        if name in self._tasks:
            self._progress.remove_task(self._tasks.pop(name))
            if not self._tasks:
                self.close()

    def close(self) -> None:
        if self._notebook:
            self._draw(at_once=True)
        else:
            self._progress.stop()

    def _begin(self) -> None:
        if self._notebook:
            from IPython.display import display

            self._handle = self._handle or display(self._progress, display_id=True)
        else:
            self._progress.start()

    def _draw(self, *, at_once: bool = False) -> None:
        # Every redraw of a notebook cell is a message to the browser: four a second are enough.
        if self._handle is not None and (at_once or time.monotonic() - self._drawn > 0.25):
            self._drawn = time.monotonic()
            self._handle.update(self._progress)


class _View:
    """An `OnEvent` that draws: bars where they can move, else a line now and then."""

    def __init__(self, console: Console, bars: _Bars | None) -> None:
        self._console = console
        self._bars = bars
        self._lined = time.monotonic()
        self._steps: int | None = None
        self._began = (0, time.monotonic())
        self._epochs: float | None = None
        self._best: float | None = None
        self._speed: float | None = None
        self._came: dict[str, tuple[int, float, int]] = {}

    def __call__(self, event: Event) -> None:
        draw: Callable[[Mapping[str, Any]], None] | None = getattr(self, f"_on_{event.kind}", None)
        if draw:
            try:
                draw(event.data)
            except OSError:
                # The reader of our progress has gone: no reason to lose the job.
                self._bars = None
                self._console._err.quiet = True

    def _on_start(self, data: Mapping[str, Any]) -> None:
        self._steps = data.get("steps")
        self._epochs = data.get("epochs")
        first = data.get("step", 0)
        self._began = (first, time.monotonic())
        if self._steps and first:
            self._line(f"continues after step {first:,} of {self._steps:,}")
        elif self._steps:
            self._line(f"trains for {count(self._steps, 'step')}")

    def _on_step(self, data: Mapping[str, Any]) -> None:
        if data.get("seconds"):
            now = data["images"] / data["seconds"]
            self._speed = now if self._speed is None else 0.9 * self._speed + 0.1 * now
        done = data["step"]
        parts = [f"step {done:,}/{self._steps:,}" if self._steps else f"step {done:,}"]
        parts += [f"{duration(left)} left"] if (left := self._left(done)) is not None else []
        parts += [f"loss {number(data.get('loss'))}"]
        parts += [f"best {number(self._best)}"] if self._best is not None else []
        parts += [f"{self._speed:.3g} images/s"] if self._speed else []
        self._row("train", done, self._steps, " · ".join(parts))

    def _left(self, done: int) -> float | None:
        """Seconds to go, at the pace so far with validation and saving in it."""
        first, began = self._began
        if not self._steps or done <= first:
            return None
        return (time.monotonic() - began) / (done - first) * (self._steps - done)

    def _on_validate(self, data: Mapping[str, Any]) -> None:
        self._on_progress({"what": "validate", **data})

    def _on_progress(self, data: Mapping[str, Any]) -> None:
        what, done, total = data["what"], data["done"], data.get("total")
        of = f"{done:,}/{total:,}" if total is not None else f"{done:,}"
        if data.get("unit") == "bytes":
            of = self._bytes(what, done, total)
        if data.get("unit") == "pixels":
            of = f"{done / 1e6:,.1f}" + ("" if total is None else f" of {total / 1e6:,.1f}")
            of = f"{of} · {data['speed'] / 1e6:.3g}/s"
        left = data.get("left")
        soon = "" if left is None else f" · {duration(left)} left"
        self._row(what, done, total, f"{what} {of}{soon}")
        if self._bars and total is not None and done >= total:
            self._bars.remove(what)

    def _bytes(self, what: str, done: int, total: int | None) -> str:
        """`3.4 MB of 11 GB · 25 MB/s · 7:20 min left`, at the pace since the first sight of it."""
        first, began, last = self._came.get(what, (done, time.monotonic(), done))
        if done < last:  # it began anew
            first, began = done, time.monotonic()
        self._came[what] = (first, began, done)
        parts = [size(done) if total is None else f"{size(done)} of {size(total)}"]
        took = time.monotonic() - began
        if took >= 0.5 and done > first:
            pace = (done - first) / took
            parts += [f"{size(pace)}/s"]
            parts += [f"{duration((total - done) / pace)} left"] if total is not None else []
        return " · ".join(parts)

    def _on_epoch(self, data: Mapping[str, Any]) -> None:
        title, score = chosen_score(data)
        if data.get("best"):
            self._best = score
        of = f"/{self._epochs:g}" if self._epochs else ""
        parts = [f"epoch {data['epoch']:.4g}{of}", f"train loss {number(data.get('train_loss'))}"]
        parts += [f"val loss {number(data.get('val_loss'))}"]
        parts += [f"{title} {number(score)}", "best" if data.get("best") else ""]
        self._line("  ".join(parts).rstrip(), style="bold" if data.get("best") else "")

    def _on_note(self, data: Mapping[str, Any]) -> None:
        self._line(str(data["text"]))

    def _on_stop(self, data: Mapping[str, Any]) -> None:
        if self._bars:
            self._bars.remove("train")
        if data["why"]:
            self._line(f"stopped: {data['why']}")

    def _row(self, name: str, done: int, total: int | None, text: str) -> None:
        if self._bars:
            self._bars.update(name, done, total, text)
        elif time.monotonic() - self._lined >= QUIET_SECONDS:
            self._line(text)

    def _line(self, text: str, *, style: str = "") -> None:
        self._lined = time.monotonic()
        self._console.note(text, style=style)
