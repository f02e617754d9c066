"""The images in a zarr that holds several: fields of a plate, series of a file, images side by side in a group."""

from __future__ import annotations

import itertools
import posixpath
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from napari_niiv.errors import VolumeError
from napari_niiv.io.contents import StoredImage
from napari_niiv.io.readers.array_attributes import named_axes, spacing_of
from napari_niiv.io.readers.ngff import axes_of, place_of
from napari_niiv.io.readers.zarr_node import open_node
from napari_niiv.io.spacing import Spacing
from napari_niiv.io.stored_volume import usual_axes

if TYPE_CHECKING:
    import zarr

_MOST_WELLS = 100  # whose fields are listed; each takes a request
_MOST_DESCRIBED = 24  # images whose shape is told


def joined(*parts: str | None) -> str:
    """Paths in a zarr as one, without slashes at its ends."""
    return posixpath.join(*[part.strip("/") for part in parts if part])


def text(path: Any) -> str:
    """A path as metadata give it; raises TypeError where that is no text."""
    if not isinstance(path, str):
        raise TypeError(f"path {path!r}")
    return path


def attributes_of(node: zarr.Array[Any] | zarr.Group) -> dict[str, Any]:
    """The attributes of an array or group; none where they are no mapping."""
    try:
        return dict(node.attrs.asdict())
    except (TypeError, ValueError):
        return {}


def ome_metadata(group: zarr.Group) -> Mapping[str, Any]:
    """OME metadata of a group: under "ome" from version 0.5 on, before among the other attributes."""
    attributes = attributes_of(group)
    ome = attributes.get("ome", attributes)
    return ome if isinstance(ome, Mapping) else {}


def multiscale_names(multiscales: Sequence[Mapping[str, Any]]) -> list[str]:
    """What the images of one group are called: by their own names, where these tell them apart."""
    names = [str(image.get("name") or "") for image in multiscales]
    return [
        name if name and "/" not in name and names.count(name) == 1 else f"image {number}"
        for number, name in enumerate(names)
    ]


def located(location: str, dataset: str | None) -> tuple[zarr.Array[Any] | zarr.Group, int | None]:
    """The node that a name means, and which of the images of its group, if the name tells.

    Raises
    ------
    VolumeError
        If there is nothing of that name.
    """
    import zarr

    try:
        return open_node(location, dataset), None
    except VolumeError:
        above, _, name = (dataset or "").strip("/").rpartition("/")
        group = open_node(location, above) if name else None
        names = multiscale_names(ome_metadata(group).get("multiscales") or ()) if isinstance(group, zarr.Group) else []
        if group is None or name not in names or len(names) < 2:
            raise
        return group, names.index(name)


def several_multiscales(group: zarr.Group, ome: Mapping[str, Any], dataset: str | None) -> list[StoredImage]:
    """The images of one group, where it has more than one."""
    multiscales = ome["multiscales"]
    names = multiscale_names(multiscales)
    arrays = [group.get(text(image["datasets"][0]["path"])) for image in multiscales]
    return [
        StoredImage.of(joined(dataset, name), array, _spacing(array, image))
        for name, array, image in zip(names, arrays, multiscales, strict=True)
    ]


def images_below(group: zarr.Group, ome: Mapping[str, Any], dataset: str | None) -> list[StoredImage]:
    """The images and arrays in a group that is no image itself.

    Parameters
    ----------
    group : zarr.Group
    ome : mapping
        Its OME metadata.
    dataset : str or None
        Its path in the zarr, which their names begin with.
    """
    paths = _paths(group, ome)
    described = [StoredImage.of(joined(dataset, path), *_finest(group, path)) for path in paths[:_MOST_DESCRIBED]]
    return described + [StoredImage(joined(dataset, path)) for path in paths[_MOST_DESCRIBED:]]


def _paths(group: zarr.Group, ome: Mapping[str, Any]) -> list[str]:
    import zarr

    if plate := ome.get("plate"):
        wells = [text(well["path"]) for well in plate["wells"]]
        fields = [path for well in wells[:_MOST_WELLS] for path in _fields(group, well)]
        return fields + wells[_MOST_WELLS:]  # of which it is asked again
    if well := ome.get("well"):
        return [text(image["path"]) for image in well["images"]]
    if "bioformats2raw.layout" in ome:
        series = ome_metadata(node) if isinstance(node := group.get("OME"), zarr.Group) else {}
        if names := series.get("series"):
            return [text(name) for name in names]
        # which are numbered then
        numbers = map(str, range(_MOST_WELLS))
        if numbered := list(itertools.takewhile(lambda name: group.get(name) is not None, numbers)):
            return numbered
    images: list[str] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of files in the hierarchy that belong to nothing
        members = sorted(group.members(max_depth=None))
    for path, node in members:
        if any(path.startswith(f"{image}/") for image in images):
            continue
        if isinstance(node, zarr.Array):
            images += [path] if node.ndim >= 3 else []
        elif ome_metadata(node).get("multiscales"):
            images.append(path)
    return images


def _fields(plate: zarr.Group, well: str) -> list[str]:
    import zarr

    node = plate.get(well)
    listed = (ome_metadata(node).get("well") or {}).get("images") if isinstance(node, zarr.Group) else None
    return [joined(well, text(image["path"])) for image in listed] if listed else [joined(well, "0")]


def _finest(group: zarr.Group, path: str) -> tuple[zarr.Array[Any] | None, Spacing]:
    """The array of an image, for its shape, and its voxel size; nothing where opening it will tell why."""
    import zarr

    try:
        node, image = group.get(path), None
        if isinstance(node, zarr.Group):
            image = ome_metadata(node)["multiscales"][0]
            node = node.get(text(image["datasets"][0]["path"]))
        return (node, _spacing(node, image)) if isinstance(node, zarr.Array) else (None, Spacing())
    except Exception:  # of servers, JSON, metadata
        return None, Spacing()


def _spacing(array: Any, image: Mapping[str, Any] | None) -> Spacing:
    """The voxel size of an array, by the metadata of the image whose finest level it is, if it is one."""
    try:
        if image is None:
            attributes = attributes_of(array)
            return spacing_of(attributes, named_axes(attributes, array.ndim) or usual_axes(array.ndim))[0]
        return place_of(image, image["datasets"][0], *axes_of(image, array))[0]
    except Exception:  # opening it will tell
        return Spacing()
