"""Some of the faults of `benchmarks/faults.py`, which tries hundreds: work that is killed at a call to the file system,
and sources that change."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.skipif(sys.platform == "win32", reason="forks processes")
def test_killed_at_calls_to_the_file_system() -> None:
    """A process of its own does it, which has no threads yet when it forks."""
    works = ("OME-Zarr over another", "TIFF", "copy")
    command = [sys.executable, "-m", "benchmarks.faults", "--faults", "2", "--changes", "2", "--works", *works]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=Path(__file__).parents[2])
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("2 faults") == 4
