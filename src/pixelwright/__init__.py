"""Pictures into labels: train, evaluate and run networks that classify pixels.

    import pixelwright as pw

    run = pw.train("recipe.toml")
    scores = pw.evaluate(run, split="val")
    prediction = pw.predict(run, "photo.jpg")

Everything is found on first use, so that importing this is instant.
"""

import os
from typing import TYPE_CHECKING

from pixelwright.lazy import on_first_use

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


def share_cores() -> None:
    """Let GNU OpenMP's threads, which torch computes with, spin only briefly while they wait.

    Where other work shares the cores, threads that spin hold each other up, and a step takes
    several times as long. It must be said before torch is loaded; whoever set it is obeyed.
    """
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")


__getattr__, __dir__ = on_first_use(
    __name__,
    {
        "train": "jobs",
        "evaluate": "jobs",
        "explain": "jobs",
        "export": "jobs",
        "find_lr": "jobs",
        "predict": "jobs",
        "report": "jobs",
        "compare": "study.job",
        "tune": "study.tuning",
        "Recipe": "recipe",
        "Run": "run",
    },
    before=share_cores,
)
