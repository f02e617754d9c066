"""Errors that the user can mend; each message is one sentence that says what to do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


class NiivError(Exception):
    """Base of all errors shown to the user as one sentence, without a traceback."""


class VolumeError(NiivError):
    """A volume or its file cannot be used as it is."""


class DatasetChoice(VolumeError):
    """A file holds several volumes and none was named.

    Parameters
    ----------
    name : str
        The file's.
    datasets : sequence of str
        What can be given as ``dataset=`` or ``--dataset``.
    """

    def __init__(self, name: str, datasets: Sequence[str]) -> None:
        self.name, self.datasets = name, tuple(datasets)
        few = ", ".join(self.datasets[:12]) + (", …" if len(self.datasets) > 12 else "")
        super().__init__(
            f"{name} holds {len(self.datasets)} datasets: {few}; give one with dataset= or --dataset."
        )

    def __reduce__(self) -> Any:
        return DatasetChoice, (self.name, self.datasets)


class ConstantVolumeError(VolumeError):
    """A volume has one intensity only, its `value`."""

    def __init__(self, message: str, value: float) -> None:
        super().__init__(message, value)
        self.value = value

    def __str__(self) -> str:
        return str(self.args[0])


class CheckpointError(NiivError):
    """A checkpoint cannot be read or does not fit."""


class DeviceError(NiivError):
    """A computing device is absent or unusable."""


class OutputError(NiivError):
    """A result cannot be written where it was asked for."""


class ReconstructionError(NiivError):
    """A request for a reconstruction makes no sense for this volume."""


class TrainingError(NiivError):
    """A training cannot start with these volumes or settings, or cannot go on."""
