"""How long the plugin holds the GUI thread, and how soon pictures come, in a real window.

    python benchmarks/live_view.py [--size 1024] [--steps 200]            (on Linux without a display: under xvfb-run)

Scrolls a side view of a synthetic 64 x size x size stack at 30 steps a second. Time on the GUI thread is taken around
the plugin's own callbacks; a heartbeat timer shows the longest pause of the whole window, napari's drawing included,
with the plugin on and, for comparison, off.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import napari
import numpy as np
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QApplication
from scipy.ndimage import gaussian_filter
from timing import timed

from napari_niiv.plugin.live import live_reconstruction as live_layer
from napari_niiv.plugin.manifest_names import PLUGIN, WIDGET


def wait(until: Callable[[], bool], seconds: float = 60) -> None:
    end = time.perf_counter() + seconds
    while not until():
        QApplication.processEvents()
        time.sleep(0.001)
        if time.perf_counter() > end:
            raise SystemExit("timed out")


def rest(seconds: float) -> None:
    end = time.perf_counter() + seconds
    wait(lambda: time.perf_counter() > end)


def scroll(viewer: napari.Viewer, steps: int, beats: list[float]) -> None:
    """Move the slider `steps` times, 30 times a second, with a heartbeat every 5 ms."""
    last = [time.perf_counter()]

    def beat() -> None:
        now = time.perf_counter()
        beats.append(1e3 * (now - last[0]) - 5)
        last[0] = now

    heart = QTimer()
    heart.timeout.connect(beat)
    heart.start(5)
    axis = viewer.dims.order[0]
    first = viewer.dims.current_step[axis]
    for step in range(steps):
        due = time.perf_counter() + 1 / 30
        viewer.dims.set_current_step(axis, first + step % 100)
        wait(lambda due=due: time.perf_counter() >= due)
    heart.stop()


def row(name: str, values: list[float]) -> None:
    p50, p95, top = np.percentile(values, (50, 95, 100))
    print(f"| {name} | {len(values)} | {p50:.1f} | {p95:.1f} | {top:.1f} |")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--size", type=int, default=1024)
    parser.add_argument("--steps", type=int, default=200)
    options = parser.parse_args()
    random = np.random.default_rng(0)
    small = gaussian_filter(random.random((64, 256, 256)), 2)
    stack = np.tile(small, (1, options.size // 256, options.size // 256))
    stack = ((stack - stack.min()) / np.ptp(stack) * 255).astype(np.uint8)

    callbacks: list[float] = []
    for name in ("_scroll", "_request", "_receive_all", "_schedule_request", "_drop_picture"):
        setattr(
            live_layer.LiveReconstruction,
            name,
            timed(callbacks, getattr(live_layer.LiveReconstruction, name)),
        )
    viewer = napari.Viewer()
    viewer.window.resize(1500, 950)
    viewer.add_image(stack, name="stack", scale=(8, 1, 1))
    viewer.dims.order = (1, 0, 2)
    viewer.dims.set_current_step(1, options.size // 4)
    rest(1)
    beats_off: list[float] = []
    scroll(viewer, options.steps, beats_off)

    _, widget = viewer.window.add_plugin_dock_widget(PLUGIN, WIDGET)
    wait(lambda: "pixel" in widget.status.value)
    viewer.reset_view()
    wait(lambda: "refined from" in widget.status.value)
    pictures: list[tuple[float, str, int]] = []
    # those of them that are not waiting for more pieces of their pass
    whole: list[tuple[float, str, int]] = []
    stale: list[int] = []

    def note(shown: live_layer.Shown) -> None:
        index, quality = int(shown.response.request.index), shown.response.quality
        # a placeholder may lag a step behind a drag, a better picture must be of the slice asked for
        if quality != "placeholder" and index != viewer.dims.current_step[1]:
            stale.append(index)
        pictures.append((time.perf_counter(), quality, index))
        if shown.response.complete:
            whole.append(pictures[-1])

    widget.live.shown.connect(note)
    callbacks.clear()
    beats_on: list[float] = []
    began = time.perf_counter()
    scroll(viewer, options.steps, beats_on)
    drag = time.perf_counter() - began
    during = list(pictures)
    last = viewer.dims.current_step[1]
    wait(lambda: whole[-1][1:] == ("refined", last))
    refined = time.perf_counter() - began - drag

    fast: list[float] = []
    sharp: list[float] = []
    placeholder: list[float] = []
    for step in range(40):
        rest(0.3)
        asked, index, count = time.perf_counter(), 60 + step * 337 % 800, len(pictures)
        viewer.dims.set_current_step(1, index)
        wait(lambda index=index: whole[-1][1:] == ("fast", index))
        placeholder.append(1e3 * (pictures[count][0] - asked))
        first = next(p for p in pictures[count:] if p[1:] == ("fast", index))
        sharp.append(1e3 * (first[0] - asked))
        fast.append(1e3 * (whole[-1][0] - asked))
    ahead: list[float] = []
    index = viewer.dims.current_step[1]
    for _ in range(20):  # unhurried scrolling: the next slice is encoded ahead
        rest(1)
        index, asked, count = index + 1, time.perf_counter(), len(pictures)
        viewer.dims.set_current_step(1, index)
        wait(lambda count=count: any(p[1] != "placeholder" for p in pictures[count:]))
        ahead.append(1e3 * (pictures[-1][0] - asked))
    zooms: list[float] = []
    for step in range(20):
        count, asked = len(pictures), time.perf_counter()
        viewer.scene.camera.zoom *= 1.05 if step < 10 else 1 / 1.05
        wait(lambda count=count: any(p[1] != "placeholder" for p in pictures[count:]))
        zooms.append(1e3 * (pictures[-1][0] - asked))

    print("\n| milliseconds | n | median | 95 % | longest |\n|---|---|---|---|---|")
    row("GUI thread held by one callback of the plugin", callbacks)
    row("pause of the window, plugin off", beats_off)
    row("pause of the window, plugin on", beats_on)
    row("event to placeholder", placeholder)
    row("event to the middle of the fast picture, somewhere else", sharp)
    row("event to all of it", fast)
    row("event to fast picture, scrolling on after a second", ahead)
    row("event to picture after a zoom, latents cached", zooms)
    print(
        f"\npictures during the drag: {len(during) / drag:.1f} per second, {len(stale)} of them stale; "
        f"the last one refined {refined:.1f} s after it"
    )
    viewer.close()


if __name__ == "__main__":
    main()
