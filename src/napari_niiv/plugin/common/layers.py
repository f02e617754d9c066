"""Napari's image layers as volumes."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from types import MappingProxyType
from typing import Any

import numpy as np
import pint
from napari.components import LayerList, ViewerModel
from napari.layers import Image, Layer
from numpy.typing import NDArray

from napari_niiv.empty_voxels import Values
from napari_niiv.errors import VolumeError
from napari_niiv.sections.repair import repaired
from napari_niiv.sections.repairs import Repairs
from napari_niiv.volume import Provenance, Volume

ISOTROPIC = 1.01  # a scale up to this says nothing of the z step
LIVE = "napari-niiv live"  # metadata key of the layers that this plugin owns
COVER = "napari-niiv cover"  # and of what lies between the channels of a volume and their live layers
FROZEN = "napari-niiv frozen"  # and of those that it made and left to the user
EXPORTED = "napari-niiv exported"  # and of the results of exports that it opened over their sources
SHARED = ("contrast_limits", "gamma", "colormap")  # what a layer of ours has in common with its source
BLENDED = ("blending", "opacity")  # and one that stands in for it, too
_LABELS = {"t": "t", "time": "t", "c": "c", "channel": "c"}
PROVENANCE = "napari-niiv provenance"  # metadata key under which a layer keeps its volume's
REPAIRS = "napari-niiv repairs"  # and what is to be done to its sections
FITTED = "napari-niiv fitted"  # and the checkpoint that a training of this session made of it
EMPTY = "napari-niiv empty voxels"  # and the values of empty voxels, where the user named them
VIEWS = {"xy": (-3, -2, -1), "xz": (-2, -3, -1), "yz": (-1, -3, -2)}  # orders of the axes


def layer_volume(layer: Image, repairs: Repairs | None = None) -> Volume:
    """The volume that an image layer shows; its last three axes are z, y, x.

    It lies along the layer's own axes: a rotation or shear is not in it.

    Parameters
    ----------
    layer : Image
    repairs : Repairs, optional
        What is to be done to its sections, such as `repairs_of`; what was of other data is not.

    Raises
    ------
    VolumeError
        If the layer is RGB or has fewer than three axes.
    """
    if layer.rgb:
        raise VolumeError(f"{layer.name!r} is an RGB picture; split its channels into layers first.")
    data = finest_data(layer)
    if data.ndim < 3:
        raise VolumeError(f"{layer.name!r} has {data.ndim} dimensions; a volume needs three (z, y, x).")
    if data.ndim > 6:
        raise VolumeError(f"{layer.name!r} has {data.ndim} dimensions; napari-niiv handles up to six.")
    coarser = tuple(layer.data[1:]) if layer.multiscale else ()
    axes, unit = leading_axes(layer) + "zyx", str(layer.units[-1])
    names = layer.metadata.get("channel_names")
    named = isinstance(names, list | tuple) and all(isinstance(name, str) for name in names)
    volume = Volume(
        data,
        axes,
        voxel_size(layer),
        unit,
        layer.name,
        origin(layer),
        MappingProxyType({"channel_names": list(names)} if named else {}),
        coarser,
        replace(provenance_of(layer), path=source_file(layer)),
        empty=empty_values(layer),
    )
    return volume if repairs is None or not repairs.fits(volume.shape) else repaired(volume, repairs)


def layer_data(volume: Volume) -> tuple[Any, dict[str, Any]]:
    """The data and the keywords of the image layer that shows a volume, lazily, in its place.

    Channels stay an axis of one layer, whose slider goes through them (`channel_data` makes layers of them); their
    names are in the layer's metadata, and so is the provenance, which later questions about the file need
    (`layer_file`).
    """
    leading = len(volume.axes) - 3
    levels = [level.array for level in volume.levels()]
    names = {k: v for k, v in volume.metadata.items() if k == "channel_names"}
    empty = {} if volume.empty is None else {EMPTY: volume.empty}
    keywords: dict[str, Any] = {
        "name": volume.name,
        "scale": (*[1.0] * leading, *volume.voxel_size),
        "translate": (*[0.0] * leading, *volume.origin),
        "units": (*["pixel"] * leading, *[volume.unit] * 3),
        "axis_labels": tuple(volume.axes),
        "metadata": {**names, **empty, PROVENANCE: volume.provenance},
        "rgb": False,  # three or four columns of pixels are no colours
    }
    limits: list[Any] = list(volume.metadata.get("channel_limits") or ())
    if len(limits) == 1:
        keywords["contrast_limits"] = limits[0]
    if len(levels) > 1:
        return levels, {**keywords, "multiscale": True}
    return volume.array, keywords


def finest_data(layer: Image) -> Any:
    """The array of a layer, of a multiscale one that of the full resolution."""
    return layer.data[0] if layer.multiscale else layer.data


def volume_events(layer: Image) -> tuple[Any, ...]:
    """The events that tell of other voxels, or of the same in another place."""
    of = layer.events
    return (of.data, of.scale, of.translate, of.rotate, of.shear, of.affine, of.units)


def insert_above(layers: LayerList, below: Layer, layer: Layer) -> None:
    """Add a layer over another; what the user has selected stays selected."""
    selection = set(layers.selection)
    # napari selects what comes: unseen, as its controls and its list would be drawn twice
    with layers.selection.events.blocker_all():
        layers.insert(layers.index(below) + 1, layer)
        layers.selection = selection


def voxel_size(layer: Image) -> tuple[float, float, float]:
    """Size of a voxel along z, y, x in the unit of x, whatever the layer's transforms."""
    lengths = np.linalg.norm(linear_part(layer), axis=0)[-3:]
    factors = unit_factors(layer.units, layer.units[-1])[-3:]
    z, y, x = (float(v) for v in lengths * factors)
    return z, y, x


def linear_part(layer: Image) -> NDArray[np.float64]:
    """Matrix that takes steps in voxels to steps in the layer's world."""
    origin = np.asarray(layer.data_to_world(np.zeros(layer.ndim)))
    steps = [np.asarray(layer.data_to_world(e)) - origin for e in np.eye(layer.ndim)]
    return np.stack(steps, axis=1)


def origin(layer: Image) -> tuple[float, float, float]:
    """World position of the centre of the first voxel along z, y, x, in the unit of x."""
    place = np.asarray(layer.data_to_world(np.zeros(layer.ndim)))[-3:]
    factors = unit_factors(layer.units, layer.units[-1])[-3:]
    z, y, x = (float(v) for v in place * factors)
    return z, y, x


def along_world(layer: Image) -> bool:
    """Whether z, y, x of a layer point along those of the world: it is neither rotated, sheared nor mirrored."""
    linear = linear_part(layer)[-3:]
    own = linear[:, -3:].diagonal()
    beside = linear.copy()
    np.fill_diagonal(beside[:, -3:], 0)
    return bool((own > 0).all() and np.abs(beside).max() <= 1e-6 * own.max())


def leading_axes(layer: Image) -> str:
    """Letters of the axes before z, y, x: as the layer labels them, if those are in the usual order; else t, c, q."""
    count = finest_data(layer).ndim - 3
    usual = "tcq"[:count]
    labels = "".join(_LABELS.get(str(label).lower(), "?") for label in layer.axis_labels[:count])
    return labels if labels in ("t", "c", "tc") and len(labels) == count else usual


def source_file(layer: Image) -> str | None:
    """The file, folder or URL that a layer was opened from, if it is known."""
    return layer.source.path or provenance_of(layer).path


def provenance_of(layer: Image) -> Provenance:
    """What a layer keeps of its volume's origin; nothing is known of a layer that this plugin did not make."""
    provenance = layer.metadata.get(PROVENANCE)
    return provenance if isinstance(provenance, Provenance) else Provenance()


def repairs_of(layer: Image) -> Repairs | None:
    """What is to be done to the sections of a layer's volume; None where nobody has looked at them yet."""
    repairs = layer.metadata.get(REPAIRS)
    return repairs if isinstance(repairs, Repairs) else None


def empty_values(layer: Image) -> Values | None:
    """The values of empty voxels that the user named for a layer; None has them found."""
    values = layer.metadata.get(EMPTY)
    return values if isinstance(values, tuple) else None


def set_empty_values(layer: Image, values: Values | None) -> None:
    """Say which values of a layer are those of empty voxels; what shows the layer begins anew."""
    others = {key: value for key, value in layer.metadata.items() if key != EMPTY}
    layer.metadata = others if values is None else {**others, EMPTY: values}
    layer.events.data(value=layer.data)


def unit_factors(units: Any, target: pint.Unit) -> NDArray[np.float64]:
    """How many `target` units each of the units is; 1 where they do not measure the same."""
    return np.array([_unit_factor(unit, target) for unit in units])


@lru_cache(maxsize=128)  # asked for at every scroll
def _unit_factor(unit: pint.Unit, target: pint.Unit) -> float:
    try:
        return float((1 * unit).to(target).magnitude)
    except pint.DimensionalityError:
        return 1.0


def layer_units(viewer: ViewerModel, layer: Image) -> NDArray[np.float64]:
    """How many of a layer's units each unit of the viewer's world is, along the layer's axes.

    The viewer's world has one unit per axis, `world_to_data` takes the layer's own.
    """
    world = viewer.layers.units
    if world is None:
        return np.ones(layer.ndim)
    pairs = zip(world[viewer.dims.ndim - layer.ndim :], layer.units, strict=True)
    return np.array([_unit_factor(w, u) for w, u in pairs])


def is_source(layer: Any) -> bool:
    """Whether a layer can be offered for reconstruction."""
    return isinstance(layer, Image) and not {LIVE, COVER, FROZEN} & set(layer.metadata)


def sources(viewer: ViewerModel) -> list[tuple[str, Image]]:
    """The layers that can be offered, by name."""
    return [(layer.name, layer) for layer in viewer.layers if is_source(layer)]


def unit_name(layer: Image) -> str:
    """The unit of x of a layer as a person reads it, such as "nm"; "voxel units" where it has none."""
    unit = layer.units[-1]
    return "voxel units" if str(unit) == "pixel" else f"{unit:~P}"


def looks(layer: Image) -> dict[str, Any]:
    """Contrast limits, gamma and colormap of a layer, as keywords of one that is to look the same."""
    return {
        "contrast_limits": layer.contrast_limits,
        "gamma": layer.gamma,
        "colormap": layer.colormap.name,
    }
