"""xy pictures between the measured slices."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import convolve1d

from napari_niiv.geometry import Sampling
from napari_niiv.interrupt import Interrupted, interrupt_if
from napari_niiv.reconstruction.cache import Memory
from napari_niiv.reconstruction.views import latents
from napari_niiv.reconstruction.views.reconstructor import Reconstructor
from napari_niiv.reconstruction.views.request import SliceRequest
from napari_niiv.reconstruction.whole import reconstruct
from napari_niiv.volume import Volume


def request(index: float, height: int = 30, width: int = 40, **more) -> SliceRequest:
    return SliceRequest("xy", index, Sampling.covering(height, height), Sampling.covering(width, width), **more)


@pytest.fixture
def volume(texture) -> Volume:
    return Volume(texture((20, 30, 40)), voxel_size=(4, 1, 1))


@pytest.mark.parametrize("decoder", ["subvoxel", "implicit", "reference"])
@pytest.mark.parametrize(("quality", "planes"), [("fast", "xz"), ("refined", "both")])
@pytest.mark.parametrize("cell", [16, 64])
def test_it_is_a_slice_of_the_isotropic_volume(
    small_model, volume: Volume, monkeypatch, decoder: str, quality: str, planes: str, cell: int
) -> None:
    monkeypatch.setitem(latents.TILE_EDGE, "cpu", cell)
    model = small_model(decoder=decoder, context=0 if decoder == "reference" else 1)
    isotropic = np.asarray(reconstruct(volume, model, planes=planes).array)
    reconstructor = Reconstructor(volume, model)
    for row in (0, 1, 30, 33, 79):  # at the ends, within a slab of cells, at its border
        z = (row + 0.5) / 4 - 0.5
        if z < 0 or z > 19:
            continue
        response = reconstructor.slice(request(z), quality)
        assert response.inferred
        assert response.complete
        np.testing.assert_allclose(response.image, isotropic[row], atol=1e-4)


def test_windows_and_zooms(small_model, volume: Volume) -> None:
    reconstructor = Reconstructor(volume, small_model())
    whole = reconstructor.slice(request(7.3)).image
    window = SliceRequest("xy", 7.3, Sampling(5, 1, 11), Sampling(17, 1, 20))
    fresh = Reconstructor(volume, small_model()).slice(window).image
    np.testing.assert_allclose(fresh, whole[5:16, 17:37], atol=1e-5)
    finer = SliceRequest("xy", 7.3, Sampling(5, 0.5, 11), Sampling(17, 0.5, 20))
    result = reconstructor.slice(finer).image
    np.testing.assert_allclose(result[::2, ::2], whole[5:11, 17:27], atol=1e-5)


def test_a_measured_slice_is_shown_as_it_is(small_model, volume: Volume) -> None:
    response = Reconstructor(volume, small_model()).slice(request(7))
    assert not response.inferred
    np.testing.assert_allclose(response.image, volume.array[7], atol=1e-5)


def test_without_time_it_comes_piece_by_piece(small_model, volume: Volume, monkeypatch) -> None:
    monkeypatch.setitem(latents.TILE_EDGE, "cpu", 16)
    model = small_model()
    expected = {q: Reconstructor(volume, model).slice(request(7.3), q).image for q in ("fast", "refined")}
    linear = 0.7 * volume.array[7] + 0.3 * volume.array[8]
    reconstructor = Reconstructor(volume, model)
    clock = itertools.count()
    monkeypatch.setattr("napari_niiv.reconstruction.views.deadline.time.perf_counter", lambda: next(clock))
    restored = []
    for _ in range(20):
        response = reconstructor.slice(request(7.3), "fast", time_limit=0)
        done = np.isclose(response.image, expected["fast"], atol=1e-5)
        assert np.isclose(response.image[~done], linear[~done], atol=1e-5).all()
        restored.append(done.mean())
        if response.complete:
            break
    assert len(restored) > 2
    assert restored == sorted(restored)
    assert restored[-1] == 1
    assert reconstructor.is_cached(request(7.3), "fast")
    assert not reconstructor.is_cached(request(7.3), "refined")
    while not (response := reconstructor.slice(request(7.3), "refined", time_limit=0)).complete:
        pass
    np.testing.assert_allclose(response.image, expected["refined"], atol=1e-5)


def test_nothing_that_is_kept_is_encoded_again(small_model, volume: Volume, monkeypatch) -> None:
    model = small_model()
    reconstructor = Reconstructor(volume, model)
    reconstructor.slice(request(9.3))
    monkeypatch.setattr(model, "encode", None)
    reconstructor.slice(request(9.6))  # another height in the same slab
    reconstructor.slice(SliceRequest("xy", 9.6, Sampling(5, 0.1, 11), Sampling(17, 0.1, 20)))


def test_it_stops_and_needs_no_memory(small_model, volume: Volume) -> None:
    with pytest.raises(Interrupted):
        Reconstructor(volume, small_model()).slice(request(7.3), interrupt=interrupt_if(lambda: True))


def test_projected_the_slices_between_average_to_the_measured_one(small_model, volume: Volume) -> None:
    reconstructor = Reconstructor(volume, small_model())
    heights = [7 + (j + 0.5) / 4 - 0.5 for j in range(4)]
    pictures = [reconstructor.slice(request(z, project=True)).image for z in heights]
    np.testing.assert_allclose(np.mean(pictures, 0), volume.array[7], atol=1e-5)


def test_where_the_orientations_disagree(small_model, volume: Volume) -> None:
    reconstructor = Reconstructor(volume, small_model())
    asked = request(7.3, trust=("disagreement", "misfit"))
    response = reconstructor.slice(asked)
    xz = reconstructor.slice(asked, "fast").image
    apart = 2.0 * np.abs(response.image - xz)
    reach = volume.anisotropy
    weights = np.maximum(1 - np.abs(np.arange(-np.ceil(reach), np.ceil(reach) + 1)) / reach, 0)
    for axis in (0, 1):
        apart = convolve1d(apart, weights / weights.sum(), axis=axis, mode="nearest")
    np.testing.assert_allclose(response.trust["disagreement"], apart, atol=1e-4)
    assert "misfit" not in response.trust


def test_a_window_disagrees_where_the_whole_does(small_model, volume: Volume, monkeypatch) -> None:
    whole = request(7.3, trust=("disagreement",))
    window = replace(whole, rows=whole.rows.part(9, 8), columns=whole.columns.part(20, 11))
    expected = Reconstructor(volume, small_model()).slice(whole).trust["disagreement"]
    monkeypatch.setitem(latents.TILE_EDGE, "cpu", 16)
    part = Reconstructor(volume, small_model()).slice(window).trust["disagreement"]
    np.testing.assert_allclose(part, expected[9:17, 20:31], atol=1e-4)


def test_little_memory_changes_nothing(small_model, volume: Volume) -> None:
    expected = Reconstructor(volume, small_model()).slice(request(7.3)).image
    small = Reconstructor(volume, small_model(), memory=Memory(host_bytes=2))
    np.testing.assert_allclose(small.slice(request(7.3)).image, expected, atol=1e-5)
