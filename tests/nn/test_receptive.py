"""The stated field of every model, held against what its gradients show."""

import copy
from typing import get_args

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pixelwright.errors import PredictError
from pixelwright.models import gives_one_label, models
from pixelwright.nn.receptive import Field, field_of
from pixelwright.nn.upsample import Upsample
from pixelwright.registry import Spec

# Options that leave little to compute.
SMALL = {
    "convunext": "convunext:width=2,depth=1,kernel=5",
    "encoder-decoder": "encoder-decoder:width=2,depth=2",
    "fcn": "fcn:width=4",
    "fcn-down": "fcn-down:width=2,depth=2",
    "light": "light:width=2,depth=1",
    "smp": "smp:encoder=resnet18,depth=3,widths=4,2,2",
    "timm-unet": "timm-unet:encoder=resnet18,depth=2,widths=4,2",
    "unet": "unet:width=2,depth=2",
}
# The MobileNetV2 sees 276 px to each side, which takes minutes; its path up is that of others.
MEASURED = [name for name in models if name != "mobilenet-unet" and not gives_one_label(name)]
TEXTS = [
    *(SMALL.get(name, name) for name in MEASURED),
    *(
        f"{SMALL.get(name, f'{name}:')},upsample={how}".replace(":,", ":")
        for name in MEASURED
        if "upsample" in models.options(name)
        for how in get_args(Upsample)
        if how != models.options(name)["upsample"].default
    ),
    "fcn:depth=2,width=4,kernel=7,norm=none",
    "fcnn:norm=true",
    "fcn-down:width=2,depth=2,down=stride,kernel=5,norm=layer",
    "convunext:width=2,depth=2,kernel=3,norm=batch",
    "unet:width=2,depth=1,upsample=bilinear",
    "unet:width=2,depth=1,block=residual,upsample=bilinear,kernel=5,norm=layer",
    "unet:width=2,depth=3,block=residual,upsample=transposed",
]


class Foreign(nn.Module):
    """Steps that other people's encoders take: dilation, strides, polyphase, channels last."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 7, stride=2, padding=3)
        self.pool = nn.MaxPool2d(3, 2, 1)
        self.wide = nn.Conv2d(4, 4, 3, padding=2, dilation=2, groups=4)
        self.norm = nn.LayerNorm(4)
        self.linear = nn.Linear(4, 4)
        self.shuffle = nn.Conv2d(4, 16, 1)
        self.even = nn.ConvTranspose2d(4, 4, 4, 2, 1)
        self.head = nn.Conv2d(4, 2, 3)

    def forward(self, image: Tensor) -> Tensor:
        x = self.pool(torch.relu_(self.stem(image)))
        x = self.wide(x) + x
        rows = self.linear(self.norm(x.permute(0, 2, 3, 1)))
        x = rows.permute(0, 3, 1, 2) * x.mean(dim=1, keepdim=True)
        x = F.pixel_shuffle(self.shuffle(x), 2)
        a, b = F.hardswish(x).chunk(2, dim=1)
        x = self.even(torch.cat([b, a], dim=1))
        return self.head(F.pad(x, (1, 1, 1, 1)))


def built(text: str) -> nn.Module:
    torch.manual_seed(0)
    if text == "foreign":
        return Foreign()
    model: nn.Module = models.build(Spec.parse(text), classes=2, channels=3)
    return model


def smoothed(module: nn.Module) -> nn.Module:
    """A copy that lets every gradient through: positive weights, means instead of maxima."""
    module = copy.deepcopy(module).double().eval()
    for parameter in module.parameters():
        parameter.data = parameter.data.abs() + 0.01
    for parent in list(module.modules()):
        for name, child in parent.named_children():
            if isinstance(child, nn.MaxPool2d):
                mean = nn.AvgPool2d(child.kernel_size, child.stride, child.padding)
                setattr(parent, name, mean)
            if isinstance(child, nn.LayerNorm):  # its differences can cancel out
                setattr(parent, name, nn.Identity())
    return module


def measured(model: nn.Module, field: Field) -> tuple[int, int]:
    """How far to the left and right the middle pixels see, over all phases of the stride."""
    model = smoothed(model)
    side = -(-(2 * field.radius + 3 * field.stride) // field.multiple) * field.multiple
    middle = side // 2 // field.stride * field.stride
    image = torch.rand(1, 3, side, side, dtype=torch.float64, requires_grad=True)
    logits = model(image)[0].sum(0)
    before = after = 0
    for phase in range(field.stride):
        at = middle + phase
        (gradient,) = torch.autograd.grad(logits[at, at], image, retain_graph=True)
        for axis in (2, 3):
            touched = gradient.abs().sum(dim=(0, 1, 5 - axis)).nonzero()
            before = max(before, at - int(touched.min()))
            after = max(after, int(touched.max()) - at)
    return before, after


@pytest.mark.parametrize("text", [*TEXTS, "foreign"])
def test_the_stated_field_covers_the_measured_one_and_hardly_more(text: str) -> None:
    model = built(text)
    field = field_of(model)
    assert field.unbounded is None
    before, after = measured(model, field)
    assert before <= field.before < before + field.stride
    assert after <= field.after < after + field.stride


@pytest.mark.parametrize("text", [*TEXTS, "foreign"])
def test_moving_the_image_by_the_stride_moves_the_logits(text: str) -> None:
    model = built(text).double().eval()
    field = field_of(model)
    step = field.stride
    side = (2 * field.radius + 3 * step) // field.multiple * field.multiple + 2 * field.multiple
    image = torch.rand(1, 3, side, side, dtype=torch.float64)
    middle = slice(field.radius + step, side - field.radius - step)
    with torch.no_grad():
        still = model(image)
        moved = model(image.roll((step, step), dims=(2, 3))).roll((-step, -step), dims=(2, 3))
    assert still[..., middle, middle].numel() > 0
    torch.testing.assert_close(
        moved[..., middle, middle], still[..., middle, middle], rtol=0, atol=1e-10
    )


@pytest.mark.parametrize("text", [*TEXTS, "foreign"])
def test_multiples_of_the_size_rule_keep_the_size(text: str) -> None:
    model = built(text).eval()
    multiple = field_of(model).multiple
    for height, width in [(1, 1), (2, 3), (5, 2)]:
        shape = (height * multiple, width * multiple)
        assert model(torch.rand(1, 3, *shape)).shape[-2:] == shape


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # Convolutions alone: (kernel - 1) / 2 each.
        ("fcn:depth=3,width=4,kernel=5,norm=none", Field(6, 6, 1, 1)),
        # Two 3x3, then at half resolution one 3x3 (2 px a step), then 5x5. To the left: 1 + 1, 2
        # for the 3x3, 2 for the 5x5, and 1 where an odd pixel reads its even neighbour's cell.
        # To the right: the same, the last 1 being the other pixel of a pooled pair.
        ("fcnn", Field(7, 7, 2, 2)),
    ],
)
def test_fields_worked_out_by_hand(text: str, expected: Field) -> None:
    assert field_of(built(text)) == expected


class Pooled(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * F.adaptive_avg_pool2d(x, 1).sigmoid()


class Attention(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        rows = x.flatten(2).transpose(1, 2)
        return F.scaled_dot_product_attention(rows, rows, rows).transpose(1, 2).reshape(x.shape)


class Positions(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x + torch.linspace(0, 1, x.shape[-1], device=x.device)


class WritesInPlace(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        canvas = torch.zeros_like(x)
        canvas[..., 1:, :] = x[..., :-1, :]
        return canvas + x


class Corners(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        half = F.avg_pool2d(x, 2)
        return F.interpolate(half, scale_factor=2.0, mode="bilinear", align_corners=True)


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (nn.InstanceNorm2d(3), "instance norm"),
        (nn.GroupNorm(1, 3), "group norm"),
        (Pooled(), "global average pooling"),
        (Attention(), "attention"),
        (Positions(), "position"),
        (WritesInPlace(), "writing into a part"),
        (Corners(), "align_corners"),
        (nn.Softmax(dim=-1), "softmax over the image"),
    ],
)
def test_a_model_that_sees_the_whole_image_names_the_step(model: nn.Module, words: str) -> None:
    field = field_of(model)
    assert field.unbounded is not None
    assert words in field.unbounded


def test_a_global_step_that_the_logits_do_not_use_does_not_count() -> None:
    class Unused(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            x.mean(dim=(2, 3))
            return F.avg_pool2d(x, 3, stride=1, padding=1)

    assert field_of(Unused()) == Field(1, 1, 1, 1)


def test_a_model_that_loses_the_size_is_refused() -> None:
    with pytest.raises(PredictError, match="as large as its input"):
        field_of(nn.Conv2d(3, 2, 3))


def test_the_model_is_left_as_it_was() -> None:
    model = built("fcnn").train()
    field_of(model)
    assert model.training
    assert {parameter.device.type for parameter in model.parameters()} == {"cpu"}
