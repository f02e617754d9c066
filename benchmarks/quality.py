"""How well a checkpoint restores what it never saw: python benchmarks/quality.py fib25_val_256x384x384.tif

DEV-TEST: the last 128 slices, nine cubes of 128³ voxels, each average-pooled along z and restored by every method.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import tifffile

from napari_niiv.evaluation.quality import compare_cubes
from napari_niiv.models.checkpoint import load_model

NAMES = {"linear": "trilinear", "xz": "restored, xz alone", "both": "restored, mean of xz and yz"}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("volume", type=Path)
    parser.add_argument("--checkpoint", default="em")
    parser.add_argument("--anisotropy", type=float, nargs="+", default=(8, 4, 2))
    parser.add_argument("--device", default="auto")
    options = parser.parse_args()
    model = load_model(options.checkpoint, options.device)
    truth = tifffile.imread(options.volume)[-128:]
    print("| anisotropy | method | PSNR, dB | clipped-Fourier PSNR, dB | above bicubic |\n|---|---|---|---|---|")
    for anisotropy in options.anisotropy:
        scores = compare_cubes(truth, model, anisotropy)
        base = scores["bicubic"]
        for name, (plain, clipped) in scores.items():
            gain = f"{plain - base[0]:+.2f} / {clipped - base[1]:+.2f}"
            print(f"| {anisotropy:g} | {NAMES.get(name, name)} | {plain:.2f} | {clipped:.2f} | {gain} |")


if __name__ == "__main__":
    main()
