from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_niiv.geometry import Box, Sampling, Span, output_size


def positions(sampling: Sampling) -> np.ndarray:
    return sampling.start + sampling.step * np.arange(sampling.count)


@pytest.mark.parametrize(
    ("start", "step", "count"),
    [(0, 0, 3), (0, -1, 3), (0, 1, 0), (math.nan, 1, 2), (0, math.inf, 2), (math.inf, 1, 1)],
)
def test_a_sampling_that_is_none_is_refused(start: float, step: float, count: int) -> None:
    with pytest.raises(ValueError, match="not a sampling"):
        Sampling(start, step, count)


@given(size=st.integers(1, 500), count=st.integers(1, 900))
def test_covering_divides_the_extent_evenly(size: int, count: int) -> None:
    sampling = Sampling.covering(size, count)
    edges = np.linspace(-0.5, size - 0.5, count + 1)
    np.testing.assert_allclose(positions(sampling), (edges[:-1] + edges[1:]) / 2, atol=1e-9)
    assert sampling.end == pytest.approx(positions(sampling)[-1])


@given(factor=st.integers(1, 20), index=st.integers(0, 50))
def test_refined_and_coarsened_keep_the_place(factor: int, index: int) -> None:
    # sub-sample j of voxel i is centred at i - ½ + (j + ½) / factor
    for sub in range(factor):
        place = Sampling(index - 0.5 + (sub + 0.5) / factor, 0.3, 4)
        fine = place.refined(factor)
        assert fine.start == pytest.approx(index * factor + sub)
        np.testing.assert_allclose(positions(fine.coarsened(factor)), positions(place), atol=1e-9)


@given(start=st.floats(-20, 60), step=st.floats(0.05, 9), count=st.integers(1, 40), size=st.integers(1, 50))
def test_support_holds_every_voxel_with_a_weight(start: float, step: float, count: int, size: int) -> None:
    sampling = Sampling(start, step, count)
    span = sampling.support(size)
    assert 0 <= span.lo < span.hi <= size
    reach = max(1.0, step)
    for position in positions(sampling):
        touched = np.arange(math.floor(position - reach), math.ceil(position + reach) + 1)
        touched = touched[np.abs(touched - position) < reach].clip(0, size - 1)
        assert span.lo <= touched.min()
        assert touched.max() < span.hi


def test_part_and_relative_to() -> None:
    sampling = Sampling(2.25, 0.5, 9)
    np.testing.assert_allclose(positions(sampling.part(3, 4)), positions(sampling)[3:7])
    np.testing.assert_allclose(positions(sampling.relative_to(2)), positions(sampling) - 2)


@given(lo=st.integers(0, 90), length=st.integers(1, 60), tile=st.integers(1, 40), size=st.integers(1, 100))
def test_tiles_cover_a_span_on_one_grid(lo: int, length: int, tile: int, size: int) -> None:
    span = Span(min(lo, size - 1), min(lo + length, size))
    if len(span) < 1:
        return
    tiles = list(span.tiles(tile, size))
    assert all(t.lo % tile == 0 and (t.hi % tile == 0 or t.hi == size) for t in tiles)
    assert [t.lo for t in tiles[1:]] == [t.hi for t in tiles[:-1]]
    assert tiles[0].lo <= span.lo < tiles[0].hi
    assert tiles[-1].lo < span.hi <= tiles[-1].hi


def test_a_span_grows_inside_its_axis_and_cuts_its_part() -> None:
    assert Span(3, 5).padded(4, 20) == Span(0, 9)
    assert Span(17, 20).padded(4, 20) == Span(13, 20)
    assert Span(3, 6).offset_from(Span(0, 10)) == Span(0, 10).offset_from(Span(4, 7)) == 1
    axis = np.arange(20)
    np.testing.assert_array_equal(axis[2:12][Span(4, 7).slice_in(Span(2, 12))], [4, 5, 6])
    np.testing.assert_array_equal(axis[Span(4, 7).slice], [4, 5, 6])


@pytest.mark.parametrize(("size", "scale", "expected"), [(20, 10.87, 217), (3, 0.1, 1), (1, 16, 16), (7, 1.0, 7)])
def test_output_size(size: int, scale: float, expected: int) -> None:
    assert output_size(size, scale) == expected


boxes = st.builds(
    lambda lows, lengths: Box.of(Span(lo, lo + n) for lo, n in zip(lows, lengths, strict=True)),
    st.tuples(*[st.integers(0, 9)] * 3),
    st.tuples(*[st.integers(1, 9)] * 3),
)
SHAPE = (20, 21, 22)


def marked(*some: Box) -> np.ndarray:
    """How often each voxel of an array is in one of some boxes, by NumPy alone."""
    counts = np.zeros(SHAPE, int)
    for box in some:
        counts[tuple(slice(span.lo, span.hi) for span in box)] += 1
    return counts


@given(box=boxes, other=boxes)
def test_intersection_and_hull_are_those_of_the_voxels(box, other):
    hull = Box.hull([box, other])
    assert box in hull
    assert other in hull
    both = marked(box) & marked(other)
    if both.any():
        assert (marked(box.intersection(other)) == both).all()
        assert box.intersection(other) in box
    low = [min(a.lo, b.lo) for a, b in zip(box, other, strict=True)]
    assert list(hull.origin) == low
    assert hull.size >= max(box.size, other.size)


@given(box=boxes, edges=st.tuples(*[st.integers(1, 7)] * 3))
def test_pieces_and_tiles_cover_a_box_once(box, edges):
    pieces = box.pieces(edges)
    assert (marked(*pieces) == marked(box)).all()
    assert all(n <= edge for piece in pieces for n, edge in zip(piece.shape, edges, strict=True))
    tiles = box.tiles(edges, SHAPE)
    covered = marked(*tiles)
    assert covered.max() == 1
    assert (covered >= marked(box)).all()
    assert all(lo % edge == 0 for tile in tiles for lo, edge in zip(tile.origin, edges, strict=True))
    assert (marked(*(tile.intersection(box) for tile in tiles)) == marked(box)).all()


@given(box=boxes, halo=st.tuples(*[st.integers(0, 12)] * 3))
def test_a_padded_box_stays_inside(box, halo):
    padded = box.padded(halo, SHAPE)
    assert box in padded
    assert padded in Box.whole(SHAPE)
    values = np.arange(np.prod(SHAPE)).reshape(SHAPE)
    assert (values[padded.slices][box.slices_in(padded)] == values[box.slices]).all()
    assert box.relative_to(padded.origin).slices == box.slices_in(padded)
    assert box.shifted((1, 2, 3)).relative_to((1, 2, 3)) == box
    assert values[box.slices].shape == box.shape
    assert values[box.slices].size == box.size


@given(box=boxes, factors=st.tuples(*[st.integers(1, 4)] * 3))
def test_a_box_on_coarser_and_finer_grids(box, factors):
    coarse = box.coarsened(factors)
    fine = coarse.scaled(factors, SHAPE)
    assert box in fine
    assert all(len(f) < len(b) + 2 * k for f, b, k in zip(fine, box, factors, strict=True))
