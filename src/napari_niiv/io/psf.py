"""A measured point-spread function from a file."""

from __future__ import annotations

import math
from pathlib import Path

from napari_niiv.degradation import Measured
from napari_niiv.io.open import open_volume
from napari_niiv.volume import Volume


def read_psf(path: Path, volume: Volume, z_spacing: float | None = None) -> Measured | None:
    """The degradation of a volume, as the image of a point shows it.

    Parameters
    ----------
    path : Path
        Any file that `open_volume` reads.
    volume : Volume
        Its z step is what the degradation is counted in.
    z_spacing : float, optional
        Distance of the image's slices in the volume's unit; the file's by default.

    Returns
    -------
    Measured or None
        None if no distance is given and the file has none in the volume's unit.

    Raises
    ------
    VolumeError
        If the file cannot be read or is no image of a point.
    """
    image = open_volume(path)
    if z_spacing is None:
        spacing = image.provenance.spacing
        z_spacing = None if spacing is None else spacing.sizes[0]
        if z_spacing is None or not 0 < z_spacing < math.inf or image.unit != volume.unit:
            return None
    return Measured.of(image.read_raw(), z_spacing, volume.voxel_size[0])
