"""What all tests share: a safe OpenGL on Mesa, few threads, the large test volumes."""

from __future__ import annotations

import gc
import json
import os
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import settings
from numpy.typing import NDArray

if TYPE_CHECKING:
    from napari_niiv.models.niiv import Niiv

if "PYTEST_XDIST_WORKER" in os.environ:
    # set_num_threads speaks for one thread: products in others would be cut in two, and rounded differently
    os.environ.setdefault("OMP_NUM_THREADS", "1")

# imports and windows make very many objects that stay: to look through them so often takes a twentieth of the time
gc.set_threshold(50_000)

# napari's preferences stay in memory: the user's are neither read nor written, dozens of times a test
os.environ["NAPARI_CONFIG"] = ""

try:
    import torch
except ImportError:
    pass
else:
    torch.set_num_threads(1 if "PYTEST_XDIST_WORKER" in os.environ else 2)

settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.load_profile("repeatable")

if sys.platform.startswith("linux"):
    try:
        from vispy.gloo.glir import GlirProgram
    except ImportError:
        pass
    else:
        # Mesa 22 crashes in glDeleteProgram when napari removes a layer and adds another in a shown window.
        GlirProgram.delete = lambda self: None


@pytest.fixture(autouse=True)
def float32(monkeypatch: pytest.MonkeyPatch) -> None:
    """CPUs that multiply bfloat16 would round where others do not: numbers are the same on every computer."""
    if "torch" in sys.modules:
        monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False, raising=False)
        monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False, raising=False)


@pytest.fixture(autouse=True)
def state_folder(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What is remembered of files goes to a folder of the test, never to the user's."""
    folder = tmp_path_factory.getbasetemp() / "states" / uuid.uuid4().hex  # made when something is remembered
    monkeypatch.setenv("NAPARI_NIIV_STATE", str(folder))
    return folder


@pytest.fixture
def stored() -> Callable[[Path], dict[str, bytes]]:
    """What a zarr hierarchy holds: metadata files, and voxels, as the order of a shard's chunks is left open."""
    import zarr

    def of(path: Path) -> dict[str, bytes]:
        found = {}
        for file in path.rglob("zarr.json"):
            name = str(file.relative_to(path))
            found[name] = file.read_bytes()
            if json.loads(found[name])["node_type"] == "array":
                found[str(file.parent.relative_to(path))] = zarr.open_array(file.parent, mode="r")[...].tobytes()
        return found

    return of


@pytest.fixture
def bfloat16(float32: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """A CPU that multiplies bfloat16, as far as the package knows: any torch computes in it."""
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True, raising=False)


@pytest.fixture
def one_thread() -> Iterator[None]:
    """For tiny trainings: on a busy computer, several threads wait for each other longer than they work."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of the large test volumes: NAPARI_NIIV_DATA, or shared/data beside the checkout; skips without it."""
    named = os.environ.get("NAPARI_NIIV_DATA")
    folder = Path(named) if named else Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"no test volumes at {folder}; name their folder in NAPARI_NIIV_DATA")
    return folder


@pytest.fixture(scope="session")
def small_model() -> Callable[..., Niiv]:
    """Builds a tiny model with random weights of every order, so that nothing it does is trivial."""
    from napari_niiv.models.architecture import Architecture
    from napari_niiv.models.niiv import Niiv

    tiny: dict[str, Any] = {
        "context": 1,
        "features": 4,
        "blocks": 1,
        "samples": 4,
        "latent": 6,
        "mlp_width": 8,
        "mlp_layers": 3,
        "degree": 2,
    }

    def build(seed: int = 0, **architecture: Any) -> Niiv:
        model = Niiv(Architecture(**{**tiny, **architecture}))
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for weights in model.parameters():
                weights.copy_(0.25 * torch.randn(weights.shape, generator=generator))
        return model.place("cpu")

    return build


@pytest.fixture(scope="session")
def linear_model(small_model: Callable[..., Niiv]) -> Niiv:
    """A model whose residual is zero: it interpolates linearly, through all the machinery."""
    model = small_model()
    with torch.no_grad():
        for weights in model.parameters():
            weights.zero_()
    return model


@pytest.fixture(scope="session")
def texture() -> Callable[..., NDArray[np.float32]]:
    """Builds a smooth random volume in 0 … 1 with structures of about `size` voxels."""
    from scipy.ndimage import gaussian_filter

    def build(shape: tuple[int, ...], seed: int = 0, size: float = 2.0) -> NDArray[np.float32]:
        noise = np.random.default_rng(seed).normal(size=shape)
        smooth = gaussian_filter(noise, [0] * (len(shape) - 3) + [size] * 3, mode="wrap")
        low, high = smooth.min(), smooth.max()
        return ((smooth - low) / (high - low)).astype(np.float32)

    return build
