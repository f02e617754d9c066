"""The best weights of a training so far, by validation, and the checkpoint that holds them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path

from torch import Tensor

from napari_niiv.models.checkpoint import save_model
from napari_niiv.models.niiv import Niiv
from napari_niiv.training.budget import Budget
from napari_niiv.training.card import training_card
from napari_niiv.training.events import Validation
from napari_niiv.training.plan import Plan
from napari_niiv.training.validation import HeldOut

JUDGED_ON = "held-out xy slices, made coarse"
"""What the scores in a checkpoint's card are of."""


class BestModel:
    """Scores models on the slices held out, and keeps and writes the best one.

    Parameters
    ----------
    plan : Plan
    budget : Budget

    Attributes
    ----------
    weights : mapping of str to Tensor
        Of the best model so far; empty before there is one.
    score : float or None
        PSNR of these weights, in dB; None before a validation, and where there is nothing to judge by.
    """

    def __init__(self, plan: Plan, budget: Budget) -> None:
        self._plan, self._budget = plan, budget
        self._held_out: HeldOut | None = None
        self.weights: Mapping[str, Tensor] = {}
        self.score: float | None = None
        self._written: float | None = None  # score of the checkpoint that is there

    def hold_out(self) -> None:
        """Choose what to validate on; in one process of the training only."""
        plan = self._plan
        volumes = [(volume, g.validation_anisotropy) for g in plan.groups for volume in g.volumes]
        own, first = plan.architecture, plan.first_architecture
        neighbours, pixels = own.context + own.slices - 1, math.lcm(own.lateral, first.lateral)
        self._held_out = HeldOut(volumes, plan.config.degradation, neighbours, plan.device, pixels)

    @property
    def validates(self) -> bool:
        """Whether this process holds slices out."""
        return self._held_out is not None

    @property
    def judges(self) -> bool:
        """Whether this process has slices to judge by: held out, and not blank."""
        return self._held_out is not None and self._held_out.bicubic is not None

    @property
    def gain(self) -> float | None:
        """PSNR of the best model above bicubic interpolation, in dB; None where nothing was validated."""
        scores = [s for s in (self.score, self._written) if s is not None]
        if self._held_out is None or self._held_out.bicubic is None or not scores:
            return None
        return max(scores) - self._held_out.bicubic

    def surround(self, model: Niiv) -> Iterator[float]:
        """Give the slices held out the neighbours that `model` infers; yields the part that is done."""
        if self._held_out is not None:
            yield from self._held_out.surround(model)

    def keep(self, weights: Mapping[str, Tensor], score: float | None) -> None:
        """Take these weights for the best so far, without a validation."""
        self.weights, self.score = weights, score
        if score is not None:
            self._written = score
        elif self._plan.config.teacher is not None:  # whose weights are never written
            self._written = None

    def keep_model(self, model: Niiv) -> None:
        """Take a model's weights for the best so far, and leave the score to be surpassed."""
        self.weights = {k: v.detach().clone() for k, v in model.state_dict().items()}

    def validate(self, model: Niiv, stage: int) -> Validation:
        """Score a model; the best so far is kept and written, unless it is only a teacher of another network.

        Where there is nothing to judge by, the last counts as the best.
        """
        assert self._held_out is not None
        score = self._held_out.score(model)
        path = None
        if _surpasses(score, self.score):
            self.score = score
            self.keep_model(model)
            own = stage == 2 or self._plan.config.teacher is None
            if own and _surpasses(score, self._written):
                path = self._write(model, self._held_out, score)
                self._written = score
        linear, bicubic = self._held_out.linear, self._held_out.bicubic
        return Validation(stage, self._budget.steps, self._budget.fraction, score, linear, bicubic, path)

    def _write(self, model: Niiv, held_out: HeldOut, score: float | None) -> Path:
        plan = self._plan
        if model.context != plan.architecture.context and not plan.only_teaches:
            model = model.widened(plan.architecture.context)
        judged = {"": score, "bicubic, ": held_out.bicubic, "linear, ": held_out.linear}
        metrics: dict[str, float] = {
            f"{JUDGED_ON}, {method}PSNR (dB)": round(psnr, 3) for method, psnr in judged.items() if psnr is not None
        }
        metrics["steps"] = self._budget.steps
        save_model(model, training_card(plan, model.architecture, metrics), plan.config.output)
        return plan.config.output


def _surpasses(score: float | None, best: float | None) -> bool:
    """Whether a score is better than the best so far; what cannot be judged surpasses what came before."""
    return score is None or best is None or score > best
