"""`napari-niiv train`: options, progress bar, and several GPUs."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_niiv.cli.volume_options import add_input, check_spacing, open_input
from napari_niiv.errors import NiivError, TrainingError
from napari_niiv.interrupt import until_interrupted

if TYPE_CHECKING:
    from napari_niiv.training.config import TrainingConfig
    from napari_niiv.training.events import Event
    from napari_niiv.volume import Volume

_TOGETHER = "napari-niiv"  # name of the run of several processes that `--devices` starts

# options that are settings of the training by the same name
_SETTINGS = (
    "init",
    "minutes",
    "steps",
    "loss",
    "batch",
    "learning_rate",
    "seed",
    "device",
    "overwrite",
    "resume",
)


def add_train(commands: Any) -> None:
    """Add the command to the parser's commands."""
    train = commands.add_parser("train", help="fit a model to volumes")
    train.add_argument("volumes", metavar="VOLUME", nargs="+", help="files, folders or URLs")
    train.add_argument("--output", metavar="CHECKPOINT", type=Path, required=True)
    train.add_argument("--init", metavar="em|PATH", help="checkpoint to go on from; from nothing by default")
    budget = train.add_argument_group("budget (5 minutes by default; whichever ends first)")
    budget.add_argument("--minutes", type=float, metavar="M")
    budget.add_argument("--steps", type=int, metavar="N")
    how = train.add_argument_group("what the coarse z step did to the data")
    how.add_argument("--degradation", choices=("average", "gaussian", "skip", "measured"), default="average")
    how.add_argument(
        "--fwhm", type=float, metavar="F", help="gaussian: full width at half maximum, in z steps"
    )
    how.add_argument("--thickness", type=float, metavar="T", help="skip: thickness of a section, in z steps")
    how.add_argument("--psf", type=Path, metavar="TIFF", help="measured: image of a point, z, y, x")
    how.add_argument(
        "--psf-spacing",
        type=float,
        metavar="Z",
        help="its z step, in the volumes' unit, if the file lacks it",
    )
    how.add_argument("--anisotropy", type=float, metavar="A", help="of the volumes: z step over pixel size")
    how.add_argument(
        "--learn",
        type=float,
        nargs="+",
        default=(),
        metavar="A",
        help="anisotropies to learn, if not the volumes' own",
    )
    add_input(train.add_argument_group("the volumes"))
    fine = train.add_argument_group("the training")
    fine.add_argument(
        "--loss", choices=("mae", "dists"), default="mae", help="dists: the paper's DISTS + 30 MAE"
    )
    fine.add_argument("--vgg-weights", type=Path, metavar="FILE", help="VGG16's weights, for dists")
    fine.add_argument("--batch", type=int, metavar="N")
    fine.add_argument("--learning-rate", type=float, metavar="R")
    fine.add_argument("--seed", type=int, default=0)
    fine.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N or mps")
    fine.add_argument(
        "--devices", type=int, default=1, metavar="N", help="train on N GPUs of this computer together"
    )
    train.add_argument("--overwrite", action="store_true", help="replace an existing checkpoint")
    train.add_argument(
        "--resume", action="store_true", help="go on with the interrupted training of this output"
    )
    train.set_defaults(run=run_train)


def run_train(options: argparse.Namespace) -> int:
    """Train; 0 when a checkpoint was written."""
    try:
        return _train(options)
    except NiivError as error:
        if os.environ.get("TORCHELASTIC_RUN_ID") != _TOGETHER:
            raise
        from torch.distributed.elastic.multiprocessing.errors import get_error_handler

        get_error_handler().record_exception(error)  # whoever started this process says it, once for all
        return 2


def _train(options: argparse.Namespace) -> int:
    from napari_niiv.training.processes import Processes
    from napari_niiv.training.train import train

    if options.devices < 1:
        raise TrainingError(f"--devices is {options.devices}: give 1 or more.")
    volumes = [open_input(path, options) for path in options.volumes]
    if not options.learn:
        for volume in volumes:
            check_spacing(volume, options)
    events = train(volumes, _config(options, volumes))
    ranks = Processes.launched()
    if options.devices > 1 and ranks.size == 1:
        return _on_several(options)
    try:
        _show(until_interrupted(events), options.output.name, ranks.main)
    except KeyboardInterrupt:
        events.close()
        if not ranks.main:
            return 2
        raise TrainingError(_stopped(options.output)) from None
    return 0


def _stopped(output: Path) -> str:
    """What a training that was interrupted leaves behind."""
    from napari_niiv.training.state import state_path

    if not state_path(output.expanduser()).exists():
        return "Stopped before anything was learnt."
    kept = (
        "the best checkpoint so far is kept" if output.expanduser().exists() else "no checkpoint was made yet"
    )
    return f"Stopped; {kept}. Add --resume to go on."


def _config(options: argparse.Namespace, volumes: list[Volume]) -> TrainingConfig:
    from pydantic import ValidationError

    from napari_niiv.training.config import TrainingConfig

    settings = {name: getattr(options, name) for name in _SETTINGS}
    try:
        return TrainingConfig(
            output=options.output,
            vgg_weights=options.vgg_weights,
            anisotropies=tuple(options.learn),
            degradation=_degradation(options, volumes),
            **settings,
        )
    except ValidationError as error:
        first = error.errors()[0]
        parts = [str(part) for part in first["loc"] if part not in ("gaussian", "skip")]
        where = "--" + "-".join(parts).replace("_", "-")
        raise TrainingError(
            f"{where.replace('degradation-', '')} is {first['input']!r}: {first['msg']}."
        ) from error


def _degradation(options: argparse.Namespace, volumes: list[Volume]) -> Any:
    from napari_niiv.io.psf import read_psf

    belongs = {"fwhm": "gaussian", "thickness": "skip", "psf": "measured", "psf-spacing": "measured"}
    for name, kind in belongs.items():
        given = getattr(options, name.replace("-", "_")) is not None
        if kind == options.degradation and not given and name != "psf-spacing":
            raise TrainingError(f"The degradation {kind} needs --{name}.")
        if kind != options.degradation and given:
            raise TrainingError(f"--{name} is for --degradation {kind}; add that, or leave --{name} out.")
    match options.degradation:
        case "gaussian":
            return {"kind": "gaussian", "fwhm": options.fwhm}
        case "skip":
            return {"kind": "skip", "thickness": options.thickness}
        case "measured":
            measured = read_psf(options.psf, volumes[0], options.psf_spacing)
            if measured is None:
                raise TrainingError(
                    f"{options.psf.name} has no z step in {volumes[0].unit}; give it with --psf-spacing."
                )
            return measured
    return {"kind": "average"}


def _show(events: Iterable[Event], name: str, main: bool) -> None:
    """A progress bar on stderr, and what matters on stdout."""
    from tqdm import tqdm

    from napari_niiv.training.events import Finished, Notice, Preparing, TrainingStep, Validation

    gain = ""
    form = "{desc}: {percentage:3.0f}%|{bar}| {elapsed}{postfix}"  # which begins with a comma
    with tqdm(total=1.0, desc=name, bar_format=form, disable=None if main else True) as bar:
        for event in events:
            match event:
                case Preparing():
                    bar.set_postfix_str(event.message)
                case TrainingStep():
                    bar.n = event.fraction
                    left = tqdm.format_interval(round(event.remaining))
                    bar.set_postfix_str(
                        f"{left} left, stage {event.stage}, step {event.step}, {event.samples:.0f} patches/s, "
                        f"loss {event.loss:.4f}{gain}"
                    )
                case Validation():
                    gain = f", {event.gain:+.2f} dB"
                    if main and bar.disable:
                        print(
                            f"stage {event.stage}, step {event.step}: {event.model:.2f} dB, "
                            f"bicubic {event.bicubic:.2f}, linear {event.linear:.2f}",
                            flush=True,
                        )
                case Notice() if main:
                    tqdm.write(event.message, file=sys.stderr)
                case Finished() if main:
                    bar.n = 1.0
                    bar.set_postfix_str("")
                    bar.close()
                    print(
                        f"{event.checkpoint}: {event.gain:+.2f} dB against bicubic interpolation on slices held out, "
                        f"{event.steps} steps in {event.elapsed / 60:.1f} minutes"
                    )


def _on_several(options: argparse.Namespace) -> int:
    """Run this very command in one process for each GPU, through torch's launcher."""
    import torch
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    present = torch.cuda.device_count()
    if options.device in ("auto", "cuda") and present and options.devices > present:
        raise NiivError(f"This computer has {present} GPU(s); give --devices {present} at most.")
    if options.device not in ("auto", "cuda", "cpu"):
        raise NiivError(f"--devices {options.devices} takes the GPUs in order; leave --device out.")
    launch = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=options.devices,
        run_id=_TOGETHER,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        max_restarts=0,
    )
    for name in ("", ".agent.server.api"):  # the second has a level of its own
        logging.getLogger(f"torch.distributed.elastic{name}").setLevel(logging.CRITICAL)
    try:
        elastic_launch(launch, sys.executable)("-m", "napari_niiv", *sys.argv[1:])
    except ChildFailedError as error:
        failures = sorted(error.failures.values(), key=lambda f: f.timestamp)
        for failure in failures:
            if isinstance(failure.message, dict):  # recorded by `run_train`
                raise TrainingError(failure.message["message"].partition(": ")[2]) from None
        raise TrainingError(
            f"One of the processes ended unexpectedly (status {failures[0].exitcode}). {_stopped(options.output)}"
        ) from None
    except SignalException:
        raise TrainingError(_stopped(options.output)) from None
    return 0
