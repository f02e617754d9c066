"""The command line: demo, reconstruct, train, info."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from napari_niiv import __version__
from napari_niiv.cli_input import add_input, check_spacing, describe, open_input
from napari_niiv.cli_train import add_train
from napari_niiv.errors import NiivError, VolumeError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; 0 when it succeeded, 2 with one line on stderr for what the user can mend."""
    options = _parser().parse_args(arguments)
    try:
        return int(options.run(options) or 0)
    except NiivError as error:
        print(f"napari-niiv: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("napari-niiv: stopped; nothing was kept of the unfinished output.", file=sys.stderr)
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

    reconstruct = commands.add_parser("reconstruct", help="write the isotropic volume")
    reconstruct.add_argument("input", metavar="IN", help="a file, a folder or a URL")
    reconstruct.add_argument("output", metavar="OUT", type=Path)
    reconstruct.add_argument("--checkpoint", default="em", metavar="em|PATH")
    reconstruct.add_argument("--anisotropy", type=float, metavar="A", help="axial over lateral voxel size")
    reconstruct.add_argument(
        "--output-scale", type=float, default=1.0, metavar="S", help="samples per isotropic voxel"
    )
    reconstruct.add_argument("--planes", choices=("both", "xz", "yz"), default="both")
    reconstruct.add_argument(
        "--project", action="store_true", help="keep what was measured: correct what contradicts it"
    )
    reconstruct.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N or mps")
    add_input(reconstruct)
    reconstruct.add_argument("--overwrite", action="store_true", help="replace an existing output")
    reconstruct.set_defaults(run=_reconstruct)

    add_train(commands)

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


def _reconstruct(options: argparse.Namespace) -> int:
    from tqdm import tqdm

    from napari_niiv.io.write import check_output, write_tiff
    from napari_niiv.models.checkpoint import load_model
    from napari_niiv.reconstruction.whole import reconstruct

    check_output(options.output, options.overwrite)
    volume = open_input(options.input, options)
    if options.output.exists() and os.path.exists(options.input) and options.output.samefile(options.input):
        raise NiivError("The output is the input file; choose another name.")
    check_spacing(volume, options)
    if options.anisotropy is None and volume.anisotropy < 1.01:
        raise VolumeError(
            f"{volume.name} says that its voxels are isotropic already; if they are not, give --anisotropy."
        )
    model = load_model(options.checkpoint, options.device)
    result = reconstruct(
        volume,
        model,
        output_scale=options.output_scale,
        planes=options.planes,
        project=options.project,
    )
    with tqdm(total=100, unit="%", desc=options.output.name, disable=None) as bar:

        def progress(fraction: float) -> None:
            bar.update(round(100 * fraction) - bar.n)

        write_tiff(result, options.output, overwrite=options.overwrite, progress=progress)
    size = " × ".join(f"{v:.4g}" for v in result.voxel_size)
    print(
        f"{options.output}: {' × '.join(map(str, result.shape))}, voxel {size} {result.unit}, on {model.device.type}"
    )
    return 0


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
