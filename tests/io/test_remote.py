"""Volumes behind URLs: a local web server, a local bucket, fsspec's memory."""

from __future__ import annotations

import functools
import http.server
import pickle
import shutil
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import zarr

from napari_niiv.errors import DatasetChoice, VolumeError
from napari_niiv.io import remote as module
from napari_niiv.io.open import open_volume, read_spacing
from napari_niiv.io.spacing import Spacing

pytest.importorskip("aiohttp")
fsspec = pytest.importorskip("fsspec")

ARRAY = np.random.default_rng(0).integers(1, 200, (4, 32, 48)).astype("u2")


class Handler(http.server.SimpleHTTPRequestHandler):
    """Serves files and no lists; some paths are refused; notes what is asked for."""

    disable_nagle_algorithm = True  # else a body waits 40 ms for the acknowledgement of its header

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        for part, status in self.server.refused.items():
            if part in self.path:
                self.send_error(status)
                return
        super().do_GET()

    def list_directory(self, path):
        self.send_error(404)

    def log_message(self, *args) -> None:
        pass


@pytest.fixture
def served(tmp_path: Path) -> Iterator[http.server.ThreadingHTTPServer]:
    handler = functools.partial(Handler, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.asked, server.refused = [], {"secret": 403, "broken": 500}
        server.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=functools.partial(server.serve_forever, poll_interval=0.01))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def write(path: Path | str, zarr_format: int = 2, **options) -> None:
    """An OME-Zarr of two levels."""
    group = zarr.open_group(path, mode="w", zarr_format=zarr_format, **options)
    datasets = []
    for number, step in enumerate((1, 2)):
        group.create_array(str(number), data=ARRAY[:, ::step, ::step], chunks=(1, 16, 16))
        factors = [4.0, 0.5 * step, 0.5 * step]
        datasets.append({"path": str(number), "coordinateTransformations": [{"type": "scale", "scale": factors}]})
    axes = [{"name": a, "type": "space", "unit": "micrometer"} for a in "zyx"]
    ome = {"multiscales": [{"version": "0.4", "axes": axes, "datasets": datasets}]}
    group.attrs.update(ome if zarr_format == 2 else {"ome": {"version": "0.5", **ome}})


def check(url: str) -> None:
    volume = open_volume(url)
    assert (volume.voxel_size, volume.unit, volume.name) == ((4.0, 0.5, 0.5), "micrometer", "a")
    assert volume.provenance.path == url
    assert [(level.axial, level.lateral) for level in volume.levels()] == [(1, 1), (1, 2)]
    np.testing.assert_array_equal(volume.read_raw(), ARRAY)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(volume)).read_raw(slice(1, 3)), ARRAY[1:3])
    assert read_spacing(url) == Spacing((4.0, 0.5, 0.5), "micrometer")


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_http(tmp_path: Path, served, zarr_format: int) -> None:
    write(tmp_path / "a.zarr", zarr_format)
    check(f"{served.url}/a.zarr")
    assert open_volume(f"{served.url}/a.zarr/", dataset="1").voxel_size == (4, 1, 1)
    assert open_volume(f"{served.url}/a.zarr/1").voxel_size == (4, 1, 1)


def test_only_the_chunks_that_are_needed_are_asked_for(tmp_path: Path, served) -> None:
    write(tmp_path / "a.zarr")
    volume = open_volume(f"{served.url}/a.zarr")
    chunks = [path for path in served.asked if not path.rpartition("/")[2].startswith((".z", "zarr.json"))]
    assert len(chunks) == 16 + 8  # whether they are there: some of 24, all of 8 of the other level
    served.asked.clear()
    volume.read_raw(slice(2, 3), slice(0, 16), slice(16, 40))
    assert sorted(served.asked) == ["/a.zarr/0/2.0.1", "/a.zarr/0/2.0.2"]


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("none.zarr", "holds no zarr array or group"),
        ("secret.zarr", "403"),
        ("broken.zarr", "500"),
    ],
)
def test_what_a_server_refuses(served, path: str, message: str) -> None:
    with pytest.raises(VolumeError, match=message) as caught:
        open_volume(f"{served.url}/{path}")
    assert "\n" not in str(caught.value)
    assert path in str(caught.value)


def test_a_server_that_is_not_there() -> None:
    with pytest.raises(VolumeError, match="check the address, the network and your access") as caught:
        open_volume("http://127.0.0.1:9/a.zarr")
    assert "\n" not in str(caught.value)


def test_a_server_that_goes(tmp_path: Path, served) -> None:
    write(tmp_path / "a.zarr")
    volume = open_volume(f"{served.url}/a.zarr")
    (tmp_path / "a.zarr").rename(tmp_path / "b.zarr")
    assert not volume.read_raw(slice(0, 1)).any()  # chunks that are absent are the fill value
    write(tmp_path / "broken.zarr")
    served.shutdown()
    served.server_close()
    with pytest.raises(VolumeError, match="cannot be read") as caught:
        volume.read_raw(slice(1, 2))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("status", [403, 500])
def test_a_chunk_that_is_refused(tmp_path: Path, served, status: int) -> None:
    write(tmp_path / "a.zarr")
    volume = open_volume(f"{served.url}/a.zarr")
    served.refused["/0/2."] = status
    np.testing.assert_array_equal(volume.read_raw(slice(0, 2)), ARRAY[:2])
    with pytest.raises(VolumeError, match=f"cannot be read.*{status}") as caught:
        volume.read_raw(slice(1, 3))
    assert "\n" not in str(caught.value)


def test_chunks_that_are_missing_are_told(tmp_path: Path, served) -> None:
    write(tmp_path / "a.zarr")
    for path in (tmp_path / "a.zarr" / "0").glob("[123].*"):
        path.unlink()
    volume = open_volume(f"{served.url}/a.zarr")
    assert volume.provenance.note == "about 75 % of its 24 chunks are missing and shown as 0"
    for path in (tmp_path / "a.zarr" / "0").glob("0.*"):
        path.unlink()
    volume = open_volume(f"{served.url}/a.zarr")
    note = "none of 16 of its 24 chunks is there; those that are missing are shown as 0"
    assert volume.provenance.note == note
    for path in (tmp_path / "a.zarr" / "1").glob("*.*.*"):
        path.unlink()
    assert len(open_volume(f"{served.url}/a.zarr").levels()) == 1  # a level of which nothing is there is left out
    zarr.create_array(tmp_path / "b.zarr", data=ARRAY, chunks=(4, 16, 16), zarr_format=2)
    for path in (tmp_path / "b.zarr").glob("*.*.*"):
        path.unlink()
    with pytest.raises(VolumeError, match="holds none of its chunks"):
        open_volume(f"{served.url}/b.zarr")


def test_groups_whose_arrays_a_server_does_not_tell(tmp_path: Path, served) -> None:
    group = zarr.open_group(tmp_path / "g.zarr", mode="w", zarr_format=2)
    group.create_array("raw", data=ARRAY)
    with pytest.raises(VolumeError, match="dataset") as caught:
        open_volume(f"{served.url}/g.zarr")
    assert "\n" not in str(caught.value)
    assert open_volume(f"{served.url}/g.zarr", dataset="raw").shape == ARRAY.shape


def test_n5(tmp_path: Path, served) -> None:
    tensorstore = pytest.importorskip("tensorstore")
    kvstore = (tmp_path / "a.n5/raw").as_uri()
    metadata = {"blockSize": [16, 16, 2], "compression": {"type": "gzip"}}
    store = tensorstore.open(
        {"driver": "n5", "kvstore": kvstore, "metadata": metadata},
        create=True,
        dtype="uint16",
        shape=(48, 32, 4),
    )
    store.result().write(ARRAY.T).result()
    with pytest.raises(VolumeError, match="does not tell which datasets"):
        open_volume(f"{served.url}/a.n5")
    volume = open_volume(f"{served.url}/a.n5", dataset="raw")
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(volume)).read_raw(), ARRAY)
    with pytest.raises(VolumeError, match="no dataset 'none'"):
        open_volume(f"{served.url}/a.n5", dataset="none")
    assert not volume.provenance.note
    shutil.rmtree(tmp_path / "a.n5/raw/1")
    volume = open_volume(f"{served.url}/a.n5", dataset="raw")
    assert volume.provenance.note == "4 of its 12 chunks are missing and shown as 0"


@pytest.mark.parametrize("name", ["a.tif", "a.h5", "a.nii.gz", "a.mrc"])
def test_other_formats_are_to_be_downloaded(name: str) -> None:
    with pytest.raises(VolumeError, match="download it, then open the file"):
        open_volume(f"https://example.org/{name}")


def test_the_messages_name_the_extra(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "aiohttp", None)
    with pytest.raises(VolumeError, match=r'pip install "napari-niiv\[remote\]"'):
        open_volume("http://127.0.0.1:9/a.zarr")
    monkeypatch.setitem(sys.modules, "s3fs", None)
    with pytest.raises(VolumeError, match=r'pip install "napari-niiv\[remote\]"'):
        open_volume("s3://bucket/a.zarr")
    monkeypatch.setitem(sys.modules, "gcsfs", None)
    with pytest.raises(VolumeError, match="pip install gcsfs"):
        open_volume("gs://bucket/a.zarr")
    with pytest.raises(VolumeError, match="quack"):
        open_volume("quack://pond/a.zarr")


@pytest.fixture
def bucket(tmp_path: Path, monkeypatch) -> Iterator[str]:
    server = pytest.importorskip("moto.server")
    pytest.importorskip("s3fs")
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    running = server.ThreadedMotoServer(port=0, verbose=False)
    running.start()
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://{}:{}".format(*running.get_host_and_port()))
    import s3fs

    s3fs.S3FileSystem.clear_instance_cache()
    file_system = s3fs.S3FileSystem(anon=False)
    file_system.mkdir("volumes", acl="public-read")
    yield "volumes"
    s3fs.S3FileSystem.clear_instance_cache()
    running.stop()


def test_s3(bucket: str, tmp_path: Path, monkeypatch) -> None:
    import s3fs

    write(tmp_path / "a.zarr", 3)
    s3fs.S3FileSystem(anon=False).put(str(tmp_path / "a.zarr"), f"{bucket}/a.zarr", recursive=True)
    check(f"s3://{bucket}/a.zarr")
    with pytest.raises(VolumeError) as caught:
        open_volume(f"s3://{bucket}/none.zarr")
    assert "\n" not in str(caught.value)
    assert module.storage_options("s3://x") == {"anon": False}
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    assert module.storage_options("s3://x") == {"anon": True}


def test_what_else_fsspec_knows(tmp_path: Path) -> None:
    write(tmp_path / "a.zarr")
    memory = fsspec.filesystem("memory")
    memory.put(str(tmp_path / "a.zarr"), "/vault/a.zarr", recursive=True)
    volume = open_volume("memory://vault/a.zarr")
    np.testing.assert_array_equal(volume.read_raw(), ARRAY)
    memory.rm("/vault", recursive=True)
    check_local = (tmp_path / "a.zarr").as_uri()
    assert open_volume(check_local).voxel_size == (4.0, 0.5, 0.5)
    shutil.rmtree(tmp_path / "a.zarr")
    with pytest.raises(VolumeError, match="There is no file"):
        open_volume(check_local)


def test_images_of_bioformats2raw(tmp_path: Path, served) -> None:
    zarr.open_group(tmp_path / "b.zarr", mode="w", zarr_format=2, attributes={"bioformats2raw.layout": 3})
    ome = zarr.open_group(tmp_path / "b.zarr/OME", mode="w", zarr_format=2)
    ome.attrs["series"] = ["0", "1"]
    for name in "01":
        write(tmp_path / "b.zarr" / name)
    with pytest.raises(DatasetChoice, match=r"2 images: 0 \(4 × 32 × 48 uint16, 4 × 0.5 × 0.5 µm\), 1 \("):
        open_volume(f"{served.url}/b.zarr")
    assert open_volume(f"{served.url}/b.zarr", dataset="1").voxel_size == (4, 0.5, 0.5)
    shutil.rmtree(tmp_path / "b.zarr/OME")  # without which they are numbered
    for place in (f"{served.url}/b.zarr", tmp_path / "b.zarr"):
        with pytest.raises(DatasetChoice, match=r"2 images: 0 \(4 × 32 × 48 uint16, 4 × 0.5 × 0.5 µm\), 1 \("):
            open_volume(place)
