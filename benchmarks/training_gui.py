"""How smooth the viewer stays while a model is trained in it, in a real window.

    python benchmarks/training_gui.py [--seconds 75]                      (on Linux without a display: under xvfb-run)

Trains on the sample layer from `em`, with the live view following. A heartbeat timer of 10 ms shows every pause of the
GUI thread: idle, with nothing trained; and in training, from one second after the button is pressed. The time that the
plugin's own callbacks take there is given beside it.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from qtpy.QtCore import QEventLoop, Qt, QTimer
from timing import timed

from napari_niiv.plugin import widget
from napari_niiv.plugin.demo import open_demo
from napari_niiv.plugin.live import live_reconstruction as live_layer
from napari_niiv.plugin.manifest_names import PLUGIN, TRAINING
from napari_niiv.plugin.training.widget import TrainOnVolume

BEAT = 10  # ms
IDLE = 10  # seconds
CALLBACKS: tuple[tuple[type, str], ...] = (
    (TrainOnVolume, "_receive"),
    (TrainOnVolume, "_draw"),
    (TrainOnVolume, "_ended"),
    (widget.IsotropicReconstruct, "_adopt_model"),
    (live_layer.LiveReconstruction, "_request"),
    (live_layer.LiveReconstruction, "_receive"),
)


def row(name: str, values: list[float]) -> None:
    if values:
        p50, p95, p99, top = np.percentile(values, (50, 95, 99, 100))
        over = sum(v > 50 for v in values)
        print(f"| {name} | {len(values)} | {p50:.1f} | {p95:.1f} | {p99:.1f} | {top:.1f} | {over} |")


def wait(until: Callable[[], bool], seconds: float = 60) -> None:
    """Let the window live, in Qt's own loop, until something is true."""
    end = time.perf_counter() + seconds
    loop, poll = QEventLoop(), QTimer()
    poll.timeout.connect(lambda: loop.quit() if until() or time.perf_counter() > end else None)
    poll.start(100)
    loop.exec()
    if not until():
        raise SystemExit("timed out")


def rest(seconds: float) -> None:
    end = time.perf_counter() + seconds
    wait(lambda: time.perf_counter() > end, seconds + 5)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=75)
    options = parser.parse_args()
    logs: dict[str, list[float]] = {f"{kind.__name__}.{name}": [] for kind, name in CALLBACKS}
    for kind, name in CALLBACKS:
        setattr(kind, name, timed(logs[f"{kind.__name__}.{name}"], getattr(kind, name)))
    viewer, reconstruct = open_demo()
    _, training = viewer.window.add_plugin_dock_widget(PLUGIN, TRAINING)
    wait(lambda: training.button.isEnabled() and "refined from" in reconstruct.status.value)
    rest(2)

    beats: list[tuple[float, float]] = []
    last = [time.perf_counter()]

    def beat() -> None:
        now = time.perf_counter()
        beats.append((now, max(1e3 * (now - last[0]) - BEAT, 0)))
        last[0] = now

    heart = QTimer()
    heart.setTimerType(Qt.TimerType.PreciseTimer)
    heart.timeout.connect(beat)
    heart.start(BEAT)
    rest(IDLE)
    idle = [pause for _, pause in beats[1:]]
    for log in logs.values():
        log.clear()
    with tempfile.TemporaryDirectory() as folder:
        training.form.output.value = str(Path(folder) / "benchmark.safetensors")
        training.form.output.native.editingFinished.emit()
        training.form.minutes.value = options.seconds / 60
        beats.clear()
        pressed = time.perf_counter()
        training.toggle()
        wait(lambda: training.worker is None, options.seconds + 120)
        first = [pause for when, pause in beats if when <= pressed + 1]
        rest_of_it = [(when - pressed, pause) for when, pause in beats if when > pressed + 1]
        heart.stop()
        print("| milliseconds | n | p50 | p95 | p99 | longest | over 50 |\n|---|---|---|---|---|---|---|")
        row("pause of the window, idle", idle)
        row("pause, first second of the training", first)
        row("pause, rest of the training", [pause for _, pause in rest_of_it])
        for name, log in logs.items():
            row(name, log)
        worst = sorted(rest_of_it, key=lambda b: -b[1])[:8]
        print("longest pauses: " + ", ".join(f"{pause:.0f} ms at {when:.1f} s" for when, pause in worst))
        print(training.status.text())
        viewer.close()


if __name__ == "__main__":
    main()
