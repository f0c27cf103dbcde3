"""The promise of --memory: a process that predicts never holds more than it was given."""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import tiny
from pixelwright import jobs, memory
from pixelwright.recipe import Recipe
from pixelwright.types import silent

CHILD = """
import json, re, sys
from pathlib import Path
from pixelwright import jobs, memory
from pixelwright.errors import PredictError
from pixelwright.types import silent

run, folder, out, *more = sys.argv[1:]
pictures = sorted(Path(folder).glob("large*"))

def predict(budget):
    memory.forget_peak()
    done = jobs.predict(run, pictures, out=out, memory=budget, overwrite=True, on_event=silent)
    return {"budget": budget, "peak": memory.peak(), "plan": str(done[0].plan)}

try:
    predict(1)
except PredictError as error:
    least = memory.parse(re.search(r"Give --memory (\\w+)", str(error))[1])
print(json.dumps([predict(least + 10**6 * int(one)) for one in more]))
"""

ABOVE_LEAST = (30, 70, 130, 260)
"""Megabytes: for tiles, for narrow streams, and for wide ones."""


def trained(folder: Path, model: str) -> Path:
    settings = {"epochs": 1, "batch_size": 2, "crop": 32, "lr": 0.01}
    recipe = {"data": tiny.draw_folders(folder / "data"), "model": model, "train": settings}
    made = Recipe.from_dict(recipe | {"precision": "float32"})
    return jobs.train(made, out=folder / "run", on_event=silent).path


def drawn(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def peaks(run: Path, folder: Path, above_least: Sequence[int] = ABOVE_LEAST) -> list[dict]:
    command = [sys.executable, "-c", CHILD, run, folder, folder / "out", *above_least]
    said = subprocess.run([str(part) for part in command], stdout=subprocess.PIPE, check=True)
    found: list[dict] = json.loads(said.stdout)
    return found


@pytest.mark.slow
@pytest.mark.skipif(not memory.resident() or sys.platform != "linux", reason="needs /proc")
@pytest.mark.parametrize("model", ["fcnn"])
def test_f69_a_process_holds_no_more_than_it_was_given(model: str, tmp_path: Path) -> None:
    np.save(tmp_path / "large.npy", drawn(2400, 1800))
    found = peaks(trained(tmp_path, model), tmp_path)
    assert len({one["plan"].partition(",")[0] for one in found}) > 1, found
    for one in found:
        assert one["peak"] <= one["budget"], found


@pytest.mark.slow
@pytest.mark.skipif(not memory.resident() or sys.platform != "linux", reason="needs /proc")
def test_f69_nor_where_several_pictures_are_decoded_one_after_the_other(tmp_path: Path) -> None:
    for number in range(2):
        Image.fromarray(drawn(2400, 1800)).save(tmp_path / f"large{number}.png", compress_level=0)
    [found] = peaks(trained(tmp_path, "fcnn"), tmp_path, [130])
    assert found["peak"] <= found["budget"], found
