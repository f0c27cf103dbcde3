"""The stated footprint of a pass, held against hand counts, the allocator and the process."""

import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pixelwright.errors import PredictError
from pixelwright.models import gives_one_label, models
from pixelwright.nn.footprint import footprint
from pixelwright.nn.ghost import ghost_of
from pixelwright.nn.normalise import Normalised
from pixelwright.registry import Spec

SMALL = {
    "convunext": "convunext:width=8,depth=2",
    "encoder-decoder": "encoder-decoder:width=8,depth=2",
    "fcn": "fcn:width=8",
    "fcn-down": "fcn-down:width=8,depth=2",
    "light": "light:width=8,depth=2",
    "smp": "smp:encoder=resnet18,depth=3,widths=16,8,8",
    "timm-unet": "timm-unet:encoder=resnet18,depth=3,widths=16,8,8",
    "unet": "unet:width=8,depth=3",
}
# The MobileNetV2 takes seconds; its path up is that of others.
TEXTS = [
    *(
        SMALL.get(name, name)
        for name in models
        if not gives_one_label(name) and name != "mobilenet-unet"
    ),
    "smp:arch=segformer,encoder=mit_b0,widths=32",
    "smp:arch=deeplabv3plus,encoder=tu-mobilenetv3_small_100,widths=32",
    "unet:width=8,depth=2,upsample=transposed",
    "unet:width=8,depth=2,upsample=bilinear,norm=layer",
]


def built(text: str) -> nn.Module:
    torch.manual_seed(0)
    network = models.build(Spec.parse(text), classes=3, channels=3)
    model = Normalised(network, [127.0] * 3, [60.0] * 3).eval()
    return model.to(memory_format=torch.channels_last)


def two_convolutions() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(True), nn.Conv2d(4, 2, 1))


def test_a_footprint_worked_out_by_hand() -> None:
    cost = footprint(two_convolutions(), (1, 3, 8, 8), torch.float32)
    # While the second convolution runs: its input, its result, and the image, 64 pixels of 4 bytes
    # each. The ReLU writes into what is there.
    assert cost.tensor_bytes == 64 * 4 * (4 + 2 + 3)
    assert cost.output_bytes == 64 * 4 * 2
    assert cost.weights_bytes == 4 * (4 * 3 * 9 + 4 + 2 * 4 + 2)
    assert cost.multiply_adds == 64 * (4 * 3 * 9 + 2 * 4)
    assert cost.peak_bytes >= cost.tensor_bytes


def test_views_take_nothing_and_what_a_skip_connection_holds_counts_until_it_is_used() -> None:
    class Skips(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            kept = x + 1  # 1 unit, held to the end
            y = (x * 2).flatten(2).transpose(1, 2)  # a unit, seen in another way
            y = y.exp().exp()  # each frees the one before
            return y.transpose(1, 2).reshape(x.shape) + kept

    unit = 4 * 3 * 64
    # At the second exp: the image, what is kept, and two of the chain; x * 2 is still called y.
    assert footprint(Skips(), (1, 3, 8, 8), torch.float32).tensor_bytes == 5 * unit


def test_a_batch_takes_as_many_times_what_one_image_takes() -> None:
    model = built("unet:width=8,depth=2")
    one, four = (footprint(model, (n, 3, 64, 96)) for n in (1, 4))
    assert four.tensor_bytes == pytest.approx(4 * one.tensor_bytes, rel=0.01)
    assert four.multiply_adds == 4 * one.multiply_adds
    assert four.weights_bytes == one.weights_bytes


def handed_out(model: nn.Module, image: Tensor) -> int:
    """The most bytes that PyTorch's allocator had given out at one time in a pass."""
    with (
        torch.inference_mode(),
        torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU],
                               profile_memory=True) as profile,
    ):  # fmt: skip
        model(image)
    assert profile.profiler is not None
    events = [e for e in profile.profiler.kineto_results.events() if e.name() == "[memory]"]
    held = most = 0
    for event in sorted(events, key=lambda e: e.start_ns()):
        held += event.nbytes()
        most = max(most, held)
    return most + image.numel() * image.element_size()


def batch(height: int, width: int, n: int = 1) -> Tensor:
    return torch.zeros(n, height, width, 3, dtype=torch.uint8).permute(0, 3, 1, 2)


@pytest.mark.parametrize("text", TEXTS)
def test_the_peak_covers_what_the_allocator_hands_out(text: str) -> None:
    # So small that copies of weights and windows weigh as much as maps: the worst for the peak.
    model, image = built(text), batch(64, 96)
    cost = footprint(model, image.shape)
    measured = handed_out(model, image)
    assert cost.tensor_bytes <= 1.02 * measured
    assert measured <= 1.02 * cost.peak_bytes


@pytest.mark.parametrize("text", ["fcnn", "unet:width=8,depth=3", SMALL["timm-unet"]])
def test_of_larger_images_tensors_are_all_that_the_allocator_hands_out(text: str) -> None:
    model, image = built(text), batch(256, 320)
    cost = footprint(model, image.shape)
    assert cost.tensor_bytes == pytest.approx(handed_out(model, image), rel=0.01)


RUN_ONCE = """
import torch
from pixelwright import memory
from pixelwright.models import models
from pixelwright.nn.footprint import footprint
from pixelwright.registry import Spec

torch.set_num_threads(1)
memory.return_freed()
for text, side in (("fcnn", 768), ("unet:width=8", 640)):
    model = models.build(Spec.parse(text), classes=5, channels=3).eval()
    with torch.inference_mode():
        model(torch.zeros(1, 3, 64, 64).to(memory_format=torch.channels_last))
        before, _ = memory.resident(), memory.forget_peak()
        model(torch.zeros(1, 3, side, side).to(memory_format=torch.channels_last))
        taken = memory.peak() - before
    print(footprint(model, (1, 3, side, side), torch.float32).peak_bytes / taken)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak of a process from /proc")
def test_the_peak_is_what_a_process_takes() -> None:
    command = [sys.executable, "-c", RUN_ONCE]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    assert [float(ratio) for ratio in ran.stdout.split()] == pytest.approx([1, 1], abs=0.08)


def test_planes_are_copied_into_blocks_and_back_where_channels_do_not_lie_last() -> None:
    class Planes(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.convolution = nn.Conv2d(16, 16, 3, padding=1)

        def forward(self, x: Tensor) -> Tensor:
            return self.convolution(x.contiguous())

    shape, unit = (1, 16, 256, 256), 4 * 16 * 256 * 256
    planes = footprint(Planes(), shape, torch.float32)
    last = footprint(Planes().convolution, shape, torch.float32)
    assert last.tensor_bytes == 2 * unit
    assert last.peak_bytes == pytest.approx(2 * unit, rel=0.02)
    assert planes.tensor_bytes == 3 * unit
    assert planes.peak_bytes == pytest.approx(4 * unit, rel=0.02)


def test_attention_holds_no_table_of_all_pairs() -> None:
    class Attention(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            rows = x.flatten(2).transpose(1, 2).unsqueeze(1)
            mixed = F.scaled_dot_product_attention(rows, rows, rows)
            return mixed.squeeze(1).transpose(1, 2).reshape(x.shape)

    pixels = 64 * 64
    cost = footprint(Attention(), (1, 8, 64, 64), torch.float32)
    assert cost.peak_bytes < 4 * pixels * pixels / 50
    # A product of queries and keys, and one of weights and values, over all pairs.
    assert cost.multiply_adds == 2 * 8 * pixels**2


def test_a_group_of_layers_that_shares_weights_counts_them_once() -> None:
    layer = nn.Conv2d(3, 3, 1, bias=False)
    assert footprint(nn.Sequential(layer, layer), (1, 3, 8, 8)).weights_bytes == 4 * 9


def test_mixed_precision_halves_the_maps_and_keeps_weights_twice() -> None:
    model = two_convolutions()
    half = footprint(model, (1, 3, 8, 8), torch.bfloat16, precision=torch.bfloat16)
    assert half.weights_bytes == footprint(model, (1, 3, 8, 8), torch.float32).weights_bytes
    assert half.tensor_bytes == 64 * 2 * (4 + 2 + 3) + half.weights_bytes // 2


def test_a_size_that_the_model_does_not_take_is_refused_with_the_models_reason() -> None:
    with pytest.raises(PredictError, match=r"does not take a batch of 1 x 3 x 30 x 64 .*[Ss]ize"):
        footprint(built("unet:width=2,depth=3"), (1, 3, 30, 64))


def test_the_model_is_left_as_it_was() -> None:
    model = built("fcnn").train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    footprint(model, (1, 3, 64, 64))
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_a_ghost_has_no_data_and_keeps_what_is_shared_and_how_it_lies_in_memory() -> None:
    model = built("unet:width=8,depth=2")
    model.register_module("again", model.network)
    ghost = ghost_of(model.train())
    assert {p.device.type for p in ghost.parameters()} == {"meta"}
    assert not ghost.training
    assert ghost.again is ghost.network
    for mine, its in zip(model.parameters(), ghost.parameters(), strict=True):
        assert (mine.shape, mine.stride(), mine.dtype) == (its.shape, its.stride(), its.dtype)
