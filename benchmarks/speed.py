"""How fast the engine is: python benchmarks/speed.py [--device auto] [--threads 2]

On any device: a new 512 x 512 view of a side slice of 512 x 64 voxels, from the engine and from a script, a change of
zoom with cached latents, and the refined picture. On a GPU also 128³ voxels at 8x in one orientation, normalised input
and output on the device. Medians of synchronised runs; the paper's architecture is timed in the same run.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch

from napari_niiv.device import choose_device, synchronize
from napari_niiv.geometry import Sampling
from napari_niiv.models.architecture import Architecture
from napari_niiv.models.checkpoint import load_model
from napari_niiv.models.niiv import Niiv
from napari_niiv.reconstruction.inference import restore_box
from napari_niiv.reconstruction.single_slice import reconstruct_slice, slice_request
from napari_niiv.reconstruction.views.reconstructor import Reconstructor
from napari_niiv.volume import Volume


def milliseconds(work: Callable[[int], object], device: torch.device, runs: int) -> tuple[float, float]:
    """Median and 95th percentile; `work` is given the number of the run."""
    for run in range(3):
        work(run)
    times = []
    for run in range(3, 3 + runs):
        synchronize(device)
        began = time.perf_counter()
        work(run)
        synchronize(device)
        times.append(1e3 * (time.perf_counter() - began))
    return statistics.median(times), float(np.percentile(times, 95))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--checkpoint", default="em")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    device = choose_device(options.device)
    model = load_model(options.checkpoint, options.device)
    paper = Niiv(
        Architecture(decoder="implicit", context=0, features=64, blocks=16, degree=0, anisotropy_range=(8, 8))
    ).place(device)
    where = torch.cuda.get_device_name(device) if device.type == "cuda" else f"CPU, {options.threads} threads"
    print(f"{where}, torch {torch.__version__}\n\n| | em, ms (median, 95 %) | paper's architecture |\n|---|---|---|")

    random = np.random.default_rng(0)

    def views(chosen: Niiv, size: int, runs: int) -> list[tuple[float, float]]:
        """A side view of size x size pixels, of size / 8 slices."""
        array = random.integers(0, 255, (size // 8, 80, size), dtype=np.uint8)
        volume = Volume(array, voxel_size=(8.0, 1.0, 1.0))
        engine = Reconstructor(volume, chosen)
        engine.normalization()
        new = milliseconds(lambda i: engine.slice(slice_request(volume, "xz", 5 + i), "fast"), device, runs)
        # its first calls, which measure the intensities, are not counted
        script = milliseconds(lambda i: reconstruct_slice(volume, chosen, "xz", 5 + i, quality="fast"), device, runs)
        request = slice_request(volume, "xz", 5)
        engine.slice(request, "fast")
        # as many pixels, of a slightly different window and pitch
        windows = [(-0.5, -0.5, size - 0.5 - 4 * i, size - 0.5 - 4 * i) for i in range(runs + 3)]
        zooms = [slice_request(volume, "xz", 5, w, (w[3] + 0.5) / size) for w in windows]
        zoom = milliseconds(lambda i: engine.slice(zooms[i], "fast"), device, runs)
        few = min(runs, 5) if device.type == "cpu" else runs
        refined = milliseconds(lambda i: engine.slice(slice_request(volume, "xz", 40 + i), "refined"), device, few)
        return [new, script, zoom, refined]

    names = (
        "new view",
        "new view, by `reconstruct_slice`",
        "change of zoom, latents cached",
        "refined picture (both planes)",
    )
    for size in (512, 1024):
        light = views(model, size, 20)
        heavy = views(paper, size, 20) if device.type == "cuda" else None
        for number, name in enumerate(names):
            other = f"{heavy[number][0]:.1f} ({heavy[number][1]:.1f})" if heavy else "–"
            print(
                f"| {name}, {size} x {size} pixels | {light[number][0]:.1f} ({light[number][1]:.1f}) | {other} |",
                flush=True,
            )
    if device.type == "cuda":
        box = torch.rand(16, 128, 128, device=device)
        axial = Sampling.covering(16, 128)
        times = [
            milliseconds(lambda i, m=m: restore_box(m, box, 8.0, axial, ("xz",)), device, 50) for m in (model, paper)
        ]
        row = " | ".join(f"{median:.2f} ({late:.2f})" for median, late in times)
        print(f"| 128³ at 8x, one orientation | {row} |")


if __name__ == "__main__":
    main()
