from __future__ import annotations

import numpy as np
import pytest
import torch

from napari_niiv.geometry import Box, Sampling, Span
from napari_niiv.reconstruction.inference import encode_slices, restore_box, restore_slices

ALL = (slice(0, 14), slice(0, 6))


@pytest.fixture
def slices(texture) -> torch.Tensor:
    return torch.from_numpy(texture((9, 14, 6)))


@pytest.mark.parametrize("context", [0, 3])
@pytest.mark.parametrize("decoder", ["subvoxel", "implicit"])
def test_it_is_the_model_slice_by_slice(small_model, slices: torch.Tensor, context: int, decoder: str) -> None:
    model = small_model(context=context, decoder=decoder)
    axial = Sampling.covering(6, 17)
    result = restore_slices(model, slices, 3.0, axial, slice(0, 9), ALL)
    padded = torch.cat([slices[:1]] * context + [slices] + [slices[-1:]] * context)  # neighbours by replication
    with torch.inference_mode():
        expected = [model(padded[None, i : i + 2 * context + 1], 3.0, axial)[0] for i in range(9)]
    torch.testing.assert_close(result, torch.stack(expected), atol=1e-5, rtol=0)


@pytest.mark.parametrize("batch_pixels", [1, 14 * 6, 200, 5000])
def test_batches_do_not_matter(small_model, slices: torch.Tensor, batch_pixels: int) -> None:
    model = small_model(context=2)
    axial = Sampling.covering(6, 17)
    whole = restore_slices(model, slices, 3.0, axial, slice(0, 9), ALL, 10**9)
    part = restore_slices(model, slices, 3.0, axial, slice(2, 7), (slice(3, 9), slice(0, 6)), batch_pixels)
    torch.testing.assert_close(part, whole[2:7, 3:9], atol=1e-5, rtol=0)
    sizes = [len(latent) for _, latent in encode_slices(model, slices, slice(0, 9), ALL, 3.0, batch_pixels)]
    assert sum(sizes) == 9
    assert all(size == 1 or size * 14 * 6 <= batch_pixels for size in sizes)


def test_a_box_is_the_mean_of_both_planes_transposed(small_model, texture) -> None:
    model = small_model()
    box = torch.from_numpy(texture((5, 9, 11)))
    axial = Sampling.covering(5, 15)
    both, xz, yz = (restore_box(model, box, 3.0, axial, planes) for planes in (("xz", "yz"), ("xz",), ("yz",)))
    torch.testing.assert_close(both, (xz + yz) / 2)
    assert (xz - yz).abs().max() > 1e-3
    # a yz plane is the xz plane of the transposed volume
    turned = restore_box(model, box.transpose(1, 2), 3.0, axial, ("xz",)).transpose(1, 2)
    torch.testing.assert_close(yz, turned, atol=1e-5, rtol=0)
    cropped = restore_box(model, box, 3.0, axial, ("xz", "yz"), Box(Span(0, 5), Span(2, 7), Span(4, 11)))
    torch.testing.assert_close(cropped, both[:, 2:7, 4:], atol=1e-5, rtol=0)
    low = restore_box(model, box, 3.0, axial.part(6, 3), ("xz", "yz"), Box(Span(1, 5), Span(0, 9), Span(0, 11)))
    torch.testing.assert_close(low, both[6:9], atol=1e-5, rtol=0)


def test_interruptions_reach_the_caller(small_model, slices: torch.Tensor) -> None:
    def stop() -> None:
        raise KeyError

    with pytest.raises(KeyError):
        list(encode_slices(small_model(), slices, slice(0, 9), ALL, 3.0, interrupt=stop))


def test_a_single_slice_has_itself_for_neighbours(small_model) -> None:
    model = small_model(context=3)
    slices = torch.from_numpy(np.random.default_rng(0).random((1, 5, 4), np.float32))
    with torch.inference_mode():
        expected = model(slices.expand(7, 5, 4)[None], 2.0, Sampling.covering(4, 8))
    result = restore_slices(model, slices, 2.0, Sampling.covering(4, 8), slice(0, 1), (slice(0, 5), slice(0, 4)))
    torch.testing.assert_close(result, expected, atol=1e-5, rtol=0)
