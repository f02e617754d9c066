"""One slice in world units."""

from __future__ import annotations

import gc
import math
import weakref
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from napari_niiv.errors import ReconstructionError
from napari_niiv.normalization import Normalization
from napari_niiv.reconstruction.planes import AXES
from napari_niiv.reconstruction.single_slice import reconstruct_slice, slice_request
from napari_niiv.reconstruction.views.reconstructor import Reconstructor
from napari_niiv.reconstruction.whole import reconstruct
from napari_niiv.volume import Volume


def ramp(anisotropy: float = 4.0) -> Volume:
    z, y, x = np.mgrid[:12, :40, :44].astype(np.float32)
    return Volume(3 * z - 2 * y + x, voxel_size=(anisotropy * 0.2, 0.2, 0.2), unit="micrometer")


@pytest.mark.parametrize("plane", ["xz", "yz"])
@pytest.mark.parametrize("anisotropy", [1.3, 2.5, 4.0])
def test_by_default_it_is_the_plane_of_the_isotropic_volume(small_model, texture, plane: str, anisotropy) -> None:
    volume = Volume(texture((7, 21, 25)), voxel_size=(anisotropy * 0.3, 0.3, 0.3))
    model = small_model()
    for quality, planes in (("refined", "both"), ("fast", plane)):
        file = reconstruct(volume, model, planes=planes).array.compute()
        expected = file[:, 11] if plane == "xz" else file[:, :, 11]
        result = reconstruct_slice(volume, model, plane, 11, quality=quality)
        np.testing.assert_allclose(result, expected, atol=1e-4)


# what is kept from one call to the next


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[Volume]:
    """The volumes whose intensities were measured."""
    volumes: list[Volume] = []
    of = Normalization.of

    def watching(volume: Volume) -> Normalization:
        volumes.append(volume)
        return of(volume)

    monkeypatch.setattr(Normalization, "of", watching)
    return volumes


def test_a_second_call_measures_nothing_and_encodes_nothing_anew(
    small_model, texture, monkeypatch, measured: list[Volume]
) -> None:
    volume, model = Volume(texture((7, 21, 25)), voxel_size=(4.0, 1.0, 1.0)), small_model()
    first = reconstruct_slice(volume, model, "xz", 5)
    monkeypatch.setattr(model, "encode", None)
    np.testing.assert_array_equal(reconstruct_slice(volume, model, "xz", 5), first)
    reconstruct_slice(volume, model, "xz", 5, pixel_size=0.5, window=(0, 3, 20, 12))
    assert len(measured) == 1


@pytest.mark.parametrize("changed", ["voxels", "weights", "model", "volume"])
def test_what_was_changed_is_restored_anew(small_model, texture, changed: str) -> None:
    volume, model = Volume(texture((7, 21, 25)), voxel_size=(4.0, 1.0, 1.0)), small_model()
    before = reconstruct_slice(volume, model, "xz", 5)
    if changed == "voxels":
        volume.array[:] = np.sqrt(volume.array)
    elif changed == "weights":
        with torch.no_grad():
            model.encoder.kernels[0].mul_(2)
        model.encoder.forget()
    elif changed == "model":
        model = small_model(features=6)
    else:
        volume = replace(volume, voxel_size=(2.0, 1.0, 1.0))
    after = reconstruct_slice(volume, model, "xz", 5)
    expected = Reconstructor(volume, model).slice(slice_request(volume, "xz", 5)).image
    np.testing.assert_array_equal(after, expected)
    assert after.shape != before.shape or np.abs(after - before).max() > 1e-4


def test_what_is_kept_goes_with_the_volume(small_model, texture) -> None:
    volume = Volume(texture((7, 21, 25)), voxel_size=(4.0, 1.0, 1.0))
    reconstruct_slice(volume, small_model(), "xz", 5)
    array = weakref.ref(volume.array)
    del volume
    gc.collect()
    assert array() is None


@given(
    depth=st.integers(1, 99),
    hundredths=st.integers(100, 1600),
    micrometers=st.sampled_from([0.1, 0.12, 0.0046, 7.0]),
)
def test_it_has_the_size_of_the_isotropic_volume(depth: int, hundredths: int, micrometers: float) -> None:
    """Also where rounding decides: 3 voxels at 2.5 are 7.5 samples."""
    array = np.broadcast_to(np.float32(0), (depth, 2, 2))
    volume = Volume(array, voxel_size=(hundredths * micrometers / 100, micrometers, micrometers))
    expected = max(1, round(depth * volume.anisotropy))
    assert slice_request(volume, "xz", 0).rows.count == expected
    assert slice_request(volume, "yz", 0).rows.count == expected


@pytest.mark.parametrize("quality", ["placeholder", "fast", "refined"])
@pytest.mark.parametrize("pixel_size", [None, 0.1, 0.07])
def test_a_window_of_a_ramp(linear_model, quality: str, pixel_size: float | None) -> None:
    window = (2.0, 1.5, 6.0, 6.1)  # top, left, bottom, right
    result = reconstruct_slice(ramp(), linear_model, "xz", 20, window=window, pixel_size=pixel_size, quality=quality)
    pixel = pixel_size or 0.2
    rows, columns = round(4.0 / pixel), round(4.6 / pixel)
    assert result.shape == (rows, columns)
    z = window[0] + 4.0 * (np.arange(rows) + 0.5) / rows
    x = window[1] + 4.6 * (np.arange(columns) + 0.5) / columns
    expected = 3 * z[:, None] / 0.8 - 2 * 20 + x / 0.2
    np.testing.assert_allclose(result, expected, atol=2e-3)


def test_a_window_is_clipped_to_the_volume(linear_model) -> None:
    clipped = slice_request(ramp(), "xz", 3, window=(-100, 2, 4.4, 100), pixel_size=0.2)
    assert clipped.rows.start - clipped.rows.step / 2 == pytest.approx(-0.5)
    assert clipped.columns.end + clipped.columns.step / 2 == pytest.approx(43.5)
    assert reconstruct_slice(ramp(), linear_model, "xz", 3, window=(-9, 1.9, 4.4, 99)).shape == (24, 34)


@pytest.mark.parametrize("plane", AXES)
def test_axes_of_each_plane(linear_model, plane: str) -> None:
    volume = ramp()
    result = reconstruct_slice(volume, linear_model, plane, 5, pixel_size=0.2, quality="placeholder")
    _, row, column = AXES[plane]
    assert result.shape == tuple(round(volume.shape[a] * volume.voxel_size[a] / 0.2) for a in (row, column))
    gradients = [np.diff(result, axis=axis)[10:-10, 10:-10].mean() for axis in (0, 1)]
    slopes = [3 / 4, -2, 1]
    np.testing.assert_allclose(gradients, [slopes[row], slopes[column]], atol=1e-3)


def test_voxels_that_are_not_square(linear_model) -> None:
    z, y, x = np.mgrid[:6, :30, :20].astype(np.float32)
    volume = Volume(5 * z + y + 2 * x, voxel_size=(4.0, 0.5, 1.0))
    result = reconstruct_slice(volume, linear_model, "xy", 2, pixel_size=0.5)
    assert result.shape == (30, 40)
    assert result[10, 20] == pytest.approx(5 * 2 + 10 + 2 * (20 * 0.5 - 0.25), abs=1e-3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"plane": "zx"}, "no plane"),
        ({"index": 40}, "outside 0 to 39"),
        ({"pixel_size": 0}, "not positive"),
        ({"pixel_size": -1}, "not positive"),
        ({"pixel_size": math.nan}, "not positive"),
        ({"window": (5, 0, 4, 3)}, "does not touch"),
        ({"window": (0, 90, 4, 95)}, "does not touch"),
        ({"window": (math.nan, 0, 4, 5)}, "does not touch"),
    ],
)
def test_requests_that_make_no_sense(linear_model, arguments, message: str) -> None:
    with pytest.raises(ReconstructionError, match=message):
        reconstruct_slice(ramp(), linear_model, **{"plane": "xz", "index": 0, **arguments})


def test_a_volume_with_more_axes_is_refused_by_name(linear_model) -> None:
    volume = Volume(np.zeros((2, 3, 4, 5)), "czyx", (2.0, 1.0, 1.0))
    with pytest.raises(ReconstructionError, match="leading"):
        reconstruct_slice(volume, linear_model, "xz", 0)
