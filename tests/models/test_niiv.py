from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from pydantic import ValidationError

from napari_niiv.errors import DeviceError
from napari_niiv.geometry import Sampling
from napari_niiv.models.architecture import Architecture
from napari_niiv.models.niiv import Niiv


@pytest.mark.parametrize("decoder", ["subvoxel", "implicit"])
@pytest.mark.parametrize("context", [0, 3])
def test_shapes_and_channels(small_model, decoder: str, context: int) -> None:
    model = small_model(decoder=decoder, context=context)
    assert model.context == context
    with torch.inference_mode():
        latent = model.encode(torch.zeros(2, 2 * context + 1, 9, 5), 4.0)
        assert latent.shape == (2, model.decoder.latent_channels, 9, 5)
        assert model.decode(latent, torch.zeros(2, 9, 5), Sampling.covering(5, 23), 4.6).shape == (2, 9, 23)
        assert model(torch.zeros(2, 2 * context + 1, 9, 5), 4.0, Sampling(0, 0.5, 3)).shape == (2, 9, 3)


def test_without_a_residual_it_interpolates_linearly(linear_model: Niiv) -> None:
    x = torch.randn(2, 3, 6, 7, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        result = linear_model(x, 5.0, Sampling.covering(7, 35))
    torch.testing.assert_close(result, F.interpolate(x[:, 1], size=35, mode="linear"), atol=1e-5, rtol=0)


@pytest.mark.parametrize("blocks", [1, 3])
def test_halo_is_the_receptive_field(small_model, blocks: int) -> None:
    assert small_model(blocks=blocks).halo == 2 * blocks + 3


def test_place_prepares_for_use(small_model) -> None:
    model = small_model().train()
    assert model.place("cpu") is model
    assert not model.training
    assert not any(p.requires_grad for p in model.parameters())
    assert model.device == torch.device("cpu")
    with pytest.raises(DeviceError):
        model.place("nowhere")


@pytest.mark.usefixtures("bfloat16")
def test_bfloat16_on_the_cpu_is_close_and_rounds_no_weights(small_model) -> None:
    x = torch.rand(1, 3, 32, 16, generator=torch.Generator().manual_seed(0))
    sampling = Sampling.covering(16, 64)
    model = small_model()
    assert model.encoder.dtype == torch.bfloat16
    assert {weights.dtype for weights in model.state_dict().values()} == {torch.float32}
    with torch.inference_mode():
        result = model(x, 4.0, sampling)
        model.encoder.precision = torch.float32
        expected = model(x, 4.0, sampling)
    assert result.dtype == expected.dtype == torch.float32
    assert not torch.equal(result, expected)
    np.testing.assert_allclose(result, expected, atol=2e-1)  # values are up to 10, and have 8 bits


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_half_precision_is_close(small_model) -> None:
    x = torch.rand(1, 3, 32, 16, generator=torch.Generator().manual_seed(0))
    sampling = Sampling.covering(16, 64)
    with torch.inference_mode():
        expected = small_model()(x, 4.0, sampling)
        model = small_model().place("cuda")
        result = model(x.half().cuda(), 4.0, sampling).cpu()
    np.testing.assert_allclose(result, expected, atol=3e-2)  # values are up to 10


@pytest.mark.parametrize(
    "wrong",
    [
        {"decoder": "other"},
        {"context": -1},
        {"features": 0},
        {"unknown": 1},
        {"anisotropy_range": (5.0, 2.0)},
        {"anisotropy_range": (0.0, 2.0)},
        {"anisotropy_range": (-1.0, 2.0)},
    ],
)
def test_an_architecture_that_makes_no_sense_is_refused(wrong) -> None:
    with pytest.raises(ValidationError):
        Architecture(**wrong)


@pytest.mark.parametrize("decoder", ["subvoxel", "reference"])
@pytest.mark.parametrize(
    "wanted",
    [
        (slice(0, 20), slice(7, 8)),
        (slice(9, 10), slice(9, 10)),
        (slice(3, 20), slice(0, 17)),
        (slice(1, 2), slice(18, 19)),
    ],
)
def test_shedding_the_halo_changes_nothing(small_model, decoder: str, wanted: tuple[slice, slice]) -> None:
    model = small_model(decoder=decoder, context=0, blocks=2)
    slices = torch.rand(2, 1, 20, 19, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected = model.encode(slices, 4.0)[:, :, wanted[0], wanted[1]]
        assert expected.abs().max() > 1e-3
        torch.testing.assert_close(model.encode(slices, 4.0, wanted=wanted), expected, atol=1e-5, rtol=0)
