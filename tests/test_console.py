import io
import sys
import types
import warnings

import pytest

from pixelwright import console as module
from pixelwright.console import Console, count, duration, number
from pixelwright.errors import PixelwrightWarning
from pixelwright.types import Classes, Event

EVENTS = [
    Event("start", {"steps": 20, "epochs": 2, "step": 0}),
    *(
        Event("step", {"step": s, "loss": 1 / s, "lr": 0.1, "images": 8, "seconds": 0.5})
        for s in range(1, 11)
    ),
    Event("validate", {"done": 1, "total": 2}),
    Event("validate", {"done": 2, "total": 2}),
    Event(
        "epoch",
        {
            "epoch": 1.0,
            "step": 10,
            "train_loss": 0.29,
            "val_loss": 0.31,
            "val_mean_iou": 0.625,
            "score": 0.625,
            "lr": 0.1,
            "seconds": 5.0,
            "best": True,
        },
    ),
    Event("save", {"path": "last.safetensors"}),
    Event("note", {"text": "Something to know."}),
    Event("stop", {"why": "the time is up"}),
]


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")


@pytest.fixture
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FORCE_COLOR", "TTY_COMPATIBLE", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)


def watch(events: list[Event], *, quiet: bool = False) -> None:
    with Console().watch(quiet=quiet) as on_event:
        for event in events:
            on_event(event)


@pytest.mark.usefixtures("plain")
def test_an_epoch_of_a_classifier_tells_its_top1(capsys: pytest.CaptureFixture[str]) -> None:
    row = {"epoch": 2.0, "train_loss": 1.5, "val_loss": 1.25, "val_top1": 0.75, "score": 0.75}
    watch([Event("epoch", row)])
    assert capsys.readouterr().err.rstrip() == (
        "epoch 2  train loss 1.5000  val loss 1.2500  top-1 0.7500"
    )


@pytest.mark.usefixtures("plain")
def test_f43_without_a_terminal_a_job_is_plain_lines(capsys: pytest.CaptureFixture[str]) -> None:
    watch(EVENTS)
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        "trains for 20 steps",
        "epoch 1/2  train loss 0.2900  val loss 0.3100  mean IoU 0.6250  best",
        "Something to know.",
        "stopped: the time is up",
    ]


@pytest.mark.usefixtures("plain")
def test_a_long_job_without_a_terminal_says_where_it_is(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    monkeypatch.setattr(module.time, "monotonic", lambda: now)
    with Console().watch() as on_event:
        on_event(Event("start", {"steps": 1200, "epochs": 2, "step": 0}))
        for step in range(1, 61):
            now += 1.0
            on_event(Event("step", {"step": step, "loss": 0.5, "images": 8, "seconds": 1.0}))
    lines = capsys.readouterr().err.splitlines()
    # A step a second: 1170 s = 19:30 min are left after step 30.
    assert lines[1] == "step 30/1,200 · 19:30 min left · loss 0.5000 · 8 images/s"
    assert lines[2].startswith("step 60/1,200 · 19:00 min left")
    assert len(lines) == 3


@pytest.mark.usefixtures("terminal")
@pytest.mark.parametrize("columns", ["20", "80", "200"])
def test_a_terminal_of_any_width_shows_bar_and_lines(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, columns: str
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    watch(EVENTS)
    err = capsys.readouterr().err
    assert "\x1b[" in err
    assert "mean IoU 0.6250" in err
    assert "step " in err


@pytest.mark.usefixtures("terminal")
def test_the_bar_shows_progress_loss_best_speed_and_time_left(
    capsys: pytest.CaptureFixture[str],
) -> None:
    watch([*EVENTS[:-1], Event("step", {"step": 11, "loss": 0.09, "images": 8, "seconds": 0.5})])
    err = capsys.readouterr().err
    assert "step 11/20" in err
    assert "loss 0.0900" in err
    assert "best 0.6250" in err
    assert "16 images/s" in err
    assert " left" in err


def test_quiet_shows_no_event(capsys: pytest.CaptureFixture[str]) -> None:
    watch(EVENTS, quiet=True)
    assert capsys.readouterr() == ("", "")


def test_quiet_tells_warnings_all_the_same_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with Console().watch(quiet=True):
        warnings.warn("3 images are small", PixelwrightWarning, stacklevel=2)
    assert capsys.readouterr() == ("", "warning: 3 images are small\n")


def test_a_notebook_cell_is_drawn_once_and_then_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = []

    class Handle:
        def update(self, shown: object) -> None:
            drawn.append(("update", shown))

    def display(shown: object, *, display_id: bool = False) -> Handle:
        drawn.append(("display", shown))
        return Handle()

    ipython = types.ModuleType("IPython.display")
    ipython.display = display  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "IPython", types.ModuleType("IPython"))
    monkeypatch.setitem(sys.modules, "IPython.display", ipython)
    monkeypatch.setattr(module._Rich, "is_jupyter", True, raising=False)
    console = Console()
    console._err.is_jupyter = console._out.is_jupyter = True
    with console.watch() as on_event:
        for event in EVENTS[:12]:
            on_event(event)
    bars = [how for how, shown in drawn if isinstance(shown, module.Progress)]
    assert bars[0] == "display"
    assert bars.count("display") == 1
    assert bars[-1] == "update"


def test_a_reader_that_leaves_does_not_stop_the_job(monkeypatch: pytest.MonkeyPatch) -> None:
    class Closed(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    monkeypatch.setattr(sys, "stderr", Closed())
    watch(EVENTS)


@pytest.mark.usefixtures("plain")
def test_warnings_are_one_line_and_told_once(capsys: pytest.CaptureFixture[str]) -> None:
    with Console().warnings_as_lines():
        for _ in range(3):
            warnings.warn("The masks are grey.", PixelwrightWarning, stacklevel=1)
        warnings.warn("The masks are large.", PixelwrightWarning, stacklevel=1)
    assert capsys.readouterr().err.splitlines() == [
        "warning: The masks are grey.",
        "warning: The masks are large.",
    ]


@pytest.mark.usefixtures("plain")
def test_warnings_of_others_are_cut_to_their_first_line(capsys: pytest.CaptureFixture[str]) -> None:
    with Console().warnings_as_lines():
        warnings.simplefilter("always")
        warnings.warn("Strange tensors.\n  at Tensor.cpp:12", UserWarning, stacklevel=1)
    assert capsys.readouterr().err == "warning: Strange tensors. (UserWarning)\n"


NASTY = "a\x1b[31m[bold]b[/bold]\n\u202ec\udcff"
"""A name with an escape sequence, markup, a newline, a turned direction, a byte not UTF-8."""


@pytest.mark.parametrize("where", ["terminal", "plain"])
def test_f86_names_are_shown_and_never_obeyed(
    capsys: pytest.CaptureFixture[str], request: pytest.FixtureRequest, where: str
) -> None:
    request.getfixturevalue(where)
    console = Console()
    console.say(NASTY)
    console.note(NASTY)
    console.error(NASTY)
    console.remark("note", NASTY)
    console.recipe(f'name = "{NASTY}"')
    console.table(["class"], [[NASTY]], title=NASTY)
    console.classes(Classes((NASTY,), ((1, 2, 3),)), {"pixels": [7]})
    watch([Event("note", {"text": NASTY}), Event("progress", {"what": NASTY, "done": 1})])
    for text in capsys.readouterr():
        assert "[31m[bold]" in text.replace("\x1b[0m", "") or where == "terminal"
        assert "\x1b[31m[bold]" not in text
        assert "\u202e" not in text
        assert "\udcff" not in text


@pytest.mark.usefixtures("plain")
def test_a_table_sets_numbers_flush_right_and_leaves_no_blanks(
    capsys: pytest.CaptureFixture[str],
) -> None:
    Console().table(("class", "IoU"), [("sky", "0.9"), ("a car", "n/a")], right=("IoU",))
    assert [*capsys.readouterr().out.splitlines()] == [
        "class   IoU",
        "───────────",
        "sky     0.9",
        "a car   n/a",
    ]


@pytest.mark.usefixtures("plain")
def test_long_paths_are_not_folded_in_a_file(capsys: pytest.CaptureFixture[str]) -> None:
    Console().written(["x" * 300])
    assert capsys.readouterr().out == f"wrote {'x' * 300}\n"


def test_class_shares_are_of_the_counted_pixels(capsys: pytest.CaptureFixture[str]) -> None:
    Console().classes(Classes(("land", "sea"), ((0, 0, 0), (9, 9, 9))), {"pixels": [1, 3]})
    out = capsys.readouterr().out
    assert "25.00%" in out
    assert "75.00%" in out


def test_numbers_read_well() -> None:
    assert number(None) == number(float("nan")) == "n/a"
    assert number(0.71239) == "0.7124"
    assert [duration(s) for s in (0.2, 59.0, 61.0, 3661.0, 36000.0)] == [
        "0 s",
        "59 s",
        "1:01 min",
        "1:01 h",
        "10:00 h",
    ]
    assert [count(1, "class", "classes"), count(2000, "class", "classes")] == [
        "1 class",
        "2,000 classes",
    ]


@pytest.mark.usefixtures("plain")
def test_bytes_are_shown_with_their_pace_and_the_time_left(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    monkeypatch.setattr(module.time, "monotonic", lambda: now)
    with Console().watch() as on_event:
        for done, total in (
            (0, 11_000_000_000),
            (1_000_000_000, 11_000_000_000),
            (5_400_000, None),
        ):
            data = {"what": "fetch x", "done": done, "total": total, "unit": "bytes"}
            on_event(Event("progress", data))
            now += 40
    # 1 GB came within the 40 s since 0 were there, so the other 10 take 400; then it began anew.
    assert capsys.readouterr().err.splitlines() == [
        "fetch x 1 GB of 11 GB · 25 MB/s · 6:40 min left",
        "fetch x 5.4 MB",
    ]
