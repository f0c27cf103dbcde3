"""Promises that every model keeps that gives each pixel a class."""

from itertools import pairwise
from typing import get_args

import pytest
import torch
from torch import nn

from pixelwright.models import gives_one_label, models
from pixelwright.nn.blocks import norm_layers
from pixelwright.nn.normalise import Normalised
from pixelwright.nn.receptive import field_of
from pixelwright.nn.upsample import PixelShuffle, Upsample
from pixelwright.registry import Spec

PIXELWISE = [name for name in models if not gives_one_label(name)]
# Options that make a model small enough to test; its name alone where there are none.
SMALL = {
    "convunext": ["convunext:width=4,depth=2"],
    "encoder-decoder": ["encoder-decoder:width=6,depth=2"],
    "fcn-down": ["fcn-down:width=4,depth=2"],
    "light": ["light:width=4,depth=2"],
    "unet": ["unet:width=4,depth=2"],
    "fcn": ["fcn:width=4,depth=2"],
    "mobilenet-unet": ["mobilenet-unet:encoder=mobilenetv2_035,widths=16,8,8,8"],
    "timm-unet": ["timm-unet:encoder=repghostnet_050,depth=3,widths=16,8,8"],
    "smp": ["smp:encoder=tu-repghostnet_050,depth=3,widths=16,8,8"],
}
TEXTS = [
    *(text for name in PIXELWISE for text in SMALL.get(name, [name])),
    "fcnn:norm=true,dropout=0.2",
    "fcn:width=4,depth=1,kernel=5,norm=none",
    "fcn:width=6,depth=1,norm=group",
    "unet:width=4,depth=3,block=residual,upsample=bilinear,norm=instance",
    "unet:width=4,depth=1,upsample=transposed,norm=none,dropout=0.2",
    "unet:width=4,depth=2,kernel=5,norm=layer",
    "fcn-down:width=4,depth=1,down=stride,kernel=5,norm=none",
    "encoder-decoder:width=6,depth=1,norm=batch",
    "convunext:width=4,depth=1,kernel=3,norm=batch",
    "convunext:width=4,depth=3,norm=none",
]
UPSAMPLED = [
    f"{text}{',' if ':' in text else ':'}upsample={how}"
    for name in PIXELWISE
    if "upsample" in models.options(name)
    for text in SMALL.get(name, [name])[:1]
    for how in get_args(Upsample)
    if how != models.options(name)["upsample"].default
]
TEXTS += UPSAMPLED


def build(text: str, channels: int = 3) -> nn.Module:
    torch.manual_seed(5)
    model: nn.Module = models.build(Spec.parse(text), classes=3, channels=channels)
    return model


def pictures(text: str, width: float = 1) -> torch.Tensor:
    """Two images that suit a model, shaped as its logits of three classes; wider by a factor."""
    side = 64 if text.startswith("mobilenet-unet") else 32
    return torch.randn(2, 3, side, int(side * width))


@pytest.fixture(params=TEXTS)
def text(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_logits_keep_the_image_size(text: str) -> None:
    images = pictures(text, width=1.5)
    assert build(text)(images).shape == images.shape


def test_every_parameter_learns(text: str) -> None:
    model = build(text)
    model(pictures(text)).square().sum().backward()
    idle = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert idle == []


def test_a_few_steps_reduce_the_loss(text: str) -> None:
    model = build(text)
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    images = pictures(text)
    target = (images[:, 0] > 0).long()
    values = []
    for _ in range(12):
        loss = nn.functional.cross_entropy(model(images), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        values.append(loss.item())
    assert min(values[-3:]) < 0.8 * values[0]


def test_first_logits_have_a_moderate_scale(text: str) -> None:
    logits = build(text)(pictures(text))
    assert 0.1 < logits.std() < 10


def test_equal_seeds_give_equal_weights(text: str) -> None:
    one, other = build(text).state_dict(), build(text).state_dict()
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_grey_images_work(text: str) -> None:
    images = pictures(text)
    assert build(text, channels=1)(images[:, :1]).shape == images.shape


def test_double_precision_works(text: str) -> None:
    model = build(text).double()
    assert model(pictures(text).double()).dtype == torch.float64


def test_mixed_precision_stays_narrow_and_channels_last(text: str) -> None:
    model = build(text).to(memory_format=torch.channels_last)
    images = pictures(text).to(memory_format=torch.channels_last)
    seen = {}
    for name, module in model.named_modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            module.register_forward_hook(
                lambda _, inputs, out, name=name: seen.update({name: (inputs[0].dtype, out.dtype)})
            )
    with torch.autocast("cpu", torch.bfloat16):
        logits = model(images)
    logits.float().square().mean().backward()
    # The first convolution gets the image itself; none of the others may be widened on the way.
    assert {out for _, out in seen.values()} == {torch.bfloat16}
    assert [n for n, (given, _) in seen.items() if given == torch.float32] in (
        [next(iter(seen))],
        [n for n, module in model.named_modules() if getattr(module, "in_channels", 0) == 3],
    )
    assert logits.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("name", list(models))
def test_every_option_is_documented(name: str) -> None:
    described = models.builder(name).__doc__ or ""
    own = [o.name for o in models.options(name).values() if not o.meaning]
    assert [option for option in own if f"{option}: " not in described] == []


def test_one_option_switches_the_upsampling_of_every_model() -> None:
    assert {Spec.parse(text).name for text in UPSAMPLED} >= {
        "convunext",
        "encoder-decoder",
        "fcn-down",
        "fcnn",
        "light",
        "unet",
    }
    for text in UPSAMPLED:
        kinds = {type(m) for m in build(text).modules()}
        modes = {m.mode for m in build(text).modules() if isinstance(m, nn.Upsample)}
        how = Spec.parse(text).options["upsample"]
        assert (nn.ConvTranspose2d in kinds) == (how == "transposed"), text
        assert (PixelShuffle in kinds) == (how == "pixel-shuffle"), text
        assert modes == {how} & {"nearest", "bilinear"}, text


def test_fcnn_has_the_parameters_that_its_page_states() -> None:
    def count(classes: int) -> int:
        model = models.build(Spec.parse("fcnn"), classes=classes, channels=3)
        return sum(parameter.numel() for parameter in model.parameters())

    # 3x3x3x16 + 16, 3x3x16x32 + 32, 3x3x32x16 + 16, 5x5x16x2 + 2.
    assert count(2) == 448 + 4640 + 4624 + 802 == 10_514
    assert count(11) == 9_712 + 401 * 11


def test_fcnn_is_exactly_the_stated_sequence() -> None:
    layers = [
        (type(layer).__name__, getattr(layer, "out_channels", None), getattr(layer, "padding", 0))
        for layer in build("fcnn")
    ]
    assert layers == [
        ("Conv2d", 16, (1, 1)),
        ("ReLU", None, 0),
        ("Conv2d", 32, (1, 1)),
        ("ReLU", None, 0),
        ("MaxPool2d", None, 0),
        ("Conv2d", 16, (1, 1)),
        ("ReLU", None, 0),
        ("Upsample", None, 0),
        ("Conv2d", 3, (2, 2)),
    ]


def test_unet_has_the_channels_of_the_paper() -> None:
    # Figure 1 of the paper: 64 to 1024 down, and each merge takes twice what it gives.
    with torch.device("meta"):
        network = models.build(Spec.parse("unet:width=64"), classes=2, channels=1)
    assert [stage[0].out_channels for stage in network.down] == [128, 256, 512, 1024]
    merges = [(stage[0].in_channels, stage[0].out_channels) for stage in network.merge]
    assert merges == [(1024, 512), (512, 256), (256, 128), (128, 64)]


def test_encoder_decoder_has_the_parameters_of_the_book() -> None:
    # Of 3x3 windows: 3 to 64, 64 to 64, 64 to 128, 128 to 128, 128 to 256, 256 to 256; three of
    # 256, 256 to 128, 128 to 128, 128 to 64, 64 to 64, and 64 to 3 classes.
    model = models.build(Spec.parse("encoder-decoder"), classes=3, channels=3)
    steps = [3, 64, 64, 128, 128, 256, 256, 256, 256, 128, 128, 64, 64, 3]
    expected = sum(9 * a * b + b for a, b in pairwise(steps))
    assert sum(p.numel() for p in model.parameters()) == expected == 2_880_643
    strides = [(type(m).__name__, m.stride[0]) for m in model if hasattr(m, "stride")]
    down = [("Conv2d", 2), ("Conv2d", 1)] * 3
    assert strides == [*down, *[("Conv2d", 1), ("ConvTranspose2d", 2)] * 3, ("Conv2d", 1)]


def test_convunext_has_about_the_parameters_of_the_paper() -> None:
    with torch.device("meta"):
        network = models.build(Spec.parse("convunext"), classes=2, channels=3)
    # The paper states 3.5 million.
    assert sum(p.numel() for p in network.parameters()) == pytest.approx(3.5e6, rel=0.01)
    assert [len([m for m in stage if m._get_name() == "Block"]) for stage in network.down] == [
        *(1, 1, 3, 1)
    ]


def test_a_gate_can_shut_a_skip_connection_and_pass_another_value() -> None:
    gate = build("convunext:width=4,depth=1").gate[0]
    skip, below = torch.randn(1, 4, 5, 5), torch.randn(1, 4, 5, 5)
    nn.init.constant_(gate.open.bias, -100.0)
    shut = gate(skip, below)
    assert torch.equal(gate(torch.randn(1, 4, 5, 5), below), shut)
    share, value = gate.below(below)[:, 4:].chunk(2, dim=1)
    torch.testing.assert_close(shut, gate.out(share.sigmoid() * value.tanh()))
    nn.init.constant_(gate.open.bias, 100.0)
    open_ = gate.out(skip + share.sigmoid() * value.tanh())
    torch.testing.assert_close(gate(skip, below), open_)


def test_layer_norm_looks_at_one_pixel_only() -> None:
    (norm,) = norm_layers("layer", 6)
    x = torch.randn(2, 6, 4, 3)
    out = norm(x)
    torch.testing.assert_close(out.mean(1), torch.zeros(2, 4, 3), atol=1e-6, rtol=0)
    torch.testing.assert_close(norm(x[..., 1:2]), out[..., 1:2])


@pytest.mark.parametrize(
    "text",
    [
        "fcn:kernel=4",
        "unet:kernel=2",
        "fcn-down:down=hop",
        "fcn:depth=0",
        "unet:width=0",
        "unet:upsample=cubic",
        "fcnn:dropout=1",
    ],
)
def test_f37_an_option_out_of_range_is_refused(text: str) -> None:
    assert len(models.problems(Spec.parse(text))) == 1


def test_a_normalised_model_takes_pixel_values_of_any_type() -> None:
    model = Normalised(build("fcnn"), [10.0, 20.0, 30.0], [2.0, 4.0, 8.0])
    images = torch.randint(0, 256, (1, 3, 8, 6), dtype=torch.uint8)
    centred = (images.float() - torch.tensor([10.0, 20, 30]).reshape(1, 3, 1, 1)) / torch.tensor(
        [2.0, 4, 8]
    ).reshape(1, 3, 1, 1)
    torch.testing.assert_close(model(images), model.network(centred))
    torch.testing.assert_close(model(images.float()), model(images))
    assert model.double()(images).dtype == torch.float64
    assert {"mean", "std"} < set(model.state_dict())
    assert not {"mean", "std"} & {name for name, _ in model.named_parameters()}


def test_normalising_changes_nothing_about_what_is_seen() -> None:
    network = build("unet:width=2,depth=1")
    assert field_of(Normalised(network, [0.0] * 3, [1.0] * 3)) == field_of(network)
