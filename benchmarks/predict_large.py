"""What `predict.py` shows beside its table: equality in float64, and pictures beyond any memory."""

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from predict_material import Endless
from predict_systems import batch_of, network_of

from pixelwright import build, memory
from pixelwright.images import Raster, array_raster
from pixelwright.inference.backends.torch import TorchBackend
from pixelwright.inference.plan import Plan, plan_for
from pixelwright.inference.run import run_part
from pixelwright.inference.views import PLAIN
from pixelwright.jobs.mask_prediction import MaskPredictor, Wanted
from pixelwright.run import Run
from pixelwright.types import Event, Window, silent

SQUARE = 2048
"""Side of the picture that large ones are made of, at most."""

CHECKED = 256
"""Side of the windows that are compared."""


def in_float64(run: Path, picture: Path) -> list[dict[str, Any]]:
    """Every kind of plan beside one pass, both in float64.

    Args:
        run: Of the network.
        picture: In a .npy file.
    """
    image = np.load(picture)
    height, width = image.shape[:2]
    model = build.load_model(Run.open(run), "cpu")
    model.network.double()
    together = build.Together([model], [TorchBackend(model.network)], PLAIN, (), silent)
    with torch.inference_mode():
        logits = model.network(batch_of(image))[0]
    rows = []
    for name, plan in _plans(together, height, width).items():
        differ, most = 0, 0.0
        members = together.members(streaming=plan.band is not None)
        start = time.perf_counter()
        for part in plan.parts():
            for window, (found,) in run_part(part, plan, array_raster(image, 3), members):
                top, left, high, wide = window
                wanted = logits[:, top : top + high, left : left + wide]
                differ += int((found.argmax(0) != wanted.argmax(0)).sum())
                most = max(most, float((found - wanted).abs().max()))
        rows.append(
            {
                "system": f"pixelwright, {name}",
                "seconds": time.perf_counter() - start,
                "plan": str(plan),
                "differ": differ,
                "logits_differ_by": most / float(logits.abs().max()),
            }
        )
    return rows


def _plans(together: "build.Together", height: int, width: int) -> dict[str, Plan]:
    plenty = 2**40
    whole = plan_for(together.costs, height, width, available=plenty, tile=max(height, width) * 2)
    side = max(height // 3, 2 * whole.halo + 8 * whole.align)
    tiles = plan_for(together.costs, height, width, available=plenty, tile=side)
    band = max(2 * whole.align, 32)
    plans = {"tiles": replace(tiles, bytes=0)}
    if together.streams():
        high, wide = whole.padded
        stream = replace(whole, kind="stream", rows=high, columns=wide, band=band, bytes=0)
        plans["bands"] = stream
        plans["bands in strips"] = replace(stream, columns=tiles.columns)
        plans["bands in parts"] = replace(stream, columns=tiles.columns, rows=tiles.rows)
    return plans


def large(run: Path, square: Path, size: tuple[int, int], budget: str, out: Path) -> dict[str, Any]:
    """Predict a picture that is made as it is read, and write the results, as the command does.

    Args:
        run: Of the network.
        square: The picture that it is made of.
        size: Height and width.
        budget: What `--memory` would be.
        out: Where results are written.
    """
    memory.huge_pages()
    opened = Run.open(run)
    told: list[Event] = []
    wanted = Wanted(out=out, budget=memory.parse(budget))
    job = MaskPredictor([build.load_model(opened, "cpu")], [opened], wanted, told.append)
    start = time.perf_counter()
    done = job.one(Raster(endless(square, size), 3), "picture")
    seconds = time.perf_counter() - start
    pixels = size[0] * size[1]
    return {
        "seconds": seconds,
        "throughput": pixels / seconds / 1e6,
        "peak_mb": memory.peak() / 1e6,
        "budget_mb": memory.parse(budget) / 1e6,
        "plan": str(done.plan),
    }


def endless(square: Path, size: tuple[int, int]) -> Endless:
    return Endless(np.ascontiguousarray(np.load(square)[:SQUARE, :SQUARE]), *size)


def check(
    run: Path, square: Path, size: tuple[int, int], labels: Path, decided: float, windows: int
) -> Any:
    """Windows of a written result beside the network on just their surroundings, in float64.

    Returns:
        Pixels that were compared, that differ, and of those whose two best logits lie further
        apart than `decided`.
    """
    from PIL import Image

    Image.MAX_IMAGE_PIXELS = None
    with Image.open(labels) as file:
        found = np.asarray(file)
    assert found.shape == size
    opened = Run.open(run)
    field = build.load_model(opened, "cpu").field
    network = network_of(run).double()
    raster = Raster(endless(square, size), 3)
    context = -(-field.radius // 64) * 64
    compared = differ = beyond = 0
    for top, left in _places(size, windows):
        around = _around(top, left, context, size)
        with torch.inference_mode():
            best, classes = network(batch_of(raster.read(around)))[0].topk(2, dim=0)
        inner = (
            slice(top - around.top, top - around.top + CHECKED),
            slice(left - around.left, left - around.left + CHECKED),
        )
        apart = ((best[0] - best[1]) / best.abs().amax(0))[inner].numpy()
        wrong = classes[0][inner].numpy() != found[top : top + CHECKED, left : left + CHECKED]
        compared += wrong.size
        differ += int(wrong.sum())
        beyond += int((apart[wrong] > decided).sum())
    return {"compared": compared, "differ": differ, "decided": beyond}


def _places(size: tuple[int, int], windows: int) -> list[tuple[int, int]]:
    """The corners, and others by chance."""
    bottom, right = size[0] - CHECKED, size[1] - CHECKED
    rng = np.random.default_rng(0)
    tops = rng.integers(0, bottom, windows - 4).tolist()
    lefts = rng.integers(0, right, windows - 4).tolist()
    corners = [(0, 0), (0, right), (bottom, 0), (bottom, right)]
    return [*corners, *zip(tops, lefts, strict=True)]


def _around(top: int, left: int, context: int, size: tuple[int, int]) -> Window:
    """A window with what the network sees around it, from even places on, inside the picture."""
    above, before = (max(at - context, 0) // 64 * 64 for at in (top, left))
    below = min(-(-(top + CHECKED + context) // 64) * 64, size[0])
    behind = min(-(-(left + CHECKED + context) // 64) * 64, size[1])
    return Window(above, before, below - above, behind - before)
