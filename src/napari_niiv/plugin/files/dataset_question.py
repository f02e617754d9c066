"""Which images of a file to open, where it holds several."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from magicgui.widgets import ComboBox, Label, PushButton

from napari_niiv.errors import DatasetChoice
from napari_niiv.plugin.common.forms import row


class DatasetQuestion:
    """A question, hidden while there is none: the images of a file, of which one or more can be opened.

    Parameters
    ----------
    open_dataset : callable
        Gets the file's path and the name of the image that the user chose.

    Attributes
    ----------
    rows : list of Widget
        To be put into a form.
    """

    def __init__(self, open_dataset: Callable[[Path, str], None]) -> None:
        self._open_dataset = open_dataset
        self._waiting: dict[Path, DatasetChoice] = {}
        self.question = Label(value="")
        self.question.native.setWordWrap(True)
        self.dataset = ComboBox(label="Image", choices=lambda widget: self._choices)
        self.open = PushButton(text="Open", tooltip="as a layer; several can be opened, one after the other")
        self.done = PushButton(text="Done")
        # not in a container of their own: a sentence in it would not get the height that it takes
        self.rows: list[Any] = [self.question, self.dataset, row("", self.open, self.done)]
        self.open.changed.connect(self._open_chosen)
        self.done.changed.connect(self._close)
        self._ask()

    def offer(self, path: Path, choice: DatasetChoice) -> None:
        """Ask which images of a file to open, after those of the files that were offered before."""
        self._waiting[path] = choice  # of a plate it may be asked again, more closely
        self._ask()

    @property
    def _first(self) -> tuple[Path, DatasetChoice] | None:
        return next(iter(self._waiting.items()), None)

    @property
    def _choices(self) -> tuple[tuple[str, str], ...]:
        """What is shown of each image, and its name."""
        return tuple(zip(self._first[1].lines, self._first[1].datasets, strict=True)) if self._first else ()

    def _ask(self) -> None:
        if self._first:
            path, choice = self._first
            self.question.value = f"{path.name} holds {len(choice.datasets)} images. Which one?"
        self.dataset.reset_choices()
        for part in self.rows:
            part.visible = bool(self._waiting)

    def _open_chosen(self, value: Any = None) -> None:
        if self._first and self.dataset.value is not None:
            self._open_dataset(self._first[0], self.dataset.value)

    def _close(self, value: Any = None) -> None:
        if self._first:
            del self._waiting[self._first[0]]
        self._ask()
