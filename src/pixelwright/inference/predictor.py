"""Predict a picture of any size, whole or by tiles, with the same result.

predictor = Predictor(model, field_of(model), classes=11, tile=256)
labels = predictor.labels(image)              # uint8 "h w", one tile in memory at a time
logits = predictor.logits(image)              # float "k h w"
for window, logits in predictor.logit_tiles(image):
    ...                                       # each part of the image once
"""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from jaxtyping import Float, UInt, UInt8
from torch import Tensor, nn

from pixelwright.errors import PredictError
from pixelwright.inference.answers import labels_of
from pixelwright.inference.tiles import Span, spans
from pixelwright.nn.receptive import Field
from pixelwright.types import Window

WHOLE_PIXELS = 2**22
"""Without a tile, larger images are cut; 4 megapixels of a U-Net take a few gigabytes."""

USUAL_TILE = 1024

_CPU = torch.device("cpu")


class Predictor:
    """A model that takes images of any size, down to one pixel.

    An image is padded at the right and bottom to the model's size rule, by repeating its last
    column and row, and the result is cropped. Tiles overlap by the model's receptive radius, so
    that the result equals that of one whole pass.

    Args:
        model: Takes "1 c h w" pixel values in [0, 255] and gives logits "1 k h w". It is moved to
            the device; while it predicts it is in evaluation mode, afterwards as it was.
        field: Of the model.
        classes: How many the model tells apart.
        tile: The network never sees more than `tile * tile` pixels at a time. None is one whole
            pass for images up to 4 megapixels and tiles of about 1024 pixels above, unless the
            model needs the whole image.
        device: Where the model runs.
        autocast: A type for mixed precision, such as `torch.bfloat16`; None computes in the
            model's own.

    Raises:
        PredictError: The tile is too small for the model.
    """

    def __init__(
        self,
        model: nn.Module,
        field: Field,
        classes: int,
        *,
        tile: int | None = None,
        device: str | torch.device = "cpu",
        autocast: torch.dtype | None = None,
    ) -> None:
        self.model = model.to(device)
        self.field = field
        self.classes = classes
        self.tile = tile
        self.device = torch.device(device)
        self.autocast = autocast
        if tile is not None and tile < field.multiple:
            raise PredictError(
                f"A tile of {tile} px is smaller than the {field.multiple} px whose multiples the "
                f"model takes. Use a tile of {field.multiple} px or more."
            )

    def logits(
        self, image: UInt8[np.ndarray, "h w c"], *, on_device: bool = False
    ) -> Float[Tensor, "k h w"]:
        """Scores before softmax, on the CPU, or on the model's device where more is computed there.

        Raises:
            PredictError: The image has no pixels, or the model cannot predict it by tiles.
        """
        return self._stitch(image, lambda logits: logits, self.device if on_device else _CPU)

    def probabilities(self, image: UInt8[np.ndarray, "h w c"]) -> Float[Tensor, "k h w"]:
        """The share of each class, summing to one at every pixel; at least float32, on the CPU.

        Raises:
            PredictError: As `logits`.
        """
        return self._stitch(image, lambda logits: logits.softmax(dim=0), _CPU)

    def labels(self, image: UInt8[np.ndarray, "h w c"]) -> UInt[np.ndarray, "h w"]:
        """The most likely class of each pixel; uint8, or uint16 above 256 classes.

        Memory holds the logits of one tile at a time.

        Raises:
            PredictError: As `logits`.
        """
        kind = np.uint8 if self.classes <= 2**8 else np.uint16
        labels = np.zeros(image.shape[:2], kind)
        for window, logits in self.logit_tiles(image):
            labels[_slices(window)] = labels_of(logits, kind)
        return labels

    def logit_tiles(
        self, image: UInt8[np.ndarray, "h w c"]
    ) -> Iterator[tuple[Window, Float[Tensor, "k h w"]]]:
        """Each part of the image once, with its logits, on the model's device.

        Raises:
            PredictError: As `logits`.
        """
        height, width = image.shape[:2]
        rows, columns = self._plan(height, width)
        for row in rows:
            bottom = min(row.keep_stop, height)
            for column in columns:
                right = min(column.keep_stop, width)
                logits = self._run(_cut(image, row, column))
                kept = logits[
                    :,
                    row.keep_start - row.start : bottom - row.start,
                    column.keep_start - column.start : right - column.start,
                ]
                yield Window(row.keep_start, column.keep_start, *kept.shape[1:]), kept

    def _plan(self, height: int, width: int) -> tuple[list[Span], list[Span]]:
        """The tiles of both axes, padding included, without those that lie in it altogether."""
        if not height * width:
            raise PredictError(f"The image has no pixels: it is {height} x {width}.")
        field = self.field
        align = math.lcm(field.stride, field.multiple)
        padded = [-(-length // align) * align for length in (height, width)]
        tile = self.tile
        if tile is None and (field.unbounded or math.prod(padded) <= WHOLE_PIXELS):
            tile = max(padded)
        elif tile is None:
            tile = max(USUAL_TILE, 4 * field.radius)
        elif field.unbounded and max(padded) > tile:
            raise PredictError(
                f"An image of {height} x {width} does not fit into a tile of {tile} px, and the "
                f"model cannot predict it in parts: it sees the whole image ({field.unbounded}). "
                f"Use a tile of {max(padded)} px or more, or none."
            )
        rows, columns = (spans(length, tile, field.radius, align) for length in padded)
        return (
            [span for span in rows if span.keep_start < height],
            [span for span in columns if span.keep_start < width],
        )

    def _run(self, patch: UInt8[np.ndarray, "h w c"]) -> Float[Tensor, "k h w"]:
        # Moved axes of an "h w c" array are the channels_last format, which is the faster one.
        batch = torch.from_numpy(patch).to(self.device).unsqueeze(0).permute(0, 3, 1, 2)
        mixed = torch.autocast(self.device.type, self.autocast, enabled=self.autocast is not None)
        with evaluating(self.model), torch.inference_mode(), mixed:
            logits: Tensor = self.model(batch)[0]
        return logits

    def _stitch(
        self,
        image: UInt8[np.ndarray, "h w c"],
        change: Callable[[Tensor], Tensor],
        device: torch.device,
    ) -> Float[Tensor, "k h w"]:
        stitched = None
        for window, logits in self.logit_tiles(image):
            part = change(logits.to(torch.promote_types(logits.dtype, torch.float32))).to(device)
            if stitched is None:
                stitched = part.new_empty((len(part), *image.shape[:2]))
            stitched[:, *_slices(window)] = part
        assert stitched is not None
        return stitched


def _cut(
    image: UInt8[np.ndarray, "h w c"], row: Span, column: Span
) -> UInt8[np.ndarray, "tile_h tile_w c"]:
    """A tile of the padded image, without padding the image; a copy of its own."""
    patch = image[row.start : row.stop, column.start : column.stop]
    below, beside = row.stop - row.start - len(patch), column.stop - column.start - patch.shape[1]
    return np.pad(patch, ((0, below), (0, beside), (0, 0)), mode="edge")


def _slices(window: Window) -> tuple[slice, slice]:
    return (
        slice(window.top, window.top + window.height),
        slice(window.left, window.left + window.width),
    )


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode, and afterwards each module's own mode: some may be frozen in training."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True
