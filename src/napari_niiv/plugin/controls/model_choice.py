"""The choice of a checkpoint and a device, and the model that is loaded of them off the GUI thread."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from magicgui.widgets import ComboBox, PushButton
from qtpy.QtWidgets import QFileDialog

from napari_niiv.models.catalog import SUFFIX, bundled_description, bundled_models
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
        self._busy = False
        self._next: Wanted | None = None

    def load(self, wanted: Wanted) -> None:
        """Load a checkpoint on a device, at once or when the load that runs has ended."""
        if self._busy:
            self._next = wanted
            return
        self._busy = True

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
        self._busy = False
        following, self._next = self._next, None
        if following is not None:
            self.load(following)


class ModelChoice:
    """Rows for checkpoint and device; what is chosen is loaded, and what cannot be is not left standing.

    Parameters
    ----------
    host : Host
    adopt : callable
        Gets the model of what is chosen.

    Attributes
    ----------
    loaded : tuple of str or None
        Checkpoint and device of the model in use.
    by_hand : str or None
        The checkpoint that the user chose last, until it is in use and that is taken note of.
    rows : list of Widget
        To be put into a form.
    """

    def __init__(self, host: Host, adopt: Callable[[Any], None]) -> None:
        self._host, self._adopt = host, adopt
        self._own: list[str] = []  # checkpoints
        self._cards: dict[str, str] = {}  # their descriptions
        self._devices = ["auto"]
        self.loaded: Wanted | None = None
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
        self.checkpoint.changed.connect(self.load)
        self.device.changed.connect(self.load)
        self.browse.changed.connect(self._browse)

    def load(self, value: Any = None) -> None:
        """Load the chosen checkpoint on the chosen device."""
        if self.checkpoint.value is None:
            self._host.tell("No checkpoint is there; browse for one.")
            return
        self._loader.load(self._wanted)

    def select(self, path: Path | str) -> None:
        """Add a checkpoint to the choices and use it; if it is in use, its file is read anew."""
        name = str(path)
        if name not in self.checkpoint.choices:
            self._own.append(name)
            self.checkpoint.reset_choices()
        if name == self.checkpoint.value:
            self.load()
        self.checkpoint.value = name

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
        if wanted == self._wanted:
            self.loaded = wanted
            self._adopt(model)

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
            if unusable in self._own and unusable != checkpoint:
                self._own.remove(unusable)
                self.checkpoint.reset_choices()
        if self.loaded is None and (checkpoint, device) != failed:
            self.load()

    def _browse(self, value: Any = None) -> None:
        path, _ = QFileDialog.getOpenFileName(self.browse.native, "Choose a checkpoint", "", f"Checkpoints (*{SUFFIX})")
        if path:
            self.choose(path)
