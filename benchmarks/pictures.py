"""What checkpoints make of one crop of a volume, side by side: python benchmarks/pictures.py VOLUME.tif PICTURE.png

The crop is seen from the side, at three screen pixels per lateral pixel: the source, bicubic interpolation, the
checkpoints told no noise, the last of them told the noise that is estimated and a lot of it, and the truth where the
volume was averaged here (`--average 8`).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from napari_niiv.evaluation.baselines import interpolate_axial
from napari_niiv.evaluation.quality import degraded
from napari_niiv.models.checkpoint import load_model
from napari_niiv.reconstruction.single_slice import reconstruct_slice
from napari_niiv.volume import Volume

ZOOM, EDGE, TITLE = 3, 112, 16


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("volume", type=Path)
    parser.add_argument("picture", type=Path)
    parser.add_argument("--checkpoints", nargs="+", default=["em"])
    parser.add_argument("--anisotropy", type=float, default=1.0, help="of the file")
    parser.add_argument("--average", type=int, default=1, help="average so many slices, and show the truth too")
    parser.add_argument("--first", type=int, default=0, help="slice of the file to begin with")
    parser.add_argument("--at", type=int, nargs=3, required=True, metavar=("Z", "Y", "X"), help="top left voxel")
    options = parser.parse_args()
    truth = tifffile.imread(options.volume)[options.first :].astype(np.float32)
    coarse = degraded(truth, options.average) if options.average > 1 else truth
    anisotropy = options.anisotropy * options.average
    panels = dict(views(coarse, anisotropy, options))
    if options.average > 1:
        z, y, x = options.at
        panels["truth"] = truth[z : z + EDGE, y, x : x + EDGE]
    shown = [v for name, v in panels.items() if name != "source"]
    low, high = np.percentile(np.concatenate([v.ravel() for v in shown]), [0.5, 99.5])
    height, width = (ZOOM * n for n in shown[0].shape)
    width += 4
    sheet = Image.new("L", (width * len(panels) - 4, height + TITLE), 255)
    for number, (name, values) in enumerate(panels.items()):
        grey = np.clip(255 * (values - low) / (high - low), 0, 255).astype(np.uint8)
        panel = Image.fromarray(grey).resize((width - 4, height), Image.Resampling.NEAREST)
        sheet.paste(panel, (width * number, TITLE))
        ImageDraw.Draw(sheet).text((width * number + 2, 2), name, fill=0)
    sheet.save(options.picture, optimize=True)


def views(
    coarse: NDArray[np.float32], anisotropy: float, options: argparse.Namespace
) -> list[tuple[str, NDArray[np.float32]]]:
    """The crop of slice y as every method sees it, at most (EDGE, EDGE) isotropic pixels."""
    z, y, x = options.at
    rows = slice(z, z + EDGE)
    volume = Volume(coarse, voxel_size=(anisotropy, 1.0, 1.0), name=options.volume.stem)
    made = [
        (name, interpolate_axial(coarse[:, y : y + 1], anisotropy, method)[rows, 0])
        for name, method in (("source", "nearest"), ("bicubic", "bicubic"))
    ]
    for checkpoint in options.checkpoints:
        model = load_model(checkpoint)
        last = checkpoint == options.checkpoints[-1]
        levels = {"no noise told": 0.0, "auto": "auto", "strong": model.architecture.noise}
        for word, level in levels.items():
            if word == "no noise told" or (last and model.knows_noise):
                picture = reconstruct_slice(volume, model, "xz", y, denoise=level)
                made.append((f"{Path(checkpoint).stem}, {word}", picture[rows]))
    return [(name, values[:, x : x + EDGE]) for name, values in made]


if __name__ == "__main__":
    main()
