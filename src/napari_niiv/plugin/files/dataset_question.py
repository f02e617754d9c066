"""Which image of a file to open, where it holds several."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from pathlib import Path

from magicgui.widgets import Label, PushButton
from qtpy.QtCore import QTimer

from napari_niiv.errors import DatasetChoice
from napari_niiv.plugin.common.forms import Row, button, paragraph, write
from napari_niiv.plugin.common.questions import Questions, Urgency
from napari_niiv.plugin.files.dataset_list import DatasetList


class DatasetQuestion:
    """A question, hidden while there is none: the images of a file, of which one is to be opened.

    Files that are opened together wait for each other; when others are opened, they are of no interest any more.

    Parameters
    ----------
    questions : Questions
    open_dataset : callable
        Gets the file's path and the name of the image that the user chose.
    declined : callable
        Called when the user has chosen none.

    Attributes
    ----------
    rows : list of LateRows
        To be put into a form.
    """

    def __init__(
        self,
        questions: Questions,
        open_dataset: Callable[[Path, str], None],
        declined: Callable[[], None] = lambda: None,
    ) -> None:
        self._open_dataset, self._declined = open_dataset, declined
        self._waiting: dict[Path, DatasetChoice] = {}
        self._together = False  # whether what is offered next belongs to what was offered last
        self._question = questions.add(Urgency.DATASET, self._make)
        self.rows = [self._question]

    @cached_property
    def question(self) -> Label:
        """Which of how many."""
        return paragraph()

    @cached_property
    def list(self) -> DatasetList:
        """The images."""
        images = DatasetList()
        images.opened.connect(self._open_chosen)
        return images

    @cached_property
    def open(self) -> PushButton:
        """Opens the one that is chosen."""
        return button("Open", "opens the image chosen in the list as a layer", self._open_chosen)

    @cached_property
    def done(self) -> PushButton:
        """Opens none."""
        return button("Not now", "opens none of them; drop the file again to be asked again", self._decline)

    def _make(self) -> tuple[Label, Row, Row]:
        return self.question, Row("", self.list), Row("", self.open, self.done)

    def offer(self, path: Path, choice: DatasetChoice, again: bool = False) -> None:
        """Ask which image of a file to open.

        Parameters
        ----------
        path : Path
        choice : DatasetChoice
        again : bool
            Whether it is asked more closely, as of the wells of a plate: before what else waits.
        """
        if again:
            self._waiting = {path: choice} | {other: c for other, c in self._waiting.items() if other != path}
        else:
            self.withdraw()
            self._waiting[path] = choice
            self._together = True
            QTimer.singleShot(0, self._part)
        self._ask()
        if self._question.shown:
            self.list.setFocus()

    def withdraw(self) -> None:
        """Ask no more, as something else was opened or chosen meanwhile."""
        if not self._together and self._waiting:
            self._waiting.clear()
            self._ask()

    def _part(self) -> None:
        self._together = False

    @property
    def _first(self) -> tuple[Path, DatasetChoice] | None:
        return next(iter(self._waiting.items()), None)

    def _ask(self) -> None:
        if self._first:
            path, choice = self._first
            write(self.question, f"{path.name} holds {len(choice.datasets):,} images. Which one?")
            self.list.show_images(tuple(zip(choice.datasets, choice.descriptions, strict=True)))
        self._question.ask(bool(self._waiting))

    def _open_chosen(self) -> None:
        if self._first and (name := self.list.chosen) is not None:
            path, _ = self._first
            self._close()
            self._open_dataset(path, name)

    def _decline(self) -> None:
        self._close()
        self._declined()

    def _close(self) -> None:
        if self._first:
            del self._waiting[self._first[0]]
        self._ask()
