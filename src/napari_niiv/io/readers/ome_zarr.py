"""OME-Zarr 0.4 and 0.5 (and older), and plain zarr arrays."""

from __future__ import annotations

import contextlib
import posixpath
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from napari_niiv.errors import Remedy, VolumeError
from napari_niiv.io.contents import StoredImage, choice
from napari_niiv.io.formats import Location, is_url
from napari_niiv.io.readers.array_attributes import named_axes, spacing_of
from napari_niiv.io.readers.ome_zarr_images import (
    images_below,
    located,
    ome_metadata,
    several_multiscales,
    text,
)
from napari_niiv.io.readers.zarr_node import check_chunks_of, open_node
from napari_niiv.io.remote import unreachable
from napari_niiv.io.spacing import Spacing, convert
from napari_niiv.io.stored_volume import StoredVolume, covers_whole, unreadable, usual_axes

if TYPE_CHECKING:
    import zarr


def read_zarr(location: str, dataset: str | None = None) -> StoredVolume:
    """Open a zarr array, or an image of an OME-Zarr with its pyramid.

    Parameters
    ----------
    location : str
        A folder or a URL.
    dataset : str, optional
        Path of an array or image inside, such as "0" or "A/1/0".

    Raises
    ------
    DatasetChoice
        If there are several, and none was named.
    VolumeError
        If there is none, or it cannot be read.
    """
    import zarr

    node, number = located(location, dataset)
    name = Location(location).name
    if isinstance(node, zarr.Array):
        return _noting_absence(_level(location, dataset, node) or _plain(node), location, name)
    if number is not None:
        dataset = posixpath.dirname(dataset or "")
    found = _read_group(node, number, location, dataset, name)
    if isinstance(found, StoredVolume):
        return found
    if not found and is_url(location):
        raise VolumeError(f"{name} does not tell which arrays it holds;", Remedy.NAME_DATASET)
    if not found:
        raise VolumeError(f"{name} holds no array of three or more dimensions; choose another zarr.")
    if len(found) > 1:
        raise choice(name, found)
    return read_zarr(location, found[0].name)


def _read_group(
    group: zarr.Group, number: int | None, location: str, dataset: str | None, name: str
) -> StoredVolume | list[StoredImage]:
    """The image that a group is, or the images that it holds."""
    ome = ome_metadata(group)
    try:
        images = ome.get("multiscales")
        if not images:
            return images_below(group, ome, dataset)
        if len(images) > 1 and number is None:
            return several_multiscales(group, ome, dataset)
        image = images[number or 0]
        return _noting_absence(_image(group, ome, image, name), location, name)
    except VolumeError:
        raise
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise VolumeError(
            f"{name} has OME metadata that are not understood ({type(error).__name__}: {error}); "
            "name one of its arrays as dataset, such as '0'."
        ) from error
    except Exception as error:  # a server need not list what it holds
        raise (unreachable(location, error) if is_url(location) else unreadable(name, "zarr", error)) from error


def _image(group: zarr.Group, ome: Mapping[str, Any], image: Mapping[str, Any], name: str) -> StoredVolume:
    import zarr

    from napari_niiv.io.readers.blosc_chunks import guarded

    nodes = [(group.get(text(level["path"])), level) for level in image["datasets"]]
    levels = [(guarded(array), level) for array, level in nodes if isinstance(array, zarr.Array)]
    if not levels or levels[0][1] is not image["datasets"][0]:
        raise VolumeError(f"{name} lacks the array {image['datasets'][0]['path']!r} of its image; get it anew.")
    levels.sort(key=lambda pair: -pair[0].size)  # the finest first, as the format wants it
    array = levels[0][0]
    axes, units = _axes(image, array.ndim)
    if len(axes) != array.ndim:
        raise VolumeError(f"{name} names the axes {axes!r} of an array of shape {array.shape}; correct them.")
    spacing, origin = _place(image, levels[0][1], axes, units)
    coarser = tuple(
        level
        for level, attributes in levels[1:]
        if _fits(array, level, axes, _transform(image, levels[0][1], axes), _transform(image, attributes, axes))
    )
    channels = (ome.get("omero") or {}).get("channels") or []
    names = [str(channel.get("label") or "") for channel in channels]
    return StoredVolume(array, axes, spacing, {"channel_names": names} if any(names) else {}, coarser, origin)


def _axes(image: Mapping[str, Any], ndim: int) -> tuple[str, list[Any]]:
    """Letters and units of the axes; older versions name only letters, or nothing."""
    listed = image.get("axes") or list(usual_axes(ndim))
    axes = [axis if isinstance(axis, Mapping) else {"name": axis} for axis in listed]
    names = [str(axis["name"]).lower() for axis in axes]
    # where they are named freely, their types tell
    if not set(names) <= set("tczyx"):
        kinds = [axis.get("type") for axis in axes]
        spatial = iter("zyx"[-kinds.count("space") :] if 0 < kinds.count("space") <= 3 else "???????")
        letters = {"time": "t", "channel": "c"}
        names = [next(spatial) if kind == "space" else letters.get(str(kind), "?") for kind in kinds]
    return "".join(names), [axis.get("unit") for axis in axes]


def _transform(
    image: Mapping[str, Any], level: Mapping[str, Any], axes: str
) -> tuple[dict[str, float], dict[str, float]] | None:
    """Scale and translation by axis of a level, then of the whole image; None if neither has any."""
    steps = [
        *(level.get("coordinateTransformations") or ()),
        *(image.get("coordinateTransformations") or ()),
    ]
    scale, translation = dict.fromkeys(axes, 1.0), dict.fromkeys(axes, 0.0)
    scaled = False
    for step in steps:
        if (factors := step.get("scale")) is not None:
            scaled = True
            for axis, factor in zip(axes, factors, strict=True):
                scale[axis] *= float(factor)
                translation[axis] *= float(factor)
        elif (shifts := step.get("translation")) is not None:
            for axis, shift in zip(axes, shifts, strict=True):
                translation[axis] += float(shift)
    return (scale, translation) if scaled else None


def _place(
    image: Mapping[str, Any], level: Mapping[str, Any], axes: str, units: list[Any]
) -> tuple[Spacing, tuple[float, float, float]]:
    transform = _transform(image, level, axes)
    if transform is None:
        return Spacing(), (0.0, 0.0, 0.0)
    scale, translation = transform
    named = dict(zip(axes, units, strict=True))
    spacing = Spacing.of([scale.get(a) for a in "zyx"], [named.get(a) for a in "zyx"])
    per = [Spacing.of((None, None, 1.0), (None, None, named.get(a))).unit for a in "zyx"]
    z, y, x = (convert(translation.get(a), unit, spacing.unit) or 0.0 for a, unit in zip("zyx", per, strict=True))
    return spacing, (z, y, x)


def _fits(fine: Any, coarse: Any, axes: str, first: Any, this: Any) -> bool:
    """Whether a level's voxels cover whole numbers of the finest level's."""
    if len(coarse.shape) != len(axes) or not set("zyx") <= set(axes):
        return False
    at = [axes.index(a) for a in "zyx"]
    if any(n != m for i, (n, m) in enumerate(zip(fine.shape, coarse.shape, strict=True)) if i not in at):
        return False
    factors, shifts = None, (0.0, 0.0, 0.0)
    if first is not None and this is not None and all(first[0][a] > 0 for a in "zyx"):
        factors = [this[0][a] / first[0][a] for a in "zyx"]
        z, y, x = ((this[1][a] - first[1][a]) / first[0][a] for a in "zyx")
        shifts = (z, y, x)
    return covers_whole([fine.shape[i] for i in at], [coarse.shape[i] for i in at], factors, shifts)


def _level(location: str, dataset: str | None, array: zarr.Array[Any]) -> StoredVolume | None:
    """An array that is a level of an OME image, which knows its voxel size; None if it is not."""
    import zarr

    if dataset:
        above, (head, last) = location, posixpath.split(dataset.strip("/"))
    else:
        above, _, last = location.replace("\\", "/").rpartition("/")
        head = ""
        if not above or ".zarr" not in above:
            return None
    try:
        group = open_node(above, head)
        ome = ome_metadata(group) if isinstance(group, zarr.Group) else {}
        image = ome["multiscales"][0]
        level = next(level for level in image["datasets"] if level["path"] == last)
        axes, units = _axes(image, array.ndim)
        spacing, origin = _place(image, level, axes, units)
    except (VolumeError, KeyError, TypeError, IndexError, StopIteration, ValueError):
        return None
    return StoredVolume(array, axes, spacing, origin=origin) if len(axes) == array.ndim else None


def _plain(array: zarr.Array[Any]) -> StoredVolume:
    attributes = dict(array.attrs.asdict())
    if names := getattr(array.metadata, "dimension_names", None):
        attributes["dimension_names"] = [str(name) for name in names]
    axes = named_axes(attributes, array.ndim) or usual_axes(array.ndim)
    spacing, origin = spacing_of(attributes, axes)
    return StoredVolume(array, axes, spacing, origin=origin)


def _noting_absence(stored: StoredVolume, location: str, name: str) -> StoredVolume:
    """With a note of chunks that are missing, and without coarser levels that have none."""
    note = check_chunks_of(stored.array, location, name)
    pyramid = []
    for level in stored.pyramid:
        with contextlib.suppress(VolumeError):
            check_chunks_of(level, location, name)
            pyramid.append(level)
    return replace(stored, note=note, pyramid=tuple(pyramid))
