"""Exports on a GPU: those of `reconstruct`, and the CPU's within the digits of half precision."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import zarr

from napari_niiv.export import ExportConfig, export
from napari_niiv.models.checkpoint import load_model
from napari_niiv.reconstruction.whole import reconstruct
from tests.export.conftest import make

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]


@pytest.mark.parametrize("dtype", ["u1", "u2", "i4", "f4"])
@pytest.mark.parametrize("project", [False, True])
def test_it_is_the_reconstruction(texture, tmp_path, dtype: str, project: bool) -> None:
    volume = make(texture((30, 200, 260)), dtype)
    config = ExportConfig(shard=1 << 20, block=(16, 64), project=project)
    cpu, gpu = load_model("em", "cpu"), load_model("em", "cuda")
    list(export(volume, gpu, tmp_path / "out.zarr", config))
    result = zarr.open_array(tmp_path / "out.zarr" / "0", mode="r")[...]
    here = reconstruct(volume, gpu, block=(16, 64), project=project).array.compute()
    assert np.abs(result.astype(float) - here).max() <= 1  # convolutions choose their kernels by the shape
    there = reconstruct(volume, cpu, project=project).array.compute()
    np.testing.assert_allclose(result.astype(float), there.astype(float), atol=3)


@pytest.mark.parametrize("kind", ["dask's", "dask-cuda's"])
@pytest.mark.parametrize("workers", [1, 2])
def test_workers_share_the_gpus(texture, tmp_path, monkeypatch, workers: int, kind: str) -> None:
    pytest.importorskip("distributed")
    if kind == "dask's":
        monkeypatch.setattr("napari_niiv.export.engines.dask_workers.find_spec", lambda name: None)
    else:
        pytest.importorskip("dask_cuda")
    volume, model = make(texture((30, 200, 260))), load_model("em", "cuda")
    settings = {"shard": 1 << 20, "block": (16, 64)}
    list(export(volume, model, tmp_path / "alone.zarr", ExportConfig(**settings)))
    list(export(volume, model, tmp_path / "many.zarr", ExportConfig(**settings, workers=workers)))
    alone, many = (zarr.open_array(tmp_path / name / "0")[...] for name in ("alone.zarr", "many.zarr"))
    assert np.abs(alone.astype(int) - many).max() <= 1
