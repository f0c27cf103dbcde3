"""What the layers that raise the resolution promise, whatever the way."""

from typing import get_args

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from pixelwright.nn.blocks import he_weights
from pixelwright.nn.upsample import PixelShuffle, Upsample, upsample_by, upsample_by_two

WAYS: list[Upsample] = list(get_args(Upsample))
each_way = pytest.mark.parametrize("how", WAYS)


@each_way
@pytest.mark.parametrize("factor", [1, 2, 3, 4])
@pytest.mark.parametrize("kernel", [1, 3, 5])
def test_height_and_width_are_multiplied_exactly(how: Upsample, factor: int, kernel: int) -> None:
    layer = upsample_by(factor, how, 3, 2, kernel=kernel)
    assert layer(torch.randn(1, 3, 5, 4)).shape == (1, 2, 5 * factor, 4 * factor)


@each_way
@pytest.mark.parametrize("kernel", [1, 3])
def test_a_pixel_lands_where_it_was(how: Upsample, kernel: int) -> None:
    layer = upsample_by(2, how, 1, 1, kernel=kernel)
    for parameter in layer.parameters():
        nn.init.constant_(parameter, float(parameter.ndim > 1))
    spot = torch.zeros(1, 1, 7, 7)
    spot[0, 0, 3, 3] = 1
    rows = layer(spot)[0, 0].sum(1)
    centre = (rows * torch.arange(14)).sum() / rows.sum()
    # The two pixels it becomes have the centre 6.5; an odd transposed kernel is off by half.
    assert centre.item() == pytest.approx(6.5, abs=0.5 if how == "transposed" else 1e-4)


@pytest.mark.parametrize("drawn_again", [False, True])
def test_pixel_shuffle_starts_as_nearest_upsampling(drawn_again: bool) -> None:
    layer = upsample_by_two("pixel-shuffle", 3, 2, kernel=3)
    assert isinstance(layer, PixelShuffle)
    if drawn_again:
        he_weights(layer)
    image = torch.randn(1, 3, 6, 5)
    first = F.conv2d(image, layer.weight[::4], layer.bias[::4], padding=1)
    torch.testing.assert_close(layer(image), F.interpolate(first, scale_factor=2.0))
    assert layer.weight[0].ne(layer.weight[4]).all()


def test_pixel_shuffle_can_leave_that_start() -> None:
    layer = upsample_by_two("pixel-shuffle", 1, 1)
    optimizer = torch.optim.SGD(layer.parameters(), 0.1)
    stripes = torch.tensor([1.0, -1.0]).repeat(4).expand(1, 1, 8, 8)
    for _ in range(100):
        optimizer.zero_grad()
        (layer(torch.ones(1, 1, 4, 4)) - stripes).square().mean().backward()
        optimizer.step()
    torch.testing.assert_close(layer(torch.ones(1, 1, 4, 4)), stripes, atol=1e-2, rtol=0)


@each_way
def test_values_keep_their_scale(how: Upsample) -> None:
    torch.manual_seed(0)
    layer = he_weights(upsample_by_two(how, 64, 64))
    out = layer(torch.randn(2, 64, 8, 8).relu())
    # Interpolating between independent pixels averages them, which costs variance.
    assert 0.3 < out.square().mean() < 1.5
