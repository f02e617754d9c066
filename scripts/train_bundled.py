"""Train the checkpoint `em` that ships with napari-niiv.

    python scripts/train_bundled.py DATA_FOLDER OUTPUT.safetensors [--minutes 1.6 5.2]

DATA_FOLDER holds fib25_train1_250.tif, fib25_train2_250.tif and fib25_val_256x384x384.tif (FIB-25, FlyEM, CC BY 3.0).
Self-supervised in two passes. Each factor is learnt from the volumes as a microscope of about that anisotropy would
have recorded them (average-pooled 2, 4 and 8 times along z):

1. a wide 2-D network learns to undo the pooling of a lateral axis of the recorded slices, and restores the recorded
   volumes along z: pseudo-isotropic volumes, projected onto what was recorded;
2. the light network that ships learns the same on those, with three neighbouring slices on each side.

The last 128 slices of fib25_val are never trained on; the card's metrics are measured there.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np
import tifffile
import torch

from napari_niiv import __version__
from napari_niiv.device import choose_device
from napari_niiv.evaluation.quality import compare_cubes, degraded
from napari_niiv.models.checkpoint import Card, TrainingVolume, load_model, save_model
from napari_niiv.models.niiv import Architecture, Niiv
from napari_niiv.normalization import Normalization
from napari_niiv.training.config import FitConfig
from napari_niiv.training.loop import Source, fit
from napari_niiv.training.pseudo import pseudo_isotropic
from napari_niiv.volume import Volume

RECORDED = (2.0, 4.0, 8.0)
FACTORS = tuple(float(round(a, 2)) for a in np.geomspace(1.5, 10, 20)) + RECORDED
ATTRIBUTION = (
    "FIB-25, Drosophila medulla, FlyEM team, Janelia Research Campus; Takemura et al. 2015, PNAS 112:13711; "
    "CC BY 3.0"
)


def main() -> None:
    parser = argparse.ArgumentParser(description="Train the bundled checkpoint em.")
    parser.add_argument("data", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--minutes", type=float, nargs=2, default=(1.6, 5.2), metavar=("PASS1", "PASS2"))
    parser.add_argument("--batch", type=int, nargs=2, default=(32, 64), metavar=("PASS1", "PASS2"))
    parser.add_argument("--device", default="auto")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    device = choose_device(options.device)
    torch.backends.cudnn.benchmark = True

    volumes = [tifffile.imread(options.data / f"fib25_train{i}_250.tif") for i in (1, 2)]
    held = tifffile.imread(options.data / "fib25_val_256x384x384.tif")
    volumes.append(held[:128])
    recorded = {a: [_normalised(degraded(v, a)).to(device) for v in volumes] for a in RECORDED}

    wide = Architecture(context=0, features=64, blocks=16, anisotropy_range=(2, 8), degree=2)
    first = _train(
        Niiv(wide).to(device),
        [Source(v, (a,)) for a, v in recorded.items()],
        FitConfig(minutes=options.minutes[0], batch=options.batch[0], learning_rate=3e-4, seed=options.seed),
        device,
        stage=1,
    )
    first.place(device)
    near = {a: [f for f in FACTORS if _nearest(f) == a] for a in RECORDED}
    sources = [Source([pseudo_isotropic(first, v, a) for v in recorded[a]], tuple(near[a])) for a in RECORDED]
    del recorded, first

    light = Niiv(Architecture(context=3, features=32, blocks=8, degree=3)).to(device)
    config = FitConfig(
        minutes=options.minutes[1], batch=options.batch[1], learning_rate=4e-4, seed=options.seed
    )
    _train(light, sources, config, device, stage=2)
    card = Card(
        name="em",
        description="Electron microscopy, anisotropy 1.5 to 10; self-supervised in two passes.",
        architecture=light.architecture,
        training_volumes=tuple(
            TrainingVolume(
                name=n,
                description="FIB-SEM, Drosophila medulla, 10 nm",
                licence="CC BY 3.0",
                attribution=ATTRIBUTION,
            )
            for n in ("FIB-25 train 1 (250³)", "FIB-25 train 2 (250³)", "FIB-25 validation, z 0 to 127")
        ),
        licence="CC BY 3.0",
        attribution=ATTRIBUTION,
        software_version=__version__,
    )
    save_model(light, card, options.output)
    model = load_model(options.output, options.device)
    metrics = _measure(model, held[128:])
    save_model(light, card.model_copy(update={"metrics": metrics}), options.output)
    for name, value in metrics.items():
        print(f"{name:45s} {value:8.2f}")


def _train(model: Niiv, sources: list[Source], config: FitConfig, device: torch.device, stage: int) -> Niiv:
    began = told = time.perf_counter()
    for event in fit(model, sources, config, device=device, stage=stage):
        if time.perf_counter() - told > 20 or event.fraction >= 1:
            told = time.perf_counter()
            print(f"pass {stage}: step {event.step}, {told - began:.0f} s, loss {event.loss:.5f}", flush=True)
    return model


def _nearest(anisotropy: float) -> float:
    return min(RECORDED, key=lambda r: abs(np.log(r / anisotropy)))


def _normalised(volume: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(Normalization.of(Volume(volume)).apply(volume))


def _measure(model: Niiv, truth: np.ndarray) -> dict[str, float]:
    """Mean over the nine 128³ cubes of the part that was not trained on."""
    metrics: dict[str, float] = {}
    for anisotropy in (8, 4, 2):
        for method, scores in compare_cubes(truth, model, anisotropy).items():
            for measure, value in zip(("PSNR", "clipped-Fourier PSNR"), scores, strict=True):
                metrics[f"{method}, {anisotropy}x, {measure} (dB)"] = round(value, 3)
    return metrics


if __name__ == "__main__":
    sys.exit(main())
