"""Cells of several lateral pixels and slices, and the noise level that a model is told."""

from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor
from torch.nn.functional import conv2d, pad, relu

from napari_niiv.geometry import Sampling
from napari_niiv.models.architecture import Architecture
from napari_niiv.models.niiv import Niiv

SMALL = {"context": 2, "features": 8, "blocks": 2, "samples": 4, "noise": 0.1}
CELLS = [(1, 1), (4, 1), (1, 3), (4, 4), (2, 3)]


def model(lateral: int, slices: int, **changes: object) -> Niiv:
    torch.manual_seed(0)
    made = Niiv(Architecture(**{**SMALL, "lateral": lateral, "slices": slices, **changes})).eval()
    with torch.no_grad():
        for weights in made.parameters():
            weights += 0.02 * torch.randn_like(weights)
    return made.requires_grad_(False)


def pictures(batch: int, slices: int, lateral: int, axial: int) -> Tensor:
    return torch.rand(batch, slices, lateral, axial, generator=torch.Generator().manual_seed(1))


def by_hand(net: Niiv, x: Tensor, anisotropy: float, level: float) -> Tensor:
    """The samples of every voxel, (B, s, lateral, axial, K), with loops over the pixels of a cell."""
    s, r = net.cell
    k, samples = net.context, net.architecture.samples
    batch, _, lateral, axial = x.shape
    cells = torch.zeros(batch, (2 * k + s) * r, lateral // r, axial)
    for number in range(2 * k + s):
        for pixel in range(r):
            cells[:, number * r + pixel] = x[:, number, pixel::r]
    weights = iter(net.encoder.weights(anisotropy, level))

    def layer(y: Tensor) -> Tensor:
        return conv2d(pad(y, (1, 1, 1, 1), mode="replicate"), *next(weights))

    head = y = layer(cells)
    for _ in range(net.architecture.blocks):
        y = y + layer(relu(layer(y)))
    y = layer(head + layer(y))
    values = torch.zeros(batch, s, lateral, axial, samples)
    for number in range(s):
        for pixel in range(r):
            for sample in range(samples):
                values[:, number, pixel::r, :, sample] = y[:, (number * r + pixel) * samples + sample]
    return values


@pytest.mark.parametrize(("lateral", "slices"), CELLS)
@pytest.mark.parametrize("level", [0.0, 0.07])
def test_a_latent_code_serves_its_cell(lateral: int, slices: int, level: float) -> None:
    net, x = model(lateral, slices), pictures(2, 4 + slices, 4 * lateral, 5)
    latent = net.encode(x, 6.0, level=level)
    expected = by_hand(net, x, 6.0, level).flatten(0, 1).permute(0, 3, 1, 2)
    assert latent.shape == expected.shape
    torch.testing.assert_close(latent, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(("lateral", "slices"), CELLS)
def test_a_part_with_its_halo_is_as_the_whole(lateral: int, slices: int) -> None:
    net = model(lateral, slices)
    x = pictures(1, 4 + slices, 24 * lateral, 30)
    whole = net.encode(x, 3.0)
    halo, beside = net.halo, net.lateral_halo
    assert beside == halo * lateral
    rows = slice(9 * lateral, 15 * lateral)
    piece = x[:, :, rows.start - beside : rows.stop + beside, 10 - halo : 14 + halo]
    part = net.encode(piece, 3.0, wanted=(slice(beside, beside + 6 * lateral), slice(halo, halo + 4)))
    torch.testing.assert_close(part, whole[:, :, rows, 10:14], rtol=0, atol=1e-5)


def test_the_weights_follow_the_root_of_the_level() -> None:
    net = model(2, 2)
    at = {level: net.encoder.weights(4.0, level)[3][0] for level in (0.0, 0.025, 0.1)}
    torch.testing.assert_close(at[0.025], (at[0.0] + at[0.1]) / 2, rtol=0, atol=1e-6)
    assert not torch.allclose(at[0.0], at[0.1])
    on_device = net.encoder.weights(4.0, torch.tensor(0.1))[3][0]
    torch.testing.assert_close(on_device, at[0.1], rtol=0, atol=1e-7)
    again = net.encoder.weights(4.0, 0.1)[3][0]
    torch.testing.assert_close(again, at[0.1], rtol=0, atol=0)


@pytest.mark.parametrize(("anisotropy", "highest"), [(8.0, 0.1), (10.0, 0.1), (4.5, 0.05), (2.0, 0.1 / 7)])
def test_levels_above_the_highest_of_an_anisotropy_count_as_it(anisotropy: float, highest: float) -> None:
    net, x = model(2, 2), pictures(1, 6, 8, 6)
    assert net.architecture.highest_level(anisotropy) == pytest.approx(highest)
    at = [net.encode(x, anisotropy, level=level) for level in (highest, 0.3, torch.tensor(0.3))]
    torch.testing.assert_close(at[0], at[1], rtol=0, atol=1e-6)
    torch.testing.assert_close(at[0], at[2], rtol=0, atol=1e-6)
    assert not torch.allclose(at[0], net.encode(x, anisotropy, level=0.5 * highest))


def test_a_model_that_is_not_told_the_noise_does_not_mind_it() -> None:
    net, x = model(2, 2, noise=0.0), pictures(1, 6, 8, 6)
    assert not net.knows_noise
    assert net.encoder.kernels[0].shape[0] == net.architecture.degree + 1
    torch.testing.assert_close(net.encode(x, 4.0, level=0.3), net.encode(x, 4.0), rtol=0, atol=0)


def test_forward_restores_the_slices_of_a_cell_in_order() -> None:
    net, x = model(4, 4), pictures(2, 8, 8, 6)
    axial = Sampling.covering(6, 24)
    restored = net(x, 4.0, axial)
    assert restored.shape == (8, 8, 24)
    centres = x[:, 2:6].flatten(0, 1)
    torch.testing.assert_close(restored, net.decode(net.encode(x, 4.0), centres, axial, 4.0), rtol=0, atol=1e-6)


@pytest.mark.parametrize(("lateral", "slices"), CELLS)
def test_a_widened_model_answers_as_before(lateral: int, slices: int) -> None:
    blind = model(lateral, slices, context=0)
    wide = blind.widened(3)
    x = pictures(1, 6 + slices, 2 * lateral, 7)
    own = x[:, 3 : 3 + slices]
    torch.testing.assert_close(wide.encode(x, 5.0), blind.encode(own, 5.0), rtol=0, atol=1e-5)


@pytest.mark.parametrize("change", [{"lateral": 2}, {"slices": 2}, {"noise": 0.1}])
@pytest.mark.parametrize("decoder", ["implicit", "reference"])
def test_cells_are_of_samples(decoder: str, change: dict[str, float]) -> None:
    with pytest.raises(ValidationError, match="only the subvoxel decoder"):
        Architecture(decoder=decoder, **change)
