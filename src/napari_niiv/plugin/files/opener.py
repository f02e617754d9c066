"""Files opened off the GUI thread, as volumes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from napari_niiv.errors import DatasetChoice
from napari_niiv.io.formats import VolumePath
from napari_niiv.io.readers.slices import are_slices
from napari_niiv.io.remembered import open_remembered
from napari_niiv.plugin.common.host import Host
from napari_niiv.plugin.common.notes import tell_notes
from napari_niiv.plugin.files.dataset_question import DatasetQuestion
from napari_niiv.volume import Volume


class Opener:
    """Opens files, and asks which volume is meant where one holds several.

    Parameters
    ----------
    host : Host
    opened : callable
        Gets each volume.

    Attributes
    ----------
    datasets : DatasetQuestion
    """

    def __init__(self, host: Host, opened: Callable[[Volume], None]) -> None:
        self._run, self._tell, self._opened = host.run, host.tell, opened
        self.datasets = DatasetQuestion(self.open)

    def open_all(self, paths: list[Path]) -> None:
        """Open files that were dropped together: slices of one picture each as a stack, others each by itself."""
        if len(paths) < 2:
            for path in paths:
                self.open(path)
            return

        def finish(slices: bool) -> None:
            if slices:
                self._read(paths, paths[0], None)
            else:
                for path in paths:
                    self.open(path)

        self._tell(f"Opening {len(paths)} files…")
        self._run(lambda: are_slices(paths), finish)

    def open(self, path: Path, dataset: str | None = None) -> None:
        """Open a file; ask which of its images, if it holds several."""
        self._tell(f"Opening {path.name}…")
        self._read(path, path, dataset)

    def _read(self, what: VolumePath, path: Path, dataset: str | None) -> None:
        def read() -> tuple[Volume | None, DatasetChoice | None]:
            try:
                return open_remembered(what, dataset=dataset), None
            except DatasetChoice as choice:
                return None, choice

        def finish(result: tuple[Volume | None, DatasetChoice | None]) -> None:
            volume, choice = result
            if choice is not None:
                self._tell(f"Choose what to open of {path.name}.")
                self.datasets.offer(path, choice)
            elif volume is not None:
                tell_notes(volume)
                self._opened(volume)

        self._run(read, finish)
