"""Units computed by other processes, through dask.distributed: here, on a running cluster, or a batch system's."""

from __future__ import annotations

import functools
import os
import queue
import threading
import warnings
from collections.abc import Generator, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from napari_niiv.errors import NiivError, OutputError
from napari_niiv.export.config import ExportConfig
from napari_niiv.export.local import MOST_AT_ONCE, Engine, Step, at_once
from napari_niiv.export.plan import Unit
from napari_niiv.export.shipping import Shipment, unpack
from napari_niiv.export.work import Work

_AHEAD = 2  # times the units that a worker computes at once: as many wait
_PATIENCE = 60  # seconds for the first worker of a running cluster
_MUST_AGREE = ("napari-niiv", "numpy", "torch", "zarr")
_CLUSTERS = {
    "slurm": "SLURMCluster",
    "pbs": "PBSCluster",
    "sge": "SGECluster",
    "lsf": "LSFCluster",
    "htcondor": "HTCondorCluster",
    "moab": "MoabCluster",
    "oar": "OARCluster",
}


@contextmanager
def cluster(config: ExportConfig, work: Work, folder: Path) -> Iterator[Engine]:
    """Workers, as long as the block lasts.

    Parameters
    ----------
    config : ExportConfig
        `scheduler`, `jobqueue` and `workers` say which.
    work : Work
    folder : Path
        Inside the unfinished output; what the workers need is put there, once for all of them.

    Raises
    ------
    OutputError
        If the extra is missing, there is no scheduler, or the workers are not fit for the work.
    """
    try:
        from distributed import Client
    except ModuleNotFoundError as error:
        raise OutputError(
            'Workers need the extra "distributed"; install it with: pip install "napari-niiv[distributed]"'
        ) from error
    with ExitStack() as stack, warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="distributed")
        where = config.scheduler or stack.enter_context(
            _started(config, at_once(work.workspace.model.device))
        )
        try:
            client = stack.enter_context(Client(where, set_as_default=False, timeout=_PATIENCE / 4))
        except (OSError, ValueError, TimeoutError) as error:
            raise OutputError(
                f"There is no dask scheduler at {where}; start one (dask scheduler), or correct the address."
            ) from error
        _wait(client, config)
        shipment = Shipment.of(work, folder, config.threads or _share_of_cores(config), installed())
        with _explaining(where):
            client.run(_prepare, shipment)
        yield functools.partial(_on_workers, client, shipment, str(where))


@contextmanager
def _started(config: ExportConfig, threads: int) -> Iterator[Any]:
    """Workers of our own, which end with the export."""
    if config.jobqueue is None:
        from distributed import LocalCluster

        # memory is bounded by the size of the units; a limit would kill what merely uses the page cache
        options = {"threads_per_worker": threads, "memory_limit": 0, "dashboard_address": ":0"}
        with LocalCluster(config.workers, processes=True, **options) as local:
            yield local
        return
    try:
        import dask_jobqueue
    except ModuleNotFoundError as error:
        raise OutputError(
            'Job queues need the extra "jobqueue"; install it with: pip install "napari-niiv[jobqueue]"'
        ) from error
    kind = getattr(dask_jobqueue, _CLUSTERS[config.jobqueue])
    try:
        queued = kind()
    except (TypeError, ValueError) as error:  # cores, memory and the like are settings of dask-jobqueue
        raise OutputError(
            f"dask-jobqueue cannot use {config.jobqueue} ({error}); "
            "set cores and memory in ~/.config/dask/jobqueue.yaml."
        ) from error
    with queued:
        queued.scale(jobs=config.workers)
        yield queued


def _wait(client: Any, config: ExportConfig) -> None:
    """For the first worker: a batch system may take its time, the others not."""
    try:
        client.wait_for_workers(1, timeout=None if config.jobqueue else _PATIENCE)
    except TimeoutError as error:
        raise OutputError("The dask scheduler has no workers; start some (dask worker ADDRESS).") from error


def _share_of_cores(config: ExportConfig) -> int | None:
    if config.jobqueue is not None or config.workers is None:
        return None
    return max(1, torch.get_num_threads() // config.workers)


def installed() -> dict[str, str]:
    """Versions of what decides on the values and the files."""
    found = {}
    for name in _MUST_AGREE:
        try:
            found[name] = version(name).partition("+")[0]  # the same torch for CPU and for CUDA
        except PackageNotFoundError:
            found[name] = "none"
    return found


def _prepare(shipment: Shipment, dask_worker: Any = None) -> None:
    """On a worker, which dask names: find out whether it is fit, and load the model."""
    _loaded(shipment, str(dask_worker.name))


def _loaded(shipment: Shipment, worker: str) -> tuple[Work, threading.Semaphore]:
    """On a worker: the work, and what bounds how many of its threads do it."""
    with _LOADING:
        return _load(shipment, worker)


_LOADING = threading.Lock()


@functools.lru_cache(maxsize=1)
def _load(shipment: Shipment, worker: str) -> tuple[Work, threading.Semaphore]:
    ours = installed()
    if different := [f"{name} {ours[name]}, not {v}" for name, v in shipment.versions if ours[name] != v]:
        raise OutputError(
            f"A worker on {os.uname().nodename if hasattr(os, 'uname') else 'another computer'} has "
            f"{' and '.join(different)}; install the same versions."
        )
    if shipment.threads is not None:
        torch.set_num_threads(shipment.threads)
    work = unpack(shipment, int(worker) if worker.isdigit() else 0)
    return work, threading.Semaphore(at_once(work.workspace.model.device))


def _compute(shipment: Shipment, unit: Unit) -> tuple[Unit, str]:
    """On a worker: compute a unit; what the user should know of it."""
    from distributed import get_worker

    work, places = _loaded(shipment, str(get_worker().name))
    with places:
        work(unit)
    notice, work.workspace.notice = work.workspace.notice, ""
    return unit, notice


def _on_workers(
    client: Any, shipment: Shipment, where: str, work: Work, units: Iterable[Unit]
) -> Generator[Step, None, None]:
    """As `in_this_process`. A unit whose worker died is given to another."""
    done: queue.SimpleQueue[Any] = queue.SimpleQueue()
    waiting = iter(units)
    running: set[Any] = set()

    def fill() -> None:
        at_once = sum(min(threads, MOST_AT_ONCE) for threads in client.nthreads().values())
        while len(running) < _AHEAD * max(1, at_once):
            unit = next(waiting, None)
            if unit is None:
                return
            future = client.submit(_compute, shipment, unit, pure=False)
            running.add(future)
            future.add_done_callback(done.put)

    try:
        with _explaining(where):
            fill()
            while running:
                try:
                    future = done.get(timeout=5)
                except queue.Empty:
                    if client.status != "running":
                        raise ConnectionError("the scheduler is gone") from None
                    continue
                unit, notice = future.result()
                running.discard(future)
                work.workspace.notice = notice or work.workspace.notice
                yield unit.voxels, unit
                fill()
    finally:
        if running and client.status == "running":
            client.cancel(list(running), force=True)


@contextmanager
def _explaining(where: str) -> Iterator[None]:
    """Turn what dask says into one sentence."""
    from concurrent.futures import CancelledError

    from distributed import KilledWorker

    try:
        yield
    except NiivError:
        raise
    except ModuleNotFoundError as error:
        raise OutputError(
            f"The workers do not have {error.name}; install the same napari-niiv on all computers."
        ) from error
    except KilledWorker as error:
        raise OutputError(
            "Several workers died at the same part, perhaps for lack of memory; use fewer, and go on with --resume."
        ) from error
    except (CancelledError, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None and not isinstance(error, ConnectionError):
            raise  # the disk's; dask's own have no number
        raise OutputError(
            f"The dask scheduler at {where} was lost; start it again and go on with --resume."
        ) from error
