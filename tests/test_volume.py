from __future__ import annotations

import math

import dask.array as da
import numpy as np
import pytest
from dask import delayed
from skimage.measure import block_reduce

from napari_niiv.errors import VolumeError
from napari_niiv.io.copy import copy_to_zarr
from napari_niiv.io.write import write_tiff
from napari_niiv.volume import Volume, check_anisotropy, downsampled, in_memory, sampled


@pytest.mark.parametrize(
    ("array", "options", "message"),
    [
        (np.zeros((4, 4)), {"axes": "yx"}, "2 dimension"),
        (np.zeros((4, 4, 4, 3), np.uint8), {"axes": "zyxs"}, "RGB"),
        (np.zeros((4, 4, 4)), {"axes": "yxz"}, "last three must be Z, Y, X"),
        (np.zeros((2, 4, 4, 4)), {"axes": "zyx"}, "last three must be"),
        (np.zeros((2, 4, 4, 4)), {"axes": "vzyx"}, "last three must be"),
        (np.zeros((0, 4, 4)), {}, "is empty"),
        (np.zeros((4, 4, 4), complex), {}, "complex128.*convert"),
        (np.zeros((4, 4, 4), object), {}, "object.*convert"),
        (np.zeros((4, 4, 4)), {"voxel_size": (0, 1, 1)}, "not three positive"),
        (np.zeros((4, 4, 4)), {"voxel_size": (1, -1, 1)}, "not three positive"),
        (np.zeros((4, 4, 4)), {"voxel_size": (math.nan, 1, 1)}, "not three positive"),
        (np.zeros((4, 4, 4)), {"voxel_size": (1, 1)}, "not three positive"),
    ],
)
def test_what_is_no_volume_is_refused_in_one_sentence(array, options, message) -> None:
    with pytest.raises(VolumeError, match=message) as caught:
        Volume(array, **options)
    assert "\n" not in str(caught.value)


def test_anisotropy_uses_the_mean_pixel_size() -> None:
    array = np.zeros((2, 3, 4))
    assert Volume(array, voxel_size=(50, 4.6, 4.6)).anisotropy == pytest.approx(50 / 4.6)
    assert Volume(array, voxel_size=(6, 1, 4)).anisotropy == pytest.approx(3)
    changed = Volume(array, voxel_size=(6, 1, 4)).with_anisotropy(8)
    assert changed.voxel_size == (16, 1, 4)
    assert changed.anisotropy == 8


@pytest.mark.parametrize("anisotropy", [0.5, 0.98, 17, math.nan, math.inf, -3, 0])
def test_anisotropies_beyond_reason_are_refused(anisotropy: float) -> None:
    with pytest.raises(VolumeError, match="outside 1 to 16"):
        check_anisotropy(anisotropy, "v")
    with pytest.raises(VolumeError):
        Volume(np.zeros((2, 3, 4))).with_anisotropy(anisotropy)


def test_limits_of_anisotropy_are_accepted() -> None:
    for anisotropy in (0.995, 1, 16):
        check_anisotropy(anisotropy, "v")


@pytest.mark.parametrize("wrap", [np.asarray, da.from_array])
@pytest.mark.parametrize("factor", [1, 2, 4])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, ">u2", np.float32, bool])
def test_read_averages_laterally(wrap, factor: int, dtype) -> None:
    array = (np.random.default_rng(0).random((3, 16, 24)) * 200).astype(dtype)
    result = Volume(wrap(array)).read(slice(1, 3), slice(0, 16 // factor), slice(2, 5), factor)
    expected = block_reduce(array.astype(np.float64), (1, factor, factor), np.mean)[1:3, :, 2:5]
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, expected, rtol=1e-6)


def test_the_last_pixel_of_a_level_averages_what_is_left() -> None:
    array = np.random.default_rng(0).random((2, 7, 9)).astype(np.float32)
    result = Volume(array).read(slice(0, 2), slice(0, downsampled(7, 4)), slice(0, downsampled(9, 4)), 4)
    assert result.shape == (2, 2, 3)
    assert result[1, 1, 2] == pytest.approx(array[1, 4:7, 8:9].mean())
    assert result[0, 0, 1] == pytest.approx(array[0, 0:4, 4:8].mean())


def test_reading_touches_only_the_box() -> None:
    touched = []

    def block(block_info=None):
        touched.append(block_info[None]["chunk-location"])
        return np.zeros((1, 8, 8), np.uint8)

    array = da.map_blocks(block, chunks=((1,) * 5, (8, 8), (8, 8)), dtype=np.uint8)
    Volume(array).read(slice(2, 3), slice(8, 10), slice(0, 8))
    assert set(touched) == {(2, 1, 0)}


def test_at_selects_leading_axes() -> None:
    array = np.arange(2 * 3 * 4 * 5 * 6).reshape(2, 3, 4, 5, 6)
    volume = Volume(array, "tczyx", name="many")
    part = volume.at(1, 2)
    assert part.axes == "zyx"
    assert part.name == "many"
    np.testing.assert_array_equal(part.array, array[1, 2])
    assert volume.at() is volume


@pytest.mark.parametrize("error", [OSError, ValueError, RuntimeError, KeyError])
def test_a_failing_read_is_the_volumes_error(error) -> None:
    class Gone:
        shape, dtype = (2, 3, 4), np.dtype(np.uint8)

        def __getitem__(self, key):
            raise error("gone")

    with pytest.raises(VolumeError, match=r"'far away' cannot be read.*gone"):
        Volume(Gone(), name="far away").read_raw()


class Stored:
    """An array that lies elsewhere, as zarr's and HDF5's: any indexing reads."""

    def __init__(self, array: np.ndarray, chunks: tuple[int, ...] | None = None) -> None:
        self._array, self.shape, self.dtype, self.ndim = array, array.shape, array.dtype, array.ndim
        self.chunks = chunks
        self.read = 0

    def __getitem__(self, key) -> np.ndarray:
        values = self._array[key]
        self.read += values.size
        return values


@pytest.mark.parametrize("chunks", [(1, 1, 2, 8, 8), (2, 3, 1, 16, 5), None])
def test_at_reads_nothing_of_a_stored_array_and_then_only_what_is_asked_for(chunks) -> None:
    array = np.random.default_rng(0).integers(0, 99, (2, 3, 6, 32, 40), np.uint8)
    stored = Stored(array, chunks)
    part = Volume(stored, "tczyx", (4.0, 1.0, 1.0), name="far").at(1, 2)
    assert stored.read == 0
    assert (part.axes, part.shape, part.dtype, part.anisotropy) == ("zyx", (6, 32, 40), np.uint8, 4)
    box = slice(1, 3), slice(5, 7), slice(30, 40)
    np.testing.assert_array_equal(part.read_raw(*box), array[1, 2][box])
    assert stored.read <= (4 * 16 * 24 if chunks == (1, 1, 2, 8, 8) else array.size)
    np.testing.assert_array_equal(part.read_raw(step=2), array[1, 2][:, ::2, ::2])


def test_at_of_a_dask_array_stays_lazy() -> None:
    def fail(block_info=None):
        raise AssertionError("read")

    array = da.map_blocks(fail, chunks=((1, 1), (4,), (5,), (6,)), dtype=np.uint8, meta=np.zeros((0,) * 4, "u1"))
    assert Volume(array, "czyx").at(1).shape == (4, 5, 6)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_no_number_is_read_as_it_is(value: float) -> None:
    array = np.random.default_rng(0).random((3, 4, 5)).astype(np.float32)
    array[1, 2, 3] = value
    np.testing.assert_array_equal(Volume(array).read_raw(), array)


@pytest.mark.parametrize("values", [(0.0, np.nan), (np.inf,), 0, "black", ("black",)])
def test_empty_voxels_are_named_by_finite_numbers(values) -> None:
    with pytest.raises(VolumeError, match="name them as finite numbers"):
        Volume(np.zeros((3, 4, 5)), empty=values)
    assert Volume(np.zeros((3, 4, 5)), empty=[0, np.uint8(255)]).empty == (0.0, 255.0)


# arrays in memory


def test_what_is_in_memory(tmp_path) -> None:
    array = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    mapped = np.memmap(tmp_path / "voxels", np.uint8, "w+", shape=(2, 3, 4))
    assert in_memory(array)
    assert in_memory(array[:, ::2])
    assert not any(in_memory(other) for other in (mapped, np.asarray(mapped)[1:], da.from_array(array)))


def test_voxels_are_sampled_from_end_to_end() -> None:
    array = np.arange(60).reshape(3, 4, 5)
    np.testing.assert_array_equal(sampled(array, 100), np.arange(60))
    np.testing.assert_array_equal(sampled(array[:, :, ::-1], 2), [4, 55])


@pytest.mark.parametrize(
    ("block", "message"),
    [
        (np.zeros((2, 8, 8)), "says that its voxels are uint8, but gives float64; correct its array's type"),
        (
            np.zeros((1, 8, 8), np.uint8),
            "gives 1 × 8 × 8 voxels where it says that there are 2 × 8 × 8; correct its array's shape",
        ),
    ],
)
def test_blocks_that_are_not_what_was_announced(block: np.ndarray, message: str, tmp_path) -> None:
    array = da.from_delayed(delayed(block), (2, 8, 8), np.uint8)
    volume = Volume(array, voxel_size=(4, 1, 1), name="odd")
    everything = slice(0, 2), slice(0, 8), slice(0, 8)
    for read in (
        lambda: volume.read_raw(*everything),
        lambda: list(copy_to_zarr(volume, tmp_path / "copy.zarr")),
        lambda: write_tiff(volume, tmp_path / "copy.tif"),
    ):
        with pytest.raises(VolumeError, match=message):
            read()
    assert not list(tmp_path.iterdir())
