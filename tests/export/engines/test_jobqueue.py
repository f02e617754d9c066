"""A batch system starts the workers: here a stand-in for Slurm that runs each job at once."""

from __future__ import annotations

import logging
import os
import signal
import stat
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import zarr

from napari_niiv.errors import OutputError
from napari_niiv.export import ExportProgress, export
from napari_niiv.export.engines import dask_workers as cluster
from napari_niiv.reconstruction.whole import reconstruct

pytest.importorskip("distributed")
with cluster._same_ctrl_c():
    pytest.importorskip("dask_jobqueue")
pytestmark = pytest.mark.skipif(os.name == "nt", reason="batch systems start shell scripts")

SBATCH = """#!/bin/sh
echo "$1" >> {folder}/submitted
cat "$1" > {folder}/job.sh  # the script is gone when this returns
setsid sh {folder}/job.sh > {folder}/job.log 2>&1 &
echo $! > {folder}/pid
echo "Submitted batch job $!"
"""
SCANCEL = """#!/bin/sh
echo "$@" >> {folder}/cancelled
kill -- -"$1" 2>/dev/null || true
"""


@pytest.fixture
def slurm(tmp_path_factory, monkeypatch) -> Path:
    """`sbatch` and `scancel` on the path, and what a facility writes into dask's settings."""
    import dask

    folder = tmp_path_factory.mktemp("slurm")
    for name, text in (("sbatch", SBATCH), ("scancel", SCANCEL)):
        program = folder / name
        program.write_text(text.format(folder=folder))
        program.chmod(program.stat().st_mode | stat.S_IEXEC)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    settings = {
        "jobqueue.slurm.cores": 1,
        "jobqueue.slurm.memory": "2GB",
        "jobqueue.slurm.processes": 1,
        "jobqueue.slurm.python": sys.executable,
        "jobqueue.slurm.interface": "lo" if sys.platform == "linux" else None,
        "jobqueue.slurm.local-directory": str(folder),
        "jobqueue.slurm.scheduler-options": {"dashboard_address": ":0"},
        # the fixture `float32`, in workers
        "jobqueue.slurm.worker-extra-args": [
            "--preload",
            "'import torch; torch.cpu._is_avx512_bf16_supported = lambda: False'",
        ],
    }
    with dask.config.set(settings):
        yield folder


def test_workers_of_a_job_queue(small_model, volume, config, tmp_path, slurm: Path) -> None:
    model = small_model()
    list(export(volume, model, tmp_path / "out.zarr", config(jobqueue="slurm", workers=1, threads=1)))
    expected = reconstruct(volume, model, block=(8, 16)).array.compute()
    np.testing.assert_array_equal(zarr.open_array(tmp_path / "out.zarr" / "0")[...], expected)
    assert len((slurm / "submitted").read_text().splitlines()) == 1
    assert (slurm / "cancelled").read_text().split() == [(slurm / "pid").read_text().strip()]


def test_a_job_is_interrupted_and_started_anew(small_model, volume, config, tmp_path, slurm: Path) -> None:
    settings = config(jobqueue="slurm", workers=1, threads=1, shard=1 << 13)
    model, target = small_model(), tmp_path / "out.zarr"
    events = export(volume, model, target, settings)
    while not isinstance(next(events), ExportProgress):
        pass
    os.killpg(int((slurm / "pid").read_text()), signal.SIGKILL)
    job = subprocess.Popen(["sh", slurm / "job.sh"], start_new_session=True, stderr=subprocess.DEVNULL)
    try:
        list(events)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(job.pid, signal.SIGTERM)
        job.wait()
    expected = reconstruct(volume, model, block=(8, 16)).array.compute()
    np.testing.assert_array_equal(zarr.open_array(target / "0")[...], expected)


@pytest.mark.parametrize(
    ("sbatch", "why"),
    [
        (
            "echo 'error: no such partition\nerror: job not taken' >&2; exit 1",
            "error: no such.*; error: job not",
        ),
        ("exit 0", "Could not parse job id"),
    ],
)
def test_a_queue_that_takes_no_jobs(small_model, volume, config, tmp_path, slurm: Path, sbatch: str, why: str) -> None:
    (slurm / "sbatch").write_text(f"#!/bin/sh\n{sbatch}\n")
    with pytest.raises(OutputError, match=rf"took none of the 1 jobs \({why}.*\); try sbatch by hand"):
        list(export(volume, small_model(), tmp_path / "out.zarr", config(jobqueue="slurm", workers=1)))


def test_a_queue_that_takes_no_jobs_and_nobody_hears_why(
    small_model, volume, config, tmp_path, slurm: Path, monkeypatch
) -> None:
    """As where the user's settings keep them from logging."""
    monkeypatch.setattr(cluster, "_SUBMISSION_TIMEOUT", 1)
    for name in ("asyncio", "tornado.application"):
        monkeypatch.setattr(logging.getLogger(name), "disabled", True)
    (slurm / "sbatch").write_text("#!/bin/sh\necho 'invalid partition' >&2\nexit 1\n")
    with pytest.raises(OutputError, match=r"took none of the 1 jobs \(it does not answer\); try sbatch"):
        list(export(volume, small_model(), tmp_path / "out.zarr", config(jobqueue="slurm", workers=1)))


def test_a_queue_without_settings(small_model, volume, config, tmp_path, slurm: Path) -> None:
    import dask

    with (
        dask.config.set({"jobqueue.slurm.cores": None}),
        pytest.raises(OutputError, match="set cores and memory"),
    ):
        list(export(volume, small_model(), tmp_path / "out.zarr", config(jobqueue="slurm", workers=1)))


def test_ctrl_c_stays_what_it_was() -> None:
    before = signal.getsignal(signal.SIGINT)
    with cluster._same_ctrl_c():
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # as dask-jobqueue does when it is imported
    assert signal.getsignal(signal.SIGINT) is before
