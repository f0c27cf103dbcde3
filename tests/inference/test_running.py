"""A plan gives each pixel of a picture once, with the logits of one pass over the whole of it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from pixelwright.errors import PredictError
from pixelwright.inference.graph import graph_of
from pixelwright.inference.plan import Costs, Plan, plan_for
from pixelwright.inference.run import Member, run_part, run_whole, seams
from pixelwright.inference.stream import Stream
from pixelwright.inference.views import ALL_EIGHT, MIRRORED, PLAIN, View
from pixelwright.models import gives_one_label, models
from pixelwright.nn.normalise import Normalised
from pixelwright.nn.receptive import Field, field_of
from pixelwright.registry import Spec
from pixelwright.types import Window

SPECS = [
    *(name for name in models if not gives_one_label(name) and name not in ("unet", "timm-unet")),
    "unet:width=4,depth=2",
]
CLASSES = 3
FILL = (127.5, 100.0, 80.0)


@dataclass
class Pixels:
    """A picture in memory, and where it has no data."""

    pixels: np.ndarray
    nothing: np.ndarray | None = None

    def __post_init__(self) -> None:
        self.height, self.width = self.pixels.shape[:2]
        self.asked: list[Window] = []

    def read(self, window: Window) -> np.ndarray:
        self.asked.append(window)
        return self._cut(self.pixels, window)

    def invalid(self, window: Window) -> np.ndarray | None:
        return None if self.nothing is None else self._cut(self.nothing, window)

    def _cut(self, whole: np.ndarray, window: Window) -> np.ndarray:
        top, left, height, width = window
        assert top >= 0 and left >= 0 and height > 0 and width > 0
        assert top + height <= self.height and left + width <= self.width
        return whole[top : top + height, left : left + width]


def picture(height: int, width: int, seed: int = 0) -> Pixels:
    drawn = np.random.default_rng(seed)
    return Pixels(drawn.integers(0, 256, (height, width, 3), dtype=np.uint8))


@dataclass
class Subject:
    """A network in float64, and all that a plan needs to know of it."""

    network: nn.Module
    field: Field
    stream: Stream | None

    @property
    def align(self) -> int:
        return math.lcm(self.field.stride, self.field.multiple)

    @property
    def halo(self) -> int:
        return -(-self.field.radius // self.align) * self.align

    def member(self, views: Sequence[View] = PLAIN) -> Member:
        return Member(self.network, FILL, self.stream, views)

    def plan(self, kind: str, height: int, width: int, rows: int, columns: int, band=None) -> Plan:
        halo = 0 if self.field.unbounded else self.halo
        return Plan(kind, height, width, self.align, halo, rows, columns, band)


def subject(spec: str) -> Subject:
    torch.manual_seed(0)
    network = models.build(Spec.parse(spec), classes=CLASSES, channels=3)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_var, 0.5, 1.5)
            nn.init.normal_(module.running_mean)
    field = field_of(network, 3)
    whole = Normalised(network, [127.5] * 3, [64.0] * 3).double().eval()
    graph = None if field.unbounded else graph_of(whole, 3, field.multiple)
    return Subject(whole, field, Stream(graph) if graph and graph.refused is None else None)


@pytest.fixture(scope="module")
def fcnn() -> Subject:
    return subject("fcnn")


@pytest.fixture(scope="module")
def unet() -> Subject:
    return subject("unet:width=4,depth=2")


def padded(pixels: np.ndarray, align: int) -> Tensor:
    below, beside = (-n % align for n in pixels.shape[:2])
    whole = np.pad(pixels, ((0, below), (0, beside), (0, 0)), mode="edge")
    return torch.from_numpy(whole).permute(2, 0, 1).unsqueeze(0)


def whole_pass(one: Subject, pixels: np.ndarray) -> Tensor:
    """The logits of one pass over the padded picture, cropped."""
    with torch.inference_mode():
        logits = one.network(padded(pixels, one.align))
    return logits[0, :, : pixels.shape[0], : pixels.shape[1]]


def stitched(plan: Plan, seen: Pixels, members: Sequence[Member]) -> list[Tensor]:
    """The logits of each member and view, put together; each pixel must come once."""
    count = sum(len(member.views) for member in members)
    found = [
        torch.full((CLASSES, seen.height, seen.width), torch.nan).double() for _ in range(count)
    ]
    times = np.zeros((seen.height, seen.width), int)
    for part in plan.parts():
        for window, logits in run_part(part, plan, seen, members):
            at = (
                slice(window.top, window.top + window.height),
                slice(window.left, window.left + window.width),
            )
            times[at] += 1
            for whole, one in zip(found, logits, strict=True):
                whole[:, *at] = one
    assert (times == 1).all()
    return found


def same(found: Tensor, expected: Tensor) -> None:
    assert (found - expected).abs().max() <= 1e-12 * expected.abs().max()
    assert torch.equal(found.argmax(0), expected.argmax(0))


def plans(one: Subject, height: int, width: int) -> list[Plan]:
    """One of each kind, with parts as small as they can be."""
    align, halo = one.align, one.halo
    high, wide = (-(-n // align) * align for n in (height, width))
    small = 2 * halo + 2 * align
    rows, columns = min(small, high), min(small, wide)
    found = [
        one.plan("whole", height, width, high, wide),
        one.plan("tiles", height, width, rows, columns),
        one.plan("tiles", height, width, rows, wide),
    ]
    if one.stream:
        found += [
            one.plan("stream", height, width, high, wide, align),
            one.plan("stream", height, width, high, columns, 3 * align),
            one.plan("stream", height, width, rows, columns, 2 * align),
        ]
    return found


@pytest.mark.parametrize("spec", SPECS)
def test_every_segmenter_gives_by_every_plan_what_one_pass_gives(spec: str) -> None:
    one = subject(spec)
    side = one.align
    size = (3 * side + side // 2 + 1, 2 * side + 1)
    if one.field.unbounded:
        pytest.skip("sees the whole picture, so that windows are blended")
    seen = picture(*size)
    expected = whole_pass(one, seen.pixels)
    for plan in plans(one, *size):
        same(stitched(plan, seen, [one.member()])[0], expected)


SIZES = [(1, 1), (1, 67), (71, 1), (3, 5), (37, 53), (16, 200), (203, 17), (64, 64)]


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("name", ["fcnn", "unet"])
def test_f67_pictures_of_any_size_give_by_every_plan_what_one_pass_gives(
    name: str, size: tuple[int, int], request: pytest.FixtureRequest
) -> None:
    one: Subject = request.getfixturevalue(name)
    seen = picture(*size)
    expected = whole_pass(one, seen.pixels)
    assert expected.shape == (CLASSES, *size)
    for plan in plans(one, *size):
        same(stitched(plan, seen, [one.member()])[0], expected)


def test_sizes_bands_and_parts_drawn_at_random_give_what_one_pass_gives(unet: Subject) -> None:
    drawn = np.random.default_rng(5)
    align, halo = unet.align, unet.halo
    for _ in range(12):
        height, width = (int(n) for n in drawn.integers(1, 160, 2))
        high, wide = (-(-n // align) * align for n in (height, width))
        rows, columns = (
            min(2 * halo + align * int(drawn.integers(4, 16)), n) for n in (high, wide)
        )
        band = align * int(drawn.integers(1, 9))
        seen = picture(height, width, seed=int(drawn.integers(100)))
        expected = whole_pass(unet, seen.pixels)
        for plan in (
            unet.plan("tiles", height, width, rows, columns),
            unet.plan("stream", height, width, rows, columns, band),
        ):
            same(stitched(plan, seen, [unet.member()])[0], expected)


def test_a_stream_of_one_part_reads_each_pixel_once(unet: Subject) -> None:
    seen = picture(130, 40)
    stitched(unet.plan("stream", 130, 40, 132, 40, 8), seen, [unet.member()])
    read = np.zeros((130, 40), int)
    for top, left, height, width in seen.asked:
        read[top : top + height, left : left + width] += 1
    assert (read[:129] == 1).all()  # the last row is repeated in the padding


def test_f71_the_network_sees_its_mean_where_there_are_no_data(fcnn: Subject) -> None:
    seen = picture(40, 30)
    seen.nothing = np.zeros((40, 30), bool)
    seen.nothing[10:20, 5:25] = True
    filled = seen.pixels.copy()
    filled[seen.nothing] = np.rint(FILL).astype(np.uint8)
    expected = whole_pass(fcnn, filled)
    assert not torch.equal(expected, whole_pass(fcnn, seen.pixels))
    for plan in plans(fcnn, 40, 30):
        same(stitched(plan, seen, [fcnn.member()])[0], expected)
    # What the pixels without data hold changes nothing, were it not a number.
    deep = Pixels(seen.pixels.astype(np.float32), seen.nothing)
    deep.pixels[seen.nothing] = np.nan
    plan = plans(fcnn, 40, 30)[1]
    exact = seen.pixels.astype(np.float32)
    exact[seen.nothing] = FILL
    same(stitched(plan, deep, [fcnn.member()])[0], whole_pass(fcnn, exact))


def reference_of(one: Subject, pixels: np.ndarray, view: View) -> Tensor:
    """The padded picture turned by numpy, run, and the logits turned back by hand."""
    image = padded(pixels, one.align)[0].numpy()
    turned = image.transpose(0, 2, 1) if view.turned else image
    if view.upside:
        turned = turned[:, ::-1]
    if view.across:
        turned = turned[:, :, ::-1]
    with torch.inference_mode():
        logits = one.network(torch.from_numpy(turned.copy())[None])[0].numpy()
    if view.across:
        logits = logits[:, :, ::-1]
    if view.upside:
        logits = logits[:, ::-1]
    logits = logits.transpose(0, 2, 1) if view.turned else logits
    return torch.from_numpy(logits[:, : pixels.shape[0], : pixels.shape[1]].copy())


def test_a_mirrored_view_is_that_of_the_mirrored_picture_by_every_plan(unet: Subject) -> None:
    seen = picture(61, 43)
    for plan in plans(unet, 61, 43):
        found = stitched(plan, seen, [unet.member(MIRRORED)])
        for view, one in zip(MIRRORED, found, strict=True):
            same(one, reference_of(unet, seen.pixels, view))


def test_all_eight_views_are_those_of_the_turned_picture_by_tiles(unet: Subject) -> None:
    seen = picture(61, 43)
    for plan in plans(unet, 61, 43):
        if plan.band is None:
            found = stitched(plan, seen, [unet.member(ALL_EIGHT)])
            for view, one in zip(ALL_EIGHT, found, strict=True):
                same(one, reference_of(unet, seen.pixels, view))


def test_networks_of_different_strides_answer_by_one_plan(fcnn: Subject, unet: Subject) -> None:
    seen = picture(90, 50)
    align = max(fcnn.align, unet.align)
    expected = []
    for one in (fcnn, unet):
        with torch.inference_mode():
            logits = one.network(padded(seen.pixels, align))
        expected.append(logits[0, :, :90, :50])
    assert fcnn.align < unet.align
    for plan in plans(unet, 90, 50):
        found = stitched(plan, seen, [fcnn.member(), unet.member()])
        for one, wanted in zip(found, expected, strict=True):
            same(one, wanted)


def test_pictures_run_together_give_what_each_gives_alone(unet: Subject) -> None:
    seen = [picture(37, 21, seed) for seed in range(3)]
    plan = unet.plan("whole", 37, 21, 40, 24)
    together = run_whole(plan, seen, [unet.member(MIRRORED)])
    for one, views in zip(seen, together, strict=True):
        alone = stitched(plan, one, [unet.member(MIRRORED)])
        for found, wanted in zip(views, alone, strict=True):
            same(found, wanted)


class SeesAll(nn.Module):
    """Adds to each pixel what the whole picture has."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.linspace(-1, 1, 9).reshape(3, 3, 1, 1).double())

    def forward(self, images: Tensor) -> Tensor:
        x = images.double() / 64 - 2
        return nn.functional.conv2d(x + x.mean((2, 3), keepdim=True), self.scale)


def test_what_sees_the_whole_picture_is_blended_and_its_seams_told() -> None:
    field = Field(0, 0, 1, 1, "a mean over the picture")
    one = Subject(SeesAll(), field, None)
    seen = picture(50, 40)
    seen.pixels[:25] //= 3
    plan = one.plan("windows", 50, 40, 20, 20)
    [blended] = stitched(plan, seen, [one.member()])
    assert blended.isfinite().all()
    assert not torch.allclose(blended.softmax(0), whole_pass(one, seen.pixels).softmax(0))
    assert 0 < seams(plan, seen, one.member()).share < 1
    [whole] = stitched(one.plan("whole", 50, 40, 50, 40), seen, [one.member()])
    same(whole, whole_pass(one, seen.pixels))


def test_f68_a_picture_without_pixels_has_no_plan(fcnn: Subject) -> None:
    costs = Costs(fcnn.field, lambda rows, columns: 0, lambda: None)
    with pytest.raises(PredictError, match="no pixels: it is 0 x 7"):
        plan_for(costs, 0, 7, available=10**9)
