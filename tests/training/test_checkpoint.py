import json
from pathlib import Path

import pytest
import torch

from pixelwright.errors import CheckpointError
from pixelwright.training import checkpoint
from pixelwright.training.checkpoint import Checkpoints, load, save

TENSORS = {
    "model/weight": torch.arange(6.0).reshape(2, 3),
    "rng": torch.tensor([1, 2], dtype=torch.uint8),
}


def test_tensors_and_values_come_back(tmp_path: Path) -> None:
    save(tmp_path / "a.safetensors", TENSORS, {"step": 3, "groups": [{"lr": 0.1}]})
    tensors, meta = load(tmp_path / "a.safetensors")
    assert meta == {"step": 3, "groups": [{"lr": 0.1}]}
    assert all(torch.equal(tensors[name], TENSORS[name]) for name in TENSORS)


def test_scalars_and_empty_tensors_come_back(tmp_path: Path) -> None:
    odd = {"scalar": torch.tensor(2.5), "empty": torch.zeros(0, 3)}
    save(tmp_path / "a.safetensors", odd, {})
    tensors, _ = load(tmp_path / "a.safetensors")
    assert tensors["scalar"].item() == 2.5
    assert tensors["empty"].shape == (0, 3)


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: data[: len(data) // 2],
        lambda data: b"\xff" * 16 + data[16:],
        lambda data: b"PK\x03\x04" + data[4:],
    ],
    ids=["empty", "truncated", "bad header", "another zip"],
)
def test_f44_damaged_files_are_refused_in_one_line(tmp_path: Path, damage: object) -> None:
    path = tmp_path / "a.safetensors"
    save(path, TENSORS, {})
    path.write_bytes(damage(path.read_bytes()))  # type: ignore[operator]
    with pytest.raises(CheckpointError, match="damaged") as error:
        load(path)
    assert "\n" not in str(error.value)


def test_f44_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no checkpoint at"):
        load(tmp_path / "none.safetensors")


def test_f44_the_newest_good_one_is_taken_and_the_damage_told(tmp_path: Path) -> None:
    kept = Checkpoints(tmp_path)
    kept.save_last(TENSORS, {"step": 1})
    kept.save_last(TENSORS, {"step": 2})
    kept.last.write_bytes(b"")
    _, meta, note = kept.newest()
    assert meta == {"step": 1}
    assert note is not None
    assert "damaged" in note
    assert "previous" in note


def test_f44_without_a_good_one_it_says_so(tmp_path: Path) -> None:
    kept = Checkpoints(tmp_path)
    kept.last.write_bytes(b"")
    with pytest.raises(CheckpointError, match="No good checkpoint is left"):
        kept.newest()


def test_f45_a_flipped_bit_is_detected(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save(path, TENSORS, {})
    data = bytearray(path.read_bytes())
    data[-3] ^= 4
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match="has changed since saved"):
        load(path)


def test_f48_a_newer_format_is_refused_with_both_versions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.safetensors"
    monkeypatch.setattr(checkpoint, "FORMAT", 7)
    save(path, TENSORS, {})
    monkeypatch.setattr(checkpoint, "FORMAT", 1)
    with pytest.raises(CheckpointError, match=r"format 7.*up to 1"):
        load(path)


def test_f50_what_an_interrupted_write_left_is_removed(tmp_path: Path) -> None:
    (tmp_path / ".abc.tmp").write_bytes(b"half")
    Checkpoints(tmp_path).prepare()
    assert list(tmp_path.iterdir()) == []


def test_a_file_of_another_program_is_refused(tmp_path: Path) -> None:
    import safetensors.torch

    path = tmp_path / "a.safetensors"
    safetensors.torch.save_file(TENSORS, path, {"format": json.dumps("pt")})
    with pytest.raises(CheckpointError, match="not written by Pixelwright"):
        load(path)
