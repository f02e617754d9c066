"""Views on a GPU: the same pictures as on the CPU, within the digits of half precision."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
import torch

from napari_niiv.cuda_graphs import Recordings
from napari_niiv.geometry import Sampling
from napari_niiv.models.checkpoint import load_model
from napari_niiv.reconstruction.cache import Memory
from napari_niiv.reconstruction.views.reconstructor import Reconstructor
from napari_niiv.reconstruction.views.request import SliceRequest
from napari_niiv.volume import Volume

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]


def request(plane: str) -> SliceRequest:
    rows = Sampling.covering(40, 40) if plane == "xy" else Sampling.covering(12, 48)
    columns = Sampling.covering(50 if plane != "yz" else 40, 50)
    return SliceRequest(plane, 5.3 if plane == "xy" else 20, rows, columns, trust=("disagreement", "misfit"))


@pytest.mark.parametrize("plane", ["xz", "yz", "xy"])
@pytest.mark.parametrize("quality", ["placeholder", "fast", "refined"])
@pytest.mark.parametrize("dtype", ["u1", "u2", "i2", "f4", "f8"])
def test_it_is_the_picture_of_the_cpu(texture, plane: str, quality: str, dtype: str) -> None:
    array = (200 * texture((12, 40, 50))).astype(dtype)
    volume = Volume(array, voxel_size=(4, 1, 1))
    cpu, gpu = (Reconstructor(volume, load_model("em", d)).slice(request(plane), quality) for d in ("cpu", "cuda"))
    assert gpu.image.dtype == cpu.image.dtype
    np.testing.assert_allclose(gpu.image.astype(float), cpu.image.astype(float), atol=3)
    assert gpu.trust.keys() == cpu.trust.keys()
    for name, values in gpu.trust.items():
        np.testing.assert_allclose(values, cpu.trust[name], atol=5)


def test_the_gpu_holds_no_more_than_it_is_allowed(texture) -> None:
    volume = Volume(texture((64, 300, 300)), voxel_size=(8, 1, 1))
    memory = Memory(gpu_bytes=1 << 28)
    reconstructor = Reconstructor(volume, load_model("em", "cuda"), memory=memory)
    for index in range(0, 300, 3):
        whole = SliceRequest("xz", index, Sampling.covering(64, 512), Sampling.covering(300, 300))
        reconstructor.slice(whole)
        assert memory.latents(torch.device("cuda")).bytes <= 1 << 28


def test_out_of_memory_in_the_middle_of_a_scroll(texture) -> None:
    volume = Volume(texture((64, 512, 512)), voxel_size=(8, 1, 1))
    model = load_model("em-large", "cuda")
    reconstructor = Reconstructor(volume, model)
    views = [
        SliceRequest("xz", index, Sampling.covering(64, 512), Sampling.covering(512, 512)) for index in range(200, 206)
    ]
    expected = [reconstructor.slice(view).image for view in views]
    reconstructor.forget()
    Recordings.of(model).forget()  # what is recorded needs no more memory
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved() + (100 << 20)) / total)
    others = _all_memory(16 << 20)  # also what torch has reserved and other tests left unused
    del others[:6]
    try:
        responses = [reconstructor.slice(view) for view in views]
    finally:
        others.clear()
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert any("smaller tiles" in response.notice for response in responses)
    assert model.device.type == "cuda"
    for response, image in zip(responses, expected, strict=True):
        np.testing.assert_allclose(response.image, image, atol=0.03)


def _all_memory(block: int) -> list[torch.Tensor]:
    """Blocks of so many bytes, until there are no more."""
    blocks: list[torch.Tensor] = []
    with contextlib.suppress(torch.OutOfMemoryError):
        while True:
            blocks.append(torch.empty(block, dtype=torch.uint8, device="cuda"))
    return blocks
