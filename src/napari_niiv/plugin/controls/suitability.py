"""Whether the checkpoint suits the volume: tried when a layer goes live, and a better one is offered."""

from __future__ import annotations

import functools
import weakref
from typing import TYPE_CHECKING, Any

from magicgui.widgets import ComboBox, Label, PushButton
from napari.layers import Image

from napari_niiv.errors import NiivError
from napari_niiv.io.remembered import recall_checkpoint, remember_checkpoint
from napari_niiv.io.remembered_settings import recall_settings
from napari_niiv.models.catalog import checkpoint_name, is_there
from napari_niiv.plugin.common.channels import channels_of
from napari_niiv.plugin.common.forms import Row, button, paragraph, write
from napari_niiv.plugin.common.host import Host
from napari_niiv.plugin.common.layers import layer_volume
from napari_niiv.plugin.common.questions import Urgency
from napari_niiv.plugin.common.words import shortened
from napari_niiv.plugin.controls.model_choice import ModelChoice
from napari_niiv.plugin.files.layer_file import layer_file
from napari_niiv.plugin.live.live_layers import LiveLayers

if TYPE_CHECKING:
    from napari_niiv.evaluation.suitability import Verdict
    from napari_niiv.models.niiv import Niiv
    from napari_niiv.volume import Volume


_BUTTON = 16  # characters of a name that a button holds


class SuitabilityControl:
    """A sentence about the chosen layer's checkpoint, where it does not suit; and buttons that settle it.

    A layer is tried once, behind its first picture. What the user answers is remembered for the layer's file, whose
    checkpoint is offered the next time without another trial.

    Parameters
    ----------
    host : Host
    live_layers : LiveLayers
    layer : ComboBox
        Where the layer is chosen.
    models : ModelChoice
        Where the checkpoint is chosen.

    Attributes
    ----------
    rows : list of LateRows
        To be put into a form.
    """

    def __init__(self, host: Host, live_layers: LiveLayers, layer: ComboBox, models: ModelChoice) -> None:
        self._host, self._live_layers, self._layer, self._models = host, live_layers, layer, models
        self._tried: weakref.WeakSet[Image] = weakref.WeakSet()
        self._offers: weakref.WeakKeyDictionary[Image, tuple[str, str]] = weakref.WeakKeyDictionary()
        self._question = host.questions.add(Urgency.CHECKPOINT, lambda: (self.sentence, self.answers))
        self.rows = [self._question]
        live_layers.seen.connect(self._try)
        models.checkpoint.changed.connect(self._withdraw)

    @functools.cached_property
    def sentence(self) -> Label:
        """What there is to say of the checkpoint."""
        return paragraph()

    @functools.cached_property
    def use(self) -> PushButton:
        """Takes the checkpoint that is offered."""
        tip = "restore with it, and remember that for this file"
        return button("", tip, lambda: self._answer(self._offered))

    @functools.cached_property
    def keep(self) -> PushButton:
        """Stays with the one in use."""
        tip = "stay with it, and remember that for this file"
        return button("", tip, lambda: self._answer(self._models.checkpoint.value))

    @functools.cached_property
    def answers(self) -> Row:
        """The row of both buttons."""
        return Row("", self.use, self.keep)

    @property
    def _offered(self) -> str | None:
        """The checkpoint offered for the chosen layer."""
        return self._offers.get(self._layer.value, ("", ""))[1] or None

    def _try(self, layer: Image, final: bool) -> None:
        """Try the checkpoint on a layer, if it was not yet."""
        model, loaded = self._live_layers.settings_of(layer).model, self._models.loaded_for(layer)
        if layer in self._tried or model is None or loaded is None:
            return
        self._tried.add(layer)
        try:
            volume = layer_volume(layer)
        except NiivError:
            return  # said where the layer is opened
        file, name = layer_file(layer), loaded[0]
        path = None if file is None else (file.path, file.dataset)
        waiting = weakref.ref(layer)

        def done(offer: tuple[str, str]) -> None:
            if (alive := waiting()) is not None and offer[0] and self._models.checkpoint_of(alive) == name:
                self._offers[alive] = offer
                self.show()

        self._host.run(lambda: _offer(volume, name, model, path), done, lambda sentence: None)

    def _answer(self, checkpoint: str | None) -> None:
        layer, file = self._layer.value, layer_file(self._layer.value)
        self._offers.pop(layer, None)
        if checkpoint is not None:
            if file is not None:
                self._host.run(lambda: remember_checkpoint(file.path, checkpoint, file.dataset), lambda _: None)
            self._models.select(checkpoint)
        self.show()

    def _withdraw(self, value: Any = None) -> None:
        """The user has chosen for a volume: what was offered for it before is of no interest."""
        if (layer := self._layer.value) is not None:
            for each in channels_of(self._host.viewer, layer):
                self._offers.pop(each, None)
        self.show()

    def show(self, value: Any = None) -> None:
        """Show what is offered for the layer that is chosen now."""
        layer = self._layer.value
        sentence, offered = self._offers.get(layer, ("", "")) if layer is not None else ("", "")
        if not sentence:
            self._question.ask(False)
            return
        self._question.prepare()
        write(self.sentence, sentence)
        in_use = self._models.checkpoint.value or ""
        self.use.text, self.keep.text = (
            f"{verb} {shortened(checkpoint_name(name), _BUTTON)}" for verb, name in (("Use", offered), ("Keep", in_use))
        )
        self._question.ask()
        self.use.visible = bool(offered)


def _offer(volume: Volume, name: str, model: Niiv, path: tuple[str, str | None] | None) -> tuple[str, str]:
    """A sentence, and the checkpoint that is offered instead; both empty if there is nothing to say."""
    from napari_niiv.evaluation.suitability import verdict  # with torch, by now imported elsewhere

    chosen = None if path is None else recall_checkpoint(*path)
    if chosen == name:
        return "", ""
    fit = None if path is None else recall_settings(*path).fit
    # what was fitted is offered by itself; where it is not wanted, it counts what else suits
    if chosen is not None and is_there(chosen) and (fit is None or chosen != fit.checkpoint):
        return f"You chose {checkpoint_name(chosen)} for this volume before.", chosen
    judged: Verdict = verdict(volume, checkpoint_name(name), model)
    return judged.sentence, judged.better
