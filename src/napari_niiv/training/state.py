"""The file from which an interrupted training goes on; it lies beside the checkpoint until the training is finished."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from napari_niiv.errors import OutputError, TrainingError
from napari_niiv.io.write import remove_left, whole_file
from napari_niiv.training.config import TrainingConfig

_KEY = "napari_niiv_training"
# settings that may differ between the runs of one training
_MAY_DIFFER = {
    *("output", "overwrite", "resume", "device", "minutes"),
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
    """

    stage: int
    begin: float
    steps: int
    seconds: float
    best: float | None
    tensors: dict[str, Tensor]

    def part(self, prefix: str) -> dict[str, Tensor]:
        """The tensors whose names begin with a prefix, without it."""
        return {k.removeprefix(prefix): v for k, v in self.tensors.items() if k.startswith(prefix)}


def state_path(output: Path) -> Path:
    """Where the state of a training is kept."""
    return output.with_suffix(".unfinished")


def save_state(state: State, config: TrainingConfig, volumes: list[str]) -> None:
    """Write the state, whole or not at all.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    metadata = {
        "stage": state.stage,
        "begin": state.begin,
        "steps": state.steps,
        "seconds": state.seconds,
        "best": state.best,
        "config": _fixed_settings(config),
        "volumes": volumes,
    }
    target = state_path(config.output)
    try:
        with whole_file(target) as partial:
            partial.write_bytes(save(state.tensors, metadata={_KEY: json.dumps(metadata)}))
    except (OSError, SafetensorError) as error:
        raise OutputError(f"The state of the training cannot be written to {target} ({error}).") from error


def load_state(config: TrainingConfig, volumes: list[str]) -> State:
    """Read the state of an interrupted training.

    Raises
    ------
    TrainingError
        If there is none, it is damaged, or it belongs to other settings or volumes.
    """
    path = state_path(config.output)
    if not path.is_file():
        raise TrainingError(f"There is no interrupted training at {path}; start it without resuming.")
    try:
        with safe_open(path, framework="pt") as file:
            metadata: dict[str, Any] = json.loads((file.metadata() or {})[_KEY])
            settings, names = metadata["config"], metadata["volumes"]
            stage, begin, steps, seconds = (metadata[key] for key in ("stage", "begin", "steps", "seconds"))
            best = metadata["best"]
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError, KeyError) as error:
        raise TrainingError(f"{path.name} is damaged; start the training anew, overwriting its output.") from error
    wanted = _fixed_settings(config)
    different = [key for key in wanted if settings.get(key) != wanted[key]]
    if different or names != volumes:
        what = f"another {different[0]}" if different else "other volumes"
        raise TrainingError(
            f"The interrupted training at {path.name} was of {what}; repeat its settings, or start anew, "
            "overwriting it."
        )
    return State(stage, begin, steps, seconds, best, tensors)


def forget_state(output: Path) -> None:
    """The training is finished, or begins anew."""
    state_path(output).unlink(missing_ok=True)
    for target in (output, state_path(output)):
        remove_left(target)


def _fixed_settings(config: TrainingConfig) -> dict[str, Any]:
    dumped: dict[str, Any] = json.loads(config.model_dump_json(exclude=_MAY_DIFFER))
    return dumped
