"""How far a training is: all that changes while it goes on, and the state that a later run goes on from."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from napari_niiv.models.niiv import Niiv
from napari_niiv.training.best_model import BestModel
from napari_niiv.training.budget import Budget
from napari_niiv.training.events import Finished, Preparing
from napari_niiv.training.optimisation import Optimisation, check_weights
from napari_niiv.training.plan import Plan, has_few_steps
from napari_niiv.training.state import State, damaged, save_state

BATCH = {"cuda": 64, "mps": 16, "cpu": 8}
FEW_STEPS_BATCH = 4  # more steps are worth more than larger ones


class Progress:
    """Where a training stands.

    Parameters
    ----------
    plan : Plan
    interrupted : State or None
        Of the training to go on with.

    Attributes
    ----------
    budget : Budget
    best : BestModel
    batch : int
        Patches in a step; falls when memory runs out.
    interrupted : State or None
        Until the stage that it was saved in begins.
    first : Niiv or None
        What the first stage made, which restores volumes for the second.
    stage : int
        1 or 2: that of the optimisation.
    begin : float
        Fraction of the budget where the stage's optimisation began.
    optimisation : Optimisation or None
        The one that a later run could go on with.
    """

    def __init__(self, plan: Plan, interrupted: State | None) -> None:
        if interrupted is not None and interrupted.stage == 2 and plan.architecture.slices_seen == 1:
            raise damaged(plan.config.output)  # there is no such stage
        self._plan, self.interrupted = plan, interrupted
        spent = (interrupted.seconds, interrupted.steps) if interrupted else (0.0, 0)
        self.budget = Budget(plan.config.minutes, plan.config.steps, *spent)
        self.best = BestModel(plan, self.budget)
        few = has_few_steps(plan.config, plan.device)
        self.batch = plan.config.batch or (FEW_STEPS_BATCH if few else BATCH[plan.device.type])
        self.first: Niiv | None = None
        self.stage: Literal[1, 2] = 1
        self.begin = 0.0
        self.optimisation: Optimisation | None = None

    def begin_stage(self, stage: Literal[1, 2], optimisation: Optimisation) -> None:
        """Start a stage's optimisation, where it was interrupted if it was.

        Raises
        ------
        TrainingError
            If the state that it was interrupted in is of another network, or damaged.
        """
        self.stage, self.begin = stage, self.budget.fraction
        state = self.interrupted
        if state is not None and state.stage == stage:
            self.begin = state.begin
            best = state.part("best.")
            try:
                optimisation.restore(state.part("optimisation."))
                if best:
                    check_weights(best, optimisation.average)
            except ValueError as error:
                raise damaged(self._plan.config.output) from error
            self.best.keep(best, state.best)
            self.interrupted = None
        self.optimisation = optimisation
        (self.begin,) = self._plan.processes.agree(self.begin)

    def save(self) -> None:
        """Write the state beside the checkpoint; nothing while no optimisation could be gone on with.

        Raises
        ------
        OutputError
            If it cannot be written.
        """
        if self.optimisation is None:
            return
        tensors: dict[str, Tensor] = {}
        tensors |= {f"optimisation.{k}": v for k, v in self.optimisation.state().items()}
        tensors |= {f"best.{k}": v.cpu().contiguous() for k, v in self.best.weights.items()}
        if self.stage == 2 and self.first is not None:
            tensors |= {f"first.{k}": v.detach().float().cpu() for k, v in self.first.state_dict().items()}
        budget = self.budget
        spent = budget.fraction >= 1
        state = State(self.stage, self.begin, budget.steps, budget.elapsed, self.best.score, tensors, spent)
        save_state(state, self._plan.config, self._plan.volume_names)

    def preparing(self, message: str) -> Preparing:
        """The event of work that is no optimisation."""
        return Preparing(message, self.budget.fraction, self.budget.elapsed, self.budget.remaining)

    def finished(self) -> Finished:
        """The last event."""
        return Finished(self._plan.config.output, self.best.gain, self.budget.steps, self.budget.elapsed)
