"""The choice of a checkpoint and a device, and the model that is loaded of them off the GUI thread."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

from magicgui.widgets import ComboBox, PushButton
from napari.layers import Image
from qtpy.QtWidgets import QFileDialog

from napari_niiv.models.catalog import SUFFIX, bundled_description, bundled_models
from napari_niiv.plugin.common.channels import channels_of
from napari_niiv.plugin.common.elided import elided
from napari_niiv.plugin.common.forms import Row, short_names
from napari_niiv.plugin.common.host import Host

Wanted = tuple[str, str]
"""A checkpoint (a bundled name or a path) and a device (such as "auto" or "cuda:1")."""


class ModelLoader:
    """Loads a checkpoint on a device; of what is asked for meanwhile, only the last is loaded.

    Parameters
    ----------
    run : callable
        `Background.run`.
    loaded : callable
        Gets what was wanted, the model, and the names of the devices present.
    failed : callable
        Gets what was wanted and the sentence of the error.
    """

    def __init__(
        self,
        run: Callable[..., None],
        loaded: Callable[[Wanted, Any, list[str]], None],
        failed: Callable[[Wanted, str], None],
    ) -> None:
        self._run, self._loaded, self._failed = run, loaded, failed
        self._now: Wanted | None = None
        self._next: Wanted | None = None

    @property
    def awaited(self) -> Wanted | None:
        """What was asked for last, until it is loaded."""
        return self._next or self._now

    def load(self, wanted: Wanted) -> None:
        """Load a checkpoint on a device, at once or when the load that runs has ended."""
        if self._now is not None:
            self._next = wanted
            return
        self._now = wanted

        def work() -> tuple[Any, list[str]]:  # importing torch takes seconds, so even that happens elsewhere
            from napari_niiv.device import available_devices
            from napari_niiv.models.checkpoint import load_model

            return load_model(*wanted), available_devices()

        def done(outcome: tuple[Any, list[str]]) -> None:
            self._go_on()
            self._loaded(wanted, *outcome)

        def failed(sentence: str) -> None:
            self._go_on()
            self._failed(wanted, sentence)

        self._run(work, done, failed)

    def _go_on(self) -> None:
        self._now = None
        following, self._next = self._next, None
        if following is not None:
            self.load(following)


class ModelChoice:
    """Rows for checkpoint and device; what is chosen is loaded, and what cannot be is not left standing.

    A checkpoint is chosen for a volume: for others, those that come later too, all stays as it is. What is chosen while
    there is no volume is for all that come.

    Parameters
    ----------
    host : Host
    adopt : callable
        Gets the model of what is chosen, and the layer that it is for; None if it is for all that have none.

    Attributes
    ----------
    by_hand : str or None
        The checkpoint that the user chose last, until it is in use and that is taken note of.
    rows : list of Widget
        To be put into a form.
    """

    def __init__(self, host: Host, adopt: Callable[[Any, Image | None], None]) -> None:
        self._host, self._adopt = host, adopt
        self._own: list[str] = []  # checkpoints
        self._cards: dict[str, str] = {}  # their descriptions
        self._devices = ["auto"]
        self._layer: weakref.ref[Image] | None = None  # that is chosen
        self._chosen: weakref.WeakKeyDictionary[Image, str] = weakref.WeakKeyDictionary()
        self._loaded: weakref.WeakKeyDictionary[Image, Wanted] = weakref.WeakKeyDictionary()
        self._loaded_for_others: Wanted | None = None
        self.by_hand: str | None = None
        self._loader = ModelLoader(host.run, self._take, self._refuse)
        # choices are functions, as napari asks for them anew whenever a layer comes or goes
        self.checkpoint = ComboBox(
            choices=lambda widget: short_names([*bundled_models(), *self._own]),
            tooltip="the network that restores; each says what it is for. A checkpoint of your own can be dropped here",
        )
        self._items = elided(self.checkpoint, self._describe)
        self.browse = PushButton(text="Browse…", tooltip="choose a checkpoint file")
        self.device = ComboBox(
            label="Device",
            choices=lambda widget: self._devices,
            tooltip="what computes: auto takes a GPU where there is one",
        )
        self.rows: list[Any] = [Row("Checkpoint", self.checkpoint, self.browse), self.device]
        self.checkpoint.native.activated.connect(self._note_choice)  # before it is loaded, by the user alone
        self._for_others: str | None = self.checkpoint.value
        self.checkpoint.changed.connect(self._choose_for_layer)
        self.device.changed.connect(self.load)
        self.browse.changed.connect(self._browse)

    @property
    def layer(self) -> Image | None:
        """The layer that a checkpoint is chosen for."""
        return None if self._layer is None else self._layer()

    @property
    def loaded(self) -> Wanted | None:
        """Checkpoint and device of the model in use for the chosen layer."""
        return self.loaded_for(self.layer)

    def loaded_for(self, layer: Image | None) -> Wanted | None:
        """Checkpoint and device of the model in use for a layer; None as long as there is none."""
        return self._loaded_for_others if layer is None else self._loaded.get(layer, self._loaded_for_others)

    def checkpoint_of(self, layer: Image | None) -> str | None:
        """The checkpoint of a layer."""
        return self._for_others if layer is None else self._chosen.get(layer, self._for_others)

    def set_layer(self, layer: Image | None) -> None:
        """Attend to another layer: show its checkpoint, and load it if it is not in use for it."""
        self._layer = None if layer is None else weakref.ref(layer)
        with self.checkpoint.changed.blocked():
            self._show(self.checkpoint_of(layer))
        if self.checkpoint.value is not None and self._wanted not in (self.loaded, self._loader.awaited):
            self.load()

    def assign(self, layer: Image, checkpoint: str) -> None:
        """Have a layer, and the other channels of its volume, use a checkpoint from when it is chosen on."""
        channels = channels_of(self._host.viewer, layer)
        self._chosen.update(dict.fromkeys(channels, checkpoint))
        for each in channels:
            if self._loaded.get(each, ("", ""))[0] == checkpoint:  # its file is another
                del self._loaded[each]

    def load(self, value: Any = None) -> None:
        """Load the chosen checkpoint on the chosen device."""
        if self.checkpoint.value is None:
            self._host.tell("No checkpoint is there; browse for one.")
            return
        self._loader.load(self._wanted)

    def select(self, path: Path | str) -> None:
        """Add a checkpoint to the choices and use it; if it is in use, its file is read anew."""
        name = str(path)
        if name == self.checkpoint.value:
            self.load()
        self._show(name)

    def _show(self, name: str | None) -> None:
        if name is not None and name not in self.checkpoint.choices:
            self._own.append(name)
            self.checkpoint.reset_choices()
        self.checkpoint.value = name

    def _choose_for_layer(self, value: Any = None) -> None:
        """Use what is chosen, for the layer alone if there is one."""
        if (layer := self.layer) is None:
            self._for_others = self.checkpoint.value
        elif self.checkpoint.value is not None:
            self.assign(layer, self.checkpoint.value)
        self.load()

    def choose(self, path: Path | str) -> None:
        """The same, by the user's hand."""
        self.by_hand = str(path)
        self.select(path)

    def _note_choice(self, index: int) -> None:
        self.by_hand = self.checkpoint.value

    def _describe(self, name: str, text: str) -> str:
        """What a checkpoint's card says it is for, as far as that is known, and where its file is."""
        return "\n".join(filter(None, (self._cards.get(name) or bundled_description(name), name)))

    @property
    def _wanted(self) -> Wanted:
        return self.checkpoint.value, self.device.value

    def _take(self, wanted: Wanted, model: Any, devices: list[str]) -> None:
        self._devices = ["auto", *devices]
        self.device.reset_choices()
        self._cards[wanted[0]] = model.card.description
        self._items.refresh()
        layer = self.layer
        if wanted == (self._for_others, self.device.value):
            self._loaded_for_others = wanted
            self._adopt(model, None)
        if wanted == self._wanted and layer is not None and layer in self._chosen:
            self._loaded.update(dict.fromkeys(channels_of(self._host.viewer, layer), wanted))
            self._adopt(model, layer)

    def _refuse(self, wanted: Wanted, sentence: str) -> None:
        self._host.fail(sentence)
        if wanted == self._wanted:
            self._choose_again(wanted)

    def _choose_again(self, failed: Wanted) -> None:
        """Go back to the checkpoint and device that work: the widget tells what is in use."""
        unusable = self.checkpoint.value
        checkpoint, device = self.loaded or (bundled_models()[0], "auto")
        with self.checkpoint.changed.blocked(), self.device.changed.blocked():
            self.checkpoint.value, self.device.value = checkpoint, device
            if self.layer in self._chosen:
                self.assign(self.layer, checkpoint)
            else:
                self._for_others = checkpoint
            if unusable in self._own and unusable != checkpoint:
                self._own.remove(unusable)
                self.checkpoint.reset_choices()
        if self.loaded is None and (checkpoint, device) != failed:
            self.load()

    def _browse(self, value: Any = None) -> None:
        path, _ = QFileDialog.getOpenFileName(self.browse.native, "Choose a checkpoint", "", f"Checkpoints (*{SUFFIX})")
        if path:
            self.choose(path)
