"""What only a GPU shows: `pytest -m gpu`."""

from pathlib import Path

import numpy as np
import pytest
import torch

import tiny
from pixelwright import jobs
from pixelwright.inference.graph import graph_of
from pixelwright.inference.stream import Stream
from pixelwright.models import models
from pixelwright.nn.normalise import Normalised
from pixelwright.recipe import Recipe
from pixelwright.registry import Spec
from pixelwright.training.checkpoint import load
from pixelwright.types import Event, silent

pytestmark = pytest.mark.gpu


def recipe(data: Spec, model: str, **train: object) -> Recipe:
    settings = {"steps": 12, "batch_size": 4, "lr": 0.01} | train
    return Recipe.from_dict({"data": data, "model": model, "device": "cuda", "train": settings})


def test_f57_a_training_on_a_gpu_goes_on_bit_for_bit(tmp_path: Path) -> None:
    data = tiny.draw_folders(tmp_path / "data")
    subject = recipe(data, "unet:width=8,depth=2,dropout=0.2", ema=0.9, crop=32)

    def stop(event: Event) -> None:
        if event.kind == "step" and event.data["step"] == 5:
            raise KeyboardInterrupt

    straight = jobs.train(subject, out=tmp_path / "straight", on_event=silent)
    with pytest.raises(KeyboardInterrupt):
        jobs.train(subject, out=tmp_path / "stopped", on_event=stop)
    resumed = jobs.train(tmp_path / "stopped", resume=True, on_event=silent)
    one, other = (load(run.model_file)[0] for run in (straight, resumed))
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert "bfloat16" in straight.info["device"]


def test_pictures_with_one_label_are_learnt_on_a_gpu(tmp_path: Path) -> None:
    data = tiny.draw_class_folders(tmp_path / "data")
    subject = recipe(data, "convnet:width=8,norm=batch", steps=60)
    run = jobs.train(subject, out=tmp_path / "run", on_event=silent)
    assert run.scores("val")["top1"] > 0.5  # of three classes


def test_a_gpu_predicts_what_a_cpu_predicts(tmp_path: Path) -> None:
    data = tiny.draw_folders(tmp_path / "data")
    run = jobs.train(recipe(data, "fcnn", steps=50, crop=32), out=tmp_path / "run", on_event=silent)
    image = tiny.scene(300, 200)[0]
    here = jobs.predict(run, image, device="cpu", on_event=silent)
    there = jobs.predict(run, image, device="cuda", on_event=silent)
    half = jobs.predict(run, image, device="cuda", precision="float16", on_event=silent)
    assert (here.labels == there.labels).mean() > 0.999
    assert (here.labels == half.labels).mean() > 0.98


def test_bands_on_a_gpu_give_what_one_pass_gives() -> None:
    torch.manual_seed(0)
    network = models.build(Spec.parse("unet:width=8,depth=3"), classes=3, channels=3)
    model = Normalised(network, [127.5] * 3, [64.0] * 3).double().eval().cuda()
    pixels = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (1, 3, 160, 96), np.uint8))
    image = pixels.cuda().to(memory_format=torch.channels_last)
    with torch.inference_mode():
        whole = model(image)
        bands = Stream(graph_of(model, 3, 8)).bands(lambda a, b: image[:, :, a:b], 160, 32)
        found = torch.cat([logits.clone() for _, logits in bands], dim=2)
    assert torch.allclose(found, whole, rtol=0, atol=1e-10 * float(whole.abs().max()))
