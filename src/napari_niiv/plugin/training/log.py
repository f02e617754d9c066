"""The events of a training so far, and how they are put into words; no Qt."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path

from napari_niiv.plugin.common.words import time_left
from napari_niiv.training.events import Event, Finished, Notice, Preparing, TrainingStep, Validation

STAGES = {1: "Learning slice by slice", 2: "Learning with neighbouring slices"}
# dB that two decimals do not show
_EQUAL = 0.005


@dataclass
class TrainingLog:
    """What is shown of a training: its progress, curves and best validation, from its events; its pace is a tooltip.

    Parameters
    ----------
    goes_on : bool
        Whether it began with a model, so that a validation before the first step is of that model.
    """

    goes_on: bool = False
    words: str = "Starting…"
    pace: str = ""
    fraction: float = 0.0
    remaining: float = math.inf
    losses: list[tuple[float, float]] = field(default_factory=list)
    validations: list[Validation] = field(default_factory=list)
    best: Validation | None = None
    checkpoint: Path | None = None
    finished: Finished | None = None

    def add(self, event: Event) -> None:
        """Take note of an event."""
        match event:
            case Preparing():
                self.words = f"{event.message}…"
                self.fraction, self.remaining = event.fraction, event.remaining
            case TrainingStep():
                speed = f"{event.samples:.0f}" if event.samples >= 10 else f"{event.samples:.1f}"
                self.words = f"{STAGES.get(event.stage, 'Learning')} (part {event.stage} of {len(STAGES)})"
                self.pace = f"{event.step:,} steps, {speed} patches a second"
                self.fraction, self.remaining = event.fraction, event.remaining
                if math.isfinite(event.loss):
                    self.losses.append((event.step, event.loss))
            case Validation():
                self.fraction = event.fraction
                self.validations.append(event)
                if event.checkpoint is not None:
                    self.best, self.checkpoint = event, event.checkpoint
            case Notice():
                self.words = event.message
            case Finished():
                self.finished, self.checkpoint = event, event.checkpoint
                self.fraction, self.remaining = 1.0, 0.0

    @property
    def left(self) -> str:
        """Time left, as a clock shows it; empty if it cannot be said."""
        return time_left(self.remaining)

    @property
    def learnt(self) -> bool:
        """Whether the checkpoint is better than the one that the training began with, as far as can be told.

        One from nothing has to be better than interpolation.
        """
        worth = self.gain if self.change is None else self.change
        return self.checkpoint is not None and (worth is None or worth >= _EQUAL)

    @property
    def presentable(self) -> bool:
        """Whether the live view is to follow the training: none from nothing, before it is worth something."""
        return self.goes_on or self.learnt

    @property
    def change(self) -> float | None:
        """What the training added to the PSNR of the model that it began with, in dB; None where that is unknown."""
        first = self.validations[0] if self.goes_on and self.validations else None
        if first is None or first.step > 0 or first.gain is None or self.gain is None:
            return None
        return self.gain - first.gain

    @property
    def gain(self) -> float | None:
        """PSNR of the model that is kept above bicubic interpolation, in dB; None where it cannot be told."""
        if self.finished is not None:
            return self.finished.gain
        shown = self.best or (self.validations[-1] if self.validations else None)
        return None if shown is None else shown.gain

    @property
    def gain_words(self) -> str:
        """What the model is worth, without a full stop; empty before the first validation."""
        gain = self.gain
        if not self.validations and gain is None:
            return ""
        words = gain_words(gain)
        change = self.change
        if change is not None and len(self.validations) > 1:
            equal = abs(change) < _EQUAL
            words += " (no better than before this training)" if equal else f" ({change:+.2f} dB by this training)"
        return words


def gain_words(gain: float | None) -> str:
    """What a gain in dB means, of the xy slices held out, made coarse; None where these are blank."""
    if gain is None:
        return "how good it is cannot be told: the slices kept aside to judge by are blank"
    if abs(gain) < _EQUAL:
        worth = "as good as"
    else:
        worth = f"{abs(gain):.2f} dB {'worse' if gain < 0 else 'better'} than"
    return f"{worth} bicubic interpolation on your xy slices, made coarse, that it never saw"


def outcome(log: TrainingLog, problem: str, kept: Path | None, deleted: str, state: str = "") -> str:
    """How a training ended, in words.

    Parameters
    ----------
    log : TrainingLog
    problem : str
        The sentence of the error that ended it, if one did.
    kept : Path or None
        The checkpoint that is there.
    deleted : str
        Name of its layer, if that was deleted.
    state : str
        Where the state lies from which it can be resumed, if there is one.
    """
    advice = "what it began with serves as well" if log.goes_on else "train for longer"
    unused = "" if log.learnt or log.gain is None or kept is None else f" It is not used: {advice}."
    if log.finished is not None:
        return f"The model is saved in {kept}: {log.gain_words}.{unused}"
    if state:
        return f"{outcome(log, problem, kept, deleted)} It can be resumed: {state} is kept until it is finished."
    worth = f": {log.gain_words}" if log.best is not None else ""
    saved = f"the best model so far is saved in {kept}{worth}.{unused}"
    if problem:
        return f"{problem} {saved[:1].upper()}{saved[1:]}" if kept is not None else problem
    why = f"The training stopped as its layer {deleted!r} was deleted" if deleted else "Stopped"
    return f"{why}; {saved}" if kept is not None else f"{why}; nothing was learnt yet, so nothing is saved."
