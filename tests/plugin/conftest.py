"""Plugin tests need napari and a Qt binding; where they are missing the folder is skipped."""

import gc

import numpy as np
import pytest

pytest.importorskip("napari")
pytest.importorskip("pytestqt")

from napari_niiv.models.architecture import Architecture
from napari_niiv.models.niiv import Niiv
from napari_niiv.plugin.controls import suitability
from napari_niiv.plugin.live.live_reconstruction import LiveReconstruction
from napari_niiv.plugin.live.settings import LiveSettings


@pytest.fixture(autouse=True, scope="module")
def _imports_are_not_looked_through():
    """napari collects garbage whenever a layer goes: a fifth of the time, mostly for what imports have made."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _suits(monkeypatch, request):
    """Checkpoints suit all volumes, but where that is what is tested."""
    if "untried" not in request.fixturenames:
        monkeypatch.setattr(suitability, "_offer", lambda *_: ("", ""))


@pytest.fixture
def untried():
    """Checkpoints are tried on volumes."""


@pytest.fixture
def interpolating_model() -> Niiv:
    """A model whose residual is zero, so that its answer is linear interpolation: exact on a linear ramp."""
    model = Niiv(Architecture(context=1, features=4, blocks=1, samples=4))
    for parameter in model.parameters():
        parameter.data.zero_()
    return model.place("cpu")


@pytest.fixture
def messages(monkeypatch):
    """What the widget tells by notifications."""
    from napari_niiv.plugin.controls import status

    messages: list[str] = []
    for name in ("show_error", "show_info", "show_warning"):
        monkeypatch.setattr(status, name, messages.append)
    return messages


@pytest.fixture
def live(viewer, interpolating_model, qtbot):
    """The layer "ramp" of the viewer of a module, live and refined."""
    live = LiveReconstruction(viewer, viewer.layers["ramp"], LiveSettings(interpolating_model))
    wait_final(qtbot, live)
    yield live
    live.close()


def ramp(shape: tuple[int, ...], slopes: tuple[float, ...]) -> np.ndarray:
    """Values linear in the voxel indices: what interpolation reproduces exactly away from the borders."""
    grids = np.meshgrid(*(np.arange(n, dtype=np.float32) for n in shape), indexing="ij")
    return np.asarray(sum(s * g for s, g in zip(slopes, grids, strict=True)), dtype=np.float32)


def wait_final(qtbot, live, action=lambda: None, **wanted):
    """Do something and wait for the best picture of what is then on display."""

    def fits(shown):
        request = shown.response.request
        return shown.final and all(getattr(request, key) == value for key, value in wanted.items())

    with qtbot.waitSignal(live.shown, timeout=20_000, check_params_cb=fits) as waited:
        action()
    return waited.args[0]
