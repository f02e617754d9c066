"""Which checkpoints there are, without loading any (or torch)."""

from __future__ import annotations

import os
from importlib import resources
from pathlib import Path

from napari_niiv.errors import CheckpointError

SUFFIX = ".safetensors"


def bundled_models() -> list[str]:
    """Names of the checkpoints that ship with the package."""
    folder = resources.files("napari_niiv.models") / "bundled"
    return sorted(f.name.removesuffix(SUFFIX) for f in folder.iterdir() if f.name.endswith(SUFFIX))


def is_there(name: str) -> bool:
    """Whether a bundled or own checkpoint exists."""
    return name in bundled_models() or Path(name).expanduser().is_file()


def checkpoint_path(name: str | os.PathLike[str]) -> Path:
    """Path of a bundled or own checkpoint.

    Raises
    ------
    CheckpointError
        If there is none.
    """
    if isinstance(name, str) and name in bundled_models():
        return Path(str(resources.files("napari_niiv.models") / "bundled" / f"{name}{SUFFIX}"))
    path = Path(name).expanduser()
    if not path.is_file():
        raise CheckpointError(
            f"There is no checkpoint {str(name)!r}; give a file or a bundled name ({', '.join(bundled_models())})."
        )
    return path
