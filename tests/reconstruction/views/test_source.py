from __future__ import annotations

import dask.array as da
import numpy as np
import pytest

from napari_niiv.errors import VolumeError
from napari_niiv.geometry import Box, Span
from napari_niiv.reconstruction.cache import Memory
from napari_niiv.reconstruction.views.source import Source
from napari_niiv.volume import Level, Volume


class Chunked:
    """An array in chunks that notes the boxes it is asked for."""

    def __init__(self, values: np.ndarray, chunks: tuple[int, int, int]) -> None:
        self.values, self.chunks, self.shape, self.dtype = values, chunks, values.shape, values.dtype
        self.asked: list[tuple[int, ...]] = []

    def __getitem__(self, key: tuple[slice, ...]) -> np.ndarray:
        box = self.values[key]
        self.asked.append(box.shape)
        return box


@pytest.fixture
def values() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 60_000, (70, 90, 110), np.uint16)


def source(array, memory: Memory | None = None, owner: object = 0) -> Source:
    return Source(Volume(array, name="stack"), Level(array, 1, 1), (), memory or Memory(), owner)


BOXES = [
    Box(Span(0, 70), Span(33, 34), Span(0, 110)),
    Box(Span(3, 21), Span(0, 90), Span(57, 58)),
    Box(Span(69, 70), Span(10, 80), Span(100, 110)),
]


@pytest.mark.parametrize("chunks", [(64, 64, 64), (7, 30, 200), (1, 90, 110)])
@pytest.mark.parametrize("box", BOXES)
def test_it_is_the_array(values: np.ndarray, chunks: tuple[int, int, int], box) -> None:
    expected = values[box.slices]
    for array in (values, Chunked(values, chunks), da.from_array(values, chunks=chunks)):
        reader = source(array)
        for _ in range(2):  # the second time from what is kept
            np.testing.assert_array_equal(reader.read(box), expected)


def test_the_next_slice_of_the_same_chunks_is_not_read_again(values: np.ndarray) -> None:
    array = Chunked(values, (64, 64, 64))
    reader = source(array)
    for y in range(5, 60):
        reader.read(Box(Span(0, 70), Span(y, y + 1), Span(0, 110)))
    assert array.asked == [(70, 64, 110)]
    reader.read(Box(Span(0, 70), Span(66, 67), Span(0, 110)))
    assert array.asked[1:] == [(70, 26, 110)]


def test_what_is_too_much_to_keep_is_read_directly(values: np.ndarray) -> None:
    array = Chunked(values, (64, 64, 64))
    memory = Memory(host_bytes=1_000_000)
    reader = source(array, memory)
    np.testing.assert_array_equal(reader.read(BOXES[0]), values[:, 33:34])
    assert array.asked == [(70, 1, 110)]
    assert memory.voxels.bytes == 0


def test_owners_do_not_see_each_other_and_are_forgotten_alone(values: np.ndarray) -> None:
    memory = Memory()
    first, second = Chunked(values, (64, 64, 64)), Chunked(values + 1, (64, 64, 64))
    box = Box(Span(0, 1), Span(0, 1), Span(0, 1))
    one, two = source(first, memory, "one"), source(second, memory, "two")
    assert two.read(box) == one.read(box) + 1
    memory.forget("one")
    one.read(box)
    two.read(box)
    assert (len(first.asked), len(second.asked)) == (2, 1)


def test_small_chunks_are_read_several_at_once(values: np.ndarray) -> None:
    array = Chunked(values, (1, 8, 8))
    source(array).read(Box(Span(10, 11), Span(10, 11), Span(10, 11)))
    assert np.prod(array.asked[0]) >= 1 << 17


def test_errors_name_the_volume() -> None:
    class Broken(Chunked):
        def __getitem__(self, key):
            raise OSError("disk gone")

    with pytest.raises(VolumeError, match=r"'stack' cannot be read \(disk gone\)"):
        source(Broken(np.zeros((5, 5, 5)), (5, 5, 5))).read(Box.whole((1, 1, 1)))
