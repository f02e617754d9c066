from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from napari_niiv.degradation import Gaussian, Measured
from napari_niiv.errors import NiivError, OutputError, TrainingError
from napari_niiv.models.architecture import Architecture
from napari_niiv.training.config import TrainingConfig
from napari_niiv.training.state import (
    State,
    _checksum,
    as_interrupted,
    forget_state,
    load_state,
    save_state,
    state_path,
)

VOLUMES = ["cells (8, 64, 64) 4"]
TENSORS = {
    "optimisation.model.w": torch.randn(3, 4, generator=torch.Generator().manual_seed(0)),
    "optimisation.progress": torch.tensor([3.0, 0.5], dtype=torch.float64),
    "optimisation.adam.0.step": torch.tensor(3.0),
    "best.w": torch.full((2,), 1e-30),
}
HALF = State(2, 0.4123456789, 57, 12.25, 31.5, TENSORS)


def config(folder: Path, **settings: Any) -> TrainingConfig:
    given = {"output": folder / "model.safetensors", "minutes": 5, "degradation": Gaussian(fwhm=2)}
    return TrainingConfig(**{**given, **settings})


def refused(wanted: TrainingConfig, volumes: list[str] = VOLUMES) -> str:
    with pytest.raises(TrainingError) as caught:
        load_state(wanted, volumes)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("best", [31.5, None])
def test_there_and_back(tmp_path: Path, best: float | None) -> None:
    state = replace(HALF, best=best)
    save_state(state, config(tmp_path), VOLUMES)
    assert [p.name for p in tmp_path.iterdir()] == ["model.unfinished"]
    back = load_state(config(tmp_path), VOLUMES)
    assert replace(back, tensors={}) == replace(state, tensors={})
    assert set(back.tensors) == set(TENSORS)
    for key, value in TENSORS.items():
        assert back.tensors[key].dtype == value.dtype
        torch.testing.assert_close(back.tensors[key], value, rtol=2**-11, atol=1e-7)  # the digits of 16 bits


def test_it_is_no_larger_than_three_checkpoints_and_keeps_the_smallest_moments(tmp_path: Path) -> None:
    draw = torch.Generator().manual_seed(1)
    names = ("optimisation.model.w", "optimisation.average.w", "best.w", "first.w")
    tensors = {name: torch.randn(200, 100, generator=draw) for name in names}
    for name, size in (("exp_avg", 1e-9), ("exp_avg_sq", 1e-18)):
        tensors[f"optimisation.adam.0.{name}"] = size * torch.rand(200, 100, generator=draw)
    tensors["best.w"][0, 0] = 1e5  # more than float16 can write
    save_state(replace(HALF, tensors=tensors), config(tmp_path), VOLUMES)
    checkpoint = 4 * 200 * 100
    assert state_path(tmp_path / "model.safetensors").stat().st_size <= 3 * checkpoint + 2000
    back = load_state(config(tmp_path), VOLUMES).tensors
    for name, value in tensors.items():
        digits = 8 if "exp_avg" in name or name == "best.w" else 11
        torch.testing.assert_close(back[name], value, rtol=2.0**-digits, atol=0 if digits == 8 else 1e-7)


def test_the_last_one_counts(tmp_path: Path) -> None:
    save_state(HALF, config(tmp_path), VOLUMES)
    save_state(replace(HALF, steps=99), config(tmp_path), VOLUMES)
    assert load_state(config(tmp_path), VOLUMES).steps == 99


def test_it_is_forgotten(tmp_path: Path) -> None:
    save_state(HALF, config(tmp_path), VOLUMES)
    forget_state(tmp_path / "model.safetensors")
    assert not list(tmp_path.iterdir())
    forget_state(tmp_path / "model.safetensors")
    assert "no interrupted training" in refused(config(tmp_path))


@pytest.mark.parametrize(
    "settings",
    [
        {"minutes": 50},
        {"minutes": None, "steps": 100},
        {"batch": 3},
        {"device": "cpu"},
        {"memory": 0.1},
        {"validations": 3},
        {"overwrite": True, "resume": True},
        {"vgg_weights": "vgg.pth"},
    ],
)
def test_what_does_not_change_the_training_may_differ(tmp_path: Path, settings) -> None:
    save_state(HALF, config(tmp_path), VOLUMES)
    assert load_state(config(tmp_path, **settings), VOLUMES).steps == 57


@pytest.mark.parametrize(
    ("budget", "told"),
    [
        ({"minutes": 0.2}, "0.204 minutes already, and is to have 0.2 in all; give it more."),
        ({"minutes": None, "steps": 57}, "57 steps already, and is to have 57 in all; give it more."),
        ({"minutes": 5, "steps": 20}, "57 steps already, and is to have 20 in all; give it more."),
    ],
)
def test_there_must_be_something_left_of_the_budget_unless_it_was_spent(tmp_path: Path, budget, told: str) -> None:
    save_state(HALF, config(tmp_path), VOLUMES)
    assert told in refused(config(tmp_path, **budget))
    save_state(replace(HALF, spent=True), config(tmp_path), VOLUMES)
    assert load_state(config(tmp_path, **budget), VOLUMES).spent


@pytest.mark.parametrize(
    "settings",
    [
        {"degradation": Gaussian(fwhm=2.1)},
        {"degradation": Measured(profile=(1, 2, 1), spacing=0.5)},
        {"loss": "dists"},
        {"architecture": Architecture(features=8)},
        {"teacher": Architecture(features=8)},
        {"anisotropies": (4.0,)},
        {"init": "em"},
        {"seed": 1},
        {"lateral": 64},
        {"learning_rate": 1e-3},
        {"first_stage": 0.5},
    ],
)
def test_other_settings_are_refused(tmp_path: Path, settings) -> None:
    save_state(HALF, config(tmp_path), VOLUMES)
    assert f"another {next(iter(settings))}" in refused(config(tmp_path, **settings))


@pytest.mark.parametrize(
    "settings",
    [
        {"degradation": Gaussian(fwhm=2.1), "init": "em"},
        {"degradation": Measured(profile=(1, 2, 1), spacing=0.5), "learning_rate": 1e-3, "loss": "dists"},
        {"architecture": Architecture(features=8), "anisotropies": (4.0,), "lateral": 64},
    ],
)
def test_the_settings_that_it_had_can_be_taken_up(tmp_path: Path, settings) -> None:
    had = config(tmp_path, **settings)
    save_state(HALF, had, VOLUMES)
    resumed = as_interrupted(config(tmp_path, resume=True, minutes=7, device="cpu", seed=5))
    assert resumed == had.model_copy(update={"resume": True, "minutes": 7, "device": "cpu"})
    assert load_state(resumed, VOLUMES).steps == 57
    state_path(had.output).write_bytes(b"damaged")
    with pytest.raises(TrainingError, match="is damaged"):
        as_interrupted(resumed)


@pytest.mark.parametrize("volumes", [[], ["cells (9, 64, 64) 4"], [*VOLUMES, "more (8, 9, 9) 4"]])
def test_other_volumes_are_refused(tmp_path: Path, volumes: list[str]) -> None:
    save_state(HALF, config(tmp_path), VOLUMES)
    assert "other volumes" in refused(config(tmp_path), volumes)


@pytest.mark.parametrize("kept", [0, 5, 100, 0.5, 0.999])
def test_a_truncated_file_is_damaged(tmp_path: Path, kept: float) -> None:
    save_state(HALF, config(tmp_path), VOLUMES)
    path = state_path(tmp_path / "model.safetensors")
    content = path.read_bytes()
    path.write_bytes(content[: kept if kept > 1 else int(kept * len(content))])
    assert "model.unfinished is damaged" in refused(config(tmp_path))


@pytest.mark.parametrize("metadata", [None, {}, {"other": "1"}, {"napari_niiv_training": "{"}])
def test_the_file_of_another_program_is_damaged(tmp_path: Path, metadata) -> None:
    save_file(TENSORS, tmp_path / "model.unfinished", metadata=metadata)
    assert "damaged" in refused(config(tmp_path))


def test_a_card_without_all_of_its_entries_is_damaged(tmp_path: Path) -> None:
    save_file(TENSORS, tmp_path / "model.unfinished", metadata={"napari_niiv_training": json.dumps({"stage": 1})})
    assert "damaged" in refused(config(tmp_path))


def test_what_was_changed_since_is_damaged(tmp_path: Path) -> None:
    """A single bit of a number, too."""
    save_state(HALF, config(tmp_path), VOLUMES)
    path = state_path(tmp_path / "model.safetensors")
    content = bytearray(path.read_bytes())
    for place in (len(content) - 1, content.index(b'\\"steps\\": 57') + 11):
        changed = bytearray(content)
        changed[place] ^= 1
        path.write_bytes(changed)
        assert "model.unfinished is damaged" in refused(config(tmp_path))


@pytest.mark.parametrize(
    "change",
    [
        {"stage": 3},
        {"stage": "1"},
        {"begin": -0.1},
        {"begin": float("nan")},
        {"steps": -1},
        {"steps": 10**400},
        {"seconds": "1"},
        {"best": float("nan")},
        {"config": []},
        {"volumes": 3},
        {"more": 1},
    ],
    ids=str,
)
def test_facts_that_cannot_be_are_damage_whatever_the_checksum_says(tmp_path: Path, change: dict[str, Any]) -> None:
    save_state(HALF, config(tmp_path), VOLUMES)
    path = state_path(tmp_path / "model.safetensors")
    with safe_open(path, framework="pt") as file:
        facts = json.loads(file.metadata()["napari_niiv_training"])
    text = json.dumps({**facts, **change})
    save_file(TENSORS, path, metadata={"napari_niiv_training": text, "sha256": _checksum(text, TENSORS)})
    assert "model.unfinished is damaged" in refused(config(tmp_path))


def test_a_score_that_is_no_number_is_none(tmp_path: Path) -> None:
    save_state(replace(HALF, best=float("nan")), config(tmp_path), VOLUMES)
    assert load_state(config(tmp_path), VOLUMES).best is None


def test_none_at_all(tmp_path: Path) -> None:
    assert "without resuming" in refused(config(tmp_path))
    (tmp_path / "model.unfinished").mkdir()
    assert "without resuming" in refused(config(tmp_path))


@pytest.mark.parametrize("step", ["write", "replace"])
def test_a_failure_leaves_the_last_one_and_nothing_half_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    save_state(HALF, config(tmp_path), VOLUMES)
    whole = state_path(tmp_path / "model.safetensors").read_bytes()

    def half(self: Path, content: bytes) -> int:
        with self.open("wb") as file:
            file.write(content[: len(content) // 2])
        raise OSError(28, "No space left on device")

    def failing(*_: object) -> None:
        raise PermissionError(13, "in use")

    if step == "write":
        monkeypatch.setattr(Path, "write_bytes", half)
    else:
        monkeypatch.setattr(os, "replace", failing)
    with pytest.raises(OutputError, match=r"cannot be written.*(No space left|in use)"):
        save_state(replace(HALF, steps=99), config(tmp_path), VOLUMES)
    monkeypatch.undo()
    assert [p.name for p in tmp_path.iterdir()] == ["model.unfinished"]
    assert state_path(tmp_path / "model.safetensors").read_bytes() == whole


def test_a_folder_that_is_gone(tmp_path: Path) -> None:
    with pytest.raises(NiivError, match="cannot be written"):
        save_state(HALF, config(tmp_path / "gone"), VOLUMES)
