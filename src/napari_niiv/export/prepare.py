"""What an export is going to do: found out before anything is written."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from napari_niiv.export.checks import TIFF, check_target
from napari_niiv.export.config import ExportConfig
from napari_niiv.export.events import ExportFinished, ExportStarted
from napari_niiv.export.fingerprint import Fingerprint, fingerprint_of
from napari_niiv.export.plan import Plan
from napari_niiv.export.store import Unfinished
from napari_niiv.export.tiff import is_written
from napari_niiv.export.work import Channel, Work, measure_channels
from napari_niiv.io.write import exists_already
from napari_niiv.models.niiv import Niiv
from napari_niiv.reconstruction.batch_budget import BatchBudget
from napari_niiv.reconstruction.denoise import Denoise, check_denoise
from napari_niiv.sections.repair import bridged
from napari_niiv.volume import Volume, check_anisotropy


@dataclass(frozen=True)
class PreparedExport:
    """An export that can be run: nothing is written yet.

    Attributes
    ----------
    volume : Volume
        The source, its sections repaired.
    config : ExportConfig
    path : Path
        The output, absolute.
    plan : Plan
        Levels, shards and blocks of the output.
    store : Unfinished
        The folder in which the output grows.
    fingerprint : dict
        Of volume, model and settings; unless it is complete, under "noise" the levels that the settings came to, and
        under "empty" the values of voxels that hold no measurement, for each T and C index.
    channels : tuple of Channel
        How each T and C index is treated; empty if the output is complete.
    begun : bool
        Whether an earlier run of the same export is gone on with.
    complete : bool
        Whether the output is there already, made of the same: nothing is left to do.
    """

    volume: Volume
    config: ExportConfig
    path: Path
    plan: Plan
    store: Unfinished
    fingerprint: Fingerprint
    channels: tuple[Channel, ...]
    begun: bool
    complete: bool

    @property
    def is_tiff(self) -> bool:
        """Whether the output is a TIFF file, and no OME-Zarr."""
        return self.path.suffix.lower() in TIFF

    def work(self, batch_budget: BatchBudget) -> Work:
        """What computes the shards, with the model of a batch budget."""
        source, data, config = self.fingerprint["source"], self.store.data, self.config
        return Work(self.volume, batch_budget, self.plan, self.channels, source, data, config.planes, config.project)

    def started(self, resumed: int) -> ExportStarted:
        """The first event, where so many voxels of the full resolution are written already."""
        plan = self.plan
        output = (plan.shape(), plan.axes, plan.voxel_size, plan.unit, str(plan.dtype), len(plan.levels))
        return ExportStarted(self.path, self.store.folder, *output, resumed)

    def finished(self, elapsed: float) -> ExportFinished:
        """The last event, so many seconds after the export began."""
        return ExportFinished(self.path, self.plan.shape(), self.plan.voxel_size, self.plan.unit, elapsed)


def prepare(volume: Volume, model: Niiv, target: Path, config: ExportConfig) -> PreparedExport:
    """Check target, volume and settings, and plan the export.

    Raises
    ------
    OutputError
        If the output cannot be written, or an interrupted export is of something else.
    VolumeError
        If the source cannot be read, or is constant.
    ReconstructionError
        If the output scale makes no sense, or the model cannot be told this noise level.
    """
    check_anisotropy(volume.anisotropy, volume.name)
    check_denoise(model, config.denoise)
    path = check_target(target, volume, config).absolute()
    volume = bridged(volume)
    store, fingerprint = Unfinished(path), fingerprint_of(volume, model, config)
    edges = store.resume(fingerprint) if config.resume and store.begun else None
    tiff = path.suffix.lower() in TIFF
    try:
        plan = Plan.of(volume, config, model.device.type, tiff=tiff, edges=edges)
    except ValueError as error:
        raise store.damaged() from error
    known = edges is None and store.is_complete(fingerprint, plan)
    complete = config.resume and (known or (tiff and is_written(path, plan, fingerprint)))
    if not complete and path.exists() and not config.overwrite:
        raise exists_already(path)
    begun = edges is not None and not complete
    channels: tuple[Channel, ...] = ()
    if not complete:
        before: Sequence[Denoise] | None = store.noise_levels() if begun else None
        if before is not None and len(before) != math.prod(plan.leading):
            raise store.damaged()
        asked = before or [config.denoise] * math.prod(plan.leading)
        channels = measure_channels(volume, plan.dtype, model, asked, config.box)
        fingerprint["noise"] = {"levels": [channel.denoise for channel in channels]}
        fingerprint["empty"] = {"values": [list(channel.normalization.empty.values) for channel in channels]}
    return PreparedExport(volume, config, path, plan, store, fingerprint, channels, begun, complete)
