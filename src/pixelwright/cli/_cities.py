"""Which cities of Cityscapes make which split of the patches. Loaded only once a command runs."""

from collections.abc import Mapping

from pixelwright.data.index import layouts
from pixelwright.errors import RecipeError
from pixelwright.registry import Spec


def with_cities(
    spec: Spec, given: Mapping[str, str | None], usual: Mapping[str, str]
) -> tuple[Spec, tuple[str, ...]]:
    """The layout with the cities of each split, and the cities of `train_small`.

    A city that is given to one split is taken out of the defaults of the others.
    """
    chosen = {split: _names(text) for split, text in given.items() if text is not None}
    if spec.name != "cityscapes":
        if chosen:
            option = f"--{next(iter(chosen))}-cities"
            raise RecipeError(f"{option} is for the layout cityscapes; {spec.name} has no cities.")
        return spec, ()
    spec = layouts.resolve(spec)
    for split in ("train", "val", "test"):
        chosen.setdefault(split, spec.options.get(f"{split}_cities", ()))
    taken = {city for split in ("train", "val", "test") for city in chosen[split]}
    for split in ("train", "val", "test"):
        free = tuple(city for city in _names(usual[split]) if city not in taken)
        spec = spec.with_option(f"{split}_cities", chosen[split] or free)
    train = spec.options["train_cities"]
    small = tuple(city for city in _names(usual["small"]) if city in train)
    return spec, chosen.get("small", small or train[:1])


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())
