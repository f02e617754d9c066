"""The best weights of a training so far, by validation, and the checkpoint that holds them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from napari_niiv.models.checkpoint import save_model
from napari_niiv.models.niiv import Niiv
from napari_niiv.training.budget import Budget
from napari_niiv.training.card import training_card
from napari_niiv.training.events import Validation
from napari_niiv.training.plan import Plan
from napari_niiv.training.validation import HeldOut


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
        PSNR of these weights, in dB; None before a validation.
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
    def gain(self) -> float:
        """PSNR of the best model above bicubic interpolation, in dB; 0 where nothing was validated."""
        scores = [s for s in (self.score, self._written) if s is not None]
        if self._held_out is None or not scores:
            return 0.0
        return max(scores) - self._held_out.bicubic

    def surround(self, model: Niiv) -> None:
        """Give the slices held out the neighbours that `model` infers."""
        if self._held_out is not None:
            self._held_out.surround(model)

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
        """Score a model; the best so far is kept and written, unless it is only a teacher of another network."""
        assert self._held_out is not None
        score = self._held_out.score(model)
        path = None
        if self.score is None or score > self.score:
            self.score = score
            self.keep_model(model)
            own = stage == 2 or self._plan.config.teacher is None
            if own and (self._written is None or score > self._written):
                path = self._write(model, self._held_out, score)
                self._written = score
        linear, bicubic = self._held_out.linear, self._held_out.bicubic
        return Validation(stage, self._budget.steps, self._budget.fraction, score, linear, bicubic, path)

    def _write(self, model: Niiv, held_out: HeldOut, score: float) -> Path:
        plan = self._plan
        if model.context != plan.architecture.context and not plan.only_teaches:
            model = model.widened(plan.architecture.context)
        metrics = {
            "held-out slices, PSNR (dB)": round(score, 3),
            "held-out slices, bicubic, PSNR (dB)": round(held_out.bicubic, 3),
            "held-out slices, linear, PSNR (dB)": round(held_out.linear, 3),
            "steps": self._budget.steps,
        }
        save_model(model, training_card(plan, model.architecture, metrics), plan.config.output)
        return plan.config.output
