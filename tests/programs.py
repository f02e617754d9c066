"""The command line in processes of their own, forked from one that has imported everything: seconds sooner than afresh.

What such a process does with signals, its streams and its exit status is what it does when it is started by a shell;
some tests start it so all the same.
"""

from __future__ import annotations

import multiprocessing
import multiprocessing.context
import os
import signal
import subprocess
import sys
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from pathlib import Path

_FORKED = sys.platform == "linux"  # elsewhere libraries may not be forked once they are loaded
# what commands, trainings and dask's workers import; none of it starts a thread
_PRELOAD = [
    "distributed",
    "napari_niiv.cli.commands",
    "napari_niiv.export.engines.worker",
    "napari_niiv.export.run",
    "napari_niiv.io.open",
    "napari_niiv.training.train",
]


def start(*arguments: str, cwd: Path) -> Program | subprocess.Popen[str]:
    """`napari-niiv` with some arguments, in a folder, and in a session of its own."""
    if _FORKED:
        return Program(*arguments, cwd=cwd)
    command, pipe = [sys.executable, "-m", "napari_niiv", *arguments], subprocess.PIPE
    return subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, cwd=cwd, start_new_session=True)


def fork_dask_workers() -> str:
    """The method by which dask's workers are started fastest, for `distributed.worker.multiprocessing-method`."""
    if not _FORKED:
        return "spawn"
    _context()
    forkserver.ensure_running()  # before dask says what is to be imported there
    return "forkserver"


def _context() -> multiprocessing.context.ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_PRELOAD)
    return context


class Program:
    """A forked command, with as much of `subprocess.Popen` as tests need; it writes a few kB at most."""

    def __init__(self, *arguments: str, cwd: Path) -> None:
        context = _context()
        (out, out_writer), (err, err_writer) = (context.Pipe(duplex=False) for _ in range(2))
        command = (["napari-niiv", *arguments], str(cwd), dict(os.environ), out_writer, err_writer)
        self._process = context.Process(target=_run, args=command)
        self._process.start()
        out_writer.close()
        err_writer.close()
        self.stdout, self.stderr = (os.fdopen(os.dup(reader.fileno())) for reader in (out, err))
        self.pid = self._process.pid

    @property
    def returncode(self) -> int | None:
        """As `poll` says."""
        return self._process.exitcode

    def poll(self) -> int | None:
        """The exit status; None as long as it runs."""
        return self._process.exitcode

    def send_signal(self, number: int) -> None:
        """Nothing happens once it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """As batch queues do."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """And it can do nothing about it."""
        self.send_signal(signal.SIGKILL)

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """What it writes until it ends; nothing the second time."""
        self._process.join(timeout)
        if self.poll() is None:
            raise subprocess.TimeoutExpired(str(self.pid), timeout or 0.0)
        if self.stdout.closed:
            return "", ""
        with self.stdout, self.stderr:
            return self.stdout.read(), self.stderr.read()


def _run(argv: list[str], cwd: str, environment: dict[str, str], out: Connection, err: Connection) -> None:
    import torch

    # the fixture `float32`, in another process
    torch.cpu._is_avx512_bf16_supported = torch.cpu._is_amx_tile_supported = lambda: False
    torch.set_num_threads(1)
    os.setsid()
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
    os.dup2(out.fileno(), 1)
    os.dup2(err.fileno(), 2)
    sys.argv = argv
    from napari_niiv.cli import main

    sys.exit(main())
