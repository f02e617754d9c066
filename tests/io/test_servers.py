"""Servers that send too much, too little, nothing, or elsewhere; and addresses that are none."""

from __future__ import annotations

import http.server
import json
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from zarr.core.sync import sync

from napari_niiv.errors import VolumeError
from napari_niiv.io.open import open_volume
from napari_niiv.io.readers import remote_store

pytest.importorskip("aiohttp")
fsspec = pytest.importorskip("fsspec")
from napari_niiv.io import http_answers  # noqa: E402

SHAPE = (4, 8, 8)
METADATA = {
    ".zarray": {
        "zarr_format": 2,
        "shape": SHAPE,
        "chunks": [1, 8, 8],
        "dtype": "|u1",
        "fill_value": 0,
        "order": "C",
        "filters": None,
        "compressor": None,
    },
    ".zattrs": {},
    "attributes.json": {
        "dimensions": SHAPE[::-1],
        "blockSize": [8, 8, 1],
        "dataType": "uint8",
        "compression": {"type": "raw"},
    },
}


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves an array; a path whose name the server's `hostile` has is answered by that function."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        name = self.path.rpartition("/")[2]
        for part, answer in self.server.hostile.items():
            if part in self.path:
                self.close_connection = True
                answer(self)
                return
        if name in METADATA:
            self.answer(200, json.dumps(METADATA[name]).encode())
        elif name[:1].isdigit():
            self.answer(200, bytes(64 * [7]))
        else:
            self.answer(404, b"")

    do_HEAD = do_GET

    def answer(self, status: int, content: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)

    def log_message(self, *args) -> None:
        pass


def endless(handler: Handler) -> None:
    """As long as somebody reads; how much went out is noted."""
    handler.send_response(200)
    handler.end_headers()
    try:
        while True:
            handler.server.sent += handler.wfile.write(bytes(1 << 20))
    except OSError:
        pass


def announced(handler: Handler) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", str(100 << 30))
    handler.end_headers()


def dripping(handler: Handler) -> None:
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
    while not handler.server.over.wait(0.02):
        try:
            handler.wfile.write(b" ")
        except OSError:
            return


def dripping_header(handler: Handler) -> None:
    handler.wfile.write(b"HTTP/1.1 200 OK\r\n")
    while not handler.server.over.wait(0.02):
        try:
            handler.wfile.write(b"X: y\r\n")
        except OSError:
            return


def silent(handler: Handler) -> None:
    handler.server.over.wait()


def leaving(handler: Handler) -> None:
    """Without a word."""


def elsewhere(handler: Handler) -> None:
    handler.send_response(302)
    handler.send_header("Location", f"http://127.0.0.1:{closed_port()}/")
    handler.send_header("Content-Length", "0")
    handler.end_headers()


def nowhere(handler: Handler) -> None:
    handler.send_response(302)
    handler.send_header("Location", "http://[::1/")
    handler.send_header("Content-Length", "0")
    handler.end_headers()


def in_circles(handler: Handler) -> None:
    handler.send_response(302)
    handler.send_header("Location", handler.path)
    handler.send_header("Content-Length", "0")
    handler.end_headers()


def closed_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


class Server(http.server.ThreadingHTTPServer):
    def handle_error(self, request, client_address) -> None:
        """Clients leave."""


@pytest.fixture
def served() -> Iterator[Server]:
    with Server(("127.0.0.1", 0), Handler) as server:
        server.hostile, server.sent, server.over = {}, 0, threading.Event()
        server.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.over.set()
        server.shutdown()
        thread.join()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(http_answers, "_SILENCE_S", 1.0)
    monkeypatch.setattr(http_answers, "_WINDOW_S", 0.2)
    monkeypatch.setattr(remote_store, "_METADATA_S", 2.0)
    forget_sessions()  # which keep the patience that they began with
    yield
    forget_sessions()


def forget_sessions() -> None:
    sync(http_answers.close_sessions())
    fsspec.filesystem("http").clear_instance_cache()


def refused(opens: Callable[[], object]) -> str:
    with pytest.raises(VolumeError) as caught:
        opens()
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("kind", ["zarr", "n5"])
@pytest.mark.parametrize("answer", [endless, announced])
def test_metadata_of_gigabytes_are_not_taken(served: Server, kind: str, answer: Callable[[Handler], None]) -> None:
    served.hostile = {"zarr.json": answer, ".zarray": answer, "attributes.json": answer}
    message = refused(lambda: open_volume(f"{served.url}/a.{kind}", dataset=None if kind == "zarr" else "s0"))
    assert served.url in message
    assert "sends more than 16 MiB" in message
    assert served.sent < 128 << 20  # of three answers, and what lies in buffers


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("kind", ["zarr", "n5"])
@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (dripping, r"sent \d+ bytes in 0 s"),
        (dripping_header, "no answer within 2 s"),
        (silent, "Timeout on reading data"),
        (leaving, "disconnected"),
        (elsewhere, "Cannot connect"),
        (nowhere, "does not look like a URL"),
        (in_circles, "cannot be read"),
    ],
)
def test_servers_that_do_not_answer(served: Server, kind: str, answer: Callable[[Handler], None], reason: str) -> None:
    served.hostile = {"a.": answer}
    message = refused(lambda: open_volume(f"{served.url}/a.{kind}"))
    assert served.url in message
    assert re.search(reason, message)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(
    ("answer", "reason"), [(dripping, r"sent \d+ bytes"), (silent, "Timeout"), (leaving, "disconnected")]
)
def test_chunks_that_do_not_come(served: Server, answer: Callable[[Handler], None], reason: str) -> None:
    volume = open_volume(f"{served.url}/a.zarr")
    np.testing.assert_array_equal(volume.read_raw(), np.full(SHAPE, 7))
    served.hostile = {"/2.": answer}
    np.testing.assert_array_equal(volume.read_raw(slice(0, 2)), np.full((2, 8, 8), 7))
    with pytest.raises(VolumeError, match=reason) as caught:
        volume.read_raw()
    assert f"{served.url}/a.zarr" in str(caught.value)


def test_metadata_of_other_file_systems_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    memory = fsspec.filesystem("memory")
    for name in (".zarray", ".zattrs"):
        memory.pipe(f"/vault/a.zarr/{name}", json.dumps(METADATA[name]).encode())
    for z in range(4):
        memory.pipe(f"/vault/a.zarr/{z}.0.0", bytes(64))
    monkeypatch.setattr(remote_store, "METADATA_BYTES", 1000)
    assert open_volume("memory://vault/a.zarr").shape == SHAPE
    memory.pipe("/vault/a.zarr/.zattrs", json.dumps({"long": 1000 * "x"}).encode())
    assert "has more than" in refused(lambda: open_volume("memory://vault/a.zarr"))
    memory.rm("/vault", recursive=True)


@pytest.mark.parametrize(
    "url",
    ["http://[::1/", "http://", "http:///a.zarr", "https://a:99999/b.zarr", "http://a:b/c.n5", "s3://", "s3:///a.zarr"],
)
def test_addresses_that_are_none(url: str) -> None:
    assert "check how it is written" in refused(lambda: open_volume(url))


def test_nothing_is_printed_at_the_end_of_the_program(served: Server) -> None:
    """Where reads of several files run at once, and one fails."""
    served.hostile = {"refused": elsewhere, "leaving": leaving, "half/2.": leaving, "half/3.": dripping}
    urls = [f"{served.url}/{name}.zarr" for name in ("refused", "leaving", "good")]
    urls += [f"{served.url}/half", f"http://127.0.0.1:{closed_port()}/a.zarr"]
    program = (
        "import sys, napari_niiv as niiv\n"
        "for url in sys.argv[1:]:\n"
        "    try: print(niiv.open_volume(url).read_raw().sum())\n"
        "    except niiv.NiivError as error: print('refused')\n"
    )
    arguments = [sys.executable, "-c", program, *urls]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=60)
    assert done.stdout.split() == ["refused", "refused", str(7 * 256), "refused", "refused"]
    assert (done.stderr, done.returncode) == ("", 0)
