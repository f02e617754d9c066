"""An export as a generator of events: plan, shards, coarser levels, the finished file."""

from __future__ import annotations

import errno
import os
import shutil
import time
from collections.abc import Generator, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

from napari_niiv.errors import OutputError, Remedy
from napari_niiv.events import Notice
from napari_niiv.export.checks import check_space
from napari_niiv.export.config import ExportConfig
from napari_niiv.export.engines.dask_workers import cluster
from napari_niiv.export.engines.local import Engine, in_this_process, threads
from napari_niiv.export.events import ExportEvent, Stage
from napari_niiv.export.fingerprint import check_unchanged
from napari_niiv.export.integrity import Missing, check_written
from napari_niiv.export.metadata import attributes
from napari_niiv.export.prepare import PreparedExport, prepare
from napari_niiv.export.progress import ProgressMeter
from napari_niiv.export.tiff import write_from_store
from napari_niiv.export.work import Work
from napari_niiv.models.niiv import Niiv
from napari_niiv.reconstruction.batch_budget import BatchBudget
from napari_niiv.volume import Volume

# bytes
_NOTHING_FREE = 16 << 20
# times that what the disk has lost is computed anew in one run
_ATTEMPTS = 3


def export(
    volume: Volume,
    model: Niiv,
    target: str | os.PathLike[str],
    config: ExportConfig = ExportConfig(),  # noqa: B008
) -> Generator[ExportEvent, None, None]:
    """Write the isotropic form of a volume, shard by shard; the values are those of `reconstruct`.

    Memory does not depend on the size of the volume. What is finished is on the disk: an export that was stopped, or
    killed, goes on from there with ``resume=True``.

    Parameters
    ----------
    volume : Volume
        T and C axes are kept; each index is normalised by itself, constant ones are written as they are. Blank sections
        are bridged, unless it comes from `repair_sections`; what was repaired is in the output's attributes.
    model : Niiv
        From `load_model`.
    target : path
        A folder that ends in .zarr (OME-Zarr 0.5, sharded, with coarser levels), or a .tif or .tiff file. It appears
        when it is complete; until then, ``<target>.unfinished`` beside it holds what is done.
    config : ExportConfig

    Yields
    ------
    ExportStarted, ExportNotice, ExportProgress, ExportFinished
        Closing the generator stops the export; what is finished is kept for `resume`, and deleted by `discard`.

    Raises
    ------
    OutputError
        If the output cannot be written, or an interrupted export is of something else.
    VolumeError
        If the source cannot be read, is constant, or is changed meanwhile.
    ReconstructionError, DeviceError
        If the output scale makes no sense, or memory runs out.
    """
    began = time.monotonic()
    prepared = prepare(volume, model, Path(target), config)
    with _explaining_what_failed(prepared.path):
        if prepared.complete:
            yield prepared.started(prepared.plan.voxels())
            prepared.store.tidy()
        else:
            yield from _run(prepared, prepared.work(BatchBudget(model)))
    yield prepared.finished(time.monotonic() - began)


def _run(prepared: PreparedExport, work: Work) -> Iterator[ExportEvent]:
    """Compute what is missing, and put the output in its place."""
    config, plan, store = prepared.config, prepared.plan, prepared.store
    with threads(config.threads), ExitStack() as stack:
        if not prepared.begun:
            store.begin(prepared.fingerprint, plan.edges)
        stack.enter_context(store.locked())
        missing = store.missing(plan)
        store.create(plan)
        resumed = plan.voxels() - sum(unit.voxels for unit in missing[0])
        yield prepared.started(resumed)
        yield from check_written(prepared, missing)
        yield from _notices(prepared, resumed / plan.voxels())
        engine: Engine = in_this_process
        if config.distributed and any(missing.values()):
            if config.jobqueue is not None:
                yield Notice(f"Waiting for the first of {config.workers} jobs to start.")
            engine, dashboard = stack.enter_context(cluster(config, work, store.shared))
            if dashboard is not None:
                yield Notice(f"The workers can be watched at {dashboard}, by anyone on this computer.")
        for _ in range(_ATTEMPTS):
            yield from _compute(prepared, work, engine, "restore", range(1), missing)
            if plan.later and (yield from check_written(prepared, missing, plan.later.start - 1)):
                continue
            yield from _compute(prepared, work, engine, "pyramid", plan.later, missing)
            if not (yield from check_written(prepared, missing)):
                break
        else:
            raise OutputError(f"The disk does not keep what is written in {store.folder}; check it and", Remedy.RESUME)
        yield from _publish(prepared)


def _notices(prepared: PreparedExport, done: float) -> Iterator[Notice]:
    """What the user should know before the work begins, of which a part is done."""
    if warning := check_space(prepared.path, prepared.plan, done):
        yield Notice(warning)
    if prepared.volume.repairs and done == 0:
        yield Notice(f"{prepared.volume.name}: {prepared.volume.repairs.words}.")
    channels = prepared.channels
    if blank := sum(channel.blank for channel in channels):
        yield Notice(f"{blank} of {len(channels)} T/C indices are constant and written as they are.")
    if words := max((channel.normalization.empty for channel in channels), key=lambda empty: empty.share).words:
        yield Notice(f"{words}.")


def _compute(
    prepared: PreparedExport, work: Work, engine: Engine, stage: Stage, levels: range, missing: Missing
) -> Iterator[ExportEvent]:
    """Have the missing units of a stage computed, and record each in the journal."""
    total = sum(prepared.plan.voxels(level) for level in levels)
    meter = ProgressMeter(stage, total, total - sum(unit.voxels for level in levels for unit in missing[level]))
    for level in levels:
        with closing(engine(work, missing[level])) as advances:
            for advance in advances:
                if advance.written is not None:
                    prepared.store.record(*advance.written)
                if advance.voxels or advance.written is None:
                    yield meter.advance(advance.voxels)
                if work.batch_budget.notice:
                    yield Notice(work.batch_budget.notice)
                    work.batch_budget.notice = ""
        missing[level] = []


def _publish(prepared: PreparedExport) -> Iterator[ExportEvent]:
    """Make the output of the finished store, whole and at once."""
    volume, plan, store = prepared.volume, prepared.plan, prepared.store
    check_unchanged(volume, prepared.fingerprint["source"], now=True)
    if prepared.is_tiff:
        meter = ProgressMeter("tiff", plan.voxels())
        yield from write_from_store(volume, plan, store, prepared.fingerprint, meter, prepared.config.overwrite)
    else:
        metadata = attributes(volume, plan, prepared.channels, prepared.fingerprint)
        store.publish(plan, metadata, prepared.config.overwrite)


@contextmanager
def _explaining_what_failed(path: Path) -> Iterator[None]:
    """Turn what the disk says into one sentence."""
    try:
        yield
    except MemoryError as error:
        raise OutputError("The memory of this computer is full; end other programs, and", Remedy.RESUME) from error
    except OSError as error:
        # NumPy does not say why it wrote less than it should
        full = error.errno is None and shutil.disk_usage(path.parent).free < _NOTHING_FREE
        if full or error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise OutputError("The disk is full; free space and", Remedy.RESUME) from error
        raise OutputError(
            f"{path} could not be written ({error.strerror or error}); mend that and", Remedy.RESUME
        ) from error
