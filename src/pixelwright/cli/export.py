"""Write a run's network as a file for other programs."""

from pathlib import Path
from typing import Annotated

import typer

from pixelwright.cli._options import RunFolder

To = Annotated[
    str | None,
    typer.Option(metavar="FORMAT", help="onnx or openvino [default: as --out says, else onnx]."),
]
Int8 = Annotated[
    bool,
    typer.Option("--int8", help="Beside it an 8-bit OpenVINO file, and what it costs on 'val'."),
]
Out = Annotated[
    Path | None,
    typer.Option(help="A file .onnx or .xml, or a folder [default: exports in the run]."),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace files at --out.")]


def export(
    run: RunFolder, to: To = None, int8: Int8 = False, out: Out = None, overwrite: Overwrite = False
) -> None:
    """Write a run's network as a file for other programs: ONNX or OpenVINO.

    It takes pixel values and gives logits; number, height and width of the pictures are free.
    Before it bears its name it is run, and compared with the network.
    """
    from pixelwright.cli._source import run_of
    from pixelwright.console import Console

    path = run_of(str(run))
    console = Console()

    from pixelwright import jobs

    with console.watch() as on_event:
        done = jobs.export(path, to=to, int8=int8, out=out, overwrite=overwrite, on_event=on_event)
    console.written(done.files)
    console.say(f"The {done.agreement}.")
    if done.loss is not None:
        console.say(f"8 bits: {done.loss}.")
