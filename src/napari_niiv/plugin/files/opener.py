"""Files opened off the GUI thread, as volumes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from napari_niiv.errors import DatasetChoice
from napari_niiv.io.remembered import open_remembered
from napari_niiv.plugin.common.host import Host
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

    def open(self, path: Path, dataset: str | None = None) -> None:
        """Open a file; ask which dataset, if it holds several."""

        def read() -> tuple[Volume | None, DatasetChoice | None]:
            try:
                return open_remembered(path, dataset=dataset), None
            except DatasetChoice as choice:
                return None, choice

        def finish(result: tuple[Volume | None, DatasetChoice | None]) -> None:
            volume, choice = result
            if choice is not None:
                self._tell(f"Choose what to open of {path.name}.")
                self.datasets.offer(path, choice)
            elif volume is not None:
                self._opened(volume)

        self._tell(f"Opening {path.name}…")
        self._run(read, finish)
