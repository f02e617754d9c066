"""Which checkpoints there are, without loading any (or torch)."""

from __future__ import annotations

import json
import os
import struct
from functools import cache
from importlib import resources
from pathlib import Path

from napari_niiv.errors import CheckpointError

SUFFIX = ".safetensors"
CARD_KEY = "napari_niiv"  # of the metadata of a file


def bundled_models() -> list[str]:
    """Names of the checkpoints that ship with the package."""
    return list(_bundled())


@cache
def _bundled() -> tuple[str, ...]:
    folder = resources.files("napari_niiv.models") / "bundled"
    return tuple(sorted(f.name.removesuffix(SUFFIX) for f in folder.iterdir() if f.name.endswith(SUFFIX)))


@cache
def bundled_description(name: str) -> str:
    """What the card of a bundled checkpoint says it is for; only the head of its file is read. Empty for others."""
    if name not in bundled_models():
        return ""
    with checkpoint_path(name).open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        head = json.loads(file.read(length))
    return str(json.loads(head["__metadata__"][CARD_KEY])["description"])


def checkpoint_name(name: str) -> str:
    """What a bundled or own checkpoint is called: its file's name, whose ending tells it from a bundled one only."""
    own = Path(name).name
    short = own.removesuffix(SUFFIX)
    return own if short in bundled_models() else short


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
