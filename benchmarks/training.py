"""How well and how fast a training goes: python benchmarks/training.py FOLDER

FOLDER holds fib25_train1_250.tif, fib25_train2_250.tif, fib25_val_256x384x384.tif and mousebrain_lm.tif. Rows:

    nothing     a light model from nothing on TRAIN, recorded at 8x, judged on DEV-TEST (nine cubes of 128³)
    fine-tune   `em`, fitted to mousebrain_lm averaged 5x along z and nothing else, judged on the whole of it
    speed       patches per second; under torchrun, of all processes:
                torchrun --nproc-per-node 2 benchmarks/training.py FOLDER --rows speed
    memory      largest resident memory while training on a sparse zarr volume of 50 GB (made here; needs zarr)
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import numpy as np
import tifffile
import torch

from napari_niiv.evaluation.quality import compare, degraded, over_cubes
from napari_niiv.models.checkpoint import load_model
from napari_niiv.training.config import TrainingConfig
from napari_niiv.training.events import TrainingStep
from napari_niiv.training.processes import Processes
from napari_niiv.training.train import train
from napari_niiv.volume import Volume


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rows", nargs="+", default=["nothing", "fine-tune", "speed"])
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--device", default="auto")
    options = parser.parse_args()
    rows = {"nothing": from_nothing, "fine-tune": fine_tune, "speed": speed, "memory": memory}
    with tempfile.TemporaryDirectory() as scratch:
        for row in options.rows:
            rows[row](options, Path(scratch) / "model.safetensors")


def from_nothing(options: argparse.Namespace, output: Path) -> None:
    steps, seconds = _train(_recorded(options.folder), _config(options, output))
    truth = tifffile.imread(options.folder / "fib25_val_256x384x384.tif")[128:]
    scores = over_cubes(truth, partial(compare, model=load_model(output, options.device), anisotropy=8))
    print(f"from nothing, {options.minutes:g} min, {steps} steps, {seconds:.0f} s: {_above(scores)}", flush=True)


def fine_tune(options: argparse.Namespace, output: Path) -> None:
    truth = tifffile.imread(options.folder / "mousebrain_lm.tif").astype(np.float32)
    unit = float(np.percentile(truth, 99.9))
    coarse = np.rint(degraded(truth, 5)).astype(np.uint16)
    volume = Volume(coarse, voxel_size=(5.0, 1.0, 1.0), name="mousebrain 5x")
    before = compare(truth, load_model("em", options.device), 5, data_range=unit)
    steps, _ = _train([volume], _config(options, output, init="em"))
    after = compare(truth, load_model(output, options.device), 5, data_range=unit)
    print(f"mousebrain 5x, em as shipped: {_above(before)}")
    print(f"mousebrain 5x, em fine-tuned {options.minutes:g} min, {steps} steps: {_above(after)}", flush=True)


def speed(options: argparse.Namespace, output: Path) -> None:
    """The pace once all is warm: of the last events of the second stage."""
    paces = []
    for event in train(_recorded(options.folder), _config(options, output, first_stage=0.2)):
        if isinstance(event, TrainingStep) and event.stage == 2 and event.fraction > 0.5:
            paces.append(event.samples)
    processes = Processes.launched()
    if processes.main:
        print(f"{processes.size} process(es): {np.median(paces):.0f} patches per second", flush=True)


def memory(options: argparse.Namespace, output: Path) -> None:
    import zarr

    folder = output.with_suffix(".zarr")
    array = zarr.open(
        str(folder), mode="w", shape=(500, 10_000, 10_000), chunks=(16, 256, 256), dtype="uint8", fill_value=0
    )
    texture = tifffile.imread(options.folder / "fib25_train1_250.tif")
    tissue = np.tile(texture[:240], (1, 6, 6))
    for corner in ((0, 0, 0), (128, 5120, 2560), (256, 7680, 7680)):  # the rest has no chunks
        z, y, x = corner
        array[z : z + 240, y : y + 1500, x : x + 1500] = tissue
    del tissue, texture
    volume = Volume(array, voxel_size=(8.0, 1.0, 1.0), name="sparse 50 GB")
    steps, seconds = _train([volume], _config(options, output))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(
        f"zarr of {array.nbytes / 1e9:.0f} GB: {peak:.2f} GiB at most, {steps} steps in {seconds:.0f} s",
        flush=True,
    )


def _recorded(folder: Path) -> list[Volume]:
    volumes = [tifffile.imread(folder / f"fib25_train{i}_250.tif") for i in (1, 2)]
    volumes.append(tifffile.imread(folder / "fib25_val_256x384x384.tif")[:128])
    return [Volume(degraded(v, 8), voxel_size=(8.0, 1.0, 1.0), name=f"TRAIN {i}") for i, v in enumerate(volumes)]


def _config(options: argparse.Namespace, output: Path, **more: object) -> TrainingConfig:
    return TrainingConfig(output=output, minutes=options.minutes, device=options.device, overwrite=True, **more)


def _train(volumes: list[Volume], config: TrainingConfig) -> tuple[int, float]:
    began, steps = time.perf_counter(), 0
    for event in train(volumes, config):
        if isinstance(event, TrainingStep):
            steps = event.step
    return steps, time.perf_counter() - began


def _above(scores: dict[str, tuple[float, float]]) -> str:
    base = scores["bicubic"]
    return ", ".join(
        f"{name} {scores[name][0] - base[0]:+.2f} / {scores[name][1] - base[1]:+.2f} dB" for name in ("xz", "both")
    )


if __name__ == "__main__":
    torch.backends.cudnn.benchmark = True
    sys.exit(main())
