"""`napari-niiv info`: what a volume is, or the card of a checkpoint."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from napari_niiv.cli.volume_options import add_input, open_input, slowness
from napari_niiv.errors import DatasetChoice, VolumeError

if TYPE_CHECKING:
    from napari_niiv.volume import Volume


def add_info(commands: Any) -> None:
    """Add the command to the parser's commands."""
    info = commands.add_parser("info", help="a volume's axes, voxel size and anisotropy, or a checkpoint's card")
    info.add_argument("path", metavar="PATH")
    add_input(info)
    info.set_defaults(run=run_info)


def run_info(options: argparse.Namespace) -> int:
    """Print what is known of a volume or a checkpoint; 0. Of a file of several images it prints these, and asks.

    Raises
    ------
    NiivError
        If it cannot be read.
    """
    from napari_niiv.models.catalog import SUFFIX, bundled_models

    # pickled ones too: those of the paper's code can be read
    if options.path in bundled_models() or options.path.lower().endswith((SUFFIX, ".pth", ".pt", ".ckpt")):
        from napari_niiv.models.checkpoint import read_card

        print(read_card(options.path).model_dump_json(indent=2))
        return 0
    try:
        facts = _facts(open_input(options.path, options))
    except DatasetChoice as several:
        for line in several.lines:
            print(f"{'image':<12}{line}")
        raise
    for word, value in facts:
        print(f"{word:<12}{value}")
    return 0


def _empty(volume: Volume) -> str:
    """How much holds no measurement at the first T and C index, told from a sample of the voxels; empty if none.

    Blank sections that are bridged do not count: they are told of by themselves.
    """
    from napari_niiv.intensities import intensities_of
    from napari_niiv.sections.repair import bridged

    try:
        empty = intensities_of(bridged(volume).at(*(0 for _ in volume.shape[:-3]))).empty
    except VolumeError as error:
        return str(error)
    return empty.words


def _facts(volume: Volume) -> list[tuple[str, str]]:
    """What there is to tell of a volume: a word and its value for each line."""
    size = " × ".join(f"{v:.4g}" for v in volume.voxel_size)
    lines = [
        ("name", volume.name),
        ("axes", volume.axes.upper()),
        ("shape", " × ".join(map(str, volume.shape))),
        ("type", str(volume.dtype)),
        ("voxel size", f"{size} {volume.unit} (z × y × x)"),
        ("anisotropy", f"{volume.anisotropy:.4g}"),
    ]
    if any(volume.origin):
        lines.append(("origin", " × ".join(f"{v:.4g}" for v in volume.origin) + f" {volume.unit}"))
    if names := volume.metadata.get("channel_names"):
        lines.append(("channels", ", ".join(str(name or "?") for name in names)))
    if coarser := volume.levels()[1:]:
        shapes = (" × ".join(map(str, level.array.shape[-3:])) for level in coarser)
        lines.append(("levels", "; ".join(shapes)))
    if problem := volume.provenance.spacing_problem:
        lines.append(("note", f"the file {problem}"))
    if slow := slowness(volume):
        lines.append(("note", slow))
    lines += [("sections", sentence) for sentence in _damage(volume)]
    if empty := _empty(volume):
        lines.append(("empty", empty))
    notes = (volume.provenance.remembered, volume.provenance.note)
    return lines + [("note", note) for note in notes if note]


def _damage(volume: Volume) -> tuple[str, ...]:
    """What is to be said of its sections; why they cannot be looked at, if they cannot."""
    from napari_niiv.sections.find import find_sections

    try:
        return find_sections(volume).sentences
    except VolumeError as error:
        return (str(error),)
