"""Vary a batch of whole pictures on a GPU, where they stay: what `vary` does, with tensors.

    pictures = OnDevice(resident.images, "cuda")
    images = pictures.varied(numbers, draws, pairs)             # uint8 tensor "n c h w"

The draws are those of `vary`. Moves, mirror images, holes and mixtures are equal to the CPU's to
the last bit; what is turned, zoomed or recoloured differs by rounding, less than one grey level on
average.
"""

from typing import Any

import numpy as np
from jaxtyping import Float32, Float64, Int64, UInt8

from pixelwright.data.draws import Draws, Pairs
from pixelwright.data.vary import mirrored

# torch is loaded where it is needed: reading data must start at once. So tensors are `Any` here.
Tensor = Any


def fits(images: UInt8[np.ndarray, "n h w c"], device: Any) -> bool:
    """Whether pictures take at most half of what is free on a device."""
    import torch

    where = torch.device(device)
    return where.type != "cuda" or images.nbytes <= torch.cuda.mem_get_info(where)[0] // 2


class OnDevice:
    """Pictures that live on a device.

    Args:
        images: All of them.
        device: A torch device, or its name.
    """

    def __init__(self, images: UInt8[np.ndarray, "n h w c"], device: Any) -> None:
        import torch

        self._device = torch.device(device)
        self._images = torch.from_numpy(images).to(self._device)
        self._size = height, width = images.shape[1:3]
        y, x = np.mgrid[:height, :width].reshape(2, -1).astype(np.float32)
        self._points = self._here(np.stack([x, y, np.ones_like(x)], 1))

    def varied(
        self, numbers: Int64[np.ndarray, " n"], draws: Draws, pairs: Pairs | None = None
    ) -> Tensor:
        """Some pictures, varied and mixed as drawn: uint8 "n c h w", channels last in memory.

        Args:
            numbers: Of those that make the batch.
            draws: How each is varied; no damage, which only a CPU does.
            pairs: With whom each is mixed, after all else.
        """
        import torch

        assert not draws.damage, "blur, noise and compression are done on a CPU"
        if draws.affine is None:
            images = self._moved(numbers, draws)
        else:
            images = self._warped(numbers, draws.affine)
        if draws.color is not None:
            images = self._recolored(images, draws.color)
        images = _whole(images)
        if draws.holes is not None:
            images = self._cut(images, draws.holes, draws.fill)
        if pairs is not None:
            images = self._mixed(images, pairs)
        return images.contiguous(memory_format=torch.channels_last)

    def _here(self, array: np.ndarray) -> Tensor:
        import torch

        return torch.from_numpy(np.ascontiguousarray(array)).to(self._device, non_blocking=True)

    def _moved(self, numbers: Int64[np.ndarray, " n"], draws: Draws) -> Tensor:
        height, width = self._size
        rows = mirrored(np.arange(height) + draws.move_y[:, np.newaxis], height)
        columns = mirrored(np.arange(width) + draws.move_x[:, np.newaxis], width)
        rows[draws.flip_y] = rows[draws.flip_y, ::-1]
        columns[draws.flip_x] = columns[draws.flip_x, ::-1]
        which = self._here(numbers)[:, None, None]
        taken = self._images[which, self._here(rows)[:, :, None], self._here(columns)[:, None, :]]
        return taken.permute(0, 3, 1, 2)

    def _warped(
        self, numbers: Int64[np.ndarray, " n"], affine: Float64[np.ndarray, "n 2 3"]
    ) -> Tensor:
        import torch
        import torch.nn.functional as F

        height, width = self._size
        # -1 and 1 are the centres of the outermost pixels.
        scale = 2 / np.maximum(np.array([[width], [height]]) - 1, 1)
        maps = affine * scale
        maps[:, :, 2] -= 1
        grid = torch.matmul(self._points, self._here(maps.astype(np.float32)).transpose(1, 2))
        taken = self._images[self._here(numbers)].permute(0, 3, 1, 2)
        return F.grid_sample(
            taken.to(torch.float32),
            grid.reshape(-1, height, width, 2),
            mode="bilinear",
            padding_mode="reflection",
            align_corners=True,
        )

    def _recolored(self, images: Tensor, color: Float32[np.ndarray, "n c c1"]) -> Tensor:
        import torch

        matrix = self._here(color)
        flat = images.to(torch.float32).flatten(2)
        return torch.baddbmm(matrix[:, :, -1:], matrix[:, :, :-1], flat).reshape(images.shape)

    def _cut(
        self, images: Tensor, holes: Int64[np.ndarray, "n 4"], fill: UInt8[np.ndarray, " c"]
    ) -> Tensor:
        import torch

        top, left, tall, wide = (column[:, None] for column in self._here(holes).T)
        rows, columns = (torch.arange(length, device=self._device) for length in self._size)
        down = (rows >= top) & (rows < top + tall)
        across = (columns >= left) & (columns < left + wide)
        mask = down[:, None, :, None] & across[:, None, None, :]
        return torch.where(mask, self._here(fill)[:, None, None], images)

    def _mixed(self, images: Tensor, pairs: Pairs) -> Tensor:
        import torch

        partners = self._here(pairs.partners)
        if pairs.box is None:
            blend = images.to(torch.float32) * pairs.share
            blend += images[partners].to(torch.float32) * (1 - pairs.share)
            return _whole(blend)
        top, left, height, width = pairs.box
        part = np.s_[:, :, top : top + height, left : left + width]
        images[part] = images[part][partners]
        return images


def _whole(images: Tensor) -> Tensor:
    """Pixel values as whole numbers of 8 bits."""
    import torch

    return images if images.dtype == torch.uint8 else images.round().clamp(0, 255).to(torch.uint8)
