"""What a training starts from: published weights by name, a file of weights, or a run of ours.

    start = pretrained.load(network, recipe.model, classes.names, channels=3)
    start.mean, start.std      # of the pictures that the weights expect, or None
    start.note                 # what was loaded, changed and left out, for the user

Only a training that begins loads anything: a trained model and a resumed run have weights already.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from pixelwright.build.published import Published, Timm, Vgg16, Weights, keras, published
from pixelwright.errors import CheckpointError, first_few
from pixelwright.models import models
from pixelwright.nn.classifier import Classifier
from pixelwright.registry import Spec
from pixelwright.run import Run
from pixelwright.training import checkpoint

SUFFIXES = (".safetensors", ".pth", ".pt", ".bin", ".ckpt", *keras.SUFFIXES)
_INSIDE = ("state_dict", "model_state_dict", "model_state", "model")
"""Under which names other programs put the weights into their files."""

Names = Callable[[str], Iterable[str]]


@dataclass(frozen=True)
class Start:
    """What a training started from, see above."""

    mean: tuple[float, ...] | None
    std: tuple[float, ...] | None
    note: str


def load(network: nn.Module, spec: Spec, names: Sequence[str], channels: int) -> Start | None:
    """Put the weights that a model's option names into a network.

    Args:
        network: As built from the spec; its random weights are overwritten.
        spec: Of the model; its option `weights` is a name, a file, the folder of a run, or none.
        names: Of the classes.
        channels: Of the images.

    Returns:
        None if nothing was asked for.

    Raises:
        CheckpointError: The weights cannot be had, cannot be read or do not fit.
    """
    asked = str(spec.options.get("weights", "none"))
    if asked == "none":
        return None
    plain = spec.without("weights")
    # What is built on the way must not change the random numbers of what is not loaded.
    with torch.random.fork_rng(devices=[]):
        encoder = getattr(network, "encoder", None)
        there = published(encoder, plain)
        weights = _asked_for(asked, there, plain)
        own, title = network.state_dict(), str(plain)
        labels = isinstance(network, Classifier)
        ours = weights.classes is not None or bool(set(weights.tensors) & set(own))
        if there is None or ours or labels:
            if there is None or ours:
                match = _match(own, weights.tensors, channels, lambda name: (name,))
            else:
                match = _match(own, there.own_names(weights.tensors), channels, there.places)
            head = _head_of(network, there, plain, len(names), channels)
            left = _renewed(match, head, weights, names, labels)
            # The dense layers of another head are as new as their place.
            strange = [n for n in match.unused if not (left and labels and n.startswith("head."))]
            wrong = [*match.wrong.values(), *(f"{name} is not of it" for name in strange)]
        else:
            assert isinstance(encoder, nn.Module)
            own, title = encoder.state_dict(), f"the encoder {there.title}"
            match = _match(own, there.own_names(weights.tensors), channels, there.places)
            left, wrong = match.unused, list(match.wrong.values())
    if wrong:
        raise CheckpointError(
            f"The weights {weights.origin} do not fit {title}, {len(wrong)} names or shapes "
            f"differ: {'; '.join(wrong[:3])}."
        )
    _copy(match.found, own, weights.origin)
    said = [f"Started from {weights.origin}.", *weights.notes, *match.notes]
    said += [f"Left out, and random: {first_few(left, 4)}."] if left else []
    return Start(
        _per_channel(weights.mean, channels), _per_channel(weights.std, channels), " ".join(said)
    )


def _asked_for(asked: str, there: Published | None, spec: Spec) -> Weights:
    # A name is a name, whatever folder of that name may lie here.
    if there is not None and asked in ("imagenet", *there.names()):
        return there.fetch(asked)
    path = Path(asked).expanduser()
    if path.exists():
        return _read(path, there)
    if path.suffix.lower() in SUFFIXES or len(path.parts) > 1:
        raise CheckpointError(
            f"There are no weights at {path}: it is neither a file nor the folder of a run."
        )
    if there is None:
        raise CheckpointError(
            f"Nobody published weights '{asked}' of the model {spec.name}, and there is no file or "
            f"run of that name. Give one, or set model.weights=none."
        )
    return there.fetch(asked)


def _read(path: Path, there: Published | None) -> Weights:
    """The weights of a file, or of the model that a run kept."""
    if path.is_dir():
        run = Run.open(path)
        best = checkpoint.Checkpoints(run.checkpoints).best
        path = run.model_file if run.model_file.is_file() else best
        if not path.is_file():
            raise CheckpointError(f"The run {run.path} holds no model yet to start from.")
    tensors: Mapping[str, Tensor]
    if path.suffix.lower() in keras.SUFFIXES:
        if not isinstance(there, Vgg16):
            raise CheckpointError(f"{path} is a file of Keras, which are read for vgg16 only.")
        return keras.read(path)
    if path.suffix.lower() == ".safetensors":
        try:
            with safetensors.safe_open(path, framework="pt") as file:
                ours = "pixelwright" in (file.metadata() or {})
            tensors = {} if ours else safetensors.torch.load_file(path)
        except (SafetensorError, OSError, ValueError) as error:
            raise _unreadable(path, error) from None
        if ours:
            return _of_a_run(path)
    else:
        tensors = _pickled(path)
    if not tensors:
        raise CheckpointError(f"{path} holds no weights.")
    found = Weights(tensors, str(path))
    if there is None:
        return found
    mean, std = there.centring(tensors)
    note = f"Their pictures are taken to be centred as for {there.title}'s published weights."
    return replace(found, mean=mean, std=std, notes=(note,))


def _of_a_run(path: Path) -> Weights:
    tensors, header = checkpoint.load(path)
    if "classes" not in header:
        raise CheckpointError(
            f"{path} is the state of a training. Start from the run's folder, or from its "
            f"model.safetensors."
        )
    prefix = "model/network."
    inner = {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}
    mean, std = tuple(header["mean"]), tuple(header["std"])
    return Weights(inner, str(path), mean, std, classes=tuple(header["classes"]["names"]))


def _pickled(path: Path) -> dict[str, Tensor]:
    """The tensors of a file of torch.save, read without running what it may hold besides."""
    try:
        held: Any = torch.load(path, map_location="cpu", weights_only=True)
    # A damaged file makes it raise whatever comes to hand.
    except Exception as error:
        raise _unreadable(path, error) from None
    for name in _INSIDE:
        if isinstance(held, Mapping) and isinstance(held.get(name), Mapping):
            held = held[name]
            break
    tensors = held.items() if isinstance(held, Mapping) else ()
    # Training over several GPUs puts "module." before every name.
    return {str(n).removeprefix("module."): t for n, t in tensors if isinstance(t, Tensor)}


def _unreadable(path: Path, error: Exception) -> CheckpointError:
    reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
    return CheckpointError(
        f"{path} cannot be read as weights: {reason[:200]}. Files of torch.save are read only if "
        f"they hold nothing but tensors; .safetensors always can."
    )


@dataclass
class _Match:
    """Which of the given tensors go where.

    Args:
        found: Those that fit, by the network's own names.
        unused: Given names without a place.
        wrong: Sentences about what is missing or has another shape, by own name.
        notes: What was changed.
    """

    found: dict[str, Tensor] = field(default_factory=dict)
    unused: list[str] = field(default_factory=list)
    wrong: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def _match(
    own: Mapping[str, Tensor], given: Mapping[str, Tensor], channels: int, places: Names
) -> _Match:
    from timm.models import adapt_input_conv

    match, misfits = _Match(), {}
    for name, value in given.items():
        place = next((p for p in places(name) if p in own), None)
        if place is None:
            match.unused.append(name)
            continue
        shape, wanted = value.shape, own[place].shape
        before = shape[1] if value.ndim == 4 else 0
        if before in (1, 3) and wanted == (shape[0], channels, *shape[2:]) and before != channels:
            match.found[place] = adapt_input_conv(channels, value, base_chans=before)
            match.notes.append(
                f"{name} was made for {before} channels and adapted to {channels} as timm does: "
                f"{'summed' if channels == 1 else 'repeated and rescaled'}."
            )
        elif shape == wanted:
            match.found[place] = value
        else:
            misfits[place] = f"{name} is {tuple(shape)}, not {tuple(wanted)}"
    match.wrong = {
        name: misfits.get(name, f"{name} {tuple(value.shape)} is missing")
        for name, value in own.items()
        # Older files do not count batches; nothing is computed with the count.
        if name not in match.found and not name.endswith("num_batches_tracked")
    }
    return match


def _head_of(
    network: nn.Module, there: Published | None, spec: Spec, classes: int, channels: int
) -> list[str]:
    """The names of what decides, which is new where other classes are told apart.

    That is a classifier's head. Elsewhere it is what changes its shape with the number of classes;
    in networks of timm too, whose other layers behind the trunk are as good for any classes.
    """
    if isinstance(network, Classifier) and not isinstance(there, Timm):
        return [f"head.{name}" for name in network.head.state_dict()]
    with torch.device("meta"):
        one, other = (
            models.build(spec, classes=classes + more, channels=channels).state_dict()
            for more in (0, 1)
        )
    return [name for name in one if one[name].shape != other[name].shape]


def _renewed(
    match: _Match, head: list[str], weights: Weights, names: Sequence[str], labels: bool
) -> list[str]:
    """Take the head out of a match if it tells other classes apart, or is another; what went.

    Args:
        match: Changed in place.
        head: Names of the network's head.
        weights: What was matched.
        names: Of the classes.
        labels: Whether the network is a classifier.
    """
    known = weights.classes is not None
    differ = weights.classes is not None and tuple(weights.classes) != tuple(names)
    fits = not any(name in match.wrong for name in head)
    if fits and not differ:
        if head and labels and not known:
            match.notes.append(
                f"Its head came along: the {len(names)} classes that it tells apart are taken to "
                f"be these, in this order."
            )
        return []
    if weights.classes is not None and differ:
        match.notes.append(
            f"Its {len(weights.classes)} classes are not these {len(names)}, so the head is new."
        )
    elif labels:
        match.notes.append(
            f"Its head, if it has one, is not that of this model with {len(names)} classes, so the "
            f"head is new."
        )
    for name in head:
        match.found.pop(name, None)
        match.wrong.pop(name, None)
    return head


def _copy(found: Mapping[str, Tensor], own: Mapping[str, Tensor], origin: str) -> None:
    bad = [n for n, v in found.items() if v.is_floating_point() and not v.isfinite().all()]
    if bad:
        raise CheckpointError(
            f"The weights {origin} hold numbers that are not finite, in {bad[0]}."
        )
    with torch.no_grad():
        for name, value in found.items():
            own[name].copy_(value)


def _per_channel(values: tuple[float, ...] | None, channels: int) -> tuple[float, ...] | None:
    """One value for grey pictures where there are three; the grey of the three."""
    if values is None or len(values) in (1, channels):
        return values
    return (sum(values) / len(values),)
