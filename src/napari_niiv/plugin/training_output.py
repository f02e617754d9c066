"""Where a training's checkpoint goes: never over a file that is there."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from napari.layers import Image

from napari_niiv.models.catalog import SUFFIX

StatePath = Callable[[Path], Path]
"""Where the state of an interrupted training lies."""


def default_output(layer: Image) -> Path:
    """Beside the layer's file if that can be written to, else in the home folder."""
    name = re.sub(r"[^\w.\-]+", "-", layer.name).strip("-.") or "volume"
    folder = Path(layer.source.path).parent if layer.source.path else None
    if folder is None or not folder.is_dir() or not os.access(folder, os.W_OK):
        folder = Path.home()
    return folder / f"{name}-niiv{SUFFIX}"


def named_output(text: str) -> Path:
    """What the user typed, with the suffix of checkpoints."""
    path = Path(text.strip()).expanduser()
    return path if path.name.lower().endswith(SUFFIX) else path.with_name(path.name + SUFFIX)


def free_output(wanted: Path, state_path: StatePath) -> Path:
    """The name wanted, with a number appended if a checkpoint or an interrupted training is there."""
    return next(path for path in _numbered(wanted) if not path.exists() and not state_path(path).exists())


def interrupted_output(wanted: Path, state_path: StatePath) -> Path | None:
    """The newest output of that name whose training can be resumed."""
    found = None
    for path in _numbered(wanted):
        if state_path(path).is_file():
            found = path
        elif not path.exists():
            break
    return found


def _numbered(wanted: Path) -> Iterator[Path]:
    yield wanted
    stem = wanted.name[: -len(SUFFIX)]
    number = 2
    while True:
        yield wanted.with_name(f"{stem}-{number}{SUFFIX}")
        number += 1
