"""Side views that take long appear strip by strip."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from napari_niiv.geometry import Sampling
from napari_niiv.reconstruction import batch_budget
from napari_niiv.reconstruction.views import latents
from napari_niiv.reconstruction.views.reconstructor import Reconstructor
from napari_niiv.reconstruction.views.request import SliceRequest
from napari_niiv.volume import Volume


@pytest.mark.parametrize("decoder", ["subvoxel", "implicit", "reference"])
@pytest.mark.parametrize("plane", ["xz", "yz"])
def test_without_time_it_comes_strip_by_strip(
    small_model, texture, monkeypatch: pytest.MonkeyPatch, decoder: str, plane: str
) -> None:
    model = small_model(decoder=decoder, context=0 if decoder == "reference" else 1)
    volume = Volume(texture((6, 64, 64)), voxel_size=(4, 1, 1))
    request = SliceRequest(plane, 20, Sampling.covering(6, 24), Sampling.covering(64, 64))
    expected = {q: Reconstructor(volume, model).slice(request, q).image for q in ("fast", "refined")}
    linear = Reconstructor(volume, model).slice(request, "placeholder").image
    monkeypatch.setitem(latents.CELL_EDGE, "cpu", 8)
    monkeypatch.setitem(batch_budget.BATCH_PIXELS, "cpu", 1)  # strips of one cell
    clock = itertools.count()
    monkeypatch.setattr("napari_niiv.reconstruction.views.deadline.time.perf_counter", lambda: next(clock))
    reconstructor = Reconstructor(volume, model)
    done = []
    while True:
        response = reconstructor.slice(request, "fast", time_limit=0)
        right = np.isclose(response.image, expected["fast"], atol=1e-4).all(0)
        assert np.isclose(response.image[:, ~right], linear[:, ~right], atol=1e-4).all()
        done.append(right.sum())
        if response.complete:
            break
        assert right[24:40].sum() >= 8, "it begins in the middle"
    assert done == list(range(8, 65, 8))
    while not (response := reconstructor.slice(request, "refined", time_limit=0)).complete:
        pass
    np.testing.assert_allclose(response.image, expected["refined"], atol=1e-4)
