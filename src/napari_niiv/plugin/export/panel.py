"""The window in which a volume is exported; napari stays usable beside it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from napari.components import ViewerModel
from napari.layers import Image
from napari.utils.notifications import show_error, show_info, show_warning
from qtpy.QtCore import Qt, QTimer, Signal
from qtpy.QtGui import QHideEvent, QShowEvent
from qtpy.QtWidgets import QDialog, QHBoxLayout, QLabel, QProgressBar, QPushButton, QVBoxLayout, QWidget

from napari_niiv.errors import NiivError
from napari_niiv.plugin.common.background import Background
from napari_niiv.plugin.common.event_worker import EventWorker
from napari_niiv.plugin.common.layers import along_world
from napari_niiv.plugin.common.words import for_buttons
from napari_niiv.plugin.export.form import ExportForm
from napari_niiv.plugin.export.settings import ExportJob, ExportPreview, preview_export
from napari_niiv.plugin.live.live_layers import LiveLayers

WATCH_MS = 500  # between two looks at what the viewer shows
WIDTH = 460
_WHOLE = 1000  # of the progress bar
_LOADING = "Loading the model…"
_RECTANGLE = "For another part, zoom, or draw a rectangle in a side view and keep its Shapes layer selected."
_MEANWHILE = "napari can be used meanwhile, and this window closed: the button in Isotropic reconstruct opens it again."


class ExportPanel(QDialog):
    """Asks where to write the isotropic volume of a layer, writes it, and opens it.

    While it is open it follows the layer that is chosen, and the view. Closed in the middle of an export it only
    hides; with its parent it goes, and the export stops: what is finished is kept.

    Parameters
    ----------
    parent : QWidget
    viewer : ViewerModel
    live_layers : LiveLayers
        Its model is used.
    chosen : callable
        Gives the layer to export.
    """

    told = Signal(str)  # how far the export is, in a few words; nothing when there is none

    def __init__(
        self,
        parent: QWidget,
        viewer: ViewerModel,
        live_layers: LiveLayers,
        chosen: Callable[[], Image | None],
    ) -> None:
        super().__init__(parent)
        self.setWindowTitle("Export isotropic volume")
        self.viewer, self.live_layers, self._chosen = viewer, live_layers, chosen
        self.form = ExportForm(viewer)
        self.worker: EventWorker | None = None
        self.found: ExportPreview | None = None  # what the last look ahead said
        self.job: ExportJob | None = None  # that runs, or ran last
        self._source: Image | None = None  # its layer
        self._log: Any = None  # ExportLog
        self._looking = 0  # counts the looks ahead: the last one counts
        self._beginning = False  # the answer is awaited that starts an export
        self._seen: Any = None
        self.title, self.summary, self.question = QLabel(), QLabel(), QLabel()
        self.status = QLabel()
        self.progress = QProgressBar()
        self.progress.setRange(0, _WHOLE)
        self.start, self.anew, self.discard = (
            QPushButton("Export"),
            QPushButton("Start anew"),
            QPushButton("Discard"),
        )
        self.cancel, self.open_result = QPushButton("Cancel"), QPushButton("Open in napari")
        self._lay_out()
        self._background = Background(self, self._fail)
        self._fit = QTimer(self)  # once the layout knows of what has just been shown
        self._fit.setSingleShot(True)
        self._fit.timeout.connect(self._fit_height)
        self._watch = QTimer(self)
        self._watch.setInterval(WATCH_MS)
        self._watch.timeout.connect(self._follow)
        self._connect()
        self._show_state()

    # what the user does

    def press(self) -> None:
        """Export; or go on with what is there, or replace it, as the button says."""
        self._begin("resume" if self._resumable else "replace" if self._begun or self._exists else "new")

    def start_anew(self) -> None:
        """Export in the place of an interrupted one."""
        self._begin("replace")

    def discard_unfinished(self) -> None:
        """Delete an interrupted export."""
        if self.found is None:
            return
        target = self.found.job.target

        def delete() -> None:
            from napari_niiv.export.store import discard

            discard(target)

        def deleted(_: Any) -> None:
            self._say(f"The interrupted export to {target.name} is deleted.")
            self.look()

        self._background.run(delete, deleted)

    def stop(self) -> None:
        """End the export after what it is doing; what is finished is kept."""
        if self.worker is not None:
            self.worker.stop()
            self.cancel.setText("Cancelling…")
            self.cancel.setEnabled(False)

    def open_in_napari(self) -> None:
        """Show the result over its source."""
        job, source = self.job, self._source
        if job is None:
            return
        from napari_niiv.plugin.export.result import add_result, open_result

        self.open_result.setEnabled(False)

        def opened(layer: tuple[Any, dict[str, Any]]) -> None:
            self.open_result.setEnabled(True)
            add_result(self.viewer, job, source, *layer)

        def failed(sentence: str) -> None:
            self.open_result.setEnabled(True)
            self._fail(sentence)

        self._background.run(lambda: open_result(job), opened, failed)

    def look(self) -> None:
        """Find out what would be written where, off the GUI thread, and show it."""
        self._look(self._show_found, lambda sentence: self._show_found(None, sentence))

    # reactions

    def _lay_out(self) -> None:
        layout = QVBoxLayout(self)
        layout.addWidget(self.title)
        layout.addWidget(self.form.native)
        for label in (self.title, self.summary, self.question, self.status):
            label.setWordWrap(True)
            label.setTextFormat(Qt.TextFormat.PlainText)
        told: tuple[QWidget, ...] = (self.summary, self.progress, self.status, self.question)
        for widget in told:
            layout.addWidget(widget)
        self.title.setStyleSheet("font-weight: bold")
        self.status.setStyleSheet("font-weight: bold")
        buttons = QHBoxLayout()
        for button in (self.discard, self.anew, self.start, self.open_result, self.cancel):
            button.setAutoDefault(False)  # Enter in a field is no order to begin
            buttons.addWidget(button)
        layout.addStretch(1)
        layout.addLayout(buttons)
        self.setMinimumWidth(WIDTH)

    def _connect(self) -> None:
        self.start.clicked.connect(self.press)
        self.anew.clicked.connect(self.start_anew)
        self.discard.clicked.connect(self.discard_unfinished)
        self.cancel.clicked.connect(self.stop)
        self.open_result.clicked.connect(self.open_in_napari)
        self.form.changed.connect(self._changed)

    def showEvent(self, event: QShowEvent | None) -> None:
        """Follow the viewer."""
        super().showEvent(event)
        if self.worker is None:
            with self.form.changed.blocked():
                self.form.project.value = self.live_layers.settings.project
            self._seen = None
            self._follow()
        self._watch.start()

    def hideEvent(self, event: QHideEvent | None) -> None:
        """Rest."""
        super().hideEvent(event)
        self._watch.stop()

    def _follow(self) -> None:
        """Look again if layer, model or part are no longer what they were."""
        if self.worker is not None or self._beginning:
            return
        layer = self._chosen()
        if layer is not self.form.layer:
            self.form.choose_layer(layer)
        if (seen := self._signature(layer)) != self._seen:
            self._seen = seen
            self.look()

    def _signature(self, layer: Image | None) -> Any:
        if layer is None or self.live_layers.model is None:
            return layer
        place = np.asarray(layer.affine.affine_matrix).tobytes()
        try:
            box: Any = self.form.settings().box
        except NiivError as error:
            box = str(error)
        own = (layer.name, *layer.scale, *layer.translate, *np.ravel(layer.rotate), *layer.shear)
        return id(layer), id(layer.data), place, own, box, self.live_layers.model is None

    def _changed(self, value: Any = None) -> None:
        """Something in the form is another."""
        self._beginning = False  # that was not meant
        self._say("")
        self.look()

    def _look(self, then: Callable[[ExportPreview], None], failed: Callable[[str], None]) -> None:
        self._looking += 1
        number = self._looking
        if self.live_layers.model is None:
            failed(_LOADING if self.form.layer is not None else "Choose a layer in Isotropic reconstruct.")
            return
        try:
            settings = self.form.settings()
        except NiivError as error:
            failed(str(error))
            return

        def newest(answer: Callable[[Any], None]) -> Callable[[Any], None]:
            return lambda outcome: answer(outcome) if number == self._looking else None

        self._background.run(lambda: preview_export(settings), newest(then), newest(failed))

    @property
    def _exists(self) -> bool:
        return self.found is not None and self.found.exists

    @property
    def _begun(self) -> bool:
        return self.found is not None and self.found.begun

    @property
    def _resumable(self) -> bool:
        return self.found is not None and self.found.resumable is not None

    def _show_found(self, found: ExportPreview | None, problem: str = "") -> None:
        self.found = found
        if self.worker is not None:
            return
        if found is None:
            self.summary.setText(for_buttons(problem))
        else:
            self.form.show_output(found.job.target)
            part = _RECTANGLE if found.job.config.box is not None else ""
            lines = [found.words, part, found.warning, self._axes_words()]
            self.summary.setText("\n".join(line for line in lines if line))
        self._show_state()

    def _axes_words(self) -> str:
        layer = self.form.layer
        if layer is None or along_world(layer):
            return ""
        return (
            "The layer is rotated, sheared or mirrored in napari: the file is written along the layer's own axes, "
            "without that."
        )

    def _begin(self, how: str) -> None:
        """Start if what was asked for is still what is there."""

        def start(found: ExportPreview) -> None:
            self._beginning = False
            agreed = how == "new" and not (found.exists or found.begun)
            agreed = agreed or (how == "replace" and (self._exists or not found.exists))
            agreed = agreed or (how == "resume" and found.resumable is not None)
            same = self.found is None or self.found.job.target == found.job.target
            if not (agreed and same):
                self._show_found(found)  # the question is another one now
                return
            self._run(
                found.replacing if how == "replace" else found.resumable if how == "resume" else found.job
            )

        def refused(sentence: str) -> None:
            self._beginning = False
            self._fail(sentence)

        self._beginning = True
        self._look(start, refused)

    def _run(self, job: ExportJob | None) -> None:
        from napari_niiv.plugin.export.log import ExportLog

        model = self.live_layers.model
        if job is None or model is None or self.worker is not None:
            return
        self.job, self._source, self._log = job, self.form.layer, ExportLog(job.flat)
        self.worker = EventWorker(self, lambda: job.start(model), "export")
        self.worker.received.connect(self._hear)
        self.worker.ended.connect(self._ended)
        self.cancel.setText("Cancel")
        self.cancel.setEnabled(True)
        self._show_state()
        self._show_progress()
        self.worker.begin()

    def _hear(self, event: Any) -> None:
        from napari_niiv.export.events import ExportNotice

        self._log.add(event)
        if isinstance(event, ExportNotice):
            show_warning(event.message)
        self._show_progress()

    def _show_progress(self) -> None:
        log, job = self._log, self.job
        assert job is not None
        self.progress.setValue(round(_WHOLE * log.fraction))
        self.progress.setFormat(f"%p % · {log.left}" if log.left else "%p %")
        output = f": {log.output}" if log.output else ""
        self.summary.setText(f"{job.volume.name}, to {job.target}{output}")
        self._say(log.words)
        self.told.emit(f"Exporting… {int(100 * log.fraction)} %")

    def _ended(self, problem: str) -> None:
        from napari_niiv.plugin.export.log import outcome

        worker, self.worker = self.worker, None
        assert worker is not None
        assert self.job is not None
        worker.deleteLater()
        sentence = outcome(self._log, problem, self.job.target)
        self.told.emit("")
        if self._log.finished is not None:
            self.form.next_output()
        self._say(sentence)
        (show_error if problem else show_info)(sentence)
        self.found = None
        self._show_state()
        self._follow()
        self.look()

    def _show_state(self) -> None:
        """Make the buttons agree with what can be done."""
        running = self.worker is not None
        finished = self._log is not None and self._log.finished is not None
        layer = self.form.layer
        self.title.setText("" if layer is None else layer.name)
        self.title.setVisible(not running and layer is not None)
        self.form.visible = not running
        self.progress.setVisible(running)
        self.cancel.setVisible(running)
        self.open_result.setVisible(finished and not running)
        self.start.setVisible(not running)
        self.anew.setVisible(not running and self._resumable)
        self.discard.setVisible(not running and self._begun)
        anew = "Start anew"
        self.start.setText(
            "Resume"
            if self._resumable
            else anew
            if self._begun
            else "Replace it"
            if self._exists
            else "Export"
        )
        self.question.setText(_MEANWHILE if running else self.found.question if self.found else "")
        self.question.setVisible(bool(self.question.text()))
        self.status.setVisible(bool(self.status.text()))
        self._fit.start()

    def _say(self, sentence: str) -> None:
        self.status.setText(sentence)
        self.status.setVisible(bool(sentence))
        self._fit.start()

    def _fit_height(self) -> None:
        """Be as high as what is shown needs."""
        layout = self.layout()
        assert layout is not None
        if (height := layout.totalHeightForWidth(self.width())) != self.height():
            self.resize(self.width(), height)

    def _fail(self, sentence: str) -> None:
        sentence = for_buttons(sentence)
        self._say(sentence)
        show_error(sentence)
