"""Corrections of files that last from one session to the next."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from subprocess import PIPE

import numpy as np
import pytest

from napari_niiv.errors import OutputError, VolumeError
from napari_niiv.io import remembered as module
from napari_niiv.io.remembered import (
    Correction,
    open_remembered,
    recall,
    recall_checkpoint,
    recall_empty,
    remember,
    remember_empty,
)

SIZE = Correction((4.0, 0.5, 0.25), "micrometer")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    np.save(tmp_path / "a.npy", np.arange(60, dtype="u1").reshape(3, 4, 5))
    return tmp_path / "a.npy"


def test_what_was_said_last_is_recalled(file: Path) -> None:
    assert recall(file) is None
    remember(file, SIZE)
    assert recall(str(file)) == SIZE
    correction = Correction((1.0, 1.0, 1.0), "pixel", "xyz", silent=True)
    remember(file, correction)
    assert recall(file) == correction
    assert recall(file, "raw") is None
    remember(file, SIZE, "/raw/")
    assert (recall(file, "raw"), recall(file)) == (SIZE, correction)


def test_relative_and_absolute_paths_and_file_urls_are_one(file: Path, monkeypatch) -> None:
    monkeypatch.chdir(file.parent)
    remember("a.npy", SIZE)
    assert recall(file) == recall(f"file://{file}") == SIZE


@pytest.mark.parametrize("change", ["size", "time"])
def test_another_file_of_that_name_is_another_file(file: Path, change: str) -> None:
    remember(file, SIZE)
    state = file.stat()
    if change == "size":
        file.write_bytes(file.read_bytes() + b"x")
        os.utime(file, ns=(state.st_atime_ns, state.st_mtime_ns))
    else:
        os.utime(file, ns=(state.st_atime_ns, state.st_mtime_ns + 1_000_000))
    assert recall(file) is None
    remember(file, SIZE)
    assert recall(file) == SIZE


@pytest.mark.parametrize("path", ["https://host/a.zarr", "folder"])
def test_folders_and_urls_count_by_their_name(tmp_path: Path, monkeypatch, path: str) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    remember(path, SIZE)
    (tmp_path / "folder" / "more").touch()
    assert recall(path + "/") == SIZE


DAMAGED = [b"", b"{", b"[]", b'{"volumes": []}', b"\xff\xfe", b"[" * 100_000, b'{"version": 1}']


@pytest.mark.parametrize("content", DAMAGED)
def test_a_damaged_store_is_set_aside(file: Path, state_folder: Path, content: bytes) -> None:
    state_folder.mkdir(parents=True)
    (state_folder / "volumes.json").write_bytes(content)
    assert recall(file) is None
    assert os.listdir(state_folder) == ["volumes.json"]  # who only looks has no lock, and moves nothing
    remember(file, SIZE)
    assert (state_folder / "volumes.json.damaged").read_bytes() == content
    assert recall(file) == SIZE


def test_a_store_that_cannot_be_read_just_now_is_not_written_over(file: Path, state_folder: Path, monkeypatch) -> None:
    remember(file, SIZE)

    def busy(path: Path) -> bytes:
        raise PermissionError(13, "in use")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", busy)
        assert recall(file) is None
        with pytest.raises(OutputError, match="in use"):
            remember("https://host/a.zarr", SIZE)
    assert recall(file) == SIZE


def test_a_store_larger_than_it_can_be_is_set_aside(file: Path, state_folder: Path) -> None:
    state_folder.mkdir(parents=True)
    with (state_folder / "volumes.json").open("wb") as store:
        store.truncate(1 << 40)
    assert recall(file) is None
    remember(file, SIZE)
    assert recall(file) == SIZE


@pytest.mark.parametrize(
    "change",
    [
        {"voxel_size": [0, 1, 1]},
        {"voxel_size": [1, 1]},
        {"voxel_size": "4"},
        {"voxel_size": [1, 1, float("nan")]},
        {"voxel_size": [1, None, 1]},
        {"voxel_size": [10**400, 1, 1]},
        {"unit": None},
        {"unit": "x" * 10_000},
        {"axes": 3},
    ],
    ids=str,
)
def test_an_entry_that_makes_no_sense_is_none(file: Path, state_folder: Path, change) -> None:
    remember(file, SIZE)
    stored = json.loads((state_folder / "volumes.json").read_text())
    next(iter(stored["volumes"].values())).update(change)
    (state_folder / "volumes.json").write_text(json.dumps(stored))
    assert recall(file) is None


def test_the_oldest_are_forgotten(file: Path, monkeypatch, state_folder: Path) -> None:
    monkeypatch.setattr(module, "_MOST", 3)
    for name in ("a", "b", "c", "a", "d"):
        remember(f"https://host/{name}.zarr", SIZE)
    assert [recall(f"https://host/{name}.zarr") is not None for name in "abcd"] == [True, False, True, True]
    names = {path.name for path in state_folder.iterdir()} - {"volumes.json.lock"}
    assert names == {"volumes.json"}  # nothing half-written stays


def test_all_that_is_remembered_at_once_is_kept() -> None:
    urls = [f"https://host/{n}.zarr" for n in range(24)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda url: remember(url, SIZE), urls))
    assert [recall(url) for url in urls] == [SIZE] * len(urls)


WRITER = """
import sys
from napari_niiv.io.remembered import Correction, recall, remember, remember_checkpoint
sys.stdin.readline()
for number in range(12):
    remember(f"https://host/{sys.argv[1]}/{number}.zarr", Correction((4.0, 0.5, 0.25), "micrometer"))
    remember_checkpoint(f"https://host/{sys.argv[1]}/{number}.zarr", "em")
    recall("https://host/none.zarr")
"""


def test_what_processes_remember_at_once_is_all_kept(state_folder: Path) -> None:
    """Also while the store that they find is damaged."""
    state_folder.mkdir(parents=True)
    (state_folder / "volumes.json").write_text("{")
    command = [sys.executable, "-c", WRITER]
    processes = [subprocess.Popen([*command, str(n)], stdin=PIPE) for n in range(4)]
    for process in processes:
        process.stdin.write(b"\n")
        process.stdin.close()
    assert [process.wait() for process in processes] == [0] * len(processes)
    urls = [f"https://host/{process}/{number}.zarr" for process in range(4) for number in range(12)]
    assert [(recall(url), recall_checkpoint(url)) for url in urls] == [(SIZE, "em")] * len(urls)


@pytest.mark.skipif(os.name == "nt", reason="flock")
def test_where_there_are_no_locks_it_is_remembered_without(file: Path, state_folder: Path, monkeypatch) -> None:
    import fcntl

    def flock(handle: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", flock)
    remember(file, SIZE)
    assert recall(file) == SIZE


def test_it_waits_for_another_process_but_not_for_ever(file: Path, state_folder: Path, monkeypatch) -> None:
    monkeypatch.setattr(module, "_LOCK_TIMEOUT", 0.0)
    state_folder.mkdir(parents=True)
    code = (
        "import sys; from filelock import FileLock\n"
        f"with FileLock({str(state_folder / 'volumes.json.lock')!r}): print(flush=True); sys.stdin.read()"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdin=PIPE, stdout=PIPE) as other:
        other.stdout.readline()
        with pytest.raises(OutputError, match="cannot be remembered"):
            remember(file, SIZE)
        assert recall(file) is None
        other.stdin.close()
    remember(file, SIZE)
    assert recall(file) == SIZE


def test_where_nothing_can_be_written_is_one_sentence(file: Path, tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "taken").touch()
    monkeypatch.setenv("NAPARI_NIIV_STATE", str(tmp_path / "taken"))
    with pytest.raises(OutputError, match="NAPARI_NIIV_STATE") as caught:
        remember(file, SIZE)
    assert "\n" not in str(caught.value)
    assert recall(file) is None


def test_the_folder_is_the_systems(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.delenv("NAPARI_NIIV_STATE")
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "x"))
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "x"))
    folder = module.state_folder()
    assert folder.name == "napari-niiv"
    assert folder.parent in (tmp_path / "x", tmp_path / "Library" / "Application Support")
    monkeypatch.setattr(sys, "platform", "darwin")
    if os.name != "nt":
        assert module.state_folder() == tmp_path / "Library" / "Application Support" / "napari-niiv"


def test_a_volume_opens_as_it_was_corrected(file: Path) -> None:
    assert not open_remembered(file).provenance.remembered
    assert open_remembered(file).provenance.spacing_problem
    remember(file, Correction((4.0, 2.0, 1.0), "nanometer", "xyz"))
    volume = open_remembered(file)
    assert (volume.voxel_size, volume.unit, volume.shape) == ((4, 2, 1), "nanometer", (5, 4, 3))
    np.testing.assert_array_equal(volume.array, np.load(file).T)
    assert not volume.provenance.spacing_problem
    note = volume.provenance.remembered
    assert note.startswith("voxel size 4 × 2 × 1 nm (z × y × x) and axes XYZ")


def test_what_is_given_wins(file: Path) -> None:
    remember(file, Correction((4.0, 2.0, 1.0), "nanometer", "xyz"))
    volume = open_remembered(file, voxel_size=(7.0, 1.0, 1.0))
    assert (volume.voxel_size, volume.unit, volume.shape) == ((7, 1, 1), "pixel", (5, 4, 3))
    assert "voxel size" not in volume.provenance.remembered
    volume = open_remembered(file, axes="yzx")  # sizes along axes of other names say nothing
    assert (volume.voxel_size, volume.shape) == ((1, 1, 1), (4, 3, 5))
    assert not volume.provenance.remembered
    volume = open_remembered(file, axes="XYZ")
    assert (volume.voxel_size, volume.shape) == ((4, 2, 1), (5, 4, 3))


def test_a_correction_that_no_longer_fits_is_left_out(tmp_path: Path) -> None:
    """A folder may hold something else by now."""
    import zarr

    path = tmp_path / "a.zarr"
    zarr.create_array(path, data=np.ones((3, 4, 5), "u1"))
    remember(path, Correction(None, "pixel", "czyx"))
    volume = open_remembered(path)
    assert volume.axes == "zyx"
    assert not volume.provenance.remembered
    with pytest.raises(VolumeError, match="There is no file"):
        open_remembered(tmp_path / "none.zarr")


@pytest.mark.parametrize(
    ("shape", "axes", "stored"),
    [
        ((3, 4, 5), None, "zyx"),
        ((1, 2, 3, 4, 5), None, "?czyx"),
        ((3, 1, 4, 5), "zcyx", "z?yx"),
        ((1, 4, 5), None, "zyx"),
        ((2, 3, 4, 5), "qzyx", "tzyx"),
        ((4, 5, 3), "yxi", "yxz"),
    ],
)
def test_stored_axes_open_the_same_again(tmp_path: Path, shape, axes, stored: str) -> None:
    np.save(tmp_path / "a.npy", np.arange(np.prod(shape)).reshape(shape))
    volume = module.open_volume(tmp_path / "a.npy", axes=axes)
    assert volume.provenance.stored_axes == stored
    again = module.open_volume(tmp_path / "a.npy", axes=stored)
    assert again.axes == volume.axes
    np.testing.assert_array_equal(again.array, volume.array)


# empty voxels


def test_empty_voxels_are_remembered_beside_the_rest(file: Path) -> None:
    assert recall_empty(file) is None
    remember(file, SIZE)
    remember_empty(file, (0.0, 59.0))
    assert (recall_empty(file), recall(file)) == ((0.0, 59.0), SIZE)
    volume = open_remembered(file)
    assert volume.empty == (0.0, 59.0)
    assert volume.provenance.remembered.endswith("and empty voxels 0, 59 as you have set it for this file")
    assert open_remembered(file, empty=()).empty == ()
    remember_empty(file, ())
    assert open_remembered(file).empty == ()
    remember_empty(file, None)
    assert open_remembered(file).empty is None
