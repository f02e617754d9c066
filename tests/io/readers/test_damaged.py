"""Damaged and mislabelled files of every format, on the command line: one sentence and status 2, or a whole result."""

from __future__ import annotations

import functools
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import imagecodecs
import numpy as np
import pytest

from benchmarks.sample_files import METADATA, WRITERS, hdf5, imagej, ome_zarr
from napari_niiv.cli import commands, main
from napari_niiv.models.card import Card
from napari_niiv.models.checkpoint import save_model


@pytest.fixture(autouse=True, scope="module")
def _options_are_built_once() -> Iterator[None]:
    """A tenth of the time of more than a thousand commands."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(commands, "parser", functools.cache(commands.parser))
        yield


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
                told.append(err == f"napari-niiv: {note}\n")
                # or a note of what a header says
                assert not err or told[-1] or (": its " in err and err.count("\n") == 1), err
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
