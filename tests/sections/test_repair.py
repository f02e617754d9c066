"""Repaired voxels: the same however they are indexed, and as scipy and numpy would have them."""

from __future__ import annotations

import pickle

import dask.array as da
import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.ndimage import shift as moved_by

from napari_niiv.errors import VolumeError
from napari_niiv.sections.repair import RepairedArray, as_measured, bridged, repair_sections, repaired
from napari_niiv.sections.repairs import Repairs, SectionRepairs
from napari_niiv.volume import Volume

Array = NDArray[np.uint8]
PART = SectionRepairs(
    bridged=(2, 5, 6),
    shifts=((0, 0), (3, -2), (0, 0), (-4, 1), (0, 5), (0, 0), (0, 0), (1, 1), (-9, -9)),
    levels=((1.0, 0.0), (1.5, -20.0), *[(1.0, 0.0)] * 5, (0.5, 300.0), (1.0, 0.0)),
)
RAW = np.random.default_rng(0).integers(0, 256, (9, 13, 11)).astype(np.uint8)


def expected(raw: NDArray, part: SectionRepairs = PART) -> NDArray:
    """The same by scipy, section by section."""
    out = raw.astype(np.float64)
    for z in range(len(raw)):
        gain, offset = part.levels[z]
        out[z] = moved_by(np.clip(np.rint(gain * out[z] + offset), 0, 255), part.shifts[z], order=0, mode="nearest")
    out[2] = np.rint((out[1] + out[3]) / 2)
    out[5] = np.rint((2 * out[4] + out[7]) / 3)
    out[6] = np.rint((out[4] + 2 * out[7]) / 3)
    return out


def one(array: object, part: SectionRepairs = PART) -> Volume:
    return repaired(Volume(array), Repairs.of({(): part}))


def test_all_at_once() -> None:
    np.testing.assert_allclose(np.asarray(one(RAW).array), expected(RAW), atol=1)  # of a half, either way
    assert one(RAW).dtype == np.uint8


indices = st.one_of(st.integers(-9, 8), st.slices(9).filter(lambda s: (s.step or 1) > 0))


@given(z=indices, y=st.slices(13).filter(lambda s: (s.step or 1) > 0), x=st.integers(0, 10) | st.just(slice(2, 9, 3)))
def test_any_part(z: int | slice, y: slice, x: int | slice) -> None:
    array = one(RAW).array
    np.testing.assert_array_equal(array[z, y, x], np.asarray(array)[z, y, x])


@pytest.mark.parametrize("kind", ["dask", "zarr", "big-endian"])
def test_any_kind_of_array(kind: str) -> None:
    kinds = {
        "dask": lambda: da.from_array(RAW, chunks=(2, 5, 5)),
        "zarr": lambda: zarr.create_array({}, data=RAW, chunks=(2, 5, 5)),
        "big-endian": lambda: RAW.astype(">u2"),
    }
    array = one(kinds[kind]()).array
    native = one(RAW.astype(np.uint16) if kind == "big-endian" else RAW).array
    assert array.dtype == native.dtype
    np.testing.assert_array_equal(np.asarray(array), np.asarray(native))
    np.testing.assert_array_equal(np.asarray(pickle.loads(pickle.dumps(native))), np.asarray(native))


@pytest.mark.parametrize("dtype", [bool, np.int16, np.uint64, np.float16, np.float32, np.float64])
def test_types_stay(dtype: type) -> None:
    raw = (RAW % 2 == 0) if dtype is bool else RAW.astype(dtype)
    array = np.asarray(one(raw, SectionRepairs(bridged=(4,))).array)
    assert array.dtype == dtype
    mean = (raw[3].astype(float) + raw[5]) / 2
    np.testing.assert_allclose(array[4].astype(float), mean >= 0.5 if dtype is bool else mean, atol=0.5)


def test_each_index_by_itself() -> None:
    both = np.stack([RAW, RAW])
    volume = repaired(Volume(both, "czyx"), Repairs.of({(1,): PART}))
    np.testing.assert_array_equal(np.asarray(volume.array), np.stack([RAW, np.asarray(one(RAW).array)]))
    assert volume.at(0).array.base is both or np.shares_memory(volume.at(0).array, both)
    np.testing.assert_array_equal(np.asarray(volume.at(1).array), np.asarray(one(RAW).array))
    assert volume.at(1).repairs == Repairs.of({(): PART})
    assert volume.at(0).repairs == Repairs()


def test_coarser_levels(deep: Array) -> None:
    part = SectionRepairs(bridged=(7,), shifts=tuple((4, -8) if z == 20 else (0, 0) for z in range(40)))
    coarse = deep.reshape(40, 96, 2, 96, 2).mean((2, 4)).astype(np.uint8)
    mixed = deep.reshape(20, 2, 48, 4, 48, 4).mean((1, 3, 5)).astype(np.uint8)
    volume = repaired(Volume(deep, pyramid=(coarse, mixed)), Repairs.of({(): part}))
    assert [level.lateral for level in volume.levels()] == [1, 2]  # sections are not kept apart in the other
    level = np.asarray(volume.levels()[1].array)
    np.testing.assert_array_equal(level[20], moved_by(coarse[20], (2, -4), order=0, mode="nearest"))


def test_only_what_is_needed_is_read() -> None:
    read = []

    class Watched:
        shape, dtype, ndim = (400, 512, 512), np.dtype(np.uint8), 3

        def __getitem__(self, key: tuple[slice, ...]) -> NDArray:
            parts = [range(*part.indices(n)) for part, n in zip(key, self.shape, strict=True)]
            read.append(tuple((part.start, part.stop) for part in parts))
            return np.ones([len(part) for part in parts], np.uint8)

    shifts = tuple((z % 5, -(z % 3)) for z in range(400))
    array = RepairedArray(Watched(), Repairs.of({(): SectionRepairs((200, 201), shifts)}))
    _ = array[200:202, 100:110, 50:60]
    assert read == [((199, 203), (96, 108), (51, 61))] or all(hi - lo <= 14 for _, *yx in read for lo, hi in yx)
    read.clear()
    _ = array[10:12, 100:110, 50:60]
    assert [part[0] for part in read] == [(10, 12)]


def test_what_is_said_of_it() -> None:
    repairs = Repairs.of({(): PART})
    assert repairs.words == (
        "sections 2 and 5 to 6 are bridged; sections are moved by up to 9 pixels; "
        "the brightness of sections is evened out"
    )
    (plain,) = repairs.plain
    assert plain["bridged"] == [2, 5, 6]
    assert plain["shifts"]["8"] == [-9, -9]
    assert "0" not in plain["shifts"]
    assert plain["gain and offset"] == {"1": [1.5, -20.0], "7": [0.5, 300.0]}


def test_repairs_of_another_volume() -> None:
    for part in (SectionRepairs(bridged=(0,)), SectionRepairs(bridged=(8,)), SectionRepairs(shifts=((1, 1),))):
        with pytest.raises(VolumeError, match="look for them anew"):
            one(RAW, part)


def test_blank_is_bridged_by_default_and_not_twice(sections: Array) -> None:
    damaged = sections.copy()
    damaged[9] = 0
    volume = bridged(Volume(damaged))
    assert volume.repairs == Repairs.of({(): SectionRepairs(bridged=(9,))})
    assert bridged(volume) is volume
    off = repair_sections(Volume(damaged), bridge=False)
    assert off.repairs == Repairs()
    assert bridged(off).array is damaged
    assert as_measured(volume).array is damaged
    repeated = sections.copy()
    repeated[9] = repeated[8]
    assert not bridged(Volume(repeated)).repairs
    assert repair_sections(Volume(repeated), bridge_damaged=True).repairs[()].bridged == (9,)


def test_flicker_is_evened_out(deep: Array) -> None:
    rng = np.random.default_rng(2)
    gains, offsets = rng.uniform(0.7, 1.3, 40), rng.uniform(-20, 20, 40)
    flickering = deep * gains[:, None, None] + offsets[:, None, None]
    array = np.asarray(repair_sections(Volume(flickering.astype(np.float32)), even_brightness=True).array)

    for figure in (np.mean, np.std):
        before, after = (np.abs(np.diff(figure(values, (1, 2)))).mean() for values in (flickering, array))
        assert after < 0.15 * before
