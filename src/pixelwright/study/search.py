"""What Optuna does for a tuning: it proposes, it remembers, it says what is not worth finishing.

Trials lie in `optuna.db` of the tuning's folder, so that a search goes on where it was killed. What
is proposed depends on the seed, the number of the trial and the trials before, not on the sitting.
"""

import importlib
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from pixelwright.errors import RecipeError
from pixelwright.run import Run
from pixelwright.study.ranges import Choices, Range, Tuning, Value

RUNGS = 10
"""Trials are compared at tenths of their training, whatever their steps and validations are."""

_FEWEST = 6
"""Finished trials before anything is said of what mattered."""

State = Literal["finished", "pruned", "failed", "stopped"]


@dataclass(frozen=True)
class Trial:
    """One training of a search.

    Args:
        number: From 0.
        state: "stopped" goes on in the next call.
        values: Of what is tuned.
        score: On the validation split: of the kept model where it is finished, else the best that
            was seen; None where nothing was.
        why: It failed.
        seconds: That its training took.
        curve: The best score so far at tenths of the training.
        run: Its folder, whether or not there is one.
    """

    number: int
    state: State
    values: Mapping[str, Value]
    score: float | None
    why: str
    seconds: float
    curve: Mapping[int, float]
    run: Run

    @property
    def name(self) -> str:
        return self.run.name


def require_optuna() -> Any:
    """The package.

    Raises:
        RecipeError: It is not installed.
    """
    try:
        return importlib.import_module("optuna")
    except ImportError:
        raise RecipeError(
            "Tuning needs Optuna. Install it with 'pip install pixelwright[tune]'."
        ) from None


class Search:
    """The trials of a tuning.

    Args:
        tuning: What is searched.
        folder: Where they are remembered.
    """

    def __init__(self, tuning: Tuning, folder: Path) -> None:
        optuna = self._optuna = require_optuna()
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._tuning = tuning
        self._folder = folder
        address = importlib.import_module("sqlalchemy").URL.create(
            "sqlite", database=str((folder / "optuna.db").absolute())
        )
        self._study = optuna.create_study(
            study_name="tune",
            storage=address.render_as_string(),
            direction="maximize",
            pruner=_pruner(optuna, tuning),
            load_if_exists=True,
        )

    def next(self) -> Any:
        """The trial that was stopped, else a new one; the first is the recipe as it stands."""
        for kept in self._study.trials:
            if kept.state is self._optuna.trial.TrialState.RUNNING:
                return self._optuna.trial.Trial(self._study, kept._trial_id)
        number = len(self._study.trials)
        first = self._tuning.as_it_stands()
        if not number and first:
            self._study.enqueue_trial(first)
        # A seed of its own for each, or a search that goes on would propose its first trials again.
        seed = int(np.random.SeedSequence([self._tuning.head.seed, number]).generate_state(1)[0])
        self._study.sampler = self._optuna.samplers.TPESampler(
            seed=seed, n_startup_trials=self._tuning.head.startup
        )
        ranges = {one.key: _distribution(self._optuna, one) for one in self._tuning.ranges}
        return self._study.ask(ranges)

    def told(self, trial: Any) -> Trial:
        """What is remembered of a trial."""
        return self.trials()[int(trial.number)]

    def finish(self, trial: Any, score: float) -> None:
        self._study.tell(trial.number, score)

    def prune(self, trial: Any) -> None:
        self._study.tell(trial.number, state=self._optuna.trial.TrialState.PRUNED)

    def fail(self, trial: Any, why: str) -> None:
        trial.set_user_attr("why", why)
        self._study.tell(trial.number, state=self._optuna.trial.TrialState.FAIL)

    def trials(self) -> list[Trial]:
        """All so far, in the order of their numbers."""
        return [self._read(kept) for kept in self._study.trials]

    def importance(self) -> dict[str, float]:
        """How much of the difference between good and bad trials each range explains, most first.

        Empty where too few trials are finished. Shares add up to 1.

        Paper: Watanabe et al., 2023, https://arxiv.org/abs/2304.10255
        """
        importance = importlib.import_module("optuna.importance")
        if len([t for t in self.trials() if t.state == "finished"]) < _FEWEST:
            return {}
        with warnings.catch_warnings():
            # Experimental in the oldest Optuna that is supported.
            warnings.simplefilter("ignore")
            try:
                found = importance.get_param_importances(
                    self._study, evaluator=importance.PedAnovaImportanceEvaluator()
                )
            except (RuntimeError, ValueError):
                return {}
        return {key: float(value) for key, value in found.items()}

    def _read(self, kept: Any) -> Trial:
        states = self._optuna.trial.TrialState
        state: State = {
            states.COMPLETE: "finished",
            states.PRUNED: "pruned",
            states.FAIL: "failed",
        }.get(kept.state, "stopped")  # type: ignore[assignment]
        curve = {int(rung): float(score) for rung, score in kept.intermediate_values.items()}
        score = kept.value if state == "finished" else max(curve.values(), default=None)
        return Trial(
            number=kept.number,
            state=state,
            values=dict(kept.params),
            score=score,
            why=str(kept.user_attrs.get("why", "")),
            seconds=float(kept.user_attrs.get("seconds", 0.0)),
            curve=curve,
            run=Run(self._folder / f"trial-{kept.number}"),
        )


def _distribution(optuna: Any, one: Range) -> Any:
    kinds = optuna.distributions
    if isinstance(one, Choices):
        return kinds.CategoricalDistribution(one.texts)
    if one.whole:
        return kinds.IntDistribution(int(one.low), int(one.high), one.log, int(one.step or 1))
    return kinds.FloatDistribution(one.low, one.high, one.log, one.step)


def _pruner(optuna: Any, tuning: Tuning) -> Any:
    if tuning.head.pruning == "median":
        # Not before there is something to compare with, nor in the first fifth of a training.
        return optuna.pruners.MedianPruner(n_startup_trials=4, n_warmup_steps=RUNGS // 5)
    if tuning.head.pruning == "hyperband":
        return optuna.pruners.HyperbandPruner(min_resource=1, max_resource=RUNGS)
    return optuna.pruners.NopPruner()
