"""What a package offers, found on first use, so that importing the package loads none of it.

    __getattr__, __dir__ = on_first_use(__name__, {"predict": "prediction", "train": "training"})

Source: PEP 562.
"""

import importlib
from collections.abc import Callable, Mapping
from typing import Any


def on_first_use(
    package: str, homes: Mapping[str, str], before: Callable[[], None] | None = None
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """The functions `__getattr__` and `__dir__` of a package.

    Args:
        package: Its name.
        homes: Of each name that it offers, the module inside the package.
        before: Called before a module is loaded.
    """

    def found(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        if before:
            before()
        return getattr(importlib.import_module(f"{package}.{homes[name]}"), name)

    return found, lambda: sorted(homes)
