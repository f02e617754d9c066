"""Files opened off the GUI thread, as layers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from magicgui.widgets import ComboBox
from napari.layers import Image

from napari_niiv.errors import DatasetChoice
from napari_niiv.io.formats import VolumePath
from napari_niiv.io.readers.slices import are_slices
from napari_niiv.io.remembered import open_remembered
from napari_niiv.plugin.common.channels import add_channels
from napari_niiv.plugin.common.connections import Connections, when_destroyed
from napari_niiv.plugin.common.host import Host
from napari_niiv.plugin.common.layers import is_source
from napari_niiv.plugin.common.notes import note_of
from napari_niiv.plugin.files.dataset_question import DatasetQuestion
from napari_niiv.volume import Volume

MOST_TOLD = 3  # files of many that are named in one message


@dataclass
class Batch:
    """Files that are opened together, and what came of them.

    Attributes
    ----------
    paths : list of Path
    first : Image or None
        The first layer that was opened.
    problems : list of str
        Sentences about files that cannot be opened.
    notes : list of str
        What should be known of files that are opened, without full stops.
    choices : list of (Path, DatasetChoice)
        Files that hold several images.
    """

    paths: list[Path]
    first: Image | None = None
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    choices: list[tuple[Path, DatasetChoice]] = field(default_factory=list)

    @property
    def message(self) -> str:
        """One message about all of them; nothing where all is well."""
        if len(self.paths) == 1:
            return "".join(self.problems) or "".join(f"{note}." for note in self.notes)
        parts = []
        if self.problems:
            count = f"{len(self.problems)} of {len(self.paths)} files cannot be opened"
            parts.append(f"{count}: {few([problem.removesuffix('.') for problem in self.problems])}.")
        if self.notes:
            parts.append(f"Of those that are opened: {few(self.notes)}.")
        return " ".join(parts)


def few(phrases: list[str]) -> str:
    """The first of some phrases, and how many more there are."""
    more = len(phrases) - MOST_TOLD
    return "; ".join(phrases[:MOST_TOLD] + ([f"and {more} more"] if more > 0 else []))


class Opener:
    """Opens files, and asks which volume is meant where one holds several.

    Parameters
    ----------
    host : Host
    layer : ComboBox
        Where the layer is chosen: the first that is opened will be.
    tell_again : callable
        Has the status speak of the chosen layer.

    Attributes
    ----------
    datasets : DatasetQuestion
    """

    def __init__(self, host: Host, layer: ComboBox, tell_again: Callable[[], None]) -> None:
        self._host, self._layer, self._tell_again = host, layer, tell_again
        self._adding = False
        self.datasets = DatasetQuestion(host.questions, self._open_chosen, lambda: self._choose(layer.value))
        layer.changed.connect(self._another)
        connections = Connections()
        connections.connect(self._another, host.viewer.layers.events.inserted)
        # a function, as Qt would not keep what a method belongs to
        when_destroyed(layer.native, connections.disconnect)

    def open_all(self, paths: list[Path]) -> None:
        """Open files that were dropped together: slices of one picture each as a stack, others each by itself."""
        self.datasets.withdraw()
        if len(paths) < 2:
            self._open_each(Batch(paths))
            return

        def finish(slices: bool) -> None:
            if slices:
                self._read(paths[0], Batch(paths[:1]), None, self._finish, paths)
            else:
                self._open_each(Batch(paths))

        self._host.tell(f"Opening {len(paths)} files…")
        self._host.run(lambda: are_slices(paths), finish)

    def open(self, path: Path, dataset: str | None = None) -> None:
        """Open a file; ask which of its images, if it holds several."""
        self.datasets.withdraw()
        self._open_chosen(path, dataset)

    def _open_chosen(self, path: Path, dataset: str | None) -> None:
        self._host.tell(f"Opening {path.name}…")
        self._read(path, Batch([path]), dataset, self._finish)

    def _open_each(self, batch: Batch, number: int = 0) -> None:
        """Open the files of a batch from one on, one after the other."""
        if number == len(batch.paths):
            self._finish(batch)
            return
        path, count = batch.paths[number], len(batch.paths)
        self._host.tell(f"Opening {path.name}{f' ({number + 1} of {count})' if count > 1 else ''}…")
        self._read(path, batch, None, lambda batch: self._open_each(batch, number + 1))

    def _read(
        self,
        path: Path,
        batch: Batch,
        dataset: str | None,
        then: Callable[[Batch], None],
        slices: VolumePath | None = None,
    ) -> None:
        """Read a file, or the slices of a stack that it is the first of, and go on."""

        def read() -> Volume | DatasetChoice:
            try:
                return open_remembered(slices or path, dataset=dataset)
            except DatasetChoice as choice:
                return choice

        def finish(result: Volume | DatasetChoice) -> None:
            if isinstance(result, DatasetChoice):
                again = dataset is not None
                self.datasets.offer(path, result, again) if again else batch.choices.append((path, result))
            else:
                if note := note_of(result):
                    batch.notes.append(note)
                layer = self._add(result)
                batch.first = batch.first or layer
            then(batch)

        def failed(sentence: str) -> None:
            batch.problems.append(sentence)
            then(batch)

        self._host.run(read, finish, failed)

    def _add(self, volume: Volume) -> Image:
        """Add a layer of each channel, and return the first."""
        self._adding = True
        try:
            return add_channels(self._host.viewer, volume)
        finally:
            self._adding = False

    def _finish(self, batch: Batch) -> None:
        """Choose what was opened first, ask, and tell in one message what should be known of them all."""
        if batch.first is not None and batch.first in self._host.viewer.layers:
            self._choose(batch.first)
        for path, choice in batch.choices:
            self.datasets.offer(path, choice)
        if batch.choices:
            self._host.tell(f"Choose what to open of {batch.choices[0][0].name}.")
        if message := batch.message:
            (self._host.warn if batch.first or batch.choices else self._host.fail)(message)
        if batch.first is None and not batch.choices and self._layer.value is not None:
            self._choose(self._layer.value)  # whose picture is as it was

    def _choose(self, layer: Image | None) -> None:
        """Choose a layer, and have the status speak of it again if it is chosen already."""
        self._adding = True
        if self._layer.value is layer:
            self._tell_again()
        else:
            self._layer.value = layer
        self._adding = False

    def _another(self, event: Any = None) -> None:
        """Another file was opened, or another layer chosen: what was asked is of no interest any more."""
        if not self._adding and (not hasattr(event, "value") or is_source(event.value)):
            self.datasets.withdraw()
