"""What is kept of an export that was stopped."""

from __future__ import annotations

import math
import os
from pathlib import Path

from napari_niiv.errors import OutputError
from napari_niiv.export.shards import open_level
from napari_niiv.export.store import Unfinished


def kept_parts(target: str | os.PathLike[str]) -> tuple[int, int]:
    """How many parts (shards of the full resolution) of an output are finished, and how many it has.

    Parameters
    ----------
    target : path
        The output; beside it lies what is unfinished.

    Returns
    -------
    tuple of int
        (0, 0) if there is nothing to go on with.

    Raises
    ------
    OutputError
        If the record of it is damaged.
    """
    store = Unfinished(Path(target).expanduser())
    if not store.begun:
        return 0, 0
    finished = sum(level == 0 and bool(states) for (level, _), states in store.journal().items())
    if not finished:
        return 0, 0
    try:
        array = open_level(store.data)
        shards = array.shards or array.chunks
        number = math.prod(-(-n // edge) for n, edge in zip(array.shape, shards, strict=True))
    except Exception as error:  # of damaged metadata, anything
        raise store.damaged() from error
    return finished, number


def kept_words(target: str | os.PathLike[str]) -> str:
    """Such as "3 of 12 parts are kept"; empty if there is nothing to go on with."""
    try:
        finished, number = kept_parts(target)
    except (OutputError, OSError):
        return "what is finished is kept"
    return parts_words(finished, number) if finished else ""


def parts_words(finished: int, number: int) -> str:
    """Such as "3 of 12 parts are kept"."""
    return f"{finished} of {number} parts {'is' if finished == 1 else 'are'} kept"
