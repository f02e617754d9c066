"""Files that a volume's file names: they must lie in its folder, whatever a file that came from elsewhere says."""

from __future__ import annotations

import os
from pathlib import Path

from napari_niiv.errors import VolumeError


def is_beside(folder: Path, name: str) -> bool:
    """Whether a name, relative or absolute, leads to somewhere in a folder or below; links on disk are the user's."""
    within = os.path.normcase(os.path.abspath(folder))
    there = os.path.normcase(os.path.abspath(os.path.join(within, name)))
    return "\0" not in name and there.startswith(within.rstrip(os.sep) + os.sep)


def named_file(namer: Path, name: str) -> Path:
    """The file that another one names, which need not exist.

    Parameters
    ----------
    namer : Path
        The file with the name in it.
    name : str
        A path, relative to the folder of `namer` or absolute.

    Raises
    ------
    VolumeError
        If it lies outside of that folder.
    """
    if not is_beside(namer.parent, name):
        shown = name if name.isprintable() else repr(name)
        raise VolumeError(
            f"{namer.name} names the file {shown[:200]}, which lies outside of its folder; put it beside it, or open "
            "that file itself."
        )
    return namer.parent / name
