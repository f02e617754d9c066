"""NIfTI files (.nii, .nii.gz)."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_niiv.errors import VolumeError
from napari_niiv.io.lazy_arrays import FileArray
from napari_niiv.io.mapped_arrays import mapped
from napari_niiv.io.spacing import Spacing
from napari_niiv.io.stored_volume import StoredVolume, library, refusing

_AXES = "xyztc"  # NIfTI stores x first; its fifth axis holds the components of a value


def read_nifti(path: Path) -> StoredVolume:
    """Open a NIfTI file: mapped where it is plain, read piece by piece, or decompressed at once, otherwise.

    Values with a slope and intercept are scaled when they are read. The origin is that of the affine if this turns and
    flips nothing.

    Raises
    ------
    VolumeError
        If the file is unreadable or truncated, or nibabel is missing.
    """
    nibabel = library("nibabel", path.name, "nifti", "NIfTI")
    with refusing(path.name, "NIfTI file"):
        image: Any = nibabel.load(path)
        header, array = image.header, _array(path, image)
        zooms = [float(v) for v in header.get_zooms()]
        unit = header.get_xyzt_units()[0]
    if np.dtype(array.dtype).names:
        raise VolumeError(f"{path.name} is an RGB picture; convert it to one intensity channel first.")
    sizes = dict(zip(_AXES, zooms, strict=False))
    spacing = Spacing.of([sizes.get(a) for a in "zyx"], [unit] * 3)
    decode = functools.partial(_decoded, path, array.dtype) if _gzipped(path) else None
    axes = _AXES[: array.ndim] if array.ndim <= len(_AXES) else "?" * array.ndim
    return StoredVolume(array, axes, spacing, {}, (), _origin(image.affine, zooms), decode)


def _array(path: Path, image: Any) -> Any:
    proxy = image.dataobj
    scaled = (proxy.slope, proxy.inter) != (1, 0)
    kind = np.dtype(proxy.dtype)
    exact = np.dtype(np.float32 if kind.itemsize <= 2 and kind.kind in "iu" else np.float64)
    dtype = exact if scaled else kind
    gzipped = _gzipped(path)
    if not gzipped and not scaled:
        return mapped(np.asanyarray(proxy))
    if not gzipped:
        mapped(np.asanyarray(proxy.get_unscaled()))  # refuses a truncated file
    # a compressed file is read from its beginning to what is wanted: best by whole planes, one after the other
    planes = (*proxy.shape[:2], *[1] * (len(proxy.shape) - 2)) if gzipped else None
    return FileArray(_proxy, (str(path),), proxy.shape, dtype, planes)


def _proxy(path: str) -> Any:
    import nibabel

    image: Any = nibabel.load(path, keep_file_open=True)  # so that it goes on where it was
    return image.dataobj


def _decoded(path: Path, dtype: Any) -> NDArray[Any]:
    """All voxels of a NIfTI file, decompressed at once."""
    with refusing(path.name, "NIfTI file"):
        return np.asarray(_proxy(str(path)), dtype)


def _gzipped(path: Path) -> bool:
    return path.suffix.lower() == ".gz"


def _origin(affine: Any, zooms: list[float]) -> tuple[float, float, float]:
    if affine is None or len(zooms) < 3 or not np.allclose(affine[:3, :3], np.diag(zooms[:3]), rtol=1e-3, atol=1e-6):
        return 0.0, 0.0, 0.0
    x, y, z = (float(v) for v in affine[:3, 3])
    return z, y, x
