"""Which datasets of a file to open, where it holds several."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from magicgui.widgets import ComboBox, Container, Label, PushButton

from napari_niiv.errors import DatasetChoice
from napari_niiv.plugin.forms import row


class DatasetOffer(Container):  # type: ignore[type-arg]
    """A question, hidden while there is none: the datasets of a file, one or more of which can be opened.

    Parameters
    ----------
    open_dataset : callable
        Gets the file's path and the name of the dataset that the user chose.
    """

    def __init__(self, open_dataset: Callable[[Path, str], None]) -> None:
        self._open_dataset = open_dataset
        self._waiting: list[tuple[Path, tuple[str, ...]]] = []
        self.question = Label()
        self.question.native.setWordWrap(True)
        self.dataset = ComboBox(choices=lambda widget: self._names)
        self.open = PushButton(text="Open")
        self.done = PushButton(text="Done")
        super().__init__(
            widgets=[self.question, row("", self.dataset, self.open, self.done)], labels=False, visible=False
        )
        self.margins = (0, 0, 0, 0)
        self.open.changed.connect(self._chosen)
        self.done.changed.connect(self._answered)

    def offer(self, path: Path, choice: DatasetChoice) -> None:
        """Ask for a file; questions wait for each other."""
        if path not in (waiting for waiting, _ in self._waiting):
            self._waiting.append((path, choice.datasets))
        self._ask()

    @property
    def _names(self) -> tuple[str, ...]:
        return self._waiting[0][1] if self._waiting else ()

    def _ask(self) -> None:
        self.visible = bool(self._waiting)
        if self._waiting:
            path, names = self._waiting[0]
            self.question.value = f"{path.name} holds {len(names)} datasets. Which one?"
            self.dataset.reset_choices()

    def _chosen(self, value: Any = None) -> None:
        if self._waiting and self.dataset.value is not None:
            self._open_dataset(self._waiting[0][0], self.dataset.value)

    def _answered(self, value: Any = None) -> None:
        del self._waiting[:1]
        self._ask()
