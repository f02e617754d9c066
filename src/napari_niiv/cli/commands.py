"""The commands of the command line, and what they end with: demo, reconstruct, train, copy, info."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from napari_niiv._version import __version__
from napari_niiv.cli.copy import add_copy
from napari_niiv.cli.demo import add_demo
from napari_niiv.cli.info import add_info
from napari_niiv.cli.reconstruct import add_reconstruct
from napari_niiv.cli.train import add_train
from napari_niiv.cli.words import COMMAND_LINE_WORDS
from napari_niiv.errors import NiivError
from napari_niiv.interrupt import Stopped


def run(arguments: Sequence[str] | None) -> int:
    """Run a command; errors and interruptions become a line on stderr and an exit status."""
    options = parser().parse_args(arguments)
    try:
        return int(options.run(options) or 0)
    except NiivError as error:
        print(f"napari-niiv: {error.in_words(COMMAND_LINE_WORDS)}", file=sys.stderr)
        return 2
    except MemoryError:
        print("napari-niiv: The memory of this computer is full; end other programs.", file=sys.stderr)
        return 2
    except KeyboardInterrupt as stop:
        print(f"napari-niiv: {str(stop) or 'stopped.'}", file=sys.stderr)
        return stop.status if isinstance(stop, Stopped) else 130


def parser() -> argparse.ArgumentParser:
    """The options of all commands."""
    program = argparse.ArgumentParser(
        prog="napari-niiv",
        description="Make anisotropic 3-D microscopy isotropic, live in napari or from here.",
    )
    program.add_argument("--version", action="version", version=f"napari-niiv {__version__}")
    commands = program.add_subparsers(required=True, metavar="COMMAND")
    for add in (add_demo, add_reconstruct, add_train, add_copy, add_info):
        add(commands)
    return program
