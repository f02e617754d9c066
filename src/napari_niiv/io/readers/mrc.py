"""MRC files and their kin (.mrc, .rec, .st, .map), memory-mapped."""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_niiv.errors import VolumeError
from napari_niiv.io.mapped_arrays import mapped
from napari_niiv.io.spacing import Spacing, agreed, join_notes
from napari_niiv.io.stored_volume import StoredVolume, library, refusing
from napari_niiv.io.units import number

# IMOD's own fields in the part of the header that is free: a stamp, then flags
_IMOD_STAMP = 1146047817
_HEADER = 1024  # bytes, before the extended header
_MOST_EXTENDED = 64 << 20  # some hundred bytes a slice
_SIGNED_BYTES, _ORIGIN_OF_FIRST_VOXEL, _HALF_BYTES = 1, 4, 16


def read_mrc(path: Path) -> StoredVolume:
    """Map an MRC file; voxel size and origin are in ångström, as the format says, its axes those that it names.

    Bytes are unsigned where IMOD's flags, or the largest value that the header gives, say so.

    Raises
    ------
    VolumeError
        If the file is unreadable or truncated, or mrcfile is missing.
    """
    mrcfile = library("mrcfile", path.name, "mrc", "MRC")
    with refusing(path.name, "MRC file"), warnings.catch_warnings():
        _check_extended_header(path)
        # headers of older software are read all the same
        warnings.simplefilter("ignore")
        with mrcfile.mmap(path, mode="r", permissive=True) as file:
            array, header = file.data, file.header.copy()
            if array is None:
                raise VolumeError(f"{path.name} is truncated or no MRC file; get the file anew.")
            array, size = mapped(array), file.voxel_size
    flags = _imod_flags(header)
    if flags is not None and flags & _HALF_BYTES and int(header.mode) == 0:
        raise VolumeError(f"{path.name} holds two 4-bit values in a byte; convert it with IMOD, to mode 1, first.")
    array, note = _signed_or_not(array, header, flags)
    # a stack of pictures (.st) counts as slices
    axes, remark = _axes(array, header)
    # a cell of no size means that nothing is known of it
    sizes = [float(v) or None for v in (size.z, size.y, size.x)]
    said = [("header", Spacing.of(sizes, ["angstrom"] * 3)), (".mdoc file", _mdoc_spacing(path))]
    # what programs write that know no size, too
    if sizes == [1.0, 1.0, 1.0] and any(said[1][1].sizes):
        said = said[1:]
    z, y, x = (number(v) or 0.0 for v in (header.origin.z, header.origin.y, header.origin.x))
    # IMOD's own origin is where zero lies, seen from the first voxel
    if flags is not None and not flags & _ORIGIN_OF_FIRST_VOXEL:
        z, y, x = (0.0 - v for v in (z, y, x))
    return StoredVolume(array, axes, agreed(said), {}, (), (z, y, x), note=join_notes(note, remark))


def _check_extended_header(path: Path) -> None:
    """Refuse an extended header that is longer than the file, or than any is: mrcfile would take memory first."""
    with path.open("rb") as file:
        content = file.read(_HEADER)
    # of the two byte orders, mrcfile may take either
    lengths = [int(n) for order in "<>" for n in np.frombuffer(content[92:96], f"{order}i4")]
    stamp = content[212:213]
    length = lengths[0] if stamp == b"\x44" else lengths[-1] if stamp == b"\x11" else max(lengths, default=0)
    if len(content) < _HEADER or not -1 < length <= min(path.stat().st_size - _HEADER, _MOST_EXTENDED):
        raise VolumeError(f"{path.name} is truncated or no MRC file; get the file anew.")


def _imod_flags(header: Any) -> int | None:
    """IMOD's flags; None if another program wrote the file."""
    stamp, flags = np.frombuffer(header.extra2.tobytes()[40:48], header.dtype["nx"])
    return int(flags) if int(stamp) == _IMOD_STAMP else None


def _signed_or_not(array: NDArray[Any], header: Any, flags: int | None) -> tuple[NDArray[Any], str]:
    """Bytes as what they are, and what to tell where the header contradicts itself.

    The format says signed; IMOD writes either and says so; others write either, and the largest value may tell.
    """
    if array.dtype.kind != "i" or array.itemsize > 1:
        return array, ""
    low, high = float(header.dmin), float(header.dmax)
    signed = not high > 127 if flags is None else bool(flags & _SIGNED_BYTES)
    kind = "signed" if signed else "unsigned"
    contradicted = high > 127 if signed else -128 <= low < 0 and low < high
    note = f"IMOD's flag says {kind} bytes, its range is {low:g} to {high:g}; they are taken as {kind}"
    return (array if signed else array.view(np.uint8)), note if contradicted else ""


def _axes(array: NDArray[Any], header: Any) -> tuple[str, str]:
    """The axes in the stored order, and what to tell of numbers that make no sense."""
    if array.ndim == 4 and array.shape[-1] in (3, 4) and int(header.mode) == 16:
        return "zyxs", ""
    numbers = [int(n) for n in (header.maps, header.mapr, header.mapc)]
    note = ""
    if sorted(numbers) != [1, 2, 3]:
        note = f"its axes have the numbers {numbers[::-1]}; they are taken as x, y, z" if any(numbers) else ""
        numbers = [3, 2, 1]
    return ("t" + "".join(" xyz"[n] for n in numbers))[-array.ndim :], note


def _mdoc_spacing(path: Path) -> Spacing:
    """The pixel size in the file of metadata that SerialEM writes beside a stack; empty where there is none."""
    try:
        text = path.with_name(f"{path.name}.mdoc").read_text(errors="replace")
    except OSError:
        return Spacing()
    found = re.search(r"^\s*PixelSpacing\s*=\s*(\S+)", text, re.MULTILINE)
    size = number(found[1]) if found else None
    return Spacing.of((None, size, size), ["angstrom"] * 3)
