"""What the export's window shows: the form, texts, progress and buttons; `panel` gives it its behaviour."""

from __future__ import annotations

from napari.components import ViewerModel
from qtpy.QtWidgets import QDialog, QHBoxLayout, QLabel, QProgressBar, QPushButton, QVBoxLayout, QWidget

from napari_niiv.plugin.common.forms import wrapped
from napari_niiv.plugin.common.timers import single_shot
from napari_niiv.plugin.common.words import shortened, with_short_names
from napari_niiv.plugin.export.form import ExportForm
from napari_niiv.plugin.export.log import ExportLog
from napari_niiv.plugin.export.settings import ExportPreview

WIDTH = 460
# steps of the progress bar
_WHOLE = 1000
# characters of a word that a line of the window holds
_LONGEST = 56
# characters of a name that a button beside others holds
_LONGEST_RESULT = 28
_MEANWHILE = "napari can be used meanwhile, and this window closed: the button in Isotropic reconstruct opens it again."


class ExportWindow(QDialog):
    """The export's widgets, laid out; as high as what is shown needs.

    Parameters
    ----------
    parent : QWidget
    viewer : ViewerModel
        Its view can be chosen in the form.
    """

    def __init__(self, parent: QWidget, viewer: ViewerModel) -> None:
        super().__init__(parent)
        self.setWindowTitle("Export isotropic volume")
        self.form = ExportForm(viewer)
        self.title, self.summary, self.question, self.status = QLabel(), QLabel(), QLabel(), QLabel()
        self.estimate = QLabel()
        self.progress = QProgressBar()
        self.progress.setRange(0, _WHOLE)
        self.start, self.anew, self.discard = map(QPushButton, ("Export", "Start anew", "Discard"))
        self.cancel, self.open_result = map(QPushButton, ("Cancel", "Open in napari"))
        for button, tip in (
            (self.start, "writes the volume"),
            (self.anew, "leaves what an interrupted export has written, and begins again"),
            (self.discard, "deletes what an interrupted export has written"),
            (self.cancel, "stops the export; what is finished is kept, and it can be resumed"),
            (self.open_result, "shows the volume that was written over its source"),
        ):
            button.setToolTip(tip)
        self._lay_out()
        # once the layout knows of what has just been shown
        self._fit = single_shot(self, 0, self._fit_height)

    def _lay_out(self) -> None:
        layout = QVBoxLayout(self)
        layout.addWidget(self.title)
        layout.addWidget(self.form.native)
        for label in (self.title, self.summary, self.estimate, self.question, self.status):
            wrapped(label)
        outputs: tuple[QWidget, ...] = (self.summary, self.estimate, self.progress, self.status, self.question)
        for widget in outputs:
            layout.addWidget(widget)
        self.title.setStyleSheet("font-weight: bold")
        self.status.setStyleSheet("font-weight: bold")
        buttons = QHBoxLayout()
        for button in (self.discard, self.anew, self.start, self.open_result, self.cancel):
            buttons.addWidget(button)
        layout.addStretch(1)
        layout.addLayout(buttons)
        for button in self.findChildren(QPushButton):
            button.setAutoDefault(False)  # Enter in a field is no order to begin, nor to browse
        self.setMinimumWidth(WIDTH)

    def show_state(self, preview: ExportPreview | None, *, running: bool, finished: bool) -> None:
        """Make what is shown agree with what can be done.

        Parameters
        ----------
        preview : ExportPreview or None
            What is known of the export that the form asks for.
        running : bool
            Whether an export is under way.
        finished : bool
            Whether one was completed last.
        """
        begun = preview is not None and preview.begun
        resumable = preview is not None and preview.resumable is not None
        exists = preview is not None and preview.exists
        self.title.setText(with_short_names(self.form.words, _LONGEST))
        self.title.setToolTip(self.form.words)
        self.title.setVisible(not running and self.form.layer is not None)
        self.form.visible = not running
        self.estimate.setVisible(not running and preview is not None and bool(self.estimate.text()))
        self.progress.setVisible(running)
        self.cancel.setVisible(running)
        self.open_result.setVisible(finished and not running)
        self.start.setVisible(not running)
        self.anew.setVisible(not running and resumable)
        self.discard.setVisible(not running and begun)
        replacing = "Start anew" if begun else "Replace it" if exists else "Export"
        self.start.setText("Resume" if resumable else replacing)
        self.question.setText(_MEANWHILE if running else preview.question if preview else "")
        self.question.setVisible(bool(self.question.text()))
        self.show_status(self.status.toolTip())

    def show_status(self, sentence: str) -> None:
        """Show what was done last, or nothing."""
        self.status.setText(with_short_names(sentence, _LONGEST))
        self.status.setToolTip(sentence)
        self.status.setVisible(bool(sentence))
        self._fit.start()

    def name_result(self, name: str) -> None:
        """Name the file that is opened on the button that opens it; without a name, the status tells it."""
        self.open_result.setText(f"Open {shortened(name, _LONGEST_RESULT)} in napari" if name else "Open in napari")

    def show_estimate(self, words: str) -> None:
        """Show what the export will take, or nothing."""
        self.estimate.setText(words)
        self.estimate.setVisible(bool(words))
        self._fit.start()

    def show_summary(self, text: str) -> None:
        """Show what is, or would be, written."""
        self.summary.setText(with_short_names(text, _LONGEST))
        self.summary.setToolTip(text)

    def show_progress(self, log: ExportLog) -> None:
        """Show how far the export is that runs."""
        self.progress.setValue(round(_WHOLE * log.fraction))
        self.progress.setFormat(f"%p % · {log.remaining}" if log.remaining else "%p %")
        self.show_status(log.message)

    def _fit_height(self) -> None:
        layout = self.layout()
        assert layout is not None
        if (height := layout.totalHeightForWidth(self.width())) != self.height():
            self.resize(self.width(), height)
