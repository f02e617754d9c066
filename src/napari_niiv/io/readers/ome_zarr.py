"""OME-Zarr 0.4 and 0.5 (and older), and plain zarr arrays."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from napari_niiv.errors import Remedy, VolumeError
from napari_niiv.io.channel_facts import channel_facts, hex_colour, window_limits
from napari_niiv.io.contents import StoredImage, choice
from napari_niiv.io.formats import Location, is_url
from napari_niiv.io.readers.array_attributes import named_axes, spacing_of
from napari_niiv.io.readers.ngff import Transform, axes_of, place_of, transform_of
from napari_niiv.io.readers.ome_zarr_images import (
    attributes_of,
    images_below,
    located,
    ome_metadata,
    several_multiscales,
    text,
)
from napari_niiv.io.readers.zarr_node import noting_absence, open_node
from napari_niiv.io.remote import unreachable
from napari_niiv.io.stored_volume import StoredVolume, covers_whole, refusing, unreadable, usual_axes

if TYPE_CHECKING:
    import zarr

_MOST_LEVELS = 64  # each takes a request


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
    name = Location(location).name
    with refusing(name, "zarr"):
        return _read(location, dataset, name)


def _read(location: str, dataset: str | None, name: str) -> StoredVolume:
    import zarr

    node, number = located(location, dataset)
    if isinstance(node, zarr.Array):
        return noting_absence(_level(location, dataset, node) or _plain(node), location, name)
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
    return _read(location, found[0].name, name)


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
        return noting_absence(_image(group, ome, image, name), location, name)
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

    nodes = [(group.get(text(level["path"])), level) for level in image["datasets"][:_MOST_LEVELS]]
    levels = [(guarded(array), level) for array, level in nodes if isinstance(array, zarr.Array)]
    if not levels or levels[0][1] is not image["datasets"][0]:
        raise VolumeError(f"{name} lacks the array {image['datasets'][0]['path']!r} of its image; get it anew.")
    levels.sort(key=lambda pair: -pair[0].size)  # the finest first, as the format wants it
    array = levels[0][0]
    axes, units = axes_of(image, array)
    if len(axes) != array.ndim:
        raise VolumeError(f"{name} names the axes {axes!r} of an array of shape {array.shape}; correct them.")
    spacing, origin = place_of(image, levels[0][1], axes, units)
    first = transform_of(image, levels[0][1], axes)
    coarser = tuple(
        level
        for level, attributes in levels[1:]
        if _fits(array, level, axes, first, transform_of(image, attributes, axes))
    )
    channels = (ome.get("omero") or {}).get("channels") or []
    names = [str(channel.get("label") or "") for channel in channels]
    metadata = channel_facts(
        names,
        [hex_colour(channel.get("color")) for channel in channels],
        [window_limits(channel.get("window"), array.dtype) for channel in channels],
    )
    return StoredVolume(array, axes, spacing, metadata, coarser, origin)


def _fits(fine: Any, coarse: Any, axes: str, first: Transform, this: Transform) -> bool:
    """Whether a level's voxels cover whole numbers of the finest level's."""
    if len(coarse.shape) != len(axes) or not set("zyx") <= set(axes):
        return False
    at = [axes.index(a) for a in "zyx"]
    if any(n != m for i, (n, m) in enumerate(zip(fine.shape, coarse.shape, strict=True)) if i not in at):
        return False
    factors, shifts = None, (0.0, 0.0, 0.0)
    if first.scaled and this.scaled and all(first.scale[a] > 0 for a in "zyx"):
        factors = [this.scale[a] / first.scale[a] for a in "zyx"]
        z, y, x = ((this.translation[a] - first.translation[a]) / first.scale[a] for a in "zyx")
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
        axes, units = axes_of(image, array)
        spacing, origin = place_of(image, level, axes, units)
    except (VolumeError, KeyError, TypeError, IndexError, StopIteration, ValueError):
        return None
    return StoredVolume(array, axes, spacing, origin=origin) if len(axes) == array.ndim else None


def _plain(array: zarr.Array[Any]) -> StoredVolume:
    attributes = attributes_of(array)
    if names := getattr(array.metadata, "dimension_names", None):
        attributes["dimension_names"] = [str(name) for name in names]
    axes = named_axes(attributes, array.ndim) or usual_axes(array.ndim)
    spacing, origin = spacing_of(attributes, axes)
    return StoredVolume(array, axes, spacing, origin=origin)
