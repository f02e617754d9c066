"""Interpolation and weighted means against torch's own and against integrals done by hand."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from napari_niiv.geometry import Sampling
from napari_niiv.resampling import resample, weighted_means


@dataclass(frozen=True)
class Box:
    """How much of each sample, taken as constant over its extent, lies within `width` samples."""

    width: float

    @property
    def reach(self) -> float:
        return (self.width + 1) / 2

    def weights(self, distance: NDArray[np.float64]) -> NDArray[np.float64]:
        lower, upper = distance - 0.5, distance + 0.5
        half = self.width / 2
        return np.maximum(np.minimum(upper, half) - np.maximum(lower, -half), 0)


def area_average(x: torch.Tensor, sampling: Sampling) -> torch.Tensor:
    """Means over the extents that the sampling's step gives."""
    return weighted_means(x, sampling, Box(sampling.step))


def signal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@settings(max_examples=60)
@given(n=st.integers(1, 70), factor=st.floats(1, 12))
def test_upsampling_is_linear_interpolation(n: int, factor: float) -> None:
    count = max(n, round(n * factor))
    x = signal(2, 3, n)
    expected = F.interpolate(x.double(), size=count, mode="linear", align_corners=False).float()
    torch.testing.assert_close(resample(x, Sampling.covering(n, count)), expected, atol=2e-5, rtol=0)


@settings(max_examples=60)
@given(n=st.integers(8, 200), factor=st.floats(1, 9))
def test_downsampling_is_antialiased_inside(n: int, factor: float) -> None:
    count = max(1, round(n / factor))
    sampling = Sampling.covering(n, count)
    x = signal(1, 1, 2, n)
    expected = F.interpolate(x.double(), size=(2, count), mode="bilinear", antialias=True)[0, 0].float()
    # at the ends torch renormalises what is inside; here the signal is continued
    positions = sampling.start + sampling.step * np.arange(count)
    inside = torch.from_numpy((positions - sampling.step > 0) & (positions + sampling.step < n - 1))
    torch.testing.assert_close(resample(x[0, 0], sampling)[:, inside], expected[:, inside], atol=2e-5, rtol=0)


@settings(max_examples=60)
@given(n=st.integers(1, 40), start=st.floats(-9, 50), step=st.floats(0.05, 9), count=st.integers(1, 300))
def test_any_sampling_is_the_normalised_triangle_over_the_continued_signal(
    n: int, start: float, step: float, count: int
) -> None:
    sampling = Sampling(start, step, count)
    x = signal(n).numpy().astype(np.float64)
    reach = max(1.0, step)
    expected = []
    for position in sampling.start + sampling.step * np.arange(count):
        taps = np.arange(np.floor(position - reach), np.ceil(position + reach) + 1)
        weights = np.maximum(0, 1 - np.abs(taps - position) / reach)
        expected.append((x[taps.clip(0, n - 1).astype(int)] * weights).sum() / weights.sum())
    result = resample(torch.from_numpy(x).float(), sampling).numpy()
    np.testing.assert_allclose(result, expected, atol=1e-5)


@given(factor=st.integers(1, 9), count=st.integers(1, 40))
def test_area_average_is_average_pooling_for_whole_factors(factor: int, count: int) -> None:
    x = signal(1, 2, factor * count)
    expected = F.avg_pool1d(x, factor)
    result = area_average(x, Sampling((factor - 1) / 2, factor, count))
    torch.testing.assert_close(result, expected, atol=1e-5, rtol=0)


@settings(max_examples=60)
@given(n=st.integers(1, 50), start=st.floats(-5, 55), step=st.floats(0.05, 12), count=st.integers(1, 150))
def test_area_average_is_the_exact_integral(n: int, start: float, step: float, count: int) -> None:
    x = signal(n, seed=1).numpy().astype(np.float64)
    # antiderivative of the piecewise constant signal, continued at its ends
    reach = 2400  # beyond the last sample asked for
    edges = np.arange(-reach, n + reach + 1) - 0.5
    values = x[np.arange(-reach, n + reach).clip(0, n - 1)]
    integral = np.concatenate([[0], np.cumsum(values)])
    positions = start + step * np.arange(count)
    expected = np.interp(positions + step / 2, edges, integral) - np.interp(positions - step / 2, edges, integral)
    result = area_average(torch.from_numpy(x).float(), Sampling(start, step, count)).numpy()
    np.testing.assert_allclose(result, expected / step, atol=1e-5)


@pytest.mark.parametrize("operator", [resample, area_average])
def test_axis_of_one_sample_is_constant(operator) -> None:
    x = torch.full((2, 1), 3.5)
    for sampling in (Sampling(0, 1, 1), Sampling.covering(1, 7), Sampling(-4, 3, 5)):
        torch.testing.assert_close(operator(x, sampling), torch.full((2, sampling.count), 3.5))


@pytest.mark.parametrize("operator", [resample, area_average])
@pytest.mark.parametrize("step", [0.137, 1.0, 2.7])
def test_a_part_is_the_same_as_the_whole(operator, step: float) -> None:
    """Longer than one matrix product, cut anywhere, counted from anywhere."""
    x = signal(3, 600)
    whole_sampling = Sampling(0.3, step, min(700, int(590 / step)))
    whole = operator(x, whole_sampling)
    for first, count in ((0, 5), (100, 77), (127, 2), (whole_sampling.count - 9, 9)):
        sampling = whole_sampling.part(first, count)
        span = sampling.support(600).padded(2, 600)
        part = operator(x[:, span.slice], sampling.relative_to(span.lo))
        torch.testing.assert_close(part, whole[:, first : first + count], atol=1e-5, rtol=0)


def test_long_axes_stay_exact() -> None:
    x = torch.zeros(60_000)
    x[59_000:] = torch.arange(1000) % 2
    sampling = Sampling(59_000.25, 0.5, 1500)
    expected = np.interp(sampling.start + sampling.step * np.arange(1500), np.arange(60_000), x.numpy())
    np.testing.assert_allclose(resample(x, sampling).numpy(), expected, atol=1e-5)


@dataclass(frozen=True)
class Lopsided:
    """Twice the sample behind the position, once the one before it."""

    reach: float = 1.0

    def weights(self, distance: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.select([distance == 1, distance == -1], [2.0, 1.0], 0.0)


def test_distances_are_signed_and_the_scale_of_weights_does_not_matter() -> None:
    x = signal(10)
    result = weighted_means(x, Sampling(0, 1, 10), Lopsided())
    continued = torch.cat([x[:1], x, x[-1:]])
    torch.testing.assert_close(result, (2 * continued[2:] + continued[:-2]) / 3)


def test_dtype_is_kept() -> None:
    assert resample(torch.zeros(4, dtype=torch.float64), Sampling(0, 1, 2)).dtype == torch.float64


@pytest.mark.parametrize(("start", "count"), [(0, 9), (2, 5), (8, 1)])
def test_samples_themselves_are_taken_as_they_are(start: int, count: int) -> None:
    x = signal(2, 9)
    for off in (0.0, 1e-13, -1e-13):
        result = resample(x, Sampling(start + off, 1.0, count), 1 - 1e-12)
        assert result.data_ptr() == x[:, start:].data_ptr()
        torch.testing.assert_close(result, x[:, start : start + count], rtol=0, atol=0)


@pytest.mark.parametrize(
    "sampling", [Sampling(-1, 1, 4), Sampling(6, 1, 4), Sampling(0.01, 1, 4), Sampling(0, 1.01, 4)]
)
def test_what_is_not_samples_is_interpolated(sampling: Sampling) -> None:
    x = signal(2, 9)
    result = resample(x, sampling)
    positions = (sampling.start + sampling.step * np.arange(4)).clip(0, 8)
    if sampling.step == 1:
        expected = [np.interp(positions, np.arange(9), row) for row in x.numpy()]
        np.testing.assert_allclose(result, expected, atol=1e-6)
    assert not torch.equal(result, x[:, :4])
