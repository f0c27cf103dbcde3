"""The layer whose maps are explained: the deepest of every network, or the one that is named."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import tiny
from pixelwright.errors import PredictError
from pixelwright.inference.explain import METHODS, Explainer, hirescam
from pixelwright.inference.layers import deepest
from pixelwright.inference.predictor import Predictor
from pixelwright.models import models
from pixelwright.nn.normalise import Normalised
from pixelwright.nn.receptive import Field, field_of
from pixelwright.registry import Spec

WHOLE = Field(0, 0, 1, 1, "its head")
EXACT = {"rtol": 1e-5, "atol": 1e-5}

DEEPEST = {
    "unet:width=4,depth=2": "down.1",
    "unet:width=4,depth=2,upsample=bilinear,dropout=0.5": "down.1",
    "fcn:depth=2,width=8": "5",
    "fcn-down:depth=2,width=4": "10",
    "encoder-decoder:width=4,depth=2,norm=batch": "14",
    "light:width=4,depth=2": "stages.2",
    "convunext:width=4,depth=2": "down.1",
    "timm-unet:encoder=mobilenetv2_035,depth=2,widths=4,4": "encoder",
    "smp:encoder=resnet18,depth=3,widths=4,4,4": "encoder",
}


@pytest.mark.parametrize("text", DEEPEST)
def test_of_every_segmenter_the_deepest_maps_are_explained(text: str) -> None:
    torch.manual_seed(0)
    built = models.build(Spec.parse(text), classes=3, channels=3)
    network = Normalised(built, [120.0] * 3, [60.0] * 3)
    field = field_of(network)
    explainer = Explainer(network, field)
    assert explainer.layer == DEEPEST[text]
    image = tiny.noise(37, 45)
    look = explainer.look(image)
    np.testing.assert_allclose(look.logits, Predictor(network, field, 3).logits(image), **EXACT)
    for weigh in METHODS.values():
        heat = look.heat(int(look.logits[:, 5, 5].argmax()), weigh)
        assert heat.map.dtype == np.float32
        assert heat.map.shape == (37, 45)
        assert heat.map.min() >= 0
        assert heat.map.max() in (0, 1)
        assert np.isfinite(heat.raw).all()


@pytest.mark.parametrize(
    "text",
    [
        "convnet:width=4",
        "vgg16:width=0.03125",
        "wide-resnet:depth=10,width=1",
        "timm:network=resnet18",
    ],
)
@pytest.mark.parametrize("size", [None, 48])
def test_of_every_classifier_the_maps_of_its_encoder_are_explained(
    text: str, size: int | None
) -> None:
    torch.manual_seed(0)
    built = models.build(Spec.parse(text), classes=5, channels=3)
    network = Normalised(built, [120.0] * 3, [60.0] * 3, size)
    explainer = Explainer(network, WHOLE)
    look = explainer.look(tiny.noise(64, 64))
    heat = look.heat(2, hirescam)
    assert explainer.layer == "encoder"
    assert heat.map.shape == (64, 64)
    assert heat.raw.shape == look.places
    assert heat.score == pytest.approx(float(look.logits[2]))
    assert all(name.startswith("encoder.") for name in explainer.parts)
    assert len(explainer.parts) > 1


class Squeezed(nn.Module):
    """Summaries of 1x1 and 2x2 on the way are no maps of the image."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, padding=1)
        self.summary = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(4, 4, 1), nn.Sigmoid())
        self.bins = nn.AdaptiveAvgPool2d(2)
        self.drop = nn.Dropout2d(0.5)
        self.head = nn.Conv2d(4, 2, 1)

    def forward(self, image: Tensor) -> Tensor:
        x = self.stem(image)
        x = x * self.summary(x) + self.bins(x).mean((2, 3), keepdim=True)
        return self.head(self.drop(x))


def test_summaries_of_the_image_are_no_maps() -> None:
    assert deepest(Squeezed(), Field(1, 1, 1, 1)) == "stem"


def test_a_layer_by_name_gives_maps_of_its_own_size() -> None:
    built = models.build(Spec.parse("unet:width=4,depth=2"), classes=3, channels=3)
    network = Normalised(built, [120.0] * 3, [60.0] * 3)
    field = field_of(network)
    for layer, size in {"stem": (40, 48), "down.0": (20, 24), "merge.1": (40, 48)}.items():
        explainer = Explainer(network, field, layer=layer)
        look = explainer.look(tiny.noise(37, 45))
        index = int(look.logits[:, 0, 0].argmax())
        assert explainer.layer == layer
        assert look.heat(index).raw.shape == size
        assert look.heat(index).map.shape == (37, 45)


def test_of_a_layer_with_several_maps_the_smallest_are_explained() -> None:
    built = models.build(
        Spec.parse("timm-unet:encoder=mobilenetv2_035,depth=2,widths=4,4"), classes=3, channels=3
    )
    network = Normalised(built, [120.0] * 3, [60.0] * 3)
    look = Explainer(network, field_of(network)).look(tiny.noise(32, 40))
    assert look.heat(int(look.logits[:, 0, 0].argmax())).raw.shape == (8, 10)


class Odd(nn.Module):
    """One layer that runs twice, one that never does, one that leads nowhere."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, padding=1)
        self.twice = nn.ReLU()
        self.blocks = nn.ModuleList([nn.Conv2d(4, 4, 1)])
        self.aside = nn.Conv2d(4, 4, 1)
        self.head = nn.Conv2d(4, 2, 1)

    def forward(self, image: Tensor) -> Tensor:
        x = self.twice(self.stem(image))
        self.aside(x)
        return self.head(self.twice(self.blocks[0](x)))


ALL = np.ones((8, 8), bool)


@pytest.mark.parametrize(
    ("layer", "words"),
    [
        ("block.0", ("'block.0'", "Did you mean 'blocks.0'?", "stem, twice, blocks, aside, head")),
        ("blocks.7", ("Did you mean 'blocks.0'?", "Inside 'blocks' there are blocks.0.")),
        ("", ("No layer of the network is called ''",)),
        ("twice", ("'twice' runs 2 times",)),
        ("blocks", ("'blocks' does not run", "blocks.0")),
        ("aside", ("do not depend", "'aside'")),
    ],
)
def test_a_layer_that_cannot_be_explained_is_refused(layer: str, words: tuple[str, ...]) -> None:
    with pytest.raises(PredictError) as caught:
        odd = Normalised(Odd(), [0.0], [1.0])
        Explainer(odd, Field(1, 1, 1, 1), layer=layer).look(tiny.noise(8, 8)).heat(0, region=ALL)
    for word in words:
        assert word in str(caught.value)


def test_the_deepest_maps_of_a_network_that_needs_its_data_must_be_named() -> None:
    class Asking(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Conv2d(3, 2, 1)

        def forward(self, image: Tensor) -> Tensor:
            x = self.stem(image)
            return x if bool(x.sum() > 0) else -x

    asking = Normalised(Asking(), [0.0], [1.0])
    with pytest.raises(PredictError, match="Name a layer"):
        Explainer(asking, Field(0, 0, 1, 1))
    look = Explainer(asking, Field(0, 0, 1, 1), layer="stem").look(tiny.noise(8, 8))
    assert look.heat(0, region=ALL).map.shape == (8, 8)
