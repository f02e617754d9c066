"""Make anisotropic 3-D microscopy isotropic, live in napari and from scripts.

The names below are imported when first used, so that `import napari_niiv` costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from napari_niiv._version import __version__ as __version__

if TYPE_CHECKING:
    from napari_niiv.errors import NiivError
    from napari_niiv.io.open import open_volume
    from napari_niiv.models.catalog import bundled_models
    from napari_niiv.models.checkpoint import load_model
    from napari_niiv.reconstruction.single_slice import reconstruct_slice
    from napari_niiv.reconstruction.whole import reconstruct
    from napari_niiv.sections.repair import repair_sections
    from napari_niiv.training.config import TrainingConfig
    from napari_niiv.training.train import train
    from napari_niiv.volume import Volume

_HOMES = {
    "NiivError": "errors",
    "TrainingConfig": "training.config",
    "Volume": "volume",
    "bundled_models": "models.catalog",
    "load_model": "models.checkpoint",
    "open_volume": "io.open",
    "reconstruct": "reconstruction.whole",
    "reconstruct_slice": "reconstruction.single_slice",
    "repair_sections": "sections.repair",
    "train": "training.train",
}

__all__ = [
    "NiivError",
    "TrainingConfig",
    "Volume",
    "bundled_models",
    "load_model",
    "open_volume",
    "reconstruct",
    "reconstruct_slice",
    "repair_sections",
    "train",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
