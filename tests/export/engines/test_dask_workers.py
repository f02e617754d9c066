"""Other processes do the work: the same values, whoever dies."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import shutil
import signal
import socketserver
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from urllib.error import HTTPError
from urllib.request import urlopen

import dask
import numpy as np
import psutil
import pytest
import torch
import zarr

from napari_niiv.errors import OutputError
from napari_niiv.events import Notice
from napari_niiv.export import ExportConfig, ExportProgress, export
from napari_niiv.export.engines import dask_address, gpu, worker
from napari_niiv.export.engines import dask_workers as cluster
from napari_niiv.export.engines.dask_messages import without_dask_logs
from napari_niiv.export.engines.gpu import claim
from napari_niiv.file_locks import private_folder
from napari_niiv.interrupt import Interrupted
from napari_niiv.io.open import open_volume
from napari_niiv.reconstruction.whole import reconstruct
from tests.programs import fork_dask_workers

distributed = pytest.importorskip("distributed")
from distributed.comm import connect  # noqa: E402
from distributed.security import Security  # noqa: E402

OPTIONS = {
    "processes": True,
    "threads_per_worker": 1,
    "memory_limit": 0,
    "dashboard_address": ":0",
    # the fixture `float32`, in workers
    "preload": ["import torch; torch.cpu._is_avx512_bf16_supported = lambda: False"],
}


@pytest.fixture(autouse=True, scope="module")
def _forked() -> Iterator[None]:
    """Workers that need no seconds of imports; the command line's tests start theirs as users do."""
    with dask.config.set({"distributed.worker.multiprocessing-method": fork_dask_workers()}):
        yield


@pytest.fixture(scope="module")
def running() -> Iterator[distributed.LocalCluster]:
    """Two workers that know nothing of the export yet."""
    with distributed.LocalCluster(n_workers=2, **OPTIONS) as local:
        yield local


def written(path: Path) -> np.ndarray:
    return zarr.open_array(path / "0", mode="r")[...]


def test_the_same_values(small_model, volume, config, tmp_path, running) -> None:
    model = small_model()
    settings = config(scheduler=running.scheduler_address, threads=1)
    events = list(export(volume, model, tmp_path / "out.zarr", settings))
    expected = reconstruct(volume, model, block=(8, 16)).array.compute()
    np.testing.assert_array_equal(written(tmp_path / "out.zarr"), expected)
    assert [e for e in events if isinstance(e, ExportProgress)][-1].fraction == 1
    assert os.listdir(tmp_path) == ["out.zarr"]


def test_a_worker_is_killed(small_model, volume, config, tmp_path, running) -> None:
    model, killed = small_model(), 0
    settings = config(scheduler=running.scheduler_address, shard=1 << 13, threads=1)
    with distributed.Client(running, set_as_default=False) as client:
        for event in export(volume, model, tmp_path / "out.zarr", settings):
            if isinstance(event, ExportProgress) and not killed:
                killed = next(iter(client.run(os.getpid).values()))
                os.kill(killed, signal.SIGKILL)
    assert killed
    expected = reconstruct(volume, model, block=(8, 16)).array.compute()
    np.testing.assert_array_equal(written(tmp_path / "out.zarr"), expected)


def test_workers_of_another_version(small_model, volume, config, tmp_path, running, monkeypatch) -> None:
    real = cluster.installed()
    monkeypatch.setattr(cluster, "installed", lambda: {**real, "zarr": "2.0"})
    with pytest.raises(OutputError, match=rf"has zarr {real['zarr']}, not 2\.0; install the same"):
        list(export(volume, small_model(), tmp_path / "o.zarr", config(scheduler=running.scheduler_address)))


def test_workers_that_do_not_see_the_folder(small_model, volume, config, tmp_path, running, monkeypatch) -> None:
    real = cluster.Payload.of

    def elsewhere(*arguments: object, **options: object) -> cluster.Payload:
        payload = real(*arguments, **options)
        Path(payload.path).unlink()
        return payload

    monkeypatch.setattr(cluster.Payload, "of", elsewhere)
    with pytest.raises(OutputError, match=r"cannot see .*; write to a folder that all computers share"):
        list(export(volume, small_model(), tmp_path / "o.zarr", config(scheduler=running.scheduler_address)))


def test_workers_that_do_not_see_the_source(small_model, volume, config, tmp_path, running, monkeypatch) -> None:
    real, source = cluster.Payload.of, tmp_path / "source.npy"
    np.save(source, volume.array)

    def elsewhere(*arguments: object, **options: object) -> cluster.Payload:
        payload = real(*arguments, **options)
        source.unlink()
        return payload

    monkeypatch.setattr(cluster.Payload, "of", elsewhere)
    stored = open_volume(source, voxel_size=volume.voxel_size)
    with pytest.raises(OutputError, match=r"cannot see .*source\.npy; put it into a folder that all computers share"):
        list(export(stored, small_model(), tmp_path / "o.zarr", config(scheduler=running.scheduler_address)))


def test_workers_without_the_package(small_model, volume, config, tmp_path) -> None:
    without = {**OPTIONS, "preload": ["import sys; sys.modules['napari_niiv'] = None"]}
    afresh = dask.config.set({"distributed.worker.multiprocessing-method": "spawn"})
    with afresh, distributed.LocalCluster(n_workers=1, **without) as local:
        settings = config(scheduler=local.scheduler_address)
        with pytest.raises(OutputError, match="do not have napari_niiv; install the same napari-niiv on all computers"):
            list(export(volume, small_model(), tmp_path / "o.zarr", settings))


def test_the_scheduler_dies(small_model, volume, config, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(cluster, "_TIMEOUT", 8)
    model = small_model()
    with distributed.LocalCluster(n_workers=1, **OPTIONS) as local:
        events = export(volume, model, tmp_path / "out.zarr", config(scheduler=local.scheduler_address, shard=1 << 13))
        while not isinstance(next(events), ExportProgress):
            pass
        local.close()
        with pytest.raises(OutputError, match=r"scheduler at .* was lost; start it again and go on with resume=True"):
            list(events)
    first, *_ = export(volume, model, tmp_path / "out.zarr", config(resume=True, shard=1 << 13))
    assert first.resumed > 0
    expected = reconstruct(volume, model, block=(8, 16)).array.compute()
    np.testing.assert_array_equal(written(tmp_path / "out.zarr"), expected)


@pytest.fixture
def port() -> Iterator[socketserver.ThreadingTCPServer]:
    """What listens there is no scheduler: it says `greeting`, and nothing else until `over`."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            if self.server.greeting is not None:
                self.request.sendall(self.server.greeting)
                self.server.over.wait()

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        server.greeting, server.over = b"", threading.Event()
        server.address = f"127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.over.set()
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("scheme", ["tcp", "tls"])
@pytest.mark.parametrize("greeting", [b"", b"SSH-2.0-OpenSSH_9.6\r\n", None], ids=["silent", "another", "closed"])
def test_ports_of_other_servers(port, monkeypatch, scheme: str, greeting: bytes | None) -> None:
    monkeypatch.setattr(dask_address, "_ANSWER_S", 0.5)
    port.greeting = greeting
    address = f"{scheme}://{port.address}"
    with without_dask_logs(), pytest.raises(OutputError, match=f"There is no dask scheduler at '{address}'; start one"):
        dask_address.check_scheduler(address)


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:9", "http://127.0.0.1:9", "tcp://[::1", "nonsense", "ucx://a:1"])
def test_no_scheduler(small_model, volume, config, tmp_path, monkeypatch, address: str) -> None:
    monkeypatch.setattr(dask_address, "_ANSWER_S", 0.5)
    with pytest.raises(OutputError, match=r"There is no dask scheduler at '"):
        list(export(volume, small_model(), tmp_path / "out.zarr", config(scheduler=address)))
    assert not os.listdir(tmp_path)


def test_the_address_of_a_worker(running) -> None:
    worker = next(iter(running.scheduler_info["workers"]))
    with without_dask_logs(), pytest.raises(OutputError, match="There is a dask worker, no scheduler, at"):
        dask_address.check_scheduler(worker)


def test_the_command_ends_soon_where_a_port_says_nothing(port, volume, tmp_path) -> None:
    np.save(tmp_path / "a.npy", volume.array)
    options = [str(tmp_path / "a.npy"), str(tmp_path / "o.zarr"), "--anisotropy", "4"]
    command = [sys.executable, "-m", "napari_niiv", "reconstruct", *options, "--scheduler", f"tcp://{port.address}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    sentence = (
        f"There is no dask scheduler at 'tcp://{port.address}'; start one (dask scheduler), or correct the address."
    )
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"napari-niiv: {sentence}\n")


@pytest.mark.parametrize(
    ("missing", "settings"),
    [("distributed", {"workers": 2}), ("dask_jobqueue", {"workers": 2, "jobqueue": "slurm"})],
)
def test_a_missing_extra(small_model, volume, config, tmp_path, monkeypatch, missing: str, settings) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    name = missing.removeprefix("dask_")
    with pytest.raises(OutputError, match=rf'the extra "{name}"; install it with: pip install'):
        list(export(volume, small_model(), tmp_path / "out.zarr", config(**settings)))


@pytest.mark.parametrize(
    "settings",
    [
        {"jobqueue": "slurm"},
        {"scheduler": "tcp://here:1", "workers": 2},
        {"workers": 0},
        {"chunk": 50},
        {"dashboard": True},
        {"nonsense": 1},
    ],
)
def test_settings_that_make_no_sense(settings: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="validation error"):
        ExportConfig(**settings)


def test_all_workers_go(small_model, volume, config, tmp_path, monkeypatch) -> None:
    """Such as jobs whose time is over: the export does not wait for ever."""
    monkeypatch.setattr(cluster, "_TIMEOUT", 2)
    model, target = small_model(), tmp_path / "out.zarr"
    settings = {"shard": 1 << 13, "threads": 1}
    with distributed.LocalCluster(n_workers=1, **OPTIONS) as local:
        events = export(volume, model, target, config(scheduler=local.scheduler_address, **settings))
        while not isinstance(next(events), ExportProgress):
            pass
        local.scale(0)
        with pytest.raises(OutputError, match="All workers are gone; start new ones and go on with resume=True"):
            list(events)
    first, *_ = export(volume, model, target, config(resume=True, **settings))
    assert first.resumed > 0


def test_no_workers(small_model, volume, config, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(cluster, "_TIMEOUT", 2)
    with distributed.LocalCluster(n_workers=1, **OPTIONS) as local:
        local.scale(0)
        with distributed.Client(local, set_as_default=False) as client:
            while client.nthreads():
                pass
        with pytest.raises(OutputError, match="scheduler has no workers; start some"):
            list(export(volume, small_model(), tmp_path / "o.zarr", config(scheduler=local.scheduler_address)))
    assert not os.listdir(tmp_path)


def test_a_source_that_does_not_travel(small_model, volume, config, tmp_path, running) -> None:
    class Connected:
        shape, dtype = volume.shape, volume.dtype

        def __init__(self) -> None:
            self.own = threading.Lock()

        def __getitem__(self, key):
            return volume.array[key]

    source = replace(volume, array=Connected())
    with pytest.raises(OutputError, match=r"'volume' cannot be sent to other processes \(.*\); open it from its file"):
        list(export(source, small_model(), tmp_path / "o.zarr", config(scheduler=running.scheduler_address)))


def test_a_worker_gives_up_when_the_export_is_over(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(worker, "_CHECKS", 0)
    (tmp_path / "work.pickle").touch()
    interrupt = worker._until_gone(tmp_path / "work.pickle")
    interrupt()
    (tmp_path / "work.pickle").unlink()
    with pytest.raises(Interrupted):
        interrupt()


@pytest.mark.parametrize("wanted", ["closed", "finished"])
def test_the_payload_goes_with_the_export(small_model, volume, config, tmp_path, running, wanted: str) -> None:
    """So that no task of an export that is over writes into the next one."""
    settings = config(scheduler=running.scheduler_address, shard=1 << 13, threads=1)
    events = export(volume, small_model(), tmp_path / "out.zarr", settings)
    while not isinstance(next(events), ExportProgress):
        pass
    payloads = list((tmp_path / "out.zarr.unfinished" / "shared").glob("*.pickle"))
    assert len(payloads) == 1
    if wanted == "closed":
        events.close()
    else:
        list(events)
    assert not payloads[0].exists()


def test_each_process_has_a_gpu_of_its_own(tmp_path) -> None:
    """In whatever order it sees them, and until it ends."""
    program = "import sys; from pathlib import Path; from napari_niiv.export.engines.gpu import claim; "
    program += "print(claim(Path(sys.argv[1])), flush=True); input()"
    arguments = [sys.executable, "-c", program, str(tmp_path / "card")]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(arguments, **pipes) as other:
        assert other.stdout.readline() == "True\n"
        assert not claim(tmp_path / "card")
        assert claim(tmp_path / "another card")
        other.kill()
        other.wait()
    assert claim(tmp_path / "card")
    assert not claim(tmp_path / "card")


def test_gpus_that_are_all_claimed_are_shared(monkeypatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: f"card {index}")
    taken: list[Path] = []
    monkeypatch.setattr(gpu, "claim", lambda path: path not in taken and not taken.append(path))
    assert [gpu.claim_gpu.__wrapped__(7) for _ in range(3)] == [torch.device("cuda", n) for n in (0, 1, 1)]


@pytest.mark.skipif(os.name == "nt", reason="folders of a user are private there")
@pytest.mark.parametrize("dashboard", [False, True])
def test_nobody_else_is_let_in(small_model, volume, config, tmp_path, monkeypatch, dashboard: bool) -> None:
    """Whoever can connect to a scheduler has it run code."""
    started = []
    real = cluster._local_cluster
    monkeypatch.setattr(cluster, "_local_cluster", lambda *a, **o: started.append(real(*a, **o)) or started[0])
    events = export(volume, small_model(), tmp_path / "out.zarr", config(workers=1, threads=1, dashboard=dashboard))
    told = []
    while not isinstance(event := next(events), ExportProgress):
        told += [event.message] if isinstance(event, Notice) else []
    try:
        workers = started[0].scheduler.workers.values()
        addresses = [started[0].scheduler_address, *(a for w in workers for a in (w.address, w.nanny))]
        assert all(address.startswith("tls://127.0.0.1:") for address in addresses)
        for keys in (None, Security.temporary()):
            for address in addresses:
                with pytest.raises((OSError, RuntimeError, TypeError)):
                    asyncio.run(_ping(address, keys))
        shared = tmp_path / "out.zarr.unfinished" / "shared"
        assert stat.S_IMODE(shared.stat().st_mode) == 0o700
        page = f"http://127.0.0.1:{started[0].scheduler.http_server.port}"
        if dashboard:
            assert told == [f"The workers can be watched at {page}/status, by anyone on this computer."]
        for path in ("/info/main/workers.html", "/json/counts.json", "/metrics"):
            with nullcontext() if dashboard else pytest.raises(HTTPError, match="404"), urlopen(page + path):
                pass
    finally:
        events.close()


STRANGER = """
import asyncio, json, os, pickle, socket, ssl, sys
shared, temporary, *ports = sys.argv[1:]
found = []
for path in (shared, os.path.dirname(shared), temporary):
    try:
        found.append(os.listdir(path))
    except PermissionError:
        pass
call = b"\\x82\\xa2op\\xacrun_function"
for port in map(int, ports):
    for tls in (False, True):
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=1) as plain:
                context = ssl._create_unverified_context()
                talk = context.wrap_socket(plain) if tls else plain
                talk.settimeout(1)
                for request in (b"GET /info/main/workers.html HTTP/1.0\\r\\n\\r\\n", call):
                    talk.sendall(request)
                answer = talk.recv(1 << 16)
                if answer and b" 404 " not in answer.partition(b"\\r\\n")[0]:
                    found.append((port, tls, answer[:80].hex()))
        except OSError:
            pass
print(json.dumps(found))
"""


def _listening() -> set[int]:
    """TCP ports that this process and its children listen at."""
    processes = [psutil.Process(), *psutil.Process().children(recursive=True)]
    return {c.laddr.port for p in processes for c in p.net_connections("tcp") if c.status == psutil.CONN_LISTEN}


def _found_by_a_stranger(*arguments: object) -> list[object]:
    """Folders that another user can list, then ports that answer."""
    *folders, ports = arguments
    command = ["/usr/bin/env", "python3", "-c", STRANGER, *map(str, folders), *map(str, ports)]
    nobody = {"user": 65534, "group": 65534, "extra_groups": []}
    done = subprocess.run(command, **nobody, capture_output=True, text=True, cwd="/", check=True)
    return json.loads(done.stdout)


@pytest.mark.skipif(os.name == "nt" or os.getuid() != 0, reason="only root can be somebody else")
def test_another_user_of_the_computer(small_model, volume, config, running) -> None:
    """Who sees the ports, and the folders above, but has no keys; an open scheduler answers."""
    others = _listening()  # those of `running`, and of other tests
    home = Path(tempfile.mkdtemp())  # pytest's own is closed to others
    try:
        home.chmod(0o755)
        events = export(volume, small_model(), home / "out.zarr", config(workers=1, threads=1))
        while not isinstance(next(events), ExportProgress):
            pass
        shared, temporary = home / "out.zarr.unfinished" / "shared", private_folder(home)
        ports = _listening() - others
        assert len(ports) >= 3  # scheduler, nanny, worker
        listed, *answers = _found_by_a_stranger(shared, temporary, ports)
        assert sorted(listed) == sorted(os.listdir(shared.parent))  # as open as the user's other folders
        assert not answers
        assert _found_by_a_stranger(shared, temporary, [int(running.scheduler_address.rpartition(":")[2])])[1:]
        events.close()
    finally:
        shutil.rmtree(home, ignore_errors=True)


async def _ping(address: str, keys: Security | None) -> None:
    arguments = (keys or Security()).get_connection_args("client")
    if keys is None:
        address = address.replace("tls://", "tcp://")
    comm = await connect(address, timeout=1, **arguments)
    await comm.write({"op": "identity", "reply": True})
    await asyncio.wait_for(comm.read(), 1)


@pytest.mark.parametrize("number", [1, 3])
def test_as_many_workers_as_asked_for(small_model, volume, config, tmp_path, monkeypatch, number: int) -> None:
    asked = []

    class Local(distributed.LocalCluster):
        def __init__(self, *arguments: object, **options: object) -> None:
            asked.append((arguments, options["n_workers"]))
            raise OSError("not here")

    monkeypatch.setattr(distributed, "LocalCluster", Local)
    with pytest.raises(OutputError, match="workers could not be started"):
        list(export(volume, small_model(), tmp_path / "out.zarr", config(workers=number)))
    assert asked == [((), number)]


@pytest.fixture
def dask_cuda(monkeypatch) -> ModuleType:
    """A stand-in, and one for two GPUs; clusters are not started."""

    class Theirs:
        def __init__(self, **options: object) -> None:
            self.options = options

    class Ours(Theirs):
        pass

    module = ModuleType("dask_cuda")
    module.LocalCUDACluster = Theirs
    module.__spec__ = ModuleSpec("dask_cuda", None)
    monkeypatch.setitem(sys.modules, "dask_cuda", module)
    monkeypatch.setattr(distributed, "LocalCluster", Ours)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    return module


@pytest.mark.parametrize(("device", "number", "theirs"), [("cuda", 2, True), ("cuda", 3, False), ("cpu", 2, False)])
def test_dask_cuda_is_used_where_it_has_a_gpu_for_each_worker(dask_cuda, device, number, theirs) -> None:
    made = cluster._local_cluster(torch.device(device), n_workers=number)
    assert (type(made) is dask_cuda.LocalCUDACluster) == theirs
    assert made.options["n_workers"] == number


def test_a_dask_cuda_that_does_not_work(dask_cuda, monkeypatch) -> None:
    """Made for another dask, without NVIDIA's library, or not there."""
    ours, cuda = distributed.LocalCluster, torch.device("cuda")
    monkeypatch.setattr(dask_cuda, "LocalCUDACluster", lambda **options: 1 / 0)
    assert type(cluster._local_cluster(cuda, n_workers=2)) is ours
    monkeypatch.delattr(dask_cuda, "LocalCUDACluster")
    assert type(cluster._local_cluster(cuda, n_workers=2)) is ours
    monkeypatch.setattr(cluster, "find_spec", lambda name: None)
    assert type(cluster._local_cluster(cuda, n_workers=2)) is ours


def test_only_errors_of_dask_jobqueue_are_collected() -> None:
    theirs = compile("def submit():\n    raise RuntimeError('no such partition')", "core.py", "exec")
    names: dict[str, object] = {"__name__": "dask_jobqueue.core"}
    exec(theirs, names)
    log = logging.getLogger("asyncio")
    with without_dask_logs() as errors:
        for work in (lambda: 1 / 0, names["submit"]):
            try:
                work()
            except Exception:
                log.exception("never retrieved")
    assert errors == ["no such partition"]


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's")
def test_workers_keep_freed_memory() -> None:
    """dask starts them such that each array is given back, and faulted in again."""
    code = (
        "import resource, numpy as np\n"
        "from napari_niiv.reconstruction.allocator import keep_freed\n"
        "def faults():\n"
        "    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt\n"
        "    for _ in range(20): np.ones(3 << 20, np.uint8)\n"
        "    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before\n"
        "given_back = faults(); keep_freed(); faults(); print(given_back, faults())"
    )
    environment = {**os.environ, "MALLOC_TRIM_THRESHOLD_": "65536"}  # as dask's
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    given_back, kept = map(int, done.stdout.split())
    assert given_back > 20
    assert kept < given_back / 10
