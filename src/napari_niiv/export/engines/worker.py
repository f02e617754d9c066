"""What runs on the workers."""

from __future__ import annotations

import functools
import os
import threading
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from napari_niiv.errors import OutputError
from napari_niiv.export.engines.dask_messages import drop_dask_logs
from napari_niiv.export.engines.local import at_once
from napari_niiv.export.engines.payload import Payload, unpack
from napari_niiv.export.plan import Unit
from napari_niiv.export.shards import Written
from napari_niiv.export.work import Work
from napari_niiv.interrupt import Interrupt, interrupt_if
from napari_niiv.reconstruction.allocator import keep_freed

_MUST_AGREE = ("napari-niiv", "numpy", "torch", "zarr")
_LOADING = threading.Lock()
# seconds after which it is looked again whether the export was given up
_CHECKS = 0.5

Done = tuple[Unit, Written, str]
"""A unit that is on the disk, the files of its shards, and what the user should know of it."""


def installed() -> dict[str, str]:
    """Versions of the packages that decide on the values and the files, by their names."""
    versions = {}
    for name in _MUST_AGREE:
        try:
            versions[name] = version(name).partition("+")[0]  # the same torch for CPU and for CUDA
        except PackageNotFoundError:
            versions[name] = "none"
    return versions


def prepare(payload: Payload, dask_worker: Any = None) -> None:
    """On a worker, which dask names: find out whether it is fit, and load the model."""
    _loaded(payload, str(dask_worker.name))


def compute(payload: Payload, unit: Unit) -> Done:
    """On a worker: compute a unit.

    Raises
    ------
    Interrupted
        Once the payload is gone: a task cannot be stopped from outside, and one that went on would write into what is
        perhaps begun anew.
    """
    from distributed import get_worker

    work, places = _loaded(payload, str(get_worker().name))
    with places:
        written = work(unit, interrupt=_until_gone(Path(payload.path)))
    notice, work.batch_budget.notice = work.batch_budget.notice, ""
    return unit, written, notice


def _loaded(payload: Payload, worker: str) -> tuple[Work, threading.Semaphore]:
    """The work, and what bounds how many of the worker's threads do it; loaded once."""
    with _LOADING:
        return _load(payload, worker)


@functools.lru_cache(maxsize=1)
def _load(payload: Payload, worker: str) -> tuple[Work, threading.Semaphore]:
    if payload.shares_terminal:
        drop_dask_logs()
    versions = installed()
    wrong = [f"{name} {versions[name]}, not {wanted}" for name, wanted in payload.versions if versions[name] != wanted]
    if wrong:
        computer = os.uname().nodename if hasattr(os, "uname") else "another computer"
        raise OutputError(f"A worker on {computer} has {' and '.join(wrong)}; install the same versions.")
    keep_freed()
    if payload.threads is not None:
        torch.set_num_threads(payload.threads)
    digits = worker[len(worker.rstrip("0123456789")) :]
    work = unpack(payload, int(digits or 0))
    return work, threading.Semaphore(at_once(work.batch_budget.model.device))


def _until_gone(path: Path) -> Interrupt:
    """Stops the work once a file is gone; it is looked for now and then."""
    last = 0.0

    def gone() -> bool:
        nonlocal last
        if (now := time.monotonic()) < last + _CHECKS:
            return False
        last = now
        return not path.exists()

    return interrupt_if(gone)
