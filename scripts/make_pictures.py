"""Make the pictures of the live view in docs/images, in a real window: python scripts/make_pictures.py [FOLDER [FILE]]

Of FILE, which holds two channels, channels.png is made.

On Linux without a display run it through scripts/with_display.py.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import napari
import numpy as np
from napari._qt.dialogs.qt_notification import NapariQtNotification
from qtpy.QtGui import QImage
from qtpy.QtWidgets import QApplication
from vispy.gloo.glir import GlirProgram

from napari_niiv.plugin.common.docks import open_dock
from napari_niiv.plugin.demo import open_demo
from napari_niiv.plugin.manifest_names import TRAINING, WIDGET

GlirProgram.delete = lambda self: None  # Mesa 22 crashes in glDeleteProgram


def wait(until: Callable[[], bool], seconds: float = 120) -> None:
    end = time.perf_counter() + seconds
    while not until():
        QApplication.processEvents()
        time.sleep(0.002)
        if time.perf_counter() > end:
            raise SystemExit("timed out")


def rest(seconds: float = 1.0) -> None:
    end = time.perf_counter() + seconds
    wait(lambda: time.perf_counter() > end)


def main() -> None:
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "docs/images")
    channels = Path(sys.argv[2]) if len(sys.argv) > 2 else None
    viewer, widget = open_demo()

    def refined() -> None:
        rest(0.3)
        wait(lambda: widget.indicator.state == "refined")
        rest()

    def picture(name: str, canvas_only: bool = False) -> np.ndarray:
        for notification in viewer.window._qt_window.findChildren(NapariQtNotification):
            notification.hide()
        return viewer.screenshot(None if canvas_only else str(folder / name), canvas_only=canvas_only, flash=False)[
            ..., :3
        ]

    refined()
    picture("side_view.png")
    passes: dict[str, np.ndarray] = {}

    def note(shown: object) -> None:
        quality = shown.response.quality  # type: ignore[attr-defined]
        if shown.response.complete and quality not in passes:  # type: ignore[attr-defined]
            passes[quality] = picture("", canvas_only=True)

    widget.live.shown.connect(note)
    viewer.dims.set_current_step(1, viewer.dims.current_step[1] + 40)
    wait(lambda: len(passes) == 3)
    widget.live.shown.disconnect(note)
    parts = [passes[quality] for quality in ("placeholder", "fast", "refined")]
    middle = parts[0].shape[1] // 2, parts[0].shape[0] // 2
    crops = [p[middle[1] - 150 : middle[1] + 150, middle[0] - 200 : middle[0] + 200] for p in parts]
    _save(np.concatenate(crops, axis=1), folder / "passes.png")

    refined()
    widget.compare.split.value = True
    rest()
    picture("split.png")
    widget.compare.split.value = False
    widget.groups["Trust"].is_open = True
    widget.trust.disagreement.value = True
    refined()
    picture("trust.png")
    widget.trust.disagreement.value = False
    widget.groups["Trust"].is_open = False
    refined()
    widget.show_ortho(True)
    rest(15)
    viewer.reset_view()
    rest(15)
    picture("ortho.png")
    widget.show_ortho(False)
    rest()
    with tempfile.TemporaryDirectory(prefix="data-") as data:
        panel = widget.export.open()
        panel.form.output.value = str(Path(data) / "fib25-isotropic.zarr")
        panel.form.output.native.editingFinished.emit()
        wait(lambda: panel.preview is not None and panel.preview.job.target.parent == Path(data))
        panel.press()
        wait(lambda: panel.job is not None and 0.4 < panel.progress.value() / 1000 < 1)
        rest(0.1)
        panel.grab().save(str(folder / "export.png"))
        wait(lambda: panel.worker is None)
        layers = len(viewer.layers)
        panel.open_in_napari()
        wait(lambda: len(viewer.layers) > layers)
        panel.close()
        widget.on.value = False  # the file alone, beside its source
        viewer.canvas.grid.enabled = True
        viewer.reset_view()
        rest(3)
        picture("exported.png")
        viewer.canvas.grid.enabled = False
        viewer.layers.pop()
        viewer.reset_view()
        widget.on.value = True
        refined()
    viewer.dims.ndisplay = 3
    rest(2)
    wait(lambda: widget.indicator.state == "refined", 300)
    widget.volume_views.cut.axis.value = "y"
    widget.volume_views.cut.share.value = 30
    rest(3)
    _save(viewer.screenshot(canvas_only=False, flash=False)[..., :3], folder / "volume.jpg")
    viewer.dims.ndisplay = 2
    with tempfile.TemporaryDirectory(prefix="data-") as data:
        refined()
        viewer.layers.selection = {widget.layer.value}
        widget.open_training()
        training = next(each for name, each in viewer.window.dock_widgets.items() if TRAINING in name)
        wait(lambda: training.button.isEnabled() and training.form.state_path is not None)
        training.form.minutes.value = 5
        training.form.output.value = str(Path(data) / "fib25-niiv.safetensors")
        training.form.output.native.editingFinished.emit()
        training.toggle()
        log = training.log

        def gained() -> bool:
            return len(log.validations) >= 3 and log.learnt and log.validations[-1] is log.best

        wait(lambda: gained() or training.worker is None, 400)
        rest(1)
        picture("training.png")
        training.stop()
        wait(lambda: training.worker is None)
    viewer.close()
    if channels is not None:
        viewer = napari.Viewer()
        viewer.window.resize(1500, 950)
        widget = open_dock(viewer, WIDGET)
        widget.open_files([channels])
        wait(lambda: len(widget.live_layers) == 2)
        widget.select_checkpoint("lm")
        widget.show_side("xz")
        refined()
        viewer.reset_view()
        refined()
        wait(lambda: all(live.last is not None and live.last.final for live in widget.live_layers))
        rest()
        picture("channels.png")
        viewer.close()


def _save(picture: np.ndarray, path: Path) -> None:
    height, width, _ = picture.shape
    data = np.ascontiguousarray(picture)
    QImage(data.data, width, height, 3 * width, QImage.Format.Format_RGB888).save(str(path))


if __name__ == "__main__":
    main()
