"""Networks run by bands of rows, and held to one pass over the whole image."""

import torch
from torch import Tensor, nn

from pixelwright.inference.graph import Graph, graph_of
from pixelwright.inference.stream import Stream
from pixelwright.nn.normalise import Normalised
from pixelwright.nn.receptive import field_of


def centred(network: nn.Module, channels: int = 3) -> nn.Module:
    """In float64, evaluation mode, with batch norms that have seen data."""
    torch.manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            for values, low in ((module.running_var, 0.5), (module.weight, 0.5), (module.bias, -1)):
                nn.init.uniform_(values, low, low + 1)
            nn.init.normal_(module.running_mean)
    return Normalised(network, [127.5] * channels, [64.0] * channels).double().eval()


def picture(height: int, width: int, channels: int = 3) -> Tensor:
    drawn = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (1, channels, height, width), dtype=torch.uint8, generator=drawn)
    return pixels.to(memory_format=torch.channels_last)


def streamed(graph: Graph, image: Tensor, band: int) -> Tensor:
    """All bands of the logits, put together; the image is asked for from top to bottom."""
    asked, parts, tops = [], [], []

    def read(start: int, stop: int) -> Tensor:
        asked.append((start, stop))
        return image[:, :, start:stop]

    for top, logits in Stream(graph).bands(read, image.shape[2], band):
        tops.append(top)
        parts.append(logits.clone())
    assert tops == list(range(0, image.shape[2], band))
    assert [one[0] for one in asked] == [0, *(one[1] for one in asked[:-1])]
    assert asked[-1][1] <= image.shape[2]
    return torch.cat(parts, dim=2)


def check(network: nn.Module, height: int, width: int, bands: tuple[int, ...]) -> Graph:
    model = centred(network)
    field = field_of(model, 3)
    assert field.unbounded is None, field.unbounded
    graph = graph_of(model, 3, field.multiple)
    assert graph.refused is None
    image = picture(height, width)
    with torch.inference_mode():
        whole = model(image)
        for band in bands:
            close = streamed(graph, image, band)
            assert (close - whole).abs().max() <= 1e-12 * whole.abs().max()
            assert torch.equal(close.argmax(1), whole.argmax(1))
    return graph


def conv(into: int, out: int, **options) -> nn.Conv2d:
    return nn.Conv2d(into, out, 3, **({"padding": 1} | options))
