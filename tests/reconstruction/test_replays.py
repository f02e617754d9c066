"""On a GPU recurring batches are replayed: the pictures are those of the network called layer by layer."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from torch import Tensor

from napari_niiv.cuda_graphs import Recordings
from napari_niiv.geometry import Sampling
from napari_niiv.interrupt import Interrupted
from napari_niiv.models.niiv import Niiv
from napari_niiv.reconstruction import batches
from napari_niiv.reconstruction.inference import restore_box
from napari_niiv.reconstruction.single_slice import slice_request
from napari_niiv.reconstruction.views.reconstructor import Reconstructor
from napari_niiv.volume import Volume

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]
CELLS = [(1, 1), (4, 4), (2, 3)]  # slices, pixels


@pytest.fixture(params=CELLS, ids=lambda cell: f"{cell[0]} slices, {cell[1]} pixels")
def model(request, small_model) -> Niiv:
    slices, pixels = request.param
    return small_model(slices=slices, lateral=pixels, context=2, noise=0.1, features=8).place("cuda")


def restored(model: Niiv, voxels: Tensor, anisotropy: float = 4.0, level: float = 0.0, samples: int = 4) -> Tensor:
    axial = Sampling.covering(len(voxels), samples * len(voxels))
    return restore_box(model, voxels, anisotropy, axial, ("xz", "yz"), level=level)


def some(seed: int, *shape: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)).cuda()


@pytest.fixture
def step_by_step(monkeypatch: pytest.MonkeyPatch):
    """Restores without recordings."""

    def restore(*args, **options) -> Tensor:
        with monkeypatch.context() as patch:
            patch.setattr(batches, "_MOST_REPLAYED", 0)
            return restored(*args, **options)

    return restore


def test_a_replay_is_the_same(model: Niiv, step_by_step) -> None:
    for seed in range(5):
        voxels = some(seed, 6, 21, 25)
        torch.testing.assert_close(restored(model, voxels), step_by_step(model, voxels), rtol=0, atol=1e-5)
    assert len(Recordings.of(model)) == 2


def test_anisotropy_noise_pitch_and_weights_are_told_apart(model: Niiv, step_by_step) -> None:
    changes = [{}, {"anisotropy": 5.5}, {"level": 0.07}, {"samples": 5}, {"level": 0.02}, {"level": 0.0}]
    for seed in range(4):
        voxels = some(seed, 5, 12, 12)
        for change in changes:
            result = restored(model, voxels, **change)
            torch.testing.assert_close(result, step_by_step(model, voxels, **change), rtol=0, atol=1e-5)
        # up to the highest level that is told apart
        low, high, higher = (restored(model, voxels, level=level) for level in (0.0, 0.07, 0.1))
        assert (high - low).abs().max() > 1e-3
        torch.testing.assert_close(high, higher, rtol=0, atol=1e-5)
    with torch.no_grad():
        model.encoder.kernels[0].mul_(1.5)
    model.encoder.forget()
    for _ in range(4):
        torch.testing.assert_close(restored(model, voxels), step_by_step(model, voxels), rtol=0, atol=1e-5)


def test_two_models_do_not_mix(small_model, step_by_step) -> None:
    models = [small_model(seed, slices=4, lateral=4, features=8).place("cuda") for seed in (0, 1)]
    for seed in range(5):
        voxels = some(seed, 5, 12, 12)
        for model in models:
            torch.testing.assert_close(restored(model, voxels), step_by_step(model, voxels), rtol=0, atol=1e-5)


def test_threads_share_a_model(model: Niiv, step_by_step) -> None:
    inputs = [some(seed, 5, 12 + seed % 3, 12) for seed in range(12)]
    expected = [step_by_step(model, voxels) for voxels in inputs]

    def thread(number: int) -> None:
        for run in range(12):
            which = (number + run) % len(inputs)
            result = restored(model, inputs[which])
            torch.testing.assert_close(result, expected[which], rtol=0, atol=1e-5)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(thread, range(8)))


def test_views_are_the_same_after_scrolls(model: Niiv, texture, monkeypatch: pytest.MonkeyPatch) -> None:
    volume = Volume(texture((12, 60, 70)), voxel_size=(4, 1, 1))
    replayed = Reconstructor(volume, model)
    pictures = {i: replayed.slice(slice_request(volume, "xz", i), "refined").image for i in range(16, 48)}
    assert len(Recordings.of(model)) > 0
    monkeypatch.setattr(batches, "_MOST_REPLAYED", 0)
    plain = Reconstructor(volume, model)
    for index, picture in pictures.items():
        expected = plain.slice(slice_request(volume, "xz", index), "refined").image
        np.testing.assert_allclose(picture, expected, atol=1e-4)


def test_an_interrupt_is_heard(model: Niiv) -> None:
    voxels, axial = some(0, 5, 12, 12), Sampling.covering(5, 20)
    for _ in range(4):
        restore_box(model, voxels, 4.0, axial, ("xz",))

    def stop() -> None:
        raise Interrupted

    with pytest.raises(Interrupted):
        restore_box(model, voxels, 4.0, axial, ("xz",), interrupt=stop)


def test_back_on_the_cpu(model: Niiv) -> None:
    voxels = some(0, 5, 12, 12)
    for _ in range(4):
        on_gpu = restored(model, voxels)
    model.place("cpu")
    rounding = 0.02 * float(on_gpu.abs().max())  # of float16, and of bfloat16 where a CPU has it
    torch.testing.assert_close(restored(model, voxels.cpu()), on_gpu.cpu(), rtol=0, atol=rounding)
