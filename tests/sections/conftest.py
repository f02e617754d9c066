from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

import napari_niiv


@pytest.fixture(scope="session")
def sections() -> NDArray[np.uint8]:
    """Tissue: 16 sections of FIB-25, 80 nm apart, 256 × 256 pixels of 10 nm."""
    return np.asarray(tifffile.imread(Path(napari_niiv.__file__).parent / "plugin" / "data" / "fib25_8x.tif"))


@pytest.fixture(scope="session")
def deep() -> NDArray[np.uint8]:
    """40 sections of 192 × 192 pixels that resemble their neighbours, and slant by 2 pixels a section along x."""
    noise = np.random.default_rng(0).standard_normal((40, 192, 192 + 78), np.float32)
    blobs = gaussian_filter(noise, (3, 2, 2))
    slanting = np.stack([blobs[z, :, 78 - 2 * z : 270 - 2 * z] for z in range(40)])
    return np.clip(128 + 40 * slanting / slanting.std(), 0, 255).astype(np.uint8)
