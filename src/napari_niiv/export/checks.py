"""What is found out about the output before any work."""

from __future__ import annotations

import shutil
from pathlib import Path

from napari_niiv.errors import OutputError, Remedy
from napari_niiv.export.config import ExportConfig
from napari_niiv.export.fingerprint import source_path
from napari_niiv.export.plan import Plan
from napari_niiv.export.store import Unfinished, being_written, unfinished_path
from napari_niiv.io.write import check_output
from napari_niiv.volume import Volume

TIFF = (".tif", ".tiff")
SUFFIXES = (".zarr", *TIFF)
# files at the root of a zarr
_OF_ZARR = ("zarr.json", ".zgroup", ".zarray", ".zattrs")


def check_target(target: Path, volume: Volume, config: ExportConfig) -> Path:
    """Find out whether an output can be written; its path, with ~ expanded.

    Raises
    ------
    OutputError
        If it exists, or is begun already; if its folder is missing or read-only, its kind unknown, or it would
        overwrite the source.
    """
    # what exists may be the very export that is to be resumed
    path = check_output(target, config.overwrite or config.resume, SUFFIXES)
    if (source := source_path(volume)) is not None:
        ours, theirs = path.resolve(), source.resolve()
        if ours == theirs:
            raise OutputError("The output is the input; choose another name.")
        if ours in theirs.parents or theirs in ours.parents:
            raise OutputError(f"{path} and the input {source} lie one inside the other; choose another name.")
    if path.is_dir() and not any((path / name).is_file() for name in _OF_ZARR):
        raise OutputError(f"{path} is a folder and no zarr; choose another name.")
    if path.suffix.lower() == ".zarr" and path.is_file():
        raise OutputError(f"{path} is a file and no zarr; choose another name.")
    unfinished = Unfinished(path)
    if unfinished.begun and not (config.resume or config.overwrite):
        if unfinished.running:
            raise being_written(path)
        raise OutputError(f"{unfinished_path(path)} holds an interrupted export:", Remedy.RESUME_OR_START_ANEW)
    return path


def check_space(target: Path, plan: Plan, done: float) -> str:
    """A warning if the disk may become full; empty if not.

    Parameters
    ----------
    target : Path
        The output.
    plan : Plan
        What is to be written.
    done : float
        Part that is written already, 0 … 1.

    Raises
    ------
    OutputError
        If it is sure to become full, as TIFF files are not compressed.
    """
    free = shutil.disk_usage(target.parent).free
    store = plan.bytes * (1 - done)
    tiff = plan.bytes if target.suffix.lower() in TIFF else 0
    if tiff > free:
        raise OutputError(
            f"{target.name} takes {_gigabytes(tiff)} GB and {_gigabytes(free)} GB are free in {target.parent}; "
            "free space, or choose another folder."
        )
    if store + tiff > free:
        return (
            f"{target.name} takes up to {_gigabytes(store + tiff)} GB before compression and {_gigabytes(free)} GB "
            f"are free in {target.parent}; the disk may become full."
        )
    return ""


def _gigabytes(count: float) -> str:
    return f"{count / 1e9:.3g}"
