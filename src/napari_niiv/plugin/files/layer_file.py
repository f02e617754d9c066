"""The file that a layer shows, and the layer's axes and voxel size as they can be corrected."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from napari.layers import Image

from napari_niiv.errors import VolumeError
from napari_niiv.io.lazy_arrays import rearranged
from napari_niiv.plugin.common.layers import PROVENANCE, provenance_of, voxel_size

ORDER = "tcqzyx"  # of the axes of a layer: the last three are the volume's
Size = tuple[float, float, float]


@dataclass(frozen=True)
class LayerFile:
    """The file that a layer comes from.

    Attributes
    ----------
    path : str
        A path or a URL.
    dataset : str or None
    stored_axes : str or None
        Letters of the file's axes, "?" for those that the layer lacks; None if another plugin may have sorted them.
    ours : bool
        Whether `open_volume` read it.
    """

    path: str
    dataset: str | None
    stored_axes: str | None
    ours: bool


def layer_file(layer: Image | None) -> LayerFile | None:
    """The file that a layer comes from; None if it comes from none, or from an unknown one."""
    if layer is None:
        return None
    provenance = provenance_of(layer)
    stored = provenance.stored_axes
    if provenance.path is not None and stored is not None:
        return LayerFile(provenance.path, provenance.dataset, stored, True)
    if not layer.source.path:
        return None
    # napari's own reader leaves the axes as they are stored
    if stored is None and layer.source.reader_plugin == "napari":
        stored = axis_names(layer)
    return LayerFile(str(layer.source.path), None, stored, False)


def axis_names(layer: Image) -> str:
    """One letter for each axis; the labels where they are such letters, with z, y, x at the end."""
    count = layer.ndim
    letters = "".join(label.lower() for label in layer.axis_labels)
    fits = len(letters) == len(set(letters)) == count and set(letters) <= set(ORDER)
    return letters if fits and letters.endswith("zyx") else ("tcq"[: count - 3] + "zyx")[-count:]


def set_voxel_size(layer: Image, size: Size, unit: str) -> None:
    """Give a layer another voxel size (z, y, x); what else its transforms do stays."""
    layer.units = (*(str(u) for u in layer.units[:-3]), *[unit] * 3)
    now = voxel_size(layer)
    if not np.allclose(now, size, rtol=1e-9, atol=0):
        factors = np.divide(size, now)
        layer.scale = (*layer.scale[:-3], *(float(v) for v in layer.scale[-3:] * factors))


def rename_axes(layer: Image, names: str) -> None:
    """Say what the axes of a layer are, in order; its data are turned, lazily, so that the last are z, y, x.

    Sizes and positions go with their axes; the provenance that the layer keeps follows.

    Raises
    ------
    VolumeError
        If these are no names for the axes, or the layer is rotated or sheared.
    """
    before = axis_names(layer)
    if len(names) != layer.ndim or len(set(names)) != len(names) or not set("zyx") <= set(names) <= set(ORDER):
        raise VolumeError(f"{names.upper()!r} are no names for the {layer.ndim} axes of {layer.name!r}.")
    if names == before:
        return
    if not _upright(layer):
        raise VolumeError(f"{layer.name!r} is rotated or sheared; correct its axes before, or reset its transforms.")
    file = layer_file(layer)
    order = tuple(names.index(letter) for letter in ORDER if letter in names)
    levels = [rearranged(level, order) for level in (layer.data if layer.multiscale else [layer.data])]
    scale, translate, units = layer.scale, layer.translate, [str(u) for u in layer.units]
    # so that napari slices it once, when all is set
    visible, layer.visible = layer.visible, False
    layer.data = levels if layer.multiscale else levels[0]
    layer.scale, layer.translate = _picked(scale, order), _picked(translate, order)
    layer.units = _picked(units, order)
    layer.axis_labels = tuple(names[i] for i in order)
    provenance = replace(provenance_of(layer), axes_corrected=True)
    if file is not None and file.stored_axes is not None:
        provenance = replace(provenance, stored_axes=renamed_axes(file.stored_axes, before, names))
    layer.metadata = {**layer.metadata, PROVENANCE: provenance}
    layer.visible = visible


def renamed_axes(stored: str, before: str, names: str) -> str:
    """The letters of a file's axes after those of its layer are renamed.

    Parameters
    ----------
    stored : str
        Letters of the file's axes; those that the layer lacks stay.
    before, names : str
        Letters of the layer's axes, in order, and their new names.
    """
    return "".join(names[before.index(letter)] if letter in before else letter for letter in stored)


def _picked(values: Sequence[Any] | Any, order: tuple[int, ...]) -> tuple[Any, ...]:
    return tuple(values[i] for i in order)


def _upright(layer: Image) -> bool:
    """Whether the layer's transforms are a scale and a shift."""
    eye = np.eye(layer.ndim)
    plain = np.allclose(layer.rotate, eye) and np.allclose(layer.shear, 0)
    return bool(plain and np.allclose(layer.affine.affine_matrix, np.eye(layer.ndim + 1)))
