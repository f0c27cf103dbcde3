"""Heat lies where the network found what it answers with."""

import copy
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import tiny
from pixelwright.errors import PredictError
from pixelwright.inference.explain import METHODS, Explainer, around, gradcam, hirescam
from pixelwright.models import models
from pixelwright.nn.classifier import Classifier
from pixelwright.nn.normalise import Normalised
from pixelwright.nn.receptive import Field, field_of
from pixelwright.registry import Spec
from pixelwright.types import Window

WHOLE = Field(0, 0, 1, 1, "its head")
EXACT = {"rtol": 1e-5, "atol": 1e-5}
ALL = np.ones((8, 8), bool)


def convolution(kernels: Tensor, bias: tuple[float, ...] | None = None) -> nn.Conv2d:
    """A padded convolution with these kernels "d c h w"."""
    layer = nn.Conv2d(kernels.shape[1], len(kernels), kernels.shape[-1], padding="same")
    layer.weight = nn.Parameter(kernels.clone())
    layer.bias = nn.Parameter(torch.tensor(bias or (0.0,) * len(kernels)))
    return layer


def answering(head: nn.Module, weights: Tensor, bias: tuple[float, ...]) -> nn.Module:
    """A head that ends in a linear layer of these weights "k features"."""
    linear = nn.Linear(weights.shape[1], len(weights))
    linear.weight, linear.bias = nn.Parameter(weights), nn.Parameter(torch.tensor(bias))
    return nn.Sequential(head, nn.Flatten(), linear)


def two_channels() -> Normalised:
    """Maps x and 5 - x of an image of 2x2 pixels, and a head with a weight for each place."""
    encoder = convolution(torch.tensor([1.0, -1.0]).reshape(2, 1, 1, 1), (0.0, 5.0))
    weights = torch.tensor([[1.0] * 8, [4, 0, 0, 0, 0, 0, 0, -2]])
    return Normalised(
        Classifier(encoder, answering(nn.Identity(), weights, (0.0, 0.5))), [0.0], [1.0]
    )


STEPS = np.array([[1, 2], [3, 4]], np.uint8)[..., None]


def test_grad_cam_of_a_hand_worked_case() -> None:
    # Maps A0 = [[1, 2], [3, 4]] and A1 = [[4, 3], [2, 1]]. The gradient of class 1 in A0 is
    # [[4, 0], [0, 0]], mean 1; in A1 it is [[0, 0], [0, -2]], mean -1/2. So the sum is
    # A0 - A1/2 = [[-1, 1/2], [2, 7/2]]; without its negative part and by its largest,
    # [[0, 1/7], [4/7, 1]].
    heat = Explainer(two_channels(), WHOLE).look(STEPS).heat(1)
    np.testing.assert_allclose(heat.raw, [[-1, 0.5], [2, 3.5]], **EXACT)
    np.testing.assert_allclose(heat.map, [[0, 1 / 7], [4 / 7, 1]], **EXACT)


def test_hirescam_of_a_hand_worked_case_adds_up_to_the_logit() -> None:
    # Gradient times map, place by place: 4 * 1 and -2 * 1. With the bias 1/2 the logit is 2.5.
    look = Explainer(two_channels(), WHOLE).look(STEPS)
    heat = look.heat(1, hirescam)
    np.testing.assert_allclose(heat.raw, [[4, 0], [0, -2]], **EXACT)
    np.testing.assert_allclose(heat.map, [[1, 0], [0, 0]], **EXACT)
    assert heat.score == pytest.approx(2.5)
    assert look.logits[1] == pytest.approx(2.5)
    assert heat.raw.sum() + 0.5 == pytest.approx(2.5)


def test_nothing_that_speaks_for_a_class_is_no_heat() -> None:
    network = two_channels()
    with torch.no_grad():
        network.network.head[2].weight.neg_()
    heat = Explainer(network, WHOLE).look(STEPS).heat(0)
    assert (heat.raw < 0).all()
    assert (heat.map == 0).all()


def seeing(channels: int = 3, classes: int = 4) -> Normalised:
    """A classifier with random weights whose head averages each map and is linear."""
    torch.manual_seed(1)
    encoder = nn.Sequential(
        nn.Conv2d(channels, 8, 3, stride=2, padding=1), nn.BatchNorm2d(8), nn.ReLU(inplace=True),
        nn.Conv2d(8, 6, 3, stride=2, padding=1), nn.ReLU(inplace=True),
    )  # fmt: skip
    head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, classes))
    return Normalised(Classifier(encoder, head), [120.0] * channels, [60.0] * channels)


def test_of_a_linear_head_on_average_pooling_both_methods_give_what_each_place_adds() -> None:
    network = seeing()
    look = Explainer(network, WHOLE).look(tiny.noise(24, 32))
    for index, bias in enumerate(network.network.head[2].bias.tolist()):
        exact = look.heat(index, hirescam)
        assert exact.raw.shape == (6, 8)
        assert exact.raw.sum() + bias == pytest.approx(float(look.logits[index]), abs=1e-5)
        np.testing.assert_allclose(look.heat(index, gradcam).raw, exact.raw, **EXACT)


def test_the_logits_are_those_of_the_network() -> None:
    network, image = seeing().eval(), tiny.noise(24, 32)
    with torch.no_grad():
        expected = network(torch.from_numpy(image).permute(2, 0, 1)[None])[0]
    np.testing.assert_allclose(Explainer(network, WHOLE).look(image).logits, expected, **EXACT)


@pytest.mark.parametrize("method", METHODS)
def test_heat_moves_with_the_picture(method: str) -> None:
    torch.manual_seed(0)
    encoder = nn.Sequential(nn.Conv2d(1, 5, 3, padding=1, bias=False), nn.ReLU(),
                            nn.Conv2d(5, 4, 5, padding=2, bias=False), nn.ReLU())  # fmt: skip
    head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    explainer = Explainer(Normalised(Classifier(encoder, head), [0.0], [99.0]), WHOLE, channels=1)
    # A patch on black, far from the edges: without biases, black is what padding is.
    image = np.zeros((32, 40, 1), np.uint8)
    image[8:13, 9:15] = tiny.noise(5, 6, 1)
    before, after = (
        explainer.look(one).heat(0, METHODS[method]).raw
        for one in (image, np.roll(image, (7, 11), (0, 1)))
    )
    assert np.abs(before).max() > 0
    np.testing.assert_allclose(after, np.roll(before, (7, 11), (0, 1)), **EXACT)


def spotting() -> nn.Conv2d:
    """Two maps: how much brighter 5x5 pixels are than those around them, and the mean of 3x3."""
    kernels = torch.zeros(2, 1, 9, 9)
    kernels[0] = -1 / (81 - 25)
    kernels[0, :, 2:7, 2:7] = 1 / 25
    kernels[1, :, 3:6, 3:6] = 1 / 9
    return convolution(kernels, (-60.0, 0.0))


def with_a_square(top: int, left: int, seed: int = 3) -> np.ndarray:
    """A noisy picture with a bright square of 5x5 pixels."""
    image = np.random.default_rng(seed).integers(0, 90, (48, 64, 1), np.uint8)
    image[top : top + 5, left : left + 5] = 250
    return image


@pytest.mark.parametrize("place", [(4, 6), (30, 50), (20, 11)])
@pytest.mark.parametrize("method", METHODS)
def test_a_classifier_that_looks_for_a_square_is_explained_by_the_square(
    place: tuple[int, int], method: str
) -> None:
    encoder = nn.Sequential(spotting(), nn.ReLU(inplace=True), nn.MaxPool2d(2))
    head = answering(nn.AdaptiveAvgPool2d(1), torch.tensor([[0.0, 1], [1, 0]]), (0.0, 0.0))
    explainer = Explainer(Normalised(Classifier(encoder, head), [0.0], [1.0]), WHOLE, channels=1)
    heat = explainer.look(with_a_square(*place)).heat(1, METHODS[method]).map
    row, column = np.unravel_index(heat.argmax(), heat.shape)
    assert heat.shape == (48, 64)
    assert place[0] <= row < place[0] + 5
    assert place[1] <= column < place[1] + 5
    # And nowhere else: the square and what the convolution reaches around it hold all of it.
    inside = heat[max(place[0] - 6, 0) : place[0] + 11, max(place[1] - 6, 0) : place[1] + 11]
    assert inside.sum() == pytest.approx(heat.sum(), rel=1e-4)


class Spotter(nn.Module):
    """A segmenter with a deep half: is there a bright square? Class 1 where there is."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.Sequential(spotting(), nn.ReLU(inplace=True), nn.MaxPool2d(2))
        self.up = nn.Upsample(scale_factor=2)
        self.head = convolution(torch.tensor([[0.0, 0.1], [1, 0]])[..., None, None], (2.0, 0.0))

    def forward(self, image: Tensor) -> Tensor:
        return self.head(self.up(self.down(image)))


def spotter() -> tuple[Normalised, Field]:
    network = Normalised(Spotter(), [0.0], [1.0])
    return network, field_of(network, channels=1)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("size", [(48, 64), (47, 61)])
def test_a_segmenter_that_looks_for_a_square_is_explained_by_the_square(
    method: str, size: tuple[int, int]
) -> None:
    explainer = Explainer(*spotter(), channels=1)
    assert explainer.layer == "down"
    image = with_a_square(30, 50)[: size[0], : size[1]]
    look = explainer.look(image)
    assert look.logits.shape == (2, *size)
    heat = look.heat(1, METHODS[method]).map
    row, column = np.unravel_index(heat.argmax(), heat.shape)
    assert heat.shape == size
    assert 30 <= row < 35
    assert 50 <= column < 55


def test_of_a_segmenter_hirescam_shows_what_a_pixel_saw_and_grad_cam_where_its_like_is() -> None:
    explainer = Explainer(*spotter(), channels=1)
    image = np.maximum(with_a_square(10, 10), with_a_square(30, 50))
    pixel = np.zeros((48, 64), bool)
    pixel[12, 12] = True
    look = explainer.look(image)
    seen = look.heat(1, hirescam, pixel)
    assert np.argwhere(seen.raw).tolist() == [[6, 6]]
    assert seen.raw.sum() == pytest.approx(seen.score)
    assert seen.score == pytest.approx(float(look.logits[1, 12, 12]))
    both = look.heat(1, gradcam, pixel).map
    assert both[30:35, 50:55].max() == pytest.approx(1, abs=0.2)


def test_the_score_of_a_segmenter_is_the_sum_over_the_pixels_of_the_class() -> None:
    look = Explainer(*spotter(), channels=1).look(with_a_square(30, 50))
    for index in range(2):
        pixels = look.logits.argmax(0) == index
        assert pixels.any()
        expected = look.logits[index][pixels].sum(dtype=np.float64)
        assert look.heat(index).score == pytest.approx(float(expected), rel=1e-5)
        np.testing.assert_array_equal(look.heat(index).raw, look.heat(index, region=pixels).raw)


def test_padding_is_not_explained() -> None:
    # One row and column of padding make logits of their own, which no sum may hold.
    look = Explainer(*spotter(), channels=1).look(with_a_square(30, 50)[:47, :61])
    everything = np.ones((47, 61), bool)
    expected = look.logits[0].sum(dtype=np.float64)
    assert look.heat(0, region=everything).score == pytest.approx(float(expected), rel=1e-5)
    raw = look.heat(1, hirescam, everything).raw
    assert raw.shape == (24, 31)


def test_maps_are_taken_before_the_next_layer_overwrites_them() -> None:
    # The first convolution gives -x; a ReLU that works in place would leave nothing of it.
    encoder = nn.Sequential(
        convolution(torch.tensor(-1.0).reshape(1, 1, 1, 1)),
        nn.ReLU(inplace=True),
        convolution(torch.tensor(1.0).reshape(1, 1, 1, 1), (1.0,)),
    )
    head = answering(nn.AdaptiveAvgPool2d(1), torch.tensor([[1.0]]), (0.0,))
    network = Normalised(Classifier(encoder, head), [2.5], [1.0])
    look = Explainer(network, WHOLE, layer="encoder.0", channels=1).look(STEPS)
    # Maps 1.5, 0.5, -0.5, -1.5; where they pass the ReLU, each of four places adds a quarter.
    np.testing.assert_allclose(look.heat(0, hirescam).raw, [[0.375, 0.125], [0, 0]], **EXACT)


def test_a_network_that_runs_in_double_precision_is_explained_in_single() -> None:
    look = Explainer(two_channels().double(), WHOLE).look(STEPS)
    assert look.logits.dtype == look.heat(1).raw.dtype == look.heat(1).map.dtype == np.float32


def test_a_layer_without_maps_is_refused() -> None:
    with pytest.raises(PredictError, match=r"'head.2' gives 1 x 4, and not maps"):
        Explainer(seeing(), WHOLE, layer="head.2").look(tiny.noise(8, 8))


def test_what_has_no_pixels_is_refused() -> None:
    look = Explainer(*spotter(), channels=1).look(np.zeros((8, 8, 1), np.uint8))
    with pytest.raises(PredictError, match="No pixel is predicted as class 1"):
        look.heat(1)
    with pytest.raises(PredictError, match="region has no pixel"):
        look.heat(0, region=~ALL)
    with pytest.raises(PredictError, match="0 x 8"):
        Explainer(*spotter(), channels=1).look(np.zeros((0, 8, 1), np.uint8))


def test_a_classifier_has_no_regions() -> None:
    with pytest.raises(PredictError, match="one label"):
        Explainer(seeing(), WHOLE).look(tiny.noise(8, 8)).heat(0, region=ALL)


def explained(network: nn.Module) -> None:
    Explainer(network, WHOLE).look(tiny.noise(16, 16)).heat(0)


def refused(network: nn.Module) -> None:
    with pytest.raises(PredictError):
        Explainer(network, WHOLE, layer="head.2").look(tiny.noise(16, 16))


@pytest.mark.parametrize("act", [explained, refused])
def test_nothing_is_left_behind(act: Callable[[nn.Module], None]) -> None:
    network = seeing().train()
    norm, first = network.network.encoder[1], network.network.encoder[0]
    norm.eval()
    first.requires_grad_(False)
    before = copy.deepcopy(network.state_dict())
    modes = [module.training for module in network.modules()]
    asking = [p.requires_grad for p in network.parameters()]
    act(network)
    assert [module.training for module in network.modules()] == modes
    assert [p.requires_grad for p in network.parameters()] == asking
    assert all(p.grad is None for p in network.parameters())
    assert not any(module._forward_hooks for module in network.modules())
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert torch.is_grad_enabled()


def test_a_part_around_a_region_gives_the_logits_of_the_whole_picture() -> None:
    torch.manual_seed(5)
    built = models.build(Spec.parse("unet:width=4,depth=2"), classes=3, channels=3)
    network = Normalised(built, [120.0] * 3, [60.0] * 3)
    field = field_of(network)
    image, region = tiny.noise(203, 301), Window(120, 99, 5, 9)
    part, complete = around(region, (203, 301), field)
    assert complete
    assert part.height * part.width < 203 * 301
    seen = image[part.top : part.top + part.height, part.left : part.left + part.width]
    small, large = (Explainer(network, field).look(one) for one in (seen, image))
    inside, outside = np.zeros(seen.shape[:2], bool), np.zeros(image.shape[:2], bool)
    inside[region.top - part.top :, region.left - part.left :][:5, :9] = True
    outside[120:125, 99:108] = True
    assert small.heat(1, hirescam, inside).score == pytest.approx(
        large.heat(1, hirescam, outside).score, rel=1e-4
    )
    raw = large.heat(1, hirescam, outside).raw
    rows, cols = part.height // 4, part.width // 4
    top, left = part.top // 4, part.left // 4
    np.testing.assert_allclose(
        small.heat(1, hirescam, inside).raw, raw[top : top + rows, left : left + cols],
        rtol=1e-3, atol=1e-5,
    )  # fmt: skip
    assert np.abs(raw[top : top + rows, left : left + cols]).sum() == pytest.approx(
        np.abs(raw).sum(), rel=1e-5
    )


@pytest.mark.parametrize("region", [Window(0, 0, 8, 8), Window(90, 3, 1, 60), Window(50, 50, 9, 9)])
@pytest.mark.parametrize("most", [1000, 3000, 10**6])
def test_a_part_holds_its_region_and_has_no_more_pixels_than_it_may(
    region: Window, most: int
) -> None:
    field = Field(20, 17, 4, 8)
    part, complete = around(region, (101, 97), field, most)
    assert part.height * part.width <= most
    assert part.top % 8 == part.left % 8 == 0
    assert part.top <= region.top
    assert part.left <= region.left
    assert part.top + part.height >= region.top + region.height
    assert part.left + part.width >= region.left + region.width
    assert complete or most < 10**6


def test_a_part_of_what_is_seen_whole_is_never_complete() -> None:
    seen_whole = Field(0, 0, 8, 8, "instance norm")
    assert around(Window(8, 8, 8, 8), (64, 64), seen_whole) == (Window(0, 0, 64, 64), True)
    part, complete = around(Window(8, 8, 8, 8), (64, 64), seen_whole, 1000)
    assert not complete
    assert part.height * part.width <= 1000


def test_a_region_too_large_for_one_pass_is_refused() -> None:
    with pytest.raises(PredictError, match="more than the 1,000 pixels"):
        around(Window(0, 0, 40, 40), (64, 64), Field(3, 3, 1, 1), 1000)
