"""Whether the chunks of an array are there: a store without them reads as blank, by the rules of its format."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from napari_niiv.errors import VolumeError
from napari_niiv.io.spacing import join_notes

_MOST_SOUGHT = 1000  # chunks that are looked for, however many there should be
_MOST_ASKED_FOR = 16  # of those behind a URL
_MOST_LISTED = 1000  # files that are looked at where none of these is found
_METADATA = ("zarr.json", "attributes.json")


def check_chunks(
    folder: Path, name: str, grid: Sequence[int], key: Callable[[tuple[int, ...]], str], fill_value: Any
) -> str:
    """What to say of the chunks that are missing of an array on disk, or too many; empty if neither is so.

    At most 1000 are looked for, spread evenly where there should be more.

    Parameters
    ----------
    folder : Path
        Of the array.
    name : str
        Of the volume, for messages.
    grid : sequence of int
        Number of chunks along each axis.
    key : callable
        The path of a chunk in the folder, by its place in the grid.
    fill_value
        What missing chunks are read as.

    Raises
    ------
    VolumeError
        If all are missing, or their files have other names than the metadata say.
    """
    total = math.prod(grid)
    places = _spread(total, grid, _MOST_SOUGHT)
    there = sum((folder / key(place)).exists() for place in places)
    if there == 0 and total:
        found = list(islice(_files(folder), _MOST_LISTED))
        if not found:
            raise VolumeError(f"{name} holds none of its chunks, only their description; get it anew.")
        if not any(_belongs(file, grid, key) for file in found):
            raise VolumeError(
                f"{name} keeps its chunks in files such as {found[0]}, where its metadata say {key(places[0])}; "
                "correct the metadata (dimension_separator, chunk_key_encoding), or get it anew."
            )
    note = absence(len(places) - there, len(places), total, fill_value)
    beyond = (tuple(n if at == axis else 0 for at in range(len(grid))) for axis, n in enumerate(grid))
    if any((folder / key(place)).exists() for place in beyond):
        note = join_notes(note, "some of its chunks lie beyond its shape, which its metadata may give wrong")
    return note


def check_some_chunks(
    exist: Callable[[Sequence[str]], Sequence[bool]],
    name: str,
    grid: Sequence[int],
    key: Callable[[tuple[int, ...]], str],
    fill_value: Any,
) -> str:
    """As `check_chunks` behind a URL, where each look takes a request: 16 chunks at most are looked for.

    Where there are more, and none of these is there, a sparse volume is as likely as a damaged one, and it is told.

    Parameters
    ----------
    exist : callable
        Whether there are chunks, by their paths in the array.
    name, grid, key, fill_value
        As `check_chunks`.

    Raises
    ------
    VolumeError
        If all chunks were looked for and all are missing.
    """
    total = math.prod(grid)
    places = _spread(total, grid, _MOST_ASKED_FOR)
    there = sum(exist([key(place) for place in places]))
    if not there and total == len(places) > 0:
        raise VolumeError(f"{name} holds none of its chunks, only their description; get it anew.")
    if not there and total:
        return f"none of {len(places)} of its {total} chunks is there; those that are missing are shown as {fill_value}"
    return absence(len(places) - there, len(places), total, fill_value)


def absence(missing: int, sought: int, total: int, fill_value: Any) -> str:
    """How many chunks are missing of those that were looked for, and of how many, as a note; empty if none is."""
    if not missing:
        return ""
    if sought == total:
        return f"{missing} of its {total} chunks {'is' if missing == 1 else 'are'} missing and shown as {fill_value}"
    percent = min(max(round(100 * missing / sought), 1), 99)
    return f"about {percent} % of its {total} chunks are missing and shown as {fill_value}"


def _spread(total: int, grid: Sequence[int], most: int) -> list[tuple[int, ...]]:
    """Places in the grid: all, or at random, so that no regular pattern of chunks is missed."""
    if total <= most:
        return list(np.ndindex(*grid))
    generator = np.random.default_rng(0)
    draws = np.stack([generator.integers(0, n, most) for n in grid], axis=1)
    return [tuple(int(i) for i in place) for place in draws]


def _files(folder: Path) -> Iterator[str]:
    """Paths of files in a folder but metadata, as they come: listing all of a large store would take long."""
    waiting = [""]
    while waiting:
        above = waiting.pop()
        try:
            entries = os.scandir(folder / above)
        except OSError:
            continue
        with entries:
            for entry in entries:
                path = f"{above}/{entry.name}".lstrip("/")
                if entry.name.startswith(".") or entry.name in _METADATA:
                    continue
                if entry.is_dir():
                    waiting.append(path)
                else:
                    yield path


def _belongs(file: str, grid: Sequence[int], key: Callable[[tuple[int, ...]], str]) -> bool:
    """Whether a file is the chunk of some place in the grid."""
    place = tuple(int(number) for number in re.findall(r"\d+", file))
    return len(place) == len(grid) and all(i < n for i, n in zip(place, grid, strict=True)) and key(place) == file
