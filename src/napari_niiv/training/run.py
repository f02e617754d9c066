"""A training from its first step to its checkpoint: two stages around one optimisation each."""

from __future__ import annotations

import copy
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from napari_niiv.errors import DeviceError, TrainingError
from napari_niiv.models.architecture import Architecture
from napari_niiv.models.checkpoint import save_model
from napari_niiv.models.niiv import Niiv
from napari_niiv.training.budget import Budget
from napari_niiv.training.card import training_card
from napari_niiv.training.config import TrainingConfig
from napari_niiv.training.data.boxes import measured_slices, restored_block
from napari_niiv.training.data.pool import Pool, Shape
from napari_niiv.training.data.volumes import Box, TrainingVolume
from napari_niiv.training.events import Event, Finished, Notice, Preparing, TrainingStep, Validation
from napari_niiv.training.optimisation import Loss, Optimisation
from napari_niiv.training.plan import Group, Task, volume_names
from napari_niiv.training.processes import Processes
from napari_niiv.training.state import State, forget_state, save_state
from napari_niiv.training.validation import HeldOut

BATCH = {"cuda": 64, "mps": 16, "cpu": 8}
_SLICES = Shape(depth=8, edge=512)  # boxes of the first stage: xy slices, each by itself
_BLOCK = Shape(depth=32, edge=192, halo=8)  # boxes of the second stage, to be restored
_LARGEST = {"cuda": 6e7, "mps": 2e7, "cpu": 3e6}  # voxels restored at once: some seconds
_FRESH_SLICES = 25  # steps after which a box of the first stage is exchanged
_RESTORING = 0.1  # of the second stage's work goes into restoring new boxes ...
_FILLING = 0.2  # ... and at most this before it begins
_AGREE = 10  # steps between two talks of several processes
_JUDGING = 15  # times as long as a validation takes there is none


@dataclass(frozen=True)
class _Choice:
    """A task, and the boxes to learn it from."""

    pool: Pool
    task: Task


class Run:
    """One training.

    Parameters
    ----------
    groups : tuple of Group
    architecture : Architecture
    init : Niiv or None
        Model to go on from.
    config : TrainingConfig
    loss : callable
    device : torch.device
    ranks : Processes
    state : State or None
        Of an interrupted training.
    """

    def __init__(
        self,
        groups: tuple[Group, ...],
        architecture: Architecture,
        init: Niiv | None,
        config: TrainingConfig,
        loss: Loss,
        device: torch.device,
        ranks: Processes,
        state: State | None,
    ) -> None:
        self._groups, self._architecture, self._init, self._config = groups, architecture, init, config
        self._loss, self._device, self._ranks = loss, device, ranks
        self._state = state
        self._budget = Budget(
            config.minutes, config.steps, state.seconds if state else 0.0, state.steps if state else 0
        )
        self._batch = config.batch or BATCH[device.type]
        self._pools: list[Pool] = []
        self._held_out: HeldOut | None = None
        self._stage, self._begin = 1, 0.0
        self._optimisation: Optimisation | None = None
        self._best: dict[str, Tensor] = {}
        self._best_score: float | None = None
        self._first: Niiv | None = None  # what the first stage made, which restores for the second
        self._restorer: Niiv | None = None  # the model that restores now

    def events(self) -> Iterator[Event]:
        """Train; leaves the best checkpoint so far, and a state to go on from, however it ends."""
        finished = False
        try:
            yield self._preparing("Choosing slices to judge by")
            torch.manual_seed(self._config.seed)
            if self._ranks.main:
                judged = [(s, g.judged) for g in self._groups for s in g.subjects]
                self._held_out = HeldOut(
                    judged, self._config.degradation, self._architecture.context, self._device
                )
            yield from self._first_stage()
            if self._architecture.context:
                yield from self._second_stage()
            yield self._finish()
            finished = True
        finally:
            self._close_pools()
            if not finished and self._ranks.main and self._optimisation is not None:
                self._save_state()

    # the two stages

    def _first_stage(self) -> Iterator[Event]:
        """Each slice by itself; skipped if there is a model that knows its neighbours already."""
        config, context = self._config, self._architecture.context
        second = self._state is not None and self._state.stage == 2
        if (self._init is not None and context) or second or (config.first_stage == 0 and context):
            return
        architecture = (config.teacher or self._architecture).model_copy(update={"context": 0})
        model = copy.deepcopy(self._init) if self._init is not None else Niiv(architecture)
        choices = yield from self._fill(1, _SLICES, "Reading slices", 1.0)
        end = config.first_stage if context else 1.0
        yield from self._optimise(1, model, choices, end, lambda: _FRESH_SLICES)
        assert self._optimisation is not None
        self._first = self._optimisation.average
        self._optimisation = None  # its state is written, and must not pass for one of the second stage
        if config.teacher is not None:
            self._best, self._best_score = {}, None
        self._close_pools()

    def _second_stage(self) -> Iterator[Event]:
        """With neighbouring slices, on volumes that the first stage restored."""
        self._stage = 2
        config, context = self._config, self._architecture.context
        if self._state is not None and self._state.stage == 2:
            first = self._first_of(self._state)
        else:
            first = self._first or copy.deepcopy(self._init) or Niiv(self._architecture)
        self._first = first.to(self._device)
        self._ranks.share(self._first.parameters())
        self._restorer = copy.deepcopy(self._first).place(self._device)
        yield self._preparing("Restoring the neighbours of the slices to judge by")
        if self._held_out is not None:
            self._held_out.surround(self._restorer)
        if self._init is not None or config.teacher is not None:
            model = copy.deepcopy(self._init) if self._init is not None else Niiv(self._architecture)
        else:
            model = self._first.widened(context) if self._first.context == 0 else copy.deepcopy(self._first)
            self._best = {k: v.detach().clone() for k, v in model.state_dict().items()}  # to be surpassed
        choices = yield from self._fill(2, _BLOCK, "Restoring volumes to learn from", _FILLING)
        whole = all(pool.whole for pool in self._pools)
        learns_from_itself = (
            self._init is not None
        )  # a model of other data improves as a teacher while it learns

        def turn() -> int:
            """Steps between exchanges, so that restoring takes its share of the work."""
            if whole and not learns_from_itself:  # nothing new to be had
                return 0
            if learns_from_itself and self._optimisation is not None:
                self._restorer = copy.deepcopy(self._optimisation.average).place(self._device)
            work = 3 * self._batch * config.lateral * config.axial
            return max(1, round(2 * max(p.work for p in self._pools) / (_RESTORING * work)))

        yield from self._optimise(2, model, choices, 1.0, turn)

    def _optimise(
        self, stage: int, model: Niiv, choices: list[_Choice], end: float, turn: Callable[[], int]
    ) -> Iterator[Event]:
        """Optimise until a part of the budget is spent; the best weights are kept aside."""
        config, budget, ranks = self._config, self._budget, self._ranks
        self._stage = stage
        rate = config.learning_rate or (3e-4 if model.architecture.features > 48 else 4e-4)
        optimisation = Optimisation(
            model.to(self._device),
            config.degradation,
            self._loss,
            learning_rate=rate,
            clip=config.clip,
            averaging=config.averaging,
            ranks=ranks,
        )
        self._begin = budget.fraction
        if self._state is not None and self._state.stage == stage:
            self._begin = self._state.begin
            optimisation.restore(self._state.part("optimisation."))
            self._best, self._best_score = self._state.part("best."), self._state.best
            self._state = None
        self._optimisation = optimisation  # from here on there is something to go on from
        (self._begin,) = ranks.agree(self._begin)
        generator = torch.Generator().manual_seed(config.seed + 1000 * stage + ranks.rank)
        weights = torch.tensor([c.task.weight for c in choices])
        samplers = [c.pool.sampler(c.task.downsample, model.context) for c in choices]
        for pool in self._pools:
            pool.settle()
        if stage == 2 and self._held_out is not None and self._init is not None:
            yield self._validate()
        interval, count = turn(), 0
        told, since, patches = budget.elapsed, 0, 0
        every = (end - self._begin) / config.validations
        judged, told_apart, cost = budget.fraction, budget.elapsed, 0.0
        (fraction,) = ranks.agree(budget.fraction)
        while fraction < end:
            number = int(torch.multinomial(weights, 1, generator=generator))
            task = choices[number].task
            needed = config.degradation.needed(config.axial, task.anisotropy)
            learnt = optimisation.step(
                lambda: samplers[number].draw(self._batch, config.lateral, needed),  # noqa: B023
                task.anisotropy,
                (fraction - self._begin) / max(end - self._begin, 1e-9),
            )
            if not learnt:
                yield self._shrink()
                if ranks.size == 1:
                    continue
            budget.steps += 1
            since, patches = since + 1, patches + self._batch * ranks.size
            if interval and optimisation.step_number % interval == 0:
                interval = turn()
                pool = self._pools[count % len(self._pools)]
                count += 1
                if stage == 2 or not pool.whole:
                    pool.exchange(model.context)
            if ranks.size > 1 and optimisation.step_number % _AGREE:
                continue
            fraction, tell = ranks.agree(budget.fraction, float(budget.elapsed - told >= 1))
            if tell > 0 or fraction >= end:
                loss, trouble = optimisation.told()
                if trouble:
                    yield Notice(trouble)
                else:
                    speed = patches / max(budget.elapsed - told, 1e-9)
                    yield TrainingStep(
                        stage, budget.steps, fraction, loss, speed, budget.elapsed, budget.remaining
                    )
                due = fraction - judged >= every and budget.elapsed - told_apart >= _JUDGING * cost
                if self._held_out is not None and (due or fraction >= end):
                    began = budget.elapsed
                    validation = self._validate()
                    self._save_state()  # before it is told: a process that is killed then knows its best
                    yield validation
                    judged, told_apart = budget.fraction, budget.elapsed
                    cost = told_apart - began
                told, since, patches = budget.elapsed, 0, 0
        if self._best:
            optimisation.average.load_state_dict(self._best)
        ranks.share(optimisation.average.parameters())

    def _shrink(self) -> Event:
        if self._batch == 1 and self._ranks.size == 1:
            raise DeviceError(
                "Memory ran out even for single patches; close other programs, or train with smaller patches."
            )
        self._batch = max(1, self._batch // 2)
        return Notice(f"Memory ran out; going on with {self._batch} patches in a step.")

    # boxes

    def _fill(
        self, stage: int, shape: Shape, message: str, share: float
    ) -> Generator[Event, None, list[_Choice]]:
        """Read the boxes of all groups for a stage; returns what there is to learn, group by group."""
        config, budget = self._config, self._budget
        limit = budget.fraction + share * (1 - budget.fraction)
        context = self._architecture.context if stage == 2 else 0
        choices: list[_Choice] = []
        for number, group in enumerate(self._groups):
            if stage == 2:
                shape = replace(shape, growth=group.anisotropy, largest=_LARGEST[self._device.type])
            pool = Pool(
                group.subjects,
                shape,
                self._restored if stage == 2 and group.anisotropy >= 1.01 else measured_slices,
                memory=1e9 * config.memory / len(self._groups),
                device=self._device,
                seed=config.seed + 100 * self._stage + number + 1000 * self._ranks.rank,
            )
            self._pools.append(pool)
            steps = budget.work(share * (1 - budget.fraction))

            def enough(pool: Pool = pool, steps: float = steps) -> bool:
                """Whether the part of the budget for reading is spent: by the clock, else by arithmetic."""
                if budget.timed:
                    return budget.fraction > limit
                return (
                    stage == 2 and 2 * pool.filled > 3 * steps * self._batch * config.lateral * config.axial
                )

            for part in pool.fill(enough):
                done = (number + part) / len(self._groups)
                yield self._preparing(f"{message} ({done:.0%})")
            choices += [_Choice(pool, task) for task in group.tasks]
        for choice in choices:
            needed = config.degradation.needed(config.axial, choice.task.anisotropy)
            sampler = choice.pool.sampler(choice.task.downsample, context)
            if not sampler.free_of_holes(config.lateral, needed):
                raise TrainingError(
                    "No place in the volumes is large enough for a patch without NaN; crop them to where they have "
                    "data, or train with smaller patches."
                )
        return choices

    def _restored(self, subject: TrainingVolume, values: Tensor, box: Box, core: Box) -> Tensor:
        assert self._restorer is not None
        return restored_block(self._restorer, self._config.degradation, subject, values, box, core)

    # what is kept

    def _validate(self) -> Validation:
        """Score the averaged weights; the best are kept and written."""
        assert self._held_out is not None
        assert self._optimisation is not None
        model = self._optimisation.average
        score = self._held_out.score(model)
        path = None
        if self._best_score is None or score > self._best_score:
            self._best_score = score
            self._best = {k: v.detach().clone() for k, v in model.state_dict().items()}
            if self._stage == 2 or self._config.teacher is None:
                path = self._write(model)
        held_out = self._held_out
        return Validation(
            self._stage,
            self._budget.steps,
            self._budget.fraction,
            score,
            held_out.linear,
            held_out.bicubic,
            path,
        )

    def _write(self, model: Niiv) -> Path:
        config, architecture = self._config, self._architecture
        if model.context != architecture.context:
            model = model.widened(architecture.context)
        assert self._held_out is not None
        assert self._best_score is not None
        metrics = {
            "held-out slices, PSNR (dB)": round(self._best_score, 3),
            "held-out slices, bicubic, PSNR (dB)": round(self._held_out.bicubic, 3),
            "held-out slices, linear, PSNR (dB)": round(self._held_out.linear, 3),
            "steps": self._budget.steps,
        }
        before = self._init.card if self._init is not None else None
        save_model(model, training_card(config, architecture, self._groups, before, metrics), config.output)
        return config.output

    def _save_state(self) -> None:
        assert self._optimisation is not None
        tensors = {f"optimisation.{k}": v for k, v in self._optimisation.state().items()}
        tensors |= {f"best.{k}": v.cpu().contiguous() for k, v in self._best.items()}
        if self._stage == 2 and self._first is not None:
            tensors |= {f"first.{k}": v.detach().float().cpu() for k, v in self._first.state_dict().items()}
        state = State(
            self._stage, self._begin, self._budget.steps, self._budget.elapsed, self._best_score, tensors
        )
        save_state(state, self._config, volume_names(self._groups))

    def _finish(self) -> Finished:
        config = self._config
        if self._ranks.main:
            forget_state(config.output)
        held_out = self._held_out
        gain = self._best_score - held_out.bicubic if held_out and self._best_score is not None else 0.0
        return Finished(config.output, gain, self._budget.steps, self._budget.elapsed)

    def _first_of(self, state: State) -> Niiv:
        """The first stage's model of an interrupted training."""
        tensors = state.part("first.")
        config = self._config
        blind = (config.teacher or self._architecture).model_copy(update={"context": 0})
        for architecture in (self._architecture, blind):
            model = Niiv(architecture)
            if {k: v.shape for k, v in model.state_dict().items()} == {
                k: v.shape for k, v in tensors.items()
            }:
                model.load_state_dict(tensors)
                return model
        raise TrainingError(
            "The interrupted training was of another architecture; start anew, overwriting it."
        )

    def _preparing(self, message: str) -> Preparing:
        budget = self._budget
        return Preparing(message, budget.fraction, budget.elapsed, budget.remaining)

    def _close_pools(self) -> None:
        for pool in self._pools:
            pool.close()
        self._pools = []
