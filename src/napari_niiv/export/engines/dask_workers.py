"""Units computed by other processes, through dask.distributed: here, on a running cluster, or a batch system's."""

from __future__ import annotations

import functools
import logging
import queue
import re
import shutil
import signal
import threading
import time
from collections.abc import Generator, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import torch

from napari_niiv.errors import NiivError, OutputError, Remedy
from napari_niiv.export.config import ExportConfig
from napari_niiv.export.engines.dask_address import check_scheduler, missing_distributed
from napari_niiv.export.engines.dask_messages import children_without_ctrl_c, without_dask_logs
from napari_niiv.export.engines.local import MOST_AT_ONCE, Advance, Engine, at_once
from napari_niiv.export.engines.payload import Payload
from napari_niiv.export.engines.worker import compute, installed, prepare
from napari_niiv.export.plan import Unit
from napari_niiv.export.work import Work
from napari_niiv.io.stored_volume import first_line

_LOG = logging.getLogger(__name__)
# times the units that a worker computes at once: as many wait
_AHEAD = 2
# seconds, for the first worker of a running cluster, and for a new one when all are gone
_TIMEOUT = 60
# seconds that a batch system may take to start jobs anew that it has interrupted
_REQUEUE_TIMEOUT = 600
# seconds that a batch system may take to accept a job
_SUBMISSION_TIMEOUT = 20
_NOT_THERE = re.compile(r"No module named '(\w+)")
_DASHBOARD = "127.0.0.1:0"
_CLUSTERS = {
    "slurm": "SLURMCluster",
    "pbs": "PBSCluster",
    "sge": "SGECluster",
    "lsf": "LSFCluster",
    "htcondor": "HTCondorCluster",
    "moab": "MoabCluster",
    "oar": "OARCluster",
}


class Cluster(NamedTuple):
    """Workers that compute, and the address of dask's web page about them where it was asked for."""

    engine: Engine
    dashboard: str | None


@contextmanager
def cluster(config: ExportConfig, work: Work, folder: Path) -> Iterator[Cluster]:
    """Workers, as long as the block lasts.

    Those that are started here, and what they are sent, are out of reach of other users of the computer: connections
    are encrypted and ask for keys that are made anew each time, the folder is private. A scheduler that runs already is
    as safe as it was started.

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
        raise missing_distributed() from error
    with without_dask_logs() as errors, ExitStack() as stack:
        if config.scheduler is not None:
            check_scheduler(config.scheduler)
        # a scheduler that runs already may be another user's, who has to see it
        folder.mkdir(exist_ok=True)
        if config.scheduler is None:
            folder.chmod(0o700)
        scheduler: Any = config.scheduler or stack.enter_context(
            _started(config, work.batch_budget.model.device) if config.jobqueue is None else _queued(config, folder)
        )
        address = str(scheduler)
        with _explaining(address):
            client = stack.enter_context(Client(scheduler, set_as_default=False, timeout=_TIMEOUT / 4))
            _wait(client, None if config.scheduler else scheduler, errors)
            threads = config.threads or _share_of_cores(config)
            own = config.scheduler is None and config.jobqueue is None
            payload = Payload.of(work, folder, threads, installed(), shares_terminal=own)
            stack.callback(Path(payload.path).unlink, missing_ok=True)  # tells the workers to give up
            client.run(prepare, payload)
        timeout = _TIMEOUT if config.jobqueue is None else _REQUEUE_TIMEOUT
        engine = functools.partial(_on_workers, client, payload, address, timeout)
        yield Cluster(engine, str(scheduler.dashboard_link) if config.dashboard else None)


def _credentials() -> Any:
    """Keys of one export: whoever has none, such as another user of the computer, is let nowhere in."""
    from distributed.security import Security

    try:
        return Security.temporary()
    except ImportError as error:
        raise OutputError(
            'Workers need cryptography; install it with: pip install "napari-niiv[distributed]"'
        ) from error


def _in_files(credentials: Any, folder: Path) -> Any:
    """The same keys, which jobs find in a private folder."""
    from distributed.security import Security

    roles, parts = ("scheduler", "worker", "client"), ("key", "cert")
    names = ["tls_ca_file", *(f"tls_{role}_{part}" for role in roles for part in parts)]
    for name in names:
        (folder / name).write_text(getattr(credentials, name), encoding="utf-8")
    return Security(require_encryption=True, **{name: str(folder / name) for name in names})


@contextmanager
def _web_pages(config: ExportConfig) -> Iterator[None]:
    """Serve those of dask only where they are asked for: they ask nobody for a key."""
    import dask

    pages: dict[str, list[str]] = {} if config.dashboard else {"distributed.scheduler.http.routes": []}
    with dask.config.set(pages):
        yield


@contextmanager
def _started(config: ExportConfig, device: torch.device) -> Iterator[Any]:
    """Workers of our own, which end with the export."""
    # memory is bounded by the size of the units; a limit would kill what merely uses the page cache
    options = {
        "n_workers": config.workers or 1,
        "threads_per_worker": at_once(device),
        "memory_limit": 0,
        "security": _credentials(),
        "dashboard_address": _DASHBOARD,
        "scheduler_kwargs": {"dashboard": config.dashboard},
    }
    try:
        with children_without_ctrl_c(), _web_pages(config):
            local = _local_cluster(device, **options)
    except (RuntimeError, OSError) as error:
        raise OutputError(
            "The workers could not be started; a script must call the export under "
            "`if __name__ == '__main__':`, as each worker imports it."
        ) from error
    with local:
        yield local


def _local_cluster(device: torch.device, **options: Any) -> Any:
    """dask-cuda's, where it is installed and each worker can have a GPU: it lets each run on the cores beside it."""
    if device.type == "cuda" and options["n_workers"] <= torch.cuda.device_count() and find_spec("dask_cuda"):
        try:
            from dask_cuda import LocalCUDACluster

            return LocalCUDACluster(**options)
        except Exception:  # it may be made for another dask, or lack a library: then workers claim GPUs themselves
            _LOG.debug("dask-cuda does not work", exc_info=True)
    from distributed import LocalCluster

    return LocalCluster(processes=True, **options)


@contextmanager
def _queued(config: ExportConfig, folder: Path) -> Iterator[Any]:
    """Jobs of a batch system, which end with the export; they find their keys in a folder."""
    try:
        with _same_ctrl_c():
            import dask
            import dask_jobqueue
    except ModuleNotFoundError as error:
        raise OutputError(
            'Job queues need the extra "jobqueue"; install it with: pip install "napari-niiv[jobqueue]"'
        ) from error
    kind = getattr(dask_jobqueue, _CLUSTERS[str(config.jobqueue)])
    if not shutil.which(command := kind.job_cls.submit_command.split()[0]):
        raise OutputError(
            f"There is no command {command} here; start the export where jobs of {config.jobqueue} are submitted."
        )
    pages = {"dashboard_address": _DASHBOARD, "dashboard": config.dashboard}
    own = dask.config.get(f"jobqueue.{config.jobqueue}.scheduler-options", None) or {}
    try:
        with _web_pages(config):
            queued = kind(security=_in_files(_credentials(), folder.absolute()), scheduler_options=pages | own)
    except (TypeError, ValueError) as error:  # cores, memory and the like are settings of dask-jobqueue
        raise OutputError(
            f"dask-jobqueue cannot use {config.jobqueue} ({first_line(error)}); "
            "set cores and memory in ~/.config/dask/jobqueue.yaml."
        ) from error
    try:
        queued.scale(jobs=config.workers)
        yield queued
    finally:
        with suppress(AssertionError):  # dask's own, of jobs that were not taken
            queued.close()


@contextmanager
def _same_ctrl_c() -> Iterator[None]:
    """dask-jobqueue, when it is imported, makes Ctrl-C end the program at once."""
    if threading.current_thread() is not threading.main_thread():  # which has no signals
        yield
        return
    before = signal.getsignal(signal.SIGINT)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _wait(client: Any, own: Any, errors: list[str]) -> None:
    """For the first worker: a batch system may take its time, a running scheduler not."""
    began = time.monotonic()
    while not client.nthreads():
        jobs = [job for job in getattr(own, "workers", {}).values() if hasattr(job, "job_id")]
        waited = time.monotonic() - began
        if jobs and (errors or waited > _SUBMISSION_TIMEOUT) and all(job.job_id is None for job in jobs):
            why = _reason(errors[-1]) if errors else "it does not answer"
            raise OutputError(
                f"The batch system took none of the {len(jobs)} jobs ({why}); try "
                f"{jobs[0].submit_command} by hand, and correct the settings in ~/.config/dask/jobqueue.yaml."
            )
        if not jobs and waited > _TIMEOUT:
            raise OutputError("The dask scheduler has no workers; start some (dask worker ADDRESS).")
        time.sleep(0.1)


def _reason(text: str) -> str:
    """What a batch system says in an error of dask-jobqueue, which quotes all that its command printed."""
    lines = (text.partition("stderr:")[2].strip() or text).splitlines()
    return "; ".join(line.strip() for line in lines if line.strip())[:200]


def _share_of_cores(config: ExportConfig) -> int | None:
    if config.jobqueue is not None or config.workers is None:
        return None
    return max(1, torch.get_num_threads() // config.workers)


def _on_workers(
    client: Any, payload: Payload, address: str, timeout: float, work: Work, units: Iterable[Unit]
) -> Generator[Advance, None, None]:
    """As `in_this_process`. A unit whose worker died is given to another."""
    done: queue.SimpleQueue[Any] = queue.SimpleQueue()
    waiting = iter(units)
    running: set[Any] = set()
    seen = time.monotonic()

    def fill() -> None:
        nonlocal seen
        threads = client.nthreads().values()
        if threads:
            seen = time.monotonic()
        elif time.monotonic() > seen + timeout:
            raise OutputError("All workers are gone; start new ones and", Remedy.RESUME)
        while len(running) < _AHEAD * max(1, sum(min(n, MOST_AT_ONCE) for n in threads)):
            unit = next(waiting, None)
            if unit is None:
                return
            future = client.submit(compute, payload, unit, pure=False)
            running.add(future)
            future.add_done_callback(done.put)

    try:
        with _explaining(address):
            fill()
            while running:
                try:
                    future = done.get(timeout=_TIMEOUT / 12)
                except queue.Empty:
                    if client.status != "running":
                        raise ConnectionError("the scheduler is gone") from None
                    fill()
                    continue
                try:
                    unit, written, notice = future.result(timeout=_TIMEOUT / 12)
                except TimeoutError:  # its worker died with the result: it is computed once more
                    done.put(future)
                    fill()
                    continue
                running.discard(future)
                work.batch_budget.notice = notice or work.batch_budget.notice
                yield Advance(unit.voxels, (unit, written))
                fill()
    finally:
        if running:
            Path(payload.path).unlink(missing_ok=True)
        if running and client.status == "running":
            client.cancel(list(running), force=True)


@contextmanager
def _explaining(address: str) -> Iterator[None]:
    """Turn what dask says into one sentence."""
    from concurrent.futures import CancelledError

    from distributed import KilledWorker

    try:
        yield
    except NiivError:
        raise
    except KilledWorker as error:
        raise OutputError(
            "Several workers died at the same part, perhaps for lack of memory; use fewer, and", Remedy.RESUME
        ) from error
    except (CancelledError, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None and not isinstance(error, ConnectionError):
            raise  # the disk's; dask's own have no number
        raise OutputError(f"The dask scheduler at {address} was lost; start it again and", Remedy.RESUME) from error
    except Exception as error:  # what a worker could not load comes as a text, or as it was
        if (missing := _NOT_THERE.search(str(error))) is None:
            raise
        raise OutputError(
            f"The workers do not have {missing[1]}; install the same napari-niiv on all computers."
        ) from error
