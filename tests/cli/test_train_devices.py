"""`napari-niiv train --device(s)`: where it is done; of several processes the user hears as of one."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import (
    ChildFailedError,
    ProcessFailure,
    get_error_handler,
)

from napari_niiv import load_model
from napari_niiv.cli import main
from napari_niiv.errors import TrainingError
from napari_niiv.models.card import Card
from napari_niiv.models.checkpoint import save_model

ONE = ["train", "good.npy", "--anisotropy", "4", "--output", "new.safetensors"]
TWO = [*ONE, "--devices", "2"]
# the volume is lost when the first process has looked at it, before the others do
LOSING = """
import os, sys
from napari_niiv import cli
from napari_niiv.cli import train
start = train._on_several
train._on_several = lambda options: os.chdir("empty") or start(options)
sys.exit(cli.main())
"""


@pytest.fixture
def folder(tmp_path: Path, texture, small_model, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a volume lies, and a checkpoint to go on from."""
    model = small_model()
    save_model(model, Card(name="tiny", architecture=model.architecture), tmp_path / "tiny.safetensors")
    np.save(tmp_path / "good.npy", texture((6, 32, 32)))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def launched(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Exception | None], list[tuple]]:
    """Has a launcher that starts nothing, and ends as it is told to; says what it was to start."""
    started: list[tuple] = []

    def prepare(end: Exception | None) -> list[tuple]:
        def launch(config, program: str) -> Callable[..., None]:
            def start(*arguments: str) -> None:
                started.append((config.nproc_per_node, program, *arguments))
                if end is not None:
                    raise end

            return start

        monkeypatch.setattr("torch.distributed.launcher.api.elastic_launch", launch)
        return started

    monkeypatch.setattr("napari_niiv.training.train.train", lambda volumes, config: iter(()))
    return prepare


def failure(folder: Path, rank: int, error: Exception | None, status: int = 2) -> ProcessFailure:
    """Of a process, with what it recorded."""
    file = folder / f"{rank}.json"
    if error is not None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("TORCHELASTIC_ERROR_FILE", str(file))
            get_error_handler().record_exception(error)
    return ProcessFailure(rank, 0, status, str(file))


def test_every_process_runs_this_command(launched, monkeypatch: pytest.MonkeyPatch) -> None:
    started = launched(None)
    monkeypatch.setattr(sys, "argv", ["napari-niiv", *TWO])
    assert main(TWO) == 0
    assert started == [(2, sys.executable, "-m", "napari_niiv", *TWO)]


@pytest.mark.parametrize(
    ("device", "present", "message"),
    [
        ("auto", 1, "This computer has 1 GPU(s); give --devices 1 at most."),
        ("cuda", 1, "This computer has 1 GPU(s); give --devices 1 at most."),
        ("cuda:1", 8, "--devices 2 takes the GPUs in order; leave --device out."),
    ],
)
def test_gpus_that_cannot_be_had(
    launched,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    device: str,
    present: int,
    message: str,
) -> None:
    started = launched(None)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: present)
    assert main([*TWO, "--device", device]) == 2
    assert capsys.readouterr() == ("", f"napari-niiv: {message}\n")
    assert not started


def test_what_went_wrong_in_a_process_is_said_once(launched, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    same = TrainingError("The training diverged: again.")
    failures = {
        0: failure(folder, 0, None, 1),
        1: failure(folder, 1, same),
        2: failure(folder, 2, same),
    }
    launched(ChildFailedError("python", failures))
    assert main(TWO) == 2
    assert capsys.readouterr() == ("", "napari-niiv: The training diverged: again.\n")


@pytest.mark.parametrize(
    ("kept", "message"),
    [
        ((), "Stopped before anything was learnt."),
        (("unfinished",), "Stopped; no checkpoint was made yet. Add --resume to go on."),
        (
            ("unfinished", "safetensors"),
            "Stopped; the best checkpoint so far is kept. Add --resume to go on.",
        ),
    ],
)
@pytest.mark.parametrize("killed", [True, False])
def test_processes_that_say_nothing(
    launched,
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    killed: bool,
    kept: tuple[str, ...],
    message: str,
) -> None:
    for suffix in kept:
        (folder / f"new.{suffix}").touch()
    if killed:
        launched(ChildFailedError("python", {1: failure(folder, 1, None, -9)}))
        message = f"One of the processes ended unexpectedly (status -9). {message}"
    else:
        launched(SignalException("stop", signal.SIGINT))
    assert main([*TWO, "--overwrite"]) == (2 if killed else 130)
    assert capsys.readouterr() == ("", f"napari-niiv: {message}\n")


@pytest.mark.parametrize("ours", [True, False])
def test_a_process_leaves_its_error_to_whoever_started_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], ours: bool
) -> None:
    """But tells it itself under torchrun."""
    recorded = folder / "error.json"
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "napari-niiv" if ours else "none")
    monkeypatch.setenv("TORCHELASTIC_ERROR_FILE", str(recorded))
    assert main(["train", "missing.npy", "--output", "new.safetensors"]) == 2
    message = "There is no file 'missing.npy'; check its name."
    assert capsys.readouterr().err == ("" if ours else f"napari-niiv: {message}\n")
    assert recorded.exists() == ours
    if ours:
        assert message in recorded.read_text()


# in earnest


def test_an_error_of_all_processes_is_one_line(folder: Path) -> None:
    (folder / "empty").mkdir()
    before = set(folder.rglob("*"))
    command = [sys.executable, "-c", LOSING, *TWO, "--device", "cpu"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, timeout=120)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "napari-niiv: There is no file 'good.npy'; check its name.\n"
    assert set(folder.rglob("*")) == before


def test_the_cpu_by_its_number(folder: Path, one_thread: None) -> None:
    tiny = ["--init", "tiny.safetensors", "--batch", "1", "--steps", "1"]
    assert main([*ONE, *tiny, "--device", "cpu:0"]) == 0
    load_model("new.safetensors", "cpu")
