"""Pieces of xy slices, spread over a volume: what is looked at where reading all of it would cost too much."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

if TYPE_CHECKING:
    from napari_niiv.volume import Volume


def scattered(volume: Volume, edge: int, most: int) -> Iterator[NDArray[Any]]:
    """Pieces of slices at the places of a Halton sequence, always the same ones, each once.

    Parameters
    ----------
    volume : Volume
        3-D; only what is taken of the pieces is read.
    edge : int
        Of a piece, in pixels along y and x. Pieces begin at multiples of it, as chunks usually do.
    most : int
        No more places than this are looked at.

    Yields
    ------
    array, shape (1, rows, columns)

    Raises
    ------
    VolumeError
        If the volume cannot be read.
    """
    depth, height, width = volume.shape
    seen = set()
    for number in range(1, most + 1):
        place = tuple(
            int(_radical_inverse(number, base) * size / step) * step
            for base, size, step in ((2, depth, 1), (3, height, edge), (5, width, edge))
        )
        if place not in seen:
            seen.add(place)
            z, y, x = place
            yield volume.read_raw(slice(z, z + 1), slice(y, y + edge), slice(x, x + edge))


def _radical_inverse(number: int, base: int) -> float:
    """The digits of a number in a base, mirrored at the point (van der Corput)."""
    value, weight = 0.0, 1.0
    while number:
        number, digit = divmod(number, base)
        weight /= base
        value += digit * weight
    return value
