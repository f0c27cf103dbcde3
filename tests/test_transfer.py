"""Training from pretrained weights: what is stored, what stands still, and what a stop changes."""

import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import timm
import torch
from torch import nn

import tiny
from pixelwright import build, jobs
from pixelwright.build.learner import WITH_ENCODER
from pixelwright.errors import CheckpointError, RecipeError
from pixelwright.models import models
from pixelwright.recipe import Recipe
from pixelwright.registry import Spec
from pixelwright.run import Run
from pixelwright.training.checkpoint import Checkpoints, load
from pixelwright.training.thaw import Thaw
from pixelwright.types import Event, silent

MODEL = "timm-unet:encoder=test_resnet,depth=2,widths=8,8"


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(2)
    tensors = timm.create_model("test_resnet").state_dict()
    path = tmp_path_factory.mktemp("weights") / "small.safetensors"
    safetensors.torch.save_file(tensors, path)
    return path


def recipe(data: Spec, model: str, **train: object) -> Recipe:
    settings = {"steps": 6, "batch_size": 2, "crop": 16, "lr": 0.01, "validate_every": 0.5} | train
    return Recipe.from_dict(
        {"data": data, "model": model, "precision": "float32", "train": settings}
    )


def encoder_of(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    prefix = "model/network.encoder."
    return {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}


def stop_after(step: int) -> Callable[[Event], None]:
    def watch(event: Event) -> None:
        if event.kind == "step" and event.data["step"] == step:
            signal.raise_signal(signal.SIGINT)

    return watch


def test_a_run_keeps_what_its_weights_expect_and_needs_their_file_no_more(
    tmp_path: Path, weights: Path
) -> None:
    mine = tmp_path / "mine.safetensors"
    mine.write_bytes(weights.read_bytes())
    subject = recipe(tiny.draw_folders(tmp_path / "data"), f"{MODEL},weights={mine}", steps=2)
    told: list[Event] = []
    with pytest.raises(KeyboardInterrupt):
        jobs.train(
            subject, out=tmp_path / "run", on_event=lambda e: (told.append(e), stop_after(1)(e))
        )
    mine.unlink()
    notes = [event.data["text"] for event in told if event.kind == "note"]
    assert any(text.startswith(f"Started from {mine}.") for text in notes)
    # The same recipe, which says nothing of mean and std, is that of the run.
    run = jobs.train(subject, out=tmp_path / "run", resume=True, on_event=silent)
    kept = Recipe.read(run.recipe_file)
    assert (kept.mean, kept.std) == ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    model = build.load_model(run, "cpu")
    assert model.network.std.flatten().tolist() == [127.5, 127.5, 127.5]
    assert "weights" not in model.spec.options
    assert str(run.info["started_from"]).startswith("Started from")


def test_a_recipe_that_says_how_to_centre_is_obeyed(tmp_path: Path, weights: Path) -> None:
    data = tiny.draw_folders(tmp_path)
    subject = recipe(data, f"{MODEL},weights={weights}").override(["mean=[0.25]"])
    built = build.training(subject)
    assert built.header["mean"] == [0.25]
    assert built.header["std"] == [0.5, 0.5, 0.5]
    plain = build.training(recipe(data, MODEL))
    assert (plain.header["mean"], plain.header["std"], plain.note) == ([0.5], [0.25], "")


def test_weights_are_loaded_when_a_training_begins_and_at_no_other_time(
    tmp_path: Path, weights: Path
) -> None:
    subject = recipe(tiny.draw_folders(tmp_path), f"{MODEL},weights={weights}")
    fresh, going_on = (build.training(subject, fresh=fresh) for fresh in (True, False))
    given = safetensors.torch.load_file(weights)["conv1.0.weight"]
    for built, same in ((fresh, True), (going_on, False)):
        kernel = built.trainee.model.state_dict()["network.encoder.model.conv1.0.weight"]
        assert torch.equal(kernel, given) == same


def test_f47_weights_that_do_not_fit_leave_no_run_behind(tmp_path: Path, weights: Path) -> None:
    data = tiny.draw_folders(tmp_path / "data")
    subject = recipe(data, f"timm-unet:encoder=resnet10t,depth=2,weights={weights}")
    with pytest.raises(CheckpointError, match="do not fit"):
        jobs.train(subject, out=tmp_path / "run", on_event=silent)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "train",
    [
        {"encoder": "frozen", "optimizer": "sgd", "ema": 0.9},
        {"encoder": "gradual", "encoder_lr": 0.1, "clip": 1.0},
    ],
    ids=["frozen", "gradual"],
)
def test_f57_a_stopped_run_goes_on_bit_for_bit_however_its_encoder_learns(
    tmp_path: Path, weights: Path, train: dict[str, object]
) -> None:
    data = tiny.draw_folders(tmp_path / "data", count=4)
    subject = recipe(data, f"{MODEL},weights={weights}", **train)
    straight = jobs.train(subject, out=tmp_path / "straight", on_event=silent)
    with pytest.raises(KeyboardInterrupt):
        jobs.train(subject, out=tmp_path / "stopped", on_event=stop_after(3))
    resumed = jobs.train(tmp_path / "stopped", resume=True, on_event=silent)
    one, other = (load(Checkpoints(r.checkpoints).last) for r in (straight, resumed))
    assert one[0].keys() == other[0].keys()
    assert all(torch.equal(one[0][name], other[0][name]) for name in one[0])
    given = safetensors.torch.load_file(weights)
    stands = {
        name: torch.equal(tensor, given[name.removeprefix("model.")])
        for name, tensor in encoder_of(one[0]).items()
    }
    # Frozen: neither weights nor running statistics move. Otherwise all but the odd bias do.
    assert all(stands.values()) == (train.get("encoder") == "frozen")
    assert train.get("encoder") == "frozen" or not stands["model.conv1.0.weight"]


def test_a_gradual_encoder_opens_from_its_deep_end() -> None:
    encoder = nn.Sequential(
        nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Dropout(), nn.Sequential(nn.Conv2d(4, 4, 1))
    )
    thaw = Thaw(encoder, "gradual")
    opened = []
    for progress in (0.0, 0.2, 0.45, 0.6, 0.7, 1.0):
        thaw.apply(progress)
        layers = (encoder[0], encoder[1], encoder[3][0])
        states = [{p.requires_grad for p in layer.parameters()} for layer in layers]
        assert states == [{layer.training} for layer in layers]
        # Dropout belongs to the layer before it.
        assert encoder[2].training == encoder[1].training
        opened.append("".join("01"[layer.training] for layer in layers))
    assert opened == ["000", "000", "011", "011", "111", "111"]
    assert encoder.training
    thaw.apply(0.0)
    assert not any(module.training for module in encoder.modules())


def test_a_frozen_encoder_keeps_nothing_for_a_way_back(tmp_path: Path, weights: Path) -> None:
    subject = recipe(tiny.draw_folders(tmp_path), f"{MODEL},weights={weights}", encoder="frozen")
    trainee = build.training(subject).trainee
    trainee.learn(0.5)
    network = trainee.model.network
    assert not any(m.requires_grad for m in network.encoder(torch.rand(2, 3, 16, 16)))
    learns = {id(p) for group in trainee.optimizer.param_groups for p in group["params"]}
    assert learns.isdisjoint({id(p) for p in network.encoder.parameters()})
    assert learns == {id(p) for p in trainee.model.parameters() if p.requires_grad}


def test_the_encoder_gets_its_factor_of_every_rate_and_is_decayed_as_before(
    tmp_path: Path,
) -> None:
    data = tiny.draw_folders(tmp_path)
    plain = build.training(recipe(data, MODEL)).trainee
    slower = build.training(recipe(data, MODEL, encoder_lr=0.1)).trainee
    inside = {id(p) for p in slower.model.network.encoder.parameters()}
    loop_rates = []
    from pixelwright.training.loop import set_rate

    set_rate(slower, 0.5)
    for group in slower.optimizer.param_groups:
        loop_rates.append(group["lr"])
        assert {id(p) in inside for p in group["params"]} <= {group["lr"] == 0.05}
        assert all((p.ndim > 1) == bool(group["weight_decay"]) for p in group["params"])
    assert sorted(loop_rates) == [0.05, 0.05, 0.5, 0.5]
    assert loop_rates[0] == 0.5
    assert [set(group) - {"factor"} for group in slower.optimizer.param_groups[:2]] == [
        set(group) for group in plain.optimizer.param_groups
    ]


@pytest.mark.parametrize(
    "setting", ["train.encoder=frozen", "train.encoder=gradual", "train.encoder_lr=0.1"]
)
def test_a_model_without_an_encoder_is_refused_with_those_that_have_one(
    tmp_path: Path, setting: str
) -> None:
    subject = recipe(tiny.draw_folders(tmp_path), "unet:width=4,depth=1").override([setting])
    with pytest.raises(
        RecipeError, match=r"unet has none\. Take one of convnet, mobilenet-unet, smp, timm"
    ):
        build.training(subject)


def test_the_models_that_are_named_for_their_encoder_are_those_that_have_one() -> None:
    with torch.device("meta"):
        having = {
            name
            for name in models
            if isinstance(
                getattr(models.build(Spec(name), classes=2, channels=3), "encoder", None), nn.Module
            )
        }
    assert having == set(WITH_ENCODER)


def test_f40_a_rate_for_an_encoder_that_is_shut_is_refused() -> None:
    with pytest.raises(RecipeError, match="moves nothing"):
        Recipe.from_dict({"data": "folders", "train": {"encoder": "frozen", "encoder_lr": 0.1}})


def test_shutting_an_encoder_of_random_weights_is_warned_of(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="starts from random weights"):
        build.training(recipe(tiny.draw_folders(tmp_path), MODEL, encoder="gradual"))


@pytest.mark.parametrize(
    ("model", "train"),
    [
        ("smp:arch=deeplabv3plus,encoder=tu-test_resnet,widths=8", {"batch_size": 1}),
        (
            "timm-unet:encoder=test_resnet,widths=8,8,8,8,8",
            {"batch_size": 3, "accumulate": 2, "crop": 32},
        ),
    ],
)
def test_f63_one_value_to_normalise_by_is_refused_before_the_first_step(
    tmp_path: Path, model: str, train: dict[str, object]
) -> None:
    with pytest.raises(
        RecipeError, match=r"a single value to normalise by.*Raise train\.batch_size"
    ):
        build.training(recipe(tiny.draw_folders(tmp_path), model, **train))


def test_f63_a_frozen_encoder_normalises_by_what_it_learnt(tmp_path: Path, weights: Path) -> None:
    model = f"timm-unet:encoder=test_resnet,widths=8,8,8,8,8,weights={weights}"
    subject = recipe(tiny.draw_folders(tmp_path), model, batch_size=1, crop=32, encoder="frozen")
    assert build.training(subject).material.field.multiple == 32


def test_a_run_starts_another_on_data_of_other_classes(tmp_path: Path) -> None:
    first = jobs.train(
        recipe(tiny.draw_folders(tmp_path / "a", classes=3), "unet:width=4,depth=1", steps=2),
        out=tmp_path / "first",
        on_event=silent,
    )
    model = f"unet:width=4,depth=1,weights={first.path}"
    subject = recipe(tiny.draw_folders(tmp_path / "b", classes=4), model)
    built = build.training(subject)
    theirs = build.load_model(Run.open(first.path), "cpu").network.state_dict()
    own = built.trainee.model.state_dict()
    same = {n for n in own if own[n].shape == theirs[n].shape and torch.equal(own[n], theirs[n])}
    assert set(own) - same == {"network.head.weight", "network.head.bias"} - same
    assert "Its 3 classes are not these 4, so the head is new." in built.note
    image = np.zeros((1, 3, 16, 16), np.float32)
    assert built.trainee.model(torch.from_numpy(image)).shape == (1, 4, 16, 16)
