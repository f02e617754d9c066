"""A model of the paper's reference code through the whole engine, although its coordinates are absolute."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from napari_niiv.geometry import Sampling
from napari_niiv.models.niiv import Niiv
from napari_niiv.normalization import Normalization
from napari_niiv.reconstruction.cache import Memory
from napari_niiv.reconstruction.planes import SLICE_AXES
from napari_niiv.reconstruction.single_slice import reconstruct_slice, slice_request
from napari_niiv.reconstruction.views import latents
from napari_niiv.reconstruction.views.reconstructor import Reconstructor
from napari_niiv.reconstruction.whole import reconstruct
from napari_niiv.volume import Volume


@pytest.fixture(scope="module")
def model(small_model: Callable[..., Niiv]) -> Niiv:
    """Built as an imported model is, with answers that vary inside 0 … 1 and with the place."""
    model = small_model(decoder="reference", context=0, degree=0, mlp_width=16)
    with torch.no_grad():
        last = model.decoder.mlp[-1]
        x, axial = (
            torch.rand(4, 1, 24, 6, generator=torch.Generator().manual_seed(0)),
            Sampling.covering(6, 24),
        )
        kept = []
        hook = last.register_forward_hook(lambda _, __, answers: kept.append(answers))
        model(x, 4.0, axial)
        last.weight.mul_(0.2 / kept[0].std())
        model(x, 4.0, axial)
        last.bias.add_(0.5 - kept[1].mean())
        hook.remove()
    return model


def anisotropic(array, anisotropy: float = 3.7, **options) -> Volume:
    return Volume(array, voxel_size=(anisotropy * 0.5, 0.5, 0.5), **options)


def computed(volume: Volume, model: Niiv, **options) -> NDArray:
    return reconstruct(volume, model, **options).array.compute(scheduler="synchronous")


def test_the_volume_is_made_of_whole_slices(model, texture) -> None:
    """The mean of both planes, each slice given to the model as a whole: what the paper's code would be given."""
    array = texture((7, 19, 23))
    volume = anisotropic(array, 4.0)
    normalization = Normalization.of(volume)
    box = torch.from_numpy(normalization.apply(array))
    with torch.inference_mode():
        xz, yz = (
            model(box.permute(SLICE_AXES[plane])[:, None], 4.0, Sampling.covering(7, 28)) for plane in ("xz", "yz")
        )
        both = (xz.permute(2, 0, 1) + yz.permute(2, 1, 0)) / 2
    assert ((both > 0.01) & (both < 0.99)).float().mean() > 0.8
    assert both.std() > 0.05
    expected = both.numpy() * (normalization.high - normalization.low) + normalization.low
    np.testing.assert_allclose(computed(volume, model, block=(3, 8)), expected, atol=1e-5)


@pytest.mark.parametrize("scale", [0.25, 0.5, 1.0, 2.3])
@pytest.mark.parametrize("anisotropy", [1.3, 3.7, 10.87])
def test_blocks_do_not_matter(model, texture, scale: float, anisotropy: float) -> None:
    volume = anisotropic(texture((9, 27, 21)), anisotropy)
    whole = computed(volume, model, output_scale=scale, block=(1000, 1000))
    np.testing.assert_allclose(computed(volume, model, output_scale=scale, block=(4, 11)), whole, atol=1e-4)


@pytest.mark.parametrize("shape", [(1, 20, 15), (9, 1, 15), (9, 20, 1), (1, 1, 2)])
def test_degenerate_volumes(model, shape: tuple[int, int, int]) -> None:
    volume = anisotropic(np.random.default_rng(0).random(shape).astype(np.float32))
    whole = computed(volume, model)
    assert np.isfinite(whole).all()
    np.testing.assert_allclose(computed(volume, model, block=(4, 9)), whole, atol=1e-4)


@pytest.mark.parametrize("plane", ["xz", "yz"])
@pytest.mark.parametrize("quality", ["fast", "refined"])
@pytest.mark.parametrize("anisotropy", [1.3, 3.7, 10.87])
def test_the_screen_is_the_file(model, texture, plane: str, quality: str, anisotropy: float) -> None:
    volume = anisotropic(texture((9, 35, 67)), anisotropy)
    planes = "both" if quality == "refined" else plane
    file = computed(volume, model, planes=planes, block=(3, 16))
    reconstructor = Reconstructor(volume, model)
    for index in (0, 17, 34):
        expected = file[:, index, :] if plane == "xz" else file[:, :, index]
        request = slice_request(volume, plane, index)
        np.testing.assert_allclose(reconstructor.slice(request, quality).image, expected, atol=1e-4)
        result = reconstruct_slice(volume, model, plane, index, quality=quality)
        np.testing.assert_allclose(result, expected, atol=1e-4)


@pytest.mark.parametrize("scale", [0.25, 0.5, 3.0])
def test_the_screen_is_the_file_zoomed(model, texture, scale: float) -> None:
    volume = anisotropic(texture((6, 32, 48)), 6.0)
    file = computed(volume, model, output_scale=scale)
    result = reconstruct_slice(volume, model, "xz", 8, pixel_size=0.5 / scale)
    np.testing.assert_allclose(result, file[:, int((8 + 0.5) * scale)], atol=1e-4)


@pytest.mark.parametrize("plane", ["xz", "yz"])
@pytest.mark.parametrize("quality", ["fast", "refined"])
@pytest.mark.parametrize("pitch", [0.3, 1.0, 2.7])
def test_windows_and_the_cache_do_not_matter(model, texture, plane: str, quality: str, pitch: float) -> None:
    volume = anisotropic(texture((70, 55, 83)), 5.0)
    request = slice_request(volume, plane, 30, pixel_size=0.5 * pitch)
    whole = Reconstructor(volume, model).slice(request, quality).image
    height, width = whole.shape
    warm = Reconstructor(volume, model)
    for top, left in ((2 * height // 3, 0), (height // 4, width // 3), (0, 2 * width // 3)):
        rows, columns = slice(top, top + height // 3), slice(left, left + width // 3)
        part = replace(
            request,
            rows=request.rows.part(top, height // 3),
            columns=request.columns.part(left, width // 3),
        )
        for reconstructor in (warm, Reconstructor(volume, model)):
            result = reconstructor.slice(part, quality).image
            np.testing.assert_allclose(result, whole[rows, columns], atol=1e-4)
    np.testing.assert_allclose(warm.slice(request, quality).image, whole, atol=1e-4)


@pytest.mark.parametrize("batch_pixels", [1, 3000])
@pytest.mark.parametrize("cell", [8, 32])
def test_batches_and_cells_do_not_matter(
    model, texture, monkeypatch: pytest.MonkeyPatch, batch_pixels: int, cell: int
) -> None:
    volume = anisotropic(texture((40, 35, 43)))
    request = slice_request(volume, "yz", 20)
    expected = Reconstructor(volume, model).slice(request).image
    monkeypatch.setitem(latents.CELL_EDGE, "cpu", cell)
    other = Reconstructor(volume, model, memory=Memory(host_bytes=2))  # and nothing stays in the cache
    other.batch_budget.batch_pixels = batch_pixels
    np.testing.assert_allclose(other.slice(request).image, expected, atol=1e-4)
