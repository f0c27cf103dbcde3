"""Networks by bands with less to compute: what is rewritten, and that the logits stay."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bands import check, conv, picture
from pixelwright.inference._joined import Joined
from pixelwright.inference._resizes import Grow, Shuffle
from pixelwright.inference._rewrites import coarse_conv
from pixelwright.inference._rowwise import PerChannel, Rowwise, Slot
from pixelwright.inference._windows import Conv, MaxPool
from pixelwright.inference.graph import Graph
from pixelwright.inference.stream import Stream


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
