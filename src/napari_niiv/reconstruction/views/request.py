"""What is asked of the reconstruction and what it answers: frozen, so that threads can share them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from napari_niiv.empty_voxels import NOTHING_EMPTY, EmptyVoxels
from napari_niiv.errors import ReconstructionError
from napari_niiv.geometry import Sampling
from napari_niiv.reconstruction.denoise import AUTO, Denoise
from napari_niiv.reconstruction.doubt import Doubt
from napari_niiv.reconstruction.planes import AXES, Plane

Quality = Literal["placeholder", "fast", "refined"]
Trust = Literal["disagreement", "misfit", "bridged"]
"""What tells how far to trust a picture: where its two orientations disagree, where the picture, degraded again, is not
what was measured, and which sections were not measured but interpolated."""


@dataclass(frozen=True)
class SliceRequest:
    """One picture of a plane of a volume.

    Attributes
    ----------
    plane : {"xz", "yz", "xy"}
    index : float
        Position across the plane, in voxels; only an xy plane may lie between voxels.
    rows, columns : Sampling
        Positions along z and x (xz), z and y (yz), or y and x (xy), in voxels.
    leading : tuple of int
        Index along each leading (T, C) axis.
    project : bool
        Correct the reconstruction so that, degraded again, it is what was measured.
    trust : tuple of {"disagreement", "misfit", "bridged"}
        Which maps to make as well.
    denoise : float or "auto"
        Noise level of the source's voxels, the standard deviation as a share of the normalised range; "auto" estimates
        it from the volume.
    """

    plane: Plane
    index: float
    rows: Sampling
    columns: Sampling
    leading: tuple[int, ...] = ()
    project: bool = False
    trust: tuple[Trust, ...] = ()
    denoise: Denoise = AUTO

    @property
    def place(self) -> tuple[str, float, tuple[int, ...]]:
        """Which slice it is, whatever window of it: pictures of one place can stand in for each other."""
        return self.plane, self.index, self.leading

    def checked(self, shape: tuple[int, ...]) -> SliceRequest:
        """The request itself, if a volume of this shape holds it.

        Raises
        ------
        ReconstructionError
            If the plane is unknown, or an index is outside.
        """
        if self.plane not in AXES:
            raise ReconstructionError(f"There is no plane {self.plane!r}; use xz, yz or xy.")
        leading = shape[:-3]
        if len(self.leading) != len(leading) or any(not 0 <= i < n for i, n in zip(self.leading, leading, strict=True)):
            raise ReconstructionError(f"The leading (T, C) index {self.leading} does not fit the shape {shape}.")
        size = shape[-3:][AXES[self.plane][0]]
        if not -0.5 <= self.index <= size - 0.5:
            raise ReconstructionError(f"Index {self.index:g} of plane {self.plane} is outside 0 to {size - 1}.")
        return self


@dataclass(frozen=True)
class SliceResponse:
    """A picture of a plane of a volume, as it was asked for.

    Attributes
    ----------
    request : SliceRequest
    quality : {"placeholder", "fast", "refined"}
        Linear interpolation, one plane, or both planes fused.
    image : array, shape (rows, columns)
        In the intensities and dtype of the source.
    seconds : float
        Time it took.
    device : str
    downsample : int
        Lateral level that was read.
    inferred : bool
        Whether the network had a part in it (False where interpolation is the right answer).
    notice : str
        What the user should know, such as a retreat to the CPU.
    complete : bool
        False where parts are still of a lower quality, because there was no time for all.
    trust : mapping of {"disagreement", "misfit", "bridged"} to array, shape (rows, columns), float32
        Those of the maps asked for that this quality has, in the intensities of the source. `disagreement` is the
        absolute difference of the xz and the yz reconstruction (refined pictures have both); `misfit` the signed
        difference between the reconstruction, degraded again, and what was measured (side views); `bridged` is 1 where
        the nearest section is bridged, 0 elsewhere. The first two are smoothed over a z step.
    doubt : Doubt or None
        How much of the picture its maps call doubtful; None without maps.
    denoise : float or None
        Noise level of the source's voxels, asked for or estimated; None as long as it is not estimated, which no
        interpolation needs.
    empty : EmptyVoxels
        Which voxels hold no measurement; they are in the picture as they are in the source.
    """

    request: SliceRequest
    quality: Quality
    image: NDArray[Any]
    seconds: float
    device: str
    downsample: int
    inferred: bool
    notice: str = ""
    complete: bool = True
    trust: Mapping[Trust, NDArray[np.float32]] = field(default_factory=lambda: MappingProxyType({}))
    doubt: Doubt | None = None
    denoise: float | None = None
    empty: EmptyVoxels = NOTHING_EMPTY


def bridged_map(request: SliceRequest, bridged: Collection[int]) -> NDArray[np.float32]:
    """1 where the section that is nearest to a pixel was bridged, 0 elsewhere; shape (rows, columns)."""
    rows, columns = request.rows, request.columns
    heights = rows.start + rows.step * np.arange(rows.count) if request.plane != "xy" else np.array([request.index])
    marked = np.isin(np.floor(heights + 0.5).astype(int), list(bridged)).astype(np.float32)
    return np.ascontiguousarray(np.broadcast_to(marked[:, None], (rows.count, columns.count)))
