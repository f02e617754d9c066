"""What the tests of the controls share."""

from __future__ import annotations

from pathlib import Path

import pytest
import tifffile

from tests.plugin.conftest import ramp

DATA = ramp((8, 40, 48), (5.0, 1.0, 2.0))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A stack with its voxel size, four times as coarse along z."""
    path = tmp_path / "brain.tif"
    tifffile.imwrite(path, DATA, imagej=True, metadata={"axes": "ZYX", "spacing": 4.0, "unit": "um"})
    return path
