"""The window in which a volume is exported, napari stays usable beside it; and the button that opens it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from magicgui.widgets import ComboBox, PushButton
from napari.components import ViewerModel
from napari.layers import Image
from napari.utils.notifications import show_error, show_info, show_warning
from qtpy.QtCore import QTimer, Signal
from qtpy.QtGui import QHideEvent, QShowEvent
from qtpy.QtWidgets import QWidget

from napari_niiv.errors import NiivError
from napari_niiv.events import Notice
from napari_niiv.plugin.common.background import Background
from napari_niiv.plugin.common.event_worker import EventWorker
from napari_niiv.plugin.common.layers import empty_values, repairs_of
from napari_niiv.plugin.common.words import WINDOW_WORDS
from napari_niiv.plugin.export.estimate import ExportEstimate
from napari_niiv.plugin.export.log import ExportLog, outcome
from napari_niiv.plugin.export.settings import ExportJob, ExportPreview, preview_export
from napari_niiv.plugin.export.window import ExportWindow
from napari_niiv.plugin.live.live_layers import LiveLayers
from napari_niiv.plugin.live.settings import LiveSettings

# between two checks of what the viewer shows
WATCH_MS = 500
KEEPS = "Stopped, it keeps the parts that are finished; Resume goes on from there."
EXPORT = "Export isotropic volume…"
_LOADING = "Loading the model…"


class ExportPanel(ExportWindow):
    """Asks where to write the isotropic volume of a layer, or of all channels that it is one of, writes and opens it.

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

    progress_text = Signal(str)  # how far the export is, in a few words; nothing when there is none

    def __init__(
        self,
        parent: QWidget,
        viewer: ViewerModel,
        live_layers: LiveLayers,
        chosen: Callable[[], Image | None],
    ) -> None:
        super().__init__(parent, viewer)
        self.viewer, self.live_layers, self._chosen = viewer, live_layers, chosen
        self.worker: EventWorker | None = None
        # what is known of the export that the form asks for
        self.preview: ExportPreview | None = None
        # the export that runs, or ran last, its layers, what they are called, and its events
        self.job: ExportJob | None = None
        self._sources: list[Image] = []
        self._exported = ""
        self._log = ExportLog()
        # counts the previews asked for: the answer to the last one counts
        self._generation = 0
        # the preview is awaited that starts an export
        self._beginning = False
        self._seen: Any = None
        # model and noise level of the live views, when the form took them
        self._told: Any = None
        self._background = Background(self, self._fail)
        self._estimate = ExportEstimate(self)
        self._watch = QTimer(self)
        self._watch.setInterval(WATCH_MS)
        self._watch.timeout.connect(self._follow)
        self._connect()
        self._show_state()

    # what the user does

    def press(self) -> None:
        """Export; or go on with what is there, or replace it, as the button says."""
        preview = self.preview
        if preview is None or not (preview.begun or preview.exists):
            self._begin("new")
        else:
            self._begin("replace" if preview.resumable is None else "resume")

    def start_anew(self) -> None:
        """Export in the place of an interrupted one."""
        self._begin("replace")

    def discard_unfinished(self) -> None:
        """Delete an interrupted export."""
        if self.preview is None:
            return
        target = self.preview.job.target

        def delete() -> None:
            from napari_niiv.export.store import discard

            discard(target)

        def deleted(_: Any) -> None:
            self.show_status(f"The interrupted export to {target.name} is deleted.")
            self.refresh_preview()

        self._background.run(delete, deleted)

    def stop(self) -> None:
        """End the export after what it is doing; what is finished is kept."""
        if self.worker is not None:
            self.worker.stop()

    def open_in_napari(self) -> None:
        """Show the result over its source."""
        job, sources = self.job, self._sources
        if job is None:
            return
        from napari_niiv.plugin.export.result import add_results, open_result

        self.open_result.setEnabled(False)

        def opened(layers: Any) -> None:
            self.open_result.setEnabled(True)
            if hidden := add_results(self.viewer, job, sources, layers):
                show_info(hidden)

        def failed(sentence: str) -> None:
            self.open_result.setEnabled(True)
            self._fail(sentence)

        self._background.run(lambda: open_result(job, len(sources)), opened, failed)

    def refresh_preview(self) -> None:
        """Find out what would be written where, and show it."""
        self._estimate.stop()
        self._request_preview(self._show_preview, lambda sentence: self._show_preview(None, sentence))

    # reactions

    def _connect(self) -> None:
        self.start.clicked.connect(self.press)
        self.anew.clicked.connect(self.start_anew)
        self.discard.clicked.connect(self.discard_unfinished)
        self.cancel.clicked.connect(self.stop)
        self.open_result.clicked.connect(self.open_in_napari)
        self.form.changed.connect(self._changed)
        self._estimate.changed.connect(self.show_estimate)
        self.live_layers.changed.connect(self._adopt_noise_level)

    def showEvent(self, event: QShowEvent | None) -> None:
        """Follow the viewer."""
        super().showEvent(event)
        if self.worker is None:
            with self.form.changed.blocked():
                self.form.project.value = self._settings.project
            self._show_noise_level()
            self._seen = None
            self._follow()
        self._watch.start()

    def hideEvent(self, event: QHideEvent | None) -> None:
        """Rest."""
        super().hideEvent(event)
        self._watch.stop()
        self._estimate.stop()

    def _follow(self) -> None:
        """Ask anew if layer, model or part are no longer what they were."""
        if self.worker is not None or self._beginning:
            return
        layer = self._chosen()
        if layer is not self.form.layer:
            self.form.choose_layer(layer)
            self._adopt_noise_level()
            if layer not in self._sources:
                self._name_result()
        self.form.follow_channels()
        estimates = {self.live_layers.estimate_of(each) for each in self.form.exported}
        self.form.denoise.show_estimate(estimates.pop() if len(estimates) == 1 else None)
        if (seen := self._signature(layer)) != self._seen:
            self._seen = seen
            self.refresh_preview()

    def _adopt_noise_level(self) -> None:
        """Take the noise level of the live views when they change it, or the model; other changes leave it."""
        settings = self._settings
        if (settings.model, settings.told) != self._told:
            self._show_noise_level()

    def _show_noise_level(self) -> None:
        settings = self._settings
        self._told = settings.model, settings.told
        self.form.denoise.show(settings)

    @property
    def _settings(self) -> LiveSettings:
        """Those of the layer that is exported."""
        return self.live_layers.settings_of(self.form.layer)

    def _signature(self, layer: Image | None) -> Any:
        if layer is None or self._settings.model is None:
            return layer
        try:
            box: Any = self.form.settings().config.box
        except NiivError as error:
            box = str(error)
        told = self._settings.model, self.form.denoise.value
        return self.form.words, *map(_state, self.form.exported), box, told

    def _changed(self, value: Any = None) -> None:
        """Something in the form is another."""
        self._beginning = False  # that was not meant
        self.show_status("")
        self._name_result()
        self.refresh_preview()

    def _name_result(self) -> None:
        """Something else would be exported now than what *Open in napari* opens."""
        self.name_result("" if self.job is None else self.job.target.name)

    def _request_preview(self, then: Callable[[ExportPreview], None], failed: Callable[[str], None]) -> None:
        self._generation += 1
        generation = self._generation
        if self._settings.model is None:
            failed(_LOADING if self.form.layer is not None else "Choose a layer in Isotropic reconstruct.")
            return
        try:
            settings = self.form.settings()
        except NiivError as error:
            failed(error.in_words(WINDOW_WORDS))
            return

        def newest(answer: Callable[[Any], None]) -> Callable[[Any], None]:
            return lambda outcome: answer(outcome) if generation == self._generation else None

        self._background.run(lambda: preview_export(settings), newest(then), newest(failed))

    def _show_preview(self, preview: ExportPreview | None, problem: str = "") -> None:
        self.preview = preview
        if self.worker is not None:
            return
        if preview is None:
            self.show_summary(problem)
        else:
            self.form.show_output(preview.job.target)
            lines = [preview.description, self.form.part_words, preview.warning, self.form.axes_words]
            self.show_summary("\n".join(line for line in lines if line))
            self._ask_estimate(preview)
        self._show_state()

    def _ask_estimate(self, preview: ExportPreview) -> None:
        model = self._settings.model
        if model is not None and self.isVisible() and not self._beginning:
            job = preview.resumable or preview.job
            self._estimate.ask(job, model, self._signature(self.form.layer), preview.missing)

    def _begin(self, how: str) -> None:
        """Start if what was asked for is still what is there.

        Parameters
        ----------
        how : {"new", "replace", "resume"}
        """

        def start(preview: ExportPreview) -> None:
            self._beginning = False
            before = self.preview
            replaceable = not preview.exists or (before is not None and before.exists)
            jobs = {
                "new": None if preview.exists or preview.begun else preview.job,
                "replace": preview.replacing if replaceable else None,
                "resume": preview.resumable,
            }
            job = jobs[how]
            if job is None or (before is not None and before.job.target != preview.job.target):
                self._show_preview(preview)  # the question is another one now
            else:
                self._run(job)

        def refused(sentence: str) -> None:
            self._beginning = False
            self._fail(sentence)

        self._beginning = True
        self._request_preview(start, refused)

    def _run(self, job: ExportJob) -> None:
        model = self._settings.model
        if model is None or self.worker is not None:
            return
        self.job, self._log = job, ExportLog(job.is_tiff)
        self.name_result("")
        self._sources, self._exported = list(self.form.exported), self.form.words
        self._estimate.stop()
        self.worker = EventWorker(self, lambda: job.start(model), "export", KEEPS, job.kept)
        self.worker.received.connect(self._receive)
        self.worker.stopping.connect(self._show_stopping)
        self.worker.ended.connect(self._ended)
        self.cancel.setText("Cancel")
        self.cancel.setEnabled(True)
        self._show_state()
        self._show_progress(job)
        self.worker.begin()

    def _show_stopping(self) -> None:
        self.cancel.setText("Cancelling…")
        self.cancel.setEnabled(False)

    def _receive(self, event: Any) -> None:
        self._log.add(event)
        if isinstance(event, Notice):
            show_warning(event.message)
        assert self.job is not None
        self._show_progress(self.job)

    def _show_progress(self, job: ExportJob) -> None:
        output = f": {self._log.output}" if self._log.output else ""
        self.show_summary(f"{self._exported}, to {job.target}{output}")
        self.show_progress(self._log)
        self.progress_text.emit(f"Exporting… {int(100 * self._log.fraction)} %")

    def _ended(self, problem: str) -> None:
        worker, self.worker = self.worker, None
        assert worker is not None
        worker.deleteLater()
        sentence = outcome(self._log, problem, worker.kept)
        self.progress_text.emit("")
        if self._log.finished is not None:
            self.form.next_output()
        self.show_status(sentence)
        (show_error if problem else show_info)(sentence)
        self.preview = None
        self._show_state()
        self._follow()
        self.refresh_preview()

    def _show_state(self) -> None:
        finished = self._log.finished is not None
        self.show_state(self.preview, running=self.worker is not None, finished=finished)

    def _fail(self, sentence: str) -> None:
        self.show_status(sentence)
        show_error(sentence)


def _state(layer: Image) -> Any:
    """What of a layer tells whether it is exported otherwise."""
    own = (layer.name, empty_values(layer), *layer.scale, *layer.translate, *np.ravel(layer.rotate), *layer.shear)
    return id(layer), id(layer.data), np.asarray(layer.affine.affine_matrix).tobytes(), own, repairs_of(layer)


class ExportControls:
    """A button that opens the export's window, and tells how far an export is.

    Parameters
    ----------
    viewer : ViewerModel
    live_layers : LiveLayers
    layer : ComboBox
        Where the layer to export is chosen.

    Attributes
    ----------
    panel : ExportPanel or None
        The window, once it was opened.
    rows : list of Widget
        To be put into a form.
    """

    def __init__(self, viewer: ViewerModel, live_layers: LiveLayers, layer: ComboBox) -> None:
        self._viewer, self._live_layers, self._layer = viewer, live_layers, layer
        self.panel: ExportPanel | None = None
        self.button = PushButton(text=EXPORT, tooltip="write the whole isotropic volume, or a part, to a file")
        self.rows = [self.button]
        self.button.changed.connect(self.open)

    def open(self, value: Any = None) -> ExportPanel:
        """Show the window."""
        if self.panel is None:
            self.panel = ExportPanel(self.button.native, self._viewer, self._live_layers, lambda: self._layer.value)
            self.panel.progress_text.connect(lambda text: setattr(self.button, "text", text or EXPORT))
        self.panel.show()
        self.panel.raise_()
        self.panel.activateWindow()
        return self.panel
