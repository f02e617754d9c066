"""Where what is made of a layer goes: never over a file that is there."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from napari.layers import Image

from napari_niiv.plugin.common.layers import source_file

StatePath = Callable[[Path], Path]
"""Gives the path of the state of an interrupted work, from the path of its output."""


def default_output(layer: Image, ending: str, name: str | None = None) -> Path:
    """Beside the layer's file if that can be written to, else in the home folder.

    Parameters
    ----------
    layer : Image
    ending : str
        What follows the name, such as "-niiv.safetensors".
    name : str, optional
        By default the layer's.
    """
    name = re.sub(r"[^\w.\-]+", "-", name or layer.name).strip("-.") or "volume"
    file = source_file(layer)
    folder = Path(file).parent if file else None
    if folder is None or not folder.is_dir() or not os.access(folder, os.W_OK):
        folder = Path.home()
    return folder / f"{name}{ending}"


def named_output(text: str, suffixes: tuple[str, ...]) -> Path:
    """What the user typed; without one of the suffixes, the first is appended."""
    path = Path(text.strip()).expanduser()
    return path if path.name.lower().endswith(suffixes) else path.with_name(path.name + suffixes[0])


def free_output(wanted: Path, state_path: StatePath) -> Path:
    """The name wanted, with a number appended if an output or the state of an interrupted work is there."""
    return next(path for path in _numbered(wanted) if not path.exists() and not state_path(path).exists())


def interrupted_output(wanted: Path, state_path: StatePath) -> Path | None:
    """The newest output of that name whose work can be resumed."""
    newest = None
    for path in _numbered(wanted):
        if state_path(path).exists():
            newest = path
        elif not path.exists():
            break
    return newest


def _numbered(wanted: Path) -> Iterator[Path]:
    yield wanted
    number = 2
    while True:
        yield wanted.with_name(f"{wanted.stem}-{number}{wanted.suffix}")
        number += 1
