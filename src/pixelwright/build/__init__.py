"""The composition root: recipe -> what a training needs; run -> what a prediction needs.

built = build.training(recipe)          # data, model, loss, optimiser, validation
model = build.load_model(run)           # the kept model, its classes and its predictor
predictor = model.predictor(tile=256)
"""

from pixelwright.build.assembly import OVERFIT_GOAL, Training, loss_terms, training
from pixelwright.build.label_scoring import LabelScorer
from pixelwright.build.model import Model, describe, load_members, load_model, network
from pixelwright.build.planning import Together
from pixelwright.build.scoring import Scorer

__all__ = [
    "OVERFIT_GOAL",
    "LabelScorer",
    "Model",
    "Scorer",
    "Together",
    "Training",
    "describe",
    "load_members",
    "load_model",
    "loss_terms",
    "network",
    "training",
]
