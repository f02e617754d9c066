"""The offer to copy a file that reads slowly to a zarr, which then takes its place."""

from __future__ import annotations

import time
import weakref
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from magicgui.widgets import Label, PushButton
from napari.components import ViewerModel
from napari.layers import Image
from qtpy.QtCore import QObject
from qtpy.QtWidgets import QFileDialog, QProgressBar

from napari_niiv.errors import NiivError
from napari_niiv.io.copy import CopyFinished, copy_to_zarr, free_target
from napari_niiv.io.open import open_volume
from napari_niiv.plugin.common.channels import channel_data, channels_of, one_channel, whole_volume
from napari_niiv.plugin.common.event_worker import EventWorker
from napari_niiv.plugin.common.forms import LateRows, Row, button, paragraph, write
from napari_niiv.plugin.common.host import Host
from napari_niiv.plugin.common.layers import PROVENANCE, finest_data, layer_data, provenance_of
from napari_niiv.plugin.common.questions import Urgency
from napari_niiv.plugin.common.words import WINDOW_WORDS, time_left
from napari_niiv.plugin.files.layer_file import layer_file
from napari_niiv.volume import Volume

if TYPE_CHECKING:
    from napari_niiv.io.copy import CopyEvent

_WHOLE = 1000  # steps of the bar
_PERIOD = 0.2  # seconds between two drawings
KEEPS = "Stopped, nothing is kept of the copy."


class CopyOffer:
    """A sentence and a button for layers whose file reads slowly; then a bar.

    Parameters
    ----------
    host : Host
    replaced : callable
        Gets a layer and the one that takes its place, while both are there.

    Attributes
    ----------
    rows : list of LateRows
        To be put into a form.
    """

    def __init__(self, host: Host, replaced: Callable[[Image, Image], None]) -> None:
        self._viewer, self._run = host.viewer, host.run
        self._tell, self._fail, self._replaced = host.inform, host.fail, replaced
        self._layer: Image | None = None
        self._sources: list[Image] = []  # what is being copied: the channels of a volume, or its only layer
        self._worker: EventWorker | None = None
        self._finished: CopyFinished | None = None
        self._stopped, self._preparing, self._drawn = False, False, 0.0
        self._declined: weakref.WeakSet[Image] = weakref.WeakSet()
        self._question = host.questions.add(Urgency.COPY, lambda: (self.sentence, Row("", self.make, self.later)))
        self._progress = LateRows(lambda: (self.copying, self.running))
        self.rows = [self._question, self._progress]

    @cached_property
    def sentence(self) -> Label:
        """Why a copy would be good."""
        return paragraph()

    @cached_property
    def make(self) -> PushButton:
        """Makes it."""
        return button("Make a zarr copy…", "beside the file, compressed as well", self.start)

    @cached_property
    def later(self) -> PushButton:
        """Makes none."""
        return button("Not now", "go on with the file as it is", self._decline)

    @cached_property
    def copying(self) -> Label:
        """What is copied now."""
        return paragraph()

    @cached_property
    def bar(self) -> QProgressBar:
        """How far it is."""
        bar = QProgressBar()
        bar.setRange(0, _WHOLE)
        return bar

    @cached_property
    def cancel(self) -> PushButton:
        """Gives it up."""
        return button("Cancel", "nothing stays of the copy", self.stop)

    @cached_property
    def running(self) -> Row:
        """The row of both."""
        return Row("", self.bar, self.cancel)

    def set_layer(self, layer: Image | None) -> None:
        """Offer a copy of another layer's file, if it reads slowly."""
        self._layer = layer
        self._show()

    def start(self, folder: Path | None = None) -> None:
        """Copy the chosen layer: beside its file, or to a folder that is asked for where that cannot be."""
        layer, file = self._layer, layer_file(self._layer)
        if layer is None or file is None or self._worker is not None or self._preparing:
            return
        self._preparing = True
        self._show()

        def begin(target: Path | None) -> None:
            self._preparing = False
            if target is not None:
                self._begin(layer, target)
            elif another := self._ask_folder(file.path, folder):
                self.start(Path(another))
            else:
                self._show()

        def failed(sentence: str) -> None:
            self._preparing = False
            self._show()
            self._fail(sentence)

        self._run(lambda: free_target(file.path, folder), begin, failed)

    def _decline(self) -> None:
        if self._layer is not None:
            self._declined.add(self._layer)
        self._show()

    def stop(self) -> None:
        """Give the copy up."""
        if self._worker is not None:
            self._stopped = True
            self._worker.stop()
            self.cancel.enabled = False

    def _ask_folder(self, path: str, tried: Path | None) -> str:
        name = (tried or Path(path).parent).name or path
        title = f"{name} cannot be written to: choose a folder for the zarr copy"
        chosen: str = QFileDialog.getExistingDirectory(self.sentence.native, title)
        return chosen

    def _begin(self, layer: Image, target: Path) -> None:
        channels = channels_of(self._viewer, layer)
        try:
            volume = whole_volume(channels)
        except NiivError as error:
            self._show()
            self._fail(error.in_words(WINDOW_WORDS))
            return
        self._sources, self._finished, self._stopped, self._drawn = channels, None, False, 0.0
        self.bar.setValue(0)
        self.bar.setFormat("%p %")
        self.cancel.enabled = True
        parent: QObject = self.sentence.native
        self._worker = EventWorker(parent, lambda: copy_to_zarr(volume, target), "copy", KEEPS)
        self._worker.received.connect(self._show_progress)
        self._worker.ended.connect(self._ended)
        self._target = target
        self._show()
        self._worker.begin()

    def _show_progress(self, event: CopyEvent) -> None:
        if isinstance(event, CopyFinished):
            self._finished = event
        elif time.monotonic() - self._drawn > _PERIOD:
            self._drawn = time.monotonic()
            self.bar.setValue(round(_WHOLE * event.fraction))
            self.bar.setFormat(f"%p % · {time_left(event.remaining)}")

    def _ended(self, problem: str) -> None:
        assert self._worker is not None
        self._worker.deleteLater()
        self._worker = None
        sources, self._sources = self._sources, []
        self._show()
        if self._finished is not None:
            path = self._finished.path
            self._run(lambda: open_volume(path), lambda copy: self._replace(sources, copy, path))
        elif problem:
            self._fail(problem)
        elif self._stopped:
            self._tell("The copy was given up; nothing was kept of it.")

    def _replace(self, sources: list[Image], copy: Volume, path: Path) -> None:
        """Put the copy in the place of the layer, or of those of its channels."""
        parts = [one_channel(copy, number) for number in range(len(sources))] if len(sources) > 1 else [copy]
        there = [(each, part) for each, part in zip(sources, parts, strict=True) if each in self._viewer.layers]
        if not there:
            self._tell(f"The zarr copy is complete: {path}.")
            return
        # the user may have corrected its axes meanwhile
        if any(tuple(finest_data(source).shape) != part.shape for source, part in there):
            for data, keywords in channel_data(copy):
                self._viewer.add_image(data, **keywords)
            name = there[0][0].name
            self._tell(f"{name} was turned while it was copied, so the copy is a layer of its own: {path}.")
            return
        for source, part in there:
            replaced = replace_layer(self._viewer, source, part, self._replaced)
            self._tell(f"{replaced.name} is read from its zarr copy now: {path}.")

    def _show(self) -> None:
        """Make the panel agree with what is chosen and what runs."""
        running = self._worker is not None
        layer = self._layer
        reason = "" if layer is None or layer_file(layer) is None else provenance_of(layer).slow
        if running and self._sources:
            write(self.copying, f"Copying {self._sources[0].name} to {self._target.name}…")
        self._progress.show(running)
        asked = bool(reason) and not running and layer not in self._declined
        if layer is not None and asked:
            write(self.sentence, f"{layer.name} reads slowly: {reason}. A zarr copy beside it would be fast.")
            self.make.enabled = self.later.enabled = not self._preparing
        self._question.ask(asked)


def replace_layer(viewer: ViewerModel, old: Image, volume: Volume, between: Callable[[Image, Image], None]) -> Image:
    """Exchange a layer for one of another volume, with its name, colours and scale; the selection follows.

    Parameters
    ----------
    viewer : ViewerModel
    old : Image
    volume : Volume
    between : callable
        Gets the old layer and the new one, while both are there.

    Returns
    -------
    Image
        The new layer.
    """
    data, keywords = layer_data(volume)
    _, state, _ = old.as_layer_data_tuple()
    metadata = {**keywords["metadata"], **old.metadata, PROVENANCE: volume.provenance}
    state |= {"metadata": metadata, "multiscale": keywords.get("multiscale", False)}
    old.name = f"{old.name} (file)"  # lest napari number the new one
    new = Image(data, **state)
    selection = [new if layer is old else layer for layer in viewer.layers.selection]
    step = viewer.dims.current_step
    viewer.layers.insert(viewer.layers.index(old), new)
    between(old, new)
    viewer.layers.remove(old)
    viewer.layers.selection = selection
    viewer.dims.current_step = step
    return new
