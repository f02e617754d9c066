"""Volumes as the command line takes them: which file or URL, and what to correct in it."""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from napari_niiv.cli.options import add_setting, given
from napari_niiv.empty_voxels import empty_setting
from napari_niiv.errors import VolumeError

if TYPE_CHECKING:
    from napari_niiv.volume import Volume


def add_input(parser: argparse._ActionsContainer) -> None:
    """Add the options that say how a volume is to be read."""
    parser.add_argument(
        "--image",
        "--dataset",
        dest="dataset",
        metavar="NAME",
        help="which one, where a file, zarr or N5 holds several (`napari-niiv info` lists them)",
    )
    parser.add_argument(
        "--follow-links",
        action="store_true",
        help="follow symbolic links that lead out of a zarr, an N5 or a folder of slices",
    )
    parser.add_argument("--axes", help="the order of the stored axes, if it is wrong, such as zyx")
    parser.add_argument(
        "--voxel-size", type=float, nargs=3, metavar=("Z", "Y", "X"), help="the voxel size, if it is wrong"
    )
    parser.add_argument(
        "--empty",
        type=_empty,
        default=None,
        metavar="auto|none|VALUE[,VALUE]",
        help="voxels that hold no measurement, such as padding and blank sections: found by default (auto), none, or "
        "those of these values (write --empty=-2000 for a negative one)",
    )


def open_input(path: str | os.PathLike[str], options: argparse.Namespace, memory: int | None = None) -> Volume:
    """Open a volume by the options of `add_input`, its anisotropy set where there is such an option.

    What no option says is as the user has corrected it in napari, where that is remembered; `memory` is as
    `open_volume` takes it.

    Raises
    ------
    VolumeError
        As `open_volume`.
    """
    from napari_niiv.io.remembered import open_remembered

    size = options.voxel_size
    volume = open_remembered(
        path,
        axes=options.axes,
        voxel_size=(size[0], size[1], size[2]) if size else None,
        dataset=options.dataset,
        memory=memory,
        empty=options.empty[0] if options.empty else None,
        follow_links=options.follow_links,
    )
    if options.empty:  # auto too, whatever is remembered
        volume = replace(volume, empty=options.empty[0])
    anisotropy = getattr(options, "anisotropy", None)
    return volume if anisotropy is None else volume.with_anisotropy(anisotropy)


def add_sections(parser: argparse.ArgumentParser) -> None:
    """Add the options that say what is done about damaged sections; each can be switched on and off."""
    from napari_niiv.sections.config import SectionsConfig

    group = parser.add_argument_group("damaged sections (by default as in napari, or blank ones are bridged)")
    for name in SectionsConfig.model_fields:
        add_setting(group, SectionsConfig, name, action=argparse.BooleanOptionalAction)


def repair_input(volume: Volume, options: argparse.Namespace) -> tuple[Volume, str]:
    """The volume with its sections repaired by the options of `add_sections`, and what is to be said of them.

    What no option says is as the user has set it in napari, where that is remembered.

    Raises
    ------
    VolumeError
        If it cannot be read.
    """
    from napari_niiv.io.remembered import recall_sections
    from napari_niiv.sections.config import SectionsConfig
    from napari_niiv.sections.find import find_sections
    from napari_niiv.sections.repair import repaired

    origin = volume.provenance
    remembered = {} if origin.path is None else recall_sections(origin.path, origin.dataset)
    config = SectionsConfig.recalled(remembered)
    config = config.model_copy(update=given(options, SectionsConfig))
    report = find_sections(volume)
    repairs = report.repairs(config)
    hint = " (--align moves them back)" if report.largest_shift and not config.align else ""
    notice = f"{volume.name}: {'; '.join(report.sentences)}{hint}." if report.sentences else ""
    return repaired(volume, repairs), notice


def _empty(text: str) -> tuple[tuple[float, ...] | None]:
    """The setting, in a tuple, as it may be None."""
    try:
        return (empty_setting(text),)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} {error}") from None


def check_spacing(volume: Volume, options: argparse.Namespace) -> None:
    """Refuse a volume whose file does not tell its z step, unless the options do.

    Raises
    ------
    VolumeError
        With the options that help.
    """
    problem = volume.provenance.spacing_problem
    if problem and options.anisotropy is None:
        raise VolumeError(f"{volume.name} {problem}; give the factor with --anisotropy, or --voxel-size Z Y X.")


def tell_note(volume: Volume) -> None:
    """Say on stderr what is missing in a file, or was left out; nothing of most files."""
    if note := volume.provenance.note:
        print(f"napari-niiv: {volume.name}: {note}.", file=sys.stderr)


def slowness(volume: Volume) -> str:
    """What to do about a file whose voxels are slow to read; empty if they are not."""
    origin = volume.provenance
    if not origin.slow:
        return ""
    name = Path(str(origin.path)).name
    return f"reads slowly: {origin.slow}; make a zarr of it once: napari-niiv copy {name} OUT.zarr"
