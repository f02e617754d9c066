"""Networks whose cells hold several slices and pixels: cells are anchored to the volume, so nothing else matters."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from napari_niiv.geometry import Box, Sampling, Span, output_size
from napari_niiv.models.niiv import Niiv
from napari_niiv.normalization import Normalization
from napari_niiv.reconstruction import batch_budget
from napari_niiv.reconstruction.cache import Memory
from napari_niiv.reconstruction.inference import restore_box
from napari_niiv.reconstruction.planes import AXES
from napari_niiv.reconstruction.views import latents
from napari_niiv.reconstruction.views.reconstructor import Reconstructor
from napari_niiv.reconstruction.whole import reconstruct
from napari_niiv.volume import Volume
from tests.reconstruction.views.test_reconstructor import whole_plane

CELLS = [(1, 4), (4, 1), (4, 4), (2, 3)]  # slices, pixels
SHAPES = [(5, 35, 39), (1, 1, 1), (3, 2, 9), (4, 16, 12), (2, 33, 3)]
ANISOTROPY = 3.7


@pytest.fixture(params=CELLS, ids=lambda cell: f"{cell[0]} slices, {cell[1]} pixels")
def model(request, small_model) -> Niiv:
    slices, pixels = request.param
    return small_model(slices=slices, lateral=pixels, context=2, noise=0.1)


def anisotropic(array: NDArray, **options) -> Volume:
    return Volume(array, voxel_size=(ANISOTROPY, 1.0, 1.0), **options)


def by_hand(model: Niiv, values: torch.Tensor, samples: int, denoise: float = 0.0) -> torch.Tensor:
    """A whole normalised volume, (samples, y, x): each cell encoded from whole slices, which are replicated."""
    slices, pixels = model.cell
    total = 0
    for order, back in (((1, 2, 0), (2, 0, 1)), ((2, 1, 0), (2, 1, 0))):
        stack = values.permute(order)
        count, lateral, axial = stack.shape
        grid = torch.arange(-(-lateral // pixels) * pixels).clamp(max=lateral - 1)
        positions = Sampling.covering(axial, samples)
        parts = []
        for first in range(0, count, slices):
            numbers = torch.arange(first - model.context, first + slices + model.context).clamp(0, count - 1)
            latent = model.encode(stack[numbers][:, grid][None], ANISOTROPY, level=denoise)[:, :, :lateral]
            own = stack[torch.arange(first, first + slices).clamp(max=count - 1)]
            parts.append(model.decode(latent, own, positions, ANISOTROPY))
        total = total + torch.cat(parts)[:count].permute(back)
    return total / 2


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("denoise", [0.0, 0.06])
def test_a_volume_is_made_of_whole_cells(model: Niiv, texture, shape, denoise: float) -> None:
    values = torch.from_numpy(texture((5, 35, 39)))[tuple(slice(n) for n in shape)]
    samples = output_size(shape[0], ANISOTROPY)
    with torch.inference_mode():
        expected = by_hand(model, values, samples, denoise)
    result = restore_box(model, values, ANISOTROPY, Sampling.covering(shape[0], samples), ("xz", "yz"), level=denoise)
    torch.testing.assert_close(result, expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("scale", [1.0, 0.4, 1.7])
def test_blocks_do_not_matter(model: Niiv, texture, scale: float) -> None:
    volume = anisotropic(texture((5, 13, 18)))
    whole = reconstruct(volume, model, output_scale=scale, block=(99, 99)).array.compute()
    for block in ((2, 7), (3, 16), (1, 1)):
        pieces = reconstruct(volume, model, output_scale=scale, block=block).array
        if block == (1, 1):  # some of them will do
            pieces, expected = pieces[3:6, 4:9, 5:9], whole[3:6, 4:9, 5:9]
        else:
            expected = whole
        np.testing.assert_allclose(pieces.compute(), expected, atol=1e-4)


@pytest.mark.parametrize("batch_pixels", [1, 300, 1_000_000])
def test_batches_do_not_matter(model: Niiv, texture, monkeypatch, batch_pixels: int) -> None:
    volume = anisotropic(texture((5, 35, 39)))
    expected = reconstruct(volume, model).array.compute()
    monkeypatch.setitem(batch_budget.BATCH_PIXELS, "cpu", batch_pixels)
    np.testing.assert_allclose(reconstruct(volume, model).array.compute(), expected, atol=1e-4)


@pytest.mark.parametrize("plane", ["xz", "yz"])
@pytest.mark.parametrize("quality", ["fast", "refined"])
def test_the_screen_is_the_file(model: Niiv, texture, plane: str, quality: str) -> None:
    volume = anisotropic(texture((5, 35, 39)))
    file = reconstruct(volume, model, planes="both" if quality == "refined" else plane).array.compute()
    reconstructor = Reconstructor(volume, model)
    for index in (0, 17, 18, volume.shape[AXES[plane][0]] - 1):
        expected = file[:, index, :] if plane == "xz" else file[:, :, index]
        picture = reconstructor.slice(whole_plane(volume, plane, index), quality).image
        np.testing.assert_allclose(picture, expected, atol=1e-4)


@pytest.mark.parametrize("plane", ["xz", "yz", "xy"])
def test_windows_and_the_cache_do_not_matter(model: Niiv, texture, monkeypatch, plane: str) -> None:
    monkeypatch.setitem(latents.CELL_EDGE, "cpu", 16)
    monkeypatch.setitem(latents.TILE_EDGE, "cpu", 16)
    volume = anisotropic(texture((7, 45, 51)))
    indices = (2.4, 2.6, 5.1) if plane == "xy" else (9, 10, 13, 44)
    wholes = {i: Reconstructor(volume, model).slice(whole_plane(volume, plane, i)).image for i in indices}
    reconstructor = Reconstructor(volume, model)
    for columns in (slice(20, 33), slice(18, 31), slice(0, 45), slice(31, 45)):
        for index in indices:
            request = whole_plane(volume, plane, index)
            part = replace(request, columns=request.columns.part(columns.start, columns.stop - columns.start))
            picture = reconstructor.slice(part, "refined").image
            np.testing.assert_allclose(picture, wholes[index][:, columns], atol=1e-4)


def test_the_slices_of_a_cell_are_encoded_once(small_model, texture, monkeypatch) -> None:
    model = small_model(slices=4, lateral=2, context=1)
    volume = anisotropic(texture((5, 33, 40)))
    reconstructor = Reconstructor(volume, model)
    calls = []
    encode = Niiv.encode
    monkeypatch.setattr(Niiv, "encode", lambda self, *args: calls.append(args[0].shape) or encode(self, *args))
    for index in (9, 8, 10, 11):
        assert reconstructor.is_cached(whole_plane(volume, "xz", index), "fast") == (index != 9)
        reconstructor.slice(whole_plane(volume, "xz", index), "fast")
    assert len(calls) == 1
    reconstructor.slice(whole_plane(volume, "xz", 12), "fast")
    assert len(calls) == 2
    # the other orientation restores the pixels of a cell together
    reconstructor.slice(whole_plane(volume, "xz", 10), "refined")
    before = len(calls)
    reconstructor.slice(whole_plane(volume, "xz", 11), "refined")
    assert len(calls) == before


def test_a_picture_leaves_the_cache_of_its_neighbours_as_good_as_it_was(small_model, texture) -> None:
    model = small_model(slices=4, lateral=1, context=1)
    volume = anisotropic(texture((5, 33, 40)))
    reconstructor = Reconstructor(volume, model, memory=Memory())
    whole = whole_plane(volume, "xz", 9)
    reconstructor.slice(whole, "fast")
    narrow = replace(whole_plane(volume, "xz", 10), columns=whole.columns.part(3, 4))
    reconstructor.slice(narrow, "fast")
    assert reconstructor.is_cached(whole, "fast")


def test_the_level_belongs_to_the_picture(small_model, texture) -> None:
    model = small_model(slices=2, lateral=2, context=1, noise=0.1)
    volume = anisotropic(texture((5, 33, 40)))
    reconstructor = Reconstructor(volume, model)
    request = whole_plane(volume, "xz", 9)
    plain, denoised = (reconstructor.slice(replace(request, denoise=level)).image for level in (0.0, 0.08))
    assert np.abs(plain - denoised).max() > 1e-3
    again = reconstructor.slice(replace(request, denoise=0.0))
    np.testing.assert_allclose(again.image, plain, atol=1e-6)
    normalization = Normalization.of(volume)
    values = torch.from_numpy(normalization.apply(volume.array))
    core = Box(Span(0, 5), Span(9, 10), Span(0, 40))
    restored = restore_box(model, values, ANISOTROPY, request.rows, ("xz", "yz"), core, level=0.08)
    np.testing.assert_allclose(denoised, normalization.invert(restored[:, 0], np.float32), atol=1e-4)
