"""Writing whole volumes: `python benchmarks/export.py --rows memory workers kill gpu gpus`.

Needs neither napari nor files: the volumes are synthetic, 8x anisotropic, and made when they are read.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
import zarr

from napari_niiv import load_model
from napari_niiv.device import synchronize
from napari_niiv.export import ExportConfig, ExportProgress, export
from napari_niiv.geometry import Box, Span
from napari_niiv.reconstruction.batch_budget import BatchBudget
from napari_niiv.reconstruction.grid import Grid
from napari_niiv.reconstruction.planes import orientations_of
from napari_niiv.reconstruction.restoration import Restoration
from napari_niiv.volume import Volume

# gigavoxels of the output: voxels of the source
SIZES = {"0.1": (128, 320, 320), "0.4": (128, 640, 640), "1.6": (128, 1280, 1280)}
KILLS = 5


class Tissue:
    """A lazy volume: smooth noise that repeats itself, so that it has any size and takes no memory."""

    dtype = np.dtype(np.uint8)

    def __init__(self, shape: tuple[int, int, int]) -> None:
        self.shape = shape
        noise = torch.rand(1, 1, 40, 260, 260, generator=torch.Generator().manual_seed(0))
        smooth = torch.nn.functional.avg_pool3d(noise, (3, 5, 5), stride=1)[0, 0]
        low, high = smooth.min(), smooth.max()
        self.tile = ((smooth - low) / (high - low) * 255).byte().numpy()

    def __getitem__(self, key: tuple[slice, slice, slice]) -> np.ndarray:
        places = [np.arange(*part.indices(n)) % m for part, n, m in zip(key, self.shape, self.tile.shape, strict=True)]
        return self.tile[np.ix_(*places)]


def tissue(shape: tuple[int, int, int]) -> Volume:
    return Volume(Tissue(shape), voxel_size=(8.0, 1.0, 1.0), unit="nanometer", name="tissue")


def one(options: argparse.Namespace) -> None:
    """An export in this process; a line of JSON for each step, and one with what it took."""
    volume, model = tissue(tuple(options.shape)), load_model("em", options.device)
    began, first, ahead = time.monotonic(), 0.0, 0
    for event in export(volume, model, options.target, ExportConfig(**json.loads(options.config))):
        if isinstance(event, ExportProgress):
            if not first:
                first, ahead = time.monotonic() - began, event.done
            print(json.dumps({"stage": event.stage, "done": event.done}), flush=True)
    seconds = time.monotonic() - began
    rate = (8 * np.prod(options.shape) - ahead) / (seconds - first)  # once the model is loaded and warm
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << (20 if sys.platform != "darwin" else 30))
    print(json.dumps({"seconds": seconds, "first": first, "rate": rate, "peak": peak}), flush=True)


def started(options: argparse.Namespace, shape: tuple[int, ...], target: Path, **config: Any) -> subprocess.Popen:
    """An export in a fresh process."""
    program = [sys.executable, __file__, "--one", "--device", options.device, "--target", str(target)]
    program += ["--config", json.dumps(config), "--shape", *map(str, shape)]
    return subprocess.Popen(program, stdout=subprocess.PIPE, text=True)


def finished(process: subprocess.Popen) -> dict[str, float]:
    lines = process.communicate()[0].splitlines()
    if process.returncode:
        sys.exit(f"an export ended with {process.returncode}")
    return json.loads(lines[-1])


def memory(options: argparse.Namespace, folder: Path) -> None:
    print("\n| gigavoxels | peak memory, MB | ns a voxel | seconds |\n|---|---|---|---|")
    for name in options.sizes:
        shape = SIZES[name]
        took = finished(started(options, shape, folder / "out.zarr", planes=options.planes, overwrite=True))
        voxels = 8 * np.prod(shape)
        per_voxel = 1e9 * took["seconds"] / voxels
        print(
            f"| {voxels / 1e9:.2f} | {took['peak'] * 1024:.0f} | {per_voxel:.0f} | {took['seconds']:.0f} |",
            flush=True,
        )


def workers(options: argparse.Namespace, folder: Path) -> None:
    shape = (64, 512, 512)
    voxels = 8 * np.prod(shape)
    print("\n| workers of one thread | seconds | Mvoxel/s | times one |\n|---|---|---|---|")
    alone = None
    for number in (1, 2):
        config = {
            "planes": options.planes,
            "shard": 1 << 23,
            "workers": number,
            "threads": 1,
            "overwrite": True,
        }
        seconds = finished(started(options, shape, folder / "out.zarr", **config))["seconds"]
        alone = alone or seconds
        print(f"| {number} | {seconds:.1f} | {voxels / seconds / 1e6:.2f} | {alone / seconds:.2f} |", flush=True)


def kill(options: argparse.Namespace, folder: Path) -> None:
    """Killed at random moments and resumed, beside an export that was left alone."""
    shape = (32, 320, 320)
    config = {"planes": options.planes, "shard": 1 << 21, "block": (32, 64)}
    alone = finished(started(options, shape, folder / "alone.zarr", **config))["seconds"]
    chance = random.Random(options.seed)
    target, done = folder / "killed.zarr", []
    for _ in range(KILLS):
        process = started(options, shape, target, **config, resume=True)
        process.stdout.readline()  # it is computing
        time.sleep(chance.uniform(0, 0.8 * alone / KILLS))
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
        done.append(len((folder / "killed.zarr.unfinished" / "journal").read_text().splitlines()))
    finished(started(options, shape, target, **config, resume=True))
    levels = len(zarr.open_group(target, mode="r").attrs["ome"]["multiscales"][0]["datasets"])
    same = all(
        np.array_equal(zarr.open_array(target / str(n))[...], zarr.open_array(folder / "alone.zarr" / str(n))[...])
        for n in range(levels)
    )
    print(f"\n| shards finished when killed | output, {levels} levels |\n|---|---|")
    print(f"| {', '.join(map(str, done))} | {'the same, bit for bit' if same else 'DIFFERS'} |", flush=True)
    if not same:
        sys.exit(1)


def gpu(options: argparse.Namespace, folder: Path) -> None:
    """Blocks of 128 x 256 x 256 source voxels from the middle of a volume, with all of their halo."""
    model = load_model("em", options.device)
    device = model.device
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    print(f"\n{name}, torch {torch.__version__}\n")
    print("| planes | computed, Mvoxel/s | with storage | first block after, s |\n|---|---|---|---|")
    voxels = Tissue((176, 320, 320))[:, :, :]
    volume = Volume(voxels, voxel_size=(8.0, 1.0, 1.0))
    grid = Grid.of(volume, 1.0)
    for planes in ("xz", "both"):
        restoration = Restoration.of(volume, grid, BatchBudget(model), orientations_of(planes))
        block = restoration.block(Box(Span(24 * 8, 152 * 8), Span(32, 288), Span(32, 288)))
        times = []
        for run in range(8 if device.type == "cuda" else 1):
            synchronize(device)
            began = time.perf_counter()
            count = restoration.compute(volume, block).size
            synchronize(device)
            if run >= 3 or device.type != "cuda":
                times.append(time.perf_counter() - began)
        stored, after = "–", "–"
        if device.type == "cuda":
            shape = (256, 1024, 1024)
            took = finished(started(options, shape, folder / "out.zarr", planes=planes, overwrite=True))
            stored, after = f"{took['rate'] / 1e6:.0f}", f"{took['first']:.1f}"
        print(f"| {planes} | {count / float(np.median(times)) / 1e6:.0f} | {stored} | {after} |", flush=True)


def gpus(options: argparse.Namespace, folder: Path) -> None:
    """Workers, each with a GPU of its own as far as there are any, storage included."""
    shape = (1024, 1024, 1024)
    print(f"\n{torch.cuda.device_count()} GPUs\n")
    print("| workers | seconds | first unit after, s | Mvoxel/s from then on | times one |\n|---|---|---|---|---|")
    alone = None
    for number in options.workers:
        config = {"planes": options.planes, "workers": number, "overwrite": True}
        took = finished(started(options, shape, folder / "out.zarr", **config))
        rate, first = took["rate"] / 1e6, took["first"]
        alone = alone or rate
        print(
            f"| {number} | {took['seconds']:.1f} | {first:.1f} | {rate:.0f} | {rate / alone:.2f} |",
            flush=True,
        )


ROWS = {"memory": memory, "workers": workers, "kill": kill, "gpu": gpu, "gpus": gpus}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=["memory", "workers", "kill"])
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=list(SIZES))
    parser.add_argument("--planes", choices=("xz", "both"), default="xz")
    parser.add_argument("--workers", nargs="+", type=int, default=[1, 2], help="of the row gpus")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, help="where to write; a temporary folder by default")
    for hidden in ("--target", "--config"):
        parser.add_argument(hidden, help=argparse.SUPPRESS)
    parser.add_argument("--shape", nargs=3, type=int, help=argparse.SUPPRESS)
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        one(options)
        return
    for name in options.rows:
        folder = Path(tempfile.mkdtemp(dir=options.folder))
        try:
            ROWS[name](options, folder)
        finally:
            shutil.rmtree(folder)


if __name__ == "__main__":
    main()
