"""A TIFF file from the finished store, slab by slab."""

from __future__ import annotations

import math
import queue
import re
import threading
from collections.abc import Generator
from dataclasses import replace
from pathlib import Path

import tifffile

from napari_niiv.export.events import ExportProgress
from napari_niiv.export.fingerprint import Fingerprint, identity_of
from napari_niiv.export.plan import Plan
from napari_niiv.export.progress import ProgressMeter
from napari_niiv.export.shards import open_level
from napari_niiv.export.store import Unfinished
from napari_niiv.interrupt import StopFlag
from napari_niiv.io.readers.library_messages import tifffile_messages
from napari_niiv.io.write import IDENTITY, is_ome, save_tiff
from napari_niiv.volume import Volume


def is_written(path: Path, plan: Plan, fingerprint: Fingerprint) -> bool:
    """Whether a TIFF file is there, with all its voxels, and was made of just this."""
    try:
        with tifffile_messages(), tifffile.TiffFile(path) as file:
            series, description = file.series[0], file.pages.first.description
            begin = series.dataoffset if series.size == plan.voxels() else None  # a file cut short has fewer planes
            end = math.inf if begin is None else begin + series.nbytes
    except (OSError, ValueError, IndexError, tifffile.TiffFileError):
        return False
    written = re.search(rf'(?:\bUUID="urn:uuid:|^{IDENTITY}=)([0-9a-f-]{{36}})', description, re.MULTILINE)
    return written is not None and written[1] == str(identity_of(fingerprint)) and end <= path.stat().st_size


def write_from_store(
    volume: Volume,
    plan: Plan,
    store: Unfinished,
    fingerprint: Fingerprint,
    meter: ProgressMeter,
    replace_target: bool = False,
) -> Generator[ExportProgress, None, None]:
    """Write the TIFF file; it appears whole, and the store goes.

    Parameters
    ----------
    volume : Volume
        The source.
    plan : Plan
        Of the file.
    store : Unfinished
        Holds the full resolution, complete.
    fingerprint : dict
        Decides on the identity that is written into the file, by which it is known to be complete when it is asked for
        again; what is written twice is the same to the last byte.
    meter : ProgressMeter
        Counts the voxels that are written.
    replace_target : bool
        Whether a file of that name goes.

    Raises
    ------
    OSError, OutputError
        If it cannot be written, or there is such a file by now; the store stays.
    """
    array = open_level(store.data)
    result = replace(
        volume,
        array=array,
        voxel_size=plan.voxel_size,
        origin=plan.origin,
        pyramid=(),
    )
    identity = identity_of(fingerprint)
    fractions: queue.SimpleQueue[float | None] = queue.SimpleQueue()
    stop = StopFlag()
    failed: list[Exception] = []

    def progress(fraction: float) -> None:
        fractions.put(fraction)
        stop()

    def run() -> None:
        try:
            save_tiff(result, store.file, ome=is_ome(store.target), identity=identity, progress=progress)
        except Exception as error:
            failed.append(error)
            store.file.unlink(missing_ok=True)  # its space may be what is lacking
        fractions.put(None)

    writer = threading.Thread(target=run, name="napari-niiv-tiff")
    writer.start()
    done, ended = 0, False
    try:
        while (fraction := fractions.get()) is not None:
            voxels = round(fraction * plan.voxels()) - done
            done += voxels
            yield meter.advance(voxels)
        ended = True
    finally:
        stop.stop()
        writer.join()
        if not ended:  # it may have been complete before it could be stopped
            store.file.unlink(missing_ok=True)
    if failed:
        raise failed[0]
    store.publish_file(replace_target)
