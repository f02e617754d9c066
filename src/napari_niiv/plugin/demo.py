"""`napari-niiv demo`: the sample, seen from the side, reconstruction on."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import napari
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QApplication

from napari_niiv.errors import NiivError, OutputError
from napari_niiv.plugin.common.docks import open_dock
from napari_niiv.plugin.manifest_names import PLUGIN, WIDGET

TIMEOUT_MS = 120_000
SETTLE_MS = 800  # for the window to draw what it was given


def open_demo(show: bool = True) -> tuple[napari.Viewer, Any]:
    """A viewer with the sample in side view and the dock widget."""
    viewer = napari.Viewer(show=show, title="napari-niiv")
    viewer.open_sample(PLUGIN, "fib25")
    viewer.window.resize(1500, 950)
    widget = open_dock(viewer, WIDGET)
    widget.show_side("xz")
    viewer.dims.set_point(1, viewer.dims.range[1].stop / 2)
    QApplication.processEvents()  # the canvas gets its size, which the camera is fitted to
    viewer.reset_view()
    return viewer, widget


def run_demo(screenshot: Path | None = None) -> int:
    """Run until the window is closed, or until the refined picture is saved.

    Raises
    ------
    NiivError
        If the picture cannot be saved or never comes.
    """
    if screenshot is not None:
        if not screenshot.resolve().parent.is_dir() or not os.access(screenshot.resolve().parent, os.W_OK):
            raise OutputError(f"The screenshot cannot be written to {screenshot}; choose another folder.")
        if screenshot.suffix.lower() != ".png":
            raise OutputError(f"The screenshot {screenshot} must end in .png.")
    viewer, widget = open_demo()
    if screenshot is None:
        napari.run()
        return 0
    trouble = [f"The refined picture did not come within {TIMEOUT_MS // 1000} seconds."]

    def save() -> None:
        try:
            viewer.screenshot(str(screenshot), canvas_only=False, flash=False)
            trouble.clear()
        except OSError as error:
            trouble[:] = [f"The screenshot cannot be written to {screenshot} ({error})."]
        viewer.close()

    def watch() -> None:
        shown = widget.live is not None and "refined from" in widget.status.value
        if shown:
            timer.stop()
            QTimer.singleShot(SETTLE_MS, save)

    timer = QTimer()
    timer.timeout.connect(watch)
    timer.start(50)
    QTimer.singleShot(TIMEOUT_MS, viewer.close)
    napari.run()
    if trouble:
        raise NiivError(trouble[0])
    return 0
