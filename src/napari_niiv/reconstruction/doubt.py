"""Which places of a picture are doubtful: a level of the maps of trust, and how much of a picture lies above it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from napari_niiv.reconstruction.views.request import Trust

# Of the contrast, the normalised range. Where xz and yz differ by as much, averaged over a z step, the rms error
# against the truth is about a tenth of the contrast, on all volumes where it was measured (docs/usage.md); and where
# averages over a z step are off by as much, the error is at least so large.
DOUBTFUL = 0.05
# of a picture: below it is a speck or none, and a picture is said to agree everywhere
_SPECK = 0.001


@dataclass(frozen=True)
class Doubt:
    """How much of a picture is doubtful.

    Attributes
    ----------
    level : float
        Disagreement or misfit, in the intensities of the source, above which a place is doubtful.
    shares : mapping of {"disagreement", "misfit", "bridged"} to float
        The part of the picture's measured pixels, 0 … 1, that each map calls doubtful; of `bridged` the part that lies
        in bridged sections. Empty while parts of the picture are of a lower quality.
    """

    level: float
    shares: Mapping[Trust, float]

    @classmethod
    def of(
        cls, maps: Mapping[Trust, NDArray[np.float32]], contrast: float, empty: NDArray[np.bool_] | None = None
    ) -> Doubt:
        """What the maps of a picture come to.

        Parameters
        ----------
        maps : mapping of {"disagreement", "misfit", "bridged"} to array, shape (rows, columns)
            As a `SliceResponse` has them.
        contrast : float
            The range of intensities that is normalised to 0 … 1.
        empty : array of bool, shape (rows, columns), optional
            Pixels that hold no measurement, and have no part in it.
        """
        level = DOUBTFUL * contrast
        measured = 1 if empty is None else 1 - float(np.mean(empty))

        def share(kind: Trust, values: NDArray[np.float32]) -> float:
            doubtful = np.abs(values) > (0.5 if kind == "bridged" else level)
            if empty is not None:
                doubtful &= ~empty
            return float(np.mean(doubtful)) / measured if measured else 0.0

        return cls(level, {kind: share(kind, values) for kind, values in maps.items()})

    def agrees(self, kind: Trust) -> bool:
        """Whether a map finds nothing worth mentioning in the whole picture: less than 0.1 % of it."""
        return self.shares[kind] < _SPECK
