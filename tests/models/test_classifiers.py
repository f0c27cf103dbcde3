"""Promises that every model keeps that gives a whole image one label, and what each one is."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from torch import Tensor, nn

import tiny
from pixelwright.build import training
from pixelwright.errors import RecipeError
from pixelwright.models import gives_one_label, models
from pixelwright.nn.classifier import Classifier
from pixelwright.nn.normalise import Normalised, looks_scaled, resized
from pixelwright.nn.sizes import refusal, sizes_of
from pixelwright.recipe import Recipe
from pixelwright.registry import Spec

LABELS = [name for name in models if gives_one_label(name)]
# Options that make a model small enough to test; its name alone where there are none.
SMALL = {
    "convnet": "convnet:width=8",
    "timm": "timm:network=test_resnet",
    "vgg16": "vgg16:width=0.1",
    "wide-resnet": "wide-resnet:depth=10,width=1",
}
TEXTS = [
    *(SMALL.get(name, name) for name in LABELS),
    "vgg16:width=0.1,norm=batch,head=dense,hidden=16",
    "vgg16:width=0.1,head=paper,hidden=24,pool=2,dropout=0.2",
    "convnet:width=8,norm=batch,conv=separable",
    "convnet:width=8,norm=batch,block=residual,depth=2,pairs=2",
    "convnet:width=8,head=dense,hidden=16,dropout=0.2",
    "wide-resnet:depth=10,width=1,dropout=0.2,drop_path=0.2",
    "timm:network=test_convnext,drop_path=0.1",
    "timm:network=test_vit,size=32",
]
CLASSES = 5


def build(text: str, classes: int = CLASSES, channels: int = 3) -> Classifier:
    torch.manual_seed(5)
    model = models.build(Spec.parse(text), classes=classes, channels=channels)
    assert isinstance(model, Classifier)
    return model


def pictures(count: int = 4, side: int = 32) -> Tensor:
    torch.manual_seed(6)
    return torch.randn(count, 3, side, side)


def count(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


@pytest.fixture(params=TEXTS)
def text(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_every_image_gets_one_logit_for_each_class(text: str) -> None:
    assert build(text)(pictures()).shape == (4, CLASSES)


def test_every_parameter_learns(text: str) -> None:
    model = build(text)
    optimizer = torch.optim.SGD(model.parameters(), 1e-2)
    # timm begins with residual blocks that add nothing: what is in them learns from step two on.
    for _ in range(2):
        optimizer.zero_grad()
        model(pictures(8)).square().mean().backward()
        optimizer.step()
    idle = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert idle == []


def test_a_few_steps_reduce_the_loss(text: str) -> None:
    model = build(text)
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    images, target = pictures(10), torch.arange(10) % CLASSES
    # A colour for each class, beside the noise.
    images += 2 * torch.randn(CLASSES, 3, 1, 1)[target]
    values = []
    for _ in range(16):
        loss = nn.functional.cross_entropy(model(images), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        values.append(loss.item())
    assert min(values[-4:]) < 0.8 * values[0]


def test_first_logits_have_a_moderate_scale(text: str) -> None:
    logits = build(text, classes=100).eval()(pictures())
    if not text.startswith("timm"):
        assert 0.1 < logits.std() < 10
    assert logits.abs().max() < 30


def test_equal_seeds_give_equal_weights(text: str) -> None:
    one, other = build(text).state_dict(), build(text).state_dict()
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_grey_images_work(text: str) -> None:
    assert build(text, channels=1)(pictures()[:, :1]).shape == (4, CLASSES)


def test_double_precision_works(text: str) -> None:
    assert build(text).double()(pictures().double()).dtype == torch.float64


def test_mixed_precision_stays_narrow_and_channels_last(text: str) -> None:
    model = build(text).to(memory_format=torch.channels_last)
    seen = {}
    for name, module in model.named_modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.register_forward_hook(
                lambda _, given, out, name=name: seen.update({name: (given[0].dtype, out.dtype)})
            )
    with torch.autocast("cpu", torch.bfloat16):
        logits = model(pictures().to(memory_format=torch.channels_last))
    logits.float().square().mean().backward()
    assert {out for _, out in seen.values()} == {torch.bfloat16}
    if not text.startswith("timm"):
        # What sees the image itself gets it as it is; nothing else may be widened on the way.
        wide = [name for name, (given, _) in seen.items() if given == torch.float32]
        assert wide
        assert all(model.get_submodule(name).in_channels == 3 for name in wide)


def test_larger_pictures_than_the_smallest_work(text: str) -> None:
    model = build(text).eval()
    sizes = sizes_of(model, 3)
    assert sizes.least <= 32
    larger = [] if sizes.only else [sizes.least + n * sizes.multiple for n in (1, 2)]
    for side in (sizes.least, *larger):
        assert model(pictures(1, side)).shape == (1, CLASSES)
    assert tuple(model.encoder(pictures(1, sizes.side)).shape[1:]) == sizes.seen
    if sizes.least > 1:
        assert refusal(model, 3, sizes.least - 1, sizes.least - 1)


def test_the_encoder_holds_all_weights_but_those_of_the_head(text: str) -> None:
    model = build(text)
    assert count(model.encoder) + count(model.head) == count(model)
    assert count(model.head) > 0
    images = pictures()
    model.eval()
    assert torch.equal(model(images), model.head(model.encoder(images)))


@pytest.mark.parametrize("name", LABELS)
def test_every_option_is_documented(name: str) -> None:
    described = models.builder(name).__doc__ or ""
    own = [o.name for o in models.options(name).values() if not o.meaning]
    assert [option for option in own if f"{option}: " not in described] == []


@pytest.mark.parametrize(
    ("norm", "trunk", "whole"),
    # Of 3x3 windows with biases; then 7*7*512 to 4096, 4096 to 4096 and 4096 to 1000.
    [("none", 14_714_688, 138_357_544), ("batch", 14_714_688 + 8_448, 138_357_544 + 8_448)],
)
def test_vgg16_has_the_parameters_of_the_paper(norm: str, trunk: int, whole: int) -> None:
    widths = [3, 64, 64, 128, 128, 256, 256, 256, *[512] * 6]
    assert sum(9 * a * b + b for a, b in pairwise(widths)) == 14_714_688
    dense = [7 * 7 * 512, 4096, 4096, 1000]
    assert sum(a * b + b for a, b in pairwise(dense)) == 138_357_544 - 14_714_688
    # A scale and a shift for each of 4224 channels.
    assert 2 * sum(widths[1:]) == 8_448
    with torch.device("meta"):
        model = build(f"vgg16:head=paper,norm={norm}", classes=1000)
    assert (count(model.encoder), count(model)) == (trunk, whole)


def test_vgg16_is_five_blocks_that_end_in_a_pooling() -> None:
    model = build("vgg16:width=0.1")
    assert [name for name, _ in model.encoder.named_children()] == [
        f"block{n}" for n in range(1, 6)
    ]
    convolutions = [sum(isinstance(m, nn.Conv2d) for m in b) for b in model.encoder]
    assert convolutions == [2, 2, 3, 3, 3]
    assert all(isinstance(block[-1], nn.MaxPool2d) for block in model.encoder)


def test_the_width_of_vgg16_scales_every_convolution() -> None:
    with torch.device("meta"):
        model = build("vgg16:width=0.25")
    widths = [m.out_channels for m in model.modules() if isinstance(m, nn.Conv2d)]
    assert widths == [16, 16, 32, 32, 64, 64, 64, *[128] * 6]


@pytest.mark.parametrize("option", ["hidden=8", "pool=3"])
def test_f40_an_option_of_dense_layers_is_refused_where_there_are_none(option: str) -> None:
    with pytest.raises(RecipeError, match=f"no dense layer, so {option}"):
        build(f"vgg16:{option}")


def test_f40_hidden_units_are_refused_where_there_are_none() -> None:
    with pytest.raises(RecipeError, match="no dense layer, so hidden=8"):
        build("convnet:hidden=8")


def test_wide_resnet_16_2_has_the_parameters_of_the_paper() -> None:
    # The stem; in each of three groups two blocks of two 3x3 convolutions, the first with a 1x1
    # one around it; batch norms of what enters each convolution, and a last one; the linear layer.
    widths = [16, 32, 64, 128]
    stem = 9 * 3 * 16
    groups = sum(9 * a * b + 3 * 9 * b * b + a * b for a, b in pairwise(widths))
    norms = sum(2 * (a + 3 * b) for a, b in pairwise(widths)) + 2 * 128
    trunk = stem + groups + norms
    assert count(build("wide-resnet:depth=16,width=2").encoder) == trunk == 690_384
    # The paper rounds those of 10 classes to 0.7 million; with 100 there are 90 * 129 more.
    assert count(build("wide-resnet:depth=16,width=2", classes=10)) == trunk + 1_290 == 691_674
    assert count(build("wide-resnet:depth=16,width=2", classes=100)) == 691_674 + 90 * 129


def test_wide_resnet_28_10_has_the_36_5_million_parameters_of_the_paper() -> None:
    with torch.device("meta"):
        model = build("wide-resnet:depth=28,width=10", classes=10)
    assert count(model) == pytest.approx(36.5e6, rel=1e-3)


def test_blocks_of_a_wide_resnet_are_left_out_ever_more_often() -> None:
    model = build("wide-resnet:depth=16,width=1,drop_path=0.3")
    shares = [m.drop_prob for m in model.modules() if hasattr(m, "drop_prob")]
    assert shares == pytest.approx([0.05, 0.1, 0.15, 0.2, 0.25, 0.3])
    images = pictures()
    assert not torch.equal(model(images), model(images))
    model.eval()
    assert torch.equal(model(images), model(images))


@pytest.mark.parametrize("depth", [9, 12, 4])
def test_f37_a_wide_resnet_of_another_depth_is_refused(depth: int) -> None:
    (problem,) = models.problems(Spec.parse(f"wide-resnet:depth={depth}"))
    assert "must be 6n + 4" in problem


def test_the_ingredients_of_a_convnet_are_one_option_apart() -> None:
    plain = build("convnet:width=8,norm=batch").state_dict()
    residual = build("convnet:width=8,norm=batch,block=residual").state_dict()
    inside = {name: t.shape for name, t in residual.items() if "shortcut" not in name}
    assert [*map(tuple, inside.values())] == [tuple(t.shape) for t in plain.values()]
    bare = build("convnet:width=8").state_dict()
    kernels = [t.shape for t in bare.values() if t.ndim == 4]
    assert kernels == [t.shape for t in plain.values() if t.ndim == 4]
    assert not any("norm" in name for name in bare)


def test_a_separable_convolution_has_about_an_eighth_of_the_parameters() -> None:
    full, separable = (
        build(f"convnet:norm=batch,conv={conv}").encoder for conv in ("full", "separable")
    )
    # 9ab against 9a + ab.
    assert 7 < count(full) / count(separable) < 9
    stage = separable.stage2[0]
    assert (stage.depth1.groups, stage.point1.kernel_size) == (64, (1, 1))
    assert isinstance(separable.stage1[0].conv1, nn.Conv2d)


@pytest.mark.parametrize(
    ("text", "given"),
    [
        ("resnet18", {}),
        ("test_convnext", {}),
        ("test_vit,size=32", {"img_size": 32}),
        ("mobilenetv3_small_050", {}),
        ("test_efficientnet,dropout=0.3", {"drop_rate": 0.3}),
    ],
)
def test_the_logits_of_a_network_of_timm_are_the_librarys(text: str, given: dict) -> None:
    model = build(f"timm:network={text}").eval()
    torch.manual_seed(5)
    name = text.partition(",")[0]
    reference = timm.create_model(name, num_classes=CLASSES, **given).eval()
    images = pictures()
    with torch.no_grad():
        assert torch.equal(model(images), reference(images))
    assert count(model) == count(reference)
    names = {n.partition(".model.")[2] for n in model.state_dict()}
    assert names == set(reference.state_dict())


def test_networks_with_channels_last_give_maps_with_channels_first() -> None:
    name = "swin_tiny_patch4_window7_224"
    with torch.device("meta"):
        model = build(f"timm:network={name}")
        seen = model.encoder(torch.empty(1, 3, 224, 224))
    assert seen.shape == (1, 768, 7, 7)
    assert model.head(seen).shape == (1, CLASSES)


def test_the_smallest_picture_and_the_only_one_are_found() -> None:
    def sizes(text: str) -> tuple[int, int | None]:
        with torch.device("meta"):
            found = sizes_of(build(text), 3)
        return found.least, found.only

    assert sizes("vgg16") == (32, None)
    assert sizes("convnet") == (4, None)
    assert sizes("timm:network=vit_tiny_patch16_224") == (224, 224)
    assert sizes("timm:network=vit_tiny_patch16_224,size=48") == (48, 48)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("network=resnet18,size=32", r"timm's resnet18 has no option size: leave it out\."),
        ("network=vgg11,drop_path=0.1", r"timm's vgg11 has no option drop_path: leave it out\."),
        ("network=crossvit_tiny_240", "cannot be taken apart into a trunk and a head"),
    ],
)
def test_f47_a_network_of_timm_that_cannot_be_used_is_refused(options: str, said: str) -> None:
    with pytest.raises(RecipeError, match=said) as error, torch.device("meta"):
        build(f"timm:{options}")
    assert "\n" not in str(error.value)


def test_f47_a_misspelt_network_of_timm_is_answered_with_the_nearest() -> None:
    (problem,) = models.problems(Spec.parse("timm:network=resnet43"))
    assert "Nearest: resnet34" in problem


@pytest.mark.parametrize(
    ("model", "size", "said"),
    [
        ("vgg16:width=0.1", 16, r"takes pictures of 32 x 32 or more, not of 16 x 16"),
        ("timm:network=vit_tiny_patch16_224,size=48", 32, "of 48 x 48 only, not of 32 x 32"),
        ("timm:network=test_vit", 40, "of 16 x 16 or 16 pixels more each time, not of 40 x 40"),
    ],
)
def test_pictures_of_a_size_that_a_network_does_not_take_are_refused_before_the_first_step(
    tmp_path: Path, model: str, size: int, said: str
) -> None:
    table = {"data": tiny.draw_class_folders(tmp_path, each=4), "model": model, "size": size}
    with pytest.raises(RecipeError, match=said) as error:
        training(Recipe.from_dict(table))
    assert "Set size to" in str(error.value)


def test_pictures_are_resized_before_the_network_sees_them() -> None:
    model = Normalised(build("convnet:width=4"), [128.0] * 3, [64.0] * 3, size=16).eval()
    given = torch.randint(0, 256, (2, 3, 40, 24), dtype=torch.uint8)
    for picture in (given, given[..., :10, :12]):
        seen = nn.functional.interpolate(
            picture.float(), size=(16, 16), mode="bilinear", antialias=True
        )
        torch.testing.assert_close(model(picture), model.network((seen - 128) / 64))
    # The mean of what it covers, as no pixel of a fine pattern is like its neighbour.
    pattern = torch.tensor([0.0, 200.0]).repeat(32).expand(1, 3, 64, 64)
    assert (resized(pattern, 8)[..., 1:-1] - 100).abs().max() < 5
    assert torch.equal(resized(pattern, 64), pattern)
    one = torch.tensor([[0.0, 4.0]]).expand(1, 1, 2, 2)
    # Half-pixel centres: a quarter and three quarters between the two, the ends repeated.
    assert resized(one, 4)[0, 0, 0].tolist() == [0, 1, 3, 4]


def test_pictures_in_parts_of_the_full_range_are_told_from_pixel_values() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (6, 5, 3))
    scaled = (pixels / 255).astype(np.float32)
    assert looks_scaled(scaled)
    assert looks_scaled(2 * scaled - 1)
    assert not looks_scaled(pixels.astype(np.float32))
    assert not looks_scaled(pixels.astype(np.uint8))
    assert not looks_scaled((pixels > 128).astype(np.uint8))
    assert not looks_scaled(np.zeros((6, 5, 3), np.float32))
