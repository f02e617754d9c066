"""Which voxels hold no measurement: how much of the volume, and where the user corrects it."""

from __future__ import annotations

from typing import Any

from magicgui.widgets import ComboBox, LineEdit
from napari.layers import Image

from napari_niiv.empty_voxels import Values, empty_setting, empty_words
from napari_niiv.io.remembered import remember_empty
from napari_niiv.plugin.common.channels import channels_of
from napari_niiv.plugin.common.forms import Row, paragraph, write
from napari_niiv.plugin.common.host import Host
from napari_niiv.plugin.common.layers import empty_values, set_empty_values
from napari_niiv.plugin.files.layer_file import layer_file
from napari_niiv.plugin.live.live_layers import LiveLayers

AUTO, NONE, THESE = "auto", "none", "values"
_CHOICES = [("auto", AUTO), ("none", NONE), ("these values", THESE)]


class EmptyVoxelsControl:
    """Found by themselves, none, or those of some values; and a sentence that tells how much of the volume it is.

    What the user sets holds for the layer that is chosen and its other channels, and is remembered for its file.

    Parameters
    ----------
    host : Host
    live_layers : LiveLayers
    layer : ComboBox
        Where the layer is chosen.

    Attributes
    ----------
    choice : ComboBox
    typed : LineEdit
        The values, where the user names them.
    sentence : Label
    rows : list of Widget
        To be put into a form.
    """

    def __init__(self, host: Host, live_layers: LiveLayers, layer: ComboBox) -> None:
        self._host, self._live_layers, self._layer = host, live_layers, layer
        self.choice = ComboBox(
            choices=_CHOICES,
            value=AUTO,
            tooltip="voxels that hold no measurement, such as padding and blank sections: they are kept out, and come "
            "back as they are",
        )
        self.typed = LineEdit(tooltip="their values, such as 0 or 0, 255")
        self.typed.visible = False
        self.sentence = paragraph()
        self.rows: list[Any] = [Row("Empty voxels", self.choice, self.typed), self.sentence]
        self.choice.changed.connect(self._choose)
        self.typed.native.editingFinished.connect(self._apply)
        layer.changed.connect(self.show)
        live_layers.opened.connect(lambda live: live.shown.connect(self._show_found))
        self.show()

    def show(self, value: Any = None) -> None:
        """Show what is set for the layer that is chosen now, and what of it is empty, as far as it is known."""
        layer = self._layer.value
        values = None if layer is None else empty_values(layer)
        self.choice.enabled = layer is not None
        with self.choice.changed.blocked():
            self.choice.value = AUTO if values is None else THESE if values else NONE
        self.typed.value = empty_words(values) if values else ""
        self.typed.visible = self.choice.value == THESE
        self._show_found()

    def _show_found(self, shown: Any = None) -> None:
        live = self._live_layers.get(self._layer.value)
        words = "" if live is None or live.last is None else live.last.response.empty.words
        write(self.sentence, f"{words}." if words else "")
        self.sentence.visible = bool(words)

    def _choose(self, choice: str) -> None:
        self.typed.visible = choice == THESE
        if choice != THESE:
            self._set(empty_setting(choice))
            return
        live = self._live_layers.get(self._layer.value)
        if not self.typed.value and live is not None and live.last is not None:
            self.typed.value = empty_words(live.last.response.empty.values).replace(NONE, "")
        self.typed.native.setFocus()

    def _apply(self) -> None:
        """The user has typed values."""
        if self.choice.value != THESE or not self.typed.value.strip():
            return
        try:
            self._set(empty_setting(self.typed.value))
        except ValueError as error:
            self._host.fail(f"Empty voxels is {self.typed.value!r}: it {error}.")

    def _set(self, values: Values | None) -> None:
        layer: Image | None = self._layer.value
        if layer is None or values == empty_values(layer):
            return
        self.sentence.visible = False  # until it is known anew
        for each in channels_of(self._host.viewer, layer):
            set_empty_values(each, values)
        if (file := layer_file(layer)) is not None:
            self._host.run(lambda: remember_empty(file.path, values, file.dataset), lambda _: None)
