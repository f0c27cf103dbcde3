"""The composition root: recipe -> what a training needs; run -> what a prediction needs.

built = build.training(recipe)          # data, model, loss, optimiser, validation
model = build.load_model(run)           # the kept model, its classes and its predictor
predictor = model.predictor(tile=256)
"""

import importlib
from typing import TYPE_CHECKING, Any

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

_HOMES = {
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
}
"""Found on first use, so that a prediction does not load what only a training needs."""


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
