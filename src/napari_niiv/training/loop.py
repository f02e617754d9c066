"""One optimisation until a part of the budget is spent, as a generator of events."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch

from napari_niiv.errors import DeviceError
from napari_niiv.training.data.pool import Pool
from napari_niiv.training.events import Event, Notice, TrainingStep
from napari_niiv.training.optimisation import Optimisation
from napari_niiv.training.plan import Plan, Task
from napari_niiv.training.progress import Progress

# steps between two agreements of several processes
_AGREE = 10
# times as long as a validation takes there is none
_VALIDATION_PAUSE = 15


@dataclass(frozen=True)
class TaskData:
    """A task, and the boxes to learn it from."""

    task: Task
    pool: Pool


class Loop:
    """The steps of a stage.

    Parameters
    ----------
    plan : Plan
    progress : Progress
        Of which the stage has begun.
    optimisation : Optimisation
    data : sequence of TaskData
        Drawn from at random, by the weights of the tasks.
    end : float
        Fraction of the budget at which to stop.
    exchange_interval : callable
        Asked for the steps until boxes are exchanged next; 0 leaves them as they are.
    """

    def __init__(
        self,
        plan: Plan,
        progress: Progress,
        optimisation: Optimisation,
        data: Sequence[TaskData],
        end: float,
        exchange_interval: Callable[[], int],
    ) -> None:
        self._plan, self._progress, self._optimisation = plan, progress, optimisation
        self._data, self._end, self._exchange_interval = data, end, exchange_interval
        seed = plan.config.seed + 1000 * progress.stage + plan.processes.rank
        self._generator = torch.Generator().manual_seed(seed)
        self._weights = torch.tensor([d.task.weight for d in data])
        self._slices = optimisation.model.architecture.slices_seen
        self._samplers = [d.pool.sampler(d.task.downsample, self._slices) for d in data]
        self._pools = list(dict.fromkeys(d.pool for d in data))
        for pool in self._pools:
            pool.settle()
        self._exchanges = 0
        self._patches = 0  # since the last report
        self._reported = self._validated = self._validated_at = self._validation_cost = 0.0

    def events(self) -> Iterator[Event]:
        """Optimise; the model's averaged weights are the best ones in the end."""
        plan, progress, optimisation = self._plan, self._progress, self._optimisation
        budget, best, processes = progress.budget, progress.best, plan.processes
        if progress.stage == 2 and best.validates and plan.init is not None:
            yield progress.preparing("Trying the model before the first step")
            yield best.validate(optimisation.average, progress.stage)
        yield progress.preparing("Taking the first steps")
        interval = self._exchange_interval()
        self._reported = budget.elapsed
        self._validated, self._validated_at = budget.fraction, budget.elapsed
        (fraction,) = processes.agree(budget.fraction)
        while fraction < self._end:
            if not self._step(fraction):
                yield self._shrink_batch()
                if processes.size == 1:
                    continue
            budget.steps += 1
            self._patches += progress.batch * processes.size
            if interval and optimisation.step_number % interval == 0:
                interval = self._exchange_interval()
                self._exchange()
            if processes.size > 1 and optimisation.step_number % _AGREE:
                continue
            fraction, due = processes.agree(budget.fraction, float(budget.elapsed - self._reported >= 1))
            if due > 0 or fraction >= self._end:
                yield from self._report(fraction)
        if best.weights:
            optimisation.average.load_state_dict(best.weights)
        processes.share(optimisation.average.parameters())

    def _step(self, fraction: float) -> bool:
        """One step of a random task; False if memory ran out."""
        config, progress = self._plan.config, self._progress
        number = int(torch.multinomial(self._weights, 1, generator=self._generator))
        task, sampler = self._data[number].task, self._samplers[number]
        needed = config.degradation.needed(config.axial, task.anisotropy)
        return self._optimisation.step(
            lambda: sampler.draw(progress.batch, config.lateral, needed, task.noise),
            task.anisotropy,
            (fraction - progress.begin) / max(self._end - progress.begin, 1e-9),
        )

    def _shrink_batch(self) -> Notice:
        progress = self._progress
        if progress.batch == 1 and self._plan.processes.size == 1:
            raise DeviceError(
                "Memory ran out even for single patches; close other programs, or train with smaller patches."
            )
        progress.batch = max(1, progress.batch // 2)
        return Notice(f"Memory ran out; going on with {progress.batch} patches in a step.")

    def _exchange(self) -> None:
        """Put a new box in the place of one, in each pool in turn."""
        pool = self._pools[self._exchanges % len(self._pools)]
        self._exchanges += 1
        pool.exchange(self._slices)

    def _report(self, fraction: float) -> Iterator[Event]:
        """Tell how the last steps went, and validate where that is due."""
        progress, budget = self._progress, self._progress.budget
        check = self._optimisation.check_progress()
        if check.notice:
            yield Notice(check.notice)
        else:
            speed = self._patches / max(budget.elapsed - self._reported, 1e-9)
            yield TrainingStep(
                progress.stage, budget.steps, fraction, check.loss, speed, budget.elapsed, budget.remaining
            )
        if progress.best.validates and (self._validation_due(fraction) or fraction >= self._end):
            began = budget.elapsed
            validation = progress.best.validate(self._optimisation.average, progress.stage)
            progress.save()  # before the event: a process that is killed then can go on from it
            yield validation
            self._validated, self._validated_at = budget.fraction, budget.elapsed
            self._validation_cost = self._validated_at - began
        self._reported, self._patches = budget.elapsed, 0

    def _validation_due(self, fraction: float) -> bool:
        every = (self._end - self._progress.begin) / self._plan.config.validations
        if fraction - self._validated < every:
            return False
        pause = self._progress.budget.elapsed - self._validated_at
        return pause >= _VALIDATION_PAUSE * self._validation_cost
