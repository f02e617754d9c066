"""The two stages of a training, and what the first makes for the second."""

from __future__ import annotations

import copy
import math
from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Literal

from torch import Tensor

from napari_niiv.errors import TrainingError
from napari_niiv.geometry import Box
from napari_niiv.models.niiv import Niiv, shapes_of
from napari_niiv.models.weight_files import finite
from napari_niiv.training.data.boxes import measured_box, restored_box
from napari_niiv.training.data.pool import BoxSize, MakeBox, Pool
from napari_niiv.training.data.volumes import TrainingVolume
from napari_niiv.training.events import Event
from napari_niiv.training.loop import Loop, TaskData
from napari_niiv.training.optimisation import Optimisation
from napari_niiv.training.plan import Plan, has_few_steps
from napari_niiv.training.progress import Progress
from napari_niiv.training.state import State, damaged

# boxes of the first stage: xy slices, each by itself
_SLICES = BoxSize(depth=8, edge=512)
# boxes of the second stage, to be restored
_RESTORED = BoxSize(depth=32, edge=192, halo=8)
# voxels restored at once: some seconds
_LARGEST = {"cuda": 6e7, "mps": 2e7, "cpu": 3e6}
# steps after which a box of the first stage is exchanged
_FRESH_SLICES = 25
# parts of the work that go into rotating boxes anew, and, in the second stage, into restoring them ...
_ROTATING = 0.05
_RESTORING = 0.1
# ... and at most this before it begins
_FILLING = 0.2
# steps until it is asked again whether there is something to exchange
_LOOK_AGAIN = 20
# part of the second stage after which the model itself restores the boxes that it learns from
_OWN_TEACHER = 0.5
# boxes are rotated from this many patches across on: then a patch fits in what is left of them
_ROTATED_FROM = 1.9
# and only for factors from this on: small ones are about details that the interpolation blurs
_LEAST_ROTATED = 6.0
# largest norm of the gradient; that of DISTS + 30 MAE is larger
_CLIP = {"mae": 0.2, "dists": 1.0}


def first_stage(plan: Plan, progress: Progress) -> Iterator[Event]:
    """Learn from each slice by itself; nothing if there is a model that knows neighbours already."""
    config, neighbours = plan.config, plan.architecture.slices_seen > 1
    past = progress.interrupted is not None and progress.interrupted.stage == 2
    taught = plan.init is not None or bool(plan.teachers)
    if neighbours and (taught or past or config.first_stage == 0):
        return
    model = copy.deepcopy(plan.init) if plan.init is not None else Niiv(plan.first_architecture)
    with ExitStack() as pools:
        data = yield from _fill(plan, progress, pools, measured_box, 1)
        optimisation = _begin(plan, progress, 1, model)
        end = config.first_stage if neighbours else 1.0
        interval = _FRESH_SLICES if not all(d.pool.whole for d in data) else _rotation_interval(plan, progress, data)
        yield from Loop(plan, progress, optimisation, data, end, lambda: interval).events()
    progress.first = optimisation.average
    # its state is written, and must not pass for one of the second stage
    progress.optimisation = None
    if plan.only_teaches:
        progress.best.keep({}, None)


def second_stage(plan: Plan, progress: Progress) -> Iterator[Event]:
    """Learn with neighbouring slices, from volumes that teachers restored, at last the model itself."""
    restorer = _Restorer(plan, _teachers(plan, progress))
    words = "Restoring the neighbours of the slices to judge by"
    yield progress.preparing(words)
    for part in progress.best.surround(restorer.models[0]):
        yield progress.preparing(f"{words} ({part:.0%})")
    model = _pupil(plan, progress)
    with ExitStack() as pools:
        data = yield from _fill(plan, progress, pools, restorer, 2)
        optimisation = _begin(plan, progress, 2, model)

        def exchange_interval() -> int:
            """Steps between exchanges, so that restoring and rotating take their share of the work."""
            done = (progress.budget.fraction - progress.begin) / max(1 - progress.begin, 1e-9)
            # a model of other data improves as a teacher from the first step on
            if not plan.teachers and (plan.init is not None or done > _OWN_TEACHER):
                restorer.follow(optimisation.average)
                for part in data:
                    part.pool.remakes = True
            if all(d.pool.whole and not d.pool.remakes for d in data):
                return _rotation_interval(plan, progress, data) or _LOOK_AGAIN
            restoring = 2 * restorer.times * max(d.pool.work for d in data)
            return max(1, round(restoring / (_RESTORING * 3 * _patch_work(plan, progress))))

        yield from Loop(plan, progress, optimisation, data, 1.0, exchange_interval).events()


def _teachers(plan: Plan, progress: Progress) -> Sequence[Niiv]:
    """Who restores the volumes of the second stage when it begins."""
    if plan.teachers:
        return plan.teachers
    if progress.interrupted is not None and progress.interrupted.stage == 2:
        first = _stored_first(plan, progress.interrupted)
    else:
        first = progress.first or copy.deepcopy(plan.init) or Niiv(plan.architecture)
    progress.first = first = first.to(plan.device)
    plan.processes.share(first.parameters())
    return (first,)


def _pupil(plan: Plan, progress: Progress) -> Niiv:
    """The model that the second stage trains, as it begins."""
    first = progress.first
    if plan.init is not None:
        return copy.deepcopy(plan.init)
    if plan.only_teaches or first is None:
        return Niiv(plan.architecture)
    model = first.widened(plan.architecture.context) if first.context == 0 else copy.deepcopy(first)
    progress.best.keep_model(model)
    return model


class _Restorer:
    """Makes boxes isotropic with copies of models, by the mean of what they restore."""

    def __init__(self, plan: Plan, models: Sequence[Niiv]) -> None:
        self._plan = plan
        # eight times the work: only where restoring is a small part of it
        self._flips = plan.device.type == "cuda"
        self.follow(*models)

    @property
    def times(self) -> int:
        """How often a box is restored for one result."""
        return len(self.models) * (8 if self._flips else 1)

    def follow(self, *models: Niiv) -> None:
        """Restore with these models from now on, as they are now."""
        self.models = [copy.deepcopy(model).place(self._plan.device) for model in models]

    def __call__(self, volume: TrainingVolume, values: Tensor, box: Box, core: Box) -> Tensor:
        degradation = self._plan.config.degradation
        return restored_box(self.models, degradation, self._flips, volume, values, box, core)


def _patch_work(plan: Plan, progress: Progress) -> float:
    """Voxels that are encoded in a step."""
    return float(progress.batch * plan.config.lateral * plan.config.axial)


def _rotation_interval(plan: Plan, progress: Progress, data: Sequence[TaskData]) -> int:
    """Steps between two rotations of boxes; 0 if none are rotated."""
    largest = max((d.pool.work * d.pool.growth for d in data if d.pool.copies), default=0.0)
    seen = progress.batch * plan.config.lateral**2 * plan.architecture.slices_seen
    return math.ceil(largest / (_ROTATING * seen))


def _begin(plan: Plan, progress: Progress, stage: Literal[1, 2], model: Niiv) -> Optimisation:
    config = plan.config
    optimisation = Optimisation(
        model.to(plan.device),
        config.degradation,
        plan.loss,
        learning_rate=config.learning_rate or _learning_rate(plan),
        clip=config.clip or _CLIP[config.loss],
        averaging=config.averaging,
        learnt=plan.init is not None,
        contrast=config.contrast,
        learn_noise=config.learn_noise,
        seed=config.seed + 100 * stage + 1000 * plan.processes.rank,
        processes=plan.processes,
    )
    progress.begin_stage(stage, optimisation)
    return optimisation


def _learning_rate(plan: Plan) -> float:
    """What suits the model: an MLP diverges at what convolutions bear, and what was learnt before is to be kept."""
    if plan.init is not None:
        return 2e-4
    if plan.architecture.decoder != "subvoxel":
        return 3e-4
    return 1.2e-3 if has_few_steps(plan.config, plan.device) and plan.config.architecture is None else 6e-4


def _fill(
    plan: Plan, progress: Progress, pools: ExitStack, make: MakeBox, stage: int
) -> Generator[Event, None, list[TaskData]]:
    """Read the boxes of all groups for a stage; returns what there is to learn, group by group."""
    config, budget, groups = plan.config, progress.budget, plan.groups
    message, share = ("Reading slices", 1.0) if stage == 1 else ("Restoring volumes to learn from", _FILLING)
    limit = budget.fraction + share * (1 - budget.fraction)
    data: list[TaskData] = []
    for number, group in enumerate(groups):
        size = _SLICES
        if stage == 2:
            size = replace(_RESTORED, growth=group.anisotropy, largest=_LARGEST[plan.device.type])
        pool = Pool(
            group.volumes,
            size,
            make if group.anisotropy >= 1.01 else measured_box,
            memory=1e9 * config.memory / len(groups),
            device=plan.device,
            seed=config.seed + 100 * stage + number + 1000 * plan.processes.rank,
            rotated_from=_ROTATED_FROM * config.lateral if group.anisotropy >= _LEAST_ROTATED else math.inf,
        )
        pools.callback(pool.close)
        steps = budget.work(share * (1 - budget.fraction))

        def enough(pool: Pool = pool, steps: float = steps) -> bool:
            """Whether the part of the budget for reading is spent: by the clock, else by arithmetic."""
            if budget.timed:
                return budget.fraction >= limit
            return stage == 2 and 2 * pool.filled > 3 * steps * _patch_work(plan, progress)

        for part in pool.fill(enough):
            yield progress.preparing(f"{message} ({(number + part) / len(groups):.0%})")
        data += [TaskData(task, pool) for task in group.tasks]
    slices = plan.architecture.slices_seen if stage == 2 else 1
    kept: list[TaskData] = []
    for number, each in enumerate(data):  # levels for zooming out are left out where they are too small
        yield progress.preparing(f"Preparing patches ({number / len(data):.0%})")
        if _has_places(plan, each, slices):
            kept.append(each)
    return kept


def _has_places(plan: Plan, part: TaskData, slices: int) -> bool:
    """Whether patches can be drawn for a task.

    Raises
    ------
    TrainingError
        If they cannot, and it is no level for zooming out.
    """
    config, task = plan.config, part.task
    needed = config.degradation.needed(config.axial, task.anisotropy)
    try:
        if part.pool.sampler(task.downsample, slices).free_of_holes(config.lateral, needed):
            return True
    except TrainingError:
        if task.downsample == 1:
            raise
    if task.downsample == 1:
        raise TrainingError(
            f"No place in the volumes is large enough for a patch without NaN, and for {slices} slices between those "
            "that are kept to judge by; crop them to where they have data, or train with smaller patches."
        )
    return False


def _stored_first(plan: Plan, state: State) -> Niiv:
    """The first stage's model of an interrupted training."""
    tensors = state.part("first.")
    for architecture in (plan.architecture, plan.first_architecture):
        if {k: tuple(v.shape) for k, v in tensors.items()} == shapes_of(architecture) and finite(tensors):
            model = Niiv(architecture)
            model.load_state_dict(tensors)
            return model
    raise damaged(plan.config.output)
