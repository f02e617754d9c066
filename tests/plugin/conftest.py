"""Plugin tests need napari and a Qt binding; where they are missing the folder is skipped."""

import functools
import gc
import sys

import numpy as np
import pytest

pytest.importorskip("napari")
pytest.importorskip("pytestqt")

from npe2 import PluginManager, PluginManifest
from qtpy.QtCore import QEvent, QObject, Qt
from qtpy.QtWidgets import QAbstractButton, QApplication

from napari_niiv.models.architecture import Architecture
from napari_niiv.models.niiv import Niiv
from napari_niiv.plugin.common.closing import ClosingQuestion
from napari_niiv.plugin.controls import suitability
from napari_niiv.plugin.live.live_reconstruction import LiveReconstruction
from napari_niiv.plugin.live.settings import LiveSettings
from tests.plugin.bare_window import BareViewer
from tests.plugin.lent_window import LentWindow, process_events


@pytest.fixture(autouse=True)
def _imports_are_not_looked_through():
    """napari collects garbage whenever a layer goes: an eighth of the time, mostly for what imports have made."""
    windows = getattr(sys.modules.get("napari._qt.qt_viewer"), "QtViewer", None)
    if windows is None or not windows._instances:  # a window of a module has to be collected at its end
        gc.collect()
        gc.freeze()


@pytest.fixture(autouse=True, scope="session")
def _plugins_are_looked_for_once():
    """napari looks through all that is installed for each viewer, and reads its manifests: a tenth of the time."""
    with pytest.MonkeyPatch.context() as patch:
        discover = PluginManifest.discover
        found = functools.cache(lambda paths: list(discover(paths=paths)))
        patch.setattr(PluginManifest, "discover", lambda paths=(): iter(found(tuple(paths))))
        yield


@pytest.fixture(autouse=True)
def _no_button_is_a_window():
    """What is shown before it is in its form is a window of its own."""
    yield
    windows = QApplication.topLevelWidgets() if QApplication.instance() is not None else []
    stray = [window for window in windows if isinstance(window, QAbstractButton) and window.isVisible()]
    for window in stray:
        window.close()
    assert not [window.text() for window in stray]


@pytest.fixture(scope="module")
def _window_of_module(qapp):
    window = LentWindow()
    yield window
    window.close()


@pytest.fixture
def lent_viewer(_window_of_module, qtbot):
    """A viewer in a shown window, which the module's tests have one after the other, each as if new."""
    yield _window_of_module.lend(qtbot)
    _window_of_module.take_back()


@pytest.fixture
def _no_other_window(_window_of_module):
    _window_of_module.close()


@pytest.fixture
def make_napari_viewer(_no_other_window, make_napari_viewer):
    """Napari's: it looks for windows that were not cleaned away."""
    return make_napari_viewer


@pytest.fixture
def in_napari():
    """The viewer has napari's window, where others do without its canvas."""


@pytest.fixture
def make_bare_viewer(qapp):
    """Makes viewers whose windows have docks but no canvas."""
    made = []
    PluginManager.instance().discover()  # as napari's windows do: readers are among the plugins

    def make():
        made.append(BareViewer())
        return made[-1]

    yield make
    for viewer in made:
        viewer.window.close()
    process_events()


@pytest.fixture
def dock_viewer(request):
    """A viewer in a window with docks: quick, without a canvas, or `in_napari`'s, or a new one of napari's."""
    if "make_napari_viewer" in request.fixturenames:
        yield request.getfixturevalue("make_napari_viewer")(show=True)
        return
    if "in_napari" in request.fixturenames:
        yield request.getfixturevalue("lent_viewer")
        return
    yield request.getfixturevalue("make_bare_viewer")()


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


class Closings(QObject):
    """Counts the closings of a window that get through to napari, and keeps it open after all."""

    def __init__(self, window):
        super().__init__()
        self.count, self.window = 0, window
        window.installEventFilter(self)

    def eventFilter(self, watched, event):
        if event.type() == QEvent.Type.Close:
            self.count += 1
            event.ignore()
        return event.type() == QEvent.Type.Close

    def let_go(self):
        self.window.removeEventFilter(self)
        self.window = None  # napari's tests look for windows that stay


@pytest.fixture
def hold_open():
    """Makes a window's `Closings`; to be called before something runs that asks, as the last filter is the first."""
    made = []

    def hold(window):
        made.append(Closings(window))
        return made[-1]

    yield hold
    while made:
        made.pop().let_go()


def closing_question(window):
    """What is asked, as a window was to be closed; None if nothing is."""
    found = window.findChild(ClosingQuestion)
    return None if found is None else found.box


def click_answer(qtbot, window, text):
    """Click a button of the question, by its text."""
    buttons = closing_question(window).buttons()
    button = next(button for button in buttons if button.text().replace("&", "") == text)
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)
