"""`train`: fit a model to volumes, step by step, as a generator of events."""

from __future__ import annotations

from collections.abc import Generator, Sequence

import torch

from napari_niiv.device import choose_device
from napari_niiv.io.write import check_output
from napari_niiv.models.catalog import SUFFIX
from napari_niiv.models.checkpoint import load_model
from napari_niiv.training.config import TrainingConfig
from napari_niiv.training.data.volumes import training_volumes
from napari_niiv.training.events import Event, Notice
from napari_niiv.training.losses.loss import make_loss
from napari_niiv.training.plan import plan_architecture, plan_groups, volume_names
from napari_niiv.training.processes import Processes
from napari_niiv.training.run import Run
from napari_niiv.training.state import forget_state, load_state
from napari_niiv.volume import Volume


def train(volumes: Sequence[Volume], config: TrainingConfig) -> Generator[Event, None, None]:
    """Learn, from volumes alone, to restore their coarse axis.

    The xy slices are sharp: one of their axes is degraded as the z axis of the volumes was, and the network learns to
    undo it (Troidl et al., niiv). In a second stage it learns to use neighbouring slices, on volumes that the first
    stage restored. Volumes are read box by box.

    Parameters
    ----------
    volumes : sequence of Volume
        T and C indices count as volumes of their own.
    config : TrainingConfig

    Yields
    ------
    Preparing, TrainingStep, Validation, Notice, Finished
        Closing the generator ends the training; the best checkpoint so far stays at ``config.output``, and the
        training can be resumed.

    Raises
    ------
    OutputError
        At once, if the output cannot be written.
    TrainingError, VolumeError, CheckpointError, DeviceError
        At once, if a training of this kind is not possible; also later, if it cannot go on.
    """
    output = check_output(config.output, config.overwrite or config.resume, (SUFFIX,))
    config = config.model_copy(update={"output": output})
    device = choose_device(Processes.local_device(config.device))
    if device.type == "cuda" and device.index is not None:
        torch.cuda.set_device(device)
    subjects, notices = training_volumes(volumes)
    groups = plan_groups(subjects, config)
    init = load_model(config.init, "cpu") if config.init is not None else None
    architecture = plan_architecture(groups, config, init)
    loss = make_loss(config.loss, config.vgg_weights, device)
    state = load_state(config, volume_names(groups)) if config.resume else None

    def events() -> Generator[Event, None, None]:
        ranks = Processes.launched().join(device)
        if ranks.main and state is None:
            forget_state(output)
        run = Run(groups, architecture, init, config, loss, device, ranks, state)
        try:
            for notice in notices:
                yield Notice(notice)
            yield from run.events()
        finally:
            ranks.leave()

    return events()
