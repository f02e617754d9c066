"""Files opened off the GUI thread, as volumes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from napari_niiv.errors import DatasetChoice
from napari_niiv.io.remembered import open_remembered
from napari_niiv.plugin.files.dataset_question import DatasetQuestion
from napari_niiv.volume import Volume


class Opener:
    """Opens files, and asks which volume is meant where one holds several.

    Parameters
    ----------
    run : callable
        `Background.run`.
    tell : callable
        Gets a sentence for the user.
    opened : callable
        Gets each volume.

    Attributes
    ----------
    datasets : DatasetQuestion
    """

    def __init__(
        self, run: Callable[..., None], tell: Callable[[str], Any], opened: Callable[[Volume], None]
    ) -> None:
        self._run, self._tell, self._opened = run, tell, opened
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
