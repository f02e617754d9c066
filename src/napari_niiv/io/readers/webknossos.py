"""Folders of WEBKNOSSOS: layers of zarrs, x first, whose voxel size is in a datasource-properties.json."""

from __future__ import annotations

import json
import posixpath
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from napari_niiv.errors import VolumeError
from napari_niiv.io.contents import StoredImage, choice
from napari_niiv.io.readers.array_attributes import named_axes
from napari_niiv.io.readers.zarr_node import noting_absence, open_node
from napari_niiv.io.spacing import Spacing
from napari_niiv.io.stored_volume import StoredVolume, covers_whole, refusing
from napari_niiv.io.units import number

_PROPERTIES = "datasource-properties.json"
_AXES = {3: "xyz", 4: "cxyz", 5: "ctxyz"}

_Factors = tuple[float, float, float]


def read_webknossos(location: str, dataset: str | None = None) -> StoredVolume:
    """Open a layer of a WEBKNOSSOS folder, with its coarser mags as a pyramid.

    Parameters
    ----------
    location : str
        The folder.
    dataset : str, optional
        Name of the layer.

    Raises
    ------
    DatasetChoice
        If there are several layers and none was named.
    VolumeError
        If the layer is not there, or not stored as zarr.
    """
    path = Path(location)
    with refusing(path.name, "WEBKNOSSOS folder"):
        properties = json.loads((path / _PROPERTIES).read_text(encoding="utf-8"))
        layers = {str(layer["name"]): layer for layer in properties["dataLayers"]}
        wanted = dataset.strip("/") if dataset else next(iter(layers), None) if len(layers) == 1 else None
        if wanted is None:
            raise choice(path.name, [_described(path, *layer) for layer in layers.items()])
        if wanted not in layers:
            raise VolumeError(f"{path.name} has no layer {wanted!r}, but {', '.join(layers)}; give one of these.")
        layer = layers[wanted]
        if not str(layer.get("dataFormat")).startswith("zarr"):
            raise VolumeError(
                f"{path.name} stores the layer {wanted} as {layer.get('dataFormat')}, which is not read; export it "
                "from WEBKNOSSOS as OME-Zarr or TIFF."
            )
        return noting_absence(_layer(path, wanted, layer, properties.get("scale")), location, path.name)


def _described(path: Path, name: str, layer: Mapping[str, Any]) -> StoredImage:
    """A layer with the shape of its finest mag; without it where that is not to be had, which opening it will tell."""
    try:
        array, axes = _opened(path, _mags(path, name, layer)[0][1])
        lengths = dict(zip(axes, array.shape, strict=True))
        shape = [lengths[a] for a in "tczyx" if a in "yx" or lengths.get(a, 1) > 1]
    except Exception:  # of metadata
        return StoredImage(name)
    return StoredImage(name, tuple(shape), str(array.dtype))


def _layer(path: Path, name: str, layer: Mapping[str, Any], scale: Any) -> StoredVolume:
    (finest, place), *others = _mags(path, name, layer)
    array, axes = _opened(path, place)
    at = [axes.index(a) for a in "zyx"]
    coarser = []
    for factors, where in others:
        level: Any = open_node(str(path), where)
        steps = [b / a for a, b in zip(finest, factors, strict=True)][::-1]
        if level.ndim == array.ndim and covers_whole([array.shape[i] for i in at], [level.shape[i] for i in at], steps):
            coarser.append(level)
    spacing = _spacing(scale, finest)
    return StoredVolume(array, axes, spacing, {}, tuple(coarser))


def _mags(path: Path, name: str, layer: Mapping[str, Any]) -> list[tuple[_Factors, str]]:
    """Factors and path of each mag, the finest first."""
    return sorted((_factors(mag["mag"]), _place(path, name, mag)) for mag in layer["mags"])


def _opened(path: Path, place: str) -> tuple[Any, str]:
    """The array of a mag, and its axes."""
    array: Any = open_node(str(path), place)
    axes = named_axes({"dimension_names": getattr(array.metadata, "dimension_names", None)}, array.ndim)
    return array, axes or _AXES.get(array.ndim, "?" * array.ndim)


def _factors(mag: Any) -> _Factors:
    """Along x, y, z; one number stands for three."""
    values = mag if isinstance(mag, list) else [mag] * 3
    x, y, z = (float(value) for value in values)
    return x, y, z


def _place(path: Path, name: str, mag: Mapping[str, Any]) -> str:
    """The path of a mag inside the folder; older versions do not give it, and call it 2 or 2-2-1."""
    if mag.get("path"):
        return posixpath.normpath(str(mag["path"]))
    factors = [f"{value:g}" for value in _factors(mag["mag"])]
    names = ("-".join(factors), factors[0])
    return next(f"{name}/{each}" for each in names if (path / name / each).exists())


def _spacing(scale: Any, finest: _Factors) -> Spacing:
    """From the size of mag 1 along x, y, z; older versions give it in nanometres, without a unit."""
    size, unit = (scale.get("factor"), scale.get("unit")) if isinstance(scale, Mapping) else (scale, "nm")
    if not isinstance(size, list) or len(size) != 3:
        return Spacing()
    sizes = [v * f if (v := number(value)) is not None else None for value, f in zip(size, finest, strict=True)]
    return Spacing.of(sizes[::-1], [unit] * 3)
