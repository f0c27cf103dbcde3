"""Train the small network on one picture and its mask: rgb.png and gt.png of this folder."""

import shutil
import sys
from pathlib import Path

import typer

import pixelwright as pw
from pixelwright.errors import PixelwrightError

RECIPE = Path(__file__).with_name("recipe.toml")
# The current folder, unless the pictures lie beside this script instead.
HERE = Path(__file__).parent
FOLDER = HERE if (HERE / "rgb.png").exists() and not Path("rgb.png").exists() else Path()


def main(
    image: Path = FOLDER / "rgb.png",
    mask: Path = FOLDER / "gt.png",
    minutes: float = 5,
    epochs: int | None = None,
    out: Path | None = None,
) -> None:
    """Train on one picture and its mask, and draw the loss against the epochs.

    The run lies in runs/fcnn-pair-N, or in --out; loss_vs_epochs.png also in the current folder.
    """
    length = f"train.epochs={epochs}" if epochs else f"train.minutes={minutes}"
    recipe = pw.Recipe.read(RECIPE).override([f"data.image={image}", f"data.mask={mask}", length])
    run = pw.train(recipe, out=out)
    shutil.copy(run.loss_figure, "loss_vs_epochs.png")
    score = run.scores("val")["mean_iou"]
    print(f"Wrote {run.path} and loss_vs_epochs.png. Mean IoU of the part held out: {score:.3f}")


if __name__ == "__main__":
    try:
        typer.run(main)
    except PixelwrightError as error:
        print(f"train.py: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
