"""The voxel size in a TIFF file, in whichever of its headers it is: OME-XML, or those of ImageJ and of microscopes."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any
from xml.etree import ElementTree

import numpy as np
import tifffile

from napari_niiv.io.spacing import Spacing, agreed
from napari_niiv.io.units import number

_MICROMETRES = ("um",) * 3


def tiff_header_spacing(file: tifffile.TiffFile, series: tifffile.TiffPageSeries) -> Spacing:
    """What the headers of a TIFF file say of the voxel size of an image in it.

    A header that cannot be read is told in the result's note.

    Parameters
    ----------
    file : tifffile.TiffFile
        Its OME-XML is that of the image alone.
    series : tifffile.TiffPageSeries
        The image.
    """
    said = [(name, spacing) for name, read in _HEADERS if (spacing := _tolerant(name, read, file)) is not None]
    # prints have a resolution too, so it is the last that is asked
    return agreed([*said, ("resolution", _resolution(file, series))])


def ome_elements(xml: str, name: str) -> Iterator[ElementTree.Element]:
    """The elements of an OME-XML that have a name, in whichever namespace, or none."""
    return (e for e in ElementTree.fromstring(xml).iter() if e.tag.rpartition("}")[2] == name)


def _tolerant(
    name: str, read: Callable[[tifffile.TiffFile], Spacing | None], file: tifffile.TiffFile
) -> Spacing | None:
    try:
        return read(file)
    except Exception:  # of headers as programs write them: it costs the voxel size, not the voxels
        return Spacing(note=f"its {name} cannot be read, so the voxel size in it is not known")


def _ome(file: tifffile.TiffFile) -> Spacing | None:
    if not file.is_ome or not file.ome_metadata:
        if not file.is_ome and file.pages.first.is_ome:
            raise ValueError("found to be unreadable when the file was opened")
        return None
    pixels = next(ome_elements(file.ome_metadata, "Pixels"), None)
    if pixels is None:
        return None
    sizes = [number(pixels.get(f"PhysicalSize{axis}")) for axis in "ZYX"]
    return Spacing.of(sizes, [pixels.get(f"PhysicalSize{axis}Unit", "µm") for axis in "ZYX"])


def _imagej(file: tifffile.TiffFile) -> Spacing | None:
    if not file.is_imagej:
        return None
    metadata = file.imagej_metadata or {}
    tags = file.pages.first.tags
    unit = metadata.get("unit")
    y, x = (_pixel_size(tags, name) for name in ("YResolution", "XResolution"))
    units = [metadata.get("zunit", unit), metadata.get("yunit", unit), unit]
    return Spacing.of((number(metadata.get("spacing")), y, x), units)


def _lsm(file: tifffile.TiffFile) -> Spacing | None:
    if not file.is_lsm:
        return None
    metadata = file.lsm_metadata or {}
    sizes = [number(metadata.get(f"VoxelSize{axis}")) or None for axis in "ZYX"]
    return Spacing.of(sizes, ("m",) * 3).to("micrometer")


def _metamorph(file: tifffile.TiffFile) -> Spacing | None:
    if not file.is_stk:
        return None
    metadata = file.stk_metadata or {}
    distances = np.abs(np.atleast_1d(np.asarray(metadata.get("ZDistance", 0.0), float)))
    z = float(np.median(distances)) or None  # each is the way to the next plane; the first or the last may be 0
    y, x = (
        _fraction(metadata.get(f"{axis}Calibration")) if metadata.get("SpatialCalibration") else None for axis in "YX"
    )
    unit = metadata.get("CalibrationUnits")
    return Spacing.of((z, y, x), (unit, unit, unit))


def _scanimage(file: tifffile.TiffFile) -> Spacing | None:
    if not file.is_scanimage:
        return None
    said = (file.scanimage_metadata or {}).get("FrameData") or _statements(file.pages.first.software)
    steps = [number(said.get(f"SI.hStackManager.{name}")) for name in ("actualStackZStepSize", "stackZStepSize")]
    z = next((abs(step) for step in steps if step), None)
    page = file.pages.first
    y, x = _field_of_view(said.get("SI.hRoiManager.imagingFovUm"))
    lateral = (size / count if size else None for size, count in ((y, page.imagelength), (x, page.imagewidth)))
    spacing = Spacing.of((z, *lateral), _MICROMETRES)
    channels = len(re.findall(r"\d+", str(said.get("SI.hChannels.channelSave", 1))))
    frames = number(said.get("SI.hStackManager.framesPerSlice")) or 1
    # tifffile tells them apart where the statements are also at the beginning of the file
    if file.series[0].axes.startswith("I") and channels * frames > 1:
        note = f"its pages, slices of {channels} channels with {frames:g} frames each, are all shown as slices"
        return replace(spacing, sizes=(None, *spacing.sizes[1:]), note=note)
    return spacing


def _micromanager(file: tifffile.TiffFile) -> Spacing | None:
    if not file.is_micromanager:
        return None
    summary = (file.micromanager_metadata or {}).get("Summary") or {}
    z, xy = (
        next((abs(v) for name in names if (v := number(summary.get(name)))), None)
        for names in (("z-step_um", "ZStepUm"), ("PixelSize_um", "PixelSizeUm"))
    )
    aspect = number(summary.get("PixelAspect")) or 1.0
    return Spacing.of((z, xy * aspect if xy else None, xy), _MICROMETRES)


_HEADERS: tuple[tuple[str, Callable[[tifffile.TiffFile], Spacing | None]], ...] = (
    ("OME-XML", _ome),
    ("LSM header", _lsm),
    ("MetaMorph header", _metamorph),
    ("ScanImage header", _scanimage),
    ("ImageJ header", _imagej),
    ("Micro-Manager header", _micromanager),
)


def _resolution(file: tifffile.TiffFile, series: tifffile.TiffPageSeries) -> Spacing:
    """The pixel size of a plain TIFF file; inches are left, as pictures that are to be printed give them."""
    tags = series.keyframe.tags
    if file.is_imagej or tags.valueof("ResolutionUnit") != tifffile.RESUNIT.CENTIMETER:
        return Spacing()
    y, x = (_pixel_size(tags, name) for name in ("YResolution", "XResolution"))
    return Spacing.of((None, y, x), ("cm",) * 3).to("micrometer")


def _pixel_size(tags: Any, name: str) -> float | None:
    pixels = _fraction(tags.valueof(name))
    return 1 / pixels if pixels else None


def _fraction(value: Any) -> float | None:
    if isinstance(value, tuple | list) and len(value) == 2:
        return value[0] / value[1] if value[1] else None
    return number(value)


def _field_of_view(corners: Any) -> tuple[float | None, float | None]:
    """Height and width that four corners (x, y) enclose."""
    if isinstance(corners, str):
        corners = [row.split() for row in corners.strip("[] ").split(";")]
    try:
        x, y = np.ptp(np.asarray(corners, float).reshape(-1, 2), axis=0)
    except (TypeError, ValueError):
        return None, None
    return (float(y) or None, float(x) or None) if math.isfinite(x + y) else (None, None)


def _statements(text: str) -> dict[str, str]:
    """The lines "name = value" of a text."""
    pairs = (line.partition("=") for line in text.splitlines())
    return {name.strip(): value.strip() for name, sign, value in pairs if sign}
