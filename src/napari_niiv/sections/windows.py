"""Windows of sections: what is looked at of a volume, where reading all of it would cost too much."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_niiv.volume import Volume

Window = tuple[slice, slice]

# edge in pixels and number of the windows, most first; the first that keeps within the voxels is taken
_SIZES = ((512, 4), (512, 2), (512, 1), (256, 1), (128, 1), (64, 1))
_MOST_VOXELS = 1 << 27
# voxels: nothing is looked at if more must be read, as of sections that are compressed whole
MOST_DECODED = 1 << 32
# voxels read at once, of a window or of whole sections
_PIECE_VOXELS = 1 << 24
# windows begin at multiples of this, as chunks usually do
_STEP = 64
# places that are tried along y and x, and sections in which they are
_TRIED, _TRIALS = 4, 3


def chosen_windows(channels: Sequence[Volume], sections: int) -> tuple[Window, ...]:
    """The windows with the most structure in some sections, the same in all channels.

    Parameters
    ----------
    channels : sequence of Volume
        3-D, of one shape.
    sections : int
        How many sections are looked at in all, by which the size of the windows goes.
    """
    depth, height, width = channels[0].shape
    for edge, count in _SIZES:
        h, w = min(edge, height), min(edge, width)
        if h * w * count * sections <= _MOST_VOXELS:
            break
    places = [(slice(y, y + h), slice(x, x + w)) for y in _starts(height, h) for x in _starts(width, w)]
    if len(places) <= count:
        return tuple(places)
    scores = np.zeros(len(places))
    tried = np.unique(np.linspace(0, depth - 1, _TRIALS + 2).round().astype(int))
    for channel in channels:
        spreads = np.array([sum(_spread(channel, z, place) for z in tried) for place in places])
        scores += spreads / (spreads.max() or 1.0)
    best = sorted(np.argsort(-scores, kind="stable")[:count])
    return tuple(places[i] for i in best)


def voxels_read(volume: Volume) -> int:
    """How many voxels it takes, about, to look at all sections of a volume, of all its T and C indices."""
    height, width = volume.shape[-2:]
    sections = math.prod(volume.shape[:-2])
    return sections * (height * width if _by_sections(volume.array) else min(height * width, _STEP**2))


def pieces(channels: Sequence[Volume], windows: Sequence[Window]) -> Iterator[tuple[int, list[list[NDArray[Any]]]]]:
    """The windows of all sections, some sections at once.

    Yields
    ------
    int
        The first section of the piece.
    list of list of array, shape (sections, rows, columns)
        For each channel, each window.
    """
    depth, height, width = channels[0].shape
    whole = [_by_sections(channel.array) for channel in channels]
    area = height * width if any(whole) else max(_area(window) for window in windows)
    run = max(1, _PIECE_VOXELS // area)
    for first in range(0, depth, run):
        z = slice(first, min(first + run, depth))
        yield (
            first,
            [_windows_of(channel, z, windows, at_once) for channel, at_once in zip(channels, whole, strict=True)],
        )


def samples_of(volume: Volume, z: int) -> NDArray[Any]:
    """A section, or pixels from all over one that is large, as one row."""
    _, height, width = volume.shape
    area = height * width
    if area <= _PIECE_VOXELS or _by_sections(volume.array):
        step = max(1, math.isqrt(area // _PIECE_VOXELS))
        return volume.read_raw(slice(z, z + 1), step=step).ravel()
    edge = 2 * _STEP
    corners = [(y, x) for y in _starts(height, edge, 8) for x in _starts(width, edge, 8)]
    parts = [volume.read_raw(slice(z, z + 1), slice(y, y + edge), slice(x, x + edge)) for y, x in corners]
    return np.concatenate([part.ravel() for part in parts])


def _windows_of(volume: Volume, z: slice, windows: Sequence[Window], at_once: bool) -> list[NDArray[Any]]:
    if at_once:
        sections = volume.read_raw(z)
        return [sections[:, y, x] for y, x in windows]
    return [volume.read_raw(z, y, x) for y, x in windows]


def _by_sections(array: Any) -> bool:
    """Whether whole sections are decoded, however small a part of them is read."""
    chunks = getattr(array, "chunks", None)
    if not chunks:
        return False
    edges = [max(c) if isinstance(c, tuple) else int(c) for c in chunks[-2:]]
    return all(edge >= int(size) for edge, size in zip(edges, array.shape[-2:], strict=True))


def _starts(size: int, edge: int, tried: int = _TRIED) -> list[int]:
    """Where windows may begin along an axis, side by side, and spread over it."""
    room = size - edge
    if room <= 0:
        return [0]
    count = min(tried, size // edge)
    middles = [(i + 0.5) * size / count for i in range(count)]
    return sorted({min(max(0, int(m - edge / 2)), room) // _STEP * _STEP for m in middles})


def _area(window: Window) -> int:
    return math.prod(part.stop - part.start for part in window)


def _spread(volume: Volume, z: int, place: Window) -> float:
    """The standard deviation in the middle of a window; all of it would be much of a volume in chunks."""
    y, x = (_middle(part) for part in place)
    piece = volume.read_raw(slice(z, z + 1), y, x).astype(np.float64)
    finite = piece[np.isfinite(piece)]
    return float(finite.std()) if finite.size else 0.0


def _middle(part: slice) -> slice:
    start = part.start + (part.stop - part.start) // 2 // _STEP * _STEP
    return slice(start, min(start + _STEP, part.stop))
