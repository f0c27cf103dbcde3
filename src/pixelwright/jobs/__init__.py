"""Whole jobs, as the user names them: train, evaluate, predict, report, find_lr, track, export.

    run = train("recipe.toml")
    scores = evaluate(run, split="val")
    predictions = predict(run, "photo.jpg", out="out/")

`training` writes log and checkpoints; everything else in a run folder is written here.
"""

from pixelwright.jobs.evaluation import evaluate
from pixelwright.jobs.explanation import Explanation, explain
from pixelwright.jobs.exporting import Exported, export
from pixelwright.jobs.label_prediction import TABLE, LabelPrediction
from pixelwright.jobs.learning_rate import RateFinding, find_lr
from pixelwright.jobs.mask_prediction import Prediction
from pixelwright.jobs.mirror import track
from pixelwright.jobs.prediction import predict
from pixelwright.jobs.show import report
from pixelwright.jobs.training import train

__all__ = [
    "TABLE",
    "Explanation",
    "Exported",
    "LabelPrediction",
    "Prediction",
    "RateFinding",
    "evaluate",
    "explain",
    "export",
    "find_lr",
    "predict",
    "report",
    "track",
    "train",
]
