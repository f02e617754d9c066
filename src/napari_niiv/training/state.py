"""The file from which an interrupted training goes on; it lies beside the checkpoint until the training is finished."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import SafetensorError
from safetensors.torch import save
from torch import Tensor

from napari_niiv import strict_json
from napari_niiv.errors import OutputError, TrainingError, reason_of
from napari_niiv.io.write import remove_left, whole_file
from napari_niiv.models.weight_files import DamagedWeights, open_weights
from napari_niiv.training.config import TrainingConfig

_KEY, _SUM = "napari_niiv_training", "sha256"
# formats in which weights and moments are kept
_PACKED = (torch.float16, torch.bfloat16)
_MOMENT = ".exp_avg"
# settings that may differ between the runs of one training
_MAY_DIFFER = {
    *("output", "overwrite", "resume", "device", "minutes", "plane_noise"),
    *("steps", "batch", "memory", "validations", "vgg_weights"),
}


@dataclass(frozen=True)
class State:
    """A training half done.

    Attributes
    ----------
    stage : int
        1 or 2.
    begin : float
        Fraction of the budget where the stage's optimisation began.
    steps, seconds : int, float
        Spent of the budget.
    best : float or None
        PSNR of the best weights so far, in dB.
    tensors : dict
        Weights and optimiser; see `Progress.state`.
    spent : bool
        Whether nothing is left of the budget that it had: only its end is missing.
    """

    stage: Literal[1, 2]
    begin: float
    steps: int
    seconds: float
    best: float | None
    tensors: dict[str, Tensor]
    spent: bool = False

    def part(self, prefix: str) -> dict[str, Tensor]:
        """The tensors whose names begin with a prefix, without it."""
        return {k.removeprefix(prefix): v for k, v in self.tensors.items() if k.startswith(prefix)}


class _Facts(BaseModel):
    """What is written beside the tensors."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    stage: Literal[1, 2]
    begin: float = Field(ge=0, le=1)
    steps: int = Field(ge=0, le=1 << 48)
    seconds: float = Field(ge=0, le=1e12)
    best: float | None = Field(ge=-1e9)
    spent: bool = False
    config: dict[str, Any]
    volumes: list[str]


def state_path(output: Path) -> Path:
    """Where the state of a training is kept."""
    return output.with_suffix(".unfinished")


def save_state(state: State, config: TrainingConfig, volumes: list[str]) -> None:
    """Write the state, whole or not at all; tensors in 16 bits, so that it is no larger than three checkpoints.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    facts = _Facts(
        stage=state.stage,
        begin=state.begin,
        steps=state.steps,
        seconds=state.seconds,
        best=None if state.best is None or math.isnan(state.best) else state.best,
        spent=state.spent,
        config=_fixed_settings(config),
        volumes=volumes,
    )
    text = json.dumps(facts.model_dump())
    tensors = {name: _packed(name, tensor) for name, tensor in state.tensors.items()}
    metadata = {_KEY: text, _SUM: _checksum(text, tensors)}
    target = state_path(config.output)
    try:
        with whole_file(target) as partial:
            partial.write_bytes(save(tensors, metadata=metadata))
    except (OSError, SafetensorError) as error:
        raise OutputError(f"The state of the training cannot be written to {target} ({reason_of(error)}).") from error


def load_state(config: TrainingConfig, volumes: list[str]) -> State:
    """Read the state of an interrupted training.

    Raises
    ------
    TrainingError
        If there is none, it is damaged, it belongs to other settings or volumes, or nothing is left of the budget.
    """
    facts, tensors = _read(config.output)
    wanted = _fixed_settings(config)
    different = [key for key in wanted if facts.config.get(key) != wanted[key]]
    if different or facts.volumes != volumes:
        what = f"another {different[0]}" if different else "other volumes"
        name = state_path(config.output).name
        raise TrainingError(
            f"The interrupted training at {name} was of {what}; repeat its settings, or start anew, overwriting it."
        )
    if not facts.spent:
        _check_budget(facts, config)
    unpacked = {name: tensor.float() if tensor.dtype in _PACKED else tensor for name, tensor in tensors.items()}
    return State(facts.stage, facts.begin, facts.steps, facts.seconds, facts.best, unpacked, facts.spent)


def _check_budget(facts: _Facts, config: TrainingConfig) -> None:
    """Refuse to go on for no time: it would end as if it had learnt something."""
    name, minutes = state_path(config.output).name, facts.seconds / 60
    for had, given, unit in ((minutes, config.minutes, "minutes"), (facts.steps, config.steps, "steps")):
        if given is not None and had >= given:
            raise TrainingError(
                f"The interrupted training at {name} has had {had:.3g} {unit} already, and is to have {given:.3g} in "
                f"all; give it more."
            )


def as_interrupted(config: TrainingConfig) -> TrainingConfig:
    """A configuration that resumes, with the settings that the interrupted training had.

    Where it runs, for how long and the like may be others.

    Raises
    ------
    TrainingError
        If there is none, or it is damaged.
    """
    facts, _ = _read(config.output)
    try:
        return TrainingConfig(**{name: getattr(config, name) for name in _MAY_DIFFER}, **facts.config)
    except (ValidationError, TypeError) as error:
        raise damaged(config.output) from error


def _read(output: Path) -> tuple[_Facts, dict[str, Tensor]]:
    """What is written in the state of a training."""
    path = state_path(output)
    if not path.is_file():
        raise TrainingError(f"There is no interrupted training at {path}; start it without resuming.")
    try:
        with open_weights(path) as file:
            text, tensors = file.metadata[_KEY], file.tensors()
            if file.metadata[_SUM] != _checksum(text, tensors):
                raise ValueError("its checksum is another")
        return _Facts.model_validate(strict_json.parse(text, finite=False)), tensors
    except (DamagedWeights, OSError, ValueError, KeyError) as error:
        raise damaged(output) from error


def damaged(output: Path) -> TrainingError:
    """The error of a state that cannot be gone on with."""
    return TrainingError(f"{state_path(output).name} is damaged; start the training anew, overwriting its output.")


def forget_state(output: Path) -> None:
    """The training is finished, or begins anew."""
    state_path(output).unlink(missing_ok=True)
    for target in (output, state_path(output)):
        remove_left(target)


def _packed(name: str, tensor: Tensor) -> Tensor:
    """A tensor in 16 bits, of which 11 are digits where all its numbers can be written so, else 8.

    What is rounded away is far below what a single step changes. Adam's moments are too small for float16's exponent of
    5 bits.
    """
    if tensor.dtype != torch.float32 or tensor.ndim == 0:
        return tensor
    half = tensor.half()
    return tensor.bfloat16() if _MOMENT in name or not half.isfinite().all() else half


def _fixed_settings(config: TrainingConfig) -> dict[str, Any]:
    dumped: dict[str, Any] = json.loads(config.model_dump_json(exclude=_MAY_DIFFER))
    return dumped


def _checksum(text: str, tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 of all that is written."""
    digest = hashlib.sha256(text.encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
