"""BigDataViewer's XML: it names the file with the voxels."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path, PurePath
from xml.etree import ElementTree

from napari_niiv.errors import VolumeError
from napari_niiv.io.named_files import named_file
from napari_niiv.io.readers.bdv import xml_spacing
from napari_niiv.io.readers.hdf5 import read_hdf5
from napari_niiv.io.readers.n5 import read_n5
from napari_niiv.io.spacing import agreed
from napari_niiv.io.stored_volume import StoredVolume, refusing


def read_bdv_xml(location: str, dataset: str | None = None) -> StoredVolume:
    """Open the HDF5 or N5 that an XML of BigDataViewer's belongs to.

    Parameters
    ----------
    location : str
        The XML file.
    dataset : str, optional
        As in the file that it names.

    Raises
    ------
    VolumeError
        If it is another kind of XML, or names what is missing, outside of its folder, or cannot be read.
    """
    path = Path(location)
    with refusing(path.name, "XML file"):
        root = ElementTree.parse(path).getroot()
    loader = root.find("SequenceDescription/ImageLoader")
    if root.tag != "SpimData" or loader is None:
        raise VolumeError(f"{path.name} is no XML of BigDataViewer's; open the file that holds the voxels.")
    for kind in ("hdf5", "n5"):
        if name := (loader.findtext(kind) or "").strip():
            voxels = named_file(path, str(PurePath((root.findtext("BasePath") or ".").strip(), name)))
            if not voxels.exists():
                raise VolumeError(f"{path.name} names {name}, which is missing; put it beside it.")
            if kind == "n5":
                return _with_size(read_n5(str(voxels), dataset), path, dataset or "")
            return read_hdf5(str(voxels), dataset, path)
    raise VolumeError(
        f"{path.name} keeps its voxels as {loader.get('format')!r}, which is not read; export it as HDF5."
    )


def _with_size(stored: StoredVolume, xml: Path, dataset: str) -> StoredVolume:
    """A volume with the voxel size that the XML gives its setup; coarser levels keep what they say themselves."""
    if re.search(r"/s[1-9]\d*$", dataset.rstrip("/")):
        return stored
    setup = re.match(r"/?setup(\d+)", dataset)
    told = xml_spacing(xml, int(setup[1]) if setup else None)
    return replace(stored, spacing=agreed([("XML", told), ("N5", stored.spacing)]))
