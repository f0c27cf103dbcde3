"""Values of a recipe as text: as TOML has them, and as `name:key=value`."""

import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pixelwright.errors import RecipeError
from pixelwright.registry import Spec


def read_table(path: str | Path) -> dict[str, Any]:
    """A TOML file as a table.

    Raises:
        RecipeError: There is none, or it is not TOML.
    """
    try:
        return tomllib.loads(Path(path).read_text(encoding="utf-8", errors="surrogateescape"))
    except FileNotFoundError:
        raise RecipeError(f"There is no recipe at {path}.") from None
    except OSError as error:
        raise RecipeError(f"The recipe {path} cannot be read: {error}.") from None
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(f"The recipe {path} is not valid TOML: {error}.") from None


def setting(key: str, value: object) -> str:
    """`key=value` as `Recipe.override` takes it, from a value as TOML has it.

    Raises:
        RecipeError: A table that cannot be written as `name:key=value`.
    """
    head, _, option = key.partition(".")
    if isinstance(value, Mapping):
        spec = as_spec(value)
        if not round_trips(spec, str(spec)):
            raise RecipeError(f"{key} = {dict(value)} cannot be written as name:key=value.")
        return f"{key}={spec}"
    if isinstance(value, str):
        return f"{key}={value}"
    of_spec = option and (head in ("model", "data") or "." in option)
    if of_spec and isinstance(value, (list, tuple)):
        return f"{key}={','.join(map(str, value))}"
    return f"{key}={toml(value)}"


def plain(value: object) -> object:
    if isinstance(value, Spec):
        text = str(value)
        options = {k: plain(v) for k, v in value.options.items()}
        # An option whose text cannot be told from two options is written as a table.
        return (
            text
            if str(Spec.parse(text)) == text and round_trips(value, text)
            else {
                "name": value.name,
                **options,
            }
        )
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, tuple):
        return [plain(v) for v in value]
    return value


def round_trips(spec: Spec, text: str) -> bool:
    return list(Spec.parse(text).options) == list(spec.options)


def toml(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(toml(v) for v in value) + "]"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{toml(k)} = {toml(v)}" for k, v in value.items()) + "}"
    return repr(value)


def as_spec(value: object) -> Spec:
    if isinstance(value, str):
        return Spec.parse(value)
    if isinstance(value, Mapping):
        return Spec(str(value["name"]), {k: v for k, v in value.items() if k != "name"})
    assert isinstance(value, Spec)
    return value


def value_of(text: str) -> object:
    """A number, a switch or a list as TOML has them; anything else is text."""
    try:
        return tomllib.loads(f"x = {text}")["x"]
    except tomllib.TOMLDecodeError:
        return None if text.lower() == "none" else text
