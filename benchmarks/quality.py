"""How well a checkpoint restores what it never saw: python benchmarks/quality.py fib25_val_256x384x384.tif

DEV-TEST: the last 128 slices, nine cubes of 128³ voxels. Two protocols:

paper
    Each cube is average-pooled along z, restored by every method and compared with itself.
split
    Of every eight planes the mean of four is restored, and the other four judge: noise that is kept counts as wrong.

The texture ratio is that of the restored volume: above 1 its side views look brushed along z.
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

import numpy as np
import tifffile

from napari_niiv.evaluation.quality import Score, compare, compare_split, over_cubes
from napari_niiv.metrics import texture_ratio
from napari_niiv.models.checkpoint import load_model
from napari_niiv.reconstruction.denoise import AUTO, Denoise, denoise_setting

NAMES = {"linear": "trilinear", "xz": "restored, xz alone", "both": "restored, mean of xz and yz"}


def show(protocol: str, scores: dict[str, Score], level: Denoise) -> None:
    """A line of the table for each method; interpolations only at level 0."""
    base = scores["bicubic"]
    for name, score in scores.items():
        if level and name not in ("xz", "yz", "both"):
            continue
        method = NAMES.get(name, name) + (f", level {level}" if level else "")
        decibels, gains = f"{score.psnr:.2f}", f"{score.psnr - base.psnr:+.2f}"
        if np.isfinite(score.clipped_fourier):
            decibels += f" / {score.clipped_fourier:.2f}"
            gains += f" / {score.clipped_fourier - base.clipped_fourier:+.2f}"
        print(f"| {protocol} | {method} | {decibels} | {gains} | {score.texture:.2f} |", flush=True)


def noise_level(text: str) -> Denoise:
    """A number or a word, as the command line has it."""
    return denoise_setting(text if text == AUTO else float(text))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("volume", type=Path)
    parser.add_argument("--checkpoint", default="em")
    parser.add_argument("--anisotropy", type=float, nargs="*", default=(8, 4, 2))
    parser.add_argument(
        "--denoise", type=noise_level, nargs="+", default=[0.0], help="noise levels that the model is told, or auto"
    )
    parser.add_argument("--device", default="auto")
    options = parser.parse_args()
    model = load_model(options.checkpoint, options.device)
    truth = tifffile.imread(options.volume)[-128:]
    print("| protocol | method | PSNR / clipped-Fourier PSNR, dB | above bicubic | texture |\n|---|---|---|---|---|")
    print(f"| | truth | | | {texture_ratio(truth):.2f} |")
    for level in options.denoise:
        for anisotropy in options.anisotropy:
            paper = partial(compare, model=model, anisotropy=anisotropy, denoise=level)
            show(f"paper, {anisotropy:g}×", over_cubes(truth, paper), level)
        show("split, 8×", over_cubes(truth, partial(compare_split, model=model, denoise=level)), level)


if __name__ == "__main__":
    main()
