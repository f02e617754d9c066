from __future__ import annotations

import subprocess
import sys

import pytest
from pydantic import ValidationError

from napari_niiv.degradation import Average, Gaussian
from napari_niiv.training.config import DEFAULT_MINUTES, TrainingConfig


@pytest.mark.parametrize(
    "wrong",
    [
        {"steps": 0},
        {"minutes": 0},
        {"minutes": -1},
        {"batch": 0},
        {"learning_rate": 0},
        {"averaging": 1},
        {"lateral": 8},
        {"axial": 1},
        {"first_stage": 1.5},
        {"validations": 0},
        {"memory": 0},
        {"clip": 0},
        {"loss": "mse"},
        {"degradation": {"kind": "magic"}},
        {"architecture": {"decoder": "magic"}},
        {"epochs": 3},
        {"output": None},
    ],
)
def test_settings_that_make_no_sense(wrong) -> None:
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        TrainingConfig(**{"output": "model.safetensors"} | wrong)


@pytest.mark.parametrize(
    ("given", "minutes", "steps"),
    [
        ({}, DEFAULT_MINUTES, None),
        ({"steps": 10}, None, 10),
        ({"minutes": 3}, 3, None),
        ({"minutes": 3, "steps": 10}, 3, 10),
    ],
)
def test_a_budget_there_always_is(given, minutes, steps) -> None:
    config = TrainingConfig(output="model.safetensors", **given)
    assert (config.minutes, config.steps) == (minutes, steps)


def test_the_output_must_be_given() -> None:
    with pytest.raises(ValidationError, match="output"):
        TrainingConfig()


@pytest.mark.parametrize("degradation", [Average(), Gaussian(fwhm=2)])
def test_settings_can_be_stored(degradation) -> None:
    config = TrainingConfig(output="x.safetensors", degradation=degradation, anisotropies=(2, 4))
    assert TrainingConfig.model_validate_json(config.model_dump_json()) == config


def test_it_is_known_without_torch() -> None:
    """The command line and the form of the plugin are built from it before torch is imported."""
    code = "import sys, napari_niiv.training.config; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
