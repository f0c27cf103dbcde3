"""A network run by bands of rows gives what one pass over the whole image gives."""

from dataclasses import replace
from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pixelwright.inference._joined import Joined
from pixelwright.inference._resizes import Grow, Shuffle
from pixelwright.inference._rewrites import coarse_conv
from pixelwright.inference._rowwise import PerChannel, Rowwise, Slot
from pixelwright.inference._windows import Conv, MaxPool
from pixelwright.inference.graph import IMAGE, Graph, graph_of
from pixelwright.inference.stream import Demand, Stream
from pixelwright.models import gives_one_label, models
from pixelwright.nn.normalise import Normalised
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


def conv(into: int, out: int, **options) -> nn.Conv2d:
    return nn.Conv2d(into, out, 3, **({"padding": 1} | options))


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


def test_batch_norm_lies_in_the_convolution_before_it():
    network = nn.Sequential(conv(3, 4), nn.BatchNorm2d(4), nn.ReLU(), conv(4, 2))
    graph = check(network, 24, 24, (8,))
    # To floats, minus the mean; then convolution, ReLU and convolution as one.
    assert len(graph.nodes) == 3


@pytest.mark.parametrize(
    ("factor", "side", "coarse"),
    [(2, 3, 2), (2, 5, 3), (2, 7, 4), (3, 3, 2), (3, 5, 3), (4, 3, 2), (4, 5, 2)],
)
@pytest.mark.parametrize("last", [True, False])
def test_a_convolution_behind_a_nearest_upsampling_runs_before_it(factor, side, coarse, last):
    network = nn.Sequential(
        nn.MaxPool2d(factor),
        nn.Upsample(scale_factor=factor),
        nn.Conv2d(3, 4, side, padding=side // 2),
        *([] if last else [nn.ReLU(), conv(4, 2)]),
    )
    graph = check(network, 8 * factor, 8 * factor, (2 * factor, 5 * factor))
    [made] = [n for n in graph.nodes if isinstance(n.op, Conv) and n.values >= 4 * factor**2]
    assert made.op.weight.shape[1:] == (3, coarse, coarse)
    assert sum(isinstance(node.op, Shuffle) for node in graph.nodes) == 1


@pytest.mark.parametrize("groups", [1, 3])
def test_the_deviation_lies_in_the_weights_of_a_convolution_of_all_channels(groups):
    graph = check(nn.Sequential(conv(3, 6, groups=groups), conv(6, 2)), 24, 24, (8,))
    divided = [node for node in graph.nodes if isinstance(node.op, Rowwise)]
    assert len(divided) == (2 if groups == 1 else 3)


def test_the_deviation_stays_where_others_read_its_result():
    class Both(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one = conv(3, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.one(x) + x

    assert sum(isinstance(node.op, Rowwise) for node in check(Both(), 24, 24, (8,)).nodes) == 4


def test_the_logits_of_a_last_shuffle_lie_class_by_class():
    network = nn.Sequential(nn.MaxPool2d(2), conv(3, 12), nn.PixelShuffle(2))
    graph = check(network, 24, 24, (4, 10))
    assert graph.nodes[-2].op.weight.shape[0] == 16  # twelve channels, and zeros
    image = picture(24, 24)
    [(_, logits)] = Stream(graph).bands(lambda start, stop: image[:, :, start:stop], 24, 24)
    assert logits.is_contiguous()


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


@pytest.mark.parametrize("kernel", [(2, 2), (3, 2), (1, 4)])
@pytest.mark.parametrize("width", [24, 25])
@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
@pytest.mark.parametrize("relu", [False, True])
def test_max_pooling_within_its_input_is_max_pooling(kernel, width, layout, relu):
    pool = MaxPool(kernel, kernel, (0, 0), (1, 1), False, relu)
    assert pool.overwrites(False)
    slab = torch.randn(1, 5, 12, width, generator=torch.Generator().manual_seed(0))
    slab[0, 3, 2, 2] = torch.nan
    expected = F.max_pool2d(slab, kernel)
    expected = (expected.relu() if relu else expected).nan_to_num(99)
    rows = (0, 12 // kernel[0])
    found = pool.run_over([slab.to(memory_format=layout)], [0], rows, [12])
    assert torch.equal(found.nan_to_num(99), expected)
    given = [slab.to(memory_format=layout)]
    assert not pool.writes(given, rows, spare=False)
    if width % kernel[1] or layout == torch.contiguous_format:
        assert not pool.writes(given, rows, spare=True)
    else:
        assert pool.writes(given, rows, spare=True)
        out = torch.empty_like(expected, memory_format=layout)
        pool.run_into(given, rows, out)
        assert torch.equal(out.nan_to_num(99), expected)


@pytest.mark.parametrize("kernel", [(2, 2), (3, 2), (1, 4), (2, 1)])
def test_a_relu_runs_within_the_max_pooling_behind_it(kernel):
    network = nn.Sequential(
        conv(3, 6),
        nn.ReLU(),
        nn.MaxPool2d(kernel),
        conv(6, 8),
        nn.ReLU(),
        nn.Upsample(None, kernel),
    )
    graph = check(network, 48, 32, (12, 24))
    [pool] = [node.op for node in graph.nodes if isinstance(node.op, MaxPool)]
    assert pool.relu


@pytest.mark.parametrize("ceil", [False, True])
def test_windows_that_overlap_or_are_padded_do_not_write_over_their_input(ceil):
    assert not MaxPool((3, 3), (2, 2), (0, 0), (1, 1), ceil).overwrites(True)
    assert not MaxPool((2, 2), (2, 2), (1, 1), (1, 1), ceil).overwrites(True)
    assert not MaxPool((2, 2), (2, 2), (0, 0), (2, 2), ceil).overwrites(True)


def test_factors_of_channels_are_the_same_in_any_memory_format():
    factor = torch.tensor([2.0, 3.0, 5.0]).reshape(3, 1, 1)
    op = PerChannel(torch.ops.aten.mul.Tensor, (Slot(0), factor), {})
    for width in (7, 4):
        given = torch.randn(1, 3, 6, width)
        last = given.to(memory_format=torch.channels_last)
        out = torch.empty_like(last)
        op.run_into([last], (0, 6), out)
        for found in (op.run([given], [0], (0, 6), [6]), op.run([last], [0], (0, 6), [6]), out):
            assert torch.equal(found, given * factor)


def test_summed_weights_by_hand():
    # A row of pixels a b, each twice: a a b b; the kernel 1 2 3 4 5 over its middle pixels.
    weight = torch.zeros(1, 1, 5, 5)
    weight[0, 0, 2] = torch.tensor([1.0, 2, 3, 4, 5])
    given = Conv((5, 5), (1, 1), (2, 2), (1, 1), weight, torch.tensor([7.0]), 1)
    found = coarse_conv(Grow("nearest", (2, 2)), given)
    assert found is not None
    made, placed = found
    assert placed.before == 0
    # Of three pairs the left pixel sees 1 2 | 3 4 | 5, the right one 1 | 2 3 | 4 5.
    assert made.weight[0, 0, 1].tolist() == [3, 7, 5]
    assert made.weight[1, 0, 1].tolist() == [1, 5, 9]
    assert made.bias.tolist() == [7, 7, 7, 7]


def test_summed_weights_of_pairs_that_begin_before_the_image_by_hand():
    weight = torch.zeros(1, 1, 3, 3)
    weight[0, 0, 1] = torch.tensor([1.0, 2, 3])
    given = Conv((3, 3), (1, 1), (1, 1), (1, 1), weight, None, 1)
    found = coarse_conv(Grow("nearest", (2, 2)), given)
    assert found is not None
    made, placed = found
    assert placed.before == 1
    # a a b b: the second a sees 1 2 | 3, the first b 1 | 2 3. The upper row lies in coarse row one.
    assert made.weight[0, 0].tolist() == [[3, 3], [0, 0]]
    assert made.weight[1, 0].tolist() == [[1, 5], [0, 0]]
    assert made.weight[2, 0].tolist() == [[0, 0], [3, 3]]


def test_a_convolution_of_single_pixels_stays_behind_its_upsampling():
    given = Conv((1, 1), (1, 1), (0, 0), (1, 1), torch.zeros(1, 1, 1, 1), None, 1)
    assert coarse_conv(Grow("nearest", (2, 2)), given) is None


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


def joined(graph: Graph) -> int:
    return sum(isinstance(node.op, Joined) for node in graph.nodes)


@pytest.mark.parametrize(
    "last",
    [
        {},
        {"padding": 0},
        {"padding": (2, 0)},
        {"kernel_size": (5, 3), "padding": (2, 1)},
        {"dilation": 2, "padding": 2},
        {"kernel_size": 1, "padding": 0},
        {"groups": 2},
    ],
)
def test_light_convolutions_run_anew_for_each_band_in_place_of_waiting(last):
    first = conv(3, 4, padding=(0, 1))
    network = nn.Sequential(
        first,
        nn.ReLU(),
        nn.Conv2d(4, 6, **({"kernel_size": 3, "padding": 1} | last)),
        nn.ReLU(),
        conv(6, 6),
        nn.Conv2d(6, 3, 1),
    )
    with torch.no_grad():
        lost = [
            a - b
            for a, b in zip((40, 32), network(torch.zeros(1, 3, 40, 32)).shape[2:], strict=True)
        ]
    around = nn.Sequential(
        nn.ZeroPad2d((lost[1] // 2, lost[1] // 2, lost[0] // 2, lost[0] // 2)), network
    )
    graph = check(around, 40, 32, (8, 13))
    assert joined(graph) == 1


def test_convolutions_that_pool_and_grow_run_anew_too():
    network = nn.Sequential(
        conv(3, 4),
        nn.ReLU(),
        conv(4, 6, stride=2),
        nn.ReLU(),
        conv(6, 8),
        nn.ReLU(),
        conv(8, 8),
        nn.ReLU(),
        nn.Conv2d(8, 12, 1),
        nn.PixelShuffle(2),
    )
    graph = check(network, 40, 32, (8, 13))
    assert joined(graph) == 2


def test_heavy_convolutions_are_not_done_twice():
    graph = check(nn.Sequential(conv(3, 16), conv(16, 16), nn.ReLU(), conv(16, 2)), 24, 24, (8,))
    assert joined(graph) == 0


def test_what_another_operator_reads_is_not_hidden_between_two():
    class Both(nn.Module):
        def __init__(self, inner: int) -> None:
            super().__init__()
            self.one, self.two, self.inner = conv(3, 3), conv(3, 3), inner

        def forward(self, x: Tensor) -> Tensor:
            y = self.one(x)
            z = y.relu()
            return self.two(z) + (y, z)[self.inner]

    for inner in (0, 1):
        assert joined(check(Both(inner), 24, 24, (8,))) == 0


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("bias", [True, False])
def test_a_relu_within_a_convolution_is_one_behind_it(groups, bias):
    torch.manual_seed(0)
    weight, shift = torch.randn(6, 4 // groups, 3, 3), torch.randn(6) if bias else None
    plain = Conv((3, 3), (1, 2), (1, 1), (1, 1), weight, shift, groups)
    wider = torch.randn(1, 4, 11, 14).to(memory_format=torch.channels_last)
    slab = wider[:, :, 1:-1, 1:-1]  # as a shuffle of pixels may leave it
    for kind in (torch.float32, torch.float64):
        given = slab.to(kind) if kind == torch.float64 else slab
        ops = [
            replace(
                plain,
                weight=weight.to(kind),
                bias=None if shift is None else shift.to(kind),
                relu=relu,
            )
            for relu in (False, True)
        ]
        # In the middle of the map, at its top, where it is padded above alone, and whole.
        for rows, span, high in (((3, 10), (2, 11), 20), ((0, 8), (0, 9), 20), ((0, 9), (0, 9), 9)):
            assert plain.needs(0, rows, high) == span
            expected, found = (op.run([given], [span[0]], rows, [high]) for op in ops)
            torch.testing.assert_close(found, expected.relu())
            assert found.is_contiguous(memory_format=torch.channels_last)
