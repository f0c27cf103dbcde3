"""Whole jobs on tiny data: what a run holds, and that a stop leaves no trace in the result."""

import json
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

import tiny
from pixelwright import jobs
from pixelwright.errors import CheckpointError, DataError, MachineError, RecipeError
from pixelwright.jobs.show import train_scores
from pixelwright.metrics.hardest import described
from pixelwright.recipe import Recipe
from pixelwright.registry import Spec
from pixelwright.run import Run
from pixelwright.training.checkpoint import Checkpoints, load
from pixelwright.types import Event, silent


def recipe(data: Spec, **train: object) -> Recipe:
    settings = {"epochs": 2, "batch_size": 2, "crop": 32, "lr": 0.01} | train
    return Recipe.from_dict(
        {
            "data": data,
            "model": "unet:width=4,depth=1,dropout=0.2",
            "precision": "float32",
            "train": settings,
            "augment": {"rotate": 10, "brightness": 0.2},
        }
    )


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("job")
    subject = recipe(tiny.draw_folders(folder / "data"), epochs=3)
    return jobs.train(subject, out=folder / "run", on_event=silent)


def weights(run: Run) -> dict[str, torch.Tensor]:
    return load(run.model_file)[0]


def test_a_run_holds_what_the_architecture_says(run: Run) -> None:
    held = {str(path.relative_to(run.path)) for path in run.path.rglob("*") if path.is_file()}
    pictures = {name for name in held if name.startswith("pictures/")}
    assert held - pictures == {
        "recipe.toml",
        "run.json",
        "log.jsonl",
        "checkpoints/last.safetensors",
        "checkpoints/best.safetensors",
        "model.safetensors",
        "scores-train.json",
        "scores-val.json",
        "loss_vs_epochs.png",
        "report.html",
    }
    assert pictures
    assert run.status == "finished"


def test_the_log_has_an_epoch_a_row_and_states_the_largest_input(run: Run) -> None:
    rows = [row for row in run.log() if row["kind"] == "epoch"]
    assert [row["epoch"] for row in rows] == [1, 2, 3]
    assert all(row["train_loss"] > 0 and row["val_loss"] > 0 for row in rows)
    # Validation sees whole pictures of 48x64, two crops of 32x32 are less.
    assert run.log()[-1]["largest_input"] == [1, 48, 64]


def test_evaluating_again_gives_the_scores_of_the_run(run: Run) -> None:
    stored = run.scores("val")
    again = jobs.evaluate(run, on_event=silent)
    assert described(again, train_scores(run)) == stored
    assert again.to_json().items() <= stored.items()
    assert stored["details"]["losses"].keys() == {"cross-entropy", "dice", "focal"}
    assert stored["losses"]["cross-entropy"]["value"] == pytest.approx(stored["loss"])


def test_a_sum_of_losses_is_told_with_each_of_its_terms(tmp_path: Path) -> None:
    data = tiny.draw_folders(tmp_path / "data")
    subject = recipe(data, epochs=1)
    loss = "cross-entropy:weights=median-frequency + 0.5*dice"
    subject = subject.model_copy(update={"loss": loss})
    run = jobs.train(subject, out=tmp_path / "run", on_event=silent)
    losses = {name: row["value"] for name, row in run.scores("val")["losses"].items()}
    assert losses.keys() == {loss, *loss.split(" + 0.5*"), "cross-entropy", "focal"}
    terms = losses["cross-entropy:weights=median-frequency"] + 0.5 * losses["dice"]
    assert losses[loss] == pytest.approx(terms)
    assert run.scores("val")["loss"] == pytest.approx(terms)
    assert run.log()[-2]["val_loss"] == pytest.approx(terms, rel=1e-4)
    other = tiny.draw_folders(tmp_path / "other", seed=9)
    (tmp_path / "data" / "masks" / "00.png").unlink()
    with pytest.warns(UserWarning, match="class weights come from the training images"):
        elsewhere = jobs.evaluate(run, data=other, on_event=silent)
    assert elsewhere.loss is None
    assert elsewhere.losses().keys() == {"cross-entropy", "dice", "focal"}


def test_pictures_too_large_for_one_pass_are_measured_in_parts(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = jobs.evaluate(run, on_event=silent)
    monkeypatch.setattr("pixelwright.build.scoring.WHOLE_PIXELS", 100)
    parts = jobs.evaluate(run, tile=32, on_event=silent)
    assert np.array_equal(parts.tables, whole.tables)
    assert parts.details
    assert whole.details
    np.testing.assert_allclose(parts.details.bins, whole.details.bins, rtol=1e-4, atol=1e-2)
    assert parts.losses()["focal"][0] == pytest.approx(whole.losses()["focal"][0], rel=1e-4)


def test_evaluating_by_tiles_gives_the_scores_of_whole_passes(run: Run) -> None:
    whole = jobs.evaluate(run, on_event=silent)
    assert np.array_equal(jobs.evaluate(run, tile=32, on_event=silent).tables, whole.tables)


def test_all_takes_every_picture(run: Run) -> None:
    assert len(jobs.evaluate(run, split="all", on_event=silent).keys) == 6


def test_a_split_that_is_not_there_is_refused_with_those_that_are(run: Run) -> None:
    with pytest.raises(DataError, match="train, val"):
        jobs.evaluate(run, split="validation", on_event=silent)


def test_data_of_more_classes_are_refused(run: Run, tmp_path: Path) -> None:
    other = tiny.draw_folders(tmp_path, classes=5)
    with pytest.raises(DataError, match="5 classes"):
        jobs.evaluate(run, data=other, on_event=silent)


def test_a_prediction_has_the_size_of_its_image(run: Run, tmp_path: Path) -> None:
    for size in ((1, 1), (37, 5)):
        image = np.full((*size, 3), 90, np.uint8)
        prediction = jobs.predict(run, image, on_event=silent)
        assert isinstance(prediction, jobs.Prediction)
        assert prediction.labels.shape == size
        assert prediction.overlay.shape == (*size, 3)


def test_a_folder_is_predicted_into_files(run: Run, tmp_path: Path) -> None:
    source = tmp_path / "in"
    for name in ("a", "b"):
        tiny.save(source / f"{name}.png", tiny.scene(20, 30)[0])
    done = jobs.predict(run, source, out=tmp_path / "out", probabilities=True, on_event=silent)
    assert isinstance(done, list)
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == [
        f"{n}{s}" for n in "ab" for s in (".overlay.jpg", ".png", ".probabilities.npy")
    ]
    assert np.load(tmp_path / "out" / "a.probabilities.npy").shape == (3, 20, 30)


def test_f74_one_bad_file_of_many_leaves_the_rest_done(run: Run, tmp_path: Path) -> None:
    tiny.save(tmp_path / "a.png", tiny.scene(20, 30)[0])
    (tmp_path / "b.png").write_bytes(b"")
    with pytest.raises(MachineError, match=r"1 of 2 images.*b\.png"):
        jobs.predict(run, tmp_path, out=tmp_path / "out", on_event=silent)
    assert (tmp_path / "out" / "a.png").is_file()


def test_predictions_are_not_replaced_unasked(run: Run, tmp_path: Path) -> None:
    image = tiny.save(tmp_path / "a.png", tiny.scene(20, 30)[0])
    jobs.predict(run, image, out=tmp_path / "out", on_event=silent)
    with pytest.raises(DataError, match="--overwrite"):
        jobs.predict(run, image, out=tmp_path / "out", on_event=silent)
    with pytest.raises(DataError, match="replaced by its prediction"):
        jobs.predict(run, image, out=tmp_path, overwrite=True, on_event=silent)


def test_equal_recipes_give_equal_runs(run: Run, tmp_path: Path) -> None:
    again = jobs.train(run.recipe_file, out=tmp_path / "again", on_event=silent)
    assert all(torch.equal(weights(again)[name], value) for name, value in weights(run).items())


def stop_after(step: int) -> Callable[[Event], None]:
    def watch(event: Event) -> None:
        if event.kind == "step" and event.data["step"] == step:
            signal.raise_signal(signal.SIGINT)

    return watch


@pytest.mark.parametrize("step", [1, 8, 11])
@pytest.mark.parametrize(
    "train",
    [
        {"ema": 0.9, "optimizer": "adamw"},
        {"optimizer": "sgd", "schedule": "plateau:patience=1", "accumulate": 2, "clip": 1.0},
        {"optimizer": "rmsprop:momentum=0.5", "patience": 5},
    ],
    ids=["ema", "plateau", "rmsprop"],
)
def test_f57_a_stopped_run_goes_on_bit_for_bit(
    tmp_path: Path, step: int, train: dict[str, object]
) -> None:
    subject = recipe(tiny.draw_folders(tmp_path / "data"), **train)
    straight = jobs.train(subject, out=tmp_path / "straight", on_event=silent)
    with pytest.raises(KeyboardInterrupt):
        jobs.train(subject, out=tmp_path / "stopped", on_event=stop_after(step))
    resumed = jobs.train(tmp_path / "stopped", resume=True, on_event=silent)
    one, other = (load(Checkpoints(r.checkpoints).last) for r in (straight, resumed))
    assert one[0].keys() == other[0].keys()
    assert all(torch.equal(one[0][name], other[0][name]) for name in one[0])
    timeless = [
        [{k: v for k, v in row.items() if k != "seconds"} for row in r.log()]
        for r in (straight, resumed)
    ]
    assert timeless[0] == timeless[1]


def test_f57_what_was_done_after_the_last_checkpoint_is_done_again(tmp_path: Path) -> None:
    subject = recipe(tiny.draw_folders(tmp_path / "data"), epochs=3)
    straight = jobs.train(subject, out=tmp_path / "straight", on_event=silent)
    with pytest.raises(KeyboardInterrupt):
        jobs.train(subject, out=tmp_path / "killed", on_event=stop_after(3))
    killed = Run.open(tmp_path / "killed")
    checkpoint = Checkpoints(killed.checkpoints).last.read_bytes()
    with pytest.raises(KeyboardInterrupt):
        jobs.train(killed.path, resume=True, on_event=stop_after(7))
    # As if the second sitting had been killed before it could save.
    Checkpoints(killed.checkpoints).last.write_bytes(checkpoint)
    resumed = jobs.train(killed.path, resume=True, on_event=silent)
    assert [r["step"] for r in resumed.log()] == [r["step"] for r in straight.log()]
    assert all(torch.equal(weights(resumed)[n], v) for n, v in weights(straight).items())


def test_f44_resuming_takes_the_newest_good_checkpoint_and_says_so(tmp_path: Path) -> None:
    subject = recipe(tiny.draw_folders(tmp_path / "data"))
    for step, source in ((2, subject), (3, tmp_path / "run")):
        with pytest.raises(KeyboardInterrupt):
            jobs.train(
                source,
                out=tmp_path / "run",
                resume=isinstance(source, Path),
                on_event=stop_after(step),
            )
    run = Run.open(tmp_path / "run")
    Checkpoints(run.checkpoints).last.write_bytes(b"")
    with pytest.warns(UserWarning, match=r"damaged.*previous"):
        resumed = jobs.train(run.path, resume=True, on_event=silent)
    assert resumed.status == "finished"


def test_a_killed_run_predicts_with_its_best_checkpoint(tmp_path: Path) -> None:
    subject = recipe(tiny.draw_folders(tmp_path / "data"))
    with pytest.raises(KeyboardInterrupt):
        jobs.train(subject, out=tmp_path / "run", on_event=stop_after(9))
    run = Run.open(tmp_path / "run")
    assert not run.model_file.exists()
    assert jobs.evaluate(run, on_event=silent).mean_iou > 0


def test_f44_a_run_without_a_model_says_how_to_get_one(tmp_path: Path) -> None:
    subject = recipe(tiny.draw_folders(tmp_path / "data"))
    with pytest.raises(KeyboardInterrupt):
        jobs.train(subject, out=tmp_path / "run", on_event=stop_after(1))
    with pytest.raises(CheckpointError, match="--resume"):
        jobs.evaluate(tmp_path / "run", on_event=silent)


def test_f40_another_recipe_beside_resume_is_refused(tmp_path: Path) -> None:
    subject = recipe(tiny.draw_folders(tmp_path / "data"))
    with pytest.raises(KeyboardInterrupt):
        jobs.train(subject, out=tmp_path / "run", on_event=stop_after(1))
    with pytest.raises(RecipeError, match="differs from that of"):
        jobs.train(
            subject.override(["train.lr=0.5"]), out=tmp_path / "run", resume=True, on_event=silent
        )


def test_a_tile_bounds_every_input_in_training_and_prediction(tmp_path: Path) -> None:
    data = tiny.draw_pair(tmp_path / "data", 200, 200)
    subject = recipe(data, batch_size=3).override(["tile=32", "model=fcnn"])
    sizes = []

    def look(module: torch.nn.Module, inputs: tuple[object, ...]) -> None:
        image = inputs[0]
        # On the meta device the receptive field is worked out, without a pixel.
        if isinstance(image, torch.Tensor) and image.device.type != "meta" and image.ndim == 4:
            sizes.append((len(image), *image.shape[2:]))

    hook = torch.nn.modules.module.register_module_forward_pre_hook(look)
    try:
        run = jobs.train(subject, out=tmp_path / "run", on_event=silent)
    finally:
        hook.remove()
    assert max(n * h * w for n, h, w in sizes) <= 32 * 32
    assert np.prod(run.log()[-1]["largest_input"]) == 32 * 32


def test_overfitting_on_purpose_learns_a_few_crops(tmp_path: Path) -> None:
    subject = recipe(tiny.draw_folders(tmp_path / "data"), epochs=400, lr=0.03).override(
        ["train.overfit=2", "model=unet:width=8,depth=2", "train.validate_every=10"]
    )
    told: list[Event] = []
    run = jobs.train(subject, out=tmp_path / "run", on_event=told.append)
    assert run.scores("val")["mean_iou"] > 0.9
    assert any("by heart" in event.data.get("text", "") for event in told)


def test_a_guard_smaller_than_the_receptive_radius_is_refused_unless_told(tmp_path: Path) -> None:
    data = tiny.draw_pair(tmp_path / "data").with_option("guard", 4)
    subject = recipe(data, epochs=1).override(["model=fcnn"])
    with pytest.raises(RecipeError, match=r"guard of 4 px.*data\.guard="):
        jobs.train(subject, out=tmp_path / "run", on_event=silent)
    told = subject.override(["small_guard=true"])
    assert jobs.train(told, out=tmp_path / "other", on_event=silent).status == "finished"


def test_a_crop_that_does_not_fit_the_model_is_refused_with_those_that_do(tmp_path: Path) -> None:
    subject = recipe(tiny.draw_folders(tmp_path / "data"), crop=33)
    with pytest.raises(RecipeError, match="Take 32 or 34"):
        jobs.train(subject, out=tmp_path / "run", on_event=silent)


def test_a_time_budget_becomes_steps_before_the_first(tmp_path: Path) -> None:
    subject = recipe(tiny.draw_folders(tmp_path / "data"), epochs=30).override(
        ["train.minutes=0.05"]
    )
    run = jobs.train(subject, out=tmp_path / "run", on_event=silent)
    kept = Recipe.read(run.recipe_file)
    assert kept.train.minutes is None
    assert kept.train.steps is not None
    assert json.loads(run.info_file.read_text())["steps_per_epoch"] > 0


def test_no_room_of_the_house_hides_a_function_of_the_same_name() -> None:
    # Loading `pixelwright.report` would make `pw.report` that module.
    import pixelwright as pw

    house = Path(pw.__file__).parent
    rooms = {path.stem for path in house.iterdir()}
    assert not rooms & {name for name in pw.__all__ if name.islower()}
