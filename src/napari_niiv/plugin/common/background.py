"""Work off the GUI thread whose result comes back to it."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from typing import Any

from qtpy.QtCore import QObject, Signal

from napari_niiv.errors import NiivError, unexpected
from napari_niiv.plugin.common.gui_thread import on_gui_thread, prepare
from napari_niiv.plugin.common.words import WINDOW_WORDS
from napari_niiv.reconstruction.allocator import stay_compact, trim


class Background(QObject):
    """Runs a function on a thread of its own and answers on the GUI thread.

    Parameters
    ----------
    parent : QObject
        With it this object goes, and answers that come later are dropped.
    failed : callable
        Told the sentence of an error, on the GUI thread.
    """

    _finished = Signal(object, object)

    def __init__(self, parent: QObject, failed: Callable[[str], None]) -> None:
        super().__init__(parent)
        stay_compact()
        prepare()
        self._failed = failed
        self._finished.connect(lambda answer, outcome: answer(outcome))

    def run(
        self,
        work: Callable[[], Any],
        then: Callable[[Any], None],
        failed: Callable[[str], None] | None = None,
    ) -> None:
        """Start `work`; `then` gets what it returns, or `failed` the sentence of its error."""
        # no daemon: an interpreter that ends while torch is being imported would abort
        threading.Thread(
            target=self._work, args=(work, then, failed or self._failed), name="napari-niiv loading"
        ).start()

    def _work(self, work: Callable[[], Any], then: Callable[[Any], None], failed: Callable[[str], None]) -> None:
        answer: Callable[[Any], None] = then
        try:
            outcome = work()
        except BaseException as error:  # a reader's SystemExit too: whoever waits shall hear of it
            answer, outcome = failed, sentence_of(error, "That")
        on_gui_thread(lambda: self._answer(answer, outcome))
        trim()

    def _answer(self, answer: Callable[[Any], None], outcome: Any) -> None:
        """Give an answer, unless the window closed meanwhile and took this object along."""
        with contextlib.suppress(RuntimeError):
            self._finished.emit(answer, outcome)


def sentence_of(error: BaseException, what: str) -> str:
    """What a window says of an error on a thread: one sentence, whatever was raised.

    Parameters
    ----------
    error : BaseException
        A `NiivError` has its own sentence.
    what : str
        Begins the sentence of another error, such as "The training".
    """
    return error.in_words(WINDOW_WORDS) if isinstance(error, NiivError) else unexpected(what, error)
