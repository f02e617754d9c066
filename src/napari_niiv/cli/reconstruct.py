"""`napari-niiv reconstruct`: options and progress bar of the export."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from napari_niiv.cli.options import add_setting, given, refuse
from napari_niiv.cli.volume_options import (
    add_input,
    add_sections,
    check_spacing,
    open_input,
    repair_input,
    slowness,
    tell_note,
)
from napari_niiv.errors import NiivError, OutputError, VolumeError
from napari_niiv.export.config import ExportConfig
from napari_niiv.interrupt import run_until_stopped

if TYPE_CHECKING:
    from napari_niiv.export.events import ExportEvent, ExportProgress
    from napari_niiv.models.niiv import Niiv
    from napari_niiv.volume import Volume

# bytes of a source that is decoded at once: a CPU has time for decoding it piece by piece, and needs 1 GB else
_DECODED_BYTES = 512 << 20
_BAR = "{desc}: {percentage:3.0f}%|{bar}| {elapsed}{postfix}"
_STAGES = {"check": "checking", "restore": "full resolution", "pyramid": "coarser levels", "tiff": "TIFF"}


def add_reconstruct(commands: Any) -> None:
    """Add the command to the parser's commands."""
    reconstruct = commands.add_parser("reconstruct", help="write the isotropic volume")
    reconstruct.add_argument("input", metavar="IN", help="a file, a folder or a URL")
    reconstruct.add_argument("output", metavar="OUT", type=Path, help=".zarr (OME-Zarr) or .tif")
    reconstruct.add_argument("--checkpoint", default="em", metavar="em|PATH")
    reconstruct.add_argument("--anisotropy", type=float, metavar="A", help="axial over lateral voxel size")
    add_input(reconstruct)
    add_setting(reconstruct, ExportConfig, "planes")
    add_setting(reconstruct, ExportConfig, "project")
    add_setting(reconstruct, ExportConfig, "denoise", type=_level, choices=None, metavar="auto|LEVEL")
    reconstruct.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N or mps")
    add_sections(reconstruct)
    output = reconstruct.add_argument_group("the output")
    add_setting(output, ExportConfig, "output_scale", metavar="S")
    add_setting(output, ExportConfig, "dtype")
    add_setting(
        output,
        ExportConfig,
        "box",
        type=_box,
        metavar="Z0:Z1,Y0:Y1,X0:X1",
        help="part to write, in voxels of IN",
    )
    add_setting(output, ExportConfig, "chunk", choices=None, metavar="N")
    add_setting(output, ExportConfig, "overwrite")
    add_setting(output, ExportConfig, "resume")
    work = reconstruct.add_argument_group("who does the work")
    add_setting(work, ExportConfig, "threads", metavar="N")
    add_setting(work, ExportConfig, "workers", metavar="N")
    add_setting(work, ExportConfig, "scheduler", metavar="tcp://…")
    add_setting(work, ExportConfig, "jobqueue", choices=None, metavar="slurm|pbs|sge|lsf…")
    add_setting(work, ExportConfig, "dashboard")
    reconstruct.set_defaults(run=run_reconstruct)


def run_reconstruct(options: argparse.Namespace) -> int:
    """Write the isotropic volume; 0 when it is complete, 130 when it was interrupted."""
    config = _config(options)
    from napari_niiv.device import choose_device
    from napari_niiv.export.checks import check_target
    from napari_niiv.export.engines.dask_messages import start_tracker
    from napari_niiv.export.run import export
    from napari_niiv.models.checkpoint import load_model

    if config.workers is not None and config.jobqueue is None:
        start_tracker()
    # workers, which may have GPUs, map what is decoded here
    bounded = choose_device(options.device).type == "cpu" and not config.distributed
    volume = open_input(options.input, options, memory=_DECODED_BYTES if bounded else None)
    check_target(options.output, volume, config)
    check_spacing(volume, options)
    if options.anisotropy is None and volume.anisotropy < 1.01:
        raise VolumeError(
            f"{volume.name} says that its voxels are isotropic already; if they are not, give --anisotropy."
        )
    model = load_model(options.checkpoint, options.device)
    tell_note(volume)
    volume, damage = repair_input(volume, options)
    if damage:
        print(f"napari-niiv: {damage}", file=sys.stderr)
    if slow := slowness(volume):
        print(f"{volume.name} {slow}")
    if not config.resume and (unsuited := _unsuited(volume, options.checkpoint, model)):
        print(unsuited, file=sys.stderr)
    events = export(volume, model, options.output, config)
    run_until_stopped(
        events, lambda each: _show(each, options.output, model.device.type), lambda: _stopped(options.output)
    )
    return 0


def _config(options: argparse.Namespace) -> ExportConfig:
    """The settings, of which a scheduler is there: that is found out before torch is loaded, or a file looked at."""
    try:
        config = ExportConfig(**given(options, ExportConfig))
    except ValidationError as error:
        refuse(error, OutputError)
    if config.scheduler is not None:
        from napari_niiv.export.engines.dask_address import check_scheduler
        from napari_niiv.export.engines.dask_messages import without_dask_logs

        with without_dask_logs():
            check_scheduler(config.scheduler)
    return config


def _unsuited(volume: Volume, name: str, model: Niiv) -> str:
    """What is to be said of a bundled checkpoint that does not suit a volume; empty if it does, or cannot be tried."""
    from napari_niiv.evaluation.suitability import KINDS, verdict

    if name not in KINDS:  # one's own was chosen with care
        return ""
    try:
        judged = verdict(volume, name, model)
    except NiivError:  # the export itself says what is wrong
        return ""
    hint = f" Give --checkpoint {judged.better}." if judged.better else ""
    return f"napari-niiv: {judged.sentence}{hint}" if judged.sentence else ""


def _stopped(output: Path) -> str:
    """What an export that was interrupted leaves behind."""
    from napari_niiv.export.kept import kept_words

    kept = kept_words(output)
    return (
        f"stopped; {kept} in {output.name}.unfinished: go on with --resume." if kept else "stopped; nothing was kept."
    )


def _level(text: str) -> float | str:
    """A number, or a word for the configuration to judge."""
    try:
        return float(text)
    except ValueError:
        return text


def _box(text: str) -> tuple[tuple[int, int], ...]:
    """Three ranges of voxels."""
    try:
        spans = tuple((int(lo), int(hi)) for lo, hi in (part.split(":") for part in text.split(",")))
        if len(spans) == 3:
            return spans
    except ValueError:
        pass
    raise argparse.ArgumentTypeError(f"{text!r} is not of the form Z0:Z1,Y0:Y1,X0:X1")


def _pace(event: ExportProgress) -> str:
    """Time left and speed; empty as long as they are not known."""
    from tqdm import tqdm

    if event.remaining is None:
        return ""
    speed = tqdm.format_sizeof(event.voxels_per_second)
    return f"{tqdm.format_interval(round(event.remaining))} left, {speed} voxels/s"


def _show(events: Iterable[ExportEvent], output: Path, device: str) -> None:
    """A progress bar for each stage on stderr, and what was written on stdout."""
    from tqdm import tqdm

    from napari_niiv.export.events import ExportFinished, ExportNotice, ExportProgress

    stage, bar = "", None
    try:
        for event in events:
            match event:
                case ExportProgress():
                    if event.stage != stage or bar is None:
                        if bar is not None:
                            bar.close()
                        stage = event.stage
                        desc = f"{output.name}, {_STAGES[stage]}"
                        bar = tqdm(total=1.0, desc=desc, bar_format=_BAR, disable=None)
                    bar.n = event.fraction
                    bar.set_postfix_str(_pace(event))
                case ExportNotice():
                    tqdm.write(event.message)
                case ExportFinished():
                    size = " × ".join(f"{v:.4g}" for v in event.voxel_size)
                    shape = " × ".join(map(str, event.shape))
                    what, how = (output, f", on {device}") if bar else (f"{output} is complete already", "")
                    tqdm.write(f"{what}: {shape}, voxel {size} {event.unit}{how}")
    finally:
        if bar is not None:
            bar.close()
