"""Whole jobs of classifiers on tiny data: the same trainer, pictures with one label each."""

import csv
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

import tiny
from pixelwright import build, jobs
from pixelwright.build.features import cut
from pixelwright.data.check import check
from pixelwright.data.index import load_for_training
from pixelwright.errors import CheckpointError, DataError, MachineError, PredictError, RecipeError
from pixelwright.inference.labels import mean_of
from pixelwright.metrics.labels import LabelScores
from pixelwright.propose import propose
from pixelwright.recipe import Recipe
from pixelwright.registry import Spec
from pixelwright.run import Run
from pixelwright.training.checkpoint import Checkpoints, load
from pixelwright.types import Event, silent

MODEL = "convnet:width=8,depth=2,norm=batch"


def recipe(data: Spec, model: str = MODEL, **train: object) -> Recipe:
    settings = {"epochs": 4, "batch_size": 4, "lr": 0.01} | train
    augment = settings.pop("augment", {"shift": 2})
    return Recipe.from_dict(
        {
            "data": data,
            "model": model,
            "precision": "float32",
            "train": settings,
            "augment": augment,
        }
    )


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Spec:
    return tiny.draw_class_folders(tmp_path_factory.mktemp("pictures"), each=8)


@pytest.fixture(scope="module")
def run(data: Spec, tmp_path_factory: pytest.TempPathFactory) -> Run:
    out = tmp_path_factory.mktemp("labels") / "run"
    return jobs.train(recipe(data, snapshots=2, epochs=12), out=out, on_event=silent)


def weights(run: Run) -> dict[str, torch.Tensor]:
    return load(run.model_file)[0]


def stop_after(step: int) -> Callable[[Event], None]:
    def watch(event: Event) -> None:
        if event.kind == "step" and event.data["step"] == step:
            signal.raise_signal(signal.SIGINT)

    return watch


def pictures(data: Spec) -> list[Path]:
    return sorted(Path(str(data.options["root"])).rglob("*.png"))


def test_a_classifier_learns_colours_and_its_run_holds_the_same_files(run: Run) -> None:
    held = {str(path.relative_to(run.path)) for path in run.path.rglob("*") if path.is_file()}
    assert held >= {
        "recipe.toml",
        "run.json",
        "log.jsonl",
        "checkpoints/best.safetensors",
        "model.safetensors",
        "scores-train.json",
        "scores-val.json",
        "loss_vs_epochs.png",
        "report.html",
    }
    scores = LabelScores.from_json(run.scores("val"))
    assert scores.top1 > 0.8
    rows = [row for row in run.log() if row["kind"] == "epoch"]
    assert all({"train_loss", "val_loss", "val_top1", "score"} <= row.keys() for row in rows)


def test_evaluating_again_gives_the_scores_of_the_run(run: Run) -> None:
    again = jobs.evaluate(run, on_event=silent)
    assert isinstance(again, LabelScores)
    assert again.to_json() == run.scores("val")


@pytest.mark.parametrize("extra", [{}, {"ema": 0.9}, {"augment": {"mixup": 1.0, "cutmix": 1.0}}])
def test_resuming_gives_the_bits_of_a_run_without_a_stop(
    data: Spec, tmp_path: Path, extra: dict[str, object]
) -> None:
    subject = recipe(data, **extra)
    straight = jobs.train(subject, out=tmp_path / "straight", on_event=silent)
    with pytest.raises(KeyboardInterrupt):
        jobs.train(subject, out=tmp_path / "stopped", on_event=stop_after(5))
    stopped = jobs.train(tmp_path / "stopped", resume=True, on_event=silent)
    theirs = weights(stopped)
    assert all(torch.equal(value, theirs[name]) for name, value in weights(straight).items())


def test_a_head_on_kept_features_is_saved_as_a_whole_network(
    run: Run, data: Spec, tmp_path: Path
) -> None:
    subject = recipe(data, f"{MODEL},weights={run.path}", encoder="frozen", views=2)
    subject = subject.model_copy(update={"seed": 3})
    features = jobs.train(subject, out=tmp_path / "features", on_event=silent)
    before, after = weights(run), weights(features)
    assert before.keys() == after.keys()
    trunk = [name for name in before if ".encoder." in name]
    assert trunk
    assert all(torch.equal(before[name], after[name]) for name in trunk)
    assert any(not torch.equal(before[name], after[name]) for name in before if "head" in name)
    again = jobs.evaluate(features, on_event=silent)
    assert again.to_json() == features.scores("val")


def test_a_network_cut_in_two_gives_what_it_gives_whole(run: Run) -> None:
    model = build.load_model(run).network
    still, head = cut(model)
    images = torch.randint(0, 256, (3, 3, 32, 32), dtype=torch.uint8)
    with torch.no_grad():
        assert torch.equal(head(still(images)), model(images))


def test_features_with_one_view_train_as_a_frozen_network_does(
    run: Run, data: Spec, tmp_path: Path
) -> None:
    plain = {"augment": {"flip": False}, "optimizer": "sgd", "lr": 0.1, "encoder": "frozen"}
    model = f"{MODEL},weights={run.path}"
    kept = jobs.train(recipe(data, model, **plain, views=1), out=tmp_path / "k", on_event=silent)
    anew = jobs.train(recipe(data, model, **plain), out=tmp_path / "a", on_event=silent)
    theirs = weights(anew)
    for name, value in weights(kept).items():
        # Features are kept in half precision: three digits.
        torch.testing.assert_close(value, theirs[name], rtol=2e-2, atol=2e-3)


def test_an_ensemble_is_the_mean_of_its_members(run: Run, data: Spec, tmp_path: Path) -> None:
    other = jobs.train(
        recipe(data, "convnet:width=4,depth=1").model_copy(update={"seed": 1}),
        out=tmp_path / "other",
        on_event=silent,
    )
    file = pictures(data)[0]
    one, two = (jobs.predict(member, file, on_event=silent) for member in (run, other))
    both = jobs.predict([run, other], file, on_event=silent)
    mean = (one.probabilities + two.probabilities) / 2
    np.testing.assert_allclose(both.probabilities, mean, atol=1e-6)
    scores = jobs.evaluate([run, other], on_event=silent)
    assert len(scores.keys) == len(LabelScores.from_json(run.scores("val")).keys)


def test_log_probabilities_average_without_underflow() -> None:
    sure, unsure = np.array([[0.0, -2000.0]], np.float32), np.log([[0.5, 0.5]]).astype(np.float32)
    np.testing.assert_allclose(np.exp(mean_of([sure, unsure])), [[0.75, 0.25]], rtol=1e-6)
    assert np.isfinite(mean_of([sure, sure])).all()


def test_snapshots_answer_together(run: Run) -> None:
    assert len(Checkpoints(run.checkpoints).snapshots) == 2
    together = jobs.evaluate(run, snapshots=True, on_event=silent)
    assert isinstance(together, LabelScores)
    assert together.to_json() != run.scores("val")


def test_flips_are_averaged(run: Run, data: Spec) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    mirrored = np.ascontiguousarray(pixels[:, ::-1])
    one, two = (jobs.predict(run, image, on_event=silent) for image in (pixels, mirrored))
    both = jobs.predict(run, pixels, flip=True, on_event=silent)
    mean = (one.probabilities + two.probabilities) / 2
    np.testing.assert_allclose(both.probabilities, mean, atol=1e-6)


def test_a_folder_gives_one_table_with_the_five_most_probable_classes(
    run: Run, data: Spec, tmp_path: Path
) -> None:
    folder = tmp_path / "in"
    tiny.save(folder / "wide.png", np.full((40, 90, 3), 128, np.uint8))
    tiny.save(folder / "=small.png", np.full((9, 9, 3), 9, np.uint8))
    (folder / "broken.png").write_bytes(b"<html>")
    with pytest.raises(MachineError, match="1 of 3 images could not be read"):
        jobs.predict(run, folder, out=tmp_path / "out", on_event=silent)
    with (tmp_path / "out" / "predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [Path(row["file"]).name for row in rows] == ["=small.png", "wide.png"]
    count = len(build.load_model(run).classes)
    shares = [float(rows[0][f"probability {i}"]) for i in range(1, min(count, 5) + 1)]
    assert shares == sorted(shares, reverse=True)
    assert sum(shares) <= 1 + 1e-5
    with pytest.raises(DataError, match="is there already"):
        jobs.predict(run, folder, out=tmp_path / "out", on_event=silent)


def test_an_option_for_masks_is_refused_by_a_classifier(run: Run) -> None:
    picture = np.zeros((8, 8, 3), np.uint8)
    with pytest.raises(RecipeError, match="--probabilities is for networks"):
        jobs.predict(run, picture, probabilities=True, on_event=silent)
    with pytest.raises(RecipeError, match="--tile is for networks"):
        jobs.predict(run, picture, tile=4, on_event=silent)


def test_pictures_that_are_scaled_already_are_noticed(run: Run) -> None:
    scaled = np.random.default_rng(0).random((32, 32, 3))
    with pytest.raises(PredictError, match="scaled already"):
        jobs.predict(run, scaled, on_event=silent)
    with pytest.raises(PredictError, match="values up to 300"):
        jobs.predict(run, np.full((8, 8, 3), 300), on_event=silent)
    pixels = np.rint(255 * scaled).astype(np.uint8)
    one, same = (
        jobs.predict(run, image, on_event=silent) for image in (pixels, pixels.astype(np.int64))
    )
    assert np.array_equal(one.probabilities, same.probabilities)


def test_members_of_other_classes_are_refused(run: Run, tmp_path: Path) -> None:
    others = tiny.draw_class_folders(tmp_path / "others", names=("lark", "wren"))
    other = jobs.train(recipe(others), out=tmp_path / "other", on_event=silent)
    with pytest.raises(DataError, match="tells other classes apart"):
        jobs.predict([run, other], np.zeros((32, 32, 3), np.uint8), on_event=silent)


def test_runs_without_snapshots_say_so(data: Spec, tmp_path: Path) -> None:
    plain = jobs.train(recipe(data, epochs=1), out=tmp_path / "plain", on_event=silent)
    with pytest.raises(CheckpointError, match="kept no snapshots"):
        jobs.evaluate(plain, snapshots=True, on_event=silent)


@pytest.mark.parametrize(
    ("settings", "wrong"),
    [
        (["model=unet"], "the model unet gives a class to every pixel"),
        (["train.crop=32"], "train.crop is a setting for pictures labelled pixel by pixel"),
        (["augment.copy_blob=1", "tile=256"], "tile, augment.copy_blob are settings"),
        (["train.views=2"], "keeps what a frozen encoder sees"),
    ],
)
def test_settings_of_the_other_task_are_refused(
    data: Spec, settings: list[str], wrong: str
) -> None:
    with pytest.raises(RecipeError, match=wrong):
        build.training(recipe(data).override(settings))


def test_masks_are_refused_by_a_classifier(tmp_path: Path) -> None:
    masks = tiny.draw_folders(tmp_path)
    with pytest.raises(RecipeError, match="the model convnet gives one label"):
        build.training(Recipe.from_dict({"data": masks, "model": "convnet"}))
    with pytest.raises(RecipeError, match="size is a setting for pictures with one label"):
        build.training(Recipe.from_dict({"data": masks, "size": 32, "train": {"crop": 32}}))


def test_pictures_are_learnt_by_heart(data: Spec, tmp_path: Path) -> None:
    notes: list[str] = []

    def listen(event: Event) -> None:
        if event.kind == "note":
            notes.append(event.data["text"])

    jobs.train(recipe(data, overfit=4, epochs=60), out=tmp_path / "run", on_event=listen)
    assert any("Learnt 4 images by heart" in note for note in notes)


@pytest.mark.parametrize("mixed", [False, True])
def test_a_recipe_is_proposed_that_trains(tmp_path: Path, mixed: bool) -> None:
    found = tiny.draw_class_folders(tmp_path, each=8)
    if mixed:
        for number, path in enumerate(pictures(found)):
            tiny.save(path, np.full((40 + number, 50, 3), 5 * number % 256, np.uint8))
    index = load_for_training(found)
    proposed = propose(found, index, check(index))
    assert (proposed.size is not None) == mixed
    assert proposed.train.batch_size == 8
    jobs.train(proposed.override(["train.steps=2"]), out=tmp_path / "run", on_event=silent)
