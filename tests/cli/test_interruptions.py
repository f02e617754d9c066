"""Ctrl-C and SIGTERM at any moment: one line, the exit status of a signal, and what can be gone on with."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tifffile

from napari_niiv.models.card import Card
from napari_niiv.models.checkpoint import save_model
from tests.programs import Program, start

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals")
RECONSTRUCT = (
    "reconstruct",
    "times.tif",
    "out.zarr",
    "--checkpoint",
    "tiny.safetensors",
    "--device",
    "cpu",
    "--threads",
    "1",
)


@pytest.fixture
def folder(tmp_path: Path, texture, small_model) -> Path:
    array = (200 * texture((40, 6, 24, 25))).astype(np.uint8)
    tags = {"axes": "TZYX", "spacing": 2.0, "unit": "um"}
    tifffile.imwrite(tmp_path / "times.tif", array, imagej=True, resolution=(2, 2), metadata=tags)
    model = small_model()
    save_model(model, Card(name="tiny", architecture=model.architecture), tmp_path / "tiny.safetensors")
    return tmp_path


def start_after(before: str, folder: Path, *arguments: str) -> subprocess.Popen[str]:
    """The command line, after some lines of Python."""
    program = f"import sys; sys.argv[0] = 'napari-niiv'\n{before}\nfrom napari_niiv.cli import main\nsys.exit(main())"
    pipe = subprocess.PIPE
    command = [sys.executable, "-c", program, *arguments]
    return subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, cwd=folder)


def ended(process: subprocess.Popen[str] | Program) -> tuple[int, str]:
    try:
        _, err = process.communicate(timeout=60)
    finally:
        process.kill()
    return process.returncode, err


# the module whose import is interrupted: the signal comes as it begins
DURING = """
import os, signal
class Press:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            os.kill(os.getpid(), signal.{how})
            for _ in range(10**6): pass
sys.meta_path.insert(0, Press())
"""


@pytest.mark.parametrize(
    ("module", "how"),
    [("argparse", "SIGINT"), ("pydantic", "SIGINT"), ("torch", "SIGINT"), ("tqdm", "SIGINT"), ("zarr", "SIGTERM")],
)
def test_while_it_imports(folder: Path, module: str, how: str) -> None:
    before = sorted(folder.iterdir())
    process = start_after(DURING.format(module=module, how=how), folder, *RECONSTRUCT)
    assert ended(process) == (128 + signal.Signals[how], "napari-niiv: stopped.\n")
    assert sorted(folder.iterdir()) == before


def test_sigterm_leaves_what_can_be_gone_on_with_and_says_so(folder: Path) -> None:
    """As batch queues end their jobs."""
    process, journal = start(*RECONSTRUCT, cwd=folder), folder / "out.zarr.unfinished" / "journal"
    while process.poll() is None and (not journal.exists() or journal.stat().st_size < 20):
        time.sleep(0.001)  # a process tells nothing else of itself
    process.terminate()
    status, err = ended(process)
    parts = r"[1-9]\d* of 40 parts (is|are) kept in out\.zarr\.unfinished"
    assert status == 143
    assert re.fullmatch(rf"napari-niiv: stopped; {parts}: go on with --resume\.\n", err)
    status, err = ended(start(*RECONSTRUCT, "--resume", cwd=folder))
    assert (status, err) == (0, "")
