"""The command line: one file a command, and one place where what went wrong is printed.

Nothing heavy is imported before a command runs: `--help` never waits for torch.
"""

import errno
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Annotated

import typer

from pixelwright import __version__, share_cores
from pixelwright.cli import (
    compare,
    data,
    evaluate,
    explain,
    export,
    find_lr,
    models,
    predict,
    report,
    runs,
    track,
    train,
    tune,
)
from pixelwright.errors import PixelwrightError

COMMANDS: tuple[Callable[..., None], ...] = (
    train.train,
    tune.tune,
    evaluate.evaluate,
    compare.compare,
    predict.predict,
    explain.explain,
    export.export,
    find_lr.find_lr,
    models.models,
    runs.runs,
    report.report,
    track.track,
)

# Typer has carried a click of its own since 0.16; the base of this one is UsageError in both.
_UsageError = typer.BadParameter.__mro__[1]

_WORDS = {
    "a valid integer": "a whole number",
    "a valid number": "a number",
    "greater than or equal to ": "no less than ",
    "less than or equal to ": "no more than ",
    "greater than ": "more than ",
}
"""What pydantic calls a value that can be, and what we do."""

_OUT_OF_MEMORY = ("can't allocate memory", "not enough memory", "out of memory")
_MACHINE = {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ENOMEM, errno.EMFILE, errno.ENFILE}
_REFUSED = {errno.EACCES, errno.EPERM, errno.EROFS}


class Terminated(BaseException):
    """SIGTERM arrived; everything that is open gets closed on the way out."""


def app() -> typer.Typer:
    """The commands. Help is plain text: laying it out with rich doubles the time it takes."""
    built = typer.Typer(
        help="Train, evaluate, compare and run networks that turn pictures into labels.",
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    )
    built.callback()(_options)
    for command in COMMANDS:
        built.command()(command)
    built.add_typer(data.app(), name="data")
    return built


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns:
        The exit code: 0, 2 for the user's input, 3 for the machine, 130 and 143 for signals.
    """
    arguments, debug = _take_debug(list(sys.argv[1:] if argv is None else argv))
    _mend_streams()
    share_cores()
    try:
        with _sigterm_raises():
            code = _run(arguments or ["--help"])
        sys.stdout.flush()
    except BrokenPipeError:
        _drop_stdout()
        return 128 + signal.SIGPIPE if hasattr(signal, "SIGPIPE") else 1
    except SystemExit as leave:  # training that was asked to stop, and has
        return leave.code if isinstance(leave.code, int) else 1
    except KeyboardInterrupt:
        return 130
    except Terminated:
        return 143
    except Exception as error:
        line, code = _explain(error)
        if not line:
            raise
        _print_error(error, line, debug=debug)
    return code


def _show_version(wanted: bool) -> bool:
    if wanted:
        typer.echo(f"pixelwright {__version__}")
        raise typer.Exit
    return wanted


def _options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show where an error came from (any command takes it).")
    ] = False,
) -> None:
    pass


def _run(arguments: list[str]) -> int:
    command = typer.main.get_command(app())
    try:
        with command.make_context("pixelwright", arguments) as context:
            command.invoke(context)
    except typer.Exit as leave:
        return leave.exit_code
    return 0


def _take_debug(arguments: list[str]) -> tuple[list[str], bool]:
    """`--debug` counts wherever it stands, except after `--`."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    kept = [a for a in arguments[:end] if a != "--debug"]
    return kept + arguments[end:], len(kept) < end


def _explain(error: Exception) -> tuple[str, int]:
    """One line for the user and the exit code; no line where the fault is ours."""
    if isinstance(error, PixelwrightError):
        return str(error), error.exit_code
    if isinstance(error, _UsageError):
        return _usage(error), 2
    message = str(error)
    if isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and any(text in message.lower() for text in _OUT_OF_MEMORY)
    ):
        return (
            "The memory is full. A smaller train.batch_size, train.crop or --tile needs less; "
            "train.accumulate keeps the batch's effect.",
            3,
        )
    if isinstance(error, OSError) and error.errno in _MACHINE | _REFUSED:
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{error.strerror}.", 3 if error.errno in _MACHINE else 2
    return "", 1


def _usage(error: Exception) -> str:
    """A mistake on the command line, with the nearest right name."""
    message = " ".join(str(getattr(error, "format_message", error.__str__)()).split())
    if " (Possible options: " in message:
        message = message.replace(" (Possible options: ", ". Did you mean ").rstrip(")")
    message = _with_value(message, error.__cause__)
    context = getattr(error, "ctx", None)
    path = context.command_path if context else "pixelwright"
    end = "?" if "Did you mean" in message and not message.endswith("?") else ""
    end = end or ("" if message.endswith((".", "?")) else ".")
    return f"{message}{end} '{path} --help' lists what there is."


def _with_value(message: str, cause: BaseException | None) -> str:
    """What pydantic says of an option's value, with the value, which it leaves out."""
    errors = getattr(cause, "errors", None)
    found = errors() if callable(errors) else []
    if not found or "Input should be " not in message:
        return message
    message = message.partition(", unable to parse")[0]
    for theirs, ours in _WORDS.items():
        message = message.replace(theirs, ours)
    return message.replace("Input should be ", f"{found[0]['input']!r} was given; give ")


def _print_error(error: Exception, line: str, *, debug: bool) -> None:
    from pixelwright.console import Console

    # The reader of standard error may be gone, or its disk full: nobody is left to tell.
    with suppress(OSError):
        console = Console()
        if debug:
            console.traceback(error)
        console.error(line)


def _mend_streams() -> None:
    """A closed stream takes what is written; one that lacks a character shows its code."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            nowhere = os.fdopen(os.open(os.devnull, os.O_WRONLY), "w", encoding="utf-8")
            setattr(sys, name, nowhere)
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def _drop_stdout() -> None:
    """Keep Python from flushing into a closed pipe once more when it exits."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextmanager
def _sigterm_raises() -> Iterator[None]:
    def leave(number: int, frame: FrameType | None) -> None:
        raise Terminated

    try:
        before = signal.signal(signal.SIGTERM, leave)
    except ValueError:  # not the main thread: whoever runs us there minds the signals
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
