"""Every way in which a checkpoint can be wrong, each with one sentence that says what to do."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from napari_niiv.errors import CheckpointError, DeviceError, OutputError
from napari_niiv.models import checkpoint as module
from napari_niiv.models.card import Card, VolumeCredit
from napari_niiv.models.catalog import bundled_models, checkpoint_name, checkpoint_path
from napari_niiv.models.checkpoint import load_model, read_card, save_model
from napari_niiv.models.niiv import Niiv


@pytest.fixture
def saved(tmp_path: Path, small_model) -> Path:
    model = small_model()
    save_model(model, Card(name="tiny", architecture=model.architecture), tmp_path / "tiny.safetensors")
    return tmp_path / "tiny.safetensors"


def written(path: Path, model: Niiv, card: str | None) -> Path:
    tensors = {key: value.contiguous() for key, value in model.state_dict().items()}
    save_file(tensors, path, metadata=None if card is None else {"napari_niiv": card})
    return path


@pytest.mark.parametrize("decoder", ["subvoxel", "implicit"])
def test_round_trip(tmp_path: Path, small_model, decoder: str) -> None:
    model = small_model(decoder=decoder)
    card = Card(
        name="tiny",
        description="µ",
        architecture=model.architecture,
        training_volumes=(VolumeCredit(name="a", licence="CC0"),),
        metrics={"psnr": 30.5},
    )
    save_model(model, card, tmp_path / "m.safetensors")
    assert [p.name for p in tmp_path.iterdir()] == ["m.safetensors"]
    again = load_model(tmp_path / "m.safetensors", "cpu")
    assert again.card == card == read_card(tmp_path / "m.safetensors")
    assert not again.training
    for key, value in model.state_dict().items():
        torch.testing.assert_close(again.state_dict()[key], value, atol=0, rtol=0)


def test_half_precision_weights_are_saved_in_full(tmp_path: Path, small_model) -> None:
    model = small_model()
    model.half()
    save_model(model, Card(architecture=model.architecture), tmp_path / "m.safetensors")
    assert {v.dtype for v in load_model(tmp_path / "m.safetensors", "cpu").state_dict().values()} == {torch.float32}


def test_stored_in_half_precision_it_answers_nearly_the_same(tmp_path: Path, small_model) -> None:
    model = small_model()
    sizes = []
    for half in (False, True):
        path = tmp_path / f"{half}.safetensors"
        save_model(model, Card(architecture=model.architecture), path, half=half)
        sizes.append(path.stat().st_size)
    assert sizes[1] < 0.8 * sizes[0]
    loaded = load_model(path, "cpu")
    assert {v.dtype for v in loaded.state_dict().values()} == {torch.float32}
    for weight, stored in zip(model.parameters(), loaded.parameters(), strict=True):
        torch.testing.assert_close(stored, weight, rtol=2**-10, atol=1e-7)


def test_saving_replaces(saved: Path, small_model) -> None:
    model = small_model(seed=1)
    save_model(model, Card(name="second", architecture=model.architecture), saved)
    assert read_card(saved).name == "second"


def complaint(path: Path | str) -> str:
    with pytest.raises(CheckpointError) as caught:
        load_model(path, "cpu")
    message = str(caught.value)
    assert "\n" not in message
    assert message.endswith((".", ")."))
    return message


def test_missing(tmp_path: Path) -> None:
    assert "There is no checkpoint" in complaint(tmp_path / "none.safetensors")
    assert "em" in complaint("emm")
    assert "There is no checkpoint" in complaint(tmp_path)


def test_pickles_of_other_things_are_not_loaded(tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(2)}, tmp_path / "zip.pth")
    torch.save({"a": torch.zeros(2)}, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    (tmp_path / "plain.safetensors").write_bytes(pickle.dumps({"a": 1}))
    for name in ("zip.pth", "old.pth", "plain.safetensors"):
        assert "is a pickle" in complaint(tmp_path / name)


@pytest.mark.parametrize("keep", [0, 1, 7, 8, 100, 1000, -1])
def test_truncated(saved: Path, keep: int) -> None:
    saved.write_bytes(saved.read_bytes()[:keep])
    assert "truncated or not a checkpoint" in complaint(saved)


def test_noise(tmp_path: Path) -> None:
    (tmp_path / "noise.safetensors").write_bytes(bytes(range(255, 0, -1)) * 40)
    assert "truncated or not a checkpoint" in complaint(tmp_path / "noise.safetensors")


def test_other_programs(tmp_path: Path, small_model) -> None:
    assert "of another program" in complaint(written(tmp_path / "x.safetensors", small_model(), None))


@pytest.mark.parametrize("card", ["{", "[]", "3", '"text"', "null"])
def test_a_damaged_card(tmp_path: Path, small_model, card: str) -> None:
    assert "is damaged" in complaint(written(tmp_path / "x.safetensors", small_model(), card))


def edited(saved: Path, tmp_path: Path, small_model, edit) -> Path:
    card = json.loads(read_card(saved).model_dump_json())
    edit(card)
    return written(tmp_path / "edited.safetensors", small_model(), json.dumps(card))


@pytest.mark.parametrize("version", [2, 0, "1", None])
def test_another_format_version(saved: Path, tmp_path: Path, small_model, version) -> None:
    path = edited(saved, tmp_path, small_model, lambda card: card.update(format_version=version))
    assert f"format version {version}" in complaint(path)
    assert "update napari-niiv" in complaint(path)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("attention", 3),
        ("decoder", "fourier"),
        ("features", "many"),
        ("anisotropy_range", [9, 3]),
        ("blocks", 0),
    ],
)
def test_an_unknown_architecture(saved: Path, tmp_path: Path, small_model, field: str, value) -> None:
    path = edited(saved, tmp_path, small_model, lambda card: card["architecture"].update({field: value}))
    assert f"does not know (architecture.{field}" in complaint(path)


@pytest.mark.parametrize(("field", "value"), [("features", 5), ("context", 2), ("blocks", 2), ("decoder", "implicit")])
def test_weights_of_another_architecture(saved: Path, tmp_path: Path, small_model, field: str, value) -> None:
    path = edited(saved, tmp_path, small_model, lambda card: card["architecture"].update({field: value}))
    assert "do not fit the architecture" in complaint(path)


def test_an_absent_device(saved: Path) -> None:
    with pytest.raises(DeviceError):
        load_model(saved, "vulkan")


@pytest.mark.parametrize("where", ["missing folder", "file for a folder", "folder for a file"])
def test_an_unwritable_place(tmp_path: Path, small_model, where: str) -> None:
    model = small_model()
    (tmp_path / "file").write_text("")
    (tmp_path / "folder.safetensors").mkdir()
    target = {
        "missing folder": tmp_path / "none" / "m.safetensors",
        "file for a folder": tmp_path / "file" / "m.safetensors",
        "folder for a file": tmp_path / "folder.safetensors",
    }[where]
    with pytest.raises(OutputError, match="cannot be written") as caught:
        save_model(model, Card(architecture=model.architecture), target)
    assert "\n" not in str(caught.value)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "folder.safetensors"]


@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()])
def test_nothing_half_written_stays(saved: Path, small_model, monkeypatch: pytest.MonkeyPatch, error) -> None:
    before = saved.read_bytes()

    def fail(*_):
        raise error

    monkeypatch.setattr(module.os, "replace", fail)
    with pytest.raises(OutputError if isinstance(error, OSError) else KeyboardInterrupt):
        save_model(small_model(seed=1), Card(architecture=small_model().architecture), saved)
    assert saved.read_bytes() == before
    assert list(saved.parent.iterdir()) == [saved]


@pytest.mark.parametrize("name", bundled_models())
def test_bundled_checkpoints_work_and_say_where_they_come_from(name: str) -> None:
    card = read_card(name)
    assert card.name == name
    assert card.licence
    assert card.training_volumes
    assert all(volume.licence for volume in card.training_volumes)
    model = load_model(name, "cpu")
    assert model.card == card
    assert all(torch.isfinite(p).all() for p in model.parameters())


def test_a_bundled_name_is_found() -> None:
    assert "em" in bundled_models()
    assert checkpoint_path("em").name == "em.safetensors"


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("em", "em"),
        ("/data/brain-niiv.safetensors", "brain-niiv"),
        ("/data/em.safetensors", "em.safetensors"),
        ("a.pth", "a.pth"),
    ],
)
def test_a_checkpoint_is_called_by_its_file_and_never_like_a_bundled_one(file, name):
    assert checkpoint_name(file) == name
