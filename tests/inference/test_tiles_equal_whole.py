"""A picture predicted by tiles equals one whole pass; the promise on which all sizes rest."""

import functools

import numpy as np
import pytest
import torch
from torch import nn

from pixelwright.errors import PredictError
from pixelwright.inference.predictor import Predictor
from pixelwright.models import gives_one_label, models
from pixelwright.nn.normalise import Normalised
from pixelwright.nn.receptive import Field, field_of
from pixelwright.registry import Spec

CLASSES = 4
# One row a model and the branch of the code that its options choose. Every model of the registry
# must be here.
TEXTS = [
    "convunext:width=4,depth=1",
    "convunext:width=4,depth=2,kernel=3,upsample=transposed,norm=batch",
    "encoder-decoder:width=4,depth=2",
    "encoder-decoder:width=4,depth=1,upsample=bilinear,norm=batch",
    "fcn-down:depth=2,width=4",
    "fcn-down:depth=1,width=4,down=stride,upsample=pixel-shuffle,norm=layer",
    "fcn:depth=2,width=8",
    "fcn:depth=1,width=8,kernel=5,norm=none",
    "fcnn",
    "fcnn:norm=true",
    "light:width=4,depth=2",
    "smp:encoder=resnet18,depth=3,widths=4,4,4",
    "timm-unet:encoder=mobilenetv2_035,depth=2,widths=4,4",
    "unet:width=4,depth=2",
    "unet:width=4,depth=2,block=residual,upsample=bilinear",
    "unet:width=2,depth=3,upsample=transposed",
    "unet:width=4,depth=1,norm=none,dropout=0.5",
    "unet:width=4,depth=2,upsample=pixel-shuffle",
]
SIZES = ["1 x 1", "1 x tile", "3 x long", "odd", "large"]


def scene(height: int, width: int) -> np.ndarray:
    """A picture with both smooth and rough parts."""
    rng = np.random.default_rng(height * 1000 + width)
    rows, columns = np.mgrid[:height, :width]
    waves = [np.sin(rows / 17 + i) * np.cos(columns / (11 + 6 * i)) for i in range(3)]
    noise = rng.normal(size=(height, width, 3)) * (columns % 90 > 45)[..., None]
    return np.clip(128 + 70 * np.stack(waves, axis=-1) + 40 * noise, 0, 255).astype(np.uint8)


@functools.cache
def drawn(text: str) -> tuple[nn.Module, Field]:
    """A model with random weights, shifted so that every class occurs in its predictions."""
    torch.manual_seed(3)
    spec = Spec.parse(text)
    network = models.build(spec, classes=CLASSES, channels=3)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(std=0.1)
            module.running_var.uniform_(0.5, 1.5)
    model = Normalised(network, [120.0] * 3, [60.0] * 3).double()
    field = field_of(model)
    logits = Predictor(model, field, CLASSES).logits(scene(96, 112))
    head = [module for module in network.modules() if isinstance(module, nn.Conv2d)][-1]
    spread = logits.std(dim=(1, 2))
    with torch.no_grad():
        head.weight /= spread.reshape(-1, 1, 1, 1)
        head.bias.copy_(-logits.mean(dim=(1, 2)) / spread)
    return model, field


def tile_for(field: Field) -> int:
    """Small, so that pictures are cut several times; odd, and no multiple of the stride."""
    return 2 * (field.radius + field.multiple) + 5 * field.multiple + 9


def sized(name: str, field: Field) -> np.ndarray:
    """A picture whose size suits the model's tile: smaller, equal, or cut into several."""
    tile = tile_for(field)
    sizes = {
        "1 x 1": (1, 1),
        "1 x tile": (1, tile),
        "3 x long": (3, 2 * tile + 1),
        "odd": (2 * tile // 3 | 1, tile + 13 | 1),
        "large": (tile + 17, tile + 48),
    }
    return scene(*sizes[name])


def test_every_model_is_in_the_list() -> None:
    # The MobileNetV2 sees 276 px to each side: pictures that are cut by its tile take minutes.
    of_pixels = {name for name in models if not gives_one_label(name)}
    assert {Spec.parse(text).name for text in TEXTS} == of_pixels - {"mobilenet-unet"}


@pytest.fixture(params=TEXTS)
def model_and_field(request: pytest.FixtureRequest) -> tuple[nn.Module, Field]:
    return drawn(request.param)


@pytest.mark.parametrize("size", SIZES)
def test_stitched_tiles_equal_one_whole_pass(
    model_and_field: tuple[nn.Module, Field], size: str
) -> None:
    model, field = model_and_field
    image = sized(size, field)
    whole = Predictor(model, field, CLASSES)
    tiled = Predictor(model, field, CLASSES, tile=tile_for(field))

    expected = whole.logits(image)
    assert expected.shape == (CLASSES, *image.shape[:2])
    torch.testing.assert_close(tiled.logits(image), expected, rtol=0, atol=1e-10)
    np.testing.assert_array_equal(tiled.labels(image), expected.argmax(dim=0).numpy())


def test_labels_and_probabilities_are_those_of_the_logits() -> None:
    model, field = drawn("fcnn")
    image = scene(40, 50)
    predictor = Predictor(model, field, CLASSES, tile=tile_for(field))
    logits = predictor.logits(image)
    torch.testing.assert_close(predictor.probabilities(image), logits.softmax(dim=0))
    labels = predictor.labels(image)
    assert labels.dtype == np.uint8
    np.testing.assert_array_equal(labels, logits.argmax(dim=0).numpy())


def test_the_whole_pass_is_the_bare_model_on_the_padded_picture(
    model_and_field: tuple[nn.Module, Field],
) -> None:
    model, field = model_and_field
    image = scene(45, 63)
    below, beside = -45 % field.multiple, -63 % field.multiple
    padded = np.pad(image, ((0, below), (0, beside), (0, 0)), mode="edge")
    with torch.no_grad():
        bare = model.eval()(torch.from_numpy(padded).permute(2, 0, 1).unsqueeze(0))
    stitched = Predictor(model, field, CLASSES).logits(image)
    torch.testing.assert_close(stitched, bare[0, :, :45, :63], rtol=0, atol=1e-10)


def test_every_class_occurs_so_that_equal_labels_mean_something(
    model_and_field: tuple[nn.Module, Field],
) -> None:
    model, field = model_and_field
    labels = Predictor(model, field, CLASSES, tile=tile_for(field)).labels(scene(96, 112))
    assert np.bincount(labels.reshape(-1), minlength=CLASSES).min() > 100


def test_a_halo_that_is_too_small_would_show(model_and_field: tuple[nn.Module, Field]) -> None:
    model, field = model_and_field
    # Two strides less: one may be spare, where the first pixels of a stride see less to the left.
    radius = max(0, field.radius - 2 * field.stride)
    wrong = Field(radius, radius, field.stride, field.multiple)
    image = sized("large", field)
    whole = Predictor(model, field, CLASSES).logits(image)
    tiled = Predictor(model, wrong, CLASSES, tile=tile_for(field)).logits(image)
    assert (tiled - whole).abs().max() > 1e-10


@pytest.mark.parametrize("size", SIZES)
def test_the_network_never_sees_more_than_a_tile(size: str) -> None:
    model, field = drawn("unet:width=4,depth=2")
    tile = tile_for(field)
    seen: list[int] = []
    hook = model.register_forward_hook(
        lambda _, images, __: seen.append(len(images[0]) * images[0][0, 0].numel())
    )
    Predictor(model, field, CLASSES, tile=tile).labels(sized(size, field))
    hook.remove()
    assert 0 < max(seen) <= tile * tile


def test_without_a_tile_large_pictures_are_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    model, field = drawn("fcnn")
    monkeypatch.setattr("pixelwright.inference.predictor.WHOLE_PIXELS", 10_000)
    monkeypatch.setattr("pixelwright.inference.predictor.USUAL_TILE", 64)
    image = scene(97, 131)
    windows = [window for window, _ in Predictor(model, field, CLASSES).logit_tiles(image)]
    assert len(windows) > 1
    assert sum(window.height * window.width for window in windows) == 97 * 131


@pytest.mark.parametrize("norm", ["instance", "group"])
def test_a_model_that_sees_the_whole_image_is_predicted_whole_or_refused(norm: str) -> None:
    torch.manual_seed(0)
    network = models.build(Spec.parse(f"unet:width=4,depth=2,norm={norm}"), classes=2, channels=3)
    model = Normalised(network, [120.0] * 3, [60.0] * 3)
    field = field_of(model)
    assert Predictor(model, field, 2).labels(scene(70, 301)).shape == (70, 301)
    tiled = Predictor(model, field, 2, tile=64)
    assert tiled.labels(scene(61, 64)).shape == (61, 64)
    with pytest.raises(PredictError, match=f"{norm} norm"):
        tiled.labels(scene(61, 65))


def test_modules_keep_their_own_mode() -> None:
    model, field = drawn("fcnn:norm=true")
    model.train()
    frozen = next(module for module in model.modules() if isinstance(module, nn.BatchNorm2d))
    frozen.eval()
    seen = []
    hook = model.register_forward_hook(lambda module, *_: seen.append(module.training))
    Predictor(model, field, CLASSES).labels(scene(8, 8))
    hook.remove()
    assert seen == [False]
    assert model.training
    assert not frozen.training


def test_many_classes_need_a_wider_label_map() -> None:
    network = models.build(Spec.parse("fcn:depth=1,width=2"), classes=300, channels=3)
    model = Normalised(network, [0.0] * 3, [1.0] * 3)
    labels = Predictor(model, field_of(model), 300).labels(scene(5, 5))
    assert labels.dtype == np.uint16


def test_mixed_precision_comes_back_in_float32() -> None:
    network = models.build(Spec.parse("fcnn"), classes=2, channels=3)
    model = Normalised(network, [120.0] * 3, [60.0] * 3)
    predictor = Predictor(model, field_of(model), 2, autocast=torch.bfloat16)
    logits = predictor.logits(scene(33, 20))
    assert logits.dtype == torch.float32
    exact = Predictor(model, field_of(model), 2).logits(scene(33, 20))
    torch.testing.assert_close(logits, exact, rtol=0.05, atol=0.1)


def test_f68_a_picture_without_pixels_is_refused() -> None:
    model, field = drawn("fcnn")
    with pytest.raises(PredictError, match="0 x 5"):
        Predictor(model, field, CLASSES).labels(np.zeros((0, 5, 3), np.uint8))


def test_a_tile_below_the_size_rule_is_refused() -> None:
    model, field = drawn("unet:width=4,depth=3,upsample=transposed")
    with pytest.raises(PredictError, match="8 px or more"):
        Predictor(model, field, CLASSES, tile=7)
