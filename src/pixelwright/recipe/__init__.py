"""A recipe: everything about one training, as a typed TOML file that holds only what differs.

recipe = Recipe.read("recipes/camvid-unet.toml").override(["model.width=16", "train.minutes=5"])
recipe.model                # Spec("unet", {"width": 16})
recipe.to_toml()            # only what differs from the defaults
Recipe.model_json_schema()  # for editors
"""

import importlib
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    WithJsonSchema,
    model_validator,
)

from pixelwright.errors import RecipeError, unknown
from pixelwright.recipe.text import (
    as_spec,
    plain,
    read_table,
    setting,
    toml,
    value_of,
)
from pixelwright.registry import Registry, Spec, parse_sum
from pixelwright.types import DEVICE

__all__ = ["Augment", "Recipe", "Train", "read_table", "setting"]

# Where each kind of spec is looked up. Named, not imported: a recipe can be read by those who
# never build it.
_REGISTRIES = {
    "model": "pixelwright.models:models",
    "data": "pixelwright.data.index:layouts",
    "loss": "pixelwright.losses:losses",
    "optimizer": "pixelwright.training.optim:optimizers",
    "schedule": "pixelwright.training.schedule:schedules",
    "tracker": "pixelwright.track:trackers",
}

# Tables that make a file more than a recipe, and the command that reads it.
_COMMANDS = {
    "study": "compare",
    "grid": "compare",
    "case": "compare",
    "ranges": "tune",
    "tune": "tune",
}


def _registry(kind: str) -> Registry:
    module, _, name = _REGISTRIES[kind].partition(":")
    found: Registry = getattr(importlib.import_module(module), name)
    return found


def _reader(kind: str) -> BeforeValidator:
    """Takes `name:key=value` or a table with `name`, and checks it against the registry."""

    def read(value: object) -> Spec:
        if isinstance(value, str):
            try:
                value = Spec.parse(value)
            except RecipeError as error:
                raise ValueError(str(error)) from None
        elif isinstance(value, Mapping):
            table = dict(value)
            if not isinstance(name := table.pop("name", None), str):
                raise ValueError(f"a {kind} written as a table needs a name")
            value = Spec(name, table)
        if not isinstance(value, Spec):
            raise ValueError(f"write {kind} as 'name:key=value,key=value'")
        if problems := _registry(kind).problems(value):
            raise ValueError(" ".join(problems))
        return value

    return BeforeValidator(read)


_SPEC_SCHEMA = WithJsonSchema({"type": ["string", "object"]})
DataSpec = Annotated[Spec, _reader("data"), _SPEC_SCHEMA]
ModelSpec = Annotated[Spec, _reader("model"), _SPEC_SCHEMA]
OptimizerSpec = Annotated[Spec, _reader("optimizer"), _SPEC_SCHEMA]
ScheduleSpec = Annotated[Spec, _reader("schedule"), _SPEC_SCHEMA]
TrackerSpec = Annotated[Spec, _reader("tracker"), _SPEC_SCHEMA]


def _one_or_more(value: object) -> object:
    return (value,) if isinstance(value, (str, Mapping)) else value


def _check_loss(value: object) -> object:
    if not isinstance(value, str):
        raise ValueError("write a loss as 'cross-entropy + 0.5*dice:smooth=1'")
    try:
        problems = [p for _, spec in parse_sum(value) for p in _registry("loss").problems(spec)]
    except RecipeError as error:
        raise ValueError(str(error)) from None
    if problems:
        raise ValueError(" ".join(problems))
    return value


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Train(_Section):
    """How long and by which rule the weights move."""

    epochs: int = Field(30, ge=1, description="passes over the training pixels")
    steps: int | None = Field(None, ge=1, description="optimiser steps; instead of epochs")
    minutes: float | None = Field(
        None, gt=0, description="wall-clock budget of the whole job; turned into steps at the start"
    )
    batch_size: int = Field(8, ge=1, description="images per optimiser step")
    accumulate: int = Field(1, ge=1, description="parts in which a batch is computed")
    crop: int = Field(256, ge=1, description="height and width of training crops, in pixels")
    compile: bool = Field(
        False, description="let torch.compile fuse the steps of the network; slow to start"
    )
    optimizer: OptimizerSpec = Spec("adamw")
    lr: float = Field(1e-3, gt=0, description="base learning rate")
    encoder: Literal["full", "upper", "frozen", "gradual"] = Field(
        "full", description="how much of a model's encoder learns; upper is its last block"
    )
    views: int = Field(
        0,
        ge=0,
        description="of a frozen encoder: how many varied views of each image it sees, once, so "
        "that the head learns from what it kept; 0 runs it at every step",
    )
    encoder_lr: float = Field(1.0, gt=0, description="factor on the learning rate of the encoder")
    schedule: ScheduleSpec = Spec("warmup-cosine")
    clip: float | None = Field(None, gt=0, description="largest norm of the gradient")
    ema: float = Field(0.0, ge=0, lt=1, description="decay of the averaged weights; 0 is off")
    patience: int = Field(
        0, ge=0, description="validations without a better score before stopping; 0 is off"
    )
    validate_every: float = Field(1.0, gt=0, description="epochs between validations")
    save_minutes: float = Field(5.0, gt=0, description="minutes between checkpoints")
    class_aware: float = Field(
        0.0, ge=0, le=1, description="share of crops aimed at a pixel of a class drawn evenly"
    )
    overfit: int = Field(0, ge=0, description="learn this many fixed crops by heart; 0 is off")
    snapshots: int = Field(
        0, ge=0, description="models kept along the way, evenly, the last at the end; 0 is off"
    )


class Augment(_Section):
    """How training crops are varied; see `pixelwright.data.augment`."""

    flip: bool = True
    flip_vertical: bool = False
    rotate: float = Field(0.0, ge=0, le=180, description="largest turn, in degrees")
    scale: tuple[float, float] = Field((1.0, 1.0), description="zoom is drawn between these")
    brightness: float = Field(0.0, ge=0, le=1)
    contrast: float = Field(0.0, ge=0, le=1)
    saturation: float = Field(0.0, ge=0, le=1)
    hue: float = Field(0.0, ge=0, le=0.5)
    shift: int = Field(
        0, ge=0, description="largest move either way of pictures that are seen whole, in pixels"
    )
    mixup: float = Field(
        0.0, ge=0, description="blend pairs of pictures by a share from Beta(this, this); 0 is off"
    )
    cutmix: float = Field(
        0.0,
        ge=0,
        description="paste a part of another picture, its share from Beta(this, this); 0 is off",
    )
    blur: float = Field(0.0, ge=0, le=20, description="largest sigma, in pixels")
    noise: float = Field(0.0, ge=0, le=1, description="largest std, in parts of the full range")
    jpeg: int = Field(0, ge=0, le=100, description="lowest quality; 0 is off")
    cutout: float = Field(0.0, ge=0, lt=1, description="largest share of a crop to cut out")
    copy_blob: float = Field(
        0.0,
        ge=0,
        le=16,
        description="objects of other training images pasted into a crop, on average",
    )
    copy_classes: tuple[str, ...] = Field(
        (), description="classes of the pasted objects; empty takes the rarest"
    )
    copy_place: Literal["row", "anywhere"] = Field(
        "row", description="where objects are pasted: at the height where they stood, or anywhere"
    )

    @model_validator(mode="after")
    def _agrees(self) -> "Augment":
        low, high = self.scale
        if not 0 < low <= high:
            raise ValueError(f"scale = [{low}, {high}] must be two positive numbers, low then high")
        if twice := [name for name, count in Counter(self.copy_classes).items() if count > 1]:
            raise ValueError(f"copy_classes names {twice[0]!r} more than once")
        if self.copy_blob and self.copy_place == "row" and (self.rotate > 45 or self.flip_vertical):
            raise ValueError(
                "copy_place = 'row' keeps objects at their height in the picture, but rotate = "
                f"{self.rotate:g} and flip_vertical = {str(self.flip_vertical).lower()} leave no "
                "up or down: set copy_place = 'anywhere'"
            )
        return self


class Recipe(_Section):
    """Everything about one training."""

    name: str = Field("", description="of the run's folder; empty takes the model's")
    data: DataSpec
    model: ModelSpec = Spec("unet")
    loss: Annotated[str, BeforeValidator(_check_loss)] = "cross-entropy"
    seed: int = Field(0, ge=0)
    channels: Literal[1, 3] = 3
    size: int | None = Field(
        None,
        ge=1,
        description="side in pixels at which a classifier sees pictures; none is as they are",
    )
    mean: tuple[float, ...] = Field(
        (),
        description="subtracted, in parts of the full range; empty takes what the model's weights "
        "expect, else 0.5",
    )
    std: tuple[float, ...] = Field(
        (),
        description="divided by, in parts of the full range; empty takes what the model's weights "
        "expect, else 0.25",
    )
    tile: int | None = Field(
        None, ge=1, description="the network never sees more than tile x tile pixels at once"
    )
    small_guard: bool = Field(
        False, description="allow a guard band smaller than the model's receptive radius"
    )
    device: str = Field("auto", pattern=DEVICE)
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    track: Annotated[tuple[TrackerSpec, ...], BeforeValidator(_one_or_more)] = Field(
        (), description="tools that mirror the log: tensorboard, wandb"
    )
    train: Train = Train()
    augment: Augment = Augment()

    @model_validator(mode="after")
    def _agrees(self) -> "Recipe":
        lengths = [k for k in ("epochs", "steps", "minutes") if k in self.train.model_fields_set]
        lengths = [k for k in lengths if getattr(self.train, k) is not None]
        if len(lengths) > 1:
            raise ValueError(f"train takes one of epochs, steps and minutes, not {lengths}")
        if self.tile is not None and self.train.crop > self.tile:
            raise ValueError(
                f"train.crop = {self.train.crop} is larger than tile = {self.tile}: "
                f"lower the crop or raise the tile"
            )
        if self.train.accumulate > self.train.batch_size:
            raise ValueError(
                f"train.accumulate = {self.train.accumulate} cuts a batch of "
                f"{self.train.batch_size} into more parts than it has images: take at most "
                f"{self.train.batch_size}, or raise train.batch_size"
            )
        if self.train.encoder == "frozen" and self.train.encoder_lr != 1:
            raise ValueError(
                f"train.encoder_lr = {self.train.encoder_lr} moves nothing where train.encoder is "
                f"frozen: leave one of them out"
            )
        if self.train.views and self.train.encoder != "frozen":
            raise ValueError(
                f"train.views = {self.train.views} keeps what a frozen encoder sees, but "
                f"train.encoder is {self.train.encoder}: set it to frozen, or leave views out"
            )
        if self.train.views and (self.augment.mixup or self.augment.cutmix):
            raise ValueError(
                "augment.mixup and cutmix blend pictures anew at every step, so they cannot go "
                "with train.views, which keeps what was seen: leave one of them out"
            )
        if any(s <= 0 for s in self.std):
            raise ValueError("std must be positive")
        for key in ("mean", "std"):
            if len(getattr(self, key)) not in (0, 1, self.channels):
                raise ValueError(f"{key} takes one number, or one per channel ({self.channels})")
        return self

    @classmethod
    def read(cls, path: str | Path) -> "Recipe":
        """Read a TOML file.

        Raises:
            RecipeError: Everything that is wrong with it, at once.
        """
        table = read_table(path)
        for key, command in _COMMANDS.items():
            if key in table:
                raise RecipeError(
                    f"{path} holds [{key}], so it is more than one training: "
                    f"'pixelwright {command} {path}' runs it."
                )
        return cls.from_dict(table, where=str(path))

    @classmethod
    def from_dict(cls, table: Mapping[str, Any], *, where: str = "recipe") -> "Recipe":
        """Check a table of settings.

        Raises:
            RecipeError: Everything that is wrong with it, at once.
        """
        try:
            return cls.model_validate(table)
        except ValidationError as error:
            problems = " ".join(_sentence(e) for e in error.errors())
            raise RecipeError(f"{where}: {problems}") from None

    def override(self, settings: Iterable[str]) -> "Recipe":
        """The same recipe with some keys set: `["model.width=32", "train.lr=3e-4"]`.

        Raises:
            RecipeError: Everything that is wrong with the settings, at once.
        """
        table = self.to_dict()
        for given in settings:
            key, equals, value = given.partition("=")
            if not equals:
                raise RecipeError(f"'{given}' sets nothing. Write key=value, as model.width=32.")
            _set(table, key.strip(), value.strip())
        return Recipe.from_dict(table, where="settings")

    def located(self) -> "Recipe":
        """With its data as the layout reads it, typed options and absolute paths; weights too."""
        data, model = _registry("data").resolve(self.data), self.model
        weights = str(model.options.get("weights", "none"))
        path = Path(weights).expanduser()
        if weights not in ("none", "imagenet") and path.exists():
            model = model.with_option("weights", str(path.absolute()))
        return self.model_copy(update={"data": data, "model": model})

    def to_dict(self) -> dict[str, Any]:
        """Only what differs from the defaults; `from_dict` reads it back."""
        return _differences(self)

    def to_toml(self) -> str:
        """Only what differs from the defaults; `read` reads it back."""
        table = self.to_dict()
        lines = [f"{k} = {toml(v)}" for k, v in table.items() if k not in ("train", "augment")]
        for section in ("train", "augment"):
            if section in table:
                lines += ["", f"[{section}]"]
                lines += [f"{k} = {toml(v)}" for k, v in table[section].items()]
        return "\n".join(lines) + "\n"


def _differences(section: _Section) -> dict[str, Any]:
    table: dict[str, Any] = {}
    for key, info in type(section).model_fields.items():
        value = getattr(section, key)
        if isinstance(value, _Section):
            if inner := _differences(value):
                table[key] = inner
        elif value != info.default:
            table[key] = plain(value)
    return table


def _set(table: dict[str, Any], key: str, text: str) -> None:
    head, _, option = key.partition(".")
    if head in ("train", "augment") and option:
        section = table.setdefault(head, {})
        name, _, inner = option.partition(".")
        if inner and name in ("optimizer", "schedule"):
            current = section.get(name, Train.model_fields[name].default)
            section[name] = as_spec(current).with_option(inner, text)
        else:
            if name in ("epochs", "steps", "minutes"):
                for other in {"epochs", "steps", "minutes"} - {name}:
                    section.pop(other, None)
            section[option] = value_of(text)
    elif option and head in ("model", "data"):
        current = table.get(head, Recipe.model_fields[head].default)
        table[head] = as_spec(current).with_option(option, text)
    else:
        table[key] = text if key in ("name", "model", "data", "loss", "device") else value_of(text)


def _sentence(error: Any) -> str:
    """One pydantic error as a sentence that names the key."""
    where = ".".join(str(part) for part in error["loc"] if isinstance(part, str))
    if error["type"] == "extra_forbidden":
        head, _, key = where.rpartition(".")
        section: Any = {"": Recipe, "train": Train, "augment": Augment}.get(head, Recipe)
        return unknown(f"key of {head or 'a recipe'}", key, section.model_fields)
    if error["type"] == "missing":
        return f'{where} is missing: say it as {where} = "name:key=value".'
    message: str = error["msg"].removeprefix("Value error, ")
    message = message[0].lower() + message[1:] if message[:2].istitle() else message
    if not where:
        return message.rstrip(".") + "."
    if error["type"] == "value_error":
        return f"{where}: {message.rstrip('.')}."
    return f"{where} = {error['input']!r}: {message.rstrip('.')}."
