"""Whole jobs, as the user names them: train, evaluate, predict, report, find_lr, track, export.

    run = train("recipe.toml")
    scores = evaluate(run, split="val")
    predictions = predict(run, "photo.jpg", out="out/")

`training` writes log and checkpoints; everything else in a run folder is written here. Each job is
found on first use, so that prediction does not load what only training or reports need.
"""

from typing import TYPE_CHECKING

from pixelwright.lazy import on_first_use

if TYPE_CHECKING:
    from pixelwright.jobs.evaluation import evaluate
    from pixelwright.jobs.explanation import Explanation, explain
    from pixelwright.jobs.exporting import Exported, export
    from pixelwright.jobs.label_prediction import TABLE, LabelPrediction
    from pixelwright.jobs.learning_rate import RateFinding, find_lr
    from pixelwright.jobs.masks import Prediction
    from pixelwright.jobs.mirror import track
    from pixelwright.jobs.prediction import predict
    from pixelwright.jobs.show import report
    from pixelwright.jobs.training import train
    from pixelwright.jobs.unread import FAILED, UnreadError

__all__ = [
    "FAILED",
    "TABLE",
    "Explanation",
    "Exported",
    "LabelPrediction",
    "Prediction",
    "RateFinding",
    "UnreadError",
    "evaluate",
    "explain",
    "export",
    "find_lr",
    "predict",
    "report",
    "track",
    "train",
]

__getattr__, __dir__ = on_first_use(
    __name__,
    {
        "Explanation": "explanation",
        "FAILED": "unread",
        "Exported": "exporting",
        "LabelPrediction": "label_prediction",
        "Prediction": "masks",
        "RateFinding": "learning_rate",
        "TABLE": "label_prediction",
        "UnreadError": "unread",
        "evaluate": "evaluation",
        "explain": "explanation",
        "export": "exporting",
        "find_lr": "learning_rate",
        "predict": "prediction",
        "report": "show",
        "track": "mirror",
        "train": "training",
    },
)
