"""What an export will take, found out beside the GUI thread while its window is open."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, Signal

from napari_niiv.interrupt import StopFlag
from napari_niiv.plugin.common.background import Background
from napari_niiv.plugin.common.connections import when_destroyed
from napari_niiv.plugin.common.event_worker import lower_priority
from napari_niiv.plugin.common.timers import single_shot
from napari_niiv.plugin.common.words import about, bytes_of
from napari_niiv.reconstruction.denoise import AUTO

if TYPE_CHECKING:
    from napari_niiv.export.config import ExportConfig
    from napari_niiv.export.estimate import Estimate
    from napari_niiv.models.niiv import Niiv
    from napari_niiv.plugin.export.settings import ExportJob

# for which settings must be the same before a block is computed
SETTLE_MS = 600
MEASURING = "Time and size: computing one block to find out…"


class ExportEstimate(QObject):
    """Has one block of an export computed once its settings have settled; what was found out is kept until they change.

    Signals: `changed` brings what is to be shown.

    Parameters
    ----------
    parent : QObject
        With it this object goes; a block that is being computed is given up.
    """

    changed = Signal(str)

    def __init__(self, parent: QObject) -> None:
        super().__init__(parent)
        self._background = Background(self, lambda _: None)
        self._settle = single_shot(self, SETTLE_MS, self._measure)
        # what is to be found out, what it depends on, and its answer: an Estimate, or the sentence of an error
        self._asked: tuple[ExportJob, Niiv, float] | None = None
        self._key: Any = None
        self._answer: Estimate | str | None = None
        running = self._running = [StopFlag()]  # of the block that is computed
        when_destroyed(parent, lambda: running[0].stop())

    def ask(self, job: ExportJob, model: Niiv, key: Any, missing: float = 1.0) -> None:
        """Show what an export takes, as soon as that is known.

        Parameters
        ----------
        job : ExportJob
        model : Niiv
        key : object
            The answer stays as long as this is equal, and so do settings and model.
        missing : float
            The part of the work that is not done yet, 0 … 1.
        """
        key = (key, job.config.model_copy(update={"resume": False, "overwrite": False}), job.is_tiff, model)
        if key != self._key:
            self.stop()
            self._key, self._answer = key, None
        self._asked = job, model, missing
        if self._answer is None:
            self._settle.start()
        self._tell()

    def stop(self) -> None:
        """Give up what is being found out."""
        self._settle.stop()
        self._running[0].stop()
        self._asked = None
        if self._answer is None:
            self._key = None

    def _measure(self) -> None:
        if self._asked is None:
            return
        (job, model, _), flag = self._asked, StopFlag()
        self._running[0].stop()
        self._running[0] = flag

        def work() -> Estimate:
            lower_priority()
            return job.estimate(model, flag)

        def answer(outcome: Estimate | str) -> None:
            if not flag.stopping:
                self._answer = outcome
                self._tell()

        self._background.run(work, answer, answer)

    def _tell(self) -> None:
        if self._asked is not None:
            job, model, missing = self._asked
            self.changed.emit(f"{means(model, job.config, self._answer)}\n{effort(self._answer, missing)}")


def means(model: Niiv, config: ExportConfig, answer: Estimate | str | None) -> str:
    """Checkpoint, device and noise level, in words; the level that "auto" comes to is in the answer."""
    name = "a model without a checkpoint" if model.card is None else model.card.name
    words = f"Checkpoint {name}, on {model.device}" + (", measured averages kept" if config.project else "")
    if not model.knows_noise:
        return f"{words}; it was trained without noise."
    level = None if answer is None or isinstance(answer, str) else answer.denoise
    if config.denoise != AUTO:
        return f"{words}; denoise {config.denoise:g}." if config.denoise else f"{words}; denoise off."
    return f"{words}; denoise {AUTO}." if level is None else f"{words}; denoise {AUTO} ({level:g})."


def effort(answer: Estimate | str | None, missing: float = 1.0) -> str:
    """How long the part that is missing takes, and how large all becomes, in words; or why that is not known."""
    if answer is None:
        return MEASURING
    if isinstance(answer, str):
        return answer
    time = about(missing * answer.seconds)
    rest = " for what is missing" if missing < 1 else ""
    return f"It takes {time}{rest}; about {bytes_of(float(f'{answer.bytes:.2g}'))} on the disk."
