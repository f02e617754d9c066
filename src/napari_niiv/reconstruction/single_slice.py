"""One slice of a volume from a script, in world units."""

from __future__ import annotations

import threading
from collections.abc import Hashable
from dataclasses import dataclass, replace
from typing import Any
from weakref import WeakKeyDictionary

from numpy.typing import NDArray

from napari_niiv.errors import ReconstructionError
from napari_niiv.geometry import Sampling, output_size
from napari_niiv.models.niiv import Niiv
from napari_niiv.reconstruction.denoise import AUTO, Denoise
from napari_niiv.reconstruction.planes import AXES, Plane
from napari_niiv.reconstruction.views.reconstructor import Reconstructor
from napari_niiv.reconstruction.views.request import Quality, SliceRequest
from napari_niiv.sections.repair import as_measured, bridged
from napari_niiv.volume import Volume, in_memory, sampled

Window = tuple[float, float, float, float]

# voxels of an array in memory by which it is seen that they were changed
_SAMPLED = 4096


def slice_request(
    volume: Volume, plane: Plane, index: float, window: Window | None = None, pixel_size: float | None = None
) -> SliceRequest:
    """The request for a window of a plane at a pixel size.

    Parameters
    ----------
    volume : Volume
    plane : {"xz", "yz", "xy"}
    index : float
        Slice across the plane, in voxels.
    window : (top, left, bottom, right), optional
        Edges in the volume's unit, counted from the centre of the first voxel of the rows' and columns' axes; the whole
        plane by default.
    pixel_size : float, optional
        In the volume's unit; the lateral voxel size by default.

    Raises
    ------
    ReconstructionError
        If the plane is unknown, the window is empty or outside the volume, or the pixel size is not positive.
    """
    if plane not in AXES:
        raise ReconstructionError(f"There is no plane {plane!r}; use xz, yz or xy.")
    _, row_axis, column_axis = AXES[plane]
    shape = volume.shape[-3:]
    if pixel_size is not None and not pixel_size > 0:
        raise ReconstructionError(f"The pixel size {pixel_size:g} is not positive.")
    samplings = []
    for number, axis in enumerate((row_axis, column_axis)):
        voxel = volume.voxel_size[axis]
        pixel = pixel_size or volume.voxel_size[column_axis]
        if window is None:
            samplings.append(Sampling.covering(shape[axis], output_size(shape[axis], voxel / pixel)))
            continue
        lo, hi = max(window[number] / voxel, -0.5), min(window[number + 2] / voxel, shape[axis] - 0.5)
        if not lo < hi:
            raise ReconstructionError(f"The window {window} (top, left, bottom, right) does not touch the volume.")
        count = max(1, round((hi - lo) * voxel / pixel))
        step = (hi - lo) / count
        samplings.append(Sampling(lo + step / 2, step, count))
    return SliceRequest(plane, index, samplings[0], samplings[1])


def reconstruct_slice(
    volume: Volume,
    model: Niiv,
    plane: Plane,
    index: float,
    *,
    window: Window | None = None,
    pixel_size: float | None = None,
    quality: Quality = "refined",
    denoise: Denoise = AUTO,
) -> NDArray[Any]:
    """Reconstruct one slice, whole or a window of it.

    The normalisation, the noise level and the latent grids are kept as long as the volume: from the second call on, a
    slice of the same volume with the same model costs what it costs the live view.

    Parameters
    ----------
    volume : Volume
        A 3-D volume. Its blank sections are bridged, unless it comes from `repair_sections`.
    model : Niiv
    plane, index, window, pixel_size
        As in `slice_request`.
    quality : {"refined", "fast", "placeholder"}
        Both planes fused, the plane itself alone, or linear interpolation.
    denoise : float or "auto"
        The noise level that the model is told, the standard deviation as a share of the normalised range; 0 is off.
        "auto" estimates it from the volume, and is 0 for a model that was trained without noise.

    Returns
    -------
    array, shape (rows, columns)
        Rows along z (xz, yz) or y (xy), in the dtype of the source.

    Raises
    ------
    NiivError
        As `slice_request` and `Reconstructor.slice`.
    """
    request = replace(slice_request(volume, plane, index, window, pixel_size), denoise=denoise)
    return _reconstructor(volume, model).slice(request, quality).image


@dataclass(frozen=True)
class _Kept:
    """A reconstructor, and what its volume and model were like when it was made."""

    reconstructor: Reconstructor
    model: Niiv
    state: Hashable


_kept: WeakKeyDictionary[Volume, _Kept] = WeakKeyDictionary()
_lock = threading.Lock()


def _reconstructor(volume: Volume, model: Niiv) -> Reconstructor:
    """The reconstructor of a volume, kept from one call to the next while the model is the same."""
    state = _state(volume, model)
    with _lock:
        kept = _kept.get(volume)
        if kept is None or kept.model is not model or kept.state != state:
            # of a copy: what is kept must not keep the volume alive
            _kept[volume] = kept = _Kept(Reconstructor(bridged(replace(volume)), model), model, state)
        return kept.reconstructor


def _state(volume: Volume, model: Niiv) -> Hashable:
    """Differs once the weights, or voxels in memory, are changed in place; of voxels a sample is looked at."""
    weights = tuple(0 if weight.is_inference() else weight._version for weight in model.parameters())
    measured = as_measured(volume).array
    sample = sampled(measured, _SAMPLED).tobytes() if in_memory(measured) else b""
    return weights, model.device, model.encoder.precision, sample
