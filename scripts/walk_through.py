"""A first hour with the plugin, step by step in a real window: python scripts/walk_through.py FOLDER

Opens napari, the plugin from napari's menus and files as a user would, does what a user does, looks whether it was
done, and takes a picture of the window after each step: FOLDER/01 ….png. Ends at the first step that fails. On Linux
without a display run it through scripts/with_display.py.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import napari
import numpy as np
import tifffile
import zarr
from napari.utils.notifications import notification_manager
from qtpy.QtCore import QEvent, QEventLoop, QMimeData, QPoint, QPointF, Qt, QTimer, QUrl
from qtpy.QtGui import QDragEnterEvent, QDropEvent
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication, QDockWidget, QLineEdit, QTabBar, QWidget
from vispy.gloo.glir import GlirProgram

from napari_niiv.plugin.common.closing import KEEP, ClosingQuestion
from napari_niiv.plugin.common.layers import FROZEN, LIVE
from napari_niiv.plugin.manifest_names import TRAINING, WIDGET

GlirProgram.delete = lambda self: None  # Mesa 22 crashes in glDeleteProgram

SIZE = 1280, 800
SAMPLE = Path(__file__).resolve().parents[1] / "src" / "napari_niiv" / "plugin" / "data" / "fib25_8x.tif"
STEPS: list[tuple[str, Callable[[Walk], None]]] = []


def step(words: str) -> Callable[[Callable[[Walk], None]], Callable[[Walk], None]]:
    """Make a function the next step, and say what the user does in it."""

    def register(function: Callable[[Walk], None]) -> Callable[[Walk], None]:
        STEPS.append((words, function))
        return function

    return register


class Walk:
    """A window, and what a user can do to it.

    Parameters
    ----------
    folder : Path
        Of the files that are opened and written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.viewer = napari.Viewer()
        self.window.resize(*SIZE)
        self.rest(1)

    @property
    def window(self) -> Any:
        """The main window."""
        return self.viewer.window._qt_window

    @property
    def widget(self) -> Any:
        """The widget "Isotropic reconstruct"."""
        return self.docked(WIDGET)

    def docked(self, name: str) -> Any:
        """The widget in a dock of that name; None if there is none."""
        found = [widget for title, widget in self.viewer.window.dock_widgets.items() if name in title]
        return found[0] if found else None

    def rest(self, seconds: float = 0.3) -> None:
        """Let the window live, in an event loop as napari does: in none, what is deleted later never is."""
        loop = QEventLoop()
        QTimer.singleShot(round(1000 * seconds), loop.quit)
        loop.exec()

    def wait(self, until: Callable[[], Any], what: str, seconds: float = 90) -> None:
        """Let the window live until something is true."""
        end = time.monotonic() + seconds
        while not until():
            self.rest(0.01)
            if time.monotonic() > end:
                raise AssertionError(f"{what} did not come; the status is {self.status!r}")

    def refined(self) -> None:
        """Wait for the last picture of the view."""
        self.rest()
        self.wait(lambda: self.widget.indicator.state in ("refined", "measured"), "the refined picture")

    @property
    def status(self) -> str:
        """The sentence that the widget shows."""
        return "" if self.widget is None else str(self.widget.status.value)

    def trigger(self, name: str) -> None:
        """Choose an entry of napari's menu Plugins."""

        def entries(menu: Any) -> Iterator[Any]:
            menu.aboutToShow.emit()
            for action in menu.actions():
                if action.menu():
                    yield from entries(action.menu())
                else:
                    yield action

        for top in self.window.menuBar().actions():
            if top.menu() and "Plugins" in top.text():
                for action in entries(top.menu()):
                    if name in action.text():
                        action.trigger()
                        return
        raise AssertionError(f"the menu has no entry {name!r}")

    def click(self, widget: Any) -> None:
        """Press a button, of Qt or magicgui, at its left, where a checkbox has its mark."""
        native = getattr(widget, "native", widget)
        QTest.mouseClick(native, Qt.MouseButton.LeftButton, pos=QPoint(8, native.height() // 2))
        self.rest(0.1)

    def to_front(self, name: str) -> None:
        """Click the tab of a dock, whose text may be cut."""
        for bar in self.window.findChildren(QTabBar):
            for index in range(bar.count()):
                if bar.tabText(index).startswith(name):
                    QTest.mouseClick(bar, Qt.MouseButton.LeftButton, pos=bar.tabRect(index).center())
        self.rest(0.1)

    def drop(self, on: QWidget, *paths: Path) -> None:
        """Drop files."""
        mime = QMimeData()
        mime.setUrls([QUrl.fromLocalFile(str(path)) for path in paths])
        buttons = Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
        copy = Qt.DropAction.CopyAction
        QApplication.sendEvent(on, QDragEnterEvent(QPointF(5, 5).toPoint(), copy, mime, *buttons))
        QApplication.sendEvent(on, QDropEvent(QPointF(5, 5), copy, mime, *buttons, QEvent.Type.Drop))
        self.rest(0.3)

    def drop_on_widget(self, *paths: Path) -> None:
        """Drop files on the plugin's widget."""
        self.drop(self.widget.native, *paths)

    def drop_on_canvas(self, *paths: Path) -> None:
        """Drop files on napari's canvas."""
        self.drop(self.viewer.window._qt_viewer, *paths)

    @property
    def live(self) -> list[Any]:
        """The live layers."""
        return [layer for layer in self.viewer.layers if LIVE in layer.metadata]

    @property
    def errors(self) -> list[str]:
        """What napari has notified of as errors."""
        return [str(note.message) for note in notification_manager.records if note.severity.value == "error"]

    def picture(self, path: Path) -> None:
        """Save what the window shows, and other windows beside it."""
        self.rest(0.3)
        self.window.grab().save(str(path))
        others = [other for other in QApplication.topLevelWidgets() if other.isVisible() and other is not self.window]
        for number, other in enumerate(others, 1):
            other.grab().save(str(path.with_stem(f"{path.stem} window {number}")))

    def fits_the_screen(self) -> None:
        """The window has not grown."""
        assert (self.window.width(), self.window.height()) == SIZE, "the window has grown"


def _volume(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    """Smooth blobs, 8 bit."""
    from scipy.ndimage import gaussian_filter

    noise = np.random.default_rng(seed).random(shape)
    smooth = gaussian_filter(noise, (*[0] * (len(shape) - 3), 0.8, 3, 3))
    low, high = smooth.min(), smooth.max()
    return np.asarray(20 + 200 * (smooth - low) / (high - low), np.uint8)


@step("open the widget from napari's menu")
def _(walk: Walk) -> None:
    walk.trigger(WIDGET)
    walk.wait(lambda: walk.widget is not None, "the widget")
    walk.trigger(WIDGET)
    walk.rest()
    assert sum(WIDGET in title for title in walk.viewer.window.dock_widgets) == 1
    walk.fits_the_screen()


@step("open a volume with napari; it goes live")
def _(walk: Walk) -> None:
    walk.drop_on_canvas(SAMPLE)
    walk.wait(lambda: walk.live, "the live layer")
    walk.wait(lambda: "measured" in walk.status, "the status of the xy plane")
    assert not walk.errors


@step("look from the side")
def _(walk: Walk) -> None:
    walk.click(walk.widget.planes.buttons["xz"])
    walk.refined()
    assert "nm" in walk.status


@step("scroll with the slider")
def _(walk: Walk) -> None:
    axis = walk.viewer.dims.order[0]
    for index in range(100, 112):
        walk.viewer.dims.set_current_step(axis, index)
        walk.rest(0.03)
    walk.refined()


@step("zoom in: the picture is computed for the screen")
def _(walk: Walk) -> None:
    pixel = walk.widget.live.last.pixel_size
    walk.viewer.scene.camera.zoom *= 3
    walk.wait(lambda: walk.widget.live.last.pixel_size < pixel / 2, "a picture of smaller pixels")
    walk.refined()
    walk.viewer.reset_view()
    walk.refined()


@step("hold to compare with the source")
def _(walk: Walk) -> None:
    button = walk.widget.compare.hold.native
    QTest.mousePress(button, Qt.MouseButton.LeftButton)
    walk.rest()
    assert not walk.live[0].visible
    QTest.mouseRelease(button, Qt.MouseButton.LeftButton)
    walk.rest()
    assert walk.live[0].visible


@step("split the window between source and picture")
def _(walk: Walk) -> None:
    walk.click(walk.widget.compare.split)
    walk.refined()
    assert walk.widget.live.split == 0.5


@step("freeze the picture, and go on without the split")
def _(walk: Walk) -> None:
    walk.click(walk.widget.compare.freeze)
    walk.click(walk.widget.compare.split)
    walk.refined()
    assert any(FROZEN in layer.metadata for layer in walk.viewer.layers)


@step("fold a group of settings, and open it again")
def _(walk: Walk) -> None:
    for layer in [layer for layer in walk.viewer.layers if FROZEN in layer.metadata]:
        walk.viewer.layers.remove(layer)
    group = walk.widget.groups["Volume"]
    walk.click(group.header)
    assert not group.is_open
    walk.click(group.header)
    assert group.is_open


@step("denoise by hand: off, then strong, then auto again")
def _(walk: Walk) -> None:
    denoise = walk.widget.denoise.field
    walk.click(denoise.auto)
    for level in (0.0, 0.09):
        denoise.slider.value = level
        walk.wait(lambda level=level: walk.widget.live.last.response.denoise == level, "a picture of that level")
        walk.refined()
    walk.click(denoise.auto)
    walk.refined()
    assert denoise.auto.value


@step("the map of trust")
def _(walk: Walk) -> None:
    walk.widget.groups["Trust"].is_open = True
    width = walk.widget.native.width()
    walk.click(walk.widget.trust.disagreement)
    walk.refined()
    assert walk.widget.native.width() == width
    assert sum(LIVE in layer.metadata for layer in walk.viewer.layers) == 2


@step("no map any more")
def _(walk: Walk) -> None:
    walk.click(walk.widget.trust.disagreement)
    walk.refined()
    assert sum(LIVE in layer.metadata for layer in walk.viewer.layers) == 1


@step("type another voxel size: the same slice stays in view")
def _(walk: Walk) -> None:
    before = walk.viewer.dims.current_step
    spin = walk.widget.anisotropy
    spin.value = 6.0
    walk.refined()
    assert walk.viewer.dims.current_step[1] == before[1]
    spin.value = 8.0
    walk.refined()


@step("save the live layer: it is one picture")
def _(walk: Walk) -> None:
    target = walk.folder / "saved.tif"
    walk.viewer.layers.selection = {walk.live[0]}
    walk.viewer.layers.save(str(target), selected=True)
    shape = tifffile.imread(target).shape
    assert 1 in shape or len(shape) == 2, shape


@step("ortho views")
def _(walk: Walk) -> None:
    walk.click(walk.widget.ortho_button)
    walk.wait(lambda: walk.widget.ortho is not None, "the ortho views")
    walk.refined()
    walk.fits_the_screen()


@step("in 3-D, without the ortho views")
def _(walk: Walk) -> None:
    walk.click(walk.widget.ortho_button)
    walk.rest()
    assert walk.widget.ortho is None
    walk.viewer.dims.ndisplay = 3
    walk.wait(lambda: "3-D" in walk.status and "refined" in walk.status, "the 3-D volume")


@step("cut the volume open")
def _(walk: Walk) -> None:
    walk.widget.volume_views.cut.share.value = 40
    walk.rest(1)


@step("back in 2-D")
def _(walk: Walk) -> None:
    walk.viewer.dims.ndisplay = 2
    walk.refined()


@step("a file without a voxel size: one question, one answer")
def _(walk: Walk) -> None:
    walk.viewer.layers.clear()
    path = walk.folder / "no_voxel_size.tif"
    tifffile.imwrite(path, _volume((16, 96, 96)))
    walk.drop_on_widget(path)
    form = walk.widget.spacings.form
    walk.wait(lambda: form.question.native.isVisible(), "the question")
    assert "isotropic" not in walk.status
    walk.widget.anisotropy.value = 5.0
    walk.refined()
    assert not form.question.native.isVisible()


@step("a number out of range is said, and the one before stays")
def _(walk: Walk) -> None:
    line = walk.widget.anisotropy.native.findChild(QLineEdit)
    line.selectAll()
    QTest.keyClicks(line, "99")
    QTest.keyClick(line, Qt.Key.Key_Return)
    walk.rest()
    said = [str(record.message) for record in notification_manager.records[-3:]]
    assert any("from 1 to" in sentence for sentence in said), said
    assert walk.widget.anisotropy.value == 5.0


@step("a zarr dropped on napari's canvas opens as it does without the plugin")
def _(walk: Walk) -> None:
    walk.viewer.layers.clear()
    before = len(walk.errors)
    path = walk.folder / "plain.zarr"
    zarr.save(str(path), _volume((12, 64, 64)))
    walk.drop_on_canvas(path)
    walk.wait(lambda: walk.viewer.layers, "the layer")
    assert len(walk.errors) == before


@step("a file with its axes in another order: they are put in order")
def _(walk: Walk) -> None:
    walk.viewer.layers.clear()
    path = walk.folder / "fiji.tif"
    values = np.stack([_volume((12, 64, 64), seed) for seed in range(4)]).reshape(2, 2, 12, 64, 64)
    metadata = {"axes": "TZCYX", "spacing": 1.0, "unit": "um"}
    tifffile.imwrite(path, np.moveaxis(values, 1, 2), imagej=True, metadata=metadata, resolution=(5, 5))
    walk.drop_on_canvas(path)
    walk.wait(lambda: walk.live, "the live layer")
    walk.refined()
    assert any("put in order" in str(note.message) for note in notification_manager.records)


@step("a file of several images: a list")
def _(walk: Walk) -> None:
    path = walk.folder / "several.h5"
    with h5py.File(path, "w") as file:
        for name in ("raw", "other"):
            file[name] = _volume((12, 64, 64))
            file[name].attrs["element_size_um"] = (0.2, 0.05, 0.05)
    walk.drop_on_widget(path)
    walk.wait(lambda: walk.widget.datasets.list.isVisible(), "the list")
    walk.click(walk.widget.datasets.open)
    walk.wait(lambda: len(walk.live) == 2, "the live layer")
    walk.rest(1)
    assert walk.widget.layer.value.name.startswith("several")


@step("sixteen files at once: one message")
def _(walk: Walk) -> None:
    before = len(walk.errors)
    files = []
    for number in range(16):
        files.append(walk.folder / f"broken_{number:02}.h5")
        files[-1].write_bytes(b"nothing")
    walk.drop_on_widget(*files)
    walk.wait(lambda: len(walk.errors) > before, "the message")
    walk.rest(1)
    assert len(walk.errors) == before + 1, walk.errors[before:]


@step("a hyperstack of two channels: both are restored")
def _(walk: Walk) -> None:
    walk.viewer.layers.clear()
    path = walk.folder / "two_channels.tif"
    tifffile.imwrite(
        path,
        np.stack([_volume((16, 96, 96), 1), _volume((16, 96, 96), 2)], 1),
        imagej=True,
        metadata={"axes": "ZCYX", "spacing": 1.0, "unit": "um"},
        resolution=(5, 5),
    )
    walk.drop_on_widget(path)
    walk.wait(lambda: len(walk.live) == 2, "a live layer for each channel")
    walk.widget.show_side("xz")
    walk.refined()


@step("one switch for both")
def _(walk: Walk) -> None:
    walk.click(walk.widget.on)
    assert not walk.live
    walk.click(walk.widget.on)
    walk.wait(lambda: len(walk.live) == 2, "both again")
    walk.refined()


@step("train on a volume, from the widget")
def _(walk: Walk) -> None:
    walk.viewer.layers.clear()
    path = walk.folder / "mine.tif"
    values = _volume((24, 256, 256))  # not what the checkpoint has seen: a few steps make it better
    metadata = {"axes": "ZYX", "spacing": 0.8, "unit": "um"}
    tifffile.imwrite(path, values, imagej=True, metadata=metadata, resolution=(5, 5))
    walk.viewer.open(path)
    walk.wait(lambda: walk.live, "the live layer")
    walk.widget.show_side("xz")
    walk.refined()
    walk.click(walk.widget.train)
    walk.wait(lambda: walk.docked(TRAINING) is not None, "the training's widget")
    training = walk.docked(TRAINING)
    walk.wait(lambda: training.button.isVisible() and training.button.isEnabled(), "its button")
    assert sum(WIDGET in title for title in walk.viewer.window.dock_widgets) == 1
    training.form.minutes.value = 1
    training.form.steps.value, training.form.batch.value = 30, 4  # advanced settings: as much on any computer
    walk.fits_the_screen()
    walk.click(training.button)
    walk.wait(lambda: training.worker is not None, "the training")
    walk.rest(5)


@step("it ends, and its checkpoint is selected")
def _(walk: Walk) -> None:
    training = walk.docked(TRAINING)
    walk.wait(lambda: training.worker is None, "the end of the training", 180)
    walk.wait(lambda: "mine" in str(walk.widget.checkpoint.value), "its checkpoint")
    assert "by this training" in training.status.text(), training.status.text()
    walk.refined()


@step("the file again, with another checkpoint in use: what was fitted to it is offered")
def _(walk: Walk) -> None:
    fitted = str(walk.widget.checkpoint.value)
    walk.viewer.layers.clear()
    walk.rest()
    walk.widget.select_checkpoint("em")
    walk.drop_on_canvas(walk.folder / "mine.tif")
    walk.to_front(WIDGET)
    offer = walk.widget.fitted
    walk.wait(lambda: not offer.use.native.visibleRegion().isEmpty(), "the offer")
    assert offer.sentence.value.startswith("Fitted to this volume on"), offer.sentence.value
    walk.refined()
    assert walk.widget.checkpoint.value != fitted


@step("the offer is accepted: the checkpoint is the fitted one again")
def _(walk: Walk) -> None:
    offer = walk.widget.fitted
    walk.click(offer.use)
    walk.wait(lambda: "mine" in str(walk.widget.checkpoint.value), "the fitted checkpoint")
    walk.wait(lambda: walk.widget.models.loaded[0] == walk.widget.checkpoint.value, "its weights")
    walk.refined()
    assert not offer.use.native.isVisible()


@step("export: what it will be, and how long it takes")
def _(walk: Walk) -> None:
    walk.widget.select_checkpoint("em")
    walk.refined()
    walk.click(walk.widget.export.button)
    panel = walk.widget.export.panel
    walk.wait(lambda: panel.preview is not None, "what will be written")
    walk.rest(2)
    assert "voxels" in panel.summary.text()


@step("closing napari in the middle of an export: a question, and it goes on")
def _(walk: Walk) -> None:
    panel = walk.widget.export.panel
    walk.click(panel.start)
    walk.wait(lambda: panel.worker is not None, "the export")
    walk.window.close()
    question = walk.window.findChild(ClosingQuestion)
    walk.wait(lambda: question.box is not None, "the question", 5)
    keep = next(button for button in question.box.buttons() if button.text().replace("&", "") == KEEP)
    walk.click(keep)
    assert walk.window.isVisible()


@step("the export is stopped: it is said whether anything is kept")
def _(walk: Walk) -> None:
    panel = walk.widget.export.panel
    walk.wait(lambda: panel.worker is not None, "an export that runs", 1)
    walk.click(panel.cancel)
    walk.wait(lambda: panel.worker is None, "its end")
    assert any(str(note.message).startswith("Stopped") for note in notification_manager.records)


@step("the export runs to its end and opens")
def _(walk: Walk) -> None:
    panel = walk.widget.export.panel
    walk.click(panel.start)
    walk.wait(lambda: panel.open_result.isVisible(), "the end of the export", 240)
    layers = len(walk.viewer.layers)
    walk.click(panel.open_result)
    walk.wait(lambda: len(walk.viewer.layers) > layers, "the result")
    panel.close()


@step("the docks are closed, and nothing is left")
def _(walk: Walk) -> None:
    for dock in walk.window.findChildren(QDockWidget):
        if any(name in dock.windowTitle() for name in (WIDGET, TRAINING)) and hasattr(dock, "destroyOnClose"):
            dock.destroyOnClose()
    walk.rest(1)
    assert not walk.live


def main() -> int:
    """Walk."""
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary:
        os.environ["NAPARI_NIIV_STATE"] = str(Path(temporary) / "state")
        walk = Walk(Path(temporary))
        for number, (words, function) in enumerate(STEPS, 1):
            began = time.monotonic()
            try:
                function(walk)
            except Exception:
                walk.picture(folder / f"{number:02}.png")
                print(f"{number:2}. {words}: failed; the status is {walk.status!r}", file=sys.stderr)
                raise
            walk.picture(folder / f"{number:02}.png")
            print(f"{number:2}. {words}: {time.monotonic() - began:.1f} s", flush=True)
        walk.viewer.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
