"""Find a learning rate for a recipe by trying a hundred, each for one step."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from pixelwright import build
from pixelwright.errors import DataError, RecipeError
from pixelwright.files import write_text
from pixelwright.jobs.watch import watched
from pixelwright.recipe import Recipe
from pixelwright.reporting import lr_figure
from pixelwright.training import lr_range
from pixelwright.training.lr_range import Suggestion, Sweep
from pixelwright.types import Event, OnEvent


@dataclass(frozen=True)
class RateFinding:
    """What was found.

    Args:
        sweep: Rates and losses.
        suggestion: Which rate to take.
        files: What was written, if anything.
    """

    sweep: Sweep
    suggestion: Suggestion
    files: tuple[Path, ...] = ()

    @property
    def rate(self) -> float | None:
        return self.suggestion.rate


def find_lr(
    source: Recipe | str | Path,
    *,
    low: float = 1e-6,
    high: float = 10.0,
    steps: int = 100,
    out: str | Path | None = None,
    on_event: OnEvent | None = None,
) -> RateFinding:
    """Try rising learning rates on a recipe's own batches, and suggest one for `train.lr`.

    The model, the loss, the optimiser and the batches are those that training would begin with. No
    weights are kept.

    Args:
        source: A recipe or its file.
        low: The first rate.
        high: The last rate.
        steps: How many rates.
        out: Where to draw the losses, a .png; the numbers go into a .json beside it. Nothing is
            written without.
        on_event: Told the progress; None draws it, in a terminal and a notebook alike.

    Raises:
        RecipeError, DataError: The recipe, its data or the rates cannot be used as they are.
    """
    if not 0 < low < high or steps < 10:
        raise RecipeError(
            f"Rates from {low:g} to {high:g} in {steps} steps cannot be tried: give a positive "
            f"low, a higher high and at least 10 steps."
        )
    picture = None if out is None else Path(out)
    if picture and picture.suffix.lower() != ".png":
        raise DataError(f"{picture} is not .png. Give --out this suffix.")
    if picture and not picture.parent.is_dir():
        raise DataError(f"{picture} cannot be written: there is no folder {picture.parent}.")
    recipe = source if isinstance(source, Recipe) else Recipe.read(source)
    with watched(on_event) as tell:
        built = build.training(recipe)
        if built.note:
            tell(Event("note", {"text": built.note}))
        found = lr_range.sweep(
            built.trainee,
            built.loader.batches,
            low=low,
            high=high,
            steps=steps,
            accumulate=built.accumulate,
            clip=recipe.train.clip,
            on_event=tell,
        )
    suggestion = lr_range.suggest(found.rates, found.losses)
    if picture is None:
        return RateFinding(found, suggestion)
    curve = lr_range.smooth(found.losses, lr_range.window(len(found.losses))).tolist()
    lr_figure.write(picture, found.rates, found.losses, curve, asdict(suggestion))
    numbers = picture.with_suffix(".json")
    table = {
        "recipe": recipe.to_dict(),
        **asdict(suggestion),
        "why": found.why,
        "rates": found.rates,
        "losses": found.losses,
    }
    write_text(numbers, json.dumps(table, indent=1, default=str) + "\n")
    return RateFinding(found, suggestion, (picture, numbers))
