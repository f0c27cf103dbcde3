"""Commands on data whose pictures have one label each."""

from pathlib import Path

import numpy as np

import tiny
from commands import Say
from pixelwright import images


def test_class_folders_are_checked_as_they_lie(say: Say) -> None:
    tiny.draw_class_folders(Path("animals"))
    code, out, _ = say("data", "check", "animals")
    assert code == 0
    assert "18 images of 8x8" in out
    assert "train images" in out
    assert "pixels" not in out


def test_cifar_and_a_list_are_known_by_themselves(say: Say) -> None:
    tiny.draw_cifar10(Path("cifar"))
    code, out, err = say("data", "check", "cifar")
    assert code == 0, err
    assert "60 images of 32x32" in out
    tiny.draw_csv(Path("listed"))
    code, out, err = say("data", "check", "listed/labels.csv")
    assert code == 0, err
    assert "12 images of 8x8" in out


def test_f35_a_picture_in_two_splits_fails_the_check(say: Say) -> None:
    tiny.draw_class_folders(Path("animals"))
    copied = Path("animals/train/ant/00.png").read_bytes()
    Path("animals/val/ant/00.png").write_bytes(copied)
    code, out, err = say("data", "check", "animals")
    assert code == 2
    assert "train/ant/00.png in train and val/ant/00.png in val are the same picture" in out
    assert len(err.splitlines()) == 1


def test_repair_and_patches_refuse_labels_in_one_sentence(say: Say) -> None:
    tiny.draw_class_folders(Path("animals"))
    code, _, err = say("data", "check", "animals", "--repair", "mended")
    assert code == 2
    assert "has one label for each picture; --repair mends masks only." in err
    assert not Path("mended").exists()
    code, _, err = say("data", "patches", "animals", "--size", "8")
    assert code == 2
    assert "one label for each picture" in err


def test_a_sheet_shows_labelled_pictures_and_counts_images(say: Say) -> None:
    tiny.draw_cifar10(Path("cifar"))
    code, out, err = say("data", "show", "cifar", "--split", "val", "--count", 8)
    assert (code, err) == (0, "")
    assert "images" in out.splitlines()[0]
    assert "pixels" not in out
    sheet = images.read_image("sheet.jpg")
    # Enlarged by whole factors: six pictures of 32 pixels side by side take six times 192.
    assert sheet.shape[1] >= 6 * 192
    code, _, err = say("data", "show", "cifar", "--split", "valid")
    assert code == 2
    assert "Did you mean 'val'?" in err


def test_pictures_are_shown_as_a_training_varies_them(say: Say) -> None:
    tiny.draw_cifar10(Path("cifar"))
    Path("r.toml").write_text('data = "cifar10:root=cifar"\nmodel = "vgg16"\n', encoding="utf-8")

    def shown(*settings: str) -> np.ndarray:
        options = [word for setting in settings for word in ("--set", setting)]
        given = "data", "show", "r.toml", "--crops", "--out", "sheet.png", "--count", 8
        code, out, err = say(*given, *options)
        assert (code, err) == (0, "")
        assert "images" in out.splitlines()[0]
        return images.read_image("sheet.png")

    plain = shown("augment.flip=false")
    assert plain.shape[1] >= 6 * 192
    for settings in (
        ["augment.shift=4"],
        ["augment.mixup=1"],
        ["train.views=2", "train.encoder=frozen", "augment.rotate=20"],
    ):
        varied = shown(*settings)
        assert varied.shape == plain.shape
        assert (varied != plain).any()
    code, _, err = say("data", "show", "cifar", "--crops", "--set", "augment.shift=32")
    assert code == 2
    assert len(err.splitlines()) == 1


def test_f55_a_malicious_batch_is_one_line(say: Say) -> None:
    tiny.draw_cifar10(Path("cifar"))
    program = b"\x80\x02cos\nsystem\n(U\x10touch victim.flagtR."
    Path("cifar/cifar-10-batches-py/data_batch_1").write_bytes(program)
    code, out, err = say("data", "check", "cifar")
    assert (code, out) == (2, "")
    assert len(err.splitlines()) == 1
    assert "data_batch_1 is a pickle that asks for os.system" in err
    assert not Path("victim.flag").exists()


def test_f24_a_label_out_of_range_is_one_line(say: Say) -> None:
    pixels, labels = tiny.cifar(10, 1)
    tiny.draw_cifar10(Path("cifar"), form="binary")
    path = Path("cifar/cifar-10-batches-bin/data_batch_3.bin")
    tiny.save_batch(path, pixels, {"labels": [*labels[:-1], 200]})
    code, _, err = say("data", "check", "cifar")
    assert code == 2
    assert "Row 9 of" in err
    assert "has the label 200; labels are 0 to 9" in err


def test_f34_a_class_that_only_validation_has_is_one_line(say: Say) -> None:
    tiny.draw_class_folders(Path("animals"))
    tiny.save(Path("animals/val/dog/1.png"), np.zeros((8, 8, 3), np.uint8))
    code, _, err = say("data", "check", "animals")
    assert code == 2
    assert "lacks: dog" in err
