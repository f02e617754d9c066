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
from napari_niiv.export.checks import TIFF, check_space, check_target
from napari_niiv.export.config import ExportConfig
from napari_niiv.export.engines.dask_workers import cluster
from napari_niiv.export.engines.local import Engine, in_this_process, threads
from napari_niiv.export.events import (
    ExportEvent,
    ExportFinished,
    ExportNotice,
    ExportProgress,
    ExportStarted,
    Stage,
)
from napari_niiv.export.fingerprint import fingerprint
from napari_niiv.export.metadata import attributes
from napari_niiv.export.plan import Plan
from napari_niiv.export.store import Unfinished
from napari_niiv.export.tiff import write_from_store
from napari_niiv.export.work import Work, measure_channels
from napari_niiv.io.write import exists_already
from napari_niiv.models.niiv import Niiv
from napari_niiv.reconstruction.batch_budget import BatchBudget
from napari_niiv.volume import Volume, check_anisotropy

_NOTHING_FREE = 16 << 20  # bytes


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
        T and C axes are kept; each index is normalised by itself, constant ones are written as they are.
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
    check_anisotropy(volume.anisotropy, volume.name)
    path = check_target(Path(target), volume, config).absolute()
    flat = path.suffix.lower() in TIFF
    store = Unfinished(path)
    made_of = fingerprint(volume, model, config)
    device = model.device.type
    edges = store.resume(made_of) if config.resume and store.begun else None
    plan = Plan.of(volume, config, device, flat=flat, edges=edges)

    def started(resumed: int) -> ExportStarted:
        shape, levels = plan.shape(), len(plan.levels)
        what = (shape, plan.axes, plan.voxel_size, plan.unit, str(plan.dtype), levels)
        return ExportStarted(path, store.folder, *what, resumed)

    def finished() -> ExportFinished:
        return ExportFinished(path, plan.shape(), plan.voxel_size, plan.unit, time.monotonic() - began)

    if config.resume and edges is None and store.is_complete(made_of):
        yield started(plan.voxels())
        with _saying_what_failed(path):
            store.tidy()
        yield finished()
        return
    if path.exists() and not config.overwrite:
        raise exists_already(path)
    channels = measure_channels(volume, plan.dtype)
    batch_budget = BatchBudget(model)
    work = Work(
        volume, batch_budget, plan, channels, made_of["source"], store.data, config.planes, config.project
    )
    with _saying_what_failed(path), threads(config.threads), ExitStack() as stack:
        if edges is None:
            store.begin(made_of, plan.edges)
        stack.enter_context(store.held())
        todo = store.remaining(plan)
        store.create(plan)
        resumed = plan.voxels() - sum(unit.voxels for unit in todo[0])
        yield started(resumed)
        if warning := check_space(path, plan, resumed / plan.voxels()):
            yield ExportNotice(warning)
        if blank := sum(channel.blank for channel in channels):
            yield ExportNotice(
                f"{blank} of {len(channels)} T/C indices are constant and written as they are."
            )
        engine: Engine = in_this_process
        if config.distributed and any(todo.values()):
            if config.jobqueue is not None:
                yield ExportNotice(f"Waiting for the first of {config.workers} jobs to start.")
            engine = stack.enter_context(cluster(config, work, store.shared))
        for stage, levels in _stages(plan):
            pace = Pace(stage, sum(plan.voxels(level) for level in levels))
            pace.done = pace.total - sum(unit.voxels for level in levels for unit in todo[level])
            for level in levels:
                with closing(engine(work, todo[level])) as steps:
                    for voxels, written in steps:
                        if written is not None:
                            store.note(*written)
                        if voxels or written is None:
                            yield pace.event(voxels)
                        if batch_budget.notice:
                            yield ExportNotice(batch_budget.notice)
                            batch_budget.notice = ""
        if flat:
            yield from write_from_store(volume, plan, store, made_of, Pace("tiff", plan.voxels()).event)
        else:
            store.publish(attributes(volume, plan, channels, made_of), config.overwrite)
    yield finished()


class Pace:
    """How far a stage is, and how fast it goes."""

    def __init__(self, stage: Stage, total: int) -> None:
        self.stage, self.total, self.done = stage, total, 0
        self._new, self._began = 0, time.monotonic()

    def event(self, voxels: int) -> ExportProgress:
        """More voxels are done, or none and time goes by."""
        self.done += voxels
        self._new += voxels
        rate = self._new / max(time.monotonic() - self._began, 1e-9)
        left = (self.total - self.done) / rate if self._new else None
        return ExportProgress(self.stage, self.done, self.total, rate, left)


def _stages(plan: Plan) -> Iterator[tuple[Stage, range]]:
    yield "restore", range(1)
    if plan.later:
        yield "pyramid", plan.later


@contextmanager
def _saying_what_failed(path: Path) -> Iterator[None]:
    """Turn what the disk says into one sentence."""
    try:
        yield
    except MemoryError as error:
        raise OutputError(
            "The memory of this computer is full; end other programs, and", Remedy.RESUME
        ) from error
    except OSError as error:
        # NumPy does not say why it wrote less than it should
        full = error.errno is None and shutil.disk_usage(path.parent).free < _NOTHING_FREE
        if full or error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise OutputError("The disk is full; free space and", Remedy.RESUME) from error
        raise OutputError(
            f"{path} could not be written ({error.strerror or error}); mend that and", Remedy.RESUME
        ) from error
