"""BigDataViewer's HDF5: views by time and setup, each with its pyramid; the voxel size is in an XML beside the file."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import dask.array as da
import numpy as np

from napari_niiv.io.contents import StoredImage, choice
from napari_niiv.io.readers.hdf5_file import lazy_dataset
from napari_niiv.io.spacing import Spacing
from napari_niiv.io.stored_volume import StoredVolume, covers_whole
from napari_niiv.io.units import number


def is_bdv(file: Any) -> bool:
    """Whether an open HDF5 file is laid out as BigDataViewer does."""
    return "t00000" in file and any(f"{setup}/resolutions" in file for setup in setups(file))


def setups(file: Any) -> list[str]:
    """The setups (channels, angles, tiles) in a file of BigDataViewer's, such as "s00"."""
    return [name for name in file if re.fullmatch(r"s\d\d+", name)]


def read_bdv(path: Path, file: Any, setup: str | None = None, xml: Path | None = None) -> StoredVolume:
    """All times of one setup of a BigDataViewer file, with its pyramid.

    Its voxel size is in `xml`, by default the file of the same name.

    Raises
    ------
    DatasetChoice
        If there are several setups and none was named.
    """
    names = setups(file)
    if setup is None and len(names) > 1:
        place = xml or path.with_suffix(".xml")
        sizes = [xml_spacing(place, int(name[1:])) for name in names]
        views = [_first_view(file, name) for name in names]
        raise choice(path.name, list(map(StoredImage.of, names, views, sizes)))
    setup = (setup or names[0]).strip("/")
    times = [name for name in file if re.fullmatch(r"t\d{5,}", name) and setup in file[name]]
    levels = [
        da.stack([_view(path, file[f"{time}/{setup}/{level}/cells"]) for time in times])
        for level in range(len(file[f"{setup}/resolutions"]))
    ]
    factors = [[float(v) for v in row[::-1]] for row in file[f"{setup}/resolutions"][()]]
    fine = levels[0].shape[-3:]
    pyramid = tuple(
        level
        for level, factor in zip(levels[1:], factors[1:], strict=True)
        if covers_whole(fine, level.shape[-3:], factor)
    )
    return StoredVolume(levels[0], "tzyx", xml_spacing(xml or path.with_suffix(".xml"), int(setup[1:])), {}, pyramid)


def _first_view(file: Any, setup: str) -> Any:
    """The finest level of a setup at the first time that has it; None if none has."""
    times = sorted(name for name in file if re.fullmatch(r"t\d{5,}", name))
    return next((file[key] for time in times if (key := f"{time}/{setup}/0/cells") in file), None)


def _view(path: Path, cells: Any) -> da.Array:
    # BigDataViewer keeps unsigned values in HDF5's signed type
    array = lazy_dataset(path, cells, np.dtype("u2") if cells.dtype == np.int16 else None)
    view: da.Array = da.from_array(array, chunks=array.chunks or "auto", name=False)
    return view


def xml_spacing(xml: Path, setup: int | None = None) -> Spacing:
    """The voxel size of a setup, by default the first one, in BigDataViewer's XML; empty where there is none."""
    try:
        root = ElementTree.parse(xml).getroot()
    except FileNotFoundError:
        return Spacing()
    except (OSError, ElementTree.ParseError):
        return Spacing(note=f"{xml.name} cannot be read, so the voxel size in it is not known")
    for view in root.iter("ViewSetup"):
        size = view.find("voxelSize")
        if size is not None and setup in (None, number(view.findtext("id") or "0")):
            sizes = [number(text) for text in (size.findtext("size") or "").split()]
            if len(sizes) == 3:
                return Spacing.of(sizes[::-1], [size.findtext("unit")] * 3)
    return Spacing()
