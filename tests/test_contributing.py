"""What CONTRIBUTING shows works as it stands there."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch

from pixelwright.types import IGNORE

TEXT = (Path(__file__).parents[1] / "CONTRIBUTING.md").read_text()


def test_the_loss_that_contributing_adds_is_a_loss() -> None:
    code = re.search(r"```python\n(.*?)```", TEXT, re.DOTALL)
    assert code
    names: dict[str, Any] = {"__name__": "pixelwright.losses.jaccard"}
    exec(code.group(1), names)
    # Certain of class 0 everywhere, right on 3 of 4 counted pixels.
    # Class 0: (3 + 1) / (4 + 1). Class 1: (0 + 1) / (1 + 1). Class 2 is nowhere: 1.
    logits = torch.tensor([50.0, -50.0, -50.0]).reshape(1, 3, 1).expand(1, 3, 5)
    target = torch.tensor([[0, 0, 0, 1, IGNORE]])
    value = names["jaccard"]()(logits, target).item()
    assert value == pytest.approx(1 - (4 / 5 + 1 / 2 + 1) / 3)
