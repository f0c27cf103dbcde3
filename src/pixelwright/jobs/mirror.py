"""Show a run in TensorBoard or W&B: while it trains, or afterwards."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pixelwright.errors import RecipeError
from pixelwright.recipe import Recipe
from pixelwright.registry import Spec
from pixelwright.run import Run
from pixelwright.track import Mirror, Opener, trackers
from pixelwright.types import Event, OnEvent


def openers(run: Run, recipe: Recipe) -> dict[str, Opener]:
    """What opens the trackers of a recipe.

    Raises:
        RecipeError: One is not installed, or is named twice.
    """
    names = [spec.name for spec in recipe.track]
    if len(set(names)) < len(names):
        raise RecipeError(f"track = {names} names a tracker twice. Name each once.")
    settings = recipe.to_dict()
    return {spec.name: trackers.build(spec, run=run, settings=settings) for spec in recipe.track}


@contextmanager
def mirrored(run: Run, opened: dict[str, Opener], on_event: OnEvent) -> Iterator[OnEvent]:
    """Within, what is told to `on_event` brings the trackers up to date with the log.

    They are opened when training starts: what fails before leaves nothing of theirs in the folder.
    """
    mirror: Mirror | None = None

    def both(event: Event) -> None:
        nonlocal mirror
        on_event(event)
        if event.kind == "start" and opened:
            mirror = Mirror(run, opened)
        if mirror and event.kind in ("start", "epoch"):
            mirror.catch_up()

    try:
        yield both
    finally:
        if mirror:
            mirror.close()


def track(run: Run | str | Path, tools: Iterable[str | Spec]) -> None:
    """Show a run in trackers, from its log and its pictures.

    Args:
        run: The run, or its folder.
        tools: Such as "tensorboard" or "wandb:project=roads"; what they showed of it is replaced.

    Raises:
        CheckpointError: There is no run.
        RecipeError: A tracker is not known or not installed.
    """
    run = Run.open(run)
    recipe = Recipe.read(run.recipe_file).model_copy(
        update={"track": tuple(Spec.parse(t) if isinstance(t, str) else t for t in tools)}
    )
    Mirror(run, openers(run, recipe)).close()
