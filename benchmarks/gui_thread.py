"""How long each callback of the plugin holds the GUI thread, through all that a user does in a first hour.

    python benchmarks/gui_thread.py [--most 20]                           (on Linux without a display: under xvfb-run)

Goes through the steps of scripts/walk_through.py while a signal looks at the GUI thread's stack a thousand times a
second. A turn is what the plugin does from being called by Qt or napari to its return, with what it calls of theirs;
the share of napari's and vispy's functions, of imports and of collecting garbage is told apart. Turns shorter than the
sampling are not seen. Both the time by the clock and that of the processor are printed: a turn that other programs keep
waiting takes long by the clock alone, one that waits for a file or a lock likewise.
"""

from __future__ import annotations

import argparse
import collections
import gc
import os
import signal
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scripts"))

OURS = f"{os.sep}napari_niiv{os.sep}"
# in the names of files: of napari, and of what imports ("<frozen importlib._bootstrap>")
NAPARIS = (*(f"{os.sep}{name}{os.sep}" for name in ("napari", "vispy", "superqt")), "importlib")
PERIOD = 0.001
COLUMNS = (
    *("callback", "times", "ms of the processor, longest", "without napari's functions", "by the clock"),
    *("in step", "where most"),
)


@dataclass
class Turn:
    """A stretch of time in which the plugin holds the GUI thread; times in seconds."""

    step: str
    name: str
    began: float
    wall: float = 0.0
    processor: float = 0.0
    own: float = 0.0  # of the processor, where none of napari's functions was called
    inner: collections.Counter[str] = field(default_factory=collections.Counter)


class Sampler:
    """Looks at the stack of the main thread, on that thread.

    Another thread would see it mostly where it lets go of Python's lock, and take what comes before for what is there.
    """

    def __init__(self) -> None:
        self.step, self.turns = "", list[Turn]()
        self._entry: FrameType | None = None
        self._before = self._garbage = 0.0
        self._collecting: float | None = None  # since when garbage is collected

    def start(self) -> None:
        """Begin."""
        gc.callbacks.append(self._note_garbage)
        signal.signal(signal.SIGALRM, self._look)
        signal.setitimer(signal.ITIMER_REAL, PERIOD, PERIOD)

    def stop(self) -> None:
        """End."""
        signal.setitimer(signal.ITIMER_REAL, 0)
        gc.callbacks.remove(self._note_garbage)

    def _look(self, number: int, frame: FrameType | None) -> None:
        if self._collecting is not None:
            return
        now, garbage = time.thread_time(), self._garbage
        stack, theirs = self._stack(frame)
        outermost = stack[0] if stack else None
        if outermost is not None and outermost is not self._entry:
            name = f"{Path(outermost.f_code.co_filename).stem}.{outermost.f_code.co_qualname}"
            self.turns.append(Turn(self.step, name, time.perf_counter()))
        elif outermost is not None:
            turn, passed = self.turns[-1], now - self._before
            turn.wall = time.perf_counter() - turn.began
            turn.processor += passed
            turn.own += 0.0 if theirs else passed - garbage
            inner = stack[-1].f_code
            turn.inner[f"{Path(inner.co_filename).stem}.{inner.co_qualname}:{stack[-1].f_lineno}"] += 1
        self._entry, self._before, self._garbage = outermost, time.thread_time(), 0.0

    def _note_garbage(self, phase: str, info: dict[str, int]) -> None:
        """Garbage is collected wherever the next object is made."""
        if threading.current_thread() is threading.main_thread():
            if self._collecting is not None:
                self._garbage += time.thread_time() - self._collecting
            self._collecting = time.thread_time() if phase == "start" else None

    @staticmethod
    def _stack(frame: FrameType | None) -> tuple[list[FrameType], bool]:
        """The plugin's frames, outermost first, and whether the last has called a function of napari's."""
        frames, theirs = list[FrameType](), False
        while frame is not None:
            file = frame.f_code.co_filename
            if OURS in file:
                frames.append(frame)
            elif not frames:
                theirs = theirs or any(name in file for name in NAPARIS)
            frame = frame.f_back
        return frames[::-1], theirs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--most", type=float, default=20, help="milliseconds; longer turns are listed")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["NAPARI_NIIV_STATE"] = str(Path(folder) / "state")
        from walk_through import STEPS, Walk

        walk, sampler = Walk(Path(folder)), Sampler()
        sampler.start()
        for words, function in STEPS:
            sampler.step = words
            function(walk)
        sampler.stop()
        walk.viewer.close()
    report(sampler.turns, options.most)


def report(turns: list[Turn], most: float) -> None:
    """Print the figures, and which callbacks take long."""
    for name, values in (
        ("by the clock", [1e3 * turn.wall for turn in turns]),
        ("of the processor", [1e3 * turn.processor for turn in turns]),
        ("of the processor, without napari's functions", [1e3 * turn.own for turn in turns]),
    ):
        p50, p95, p99, top = np.percentile(values, (50, 95, 99, 100))
        long = sum(value > most for value in values)
        shares = f"median {p50:.1f}, 95 % {p95:.1f}, 99 % {p99:.1f}, longest {top:.1f}"
        print(f"{len(turns)} turns, ms {name}: {shares}; {long} over {most:g}")
    kinds: dict[str, list[Turn]] = collections.defaultdict(list)
    for turn in turns:
        if 1e3 * turn.processor > most:
            kinds[turn.name].append(turn)
    print(f"\n| {' | '.join(COLUMNS)} |\n{'|---' * len(COLUMNS)}|")
    for name, found in sorted(kinds.items(), key=lambda item: -max(turn.processor for turn in item[1])):
        worst = max(found, key=lambda turn: turn.processor)
        where = ", ".join(f"{place} {count}" for place, count in worst.inner.most_common(3))
        times = " | ".join(f"{1e3 * seconds:.0f}" for seconds in (worst.processor, worst.own, worst.wall))
        print(f"| {name} | {len(found)} | {times} | {worst.step} | {where} |")


if __name__ == "__main__":
    main()
