"""`napari-niiv copy`: a chunked OME-Zarr of a volume that reads slowly, such as a large compressed TIFF."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_niiv.cli.volume_options import add_input, open_input, tell_note
from napari_niiv.interrupt import run_until_stopped

if TYPE_CHECKING:
    from napari_niiv.io.copy import CopyEvent
    from napari_niiv.volume import Volume


def add_copy(commands: Any) -> None:
    """Add the command to the parser's commands."""
    copy = commands.add_parser("copy", help="copy a volume to an OME-Zarr, which is read faster")
    copy.add_argument("input", metavar="IN", help="a file, a folder or a URL")
    copy.add_argument("output", metavar="OUT", type=Path, help=".zarr; never one that is there")
    add_input(copy)
    copy.set_defaults(run=run_copy)


def run_copy(options: argparse.Namespace) -> int:
    """Copy the volume; 0 when it is complete, 130 when it was interrupted, which leaves nothing."""
    from napari_niiv.io.copy import copy_to_zarr
    from napari_niiv.io.write import check_output

    check_output(options.output, suffixes=(".zarr",))  # before a file is decoded
    volume = open_input(options.input, options)
    if problem := volume.provenance.spacing_problem:
        print(
            f"napari-niiv: {volume.name} {problem}, nor will the copy; give --voxel-size Z Y X to mend that.",
            file=sys.stderr,
        )
    tell_note(volume)
    run_until_stopped(
        copy_to_zarr(volume, options.output),
        lambda events: _show(events, options.output, volume),
        lambda: "stopped; nothing was kept of the copy.",
    )
    return 0


def _show(events: Iterable[CopyEvent], output: Path, volume: Volume) -> None:
    """A progress bar on stderr, and what was copied on stdout."""
    from tqdm import tqdm

    from napari_niiv.io.copy import CopyFinished

    with tqdm(total=0, desc=output.name, unit="voxel", unit_scale=True, disable=None) as bar:
        for event in events:
            if isinstance(event, CopyFinished):
                bar.close()
                shape = " × ".join(map(str, volume.shape))
                print(f"{output}: {shape}, {event.elapsed:.1f} s")
            else:
                bar.total = event.total
                bar.update(event.done - bar.n)
