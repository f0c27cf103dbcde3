"""Networks that `torch.compile` fuses learn as others do, and go on as others do."""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

import pytest
import torch
from torch import nn

import tiny
from pixelwright.errors import RecipeError
from pixelwright.nn.compiled import Compiled
from pixelwright.recipe import Recipe

needs_compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="needs a C++ compiler")


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 2, 1))


@pytest.mark.slow
@needs_compiler
def test_a_compiled_network_gives_its_logits_and_gradients() -> None:
    plain, model = network(), network()
    seen: list[torch.Size] = []
    compiled = Compiled(model, "train.compile")
    compiled.register_forward_pre_hook(lambda module, given: seen.append(given[0].shape))
    images = torch.rand(2, 3, 8, 8)
    for subject in (plain, compiled):
        (subject(images) ** 2).sum().backward()
    assert torch.allclose(compiled(images), plain(images), atol=1e-5)
    assert seen == [images.shape] * 2
    for own, other in zip(model.parameters(), plain.parameters(), strict=True):
        assert own.grad is not None
        assert other.grad is not None
        assert torch.allclose(own.grad, other.grad, atol=1e-4)
    assert model.state_dict().keys() == plain.state_dict().keys()


STOPPED_AND_RESUMED = """
import sys
from pathlib import Path

import torch
from torch._dynamo.utils import counters

from pixelwright import jobs
from pixelwright.recipe import Recipe
from pixelwright.training.checkpoint import load
from pixelwright.types import silent
from pixelwright.types import silent


def stop(event):
    if event.kind == "step" and event.data["step"] == 3:
        raise KeyboardInterrupt


folder = Path(sys.argv[1])
recipe = Recipe.read(folder / "recipe.toml")
straight = jobs.train(recipe, out=folder / "straight", on_event=silent)
try:
    jobs.train(recipe, out=folder / "stopped", on_event=stop)
except KeyboardInterrupt:
    resumed = jobs.train(folder / "stopped", resume=True, on_event=silent)
one, other = (load(run.model_file)[0] for run in (straight, resumed))
assert one.keys() == other.keys()
assert all(torch.equal(one[name], other[name]) for name in one)
assert resumed.log()[-1]["largest_input"] == [1, 48, 64]
assert counters["stats"]["unique_graphs"] > 0  # something was compiled
print("equal")
"""
"""Shapes are checked by pytest's process as it calls functions, which nothing compiled bears."""


@pytest.mark.slow
@needs_compiler
@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def test_f57_a_compiled_training_goes_on_bit_for_bit(tmp_path: Path, device: str) -> None:
    recipe = Recipe.from_dict(
        {
            "data": tiny.draw_folders(tmp_path / "data"),
            "model": "unet:width=4,depth=1,dropout=0.2",
            "device": device,
            "precision": "float32",
            "train": {"steps": 6, "batch_size": 2, "crop": 32, "compile": True, "ema": 0.9},
        }
    )
    (tmp_path / "recipe.toml").write_text(recipe.to_toml())
    command = [sys.executable, "-c", STOPPED_AND_RESUMED, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout.endswith("equal\n"), done.stderr


def test_a_machine_that_cannot_compile_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*given: object) -> NoReturn:
        raise RuntimeError("torch.compile is not supported on this system.\nMore.")

    monkeypatch.setattr(torch, "compile", refuse)
    with pytest.raises(RecipeError, match=r"not supported on this system\. Leave train\.compile"):
        Compiled(network(), "train.compile")


def test_a_compiler_that_fails_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    from torch._dynamo.exc import TorchDynamoException

    def fails(images: object) -> NoReturn:
        raise TorchDynamoException("InvalidCxxCompiler: No working C++ compiler found")

    monkeypatch.setattr(torch, "compile", lambda forward: fails)
    with pytest.raises(RecipeError, match=r"No working C\+\+ compiler found. Leave --compile out"):
        Compiled(network(), "--compile")(torch.rand(1, 3, 8, 8))
