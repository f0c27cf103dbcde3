"""Build by name: "unet:width=32,upsample=bilinear" names a builder and its options.

A builder is a function. Its keyword-only parameters are the user's options, so its signature is the
schema; its positional parameters are handed over by the program. Names are file names with dashes,
so listing them imports nothing:

    models = Registry("model", "pixelwright.models")
    list(models)                                       # ["fcn", "fcnn", "unet"]
    models.problems(Spec.parse("unet:widht=8"))        # ["model unet has no option 'widht'..."]
    models.build(Spec.parse("unet:width=8"), classes=2, channels=3)
"""

import importlib
import inspect
import pkgutil
import re
import types
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from pydantic import ConfigDict, TypeAdapter, ValidationError

from pixelwright.errors import RecipeError, unknown

# A comma starts the next option only where `key=` follows, so that values may hold commas.
_NEXT_OPTION = re.compile(r",(?=[a-zA-Z_][a-zA-Z0-9_.]*=)")
_WEIGHT = re.compile(r"^\s*([0-9.]+(?:[eE][+-]?[0-9]+)?)\s*\*\s*")


@dataclass(frozen=True)
class Spec:
    """A builder's name and options, as a user wrote them."""

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def parse(cls, text: str) -> "Spec":
        """Read `name:key=value,key=value`.

        Raises:
            RecipeError: An option without `=`, or the same option twice.
        """
        name, _, rest = text.strip().partition(":")
        options: dict[str, Any] = {}
        for part in _NEXT_OPTION.split(rest) if rest else []:
            key, equals, value = part.partition("=")
            if not equals or not name:
                raise RecipeError(
                    f"'{text}' cannot be read at '{part}'. Write name:key=value,key=value."
                )
            if key in options:
                raise RecipeError(f"'{text}' gives the option '{key}' twice.")
            options[key] = value
        return cls(name, options)

    def __str__(self) -> str:
        options = ",".join(f"{key}={_as_text(value)}" for key, value in self.options.items())
        return f"{self.name}:{options}" if options else self.name

    def with_option(self, key: str, value: object) -> "Spec":
        return Spec(self.name, {**self.options, key: value})

    def without(self, key: str) -> "Spec":
        return Spec(self.name, {k: v for k, v in self.options.items() if k != key})


def parse_sum(text: str) -> list[tuple[float, Spec]]:
    """Read a weighted sum such as `cross-entropy + 0.5*dice:smooth=1`."""
    terms = []
    for part in re.split(r"\s\+\s", text.strip()):
        weight = _WEIGHT.match(part)
        factor = float(weight.group(1)) if weight else 1.0
        terms.append((factor, Spec.parse(part[weight.end() :] if weight else part)))
    return terms


@dataclass(frozen=True, slots=True)
class Option:
    """One keyword-only parameter of a builder, or one that all builders of a kind share."""

    name: str
    annotation: Any
    default: Any
    required: bool
    meaning: str = ""


class Registry:
    """The builders of one kind.

    Args:
        noun: What one of them is called in messages: "model", "loss", "layout".
        package: The package whose modules each hold the builder of their own name, or, with
            `names`, the module that holds all of them.
        names: The builders of a single module.
        shared: Options that every spec may have and no builder is handed: who calls `build` acts
            on them.
    """

    def __init__(
        self,
        noun: str,
        package: str,
        names: tuple[str, ...] | None = None,
        shared: tuple[Option, ...] = (),
    ) -> None:
        self.noun = noun
        self._package = package
        self._names = names
        self._shared = {option.name: option for option in shared}

    def __iter__(self) -> Iterator[str]:
        if self._names is not None:
            return iter(self._names)
        package = importlib.import_module(self._package)
        modules = pkgutil.iter_modules(package.__path__)
        return iter(sorted(m.name.replace("_", "-") for m in modules if m.name[0] != "_"))

    def __contains__(self, name: object) -> bool:
        return name in set(self)

    def builder(self, name: str) -> Callable[..., Any]:
        """The function behind a name.

        Raises:
            RecipeError: No builder has this name.
        """
        if name not in self:
            raise RecipeError(unknown(self.noun, name, self))
        attribute = name.replace("-", "_")
        module = self._package if self._names else f"{self._package}.{attribute}"
        found: Callable[..., Any] = getattr(importlib.import_module(module), attribute)
        return found

    def options(self, name: str) -> dict[str, Option]:
        """The user's options of a builder, in the order of its signature, and the shared ones."""
        builder = self.builder(name)
        hints = get_type_hints(builder, include_extras=True)
        own = {
            p.name: Option(p.name, hints[p.name], p.default, p.default is inspect.Parameter.empty)
            for p in inspect.signature(builder).parameters.values()
            if p.kind is inspect.Parameter.KEYWORD_ONLY
        }
        return own | self._shared

    def problems(self, spec: Spec) -> list[str]:
        """Every reason why `spec` cannot be built, one sentence each; empty if it can."""
        if spec.name not in self:
            return [unknown(self.noun, spec.name, self)]
        return self._read(spec)[1]

    def resolve(self, spec: Spec) -> Spec:
        """The same spec with typed values and absolute paths.

        Raises:
            RecipeError: All problems at once.
        """
        if spec.name not in self:
            raise RecipeError(unknown(self.noun, spec.name, self))
        values, problems = self._read(spec)
        if problems:
            raise RecipeError(" ".join(problems))
        return Spec(spec.name, values)

    def build(self, spec: Spec, **handed: Any) -> Any:
        """Call the builder with its options and with those `handed` values that it asks for.

        Raises:
            RecipeError: All problems of the spec at once.
        """
        resolved = self.resolve(spec).options
        options = {key: value for key, value in resolved.items() if key not in self._shared}
        builder = self.builder(spec.name)
        positional = [
            handed[p.name]
            for p in inspect.signature(builder).parameters.values()
            if p.kind is not inspect.Parameter.KEYWORD_ONLY
        ]
        return builder(*positional, **options)

    def _read(self, spec: Spec) -> tuple[dict[str, Any], list[str]]:
        known = self.options(spec.name)
        where = f"{self.noun} {spec.name}"
        values: dict[str, Any] = {}
        problems = []
        for key, value in spec.options.items():
            if key not in known:
                problems.append(unknown(f"option of {where}", key, known))
                continue
            try:
                values[key] = _coerce(known[key].annotation, value)
            except ValidationError as error:
                problems.append(f"{where}: {key}={value}: {_reason(error)}")
        missing = [o.name for o in known.values() if o.required and o.name not in spec.options]
        if missing:
            given = ",".join(f"{name}=..." for name in missing)
            problems.append(f"{where} needs {', '.join(missing)}: write {spec.name}:{given}.")
        return values, problems


def _coerce(annotation: Any, value: Any) -> Any:
    if isinstance(value, str):
        plain = _without_none(annotation)
        if value.lower() == "none" and plain is not annotation:
            return None
        if get_origin(plain) is tuple:
            value = [part.strip() for part in value.split(",")]
        elif plain is Path:
            value = Path(value).expanduser().absolute()
    adapter: TypeAdapter[Any] = TypeAdapter(annotation, config=ConfigDict(allow_inf_nan=False))
    return adapter.validate_python(value)


def _without_none(annotation: Any) -> Any:
    """`X` of `X | None`."""
    if get_origin(annotation) in (Union, types.UnionType):
        rest = [a for a in get_args(annotation) if a is not type(None)]
        if len(rest) == 1:
            return rest[0]
    return annotation


def _reason(error: ValidationError) -> str:
    message = error.errors()[0]["msg"].removeprefix("Value error, ")
    return message[0].lower() + message[1:].rstrip(".") + "."


def _as_text(value: object) -> str:
    if isinstance(value, bool) or value is None:
        return str(value).lower()
    if isinstance(value, (tuple, list)):
        return ",".join(_as_text(part) for part in value)
    return str(value)


def describe(annotation: Any) -> str:
    """A type as a user reads it: `int`, `nearest | bilinear`, `a,b,...`."""
    plain = _without_none(annotation)
    if get_origin(plain) is Literal:
        return " | ".join(str(choice) for choice in get_args(plain))
    if get_origin(plain) is tuple:
        return "list"
    if get_origin(plain) in (Union, types.UnionType):
        return " | ".join(describe(choice) for choice in get_args(plain))
    if hasattr(plain, "__metadata__"):
        return describe(get_args(plain)[0])
    return getattr(plain, "__name__", str(plain)).lower()
