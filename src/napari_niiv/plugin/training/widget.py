"""The dock widget "Train on this volume"."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from napari import Viewer
from napari.layers import Image
from napari.utils.notifications import show_error, show_info
from napari.utils.theme import get_theme
from qtpy.QtCore import QSize, Qt
from qtpy.QtGui import QShowEvent
from qtpy.QtWidgets import (
    QDockWidget,
    QFrame,
    QLabel,
    QProgressBar,
    QPushButton,
    QScrollArea,
    QVBoxLayout,
    QWidget,
)

from napari_niiv.errors import NiivError
from napari_niiv.io.remembered_settings import remember_fit
from napari_niiv.plugin.common.background import Background
from napari_niiv.plugin.common.channels import channels_of, channels_words
from napari_niiv.plugin.common.connections import when_destroyed
from napari_niiv.plugin.common.docks import Tabbed, open_dock, opened
from napari_niiv.plugin.common.event_worker import EventWorker
from napari_niiv.plugin.common.forms import Leaving, wrapped
from napari_niiv.plugin.common.layers import FITTED
from napari_niiv.plugin.common.scrolling import SCROLL_BAR, ScrollingForm, Yielding
from napari_niiv.plugin.common.timers import single_shot
from napari_niiv.plugin.common.words import WINDOW_WORDS, bytes_of, with_short_names
from napari_niiv.plugin.files.layer_file import LayerFile, layer_file
from napari_niiv.plugin.manifest_names import WIDGET
from napari_niiv.plugin.training.curves import Curves
from napari_niiv.plugin.training.form import NOTHING, TrainingForm
from napari_niiv.plugin.training.log import TrainingLog, outcome
from napari_niiv.plugin.training.settings import (
    TrainingSettings,
    devices_and_state_path,
    warm_up,
)
from napari_niiv.plugin.training.start import StartChoice
from napari_niiv.training.events import Event, Notice, Validation

# between two drawings of the curves
DRAW_MS = 500
# from a drawing until it is painted
SETTLE_MS = 20
_LOADING, _TRAIN, _RESUME = "Loading…", "Train on this volume", "Resume training"
_STOP, _STOPPING = "Stop", "Stopping…"
KEEPS = "Stopped, it keeps its best model so far, and can be resumed."
CLOSED = "The training stops, as its tab was closed; it keeps its best model so far, if there is one."
# of the progress bar
_WHOLE = 1000


class TrainOnVolume(QScrollArea):
    """One button fits a model to a layer; the live view follows.

    Parameters
    ----------
    napari_viewer : Viewer
    """

    def __init__(self, napari_viewer: Viewer) -> None:
        super().__init__()
        self.viewer = napari_viewer
        self.form = TrainingForm(napari_viewer)
        self.worker: EventWorker | None = None
        self.log = TrainingLog()
        # that is being trained on
        self._layer: Image | None = None
        self._file: LayerFile | None = None  # of that layer
        self._settings: TrainingSettings | None = None
        self._orphaned = False
        self._dock: QDockWidget | None = None  # that it is in
        self._said = ""  # of where the training starts from
        self._refused = False  # whether the status says why there was no training
        self._previewing = False  # whether the other widget was opened in this training
        self._content = Yielding()
        self.button = QPushButton(_TRAIN)
        self.button.setToolTip("starts the training, or stops it; the best model so far is kept")
        self.progress = QProgressBar()
        self.progress.setRange(0, _WHOLE)
        self.summary, self.status, self.gain = QLabel(), QLabel(), QLabel()
        self.curves = Curves(*self._colours())
        self._lay_out()
        self._background = Background(self, self._fail)
        self._drawing = single_shot(self, DRAW_MS, self._draw_news)
        self._undrawn = False
        self._reveal = single_shot(self, SETTLE_MS, lambda: self._content.setUpdatesEnabled(True))
        # napari is not through with a dock while it is shown
        self._sizing = single_shot(self, 0, self._find_size)
        self._leaving, self._tabbed = Leaving(self), Tabbed(self)
        self._connect()
        self._start = StartChoice(self.form, self._background.run, self._show_state, self._say, self._correct)
        self._start.begin()
        self._background.run(devices_and_state_path, self._know)
        # what fails there will fail again
        self._background.run(warm_up, lambda _: None, lambda sentence: None)

    # what the user does

    def toggle(self) -> None:
        """Train, or stop training."""
        if self.worker is not None:
            self.stop()
        else:
            self.train()

    def train(self) -> None:
        """Start what the form says."""
        self.form.update_output()
        try:
            settings = self.form.settings()
        except NiivError as error:
            self._fail(error.in_words(WINDOW_WORDS))
            return
        self._settings, self._layer = settings, self.form.layer.value
        self._file = layer_file(self._layer)
        self._start.frozen = True
        self._orphaned = self._previewing = False
        config = settings.config
        self.log = TrainingLog(goes_on=config.init is not None and not config.resume)
        self.worker = EventWorker(self, settings.start, "training", KEEPS)
        self.worker.received.connect(self._receive)
        self.worker.stopping.connect(self._show_stopping)
        self.worker.ended.connect(self._ended)
        trained = channels_words(self._layer, channels_of(self.viewer, self._layer))
        start = "resumed" if config.resume else f"from {Path(config.init or NOTHING).name}"
        self.summary.setText(with_short_names(f"{trained}, {start}, to {config.output.name}"))
        self.summary.setToolTip(str(config.output))
        self._show_state()
        self._draw()
        self.worker.begin()

    def stop(self) -> None:
        """End the training after what it is doing; the best model so far stays."""
        if self.worker is not None:
            self.worker.stop()

    def start_from(self, layer: Image | None, checkpoint: str | None) -> None:
        """Offer to train on this layer, from the checkpoint that is in use, if it can be trained on."""
        if self.worker is None:
            self.form.choose_layer(layer)
            self._start.look_up(checkpoint or self.form.init.value)

    def reset_choices(self, event: Any = None) -> None:
        """Offer the layers anew; napari calls it when one comes, goes or is renamed."""
        self.form.reset_choices()

    # reactions

    def _come_to_front(self, visible: bool) -> None:
        if visible:
            self._start.follow()
            self._sizing.start()

    def _find_size(self) -> None:
        """Have the other widget find the layer's voxel size, or ask for it, where napari did not read it."""
        if self.worker is None and self._start.unscaled and opened(self.viewer, WIDGET) is None:
            open_dock(self.viewer, WIDGET, behind=True)

    def _lay_out(self) -> None:
        inner = self._content
        layout = QVBoxLayout(inner)
        layout.setContentsMargins(9, 6, 9, 6)
        self._settings_area = ScrollingForm(self.form.native)
        layout.addWidget(self._settings_area)
        shown: tuple[QWidget, ...] = (self.progress, self.status, self.gain, self.curves)
        for widget in (self.summary, self.button, *shown):
            layout.addWidget(widget, 1 if widget is self.curves else 0)
        for label in (self.summary, self.status, self.gain):
            wrapped(label)
        self.gain.setStyleSheet("font-weight: bold")
        self.gain.setAlignment(Qt.AlignmentFlag.AlignTop)
        # lest the plots move when it is known
        self.gain.setMinimumHeight(4 * self.gain.fontMetrics().lineSpacing())
        for widget in (self.summary, *shown):
            widget.hide()
        layout.addStretch(0)
        self.setWidget(inner)
        self.setWidgetResizable(True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setMinimumWidth(inner.minimumSizeHint().width() + SCROLL_BAR)

    def sizeHint(self) -> QSize:
        """Of the whole content, so that nothing need be scrolled where there is room."""
        layout, hint = self._content.layout(), self._content.sizeHint()
        assert layout is not None
        return QSize(
            hint.width() + SCROLL_BAR,
            max(hint.height(), layout.totalHeightForWidth(self.width() - SCROLL_BAR)),
        )

    def showEvent(self, event: QShowEvent | None) -> None:
        """Be told when the dock comes to the front of its tabs: another checkpoint may have been chosen meanwhile."""
        super().showEvent(event)
        dock = self.parent()
        if isinstance(dock, QDockWidget) and dock is not self._dock:
            self._dock = dock
            dock.visibilityChanged.connect(self._come_to_front)

    def _connect(self) -> None:
        self.button.clicked.connect(self.toggle)
        self.form.resume.changed.connect(self._show_state)
        self.form.layer.changed.connect(self._forget_outcome)
        for event in (self.form.changed, *(each.changed for each in (self.form.init, self.form.psf, self.form.vgg))):
            event.connect(self._correct)
        layers, theme = self.viewer.layers.events, self.viewer.events.theme
        for event in (layers.inserted, layers.removed):
            event.connect(self._layers_changed)
        theme.connect(self._recolour)

        def gone() -> None:  # must not touch the widget, whose Qt part no longer exists
            for event in (layers.inserted, layers.removed):
                event.disconnect(self._layers_changed)
            theme.disconnect(self._recolour)
            if self.worker is not None:
                show_info(CLOSED)
                if self.log.checkpoint is not None and not self.log.learnt:
                    self._go_back(self.log.checkpoint)

        when_destroyed(self, gone)

    def _layers_changed(self, event: Any) -> None:
        self.form.reset_choices()
        if self.worker is not None and not self._orphaned and self._layer not in self.viewer.layers:
            self._orphaned = True
            self.stop()

    def _say(self, sentence: str) -> None:
        """Say why the training starts from something else, or no more; how the last one ended stays."""
        if sentence or self.status.text() == self._said:
            self.status.setText(sentence)
            self.status.setVisible(bool(sentence))
            self._said = sentence

    def _know(self, known: tuple[list[str], Any]) -> None:
        self.form.know(*known)
        self._show_state()

    def _colours(self) -> tuple[str, str]:
        theme = get_theme(self.viewer.theme)
        return theme.text.as_hex(), theme.background.as_hex()

    def _recolour(self, event: Any = None) -> None:
        self.curves.recolour(*self._colours())

    def _receive(self, event: Event) -> None:
        self.log.add(event)
        if not self._previewing or (isinstance(event, Validation) and event.checkpoint is not None):
            self._preview(event.checkpoint if isinstance(event, Validation) and self.log.presentable else None)
        if isinstance(event, Notice):
            show_info(event.message)
        self._undrawn = True
        if not self._drawing.isActive():
            self._draw_news()

    def _draw_news(self) -> None:
        """Show what is new, at most twice a second."""
        if self._undrawn and self.worker is not None:
            self._undrawn = False
            # painted once, when layouts and scenes are through with it: every time costs the whole window
            self._content.setUpdatesEnabled(False)
            self._draw()
            self._reveal.start()
            self._drawing.start()

    def _draw(self) -> None:
        log = self.log
        self.progress.setUpdatesEnabled(False)  # Qt would paint the window at once for each of these
        self.progress.setValue(round(_WHOLE * log.fraction))
        self.progress.setFormat(f"%p % · {log.left}" if log.left else "%p %")
        self.progress.setUpdatesEnabled(True)
        self.status.setText(with_short_names(log.words))
        self.status.setToolTip(log.pace)
        words = log.gain_words or "how good it is will be told after its first trial"
        self.gain.setText(f"{words[:1].upper()}{words[1:]}.")
        self.curves.show_progress(log.losses, log.validations)

    def _preview(self, checkpoint: Path | None) -> None:
        """Let the live view follow: it opens with the training; if it is closed meanwhile it stays closed."""
        if self._previewing and opened(self.viewer, WIDGET) is None:
            return
        widget = open_dock(self.viewer, WIDGET, behind=True)
        if not self._previewing and self._layer in self.viewer.layers:
            widget.layer.value = self._layer
        self._previewing = True
        if checkpoint is not None:
            widget.use_checkpoint(self._layer, checkpoint)

    def _go_back(self, unused: Path) -> None:
        """Use what the training began with, as what came of it is no better."""
        widget, settings = opened(self.viewer, WIDGET), self._settings
        before = None if settings is None else settings.config.init
        if widget is not None and before is not None and widget.models.checkpoint_of(self._layer) == str(unused):
            widget.use_checkpoint(self._layer, before)

    def _forget_outcome(self, value: Any = None) -> None:
        """Another layer is chosen: what came of the last training says nothing of it."""
        if self.worker is None:
            self._refused = False
            self.status.clear()
            for widget in (self.curves, self.status):
                widget.hide()
        self._show_state()

    def _correct(self, value: Any = None) -> None:
        """What a training was refused for may be put right: the sentence goes."""
        if self._refused:
            self._forget_outcome()

    def _show_stopping(self) -> None:
        self.button.setText(_STOPPING)
        self.button.setEnabled(False)

    def _ended(self, problem: str) -> None:
        worker, self.worker = self.worker, None
        settings, log = self._settings, self.log
        assert worker is not None
        assert settings is not None
        worker.deleteLater()
        self._drawing.stop()
        earlier = settings.config.output if settings.config.resume else None
        kept = log.checkpoint or (earlier if earlier is not None and earlier.is_file() else None)
        deleted = self._layer.name if self._orphaned and self._layer else ""
        log.words = outcome(log, problem, kept, deleted, self._unfinished(settings.config.output))
        if log.checkpoint is not None and log.learnt:
            if self._previewing:
                self._previewing = False  # opened again if it was closed
                self._preview(log.checkpoint)
            self._remember(log.checkpoint)
        elif log.checkpoint is not None:
            self._go_back(log.checkpoint)
        self._layer = None
        self._start.frozen = False
        self._refused = bool(problem) and not log.learnt
        if self._orphaned:
            self._start.look_up()
        else:
            self._start.follow(quietly=True)  # the next goes on from what came of this one
        with self.form.resume.changed.blocked():
            left = bool(self._unfinished(settings.config.output))  # there may be an older one, of another checkpoint
            stopped = log.finished is None and not self._orphaned and not problem
            self.form.resume.value = left and (stopped or (self._refused and settings.config.resume))
        self.form.update_output()
        self._show_state()
        self._draw()
        self.curves.setVisible(bool(log.losses))
        if problem:
            show_error(log.words)
        else:
            show_info(log.words)

    def _unfinished(self, output: Path) -> str:
        """The file from which the training can be resumed, and its size; empty if there is none."""
        try:
            state = output if self.form.state_path is None else self.form.state_path(output)
            return f"{state} ({bytes_of(state.stat().st_size)})" if state != output else ""
        except OSError:
            return ""

    def _remember(self, checkpoint: Path) -> None:
        """Have the checkpoint offered when the layer's file is opened again, and used when the other widget is."""
        if self._layer is not None:
            self._layer.metadata[FITTED] = str(checkpoint)
        if (file := self._file) is not None:
            self._background.run(
                lambda: remember_fit(file.path, checkpoint, file.dataset), lambda _: None, failed=show_error
            )

    def _show_state(self, value: Any = None) -> None:
        """Make the widget agree with whether a training runs."""
        running = self.worker is not None
        self._settings_area.setVisible(not running)
        self.form.visible = not running
        self.summary.setVisible(running)
        self.button.setEnabled(running or (self.form.state_path is not None and self._start.known))
        words = _STOP if running else _RESUME if self.form.resuming else _TRAIN
        self.button.setText(words if self.form.state_path is not None else _LOADING)
        self.progress.setVisible(running)
        self.gain.setVisible(running)
        if running:
            self.status.show()
            self.curves.show()

    def _fail(self, sentence: str) -> None:
        self._refused = self.worker is None
        self.status.setText(with_short_names(sentence))
        self.status.setToolTip(sentence)
        self.status.show()
        self._show_state()
        show_error(sentence)
