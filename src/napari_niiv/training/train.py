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
from napari_niiv.training.plan import Plan, has_few_steps, plan_architecture, plan_groups
from napari_niiv.training.processes import Processes
from napari_niiv.training.progress import Progress
from napari_niiv.training.stages import first_stage, second_stage
from napari_niiv.training.state import State, forget_state, load_state
from napari_niiv.volume import Volume

_NOTHING_TO_JUDGE_BY = (
    "The slices that can be held out are blank, or empty here and there, so there is nothing to judge the model by; "
    "the last one is kept."
)


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
    if has_few_steps(config, device):  # too few to learn that noise is not to be believed
        config = config.model_copy(update={"plane_noise": False})
    usable, notices = training_volumes(volumes)
    groups = plan_groups(usable, config)
    init = load_model(config.init, "cpu") if config.init is not None else None
    architecture = plan_architecture(groups, config, init, device)
    loss = make_loss(config.loss, config.vgg_weights, device)
    teachers = tuple(load_model(name, "cpu") for name in config.teachers)
    plan = Plan(config, groups, architecture, init, teachers, loss, device, Processes.launched())
    interrupted = load_state(config, plan.volume_names) if config.resume else None
    return _events(plan, interrupted, notices)


def _events(plan: Plan, interrupted: State | None, notices: list[str]) -> Generator[Event, None, None]:
    """Train; leaves the best checkpoint so far, and a state to go on from, however it ends."""
    processes = plan.processes.join(plan.device)
    if processes.main and interrupted is None:
        forget_state(plan.config.output)
    progress, finished = Progress(plan, interrupted), False
    try:
        yield from map(Notice, notices)
        yield progress.preparing("Choosing slices to judge by")
        torch.manual_seed(plan.config.seed)
        if processes.main:
            progress.best.hold_out()
            if not progress.best.judges:
                yield Notice(_NOTHING_TO_JUDGE_BY)
        yield from first_stage(plan, progress)
        if plan.architecture.slices_seen > 1:
            yield from second_stage(plan, progress)
        if processes.main:
            forget_state(plan.config.output)
        finished = True
        yield progress.finished()
    finally:
        try:
            if not finished and processes.main:
                progress.save()
        finally:
            processes.leave(finished)
