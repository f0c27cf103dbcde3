"""Close-ups of mask edges, predicted by several runs of one data set, side by side.

    python exercises/voc-foreground/closeups.py runs/upsampling/bilinear-seed0 \
        runs/upsampling/transposed-seed0 --out closeups.png

Of the validation pictures those whose truth has the longest edges are taken, and of each the window
that holds most of them: the choice looks at no prediction.
"""

import argparse
from pathlib import Path

import cv2
import numpy as np

import pixelwright as pw
from pixelwright import images, render
from pixelwright.data.index import load
from pixelwright.errors import DataError
from pixelwright.types import Entry


def edges(target: np.ndarray) -> np.ndarray:
    """1 where a pixel's class differs from that of its right or lower neighbour."""
    found = np.zeros(target.shape, np.float32)
    found[:, :-1] += target[:, 1:] != target[:, :-1]
    found[:-1] += target[1:] != target[:-1]
    return np.minimum(found, 1)


def busiest(target: np.ndarray, side: int) -> tuple[int, int]:
    """Top and left of the window that holds the most edge pixels."""
    side_y, side_x = min(side, target.shape[0]), min(side, target.shape[1])
    summed = cv2.integral(edges(target))
    held = (
        summed[side_y:, side_x:]
        - summed[:-side_y, side_x:]
        - summed[side_y:, :-side_x]
        + summed[:-side_y, :-side_x]
    )
    top, left = np.unravel_index(int(held.argmax()), held.shape)
    return int(top), int(left)


def enlarged(picture: np.ndarray, zoom: int) -> np.ndarray:
    return picture.repeat(zoom, axis=0).repeat(zoom, axis=1)


def titled(picture: np.ndarray, title: str) -> np.ndarray:
    head = np.full((22, picture.shape[1], 3), 255, np.uint8)
    font, black = cv2.FONT_HERSHEY_SIMPLEX, (0, 0, 0)
    cv2.putText(head, title, (4, 16), font, 0.45, black, 1, cv2.LINE_AA)
    # A white line keeps neighbours apart.
    return cv2.copyMakeBorder(
        np.concatenate([head, picture]), 0, 4, 0, 4, cv2.BORDER_CONSTANT, value=(255, 255, 255)
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="+", type=Path, help="finished runs of one data set")
    parser.add_argument("--out", type=Path, default=Path("closeups.png"))
    parser.add_argument("--count", type=int, default=3, help="pictures")
    parser.add_argument("--side", type=int, default=64, help="of the window, in pixels")
    parser.add_argument("--zoom", type=int, default=4)
    options = parser.parse_args()
    runs = [pw.Run.open(path) for path in options.runs]
    recipes = [pw.Recipe.read(run.recipe_file) for run in runs]
    if any(recipe.data != recipes[0].data for recipe in recipes):
        raise DataError("These runs were trained on different data. Give runs of one data set.")
    index = load(recipes[0].data)

    def length(entry: Entry) -> float:
        return float(edges(images.read_mask(Path(str(entry.target)), index.classes)).sum())

    rows = []
    for entry in sorted(index.splits["val"], key=length, reverse=True)[: options.count]:
        image = images.read_image(entry.image, 3)
        target = images.read_mask(Path(str(entry.target)), index.classes)
        top, left = busiest(target, options.side)
        window = np.s_[top : top + options.side, left : left + options.side]
        colors = index.classes.colors
        row = [("picture", image[window]), ("mask", render.colorize(target[window], colors))]
        for run in runs:
            labels = pw.predict(run, image).labels.astype(np.int16)[window]
            row.append((run.path.name, render.colorize(labels, colors)))
        rows.append(np.concatenate([titled(enlarged(p, options.zoom), t) for t, p in row], axis=1))
    images.write_png(options.out, np.concatenate(rows))
    print(f"wrote {options.out}")


if __name__ == "__main__":
    main()
