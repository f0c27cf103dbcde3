"""A depthwise convolution whose gradients are computed another way is the same convolution."""

import pytest
import torch
import torch.nn.functional as F

from pixelwright.nn.depthwise import Depthwise


@pytest.mark.parametrize("kernel", [1, 3, 7])
def test_gradients_in_mixed_precision_are_those_of_the_plain_convolution(kernel: int) -> None:
    torch.manual_seed(0)
    layer = Depthwise(6, kernel)
    image = torch.randn(2, 6, 12, 9).to(memory_format=torch.channels_last).bfloat16()
    slope = torch.randn(2, 6, 12, 9).bfloat16()
    found, expected = [], []
    for way, results in ((layer, found), (layer._conv_forward, expected)):
        x = image.clone().requires_grad_()
        with torch.autocast("cpu", torch.bfloat16):
            arguments = () if way is layer else (layer.weight, layer.bias)
            out = way(x, *arguments)
        assert out.dtype == torch.bfloat16
        assert out.is_contiguous(memory_format=torch.channels_last)
        results += [out, *torch.autograd.grad(out, [x, layer.weight, layer.bias], slope)]
    assert torch.equal(found[0], expected[0])
    assert [g.dtype for g in found] == [g.dtype for g in expected]
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one.float(), other.float(), rtol=2e-2, atol=0.05)


def test_the_weight_gradient_has_the_digits_of_float32() -> None:
    torch.manual_seed(0)
    layer = Depthwise(4, 3)
    image, slope = torch.randn(2, 4, 32, 32).bfloat16(), torch.randn(2, 4, 32, 32).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        out = layer(image)
    (found,) = torch.autograd.grad(out, layer.weight, slope)
    wide = F.conv2d(image.double(), layer.weight.double(), padding=1, groups=4)
    (exact,) = torch.autograd.grad(wide, layer.weight, slope.double())
    torch.testing.assert_close(found, exact.float(), rtol=1e-5, atol=1e-4)
