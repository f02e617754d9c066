"""Symbolic links in folders of volumes: those that lead out of the folder are followed only where the user says so."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from napari_niiv.errors import Remedy, VolumeError

# entries that are looked at when a volume is opened, and of one folder inside it, which may hold millions of chunks
_MOST_LISTED, _MOST_IN_FOLDER = 20_000, 1_000
_METADATA = ("zarr.json", ".zarray", ".zgroup", ".zattrs", ".zmetadata", "attributes.json")


def check_links(folder: Path) -> None:
    """Refuse a folder with links that lead out of it, as one that came from elsewhere may have to files of the user.

    Metadata of all folders that are seen are looked at, and as many other entries as are listed without a wait.

    Raises
    ------
    VolumeError
        Names the first of these links.
    """
    root = os.path.realpath(folder)
    for link in _links(folder):
        target = os.path.realpath(link)
        if target != root and not target.startswith(root.rstrip(os.sep) + os.sep):
            inside = os.path.relpath(link, folder)
            raise VolumeError(
                f"{folder.name or root} holds the link {inside}, which leads out of the folder, to {target};",
                Remedy.FOLLOW_LINKS,
            )


def _links(folder: Path) -> Iterator[str]:
    """Symbolic links in a folder, those high up first."""
    left, most = _MOST_LISTED, _MOST_LISTED
    folders = deque([os.fspath(folder)])
    while folders and left > 0:
        above = folders.popleft()
        yield from filter(os.path.islink, (os.path.join(above, name) for name in _METADATA))
        try:
            entries = os.scandir(above)
        except OSError:  # which reading it will tell
            continue
        with entries:
            for entry in islice(entries, min(left, most)):
                left -= 1
                if entry.is_symlink():
                    yield entry.path
                elif entry.is_dir(follow_symlinks=False):
                    folders.append(entry.path)
        most = _MOST_IN_FOLDER
