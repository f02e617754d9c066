from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from napari_niiv.geometry import Sampling
from napari_niiv.models.decoders import ImplicitDecoder, SubvoxelDecoder


def latent(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def test_subvoxel_samples_lie_evenly_in_their_voxel() -> None:
    """At the pitch of the samples themselves the answer is the latent code, channel by channel."""
    code = latent(2, 4, 3, 5)
    result = SubvoxelDecoder(4)(code, torch.zeros(2, 3, 20), Sampling.covering(5, 20), 1 / 4)
    torch.testing.assert_close(result, code.permute(0, 2, 3, 1).reshape(2, 3, 20), atol=1e-5, rtol=0)


@pytest.mark.parametrize("count", [7, 20, 33, 50])
def test_subvoxel_at_any_pitch_is_interpolation_of_the_samples(count: int) -> None:
    code = latent(1, 4, 3, 5)
    samples = code.permute(0, 2, 3, 1).reshape(1, 3, 20)
    result = SubvoxelDecoder(4)(code, torch.zeros(1, 3, count), Sampling.covering(5, count), 1 / 4)
    if count >= 20:
        expected = F.interpolate(samples, size=count, mode="linear")
        torch.testing.assert_close(result, expected, atol=1e-5, rtol=0)
    else:
        expected = F.interpolate(samples[None], size=(3, count), mode="bilinear", antialias=True)[0]
        torch.testing.assert_close(result[..., 1:-1], expected[..., 1:-1], atol=1e-5, rtol=0)


def test_implicit_is_the_papers_mlp() -> None:
    """Written out sample by sample: interpolated code, cell coordinate and its waves, interpolated intensity."""
    torch.manual_seed(0)
    decoder = ImplicitDecoder(latent_channels=3, width=8, layers=4, bands=2)
    code, linear = latent(1, 3, 2, 6), latent(1, 2, 9)
    sampling = Sampling(0.37, 0.45, 9)
    with torch.no_grad():
        result = decoder(code, linear, sampling, 1e-3)
        for j in range(9):
            position = 0.37 + 0.45 * j
            below, share = int(np.floor(position)), position - np.floor(position)
            for lateral in range(2):
                mixed = (1 - share) * code[0, :, lateral, below] + share * code[0, :, lateral, below + 1]
                inside = position - round(position)
                waves = [inside]
                for band in (1, 2):
                    waves += [np.sin(2 * np.pi * band * inside), np.cos(2 * np.pi * band * inside)]
                inputs = torch.tensor([*mixed.tolist(), *waves, float(linear[0, lateral, j])], dtype=torch.float32)
                residual = float(result[0, lateral, j] - linear[0, lateral, j])
                assert float(decoder.mlp(inputs)) == pytest.approx(residual, abs=1e-5)


@pytest.mark.parametrize("decoder", [SubvoxelDecoder(4), ImplicitDecoder(4, 8, 3, 2)], ids=["subvoxel", "implicit"])
@pytest.mark.parametrize(("cells", "count"), [(40, 60), (40, 100), (36, 48), (50, 185)])
def test_where_a_tile_begins_does_not_matter(decoder, cells: int, count: int) -> None:
    """Including positions that fall on the edge between two cells, where rounding must not decide."""
    code, linear = latent(1, 4, 2, cells), latent(1, 2, count)
    whole_sampling = Sampling.covering(cells, count)
    with torch.no_grad():
        whole = decoder(code, linear, whole_sampling, 0.1)
        for lo in range(1, 12):
            first = int(np.ceil((lo + 1.5) * count / cells))
            part = whole_sampling.part(first, count - first)
            for offset in (lo, lo * (1 + 1e-15)):
                result = decoder(code[..., lo:], linear[..., first:], part.relative_to(offset), 0.1)
                torch.testing.assert_close(result, whole[..., first:], atol=2e-5, rtol=0)


def test_detail_finer_than_what_training_taught_is_smoothed_away():
    """Samples that alternate within a voxel are invisible at the trained pitch, so they must be at any other."""
    code = torch.ones(1, 16, 3, 5)
    code[:, ::2] = -1
    fine = Sampling.covering(5, 5 * 37)
    inside = slice(37, -37)
    taught = SubvoxelDecoder(16)(code, torch.zeros(1, 3, 5 * 37), fine, 1 / 8)[..., inside]
    assert taught.abs().max() < 1e-6
    raw = SubvoxelDecoder(16)(code, torch.zeros(1, 3, 5 * 37), fine, 1 / 16)[..., inside]
    assert raw.abs().max() > 0.5
