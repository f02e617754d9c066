"""What was fitted to and set for the chosen layer's file: remembered, and offered when the file is opened again."""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from magicgui.widgets import Label, PushButton
from napari.layers import Image

from napari_niiv.errors import OutputError
from napari_niiv.io.remembered_settings import FileSettings, forget_fit, recall_settings, remember_settings
from napari_niiv.models.catalog import checkpoint_name, is_there
from napari_niiv.plugin.common.forms import Row, button, paragraph, write
from napari_niiv.plugin.common.host import Host
from napari_niiv.plugin.common.layers import FITTED
from napari_niiv.plugin.common.questions import Urgency
from napari_niiv.plugin.controls.model_choice import ModelChoice
from napari_niiv.plugin.files.layer_file import LayerFile, layer_file
from napari_niiv.plugin.live.live_layers import LiveLayers

_REMEMBERED = ("denoise", "finest", "project")  # of the live settings


@dataclass(frozen=True)
class _Offer:
    """What is remembered of a layer's file, as far as it is not what is in use.

    Attributes
    ----------
    settings : FileSettings
    """

    settings: FileSettings

    @property
    def words(self) -> str:
        """Such as "denoise 0.03 and output scale 2"; empty if nothing but the checkpoint is offered."""
        denoise, finest = self.settings.denoise, self.settings.finest
        parts = []
        if denoise is not None:
            parts.append(f"denoise {denoise if isinstance(denoise, str) else f'{denoise:g}'}")
        if finest is not None:
            parts.append(f"output scale {f'{1 / finest:.3g}' if finest else 'auto'}")
        if self.settings.project is not None:
            parts.append(f"measured averages {'' if self.settings.project else 'not '}kept")
        return " and ".join(parts)

    @property
    def question(self) -> str:
        """What is offered, to be answered by yes or no."""
        if self.settings.fit is None:
            return f"You had {self.words} for this volume: use it again?"
        also = f", and you had {self.words}" if self.words else ""
        name = checkpoint_name(self.settings.fit.checkpoint)
        return f"Fitted to this volume on {self.settings.fit.day.isoformat()}: {name}{also}. Use it?"

    @property
    def answer(self) -> str:
        """What is in use once it was accepted."""
        fit = self.settings.fit
        fitted = "" if fit is None else f"{Path(fit.checkpoint).name}, fitted to it on {fit.day.isoformat()}"
        return " with ".join(part for part in (fitted, self.words) if part)


class FittedOffer:
    """A question about the chosen layer, where a checkpoint was fitted to its file or something was set for it.

    Nothing is taken up unasked: a picture that differs from that of other files would be one that nobody can explain.
    What is set while a layer is chosen is remembered for its file; a layer without a file has it while it is there.

    Parameters
    ----------
    host : Host
    live_layers : LiveLayers
    models : ModelChoice
        Where the checkpoint is chosen.
    restored : callable
        Gets a layer whose settings are others now, to show them.

    Attributes
    ----------
    rows : list of LateRows
        To be put into a form.
    """

    def __init__(
        self, host: Host, live_layers: LiveLayers, models: ModelChoice, restored: Callable[[Image], None]
    ) -> None:
        self._host, self._live_layers, self._models, self._restored = host, live_layers, models, restored
        self._layer: Image | None = None
        self._looked_up: weakref.WeakSet[Image] = weakref.WeakSet()
        self._offers: weakref.WeakKeyDictionary[Image, _Offer] = weakref.WeakKeyDictionary()
        self._set: tuple[Any, ...] = (None,) * len(_REMEMBERED)  # as they were seen last
        self._writer = _Writer(host)
        self._question = host.questions.add(Urgency.FITTED, lambda: (self.sentence, self.answers))
        self.rows = [self._question]
        live_layers.changed.connect(self._note)

    @cached_property
    def sentence(self) -> Label:
        """The question."""
        return paragraph()

    @cached_property
    def use(self) -> PushButton:
        """Takes up what is remembered."""
        return button("Use it", "take up what is remembered for this file", self._use)

    @cached_property
    def later(self) -> PushButton:
        """Takes up nothing."""
        tip = "leave all as it is; it is offered when the file is opened again"
        return button("Not now", tip, self._withdraw)

    @cached_property
    def answers(self) -> Row:
        """The row of both buttons."""
        return Row("", self.use, self.later)

    def set_layer(self, layer: Image | None) -> None:
        """Attend to another layer: use what was fitted to it just now, offer what was before."""
        self._layer = layer
        self._set = self._settings()
        self._show()
        if layer is None or layer in self._looked_up:
            return
        self._looked_up.add(layer)
        fitted, file = layer.metadata.get(FITTED), layer_file(layer)
        if isinstance(fitted, str) and is_there(fitted):
            if fitted != self._models.checkpoint.value:
                self._models.select(fitted)
                self._host.inform(f"{layer.name} is restored with {Path(fitted).name}, which was fitted to it.")
            return
        if file is not None:
            waiting = weakref.ref(layer)
            self._host.run(lambda: _look_up(file), lambda found: self._offer(waiting, *found))

    def _offer(self, waiting: weakref.ref[Image], settings: FileSettings, problem: str) -> None:
        if problem:
            self._host.inform(problem)
        layer = waiting()
        if layer is None or layer not in self._host.viewer.layers:
            return
        now = self._live_layers.settings_of(layer)
        fit = settings.fit
        in_use = {
            "fit": fit is not None and fit.checkpoint == self._models.checkpoint.value,
            "denoise": settings.denoise == now.denoise,
            "finest": settings.finest == now.finest,
            "project": bool(settings.project) == now.project,
        }
        left = settings.model_copy(update={name: None for name, same in in_use.items() if same})
        if left != FileSettings():
            self._offers[layer] = _Offer(left)
            self._show()

    def _use(self) -> None:
        layer, offer = self._layer, self._take()
        if layer is None or offer is None:
            return
        settings, file = offer.settings, layer_file(layer)
        if settings.fit is not None and not is_there(settings.fit.checkpoint):
            self._host.fail(f"{settings.fit.checkpoint} is gone since it was offered; all stays as it is.")
            return
        remembered = {name: getattr(settings, name) for name in _REMEMBERED}
        self._live_layers.set_own(layer, **{name: value for name, value in remembered.items() if value is not None})
        if settings.fit is not None:
            self._models.select(settings.fit.checkpoint)
            if file is not None:
                self._writer.write(file, {"checkpoint": settings.fit.checkpoint})
        self._restored(layer)
        self._host.inform(f"{layer.name} is restored with {offer.answer}.")

    def _withdraw(self) -> None:
        self._take()

    def _take(self) -> _Offer | None:
        """The offer for the chosen layer, which is answered now."""
        offer = None if self._layer is None else self._offers.pop(self._layer, None)
        self._show()
        return offer

    def _settings(self) -> tuple[Any, ...]:
        settings = self._live_layers.settings_of(self._layer)
        return tuple(getattr(settings, name) for name in _REMEMBERED)

    def _note(self) -> None:
        """Remember what was set of the chosen layer, and the checkpoint that was chosen by hand once it is in use."""
        before, self._set = self._set, self._settings()
        if (layer := self._layer) is None:
            return
        pairs = zip(_REMEMBERED, before, self._set, strict=True)
        changes: dict[str, Any] = {name: now for name, then, now in pairs if now != then}
        loaded, by_hand = self._models.loaded, self._models.by_hand
        if loaded is not None and by_hand == loaded[0]:
            self._models.by_hand = None
            changes["checkpoint"] = by_hand
            layer.metadata.pop(FITTED, None)
        if changes and (file := layer_file(layer)) is not None:
            self._writer.write(file, changes)

    def _show(self) -> None:
        offer = None if self._layer is None else self._offers.get(self._layer)
        if offer is not None:
            write(self.sentence, offer.question)
        self._question.ask(offer is not None)


class _Writer:
    """Writes down what is set, one after the other: a slider that is drawn would have much written at once."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._waiting: dict[LayerFile, dict[str, Any]] = {}
        self._busy = False

    def write(self, file: LayerFile, changes: dict[str, Any]) -> None:
        """Write changes down, with what came meanwhile."""
        self._waiting.setdefault(file, {}).update(changes)
        self._go_on()

    def _go_on(self) -> None:
        if self._busy or not self._waiting:
            return
        self._busy = True
        file, changes = self._waiting.popitem()
        self._host.run(lambda: remember_settings(file.path, changes, file.dataset), self._done, self._failed)

    def _done(self, nothing: None = None) -> None:
        self._busy = False
        self._go_on()

    def _failed(self, sentence: str) -> None:
        self._host.fail(sentence)
        self._done()


def _look_up(file: LayerFile) -> tuple[FileSettings, str]:
    """What is remembered of a file, and why the checkpoint fitted to it is not; called on a thread."""
    settings = recall_settings(file.path, file.dataset)
    problem = "" if settings.fit is None else settings.fit.problem()
    if problem:
        settings = settings.model_copy(update={"fit": None})
        with contextlib.suppress(OutputError):  # it is told again
            forget_fit(file.path, file.dataset)
    return settings, problem
