"""`napari-niiv demo`: napari with the sample, reconstructed from the side."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from napari_niiv.errors import NiivError


def add_demo(commands: Any) -> None:
    """Add the command to the parser's commands."""
    demo = commands.add_parser("demo", help="open napari on the sample, side view, reconstruction on")
    demo.add_argument("--screenshot", metavar="PNG", type=Path, help="save the refined window and exit")
    demo.set_defaults(run=run_demo)


def run_demo(options: argparse.Namespace) -> int:
    """Open the demo; its exit status.

    Raises
    ------
    NiivError
        If napari is not installed, or the demo fails.
    """
    try:
        from napari_niiv.plugin.demo import run_demo as show_demo
    except ModuleNotFoundError as error:
        if error.name not in ("napari", "qtpy", "magicgui"):
            raise
        raise NiivError('The demo needs napari; install it with: pip install "napari-niiv[all]"') from error
    return show_demo(options.screenshot)
