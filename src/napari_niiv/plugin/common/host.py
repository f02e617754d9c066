"""What a control of a dock widget has at hand: the viewer, background work, and the status."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from napari import Viewer
from qtpy.QtWidgets import QWidget

from napari_niiv.plugin.common.background import Background
from napari_niiv.plugin.common.docks import is_behind
from napari_niiv.plugin.common.questions import Questions
from napari_niiv.plugin.manifest_names import WIDGET


class StatusLine(Protocol):
    """Where sentences for the user appear."""

    def tell(self, sentence: str, state: str | None = None) -> None:
        """Show a sentence, and the mark of a state if one is given."""

    def inform(self, sentence: str) -> None:
        """Notify of what is worth knowing; the sentence that is shown stays."""

    def warn(self, sentence: str) -> None:
        """As `inform`, of what is not as it should be."""

    def fail(self, sentence: str) -> None:
        """Show the sentence of an error, and notify of it."""


class Host:
    """The dock widget, as its controls know it.

    Parameters
    ----------
    viewer : Viewer
    status : StatusLine
    parent : QWidget
        In the dock. With it the background work goes, and answers that come later are dropped.

    Attributes
    ----------
    viewer : Viewer
    background : Background
    questions : Questions
        What the controls ask, one at a time.
    run : callable
        `Background.run`: work on a thread, whose answer comes to the GUI thread; errors go to `fail`.
    tell : callable
        Shows a sentence in the status.
    inform : callable
        Shows a sentence as a notification; the status stays.
    warn : callable
        The same of what is not as it should be.
    fail : callable
        Shows the sentence of an error as both.
    """

    def __init__(self, viewer: Viewer, status: StatusLine, parent: QWidget) -> None:
        self._parent = parent
        self.viewer, self.background = viewer, Background(parent, status.fail)
        self.run: Callable[..., None] = self.background.run
        self.tell: Callable[[str], Any] = status.tell
        self.inform, self.warn, self.fail = status.inform, status.warn, status.fail
        self.questions = Questions(self._point_out)

    def _point_out(self) -> None:
        """Tell of a question that cannot be seen."""
        if is_behind(self._parent):
            self.inform(f"{WIDGET} has a question: bring its tab to the front.")
