"""What all tests share: a safe OpenGL on Mesa, few threads, the large test volumes."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

try:
    import torch
except ImportError:
    pass
else:
    torch.set_num_threads(2)

if sys.platform.startswith("linux"):
    try:
        from vispy.gloo.glir import GlirProgram
    except ImportError:
        pass
    else:
        # Mesa 22 crashes in glDeleteProgram when napari removes a layer and adds another in a shown window.
        GlirProgram.delete = lambda self: None


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of the large test volumes: NAPARI_NIIV_DATA, or shared/data beside the checkout; skips without it."""
    named = os.environ.get("NAPARI_NIIV_DATA")
    folder = Path(named) if named else Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"no test volumes at {folder}; name their folder in NAPARI_NIIV_DATA")
    return folder
