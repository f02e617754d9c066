"""NIfTI files (.nii, .nii.gz)."""

from __future__ import annotations

import functools
import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_niiv.errors import VolumeError
from napari_niiv.io.lazy_arrays import FileArray
from napari_niiv.io.mapped_arrays import mapped
from napari_niiv.io.readers.library_messages import messages_of
from napari_niiv.io.spacing import Spacing, agreed
from napari_niiv.io.stored_volume import StoredVolume, library, refusing
from napari_niiv.io.units import number

_AXES = "xyztc"  # NIfTI stores x first; its fifth axis holds the components of a value
_MOST_COMPRESSED = 1100  # bytes that one byte of a gzip file can stand for, and some more


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
        image, mended = _loaded(nibabel, path)
        array, spacing = _array(path, image), _spacing(image)
    if np.dtype(array.dtype).names:
        raise VolumeError(f"{path.name} is an RGB picture; convert it to one intensity channel first.")
    decode = functools.partial(_decoded, path, array.dtype) if _gzipped(path) else None
    axes = _AXES[: array.ndim] if array.ndim <= len(_AXES) else "?" * array.ndim
    return StoredVolume(array, axes, spacing, {}, (), _origin(image.affine, spacing), decode, mended)


def _array(path: Path, image: Any) -> Any:
    proxy = image.dataobj
    scaled = (proxy.slope, proxy.inter) != (1, 0)
    kind = np.dtype(proxy.dtype)
    exact = np.dtype(np.float32 if kind.itemsize <= 2 and kind.kind in "iu" else np.float64)
    dtype = exact if scaled else kind
    gzipped = _gzipped(path)
    _check_size(path, proxy)
    if not gzipped and not scaled:
        return mapped(np.asanyarray(proxy))
    # a compressed file is read from its beginning to what is wanted: best by whole planes, one after the other
    planes = (*proxy.shape[:2], *[1] * (len(proxy.shape) - 2)) if gzipped else None
    return FileArray(_proxy, (str(path),), proxy.shape, dtype, planes)


def _check_size(path: Path, proxy: Any) -> None:
    """Refuse a file that is too short for the voxels that it claims to hold, for which memory would be taken."""
    needed = proxy.offset + math.prod(proxy.shape) * np.dtype(proxy.dtype).itemsize
    there = path.stat().st_size * (_MOST_COMPRESSED if _gzipped(path) else 1)
    if needed > there:
        raise VolumeError(
            f"{path.name} is truncated: {path.stat().st_size} of {needed} bytes are there; get the file anew."
        )


def _proxy(path: str) -> Any:
    import nibabel

    return _loaded(nibabel, path, keep_file_open=True)[0].dataobj  # so that it goes on where it was


def _loaded(nibabel: Any, path: Any, **options: Any) -> tuple[Any, str]:
    """An image, and what nibabel mended in its header."""
    with messages_of("nibabel.global") as messages:
        image = nibabel.load(path, **options)
    return image, f"its header was not in order: {'; '.join(messages)}" if messages else ""


def _decoded(path: Path, dtype: Any) -> NDArray[Any]:
    """All voxels of a NIfTI file, decompressed at once."""
    with refusing(path.name, "NIfTI file"):
        return np.asarray(_proxy(str(path)), dtype)


def _gzipped(path: Path) -> bool:
    return path.suffix.lower() == ".gz"


def _spacing(image: Any) -> Spacing:
    """The voxel size that the affine has which places the volume: the sform where it is valid, else the qform.

    ``pixdim``, which goes with the qform, may say otherwise.
    """
    try:
        unit = image.header.get_xyzt_units()[0]
    except KeyError:
        unit = "unknown"
    # a file of two axes has no third size
    pixdim = [float(v) for v in image.header.get_zooms()[:3]]
    sform = [float(v) or None for v in np.linalg.norm(image.affine[:3, :3], axis=0)][: len(pixdim)]
    said = [("sform", sform)] * int(image.header["sform_code"] > 0) + [("pixdim", pixdim)]
    return agreed([(name, Spacing.of([*[None] * (3 - len(v)), *v[::-1]], [unit] * 3)) for name, v in said])


def _origin(affine: Any, spacing: Spacing) -> tuple[float, float, float]:
    sizes = [size or 0.0 for size in spacing.sizes[::-1]]
    if affine is None or not np.allclose(affine[:3, :3], np.diag(sizes), rtol=1e-3, atol=1e-6):
        return 0.0, 0.0, 0.0
    x, y, z = (number(v) or 0.0 for v in affine[:3, 3])
    return z, y, x
