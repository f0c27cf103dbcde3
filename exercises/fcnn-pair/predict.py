"""Predict a picture of any size, and draw it beside its mask: rgb.png and gt.png of this folder."""

import sys
from pathlib import Path

import numpy as np
import typer

import pixelwright as pw
from pixelwright.errors import CheckpointError, PixelwrightError
from pixelwright.images import read_mask, write_jpeg
from pixelwright.metrics.confusion import Confusion
from pixelwright.render import comparison, contact_sheet

# The current folder, unless the pictures lie beside this script instead.
HERE = Path(__file__).parent
FOLDER = HERE if (HERE / "rgb.png").exists() and not Path("rgb.png").exists() else Path()


def main(
    image: list[Path] = typer.Option([FOLDER / "rgb.png"], help="May be given again."),  # noqa: B008
    mask: list[Path] = typer.Option([], help="As often; else gt.png beside each image."),  # noqa: B008
    run: Path | None = None,
    out: Path = Path("predictions.jpg"),
) -> None:
    """Predict pictures with the newest run here, or that of --run, and draw predictions.jpg."""
    run = run or newest()
    masks = dict(zip(image, mask, strict=False))
    panels = [panel(run, one, masks.get(one, one.with_name("gt.png"))) for one in image]
    write_jpeg(out, contact_sheet(panels, 1, side=max(p.shape[1] for p in panels)))
    print(f"Wrote {out}, predicted with {run}.")


def newest() -> Path:
    runs = [run for run in pw.Run.list("runs") if run.name.startswith("fcnn-pair")]
    if not runs:
        raise CheckpointError("There is no run in runs/. Run train.py here first, or give --run.")
    return runs[-1].path


def panel(run: Path, image: Path, mask: Path) -> np.ndarray:
    """The picture, its mask if there is one, the prediction and its errors."""
    found = pw.predict(run, image)
    labels = found.labels.astype(np.int16)
    if not mask.is_file():
        return comparison(found.image, None, labels, found.classes, caption=str(image))
    truth = read_mask(mask, found.classes)
    score = Confusion.of(labels, truth, len(found.classes)).mean_iou()
    caption = f"{image}: mean IoU {score:.3f}"
    print(caption)
    return comparison(found.image, truth, labels, found.classes, caption=caption)


if __name__ == "__main__":
    try:
        typer.run(main)
    except PixelwrightError as error:
        print(f"predict.py: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
