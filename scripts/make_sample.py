"""Make the sample that ships: python scripts/make_sample.py fib25_val_256x384x384.tif

The last 128 slices (never trained on), a 256 x 256 crop, average-pooled 8 times along z: 16 x 256 x 256 voxels of
80 x 10 x 10 nm.
"""

import sys
from pathlib import Path

import numpy as np
import tifffile

from napari_niiv.io.write import write_tiff
from napari_niiv.volume import Volume

FOLDER = Path(__file__).parent.parent / "src" / "napari_niiv" / "plugin" / "data"

truth = tifffile.imread(sys.argv[1])[128:256, 64:320, 64:320]
coarse = np.rint(truth.reshape(16, 8, 256, 256).mean(1)).astype(np.uint8)
volume = Volume(coarse, voxel_size=(0.08, 0.01, 0.01), unit="micrometer", name="FIB-25")
write_tiff(volume, FOLDER / "fib25_8x.tif", overwrite=True)
