"""Commands that need no trained model."""

import json
import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import tiny
from commands import Say
from pixelwright.errors import MachineError


def fails(answer: tuple[int, str, str], *words: str, code: int = 2) -> None:
    """One line on standard error that holds `words`, and the exit code."""
    found, _, err = answer
    lines = err.splitlines()
    assert found == code, err
    assert len(lines) == 1, err
    assert lines[0].startswith("pixelwright: ")
    assert "Traceback" not in err
    for word in words:
        assert word in lines[0]


def test_help_lists_every_command_in_one_line_each(say: Say) -> None:
    code, out, err = say()
    assert (code, err) == (0, "")
    assert out == say("--help")[1]
    for command in ("train", "evaluate", "predict", "data", "models", "runs", "report"):
        (line,) = [line for line in out.splitlines() if line.startswith(f"  {command} ")]
        assert not line.endswith("...")


@pytest.mark.parametrize(
    "command",
    ["train", "evaluate", "predict", "data check", "data show", "data get", "models", "runs"],
)
def test_every_command_has_help(say: Say, command: str) -> None:
    code, out, _ = say(*command.split(), "--help")
    assert code == 0
    assert f"Usage: pixelwright {command}" in out


def test_the_version_is_shown(say: Say) -> None:
    assert say("--version")[1].startswith("pixelwright 0.")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["trian"], ["'trian'", "'train'"]),
        (["train", "x", "--epoch", "3"], ["--epoch", "Did you mean --epochs?"]),
        (["train"], ["SOURCE", "pixelwright train --help"]),
        (["train", "x", "--epochs", "many"], ["--epochs"]),
        (["train", "x", "--tile", "0"], ["--tile", "1"]),
        (["predict", "x.png"], ["--run"]),
        (["data"], ["command"]),
    ],
)
def test_f36_a_slip_on_the_command_line_names_the_nearest_right_word(
    say: Say, arguments: list[str], words: list[str]
) -> None:
    fails(say(*arguments), *words)


def test_f36_an_unknown_setting_is_refused_before_the_data_is_read(say: Say) -> None:
    tiny.draw_pair(Path())
    answer = say("train", "rgb.png", "gt.png", "--set", "model.widht=8")
    fails(answer, "widht", "Did you mean 'width'?")
    fails(say("train", "rgb.png", "gt.png", "--set", "train.epoch=8"), "'epochs'")


@pytest.mark.parametrize(
    "setting",
    [
        "train.lr=-1",
        "train.lr=nan",
        "train.lr=0",
        "train.batch_size=0",
        "train.epochs=x",
        "seed=-1",
    ],
)
def test_f37_an_impossible_value_is_refused_with_its_range(say: Say, setting: str) -> None:
    tiny.draw_pair(Path())
    fails(say("train", "rgb.png", "gt.png", "--set", setting), setting.partition("=")[0])


def test_f37_two_problems_are_told_at_once(say: Say) -> None:
    tiny.draw_pair(Path())
    answer = say("train", "rgb.png", "gt.png", "--set", "train.lr=-1", "--set", "train.crop=0")
    fails(answer, "train.lr", "train.crop")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('data = "folders:root=."\nseed = 1\nseed = 2\n', ["line 3"]),
        ('data = "folders:root=.\n', ["line 1"]),
        ('data = "folders:root=."\nlr = 1\n', ["'lr'"]),
    ],
)
def test_f38_a_recipe_that_cannot_be_read_says_where(say: Say, text: str, words: list[str]) -> None:
    Path("r.toml").write_text(text, encoding="utf-8")
    fails(say("train", "r.toml"), "r.toml", *words)


def test_f39_a_missing_path_is_named(say: Say) -> None:
    tiny.draw_pair(Path())
    Path("images").mkdir()
    fails(say("train", "rgb.png", "nope.png"), "nope.png (given as the masks)")
    fails(say("train", "nope", "gt.png"), "nope (given as the images)")
    fails(say("train", "nope", "nada"), "nope (given as the images)", "nada (given as the masks)")
    fails(say("train", "nope"), "nope", "camvid")
    fails(say("train", "nope.toml"), "nope.toml")
    fails(say("train", "images", "gt.png"), "images is a folder", "gt.png is a file")
    fails(say("train", "rgb.png"), "rgb.png", "mask")
    fails(say("train", "rgb.png", "rgb.png"), "both")
    fails(say("train", "camvit:root=x"), "'camvid'")
    fails(say("data", "check", f"camvid:root={Path('nope').absolute()}"), "nope")
    fails(say("train", "nope", "--resume"), "nope")
    fails(say("evaluate", "nope"), "nope")
    fails(say("predict", "rgb.png", "--run", "nope", "--out", "out"), "nope")
    fails(say("report", "images"), "images", "recipe.toml")
    fails(say("runs", "nope"), "nope")


@pytest.mark.parametrize(
    "flags",
    [
        "--minutes 5 --epochs 3",
        "--minutes 5 --set train.steps=3",
        "--epochs 5 --set train.epochs=3",
        "--set seed=1 --set seed=2",
        "--overwrite",
        "--resume --overwrite",
        "--resume --overwrite --out x",
        "--resume --out x",
        "--resume --set seed=1",
        "--resume --epochs 5",
        "--resume --dry-run",
    ],
)
def test_f40_contradictory_flags_are_refused_before_anything_is_looked_at(
    say: Say, flags: str
) -> None:
    # There is no such source, and still that is not what the message is about.
    answer = say("train", "nowhere", *flags.split())
    fails(answer, "--")
    assert "nowhere" not in answer[2]


def test_data_check_shows_sizes_values_and_shares(say: Say) -> None:
    tiny.draw_folders(Path("set"))
    code, out, err = say("data", "check", "set")
    assert (code, err) == (0, "")
    assert "6 images of 48x64" in out
    assert "mask values 0 (" in out
    assert "train pixels" in out
    assert say("data", "check", "set/images", "set/masks")[0] == 0
    assert say("data", "check", "folders:root=set")[0] == 0


def test_data_check_as_json_prints_nothing_else(say: Say) -> None:
    tiny.draw_folders(Path("set"))
    code, out, _ = say("data", "check", "set", "--json", "-")
    assert code == 0
    assert json.loads(out)["problems"] == []
    say("data", "check", "set", "--json", "found.json")
    assert json.loads(Path("found.json").read_text(encoding="utf-8")) == json.loads(out)
    fails(say("data", "check", "set", "--json", "no/folder.json"), "no/folder.json")


def test_data_check_ends_with_2_where_there_is_a_problem(say: Say) -> None:
    tiny.draw_folders(Path("set"))
    Path("set/images/03.jpg").write_bytes(b"")
    answer = say("data", "check", "set")
    fails(answer, "03.jpg", "empty")
    assert "problem: " in answer[1]


def test_data_show_writes_a_sheet_and_counts_classes(say: Say) -> None:
    tiny.draw_folders(Path("set"))
    code, out, _ = say("data", "show", "set", "--out", "sheet.jpg", "--count", "3")
    assert code == 0
    assert "wrote sheet.jpg" in out
    assert "share" in out
    with Image.open("sheet.jpg") as sheet:
        assert min(sheet.size) > 100
    fails(say("data", "show", "set", "--split", "vall"), "'val'")
    fails(say("data", "show", "set", "--out", "sheet.gif"), "sheet.gif", ".png")
    fails(say("data", "show", "set", "--out", "no/sheet.png"), "there is no folder no")


def test_data_show_shows_crops_as_a_recipe_varies_them(say: Say) -> None:
    tiny.draw_folders(Path("set"))
    Path("r.toml").write_text(
        'data = "folders:root=set"\n[train]\ncrop = 32\nclass_aware = 1.0\n'
        "[augment]\nblur = 1.0\ncopy_blob = 2.0\n",
        encoding="utf-8",
    )
    code, out, err = say("data", "show", "r.toml", "--crops", "--out", "crops.png", "--count", "3")
    assert (code, err) == (0, "")
    assert "256 crops: 256 aimed at a class" in out
    assert "in crops" in out
    with Image.open("crops.png") as sheet:
        assert min(sheet.size) > 100
    answer = say("data", "show", "set", "--crops", "--set", "train.crop=16", "--set", "seed=3")
    assert "256 crops: 0 aimed at a class, 0 objects pasted" in answer[1]
    fails(say("data", "show", "r.toml", "--crops", "--split", "val"), "'val'", "train")
    fails(say("data", "show", "r.toml", "--set", "seed=1"), "--set", "--crops")
    fails(say("data", "show", "r.toml", "--crops", "--set", "train.class_awar=1"), "'class_aware'")


def test_f18_files_of_any_name_are_read_and_shown_escaped(say: Say) -> None:
    pixels = np.full((8, 8, 3), 90, np.uint8)
    mask = np.eye(8, dtype=np.uint8)
    names = ["new\nline", "quo'te\"", "emo\N{PILE OF POO}ji", "n" * 250, "[red]a=1,b=2", "\x1b[31m"]
    for number, name in enumerate([*names, os.fsdecode(b"\xff\xfe")]):
        tiny.save(Path("set/images") / f"{name}.png", pixels + number)
        tiny.save(Path("set/masks") / f"{name}.png", mask)
    code, out, err = say("data", "check", "set")
    assert code == 0, err
    Path("set/images/\x1b[31m.png").write_bytes(b"no image")
    code, out, err = say("data", "check", "set/images", "set/masks")
    assert code == 2
    assert "\x1b" not in out + err
    assert "\\x1b[31m.png" in err
    assert len(err.splitlines()) == 1


def test_models_are_listed_with_what_they_are(say: Say) -> None:
    code, out, _ = say("models")
    assert code == 0
    assert "unet U-Net: a path down and a path up" in " ".join(out.split())


def test_a_model_is_described_with_its_size_reach_and_options(say: Say) -> None:
    code, out, _ = say("models", "fcnn", "--classes", "2")
    assert code == 0
    # 3*16*9+16 + 16*32*9+32 + 32*16*9+16 + 16*2*25+2 weights and biases
    assert f"{448 + 4640 + 4624 + 802:,}" in out
    assert "total stride" in out
    assert "receptive field" in out
    out = say("models", "unet:width=8")[1]
    for word in ("width", "int", "32", "Channels at full resolution", "multiples of 16"):
        assert word in out
    fails(say("models", "unt"), "'unet'")
    fails(say("models", "unet:width=0"), "width=0")


def test_a_classifier_is_described_with_its_trunk_and_the_pictures_it_takes(say: Say) -> None:
    code, out, _ = say("models", "vgg16:width=0.125,norm=batch", "--classes", "10")
    assert code == 0
    words = " ".join(out.split())
    # Of 3x3 windows with biases, an eighth of the channels each, and a scale and a shift for each.
    widths = [3, 8, 8, 16, 16, *[32] * 3, *[64] * 6]
    trunk = sum(9 * a * b + 3 * b for a, b in pairwise(widths))
    assert f"{trunk + 650:,}: trunk {trunk:,}, head 650" in words
    assert "one label to the whole image" in words
    assert "64 maps of 1 x 1 of a picture of 32 x 32" in words
    assert "from 32 x 32 on" in words
    assert "224 x 224 only: set size=224" in " ".join(
        say("models", "timm:network=vit_tiny_patch16_224")[1].split()
    )


def test_runs_of_an_empty_place_are_none(say: Say) -> None:
    assert say("runs") == (0, "no runs in runs yet\n", "")


def test_debug_shows_where_an_error_came_from_wherever_it_stands(say: Say) -> None:
    for arguments in (["--debug", "runs", "nope"], ["runs", "nope", "--debug"]):
        code, _, err = say(*arguments)
        assert code == 2
        assert "Traceback" in err
        assert err.splitlines()[-1].startswith("pixelwright: ")


@pytest.mark.parametrize(
    ("error", "code", "word"),
    [
        (MachineError("The disk is full."), 3, "disk"),
        (MemoryError(), 3, "memory"),
        (
            RuntimeError("[enforce] DefaultCPUAllocator: can't allocate memory: 9 bytes"),
            3,
            "memory",
        ),
        (OSError(28, "No space left on device", "log.jsonl"), 3, "log.jsonl: No space left"),
        (PermissionError(13, "Permission denied", "out"), 2, "out: Permission denied"),
    ],
)
def test_what_the_machine_refuses_is_one_line(
    say: Say, monkeypatch: pytest.MonkeyPatch, error: Exception, code: int, word: str
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr("pixelwright.run.Run.list", fail)
    fails(say("runs"), word, code=code)


def test_a_bug_of_ours_keeps_its_traceback(say: Say, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("pixelwright.run.Run.list", fail)
    with pytest.raises(ZeroDivisionError):
        say("runs")


@pytest.mark.parametrize(
    ("signal", "code"), [(KeyboardInterrupt, 130), (SystemExit(143), 143), (BrokenPipeError, 141)]
)
def test_a_stop_is_silent_and_has_its_exit_code(
    say: Say, monkeypatch: pytest.MonkeyPatch, signal: BaseException, code: int
) -> None:
    def stop(*_: object) -> None:
        raise signal

    monkeypatch.setattr("pixelwright.run.Run.list", stop)
    assert say("runs") == (code, "", "")


def python(
    code: str, *arguments: str, folder: Path, **environment: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *([] if code == "-m" else ["-c"]), code, *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        env={**os.environ, **environment},
    )


HEAVY = "('torch', 'numpy', 'cv2', 'PIL', 'matplotlib', 'pydantic', 'rich.console', 'jaxtyping')"


def test_help_loads_nothing_heavy(tmp_path: Path) -> None:
    code = f"""
import sys
from pixelwright.cli import main
assert main(["--help"]) == 0
print([name for name in {HEAVY} if name in sys.modules], file=sys.stderr)
"""
    assert python(code, folder=tmp_path).stderr == "[]\n"


def test_runs_models_and_data_check_do_not_load_torch(tmp_path: Path) -> None:
    tiny.draw_folders(tmp_path / "set")
    code = """
import sys
from pixelwright.cli import main
assert main(["runs"]) == main(["models"]) == main(["data", "check", "set"]) == 0
assert main(["data", "show", "set"]) == 0
assert main(["train", "set", "--set", "train.lr=0"]) == 2
print([name for name in ("torch", "matplotlib") if name in sys.modules], file=sys.stderr)
"""
    assert python(code, folder=tmp_path).stderr.splitlines()[-1] == "[]"


def test_f43_a_closed_pipe_is_silent(tmp_path: Path) -> None:
    command = f"'{sys.executable}' -m pixelwright models | true; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(
        ["bash", "-c", command], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert done.stderr == ""
    assert done.returncode in (0, 141)


def test_f43_without_streams_home_or_utf8_there_is_no_traceback(tmp_path: Path) -> None:
    bare = {
        "LC_ALL": "C",
        "PYTHONCOERCECLOCALE": "0",
        "PYTHONUTF8": "0",
        "PYTHONIOENCODING": "ascii",
    }
    done = python("-m", "pixelwright", "models", folder=tmp_path, HOME="", **bare)
    assert (done.returncode, done.stderr) == (0, "")
    assert "U-Net" in done.stdout
    command = f"'{sys.executable}' -m pixelwright runs nope >&- 2>&-"
    assert subprocess.run(["bash", "-c", command], check=False, cwd=tmp_path).returncode == 2
