"""The composition root: recipe -> what a training needs; run -> what a prediction needs.

built = build.training(recipe)          # data, model, loss, optimiser, validation
model = build.load_model(run)           # the kept model, its classes and its predictor
predictor = model.predictor(tile=256)
"""

from typing import TYPE_CHECKING

from pixelwright.lazy import on_first_use

if TYPE_CHECKING:
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

# So that a prediction does not load what only a training needs.
__getattr__, __dir__ = on_first_use(
    __name__,
    {
        "LabelScorer": "label_scoring",
        "Model": "model",
        "OVERFIT_GOAL": "assembly",
        "Scorer": "scoring",
        "Together": "planning",
        "Training": "assembly",
        "describe": "model",
        "load_members": "model",
        "load_model": "model",
        "loss_terms": "assembly",
        "network": "model",
        "training": "assembly",
    },
)
