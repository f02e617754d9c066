"""What a long day in napari leaves in memory: a seeded random walk through the plugin, in a real window.

    python benchmarks/soak.py [--minutes 60] [--seed 0]                   (on Linux without a display: under xvfb-run)

Opens and deletes volumes, opens the widgets from napari's menus and closes their docks, scrolls, zooms, turns, goes to
3-D, opens ortho views, switches all controls, trains for seconds, exports small boxes. Once a minute it prints what the
process holds. Every ten minutes, and in the end, all layers and docks are closed before: these rows compare like with
like. In the end it prints what of the plugin is alive.

--plain       the same walk without the plugin's widgets: what napari, Qt and OpenGL keep by themselves
--without     kinds of steps to leave out, --only kinds to take (see WEIGHTS), to find what keeps something
--keep-programs never delete programs of OpenGL, in which Mesa 22 crashes now and then; each layer leaves 1.3 MB then
--tracemalloc also the heap of Python, slower; in the end the places that grew most
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import ctypes
import gc
import os
import random
import sys
import tempfile
import threading
import time
import tracemalloc
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

CLASSES = {
    "viewers": ("Viewer", "ViewerModel"),
    "layers": ("Image", "Shapes"),
    "canvases": ("QtViewer",),
    "live": ("LiveReconstruction", "VolumeView", "OrthoViews"),
    "models": ("Niiv",),
    "widgets": ("IsotropicReconstruct", "TrainOnVolume", "ExportPanel"),
}
WEIGHTS = {
    "open_file": 4,
    "delete": 3,
    "clear": 0.5,
    "dock": 2,
    "scroll": 8,
    "zoom": 6,
    "pan": 4,
    "turn": 3,
    "ndisplay": 3,
    "ortho": 2,
    "trust": 2,
    "controls": 4,
    "freeze": 1,
    "checkpoint": 1,
    "train": 0.3,
    "export": 0.5,
}
OF_PLUGIN = {"dock", "ortho", "trust", "controls", "freeze", "checkpoint", "train", "export"}
GL: collections.Counter[str] = collections.Counter()  # what vispy made in OpenGL, less what it deleted
MOST_LAYERS = 5  # of the user's
TRAINING_SECONDS = 6
CLOSED_EVERY = 600  # seconds


class Mallinfo2(ctypes.Structure):
    """Of malloc.h."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in (
            *("arena", "ordblks", "smblks", "hblks", "hblkhd"),
            *("usmblks", "fsmblks", "uordblks", "fordblks", "keepcost"),
        )
    ]


def glibc() -> tuple[float, float, float]:
    """Megabytes that glibc's main arena holds free, that are in use in it, and that are mapped beside it."""
    mallinfo2 = getattr(ctypes.CDLL(None), "mallinfo2", None)
    if mallinfo2 is None:
        return (0.0, 0.0, 0.0)
    mallinfo2.restype = Mallinfo2
    info = mallinfo2()
    return tuple(v / 1e6 for v in (info.fordblks, info.uordblks, info.hblkhd))  # type: ignore[return-value]


def resident() -> float:
    """Megabytes."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def mappings() -> dict[str, int]:
    """Megabytes resident of each kind of mapping, and how much of it is in huge pages, which come and go by themselves.

    Of the process' own: the heap of `brk`, glibc's further arenas (64 MiB each), what else is anonymous.
    """
    sizes: collections.Counter[str] = collections.Counter()
    kind = ""
    with open("/proc/self/smaps") as file:
        for line in file:
            head = line.split()
            if "-" in head[0] and not head[0].endswith(":"):
                begin, end = (int(v, 16) for v in head[0].split("-"))
                path = head[5] if len(head) > 5 else ""
                if path.startswith("/"):
                    kind = "files"
                elif path.startswith("["):
                    kind = path.strip("[]")
                else:
                    kind = "arenas" if begin % (64 << 20) == 0 and end - begin <= 64 << 20 else "anonymous"
            elif head[0] == "Rss:":
                sizes[kind] += int(head[1])
            elif head[0] == "AnonHugePages:":
                sizes["huge pages"] += int(head[1])
    return {kind: size // 1000 for kind, size in sizes.most_common()}


def alive() -> dict[str, list[Any]]:
    """Objects of the classes that matter."""
    found: dict[str, list[Any]] = {kind: [] for kind in CLASSES}
    for thing in gc.get_objects():
        name = type(thing).__name__
        for kind, names in CLASSES.items():
            if name in names and type(thing).__module__.startswith(("napari.", "napari_niiv.")):
                found[kind].append(thing)
    return found


def count_opengl(keep_programs: bool) -> None:
    """Count what vispy has in OpenGL; and keep its programs there, if that is wanted."""
    from vispy.gloo import glir

    for kind in (glir.GlirProgram, glir.GlirTexture, glir.GlirBuffer):
        kind.create = _counting(kind.__name__, kind.create, 1)
        kind.delete = _counting(kind.__name__, kind.delete, -1)
    if keep_programs:
        glir.GlirProgram.delete = lambda self: None


def _counting(name: str, method: Callable[..., Any], step: int) -> Callable[..., Any]:
    def counted(self: Any, *arguments: Any) -> Any:
        GL[name] += step
        return method(self, *arguments)

    return counted


class Report:
    """Prints a row of figures now and then."""

    def __init__(self) -> None:
        self.began = time.monotonic()
        self.rows: list[tuple[float, float]] = []
        figures = "RSS, MB | heap of Python, MB | glibc: free, used, mapped, MB | caches, MB | threads"
        kinds = " | ".join(CLASSES)
        print(f"| minute | steps | {figures} | OpenGL: programs, textures, buffers | {kinds} |")
        print("|---" * (8 + len(CLASSES)) + "|", flush=True)

    def row(self, label: str, steps: int) -> float:
        gc.collect()
        heap = f"{tracemalloc.get_traced_memory()[0] / 1e6:.0f}" if tracemalloc.is_tracing() else "–"
        size, minute = resident(), (time.monotonic() - self.began) / 60
        counts = " | ".join(str(len(things)) for things in alive().values())
        free, used, mapped = glibc()
        print(
            f"| {label or f'{minute:.1f}'} | {steps} | {size:.0f} | {heap} | {free:.0f}, {used:.0f}, {mapped:.0f} "
            f"| {cached():.0f} | {threading.active_count()} "
            f"| {GL['GlirProgram']}, {GL['GlirTexture']}, {GL['GlirBuffer']} | {counts} |",
            flush=True,
        )
        self.rows.append((minute, size))
        return size


def cached() -> float:
    """Megabytes in all caches of views that are alive."""
    from napari_niiv.reconstruction.cache import ByteCache

    return sum(thing.bytes for thing in gc.get_objects() if type(thing) is ByteCache) / 1e6


def write_files(folder: Path) -> list[Path]:
    """Volumes as users have them: TIFF, HDF5, MRC, of one and of several axes."""
    import h5py
    import mrcfile
    import numpy as np
    import tifffile
    from scipy.ndimage import gaussian_filter

    noise = gaussian_filter(np.random.default_rng(0).random((48, 384, 384), np.float32), (0.6, 3, 3))
    tissue = ((noise - noise.min()) / np.ptp(noise) * 255).astype(np.uint8)
    files = [folder / name for name in ("a.tif", "b.tif", "channels.tif", "c.h5", "d.mrc", "flat.tif")]
    imagej = {"imagej": True, "resolution": (1 / 0.01, 1 / 0.01)}
    tifffile.imwrite(files[0], tissue, metadata={"axes": "ZYX", "spacing": 0.08, "unit": "um"}, **imagej)
    tifffile.imwrite(
        files[1], tissue[:30].astype(np.uint16) * 200, metadata={"axes": "ZYX", "spacing": 0.04, "unit": "um"}, **imagej
    )
    channels = np.stack([tissue[:24, :256, :256], 255 - tissue[:24, :256, :256]], axis=1)
    tifffile.imwrite(files[2], channels, metadata={"axes": "ZCYX", "spacing": 0.05, "unit": "um"}, **imagej)
    with h5py.File(files[3], "w") as file:
        dataset = file.create_dataset("volume", data=tissue, chunks=(16, 64, 64))
        dataset.attrs["element_size_um"] = (0.08, 0.01, 0.01)
    with mrcfile.new(files[4]) as mrc:
        mrc.set_data(tissue[:40, :256, :256].astype(np.int16))
        mrc.voxel_size = (100, 100, 600)
    tifffile.imwrite(files[5], tissue[0])
    return files


class Walk:
    """The steps, each a method; what they need and is not there makes them do nothing."""

    def __init__(self, folder: Path, seed: int, plain: bool) -> None:
        import napari

        self.choose, self.plain, self.folder = random.Random(seed), plain, folder
        self.files = write_files(folder)
        self.viewer = napari.Viewer()
        self.window.resize(760, 520)  # software draws volumes by the pixel
        self.widget: Any = None
        self.outputs = 0

    @property
    def window(self) -> Any:
        return self.viewer.window._qt_window

    def rest(self, seconds: float, until: Callable[[], bool] = lambda: False) -> bool:
        """Let the window live until something is true, or for some seconds.

        In an event loop of Qt's own: what is to be deleted later is deleted in none but such.
        """
        from qtpy.QtCore import QEventLoop, QTimer

        end, loop, look = time.monotonic() + seconds, QEventLoop(), QTimer()
        look.timeout.connect(lambda: loop.quit() if time.monotonic() > end or until() else None)
        look.start(2)
        loop.exec()
        look.stop()
        return until()

    def from_menu(self, name: str) -> None:
        """Trigger an entry of the menu Plugins."""

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
        raise SystemExit(f"the menu has no entry {name!r}")

    def docked(self, name: str) -> Any:
        """The widget in a dock, or None."""
        for title, widget in self.viewer.window.dock_widgets.items():
            if name in title:
                return widget
        return None

    def close_dock(self, name: str) -> None:
        """As its button does."""
        from qtpy.QtWidgets import QDockWidget

        for dock in self.window.findChildren(QDockWidget):
            if name in dock.windowTitle() and hasattr(dock, "destroyOnClose"):
                dock.destroyOnClose()

    def mine(self) -> list[Any]:
        from napari_niiv.plugin.common.layers import LIVE

        return [layer for layer in self.viewer.layers if LIVE not in layer.metadata]

    def dismiss(self) -> None:
        """Close napari's notifications: they go by themselves in a window that is active alone, as none is here."""
        from napari._qt.dialogs.qt_notification import NapariQtNotification

        for notification in list(NapariQtNotification._instances):
            notification.close()

    def step(self, kind: str) -> None:
        self.dismiss()
        getattr(self, kind)()
        self.rest(self.choose.choice((0.02, 0.1, 0.3, 1.0)))

    def open_file(self) -> None:
        from napari_niiv.plugin.manifest_names import PLUGIN

        if len(self.mine()) < MOST_LAYERS:
            path = self.choose.choice(self.files)
            self.viewer.open(path, plugin="napari" if path.suffix == ".tif" else PLUGIN)

    def delete(self) -> None:
        if layers := list(self.viewer.layers):
            self.viewer.layers.remove(self.choose.choice(layers))

    def clear(self) -> None:
        if self.choose.random() < 0.5:
            self.viewer.layers.clear()
        else:
            self.viewer.layers.select_all()
            self.viewer.layers.remove_selected()

    def dock(self) -> None:
        from napari_niiv.plugin.manifest_names import WIDGET

        if self.widget is not None and self.choose.random() < 0.4:
            self.widget = None
            self.close_dock(WIDGET)
            self.rest(0.3)
        elif self.widget is None:
            self.from_menu(WIDGET)
            self.rest(0.2)
            self.widget = self.docked(WIDGET)
            self.widget = getattr(self.widget, "_magic_widget", self.widget)
            if self.choose.random() < 0.7:
                self.rest(10, lambda: self.widget.live_layers.model is not None)

    def scroll(self) -> None:
        dims = self.viewer.dims
        axis = dims.order[0] if dims.ndim == 3 else self.choose.choice(dims.order[:-2] or (0,))
        stop = int(dims.nsteps[axis])
        at, direction = self.choose.randrange(stop), self.choose.choice((-1, 1))
        for step in range(self.choose.choice((1, 5, 20))):
            dims.set_current_step(axis, (at + direction * step) % stop)
            self.rest(0.03)

    def zoom(self) -> None:
        if self.choose.random() < 0.15:
            self.viewer.reset_view()
        for _ in range(self.choose.choice((1, 3, 6))):
            factor = self.choose.choice((0.8, 0.9, 1.1, 1.25))
            zoom = self.viewer.scene.camera.zoom * factor
            self.viewer.scene.camera.zoom = min(max(zoom, 1e-3), 3e3)
            self.rest(0.03)

    def pan(self) -> None:
        camera = self.viewer.scene.camera
        for _ in range(self.choose.choice((1, 4))):
            z, y, x = camera.center
            reach = 100 / camera.zoom
            camera.center = z, y + self.choose.uniform(-reach, reach), x + self.choose.uniform(-reach, reach)
            self.rest(0.03)
        if self.choose.random() < 0.3:
            self.viewer.reset_view()

    def turn(self) -> None:
        n = self.viewer.dims.ndim
        orders = [(0, 1, 2), (1, 0, 2), (2, 0, 1)]
        if n >= 3:
            self.viewer.dims.order = (*range(n - 3), *(n - 3 + d for d in self.choose.choice(orders)))

    def ndisplay(self) -> None:
        self.viewer.dims.ndisplay = 3 if self.viewer.dims.ndisplay == 2 and self.viewer.dims.ndim > 2 else 2
        self.rest(self.choose.choice((0.2, 2.0)))

    def ortho(self) -> None:
        if self.widget is not None:
            self.widget.show_ortho(not self.widget.ortho_button.value)
            self.rest(0.5)

    def trust(self) -> None:
        if self.widget is not None:
            box = getattr(self.widget.trust, self.choose.choice(("disagreement", "misfit", "project")))
            box.value = not box.value

    def controls(self) -> None:
        if (widget := self.widget) is None:
            return
        compare = widget.compare
        box = self.choose.choice((widget.on, widget.match_zoom, compare.split, compare.steps))
        box.value = not box.value
        if self.choose.random() < 0.3 and len(widget.layer.choices) > 1:
            widget.layer.value = self.choose.choice(widget.layer.choices)
        if not widget.on.value and self.choose.random() < 0.7:
            widget.on.value = True

    def freeze(self) -> None:
        live = None if self.widget is None else self.widget.live
        if live is not None and live._picture.newest is not None and len(self.mine()) < MOST_LAYERS:
            self.widget.freeze()

    def checkpoint(self) -> None:
        if self.widget is not None:
            self.widget.checkpoint.value = self.choose.choice(("em", "lm"))

    def train(self) -> None:
        from napari_niiv.plugin.common.layers import sources
        from napari_niiv.plugin.manifest_names import TRAINING

        if not (offered := [layer for _, layer in sources(self.viewer) if layer.ndim == 3]):
            return
        self.from_menu(TRAINING)
        training = self.docked(TRAINING)
        self.rest(20, training.button.isEnabled)
        training.form.choose_layer(self.choose.choice(offered))
        self.outputs += 1
        training.form.output.value = str(self.folder / f"{self.outputs}.safetensors")
        training.form.output.native.editingFinished.emit()
        training.form.minutes.value = TRAINING_SECONDS / 60
        training.form.resume.value = False
        training.toggle()
        self.rest(3 * TRAINING_SECONDS, lambda: training.worker is None)
        training.stop()
        self.rest(60, lambda: training.worker is None)
        if self.widget is None:
            from napari_niiv.plugin.manifest_names import WIDGET

            widget = self.docked(WIDGET)
            self.widget = getattr(widget, "_magic_widget", widget)
        if self.choose.random() < 0.7:
            self.close_dock(TRAINING)

    def export(self) -> None:
        if self.widget is None or self.widget.layer.value is None or self.widget.live_layers.model is None:
            return
        panel = self.widget.export.open()
        self.outputs += 1
        panel.form.part.value = "box"
        suffix = panel.form.format.value = self.choose.choice((".zarr", ".tif"))
        panel.form.named = self.folder / f"{self.outputs}{suffix}"
        self.viewer.dims.ndisplay = 2
        self.viewer.reset_view()
        self.viewer.scene.camera.zoom *= 8
        panel.refresh_preview()
        self.rest(10, lambda: panel.start.isEnabled() and panel.preview is not None)
        if panel.preview is not None:
            panel.press()
            self.rest(2)
            self.rest(20, lambda: panel.worker is None)
            panel.stop()
            self.rest(60, lambda: panel.worker is None)
            if panel._log.finished is not None and self.choose.random() < 0.5 and len(self.mine()) < MOST_LAYERS:
                panel.open_in_napari()
                self.rest(1)
        panel.hide()

    def end(self) -> None:
        """Close everything but the window."""
        from napari_niiv.plugin.manifest_names import TRAINING, WIDGET

        self.viewer.dims.ndisplay = 2
        self.viewer.layers.clear()
        self.rest(1)
        self.widget = None
        for name in (WIDGET, TRAINING):
            self.close_dock(name)
        self.dismiss()
        self.rest(10, lambda: not any("napari-niiv" in t.name for t in threading.enumerate()))
        self.draw_little()

    def draw_little(self) -> None:
        """Draw next to nothing, in 3-D and in 2-D: OpenGL keeps the textures that it drew until it draws others."""
        import numpy as np

        self.viewer.add_image(np.zeros((2, 2, 2), np.uint8))
        for ndisplay in (3, 2):
            self.viewer.dims.ndisplay = ndisplay
            self.rest(0.5)
        self.viewer.layers.clear()
        self.rest(0.5)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--plain", action="store_true")
    parser.add_argument("--keep-programs", action="store_true")
    parser.add_argument("--without", nargs="*", default=[])
    parser.add_argument("--only", nargs="*", default=list(WEIGHTS))
    parser.add_argument("--tracemalloc", action="store_true")
    parser.add_argument("--owners", action="store_true", help="in the end, print who holds what is alive")
    options = parser.parse_args()
    weights = {k: w for k, w in WEIGHTS.items() if k in options.only and k not in options.without}
    if options.plain:
        weights = {k: w for k, w in weights.items() if k not in OF_PLUGIN}
    if options.tracemalloc:
        tracemalloc.start(1)
    count_opengl(options.keep_programs)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["NAPARI_NIIV_STATE"] = folder
        os.environ["NAPARI_CONFIG"] = str(Path(folder) / "napari.yaml")
        failed = soak(Path(folder), weights, options)
    sys.exit(1 if failed else 0)


def soak(folder: Path, weights: dict[str, float], options: argparse.Namespace) -> bool:
    from napari.utils.notifications import notification_manager

    errors: collections.Counter[str] = collections.Counter()
    threads: list[str] = []
    threading.excepthook = lambda args: threads.append(f"{args.exc_type.__name__}: {args.exc_value}")
    walk, report, steps = Walk(folder, options.seed, options.plain), Report(), 0
    walk.rest(2)
    report.row("opened", 0)
    before = tracemalloc.take_snapshot() if options.tracemalloc else None
    kinds, shares = list(weights), list(weights.values())
    done: collections.Counter[str] = collections.Counter()
    end, next_row = time.monotonic() + 60 * options.minutes, time.monotonic() + 60
    next_closing = time.monotonic() + CLOSED_EVERY
    while time.monotonic() < end:
        if time.monotonic() > next_closing:
            walk.end()
            walk.rest(3)
            report.row(f"{(time.monotonic() - report.began) / 60:.1f}, closed", steps)
            print(mappings(), flush=True)
            next_closing += CLOSED_EVERY
        kind = walk.choose.choices(kinds, shares)[0]
        try:
            walk.step(kind)
        except Exception as error:  # counted, and the walk goes on
            import traceback

            place = traceback.extract_tb(error.__traceback__)[-1]
            errors[f"{kind}: {type(error).__name__}: {error} ({place.filename}:{place.lineno})"] += 1
        steps, done[kind] = steps + 1, done[kind] + 1
        if time.monotonic() > next_row:
            report.row("", steps)
            next_row += 60
    walk.end()
    walk.rest(3)
    report.row("closed", steps)
    left = [t.name for t in threading.enumerate() if t is not threading.main_thread()]
    with contextlib.suppress(AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
    report.row("closed, trimmed", steps)
    print(mappings())
    print("steps:", dict(done))
    for record in notification_manager.records:  # sentences for the user are none
        if (raised := getattr(record, "exception", None)) is not None:
            errors[f"{type(raised).__name__}: {raised}"] += 1
    print("errors:", dict(errors), threads)
    print("threads left:", left)
    if before is not None:
        for line in tracemalloc.take_snapshot().compare_to(before, "lineno")[:25]:
            print(line)
    if options.owners:
        owners()
    walk.viewer.close()
    walk.rest(2)
    report.row("napari closed", steps)
    print(mappings())
    return bool(errors or threads)


def owners() -> None:
    """Print a chain of references from each thing that is alive."""
    for kind, things in alive().items():
        for thing in things[:6]:
            chain, seen, at = [], {id(things)}, thing
            for _ in range(9):
                seen.add(id(at))
                holders = [
                    holder
                    for holder in gc.get_referrers(at)
                    if id(holder) not in seen and not isinstance(holder, types.FrameType)
                ]
                if not holders:
                    break
                at = holders[0]
                chain.append(", ".join(map(str, at))[:60] if isinstance(at, dict) else type(at).__name__)
            print(f"{kind}: {type(thing).__name__} {getattr(thing, 'name', '')} <- {' <- '.join(chain)}")


if __name__ == "__main__":
    main()
