"""The figures in README, recipes and exercises are those that were measured."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_no_text_tells_another_figure_than_was_kept() -> None:
    command = [sys.executable, ROOT / "benchmarks" / "figures.py", "check"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
