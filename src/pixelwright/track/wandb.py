"""Weights & Biases: offline in the run's folder, until `wandb sync` or unless logged in."""

import netrc
import os
import secrets
import shutil
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, Literal, get_args
from urllib.parse import urlsplit

import numpy as np
from jaxtyping import UInt8

from pixelwright.run import Run
from pixelwright.track._mirror import Opener, require

Mode = Literal["offline", "online", "disabled"]
_HOST = "https://api.wandb.ai"


def wandb(
    run: Run,
    settings: Mapping[str, Any],
    *,
    project: str = "pixelwright",
    entity: str | None = None,
    mode: Literal["auto", "offline", "online"] = "auto",
) -> Opener:
    """A W&B run named after the run's folder; offline ones lie in `<run>/wandb`.

    Args:
        run: Whose folder gets it.
        settings: The recipe, shown as its configuration.
        project: Of W&B.
        entity: The W&B user or team; by default the user's own.
        mode: "auto" does as the variable WANDB_MODE says; without it, online if the user has
            logged in, else offline.
    """
    require("wandb")
    return partial(_Wandb, run, settings, project, entity, _mode(mode))


def _mode(wanted: Mode | Literal["auto"]) -> Mode:
    told = os.environ.get("WANDB_MODE", "") if wanted == "auto" else wanted
    known: dict[str, Mode] = {mode: mode for mode in get_args(Mode)}
    if told in known:
        return known[told]
    return "online" if _logged_in() else "offline"


def _logged_in() -> bool:
    """Whether there is a key, where `wandb login` puts it or in the environment."""
    if os.environ.get("WANDB_API_KEY"):
        return True
    host = urlsplit(os.environ.get("WANDB_BASE_URL", _HOST)).hostname or ""
    file = Path(os.environ.get("NETRC", "~/.netrc")).expanduser()
    try:
        return netrc.netrc(file).authenticators(host) is not None
    except (OSError, netrc.NetrcParseError):
        return False


class _Wandb:
    def __init__(
        self,
        run: Run,
        settings: Mapping[str, Any],
        project: str,
        entity: str | None,
        mode: Mode,
    ) -> None:
        import wandb as package

        folder = run.path / "wandb"
        identity = _identity(folder)
        for old in folder.glob(f"offline-run-*-{identity}"):
            shutil.rmtree(old, ignore_errors=True)
        self._package = package
        self._run = package.init(
            project=project,
            entity=entity,
            name=run.path.absolute().name,
            id=identity,
            resume="allow",
            dir=str(run.path),
            mode=mode,
            config=dict(settings),
            settings=package.Settings(
                silent=True,
                console="off",
                disable_git=True,
                disable_code=True,
                x_disable_stats=True,
            ),
        )

    def scalars(self, step: int, values: Mapping[str, float], when: float) -> None:
        self._run.log({**values, "time": when}, step=step)

    def picture(self, name: str, image: UInt8[np.ndarray, "h w 3"], step: int, when: float) -> None:
        self._run.log({name: self._package.Image(image)}, step=step)

    def close(self) -> None:
        self._run.finish()


def _identity(folder: Path) -> str:
    """What W&B knows the run by, the same in every sitting."""
    file = folder / "id.txt"
    if not file.is_file():
        folder.mkdir(exist_ok=True)
        file.write_text(secrets.token_hex(4), encoding="utf-8")
    return file.read_text(encoding="utf-8").strip()
