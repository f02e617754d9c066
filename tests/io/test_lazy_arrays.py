"""Lazy arrays index as NumPy's do, read no more than is asked for, and travel by the name of their file."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import dask.array as da
import numpy as np
import pytest

from napari_niiv.io.lazy_arrays import FileArray, Rearranged, one_of, rearranged
from napari_niiv.io.mapped_arrays import Mapped, map_file
from napari_niiv.io.open import open_volume

VALUES = np.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5)
KEYS = [
    ...,
    0,
    -1,
    (slice(None), 2),
    (1, slice(1, None), slice(None, None, 2), 4),
    (..., 0),
    (0, ..., slice(-3, -1)),
    (slice(1, 1),),
    (slice(5, 9),),
    (np.int64(1), slice(0, 100)),
    (1, 2, 3, 4),
]


class Recorder:
    """Remembers what is read."""

    def __init__(self, values: np.ndarray) -> None:
        self.values, self.shape, self.dtype, self.ndim = values, values.shape, values.dtype, values.ndim
        self.chunks = (1, 1, 2, 5)
        self.read = 0

    def __getitem__(self, key):
        part = self.values[key]
        self.read += part.size
        return part


def load(path: str) -> np.ndarray:
    return np.load(path)


def test_a_file_that_is_opened_while_it_is_being_written(tmp_path: Path) -> None:
    """What is half there is neither read nor kept."""
    np.save(tmp_path / "a.npy", VALUES[:1])
    lazy = FileArray(load, (str(tmp_path / "a.npy"),), VALUES.shape, VALUES.dtype)
    with pytest.raises(ValueError, match=r"its shape is \(1, 3, 4, 5\) by now, no longer \(2, 3, 4, 5\)"):
        lazy[0]
    np.save(tmp_path / "a.npy", VALUES)
    np.testing.assert_array_equal(lazy, VALUES)


@pytest.mark.parametrize("key", KEYS, ids=str)
def test_indexing(tmp_path: Path, key) -> None:
    np.save(tmp_path / "a.npy", VALUES)
    lazy = FileArray(load, (str(tmp_path / "a.npy"),), VALUES.shape, VALUES.dtype)
    np.testing.assert_array_equal(lazy[key], VALUES[key])
    turned = Rearranged(lazy, (3, 1, 0, 2))
    if not isinstance(key, tuple) or len(key) < 4:
        np.testing.assert_array_equal(turned[key], VALUES.transpose(3, 1, 0, 2)[key])
    assert (lazy.ndim, lazy.size, lazy.nbytes, len(lazy)) == (4, 120, 960, 2)


@pytest.mark.parametrize("key", [2, -3, (0, 0, 0, 0, 0), slice(None, None, -1)], ids=str)
def test_indices_that_are_out_of_range(key) -> None:
    with pytest.raises(IndexError):
        Rearranged(VALUES, (0, 1, 2, 3))[key]


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 2, 1, 0), (1, 2, 3), (2, 0)], ids=str)
@pytest.mark.parametrize("wrap", [np.asarray, Recorder, da.from_array], ids=["numpy", "lazy", "dask"])
def test_axes_in_another_order(order, wrap) -> None:
    source = wrap(VALUES)
    turned = rearranged(source, order)
    rest = tuple(slice(None) if i in order else 0 for i in range(4))
    kept = sorted(order)
    expected = VALUES[rest].transpose([kept.index(i) for i in order])
    assert turned.shape == expected.shape
    if wrap is Recorder:
        assert source.read == 0
        assert tuple(turned.chunks) == tuple(source.chunks[i] for i in order)
    np.testing.assert_array_equal(turned[:], expected)
    np.testing.assert_array_equal(turned[1:, :2], expected[1:, :2])
    np.testing.assert_array_equal(turned[-1], expected[-1])


def test_only_what_is_asked_for_is_read() -> None:
    source = Recorder(VALUES)
    np.testing.assert_array_equal(rearranged(source, (3, 2, 1, 0))[1:3, 0, :, 1], VALUES[1, :, 0, 1:3].T)
    assert source.read == 6


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_one_place_of_an_axis(axis: int) -> None:
    recorder = Recorder(VALUES)
    for source in (VALUES, da.from_array(VALUES), recorder):
        part = one_of(source, axis, 1)
        assert recorder.read == 0 or source is not recorder
        np.testing.assert_array_equal(part[1:, ..., :3], VALUES.take(1, axis)[1:, ..., :3])
    assert recorder.read < VALUES.size / 2


def test_a_file_is_opened_when_it_is_read_and_travels_by_name(tmp_path: Path) -> None:
    path = str(tmp_path / "a.npy")
    lazy = FileArray(load, (path,), VALUES.shape, "f4", (1, 3, 4, 5))
    moved = pickle.loads(pickle.dumps(lazy))
    np.save(path, VALUES)
    assert moved[1].dtype == np.float32
    np.testing.assert_array_equal(moved[1], VALUES[1])
    again = pickle.dumps(moved)  # now with an open file
    assert len(again) < 1000
    np.testing.assert_array_equal(pickle.loads(again)[...], VALUES)


def test_a_forked_process_opens_it_anew(tmp_path: Path, monkeypatch) -> None:
    np.save(tmp_path / "a.npy", VALUES)
    lazy = FileArray(load, (str(tmp_path / "a.npy"),), VALUES.shape, VALUES.dtype)
    lazy[0]
    np.save(tmp_path / "a.npy", VALUES + 1)
    np.testing.assert_array_equal(lazy[0], VALUES[0])
    here = os.getpid()
    monkeypatch.setattr(os, "getpid", lambda: here + 1)
    np.testing.assert_array_equal(lazy[0], VALUES[0] + 1)


@pytest.mark.parametrize("dtype", ["u1", ">u2", "f8"])
@pytest.mark.parametrize(
    "view",
    [
        lambda a: a,
        lambda a: a[1:],
        lambda a: a.transpose(2, 0, 1, 3),
        lambda a: a[1, ::2, ::-1],
        lambda a: a[0, 0, 0, 1:1],
    ],
)
def test_a_mapped_array_travels_by_name(tmp_path: Path, dtype: str, view) -> None:
    values = VALUES.astype(dtype)
    (tmp_path / "a.raw").write_bytes(bytes(70_001) + values.tobytes())
    part = view(map_file(tmp_path / "a.raw", dtype, 70_001, VALUES.shape))
    packed = pickle.dumps(part)
    assert len(packed) < 500
    moved = pickle.loads(packed)
    np.testing.assert_array_equal(moved, view(values))
    if moved.size:
        assert moved.dtype == values.dtype
        assert isinstance(moved, Mapped)
        np.testing.assert_array_equal(pickle.loads(pickle.dumps(moved[..., :1])), view(values)[..., :1])


def test_results_of_a_mapped_array_travel_by_value(tmp_path: Path) -> None:
    (tmp_path / "a.raw").write_bytes(VALUES.astype("f4").tobytes())
    result = map_file(tmp_path / "a.raw", "f4", 0, VALUES.shape) + 1
    (tmp_path / "a.raw").unlink()
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(result)), VALUES + 1)


@pytest.mark.parametrize("order", ["C", "F"])
def test_a_volume_of_a_mapped_file_travels_by_name(tmp_path: Path, order: str) -> None:
    values = np.asarray(np.arange(50 * 60 * 70).reshape(50, 60, 70), order=order)
    np.save(tmp_path / "v.npy", values)
    packed = pickle.dumps(open_volume(tmp_path / "v.npy"))
    assert len(packed) < 2000
    moved = pickle.loads(packed)
    np.testing.assert_array_equal(moved.read_raw(slice(10, 12)), values[10:12])
    assert moved.provenance.path == str(tmp_path / "v.npy")
    with pytest.raises(TypeError):
        moved.metadata["path"] = ""
