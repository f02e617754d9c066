"""`napari-niiv train`: options, progress bar, and several GPUs."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ValidationError

from napari_niiv.cli.options import add_setting, given, refuse
from napari_niiv.cli.volume_options import add_input, add_sections, check_spacing, open_input, repair_input, tell_note
from napari_niiv.configuration import setting_of
from napari_niiv.degradation import Gaussian, Skip
from napari_niiv.errors import NiivError, TrainingError
from napari_niiv.interrupt import Stopped, run_until_stopped, stoppable
from napari_niiv.training.config import PsfFile, TrainingConfig

if TYPE_CHECKING:
    from napari_niiv.training.events import Event
    from napari_niiv.volume import Volume

# name of the run of several processes that `--devices` starts
_TOGETHER = "napari-niiv"

# what each degradation must be told; the spacing of a PSF may be in its file
_DEGRADATION_OPTIONS: dict[str, tuple[tuple[type[BaseModel], str, str], ...]] = {
    "gaussian": ((Gaussian, "fwhm", "F"),),
    "skip": ((Skip, "thickness", "T"),),
    "measured": ((PsfFile, "psf", "TIFF"), (PsfFile, "psf_spacing", "Z")),
}


def add_train(commands: Any) -> None:
    """Add the command to the parser's commands."""
    train = commands.add_parser("train", help="fit a model to volumes")
    setting = partial(add_setting, configuration=TrainingConfig)
    train.add_argument("volumes", metavar="VOLUME", nargs="+", help="files, folders or URLs")
    setting(train, name="output", metavar="CHECKPOINT", required=True)
    setting(train, name="init", metavar="em|PATH")
    budget = train.add_argument_group("budget (5 minutes by default; whichever ends first)")
    setting(budget, name="minutes", metavar="M", help=setting_of(TrainingConfig, "minutes").help)
    setting(budget, name="steps", metavar="N", help=setting_of(TrainingConfig, "steps").help)
    how = train.add_argument_group("what the coarse z step did to the data")
    setting(how, name="degradation")
    for kind, options in _DEGRADATION_OPTIONS.items():
        for configuration, name, metavar in options:
            words = f"{kind}: {setting_of(configuration, name).help}"
            add_setting(how, configuration, name, metavar=metavar, help=words)
    how.add_argument("--anisotropy", type=float, metavar="A", help="of the volumes: z step over pixel size")
    how.add_argument(
        "--learn",
        dest="anisotropies",
        type=float,
        nargs="+",
        default=argparse.SUPPRESS,
        metavar="A",
        help=setting_of(TrainingConfig, "anisotropies").help,
    )
    add_input(train.add_argument_group("the volumes"))
    add_sections(train)
    fine = train.add_argument_group("the training")
    setting(fine, name="loss")
    setting(fine, name="vgg_weights", metavar="FILE")
    setting(fine, name="batch", metavar="N")
    setting(fine, name="learning_rate", metavar="R")
    setting(fine, name="seed")
    setting(fine, name="device")
    fine.add_argument("--devices", type=int, default=1, metavar="N", help="train on N GPUs of this computer together")
    setting(train, name="overwrite")
    setting(train, name="resume")
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
    if not hasattr(options, "anisotropies"):
        for volume in volumes:
            check_spacing(volume, options)
    repaired = [repair_input(volume, options) for volume in volumes]
    volumes = [volume for volume, _ in repaired]
    events = train(volumes, _config(options, volumes))
    processes = Processes.launched()
    if options.devices > 1 and processes.size == 1:
        return _on_several(options)
    if processes.main:
        for volume, damage in repaired:
            tell_note(volume)
            if damage:
                print(f"napari-niiv: {damage}", file=sys.stderr)
    try:
        run_until_stopped(
            events,
            lambda each: _show(each, options.output.name, processes.main),
            lambda: _stopped(options.output),
        )
    except Stopped as stop:
        if not processes.main:
            return stop.status
        if processes.size > 1:  # whoever started this process tells it
            raise TrainingError(str(stop)) from None
        raise
    return 0


def _stopped(output: Path) -> str:
    """What a training that was interrupted leaves behind."""
    from napari_niiv.training.state import state_path

    if not state_path(output.expanduser()).exists():
        return "Stopped before anything was learnt."
    kept = "the best checkpoint so far is kept" if output.expanduser().exists() else "no checkpoint was made yet"
    return f"Stopped; {kept}. Add --resume to go on."


def _config(options: argparse.Namespace, volumes: list[Volume]) -> TrainingConfig:
    try:
        settings = given(options, TrainingConfig) | _degradation(options, volumes)
        return TrainingConfig(**settings)
    except ValidationError as error:
        refuse(error, TrainingError)


def _degradation(options: argparse.Namespace, volumes: list[Volume]) -> dict[str, Any]:
    """The setting of the degradation, from its kind and the options that belong to it."""
    from napari_niiv.io.psf import read_psf

    kind = getattr(options, "degradation", "average")
    values: dict[str, Any] = {}
    for owner, belonging in _DEGRADATION_OPTIONS.items():
        for configuration, name, _ in belonging:
            flag, value = setting_of(configuration, name).flag, getattr(options, name, None)
            if owner == kind and value is None and configuration.model_fields[name].is_required():
                raise TrainingError(f"The degradation {kind} needs {flag}.")
            if owner != kind and value is not None:
                raise TrainingError(f"{flag} is for --degradation {owner}; add that, or leave {flag} out.")
            if owner == kind:
                values[name] = value
    if kind != "measured":
        return {"degradation": {"kind": kind, **values}}
    measured = read_psf(values["psf"], volumes[0], values["psf_spacing"])
    if measured is None:
        raise TrainingError(f"{values['psf'].name} has no z step in {volumes[0].unit}; give it with --psf-spacing.")
    return {"degradation": measured}


def _show(events: Iterable[Event], name: str, main: bool) -> None:
    """A progress bar on stderr, and what matters on stdout."""
    from tqdm import tqdm

    from napari_niiv.training.events import Finished, Notice, Preparing, TrainingStep, Validation

    gain = ""
    # the postfix begins with a comma
    form = "{desc}: {percentage:3.0f}%|{bar}| {elapsed}{postfix}"
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
                    gain = "" if event.gain is None else f", {event.gain:+.2f} dB"
                    if main and bar.disable and event.gain is not None:
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
                    worth = (
                        "nothing to judge it by (the slices held out are blank)"
                        if event.gain is None
                        else f"{event.gain:+.2f} dB against bicubic interpolation on xy slices held out and made coarse"
                    )
                    print(f"{event.checkpoint}: {worth}, {event.steps} steps in {event.elapsed / 60:.1f} minutes")


def _on_several(options: argparse.Namespace) -> int:
    """Run this very command in one process for each GPU, through torch's launcher."""
    import torch
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    present = torch.cuda.device_count()
    device = getattr(options, "device", "auto")
    if device in ("auto", "cuda") and present and options.devices > present:
        raise NiivError(f"This computer has {present} GPU(s); give --devices {present} at most.")
    if device not in ("auto", "cuda", "cpu"):
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
    # the second has a level of its own
    for name in ("", ".agent.server.api"):
        logging.getLogger(f"torch.distributed.elastic{name}").setLevel(logging.CRITICAL)
    try:
        with stoppable():
            elastic_launch(launch, sys.executable)("-m", "napari_niiv", *sys.argv[1:])
    except ChildFailedError as error:
        failures = sorted(error.failures.values(), key=lambda f: f.timestamp)
        for failure in failures:
            if isinstance(failure.message, dict):  # recorded by `run_train`
                raise TrainingError(failure.message["message"].partition(": ")[2]) from None
        raise TrainingError(
            f"One of the processes ended unexpectedly (status {failures[0].exitcode}). {_stopped(options.output)}"
        ) from None
    except (SignalException, KeyboardInterrupt) as stop:
        number = stop.sigval if isinstance(stop, SignalException) else signal.SIGINT
        raise Stopped(_stopped(options.output), number) from None
    return 0
