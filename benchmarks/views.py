"""What a view costs whatever the size of the volume, and what is left in memory after many: no window, no napari.

python benchmarks/views.py [--device auto] [--rows size memory]

size     views of a small and of a huge volume (2,000 x 20,000 x 20,000, sparse, as a zarr pyramid; needs zarr),
         zoomed in and zoomed out, each of a slice that was never looked at
memory   resident memory while 10,000 random views are asked for through the scheduler
"""

from __future__ import annotations

import argparse
import math
import os
import random
import statistics
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import torch
from scipy.ndimage import gaussian_filter

from napari_niiv.device import synchronize
from napari_niiv.geometry import Sampling
from napari_niiv.models.checkpoint import load_model
from napari_niiv.models.niiv import Niiv
from napari_niiv.reconstruction.cache import Memory
from napari_niiv.reconstruction.threads.scheduler import Answer, Scheduler
from napari_niiv.reconstruction.views.reconstructor import Reconstructor
from napari_niiv.reconstruction.views.request import SliceRequest
from napari_niiv.volume import Volume

ANISOTROPY = 8.0
CHUNK = (16, 256, 256)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--device", default="auto")
    parser.add_argument("--rows", nargs="+", default=["size", "memory"])
    parser.add_argument("--events", type=int, default=10_000)
    options = parser.parse_args()
    model = load_model("em", options.device)
    if "size" in options.rows:
        with tempfile.TemporaryDirectory() as folder:
            size(model, Path(folder))
    if "memory" in options.rows:
        memory(model, options.events)


def tissue(shape: tuple[int, int, int]) -> np.ndarray:
    noise = gaussian_filter(np.random.default_rng(0).random(shape, np.float32), (0.5, 3, 3), mode="wrap")
    return ((noise - noise.min()) / np.ptp(noise) * 255).astype(np.uint8)


def pyramid(folder: Path, shape: tuple[int, int, int]) -> Volume:
    """Textured where the views are, empty elsewhere; coarser laterally until isotropic, then along all axes."""
    import zarr

    levels, factors = [], [(1, 1), (1, 2), (1, 4), (1, 8), (2, 16), (4, 32)]
    pattern = tissue((64, 1024, 1024))
    for axial, lateral in factors:
        size = (shape[0] // axial, shape[1] // lateral, shape[2] // lateral)
        if levels and max(size[1:]) < 512:
            break
        level = zarr.create_array(folder / str(lateral), shape=size, chunks=CHUNK, dtype="uint8", fill_value=0)
        # a plate in the middle of y, thin enough to write, as wide as the widest view of the level
        y = size[1] // 2 // 256 * 256
        for z in range(0, min(size[0], 1024), 64):
            for x in range(0, min(size[2], 2048), 1024):
                depth, width = min(64, size[0] - z), min(1024, size[2] - x)
                height = min(256, size[1] - y)
                level[z : z + depth, y : y + height, x : x + width] = pattern[:depth, :height, :width]
        levels.append(level)
    return Volume(levels[0], voxel_size=(ANISOTROPY, 1, 1), name=str(shape), pyramid=tuple(levels[1:]))


def size(model: Niiv, folder: Path) -> None:
    volumes = [pyramid(folder / "small", (64, 1024, 1024)), pyramid(folder / "huge", (2000, 20_000, 20_000))]
    print(f"\n{model.device}, ms to the first picture of each kind (median of 24)\n")
    print("| screen pixels, voxels per pixel | pass | 64 x 1024 x 1024 | 2000 x 20000 x 20000 | ratio |")
    print("|---|---|---|---|---|")
    views = [
        ("64 x 512, away from the borders", 64, 512, 1.0, 28),
        ("64 x 256, away from the borders", 64, 256, 2.0, 24),
        ("32 x 128, away from the borders", 32, 128, 4.0, 24),
        ("512 x 1024, from the first slice on", 512, 1024, 1.0, 0),
        ("256 x 512, from the first slice on", 256, 512, 2.0, 0),
        ("64 x 128, from the first slice on", 64, 128, 8.0, 0),
    ]
    for name, rows, columns, pitch, z in views:
        for quality in ("placeholder", "fast"):
            both = cost(volumes, model, rows, columns, pitch, quality, z)
            print(f"| {name}, {pitch:g} | {quality} | {both[0]:.1f} | {both[1]:.1f} | {both[1] / both[0]:.2f} |")
    for name, rows, columns, pitch in [
        ("1024 x 1024", 1024, 1024, 1.0),
        ("1024 x 1024", 1024, 1024, 3.9),
        ("800 x 1000, all of it", 800, 1000, 20.0),
    ]:
        for quality in ("placeholder", "fast"):
            (alone,) = cost(volumes[1:], model, rows, columns, pitch, quality, 0)
            print(f"| {name}, {pitch:g} | {quality} | – | {alone:.0f} | |")


def cost(
    volumes: list[Volume], model: Niiv, rows: int, columns: int, pitch: float, quality: str, z: int
) -> list[float]:
    """Median milliseconds of views of slices that lie in chunks already met; the volumes take turns of ten views."""
    engines = [Reconstructor(volume, model) for volume in volumes]
    # the level that is read: where its plate of tissue begins
    step = 1 << max(0, math.floor(math.log2(pitch)))
    times: list[list[float]] = [[] for _ in engines]
    for turn in range(3):
        for engine, mine in zip(engines, times, strict=True):
            engine.normalization()
            first = engine.volume.shape[1] // step // 2 // CHUNK[1] * CHUNK[1] * step
            for number in range(10):
                request = SliceRequest(
                    "xz",
                    first + (10 * turn + number) * step,
                    Sampling(z + (pitch / ANISOTROPY - 1) / 2, pitch / ANISOTROPY, rows),
                    Sampling((pitch - 1) / 2, pitch, columns),
                )
                synchronize(model.device)
                began = time.perf_counter()
                engine.slice(request, quality, time_limit=0.4)
                synchronize(model.device)
                if number > 1:
                    mine.append(1e3 * (time.perf_counter() - began))
    return [statistics.median(mine) for mine in times]


def memory(model: Niiv, events: int) -> None:
    """Every event a new window, pitch, place or plane; each is answered before the next, or replaced by it."""
    volume = Volume(tissue((64, 512, 512)), voxel_size=(ANISOTROPY, 1, 1))
    engine = Reconstructor(volume, model, memory=Memory(host_bytes=100 << 20))
    answered = threading.Event()

    def deliver(answer: Answer) -> None:
        if answer.response is not None and answer.response.quality != "placeholder":
            answered.set()

    scheduler = Scheduler(deliver)
    choose = random.Random(0)
    begun, base = time.perf_counter(), 0.0
    for number in range(events + 1):
        plane = choose.choice(("xz", "xz", "yz", "xy"))
        pitch = 2 ** choose.uniform(-2, 4)
        width = min(256, int(500 / pitch))
        start = choose.uniform(0, 511 - (width - 1) * pitch)
        axial = pitch / (1 if plane == "xy" else ANISOTROPY)
        depth = (512 if plane == "xy" else 64) - 1
        rows = max(1, min(256, int(depth / axial)))
        index = choose.uniform(0, 63) if plane == "xy" else choose.randrange(512)
        if choose.random() < 0.5 and plane == "xy":
            index = round(index)
        answered.clear()
        scheduler.submit(
            engine,
            SliceRequest(plane, index, Sampling(0, axial, rows), Sampling(start, pitch, width)),
        )
        if number % 10 == 0:  # most are replaced while they wait or run, as in a drag
            answered.wait(20)
        if number in (1000, events // 2, events):
            resident = _resident()
            base = base or resident
            print(
                f"after {number} events, {time.perf_counter() - begun:.0f} s: {resident:.0f} MB "
                f"({resident - base:+.0f}), {engine.memory.latents(model.device).bytes / 2**20:.0f} MB of them "
                f"latent grids, {threading.active_count()} threads",
                flush=True,
            )
    scheduler.close(30)
    if model.device.type == "cuda":
        print(f"on the GPU at most {torch.cuda.max_memory_reserved() / 2**30:.2f} GB")
    print(f"threads left of the scheduler: {int(scheduler.alive)}")


def _resident() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


if __name__ == "__main__":
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", 2)))
    main()
