"""Everything of segmentation-models-pytorch by name: twelve decoders over hundreds of encoders.

Source: Iakubovskii, 2019, https://github.com/qubvel-org/segmentation_models.pytorch; its pages name
the paper of each decoder and encoder.
Differs: nothing; the library builds the network, and what is left out is the library's default.
"""

import warnings
from difflib import get_close_matches
from functools import cache
from typing import Annotated, Any, Literal

import segmentation_models_pytorch as library
import timm
from pydantic import AfterValidator, Field
from torch import nn

from pixelwright.errors import RecipeError, unknown
from pixelwright.nn.upsample import Interpolation

WIDTHS = {
    **dict.fromkeys(("unet", "unetplusplus", "manet"), "decoder_channels"),
    **dict.fromkeys(("deeplabv3", "deeplabv3plus", "pan", "upernet"), "decoder_channels"),
    **dict.fromkeys(("fpn", "segformer"), "decoder_segmentation_channels"),
    "pspnet": "psp_out_channels",
    "dpt": "decoder_fusion_channels",
}
"""What each architecture calls the channels of its decoder; linknet's follow from the encoder's."""

ONE_WIDTH_A_LEVEL = ("unet", "unetplusplus", "manet")
STRIDES = {"deeplabv3": (8, 16), "deeplabv3plus": (8, 16), "pan": (16, 32)}
INTERPOLATE = ("unet", "unetplusplus", "manet", "fpn", "pan")
ATTEND = ("unet", "unetplusplus")


def _architecture(name: str) -> str:
    known = library.MODEL_ARCHITECTURES_MAPPING
    if name.lower() not in known:
        raise ValueError(unknown("architecture", name, known))
    return name.lower()


def _encoder(name: str) -> str:
    """The library's current name of an encoder, or the nearest ones in the error."""
    own, timms = _encoders()
    current = name
    if name.startswith("timm-") and name not in own:
        # What the library renamed: timm-mobilenetv3_small_100 is tu-tf_mobilenetv3_small_100 now.
        bare = name.removeprefix("timm-")
        current = f"tu-tf_{bare}" if "mobilenetv3" in bare else f"tu-{bare}"
    if current in own:
        return current
    bare, _, tag = current.removeprefix("tu-").partition(".")
    if not current.startswith("tu-") or f"tu-{bare}" not in timms:
        known = [*own, *timms]
        close = ", ".join(get_close_matches(current, known, n=4, cutoff=0.5)) or "none is near"
        raise ValueError(
            f"no encoder is called '{name}'. Nearest: {close}. There are {len(own)} of the "
            f"library's own, such as resnet34, and timm's with 'tu-' before the name"
        )
    if tag and current.removeprefix("tu-") not in timm.list_pretrained(f"{bare}.*"):
        tags = [full.partition(".")[2] for full in timm.list_pretrained(f"{bare}.*")]
        raise ValueError(unknown(f"set of weights of timm's {bare}", tag, tags))
    return current


@cache
def _encoders() -> tuple[frozenset[str], frozenset[str]]:
    """The library's own encoders, and those that it takes from timm."""
    own = frozenset(library.encoders.get_encoder_names())
    return own, frozenset(f"tu-{name}" for name in timm.list_models())


def smp(
    classes: int,
    channels: int,
    *,
    arch: Annotated[str, AfterValidator(_architecture)] = "unet",
    encoder: Annotated[str, AfterValidator(_encoder)] = "resnet34",
    depth: Annotated[int, Field(ge=3, le=5)] | None = None,
    widths: tuple[Annotated[int, Field(ge=1)], ...] | None = None,
    stride: Annotated[int, Field(ge=8, le=32)] | None = None,
    interpolation: Interpolation | None = None,
    attention: Literal["scse"] | None = None,
) -> nn.Module:
    """Build a network of segmentation-models-pytorch.

    Args:
        classes: Number of output channels.
        channels: Number of input channels.
        arch: unet, unetplusplus, manet, linknet, fpn, pspnet, pan, deeplabv3, deeplabv3plus,
            upernet, segformer or dpt. Some see the whole image, so that they cannot predict by
            tiles; `pixelwright models smp:arch=...` says which, and the sizes that fit.
        encoder: One of the library's, such as resnet34, or of timm's with tu- before its name, such
            as tu-convnext_tiny; dpt takes timm's only, made for its transformers (tu-vit_...).
        depth: Number of halvings in the encoder that the decoder reads; the library keeps most
            encoders whole all the same. For dpt the number of blocks that are read.
        widths: Channels of the decoder: for unet, unetplusplus and manet one number per halving,
            from the deepest on; one number for the others. linknet has none to set.
        stride: Of the encoder's last map, where dilation can keep it small: 8 or 16 for deeplabv3
            and deeplabv3plus, 16 or 32 for pan.
        interpolation: How the decoder doubles the resolution: unet, unetplusplus, manet, fpn, pan.
        attention: Squeeze and excitation in the decoder of unet and unetplusplus.

    Raises:
        RecipeError: The architecture lacks an option, or does not take the encoder.
    """
    given = _settings(arch, depth, widths, stride, interpolation, attention)
    if arch == "dpt" and encoder.startswith("tu-vit"):
        given["dynamic_img_size"] = True
    with warnings.catch_warnings():
        # Old names and readouts without a class token: neither changes what is built.
        warnings.simplefilter("ignore")
        try:
            network: nn.Module = library.create_model(
                arch, encoder, encoder_weights=None, in_channels=channels, classes=classes, **given
            )
        # The library and timm refuse combinations by whatever comes to hand.
        except (ValueError, RuntimeError, KeyError, TypeError, AttributeError, AssertionError) as e:
            reason = (str(e).splitlines() or [type(e).__name__])[0].rstrip(".")
            other = "tu-vit_tiny_patch16_224" if arch == "dpt" else "resnet34"
            raise RecipeError(
                f"smp cannot put {arch} over the encoder {encoder} with these options: {reason}. "
                f"Other options, or an encoder such as {other}, may do."
            ) from None
    return network


def _settings(
    arch: str,
    depth: int | None,
    widths: tuple[int, ...] | None,
    stride: int | None,
    interpolation: str | None,
    attention: str | None,
) -> dict[str, Any]:
    """The options in the library's words; those that the architecture lacks are refused."""
    lacking = [
        (stride is not None and stride not in STRIDES.get(arch, ()), f"stride={stride}"),
        (interpolation is not None and arch not in INTERPOLATE, f"interpolation={interpolation}"),
        (attention is not None and arch not in ATTEND, f"attention={attention}"),
        (widths is not None and arch not in WIDTHS, "widths"),
    ]
    refused = [text for wrong, text in lacking if wrong]
    if refused:
        raise RecipeError(f"smp:arch={arch} has no option {' or '.join(refused)}. Leave it out.")
    if arch in ONE_WIDTH_A_LEVEL and depth is not None and widths is None:
        widths = (256, 128, 64, 32, 16)[-depth:]
    if widths is not None:
        wanted = (depth or 5) if arch in ONE_WIDTH_A_LEVEL else 1
        if len(widths) != wanted:
            raise RecipeError(
                f"smp:arch={arch} takes {wanted} widths, not {len(widths)}: "
                f"{'one per halving' if wanted > 1 else 'one for the decoder'}."
            )
    given = {
        "encoder_depth": depth,
        WIDTHS.get(arch, ""): widths if arch in ONE_WIDTH_A_LEVEL else (widths or (None,))[0],
        "encoder_output_stride": stride,
        "decoder_interpolation": interpolation,
        "decoder_attention_type": attention,
    }
    return {key: value for key, value in given.items() if value is not None}
