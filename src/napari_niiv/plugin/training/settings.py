"""What the form asks for and how it becomes a training; whatever imports torch is called off the GUI thread."""

from __future__ import annotations

import functools
import gc
import importlib
from collections.abc import Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_niiv.errors import TrainingError
from napari_niiv.plugin.common.output_names import StatePath
from napari_niiv.training.config import PsfFile, TrainingConfig
from napari_niiv.volume import Volume

if TYPE_CHECKING:
    from napari_niiv.training.events import Event
    from napari_niiv.training.starting_point import StartingPoint


@dataclass(frozen=True)
class TrainingSettings:
    """A training as the form asks for it.

    Attributes
    ----------
    volume : Volume
    config : TrainingConfig
        All but a measured degradation.
    psf : PsfFile or None
        Of a measured degradation, which is read from it.
    """

    volume: Volume
    config: TrainingConfig
    psf: PsfFile | None = None

    def start(self) -> Generator[Event, None, None]:
        """Begin the training.

        Raises
        ------
        NiivError
            If it is not possible.
        """
        from napari_niiv.training.train import train

        return train([self.volume], self.complete())

    def complete(self) -> TrainingConfig:
        """The whole configuration: the degradation as the PSF's file has it, or all as an interrupted training had it.

        Raises
        ------
        TrainingError, VolumeError
            If the file is unusable.
        """
        if self.config.resume:
            from napari_niiv.training.state import as_interrupted

            return as_interrupted(self.config)
        if self.psf is None:
            return self.config
        from napari_niiv.io.psf import read_psf

        measured = read_psf(self.psf.psf, self.volume, self.psf.psf_spacing)
        if measured is None:
            raise TrainingError(
                f"{self.psf.psf.name} has no z spacing in {self.volume.unit}; type it under the file's name."
            )
        return self.config.model_copy(update={"degradation": measured})


def look_up_start(wanted: str | None, checkpoint: str | None, anisotropy: float) -> StartingPoint:
    """What to start from, and the blur along z that suits it.

    Parameters
    ----------
    wanted : str or None
        The checkpoint in use, from which is started if it can be; None to start from `checkpoint`.
    checkpoint : str or None
        Chosen in the form, as it is; None is nothing.
    anisotropy : float

    Raises
    ------
    CheckpointError
        If the checkpoint cannot be read.
    """
    from napari_niiv.device import available_devices
    from napari_niiv.training.starting_point import StartingPoint, starting_point, suited

    if wanted is not None:
        return starting_point(wanted, anisotropy, available_devices()[0] != "cpu")
    return StartingPoint(None) if checkpoint is None else suited(checkpoint, anisotropy)


def devices_and_state_path() -> tuple[list[str], StatePath]:
    """The devices present, and where the state of an interrupted training lies: only torch can tell."""
    from napari_niiv.device import available_devices
    from napari_niiv.training.state import state_path

    return available_devices(), state_path


@functools.cache  # once is enough
def warm_up() -> None:
    """Import what a training would, and have the garbage that leaves collected: 0.2 s that would hold the viewer up."""
    for name in ("pyqtgraph", "napari_niiv.training.train"):
        importlib.import_module(name)
    gc.collect()
