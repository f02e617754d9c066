"""How consecutive slices are cut into batches of whole cells."""

from __future__ import annotations

import pytest
import torch

from napari_niiv.geometry import Sampling, Span
from napari_niiv.interrupt import never
from napari_niiv.reconstruction.batches import Work, batches


@pytest.mark.parametrize("slices", [1, 3, 4])
@pytest.mark.parametrize("first", [0, 5])
@pytest.mark.parametrize("wanted", [slice(0, 1), slice(2, 11), slice(7, 13)])
@pytest.mark.parametrize("pixels", [1, 300, 10**6])
def test_batches_are_of_whole_cells_and_cover_what_is_wanted(
    small_model, slices: int, first: int, wanted: slice, pixels: int
) -> None:
    model = small_model(slices=slices, lateral=2, context=2)
    number = 13
    made = list(batches(model, torch.Size((number, 5, 7)), wanted, first, pixels))
    assert [i for batch in made for i in range(batch.part.lo, batch.part.hi)] == list(range(wanted.start, wanted.stop))
    for batch in made:
        seen = Span(batch.read.lo - batch.before, batch.read.hi + batch.after)
        assert batch.read in Span(0, number)
        assert (len(seen) - 4) % slices == 0
        assert (seen.lo + 2 + first) % slices == 0 or seen.lo + 2 < 0
        assert batch.part.lo == seen.lo + 2 + batch.wanted.start
        assert len(seen) * 6 * 7 <= max(pixels, slices * 6 * 7) + 4 * 6 * 7


def test_the_kind_of_work_tells_all_that_matters_apart(small_model) -> None:
    model = small_model(slices=2, lateral=2, noise=0.1)
    (batch,) = batches(model, torch.Size((6, 4, 5)), slice(1, 5), 0, 10**6)
    kept, axial = (Span(0, 4), Span(0, 5)), Sampling.covering(5, 20)
    work = Work(model, kept, 4.0, 0.0, axial)
    others = [
        Work(model, (Span(0, 3), Span(0, 5)), 4.0, 0.0, axial),
        Work(model, kept, 4.5, 0.0, axial),
        Work(model, kept, 4.0, 0.05, axial),
        Work(model, kept, 4.0, 0.0),
        Work(model, kept, 4.0, 0.0, Sampling.covering(5, 19)),
    ]
    kinds = {work._kind(batch), *(other._kind(batch) for other in others)}
    (shifted,) = batches(model, torch.Size((6, 4, 5)), slice(2, 5), 0, 10**6)
    kinds.add(work._kind(shifted))
    model.encoder.forget()
    kinds.add(work._kind(batch))
    assert len(kinds) == 8


def test_without_a_gpu_nothing_is_recorded(small_model) -> None:
    model, slices = small_model(), torch.rand(6, 4, 5)
    work = Work(model, (Span(0, 4), Span(0, 5)), 4.0, 0.0)
    (batch,) = batches(model, slices.shape, slice(0, 6), 0, 10**6)
    with torch.inference_mode():
        first, second = (work(batch, slices, never) for _ in range(2))
    torch.testing.assert_close(first, second, rtol=0, atol=0)
    assert first.shape == (6, model.decoder.latent_channels, 4, 5)
