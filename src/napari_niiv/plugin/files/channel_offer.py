"""The offer to show channels together that napari opened as one layer with a slider."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import cached_property

from magicgui.widgets import Label, PushButton
from napari.layers import Image

from napari_niiv.errors import NiivError
from napari_niiv.io.remembered import open_remembered
from napari_niiv.plugin.common.channels import MOST_CHANNELS, add_channels
from napari_niiv.plugin.common.forms import Row, button, paragraph, write
from napari_niiv.plugin.common.host import Host
from napari_niiv.plugin.common.layers import finest_data, layer_volume, leading_axes
from napari_niiv.plugin.common.questions import Urgency
from napari_niiv.plugin.common.words import WINDOW_WORDS
from napari_niiv.plugin.files.layer_file import LayerFile, layer_file
from napari_niiv.volume import Volume


class ChannelOffer:
    """A sentence and buttons for a layer that holds several channels; then a layer of each takes its place.

    Parameters
    ----------
    host : Host
    replaced : callable
        Gets a layer and the first of those that take its place, while all are there.

    Attributes
    ----------
    rows : list of LateRows
        To be put into a form.
    """

    def __init__(self, host: Host, replaced: Callable[[Image, Image], None]) -> None:
        self._viewer, self._run, self._fail, self._replaced = host.viewer, host.run, host.fail, replaced
        self._layer: Image | None = None
        self._answered: weakref.WeakSet[Image] = weakref.WeakSet()
        self._question = host.questions.add(
            Urgency.CHANNELS, lambda: (self.sentence, Row("", self.together, self.later))
        )
        self.rows = [self._question]

    @cached_property
    def sentence(self) -> Label:
        """How many channels there are."""
        return paragraph()

    @cached_property
    def together(self) -> PushButton:
        """Shows them together."""
        return button("Show together", "each channel a layer in its colour, all live at once", self.split)

    @cached_property
    def later(self) -> PushButton:
        """Leaves the layer as it is."""
        return button("Not now", "go on with one layer and its slider", self._answer)

    def set_layer(self, layer: Image | None) -> None:
        """Offer it for another layer, or for the same when its axes are known, if it holds channels."""
        self._layer = layer
        count = 0 if layer is None or layer in self._answered else channel_count(layer)
        if layer is not None and count:
            write(self.sentence, f"{layer.name} holds {count} channels, and shows one at a time.")
        self._question.ask(bool(count))

    def split(self) -> None:
        """Put a layer of each channel in the place of the layer that is chosen."""
        layer = self._layer
        if layer is None:
            return
        self._answer()
        try:
            volume = layer_volume(layer)
        except NiivError as error:
            self._fail(error.in_words(WINDOW_WORDS))
            return
        file = layer_file(layer)
        self._run(lambda: as_stored(volume, file), lambda stored: self._replace(layer, stored))

    def _answer(self) -> None:
        if self._layer is not None:
            self._answered.add(self._layer)
        self._question.ask(False)

    def _replace(self, layer: Image, volume: Volume) -> None:
        if layer not in self._viewer.layers:
            return
        self._replaced(layer, add_channels(self._viewer, volume))
        self._viewer.layers.remove(layer)


def channel_count(layer: Image) -> int:
    """How many channels a layer has that can be layers of their own; 0 if it has none, one, or a spectrum."""
    if layer.rgb or not 4 <= layer.ndim <= 6:
        return 0
    axis = leading_axes(layer).find("c")
    count = int(finest_data(layer).shape[axis]) if axis >= 0 else 0
    return count if 2 <= count <= MOST_CHANNELS else 0


def as_stored(volume: Volume, file: LayerFile | None) -> Volume:
    """The volume of a layer with the names and colours that its file has of the channels; called on a thread."""
    if file is None:
        return volume
    with suppress(NiivError):  # another plugin may read what this one does not
        stored = open_remembered(file.path, dataset=file.dataset)
        if (stored.axes, stored.shape) == (volume.axes, volume.shape):
            return replace(
                stored,
                name=volume.name,
                voxel_size=volume.voxel_size,
                unit=volume.unit,
                origin=volume.origin,
                empty=volume.empty,
            )
    return volume
