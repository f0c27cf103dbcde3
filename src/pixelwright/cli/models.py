"""List the models, or describe one."""

from pathlib import Path
from typing import Annotated, Any

import typer

Name = Annotated[
    str | None,
    typer.Argument(metavar="NAME", help="A model, such as unet:width=16."),
]
Classes = Annotated[int, typer.Option(min=2, help="Classes to count the parameters for.")]
Channels = Annotated[int, typer.Option(min=1, help="Channels of the images.")]


def models(name: Name = None, classes: Classes = 2, channels: Channels = 3) -> None:
    """List the models, or describe one: size, reach and options."""
    from pixelwright.console import Console
    from pixelwright.models import models as known

    console = Console()
    if name is None:
        console.table(("model", "what it is"), [(model, _summary(model)) for model in known])
        return
    from pixelwright.registry import Spec, describe

    spec = Spec.parse(name)
    # Names and options are checked before torch is waited for.
    known.resolve(spec)

    from pixelwright import build

    found = build.describe(spec, classes, channels)
    console.say(f"{spec}: {_summary(spec.name)}")
    console.table(("for", f"{classes} classes, {channels} channels"), _facts(found))
    meanings = _meanings(known.builder(spec.name).__doc__ or "")
    console.table(
        ("option", "type", "default", "meaning"),
        [
            (
                option.name,
                describe(option.annotation),
                "required" if option.required else str(option.default),
                meanings.get(option.name, option.meaning),
            )
            for option in found["options"].values()
        ],
    )


def _summary(name: str) -> str:
    """The first line of the module's docstring, read without importing it: that takes torch."""
    import ast
    import importlib.util

    package = importlib.util.find_spec("pixelwright.models")
    assert package is not None and package.submodule_search_locations
    file = Path(package.submodule_search_locations[0]) / f"{name.replace('-', '_')}.py"
    docstring = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
    return docstring.partition("\n")[0]


def _facts(found: dict[str, Any]) -> list[tuple[str, str]]:
    if "sizes" not in found:
        field = found["field"]
        return [
            ("gives", "a class to every pixel"),
            ("parameters", f"{found['parameters']:,}"),
            ("total stride", f"{field.stride} px"),
            ("receptive field", _reach(field.before, field.after, field.unbounded)),
            ("size rule", _rule(field.multiple)),
        ]
    sizes, head = found["sizes"], found["parameters"] - found["trunk"]
    return [
        ("gives", "one label to the whole image"),
        ("parameters", f"{found['parameters']:,}: trunk {found['trunk']:,}, head {head:,}"),
        ("features", f"{_shape(sizes.seen)} of a picture of {sizes.side} x {sizes.side}"),
        ("pictures", _pictures(sizes.least, sizes.only, sizes.multiple)),
    ]


def _shape(seen: tuple[int, ...]) -> str:
    if len(seen) == 3:
        return f"{seen[0]:,} maps of {seen[1]} x {seen[2]}"
    return f"{seen[0]:,} tokens of {seen[1]:,} values" if len(seen) == 2 else str(seen)


def _pictures(least: int, only: int | None, multiple: int) -> str:
    if only is not None:
        return f"{only} x {only} only: set size={only} in the recipe"
    return f"from {least} x {least} on{f', in steps of {multiple}' if multiple > 1 else ''}"


def _reach(before: int, after: int, unbounded: str | None) -> str:
    if unbounded is not None:
        return f"the whole image: {unbounded}"
    return f"{before + 1 + after} px, radius {max(before, after)}"


def _rule(multiple: int) -> str:
    if multiple == 1:
        return "any height and width"
    return f"height and width in multiples of {multiple}; other sizes are padded"


def _meanings(docstring: str) -> dict[str, str]:
    """What each parameter means, from the Args section of a docstring."""
    import re

    section = re.search(r"^ *Args:\n(.*?)(?:\n\s*\n|\Z)", docstring, re.MULTILINE | re.DOTALL)
    if not section:
        return {}
    items = re.split(r"^ {8}(?=\w+:)", section.group(1), flags=re.MULTILINE)
    named = (item.partition(":") for item in items if item.strip())
    return {name.strip(): " ".join(text.split()) for name, _, text in named}
