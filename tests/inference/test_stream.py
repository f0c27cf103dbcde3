"""A network run by bands of rows gives what one pass over the whole image gives."""

from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bands import centred, check, conv, picture
from pixelwright.inference.graph import IMAGE, graph_of
from pixelwright.inference.stream import Demand, Stream
from pixelwright.models import gives_one_label, models
from pixelwright.nn.receptive import field_of
from pixelwright.registry import Spec

SMALLER = {
    "convunext": "width=8,depth=2",
    "mobilenet-unet": "encoder=mobilenetv2_035",
    "smp": "encoder=resnet18",
    "timm-unet": "encoder=resnet18,depth=4",
    "unet": "width=8,depth=3",
}
MODELS = [
    f"{name}:{SMALLER[name]}" if name in SMALLER else name
    for name in models
    if not gives_one_label(name)
]


@pytest.mark.parametrize("name", MODELS)
def test_every_segmenter_gives_by_bands_what_a_whole_pass_gives(name):
    model = models.build(Spec.parse(name), classes=4, channels=3)
    multiple = field_of(model, 3).multiple
    check(model, multiple * max(6, 96 // multiple), multiple * 2, (multiple, 3 * multiple))


UP = ["nearest", "bilinear", "transposed", "pixel-shuffle"]


@pytest.mark.parametrize("how", UP)
@pytest.mark.parametrize("name", ["fcnn", "fcn-down", "unet:width=4,depth=2"])
def test_every_upsampling_gives_by_bands_what_a_whole_pass_gives(name, how):
    spec = Spec.parse(name).with_option("upsample", how)
    check(models.build(spec, classes=3, channels=3), 48, 32, (8, 24, 48, 64))


class Beside(nn.Module):
    """A slow branch and a fast one that are joined."""

    def __init__(self, join: str) -> None:
        super().__init__()
        self.first = conv(3, 4)
        self.slow = nn.Sequential(*(conv(4, 4) for _ in range(5)), nn.ReLU())
        self.join = join
        self.last = conv(8 if join == "cat" else 4, 2)

    def forward(self, x: Tensor) -> Tensor:
        fast = self.first(x)
        slow = self.slow(fast)
        if self.join == "cat":
            return self.last(torch.cat([fast, slow], 1))
        return self.last(fast * slow.sigmoid() + x.mean(1, keepdim=True))


class Blocks(nn.Module):
    """Steps of ConvNeXt, ShuffleNet and gated networks."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.depthwise = conv(3, 8), nn.Conv2d(8, 8, 7, padding=3, groups=8)
        self.norm, self.dense = nn.LayerNorm(8), nn.Linear(8, 8)
        self.gamma = nn.Parameter(torch.full((8, 1, 1), 0.5))

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        y = self.depthwise(x).permute(0, 2, 3, 1)
        y = F.gelu(self.dense(self.norm(y))).permute(0, 3, 1, 2)
        x = x + self.gamma * y
        n, c, h, w = x.shape
        x = x.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w)
        one, other = x.chunk(2, dim=1)
        x = torch.cat([one * other.tanh(), other], 1)
        return self.depthwise(x)[:, :3].softmax(1)


class Cropped(nn.Module):
    """Padding that is cut away again."""

    def forward(self, x: Tensor) -> Tensor:
        return F.avg_pool2d(F.pad(x, (2, 3, 2, 3)), 3, 1)[:, :, 1:-2, 1:-2]


STEPS = {
    "dilation": lambda: conv(3, 4, padding=12, dilation=12),
    "groups": lambda: nn.Sequential(conv(3, 6), conv(6, 6, groups=3), nn.Hardswish()),
    "stride": lambda: nn.Sequential(conv(3, 4, stride=2), nn.ConvTranspose2d(4, 4, 2, 2)),
    "large transposed": lambda: nn.Sequential(
        conv(3, 4, stride=2), nn.ConvTranspose2d(4, 4, 5, 2, 2, output_padding=1)
    ),
    "small transposed": lambda: nn.Sequential(
        conv(3, 4, stride=3, padding=1), nn.ConvTranspose2d(4, 4, 1, 3, output_padding=2)
    ),
    "bilinear": lambda: nn.Sequential(
        nn.AvgPool2d(4), conv(3, 4), nn.Upsample(scale_factor=4, mode="bilinear"), conv(4, 4)
    ),
    "bilinear by 3": lambda: nn.Sequential(
        nn.MaxPool2d(3), nn.Upsample(scale_factor=3, mode="bilinear"), conv(3, 4)
    ),
    "bicubic": lambda: nn.Sequential(
        nn.MaxPool2d(2), nn.Upsample(scale_factor=2, mode="bicubic"), conv(3, 4)
    ),
    "nearest by 4": lambda: nn.Sequential(
        nn.MaxPool2d(4), nn.Upsample(scale_factor=4), nn.Conv2d(3, 4, 7, padding=3)
    ),
    "shrinking": lambda: nn.Sequential(
        conv(3, 4), nn.Upsample(scale_factor=0.5, mode="bilinear"), nn.PixelShuffle(2)
    ),
    "shrinking to the nearest": lambda: nn.Sequential(
        nn.PixelUnshuffle(2), nn.Upsample(scale_factor=0.5), conv(12, 16), nn.PixelShuffle(4)
    ),
    "overlapping pools": lambda: nn.Sequential(
        nn.MaxPool2d(3, 2, 1), nn.AvgPool2d(3, 1, 1), nn.Upsample(scale_factor=2)
    ),
    "ceiled pools": lambda: nn.Sequential(
        nn.MaxPool2d(3, 2, ceil_mode=True), nn.Upsample(scale_factor=2), conv(3, 4)
    ),
    "reflection": lambda: nn.Sequential(nn.ReflectionPad2d(3), nn.Conv2d(3, 4, 7)),
    "replication": lambda: nn.Sequential(
        nn.ReplicationPad2d((1, 2, 3, 2)), nn.Conv2d(3, 4, (6, 4))
    ),
    "wide padding": lambda: nn.Sequential(nn.ZeroPad2d((0, 0, 9, 0)), nn.Conv2d(3, 4, (10, 1))),
    "norm first": lambda: nn.Sequential(nn.BatchNorm2d(3), nn.ReLU(), conv(3, 4)),
    "two readers of a norm": lambda: Beside("add"),
    "a join of branches": lambda: Beside("cat"),
    "blocks": Blocks,
    "cropping": Cropped,
}


@pytest.mark.parametrize("step", STEPS)
def test_each_operator_gives_by_bands_what_a_whole_pass_gives(step):
    check(STEPS[step](), 48, 36, (4, 5, 12, 48))


REFUSED = {
    "global pooling": (nn.Sequential(conv(3, 4), nn.AdaptiveAvgPool2d(1)), "pool"),
    "instance norm": (nn.InstanceNorm2d(3), "norm"),
    "corners": (nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True), "align_corners"),
    "code that looks at values": (
        type("Asks", (nn.Module,), {"forward": lambda self, x: x * 2 if x.max() > 9 else x})(),
        "torch.export",
    ),
    "rolling": (
        type("Rolls", (nn.Module,), {"forward": lambda self, x: x.roll(1, 2)})(),
        "rolling",
    ),
    "patches": (
        type("Cuts", (nn.Module,), {"forward": lambda self, x: x.flatten(2).softmax(1)})(),
        "patches",
    ),
}


@pytest.mark.parametrize("step", REFUSED)
def test_what_cannot_run_by_rows_is_refused_by_name(step):
    network, named = REFUSED[step]
    refused = graph_of(centred(network), 3, 4).refused
    assert refused is not None and named in refused


def test_no_row_of_any_map_is_computed_twice():
    graph = graph_of(centred(models.build(Spec.parse("unet"), classes=2, channels=3)), 3, 16)
    stream = Stream(graph)
    demands = list(stream.demands(960, 32))
    for number, height in enumerate(stream.heights(960)):
        rows = [demand.rows[number] for demand in demands]
        assert rows[0][0] == 0 and rows[-1][1] == height
        assert all(before[1] == after[0] for before, after in pairwise(rows))


def test_rows_that_are_held_do_not_grow_with_the_height():
    graph = graph_of(centred(models.build(Spec.parse("unet"), classes=2, channels=3)), 3, 16)
    stream = Stream(graph)

    def held(height: int) -> list[int]:
        most = [0] * (len(graph.nodes) + 1)
        for demand in stream.demands(height, 32):
            for number, (rows, keep) in enumerate(zip(demand.rows, demand.keep, strict=True)):
                most[number] = max(most[number], rows[1] - keep)
        return most

    assert held(1600) == held(6400)


def test_no_round_takes_more_of_the_image_than_a_band():
    # Else every map would once be as tall as the network sees, to make the first logits.
    graph = graph_of(centred(models.build(Spec.parse("unet"), classes=2, channels=3)), 3, 16)
    demands = list(Stream(graph).demands(960, 32))
    assert all(stop - start <= 32 for start, stop in (demand.rows[IMAGE] for demand in demands))
    first = next(n for n, demand in enumerate(demands) if demand.rows[-1][1])
    assert first > 1

    def tallest(rounds: list[Demand]) -> int:
        held = [[s - k for (_, s), k in zip(d.rows, d.keep, strict=True)] for d in rounds]
        return sum(max(of_map) for of_map in zip(*held, strict=True))

    # Without logits the last maps are done to a row or two less, and those before them wait.
    assert tallest(demands[:first]) <= tallest(demands[first:]) + 4


@pytest.mark.parametrize("shares", [nn.ReflectionPad2d, nn.ReplicationPad2d])
def test_nothing_writes_over_rows_that_another_operator_reads(shares):
    # Padding above and below hands on the rows between as they are.
    class Beside(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.pad = conv(3, 4), shares((0, 0, 1, 1))
            self.one, self.other = nn.Conv2d(4, 4, 1), conv(4, 4, padding=(2, 1))

        def forward(self, x: Tensor) -> Tensor:
            y = self.first(x)
            return (self.one(self.pad(y).relu()) + self.other(y))[:, :, 1:-1]

    check(Beside(), 48, 32, (8,))


def test_bands_in_mixed_precision_are_one_pass_in_mixed_precision() -> None:
    model = centred(models.build(Spec.parse("unet:width=8,depth=2"), classes=3, channels=3)).float()
    image = picture(96, 64)
    with torch.inference_mode():
        with torch.autocast("cpu", torch.bfloat16):
            whole = model(image).float()
        stream = Stream(graph_of(model, 3, 4), torch.bfloat16)
        bands = stream.bands(lambda start, stop: image[:, :, start:stop], 96, 16)
        parts = [logits.clone() for _, logits in bands]
        exact = model(image)
    assert all(part.dtype == torch.float32 for part in parts)
    assert not torch.is_autocast_enabled("cpu")
    both = (torch.cat(parts, dim=2), whole)
    own, others = ((logits - exact).square().mean().sqrt() for logits in both)
    assert 1e-4 * exact.abs().max() < own < 1.5 * others
