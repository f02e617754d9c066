"""Damaged and mislabelled files of every format, on the command line: one sentence and status 2, or a whole result."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import h5py
import imagecodecs
import mrcfile
import nibabel
import numpy as np
import pytest
import tensorstore
import tifffile
import zarr

from napari_niiv.cli import main
from napari_niiv.models.card import Card
from napari_niiv.models.checkpoint import save_model

METADATA = {"zarr.json", ".zarray", ".zgroup", ".zattrs", "attributes.json"}
SIZES = {"PhysicalSizeZ": 2.0, "PhysicalSizeY": 0.5, "PhysicalSizeX": 0.5}


def imagej(path: Path, array: np.ndarray) -> None:
    metadata = {"axes": "ZYX", "spacing": 2.0, "unit": "um"}
    tifffile.imwrite(path, array, imagej=True, resolution=(2, 2), metadata=metadata)


def ome_tiff(path: Path, array: np.ndarray, **options) -> None:
    tifffile.imwrite(path, array, ome=True, metadata={"axes": "ZYX", **SIZES}, **options)


def slices(path: Path, array: np.ndarray, suffix: str) -> None:
    path.mkdir()
    for number, picture in enumerate(array):
        if suffix == "png":
            (path / f"{number:03}.png").write_bytes(imagecodecs.png_encode(picture))
        else:
            tifffile.imwrite(path / f"{number:03}.{suffix}", picture)


def plain_zarr(path: Path, array: np.ndarray, **options) -> None:
    attributes = {"voxel_size": [2.0, 0.5, 0.5], "units": "um"}
    zarr.create_array(path, data=array, chunks=(2, 8, 8), attributes=attributes, **options)


def ome_zarr(path: Path, array: np.ndarray, version: str, **options) -> None:
    group = zarr.create_group(path, zarr_format=2 if version == "0.4" else 3)
    group.create_array("0", data=array, chunks=(2, 8, 8), **options)
    axes = [{"name": n, "type": "space", "unit": "micrometer"} for n in "zyx"]
    transforms = [{"type": "scale", "scale": [2.0, 0.5, 0.5]}]
    images = [{"axes": axes, "datasets": [{"path": "0", "coordinateTransformations": transforms}]}]
    ome = {"version": version, "multiscales": images}
    group.attrs.update(ome if version == "0.4" else {"ome": ome})


def n5(path: Path, array: np.ndarray, compression: str) -> None:
    metadata = {
        "dimensions": list(array.shape[::-1]),
        "blockSize": [8, 8, 2],
        "dataType": "uint8",
        "compression": {"type": compression},
    }
    where = {"driver": "n5", "kvstore": f"{path.as_uri()}/", "metadata": metadata, "create": True}
    tensorstore.open(where).result()[...].write(array.transpose(2, 1, 0)).result()
    attributes = json.loads((path / "attributes.json").read_text())
    (path / "attributes.json").write_text(
        json.dumps({**attributes, "resolution": [0.5, 0.5, 2.0], "units": ["um"] * 3})
    )


def hdf5(path: Path, array: np.ndarray, **options) -> None:
    with h5py.File(path, "w") as file:
        file.create_dataset("data", data=array, **options).attrs["element_size_um"] = [2.0, 0.5, 0.5]


def imaris(path: Path, array: np.ndarray) -> None:
    with h5py.File(path, "w") as file:
        info = file.create_group("DataSetInfo/Image")
        for number, size in enumerate((10, 12, 12)):
            info.attrs[f"ExtMin{number}"] = np.array(["0"], "S1")
            info.attrs[f"ExtMax{number}"] = np.array(list(str(size)), "S1")
        channel = file.create_group("DataSet/ResolutionLevel 0/TimePoint 0/Channel 0")
        channel.create_dataset("Data", data=array, chunks=(2, 8, 8), compression="gzip")
        file.create_group("DataSetInfo/Channel 0")


def mrc(path: Path, array: np.ndarray) -> None:
    with mrcfile.new(path) as file:
        file.set_data(array.astype(np.uint16))
        file.voxel_size = (0.5, 0.5, 2.0)


def nifti(path: Path, array: np.ndarray) -> None:
    nibabel.save(nibabel.Nifti1Image(array.transpose(2, 1, 0), np.diag([0.5, 0.5, 2, 1])), path)


WRITERS: dict[str, Callable[[Path, np.ndarray], None]] = {
    "imagej.tif": imagej,
    "plain.ome.tif": ome_tiff,
    "tiles.ome.tif": lambda p, a: ome_tiff(p, a, tile=(16, 16), compression="lzw"),
    "big.ome.tif": lambda p, a: ome_tiff(p, a, bigtiff=True, compression="zlib"),
    "slices_tif": lambda p, a: slices(p, a, "tif"),
    "slices_png": lambda p, a: slices(p, a, "png"),
    "v2.zarr": lambda p, a: plain_zarr(p, a, zarr_format=2),
    "v3.zarr": lambda p, a: plain_zarr(p, a, zarr_format=3),
    "blosc.zarr": lambda p, a: plain_zarr(p, a, zarr_format=3, compressors=zarr.codecs.BloscCodec(cname="lz4")),
    "ome4.zarr": lambda p, a: ome_zarr(p, a, "0.4"),
    "ome5.zarr": lambda p, a: ome_zarr(p, a, "0.5", shards=(4, 16, 16)),
    "gzip.n5": lambda p, a: n5(p, a, "gzip"),
    "plain.h5": hdf5,
    "gzip.h5": lambda p, a: hdf5(p, a, chunks=(2, 8, 8), compression="gzip"),
    "imaris.ims": imaris,
    "a.mrc": mrc,
    "a.nii": nifti,
    "a.nii.gz": nifti,
    "a.npy": np.save,
}


@pytest.fixture(scope="module")
def array(texture) -> np.ndarray:
    return (200 * texture((6, 24, 20))).astype(np.uint8)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory, small_model) -> Path:
    model, path = small_model(), tmp_path_factory.mktemp("model") / "tiny.safetensors"
    save_model(model, Card(architecture=model.architecture), path)
    return path


@pytest.fixture
def outcomes(tmp_path: Path, checkpoint: Path, capfd) -> Callable[..., list[int]]:
    """Runs `info` and `reconstruct`; checks what they print, such as a note, and leave; their statuses."""

    def call(path: Path, note: str = "") -> list[int]:
        target = tmp_path / "result.zarr"
        shutil.rmtree(target, ignore_errors=True)
        before = set(tmp_path.iterdir())
        more = [str(target), "--checkpoint", str(checkpoint), "--anisotropy", "4", "--device", "cpu"]
        statuses, told = [], []
        for command in (["info", str(path)], ["reconstruct", str(path), *more]):
            status = main(command)
            err = capfd.readouterr().err
            err = "".join(line for line in err.splitlines(True) if not line.startswith("PNG warning"))  # libpng's
            if status:
                assert status == 2
                assert err.startswith("napari-niiv: "), err
                assert (err.count("\n"), err[-1]) == (1, "\n"), err
                assert len(err) < 500
                assert set(tmp_path.iterdir()) == before
            else:
                assert err in ("", f"napari-niiv: {note}\n"), err
                told.append(bool(err))
            statuses.append(status)
        assert any(told) is bool(note)
        return statuses

    return call


def parts(path: Path) -> Iterator[Path]:
    """The file, or of a folder its metadata and some of what else is in it."""
    if path.is_file():
        yield path
        return
    files = sorted(file for file in path.rglob("*") if file.is_file())
    data = [file for file in files if file.name not in METADATA]
    yield from (file for file in files if file.name in METADATA)
    yield from (data[0], data[-1])


@pytest.mark.parametrize("name", WRITERS)
def test_whole_files(tmp_path: Path, array, outcomes, name: str) -> None:
    WRITERS[name](tmp_path / name, array)
    assert outcomes(tmp_path / name) == [0, 0]


@pytest.mark.parametrize("share", [0, 0.1, 0.5, 0.9])
@pytest.mark.parametrize("name", WRITERS)
def test_truncated_files(tmp_path: Path, array, outcomes, name: str, share: float) -> None:
    WRITERS[name](tmp_path / name, array)
    for part in list(parts(tmp_path / name)):
        whole = part.read_bytes()
        part.write_bytes(whole[: int(share * len(whole))])
        assert outcomes(tmp_path / name)[1] == 2, part
        part.write_bytes(whole)


@pytest.mark.parametrize("name", WRITERS)
def test_bytes_of_headers_that_are_wrong(tmp_path: Path, array, outcomes, name: str) -> None:
    """Some make no difference; none makes a traceback, or fills the memory."""
    WRITERS[name](tmp_path / name, array)
    chance = random.Random(name)
    for part in list(parts(tmp_path / name)):
        whole = part.read_bytes()
        head = min(len(whole), 2048 if part.suffix in (".h5", ".ims") else 400)
        for changes in (1, 1, 1, 2, 2, 8):
            content = bytearray(whole)
            for _ in range(changes):
                content[chance.randrange(head)] = chance.randrange(256)
            part.write_bytes(content)
            outcomes(tmp_path / name)
        part.write_bytes(whole)


@pytest.mark.parametrize("content", ["nothing", "text", "zeros", "png", "tiff", "hdf5", "npy", "json"])
@pytest.mark.parametrize(
    "suffix",
    [".tif", ".lsm", ".h5", ".ims", ".ilp", ".mrc", ".rec", ".nii", ".nii.gz", ".npy", ".zarr", ".n5", ""],
)
def test_files_that_are_something_else(tmp_path: Path, array, outcomes, suffix: str, content: str) -> None:
    right = {"tiff": (".tif", ".lsm"), "hdf5": (".h5", ".ilp", ".ims"), "npy": (".npy",)}
    if suffix in right.get(content, ()):
        pytest.skip("that is what it is")
    path = tmp_path / f"wrong{suffix}"
    if content in ("tiff", "hdf5", "npy"):
        {"tiff": imagej, "hdf5": hdf5, "npy": np.save}[content](tmp_path / f"a.{content}", array)
        path.write_bytes(next(tmp_path.glob(f"a.{content}*")).read_bytes())
    else:
        made = {"nothing": b"", "text": b"hello world\n" * 40, "zeros": bytes(4096), "json": b"{}"}
        path.write_bytes(made.get(content) if content in made else imagecodecs.png_encode(array[0]))
    assert outcomes(path) == [2, 2]
    if suffix in (".zarr", ".n5"):
        content = path.read_bytes()
        path.unlink()
        path.mkdir()
        for name in ("zarr.json", ".zgroup", "attributes.json"):
            (path / name).write_bytes(content)
            assert outcomes(path) == [2, 2]
            (path / name).unlink()


def test_a_chunk_that_is_missing_is_fill_value(tmp_path: Path, array, outcomes) -> None:
    """By the rules of the format; a shard that is cut off is not."""
    ome_zarr(tmp_path / "a.zarr", array, "0.5", shards=(4, 16, 16))
    shard = tmp_path / "a.zarr" / "0" / "c" / "0" / "0" / "0"
    whole = shard.read_bytes()
    shard.unlink()
    assert outcomes(tmp_path / "a.zarr", "a: 1 of its 8 chunks is missing and shown as 0.") == [0, 0]
    shard.write_bytes(whole[:-3])
    assert outcomes(tmp_path / "a.zarr") == [0, 2]
