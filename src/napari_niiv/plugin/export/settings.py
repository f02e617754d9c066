"""What an export from the viewer is to be, and what can be said of it before it starts; no Qt.

What brings torch is imported when it is asked for, and that is off the GUI thread.
"""

from __future__ import annotations

import copy
import dataclasses
import shutil
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from napari_niiv.errors import OutputError, VolumeError
from napari_niiv.export.config import ExportConfig
from napari_niiv.io.lazy_arrays import Stacked
from napari_niiv.plugin.common.layers import ISOTROPIC
from napari_niiv.plugin.common.output_names import free_output, interrupted_output
from napari_niiv.plugin.common.words import bytes_of, output_words
from napari_niiv.sections.repair import as_measured
from napari_niiv.volume import Volume, in_memory

if TYPE_CHECKING:
    from napari_niiv.export.estimate import Estimate
    from napari_niiv.export.events import ExportEvent
    from napari_niiv.export.plan import Plan
    from napari_niiv.interrupt import Interrupt
    from napari_niiv.models.niiv import Niiv

TIFF = ".tif"
ZARR = ".zarr"
SUFFIXES = (ZARR, TIFF, ".tiff")


@dataclass(frozen=True, eq=False)
class ExportSettings:
    """What the user wants exported, and where to.

    Attributes
    ----------
    volume : Volume
    named : Path or None
        Where to write, if the user named that; a relative one is meant beside the default.
    default : callable
        Gives where to write else, before any number.
    config : ExportConfig
        Begins anew, and replaces nothing.
    """

    volume: Volume
    named: Path | None
    default: Callable[[], Path]
    config: ExportConfig

    def target(self) -> Path:
        """Where the volume will be written: to an interrupted export of the default name, or a name that is free."""
        from napari_niiv.export.store import Unfinished, unfinished_path

        wanted = self.default()
        if self.named is not None:
            return wanted.parent / self.named
        interrupted = interrupted_output(wanted, unfinished_path)
        if interrupted is not None and not Unfinished(interrupted).running:
            return interrupted
        return free_output(wanted, unfinished_path)


@dataclass(frozen=True, eq=False)
class ExportJob:
    """An export that can be started.

    Attributes
    ----------
    volume : Volume
        The source.
    target : Path
        The output, absolute.
    config : ExportConfig
        Says whether it begins anew, goes on or replaces what is there.
    """

    volume: Volume
    target: Path
    config: ExportConfig

    def start(self, model: Niiv) -> Generator[ExportEvent, None, None]:
        """Begin, with a copy of the model: the live view's keeps its folded weights, and its device.

        Raises
        ------
        NiivError
            If it is not possible.
        """
        from napari_niiv.export.run import export

        return export(self.volume, copy.deepcopy(model), self.target, self.config)

    def kept(self) -> str:
        """What is kept of it now that it was stopped, in words; empty if nothing is."""
        from napari_niiv.export.kept import kept_words

        return kept_words(self.target)

    def estimate(self, model: Niiv, interrupt: Interrupt) -> Estimate:
        """How long it takes, and how large the output becomes, from one block.

        Raises
        ------
        NiivError
            If it is not possible.
        Interrupted
            By `interrupt`.
        """
        from napari_niiv.export.estimate import estimate

        return estimate(self.volume, model, self.config, self.is_tiff, interrupt)

    def plan(self) -> Plan:
        """Levels of the output, and where they lie in the world."""
        from napari_niiv.export.plan import Plan

        return Plan.of(self.volume, self.config, "cpu", tiff=self.is_tiff)

    @property
    def is_tiff(self) -> bool:
        """Whether the output is a TIFF file, and no OME-Zarr."""
        return self.target.suffix.lower() != ZARR


@dataclass(frozen=True, eq=False)
class ExportPreview:
    """What is known of an export before it starts.

    Attributes
    ----------
    job : ExportJob
        Begins anew, and replaces nothing.
    resumable : ExportJob or None
        Goes on with what is there.
    exists : bool
        Whether there is an output of that name already.
    begun : bool
        Whether an interrupted export of that name is there.
    description : str
        Shape, voxel size and bytes of the output, and the free space, in words.
    warning : str
        That the disk may become full.
    kept : tuple of int
        Of an interrupted export, how many parts are finished, and how many there are.
    """

    job: ExportJob
    resumable: ExportJob | None
    exists: bool
    begun: bool
    description: str
    warning: str
    kept: tuple[int, int] = (0, 0)

    @property
    def missing(self) -> float:
        """The part of the work that is still to be done, if it is gone on with."""
        finished, number = self.kept
        return 1.0 if self.resumable is None or number == 0 else 1 - finished / number

    @property
    def replacing(self) -> ExportJob:
        """As `job`, but what is there is replaced."""
        config = self.job.config.model_copy(update={"overwrite": True})
        return dataclasses.replace(self.job, config=config)

    @property
    def question(self) -> str:
        """What the user has to decide, in words; empty if nothing is in the way."""
        from napari_niiv.export.kept import parts_words

        name = self.job.target.name
        if self.resumable is not None:
            also = f" When it is complete it replaces the {name} that is there." if self.exists else ""
            parts = f": {parts_words(*self.kept)}" if self.kept[1] else ""
            return (
                f"An export to {name} was interrupted{parts}. Resume goes on with it, with the settings that it had; "
                f"Start anew begins again with those above; Discard deletes what there is of it.{also}"
            )
        if self.begun:
            return f"An interrupted export to {name} is there, but damaged: start anew, or discard it."
        if self.exists:
            return (
                f"{name} exists already. Replace it puts the new one in its place once that is complete; "
                "or choose another name."
            )
        return ""


def preview_export(settings: ExportSettings) -> ExportPreview:
    """Find out what an export would be; nothing is read of the volume.

    Raises
    ------
    NiivError
        If it is not possible.
    """
    from napari_niiv.export.checks import check_space, check_target
    from napari_niiv.export.store import Unfinished, being_written
    from napari_niiv.volume import check_anisotropy

    volume = _without_lost_file(settings.volume)
    check_anisotropy(volume.anisotropy, volume.name)
    if volume.anisotropy <= ISOTROPIC:
        raise VolumeError(
            f"{volume.name} says that its voxels are isotropic already; if the z step is coarser, type the anisotropy."
        )
    config = settings.config
    asked = config.model_copy(update={"overwrite": True, "resume": True})
    target = check_target(settings.target(), volume, asked).absolute()
    job = ExportJob(volume, target, config)
    plan = job.plan()
    free = shutil.disk_usage(target.parent).free
    description = (
        f"{output_words(plan.shape(), plan.axes, plan.voxel_size, plan.unit)} · "
        f"{bytes_of(plan.bytes)} before compression · {bytes_of(free)} free in {target.parent}"
    )
    if job.is_tiff:
        description = description.replace(" before compression", "")
    if config.box is not None:
        part = ", ".join(f"{axis} {lo} to {hi - 1}" for axis, (lo, hi) in zip("zyx", config.box, strict=True))
        description = f"Of the source {part}: {description}"
    begun, exists = Unfinished(target).begun, target.exists()
    if begun and Unfinished(target).running:
        raise being_written(target)
    # what is resumed has its space already, for the larger part
    warning = "" if begun else check_space(target, plan, 0.0)
    resumed = _resumed(job, exists) if begun else None
    return ExportPreview(job, resumed, exists, begun, description, warning, (0, 0) if resumed is None else _kept(job))


def _resumed(job: ExportJob, exists: bool) -> ExportJob | None:
    """The job as it was begun; None if the record of that is damaged. What exists was to be replaced then too."""
    from napari_niiv.export.store import Unfinished

    try:
        stored = Unfinished(job.target).settings()
        config = ExportConfig.model_validate({**stored, "resume": True, "overwrite": exists})
    except (OutputError, ValueError):
        return None
    return dataclasses.replace(job, config=config)


def _kept(job: ExportJob) -> tuple[int, int]:
    from napari_niiv.export.kept import kept_parts

    try:
        return kept_parts(job.target)
    except (OutputError, OSError):  # the export itself says what is wrong
        return 0, 0


def _without_lost_file(volume: Volume) -> Volume:
    """Voxels in memory do not need the file that they came from."""
    from napari_niiv.export.fingerprint import source_path

    path = source_path(volume)
    array = as_measured(volume).array
    channels = array.parts if isinstance(array, Stacked) else (array,)
    if path is None or path.exists() or not all(map(in_memory, channels)):
        return volume
    return dataclasses.replace(volume, provenance=dataclasses.replace(volume.provenance, path=None))
