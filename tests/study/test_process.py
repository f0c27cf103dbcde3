"""What a training that runs as a process tells of itself."""

import json
from pathlib import Path

from pixelwright.run import Run
from pixelwright.study.process import Training


def test_steps_are_read_from_the_log_and_from_what_was_said_since(tmp_path: Path) -> None:
    run, output = Run(tmp_path), tmp_path / "output.txt"
    training = Training.adopt(run, output)
    assert training.steps() == (0, 0)
    rows = [{"kind": "start", "step": 0, "steps": 4000}, {"kind": "epoch", "step": 1000}]
    run.log_file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    assert training.steps() == (1000, 4000)
    output.write_text("step 900/4,000 · loss 1\nstep 1,900/4,000 · loss 1\n", encoding="utf-8")
    assert training.steps() == (1900, 4000)
