"""The form of an export: part, place and, under Advanced, how."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

from magicgui.widgets import CheckBox, ComboBox, LineEdit, PushButton
from napari.components import ViewerModel
from napari.layers import Image
from qtpy.QtWidgets import QFileDialog

from napari_niiv.configuration import setting_of
from napari_niiv.errors import OutputError
from napari_niiv.export.config import ExportConfig
from napari_niiv.plugin.common.channels import (
    channel_name,
    channels_of,
    channels_words,
    in_file_order,
    repaired_volume,
    whole_name,
)
from napari_niiv.plugin.common.elided import elided
from napari_niiv.plugin.common.forms import Form, Row
from napari_niiv.plugin.common.layers import along_world
from napari_niiv.plugin.common.output_names import default_output, named_output
from napari_niiv.plugin.common.setting_widgets import field_value, setting_widget
from napari_niiv.plugin.controls.denoise import DenoiseField
from napari_niiv.plugin.export.settings import SUFFIXES, TIFF, ZARR, ExportSettings

WHOLE, BOX = "whole", "box"
ALL, ONE = "all", "one"
PARTS = [("whole volume", WHOLE), ("current view, or rectangle", BOX)]
FORMATS = [("OME-Zarr (any size)", ZARR), ("TIFF", TIFF)]
_VIEW = "For another part, zoom, or draw a rectangle in a side view and keep its Shapes layer selected."
_RECTANGLE = "That is the rectangle that is selected, as deep as wide; for another part, select another layer."
_FILTERS = {ZARR: "OME-Zarr (*.zarr)", TIFF: "TIFF (*.tif *.tiff)"}


class ExportForm(Form):
    """The fields of an export's settings; what is not touched has sensible values.

    Parameters
    ----------
    viewer : ViewerModel
        Its view, or a rectangle drawn in it, can be chosen as the part to write.
    """

    def __init__(self, viewer: ViewerModel) -> None:
        self.viewer = viewer
        self.layer: Image | None = None
        # the output as the user wants it; None leaves that to the layer
        self.named: Path | None = None
        # instead of the layer's name, what a finished export was called
        self._base: Path | None = None
        # the chosen layer, among the other channels of its volume
        self._channels: list[Image] = []
        self._choices = self._channel_words()
        self._dtype = "source"
        self._shown = ""
        self.channels = ComboBox(
            label="Channels",
            choices=lambda widget: list(zip(self._choices, (ALL, ONE), strict=True)),
            tooltip="all channels of the volume in one file, with their names and colours; or the one of the chosen "
            "layer",
        )
        elided(self.channels)
        self.part = ComboBox(
            label="Part",
            choices=lambda widget: PARTS,
            tooltip="the second is what the window shows, as deep as wide; or the rectangle of a selected Shapes "
            "layer, drawn in a side view",
        )
        self.format = ComboBox(
            label="Format",
            choices=lambda widget: FORMATS,
            tooltip="OME-Zarr is compressed and opens at once however large it is; TIFF is a single file for Fiji "
            "and others",
        )
        self.output = LineEdit(tooltip="where to write; its ending, .zarr or .tif, is the format")
        self.browse = PushButton(text="Browse…", tooltip="choose where to write")
        self.output_row = Row("Save to", self.output, self.browse)
        self.advanced = CheckBox(
            text="Advanced settings", value=False, tooltip="how fine, from which side views, and of which type"
        )
        self.output_scale = setting_widget(ExportConfig, "output_scale", min=0.05, max=16)
        self.planes = setting_widget(ExportConfig, "planes")
        self.dtype = setting_widget(ExportConfig, "dtype", choices=self._dtypes)
        self.project = setting_widget(ExportConfig, "project")
        self.denoise = DenoiseField()
        self._fine = (self.output_scale, self.planes, self.denoise.widget, self.dtype, self.project)
        super().__init__([self.channels, self.part, self.format, self.output_row, self.advanced, *self._fine])
        self.channels.changed.connect(lambda _=None: self.changed.emit(self))
        self.advanced.changed.connect(self._show_what_applies)
        self.format.changed.connect(self._change_format)
        self.output.changed.connect(lambda _=None: self.changed.emit(self))
        self.output.native.editingFinished.connect(self._typed)
        self.browse.changed.connect(self._browse)
        self._show_what_applies()

    def choose_layer(self, layer: Image | None) -> None:
        """Export this layer, to a place of its own; another channel of what is exported together changes nothing."""
        same = len(self.exported) > 1 and layer in self.exported
        self.layer = layer
        self.follow_channels()
        if same:
            return
        self.named = self._base = None
        with self.changed.blocked():
            self.output.value = self._shown = ""
        dtype = "" if layer is None else str(layer.dtype)
        if dtype != self._dtype:
            self._dtype = dtype
            self.dtype.reset_choices()

    def follow_channels(self) -> None:
        """Offer the channels that the layer's volume has by now; of one there is nothing to choose."""
        layer, chosen = self.layer, self.channels.value
        self._channels = [] if layer is None else in_file_order(channels_of(self.viewer, layer))
        if (words := self._channel_words()) != self._choices:  # a list that is open stays so
            self._choices = words
            with self.changed.blocked(), self.channels.changed.blocked():
                self.channels.reset_choices()
                self.channels.value = chosen
        self.channels.visible = len(self._channels) > 1

    @property
    def exported(self) -> list[Image]:
        """The layers whose volume is exported: the chosen one, or all channels that it is one of."""
        together = self.layer in self._channels and self.channels.value == ALL
        return self._channels if together else [] if self.layer is None else [self.layer]

    @property
    def axes_words(self) -> str:
        """What of the layer's place is not written; empty where all is."""
        if self.layer is None or along_world(self.layer):
            return ""
        return (
            "The layer is rotated, sheared or mirrored in napari: the file is written along the layer's own axes, "
            "without that."
        )

    @property
    def words(self) -> str:
        """What is exported; empty if that is nothing."""
        if self.layer is None:
            return ""
        return channels_words(self.layer, self._channels, self.channels.value == ALL)

    @property
    def part_words(self) -> str:
        """What the part is, and how another is chosen; empty for the whole."""
        if self.layer is None or self.part.value != BOX:
            return ""
        from napari_niiv.plugin.volume3d.chosen_box import is_drawn

        return _RECTANGLE if is_drawn(self.viewer, self.layer) else _VIEW

    def next_output(self) -> None:
        """Have the next export of the layer written beside the last one, with a number."""
        self._base, self.named = self.named or self._base, None

    def settings(self) -> ExportSettings:
        """What is filled in: volume, place and settings.

        Raises
        ------
        NiivError
            If there is no layer, no volume in it, or no part of it on display.
        """
        if self.layer is None:
            raise OutputError("Choose a layer in Isotropic reconstruct; open a volume if there is none.")
        return ExportSettings(
            volume=repaired_volume(self.exported),
            named=self.named,
            default=self._default(self.layer),
            config=self._config(self.layer),
        )

    def show_output(self, target: Path) -> None:
        """Show where the volume will be written, unless the user is about to type that."""
        if not self.output.native.hasFocus() or not self.output.native.isModified():
            with self.output.changed.blocked():
                self.output.value = self._shown = str(target)
            self.output.native.setCursorPosition(len(self.output.value))

    def _config(self, layer: Image) -> ExportConfig:
        names = ("output_scale", "planes", "project", "dtype")
        settings = {name: field_value(ExportConfig, name, getattr(self, name)) for name in names}
        box = self._box(layer) if self.part.value == BOX else None
        return ExportConfig(**settings, denoise=self.denoise.value, box=box)

    def _channel_words(self) -> tuple[str, str]:
        name = "" if self.layer is None else channel_name(self.layer)
        return f"all {len(self._channels)} together", f"{name} alone"

    def _dtypes(self, widget: Any) -> list[tuple[str, str | None]]:
        setting = setting_of(ExportConfig, "dtype")
        named = [(words, value) for value, words in setting.choices.items()]
        return [(f"{setting.unset} ({self._dtype})", None), *named]

    def _default(self, layer: Image) -> Callable[[], Path]:
        if (base := self._base) is not None:
            return lambda: base
        name = whole_name(self.exported) if len(self.exported) > 1 else None
        return functools.partial(default_output, layer, f"-isotropic{self.format.value}", name)

    def _box(self, layer: Image) -> Any:
        from napari_niiv.plugin.volume3d.chosen_box import chosen_box

        box = chosen_box(self.viewer, layer, budget=0)  # even if the whole would fit
        if box is None:
            raise OutputError(
                f"The window shows nothing of {layer.name}; bring it into view, or choose the whole volume."
            )
        return tuple((span.lo, span.hi) for span in box)

    def _show_what_applies(self, value: Any = None) -> None:
        for widget in self._fine:
            widget.visible = self.advanced.value

    def _change_format(self, suffix: str) -> None:
        if self.named is not None and _format(self.named) != suffix:
            self.named = self.named.with_suffix(suffix)
        if self._base is not None and _format(self._base) != suffix:
            self._base = self._base.with_suffix(suffix)
        self.changed.emit(self)  # which came before this

    def _name(self, text: str) -> None:
        first = self.format.value
        self.named = named_output(text, (first, *(s for s in SUFFIXES if s != first)))
        self.format.value = _format(self.named)
        self.changed.emit(self)

    def _typed(self) -> None:
        self.output.native.setModified(False)
        text = self.output.value.strip()
        if not text:
            self.named = None
            self.changed.emit(self)
        elif text != self._shown or self.named not in (None, Path(text)):  # which may have been refused
            self._name(text)

    def _browse(self, value: Any = None) -> None:
        path, _ = QFileDialog.getSaveFileName(
            self.native,
            "Save the isotropic volume",
            self.output.value,
            _FILTERS[self.format.value],
            options=QFileDialog.Option.DontConfirmOverwrite,  # that is asked for below the form
        )
        if path:
            self._name(path)


def _format(path: Path) -> str:
    return ZARR if path.suffix.lower() == ZARR else TIFF
