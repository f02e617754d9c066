"""Exports of small volumes that have several shards, blocks and levels."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from napari_niiv.export import ExportConfig
from napari_niiv.volume import Volume

SMALL = {"chunk": 16, "shard": 1 << 14, "block": (8, 16)}
"""Blocks of 32 x 16 x 16 samples at 4x, two in a shard."""


@pytest.fixture
def config() -> Callable[..., ExportConfig]:
    return lambda **settings: ExportConfig(**{**SMALL, **settings})


@pytest.fixture
def volume(texture) -> Volume:
    """13 x 37 x 45 voxels, 4x: 52 x 37 x 45 samples."""
    return make(texture((13, 37, 45)))


def make(array: np.ndarray, dtype: str = "uint8", **more: object) -> Volume:
    keywords = {"voxel_size": (4 * 0.3, 0.3, 0.3), "unit": "micrometer", "origin": (5.0, -2.0, 7.0)}
    return Volume((200 * array).astype(dtype), **{**keywords, **more})
