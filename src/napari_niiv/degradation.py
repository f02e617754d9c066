"""How a sharp axis becomes a coarse one: what training undoes.

Every degradation is a weight over position along the axial axis, in axial voxels (z steps) from the centre of the
coarse voxel. A coarse voxel is the weighted mean of the sharp signal, each pixel of which is taken as constant over its
extent: so any factor, whole or not, is exact.

Forms and the command line are built from these classes: torch, which takes seconds to import, is imported by the
arithmetic alone.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import BaseModel, ConfigDict, Field, field_validator

from napari_niiv.errors import VolumeError
from napari_niiv.geometry import Sampling

if TYPE_CHECKING:
    from torch import Tensor

# of a Gaussian that count
_SIGMAS = 3.0
# of a Gaussian with unit standard deviation
_FWHM = 2 * math.sqrt(2 * math.log(2))


class _Degradation(BaseModel, ABC):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @property
    @abstractmethod
    def reach(self) -> float:
        """Half the extent of the weight, in axial voxels."""

    @abstractmethod
    def cumulative(self, position: NDArray[np.float64]) -> NDArray[np.float64]:
        """Integral of the weight up to a position in axial voxels: 0 below -reach, 1 above reach."""

    def planes_averaged(self, anisotropy: float) -> float:
        """Single planes whose noise is averaged in one coarse voxel; 1 where a camera adds it after the blur."""
        return 1.0

    def apply(self, sharp: Tensor, anisotropy: float, positions: Sampling | None = None) -> Tensor:
        """Degrade the last axis.

        Parameters
        ----------
        sharp : Tensor, shape (..., n)
        anisotropy : float
            a, sharp pixels per axial voxel; at least 1.
        positions : Sampling, optional
            Centres of the coarse voxels, in sharp pixels; by default as many as lie wholly within the axis, from its
            beginning on. Beyond its ends the signal is continued by replication.

        Returns
        -------
        Tensor, shape (..., floor(n / a))

        Raises
        ------
        ValueError
            If the axis is shorter than one axial voxel.
        """
        from napari_niiv.resampling import weighted_means

        if positions is None:
            positions = coarse_positions(sharp.shape[-1], anisotropy)
        return weighted_means(sharp, positions, _Pixels(self, anisotropy))

    def margin(self, anisotropy: float) -> int:
        """Sharp pixels to leave at each end of an axis, for no coarse voxel to see what lies beyond."""
        return math.ceil(max(0.0, self.reach - 0.5) * anisotropy - 1e-6)

    def needed(self, axial: int, anisotropy: float) -> int:
        """Sharp pixels from which a training pair of `axial` coarse voxels can be made."""
        return math.ceil(axial * anisotropy - 1e-9) + 2 * self.margin(anisotropy)

    def training_pair(self, sharp: Tensor, anisotropy: float) -> tuple[Tensor, Sampling, slice]:
        """Something to restore, and how much of the sharp signal it shows.

        Parameters
        ----------
        sharp : Tensor, shape (..., n)
        anisotropy : float

        Returns
        -------
        coarse : Tensor, shape (..., m)
            Degraded; only voxels that see nothing beyond the ends of `sharp`.
        positions : Sampling
            Of the sharp pixels that they cover, in coarse voxels.
        covered : slice
            Which sharp pixels these are.

        Raises
        ------
        ValueError
            If the axis is too short for one coarse voxel.
        """
        margin = self.margin(anisotropy)
        inner = coarse_positions(sharp.shape[-1] - 2 * margin, anisotropy)
        coarse = self.apply(sharp, anisotropy, inner.relative_to(-margin))
        positions = restored_positions(inner.count, anisotropy)
        return coarse, positions, slice(margin, margin + positions.count)


@dataclass(frozen=True)
class _Pixels:
    """A degradation as the weights of sharp pixels."""

    degradation: _Degradation
    anisotropy: float

    @property
    def reach(self) -> float:
        return self.degradation.reach * self.anisotropy + 0.5

    def weights(self, distance: NDArray[np.float64]) -> NDArray[np.float64]:
        lower, upper = (distance - 0.5) / self.anisotropy, (distance + 0.5) / self.anisotropy
        return self.degradation.cumulative(upper) - self.degradation.cumulative(lower)


class Average(_Degradation):
    """Every coarse voxel is the mean over its extent, as when a thick section is imaged."""

    kind: Literal["average"] = Field("average", title="average over the z step")

    @property
    def reach(self) -> float:
        """Half the extent of the weight: half an axial voxel."""
        return 0.5

    def planes_averaged(self, anisotropy: float) -> float:
        """Single planes whose noise is averaged in one coarse voxel: all of its extent."""
        return anisotropy

    def cumulative(self, position: NDArray[np.float64]) -> NDArray[np.float64]:
        """Integral of the weight up to a position: of a box of the voxel's extent."""
        return np.clip(position + 0.5, 0, 1)


class Gaussian(_Degradation):
    """A Gaussian point-spread function, sampled once per z step: light microscopes.

    Give the blur that the axial direction has beyond the lateral one: sqrt(axial FWHM² - lateral FWHM²).
    """

    kind: Literal["gaussian"] = Field("gaussian", title="Gaussian blur")
    fwhm: float = Field(
        gt=0,
        le=16,
        title="FWHM",
        description="full width at half maximum of the blur that z has beyond x and y, in z steps",
    )

    @property
    def reach(self) -> float:
        """Half the extent of the weight: three standard deviations, in axial voxels."""
        return _SIGMAS * self.fwhm / _FWHM

    def cumulative(self, position: NDArray[np.float64]) -> NDArray[np.float64]:
        """Integral of the weight up to a position: of a Gaussian cut at three standard deviations."""
        import torch

        u = torch.from_numpy(np.clip(position * _FWHM / self.fwhm, -_SIGMAS, _SIGMAS))
        tail = 0.5 * math.erfc(_SIGMAS / math.sqrt(2))
        integral = 0.5 * (1 + torch.erf(u / math.sqrt(2))).numpy()
        return np.asarray((integral - tail) / (1 - 2 * tail))


class Skip(_Degradation):
    """Thin sections with gaps: each coarse voxel is the mean over the middle part of its extent."""

    kind: Literal["skip"] = Field("skip", title="thin sections with gaps")
    thickness: float = Field(gt=0, le=1, title="Section", description="thickness of a section, in z steps")

    @property
    def reach(self) -> float:
        """Half the extent of the weight: half the thickness of a section, in axial voxels."""
        return self.thickness / 2

    def planes_averaged(self, anisotropy: float) -> float:
        """Single planes whose noise is averaged in one coarse voxel: those of a section."""
        return max(1.0, anisotropy * self.thickness)

    def cumulative(self, position: NDArray[np.float64]) -> NDArray[np.float64]:
        """Integral of the weight up to a position: of a box of the section's thickness."""
        return np.clip(position / self.thickness + 0.5, 0, 1)


class Measured(_Degradation):
    """A measured point-spread function: its profile along z, summed over y and x."""

    kind: Literal["measured"] = Field("measured", title="measured PSF")
    profile: tuple[float, ...] = Field(min_length=1, description="weights at equal distances along z")
    spacing: float = Field(gt=0, description="distance between the weights, in z steps")

    @field_validator("profile")
    @classmethod
    def _usable(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if not all(math.isfinite(v) and v >= 0 for v in value) or not sum(value) > 0:
            raise ValueError("the profile must hold finite weights that are not negative, some of them positive")
        total = sum(value)
        return value if abs(total - 1) < 1e-12 else tuple(v / total for v in value)

    @property
    def _weights(self) -> NDArray[np.float64]:
        """The profile reversed: it is where light of one point goes, a voxel asks where its light comes from."""
        return np.array(self.profile[::-1])

    @property
    def _edges(self) -> NDArray[np.float64]:
        """Edges of the weights' bins, their centre of gravity at 0: where an object is seen, there it is put."""
        n = len(self.profile)
        centre = float(np.dot(self._weights, np.arange(n)))
        edges: NDArray[np.float64] = (np.arange(n + 1, dtype=np.float64) - 0.5 - centre) * self.spacing
        return edges

    @property
    def reach(self) -> float:
        """Extent of the profile from its centre of gravity, in axial voxels."""
        return float(np.abs(self._edges).max())

    def cumulative(self, position: NDArray[np.float64]) -> NDArray[np.float64]:
        """Integral of the profile up to a position, each weight spread over its bin."""
        return np.asarray(np.interp(position, self._edges, np.concatenate([[0.0], np.cumsum(self._weights)])))

    @classmethod
    def of(cls, psf: ArrayLike, z_spacing: float, z_step: float) -> Measured:
        """From an image of a point.

        Parameters
        ----------
        psf : array, shape (z,) or (z, y, x)
            The camera's offset, which is the median of the image's border (of a profile, its lowest value), is
            taken off.
        z_spacing : float
            Distance of the image's z slices.
        z_step : float
            z step of the volumes to train on, in the same unit.

        Raises
        ------
        VolumeError
            If it is no such image.
        """
        values = np.asarray(psf, dtype=np.float64)
        if values.ndim not in (1, 3) or values.size < 2 or not np.isfinite(values).all():
            raise VolumeError(
                f"A measured PSF must be an array (z) or (z, y, x) of finite numbers, not of shape {values.shape}; "
                "crop the image of a single bead."
            )
        if values.ndim == 3 and min(values.shape[1:]) > 2:
            border = np.ones(values.shape[1:], bool)
            border[1:-1, 1:-1] = False
            offset = float(np.median(values[:, border]))
        else:
            offset = float(values.min())
        # noise around the point cancels in the sums; what is left of it, far from the peak, is below a hundredth
        columns = (values - offset).reshape(len(values), -1)
        profile = columns[:, columns.max(0) > 0.1 * columns.max()].sum(1).clip(0)
        lit = np.flatnonzero(profile > (1e-2 if values.ndim == 3 else 1e-3) * profile.max())
        if not profile.max() > 0 or not (0 < z_spacing < math.inf and z_step > 0):
            raise VolumeError("The measured PSF is constant or has no z spacing; crop the image of a single bead.")
        kept = profile[lit[0] : lit[-1] + 1]
        return cls(profile=tuple(float(v) for v in kept), spacing=z_spacing / z_step)


Degradation = Annotated[Average | Gaussian | Skip | Measured, Field(discriminator="kind")]
"""Any of the degradations, as it is stored in a checkpoint's card."""


def coarse_positions(sharp: int, anisotropy: float) -> Sampling:
    """Centres, in sharp pixels, of the axial voxels that lie wholly within an axis of `sharp` pixels.

    Raises
    ------
    ValueError
        If there is none.
    """
    count = math.floor(sharp / anisotropy + 1e-9)
    if count < 1:
        raise ValueError(f"{sharp} pixels are fewer than one voxel of {anisotropy:g}")
    return Sampling((anisotropy - 1) / 2, anisotropy, count)


def restored_positions(coarse: int, anisotropy: float) -> Sampling:
    """Where the sharp pixels lie that `coarse` axial voxels cover, in axial voxels."""
    return Sampling((0.5 / anisotropy) - 0.5, 1 / anisotropy, math.floor(coarse * anisotropy + 1e-9))
