"""The command line: demo, reconstruct, train, copy, info."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from napari_niiv._version import __version__
from napari_niiv.cli.copy import add_copy
from napari_niiv.cli.reconstruct import add_reconstruct
from napari_niiv.cli.train import add_train
from napari_niiv.cli.volume_options import add_input, describe, open_input
from napari_niiv.cli.words import COMMAND_LINE_WORDS
from napari_niiv.errors import NiivError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; 0 when it succeeded, 2 with one line on stderr for what the user can mend."""
    options = _parser().parse_args(arguments)
    try:
        return int(options.run(options) or 0)
    except NiivError as error:
        print(f"napari-niiv: {error.in_words(COMMAND_LINE_WORDS)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as stop:
        print(f"napari-niiv: {str(stop) or 'stopped.'}", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="napari-niiv",
        description="Make anisotropic 3-D microscopy isotropic, live in napari or from here.",
    )
    parser.add_argument("--version", action="version", version=f"napari-niiv {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    demo = commands.add_parser("demo", help="open napari on the sample, side view, reconstruction on")
    demo.add_argument("--screenshot", metavar="PNG", type=Path, help="save the refined window and exit")
    demo.set_defaults(run=_demo)

    add_reconstruct(commands)
    add_train(commands)
    add_copy(commands)

    info = commands.add_parser(
        "info", help="a volume's axes, voxel size and anisotropy, or a checkpoint's card"
    )
    info.add_argument("path", metavar="PATH")
    add_input(info)
    info.set_defaults(run=_info)
    return parser


def _demo(options: argparse.Namespace) -> int:
    try:
        from napari_niiv.plugin.demo import run_demo
    except ModuleNotFoundError as error:
        if error.name not in ("napari", "qtpy", "magicgui"):
            raise
        raise NiivError('The demo needs napari; install it with: pip install "napari-niiv[all]"') from error
    return run_demo(options.screenshot)


def _info(options: argparse.Namespace) -> int:
    from napari_niiv.models.catalog import SUFFIX, bundled_models

    # pickled ones too: those of the paper's code can be read
    if options.path in bundled_models() or options.path.lower().endswith((SUFFIX, ".pth", ".pt", ".ckpt")):
        from napari_niiv.models.checkpoint import read_card

        print(read_card(options.path).model_dump_json(indent=2))
        return 0
    for word, value in describe(open_input(options.path, options)):
        print(f"{word:<12}{value}")
    return 0
