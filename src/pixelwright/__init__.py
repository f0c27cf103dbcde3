"""Pictures into labels: train, evaluate and run networks that classify pixels.

    import pixelwright as pw

    run = pw.train("recipe.toml")
    scores = pw.evaluate(run, split="val")
    prediction = pw.predict(run, "photo.jpg")

Everything is found on first use, so that importing this is instant.
"""

import importlib
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pixelwright.jobs import evaluate, explain, export, find_lr, predict, report, train
    from pixelwright.recipe import Recipe
    from pixelwright.run import Run
    from pixelwright.study.job import compare
    from pixelwright.study.tuning import tune

__version__ = "0.1.0"
__all__ = [
    "Recipe",
    "Run",
    "compare",
    "evaluate",
    "explain",
    "export",
    "find_lr",
    "predict",
    "report",
    "train",
    "tune",
]

_HOMES = {
    "train": "pixelwright.jobs",
    "evaluate": "pixelwright.jobs",
    "explain": "pixelwright.jobs",
    "export": "pixelwright.jobs",
    "find_lr": "pixelwright.jobs",
    "predict": "pixelwright.jobs",
    "report": "pixelwright.jobs",
    "compare": "pixelwright.study.job",
    "tune": "pixelwright.study.tuning",
    "Recipe": "pixelwright.recipe",
    "Run": "pixelwright.run",
}


def share_cores() -> None:
    """Let GNU OpenMP's threads, which torch computes with, spin only briefly while they wait.

    Where other work shares the cores, threads that spin hold each other up, and a step takes
    several times as long. It must be said before torch is loaded; whoever set it is obeyed.
    """
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'pixelwright' has no attribute '{name}'")
    share_cores()
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
