"""One widget, whatever way it was opened: by the menu's own action, the plugin's buttons, or a dropped checkpoint."""

from __future__ import annotations

import numpy as np
import pytest
from magicgui.widgets import Label
from napari._app_model import get_app_model

from napari_niiv.models.catalog import checkpoint_path
from napari_niiv.plugin.common.docks import is_behind, open_dock
from napari_niiv.plugin.common.questions import Urgency
from napari_niiv.plugin.controls import status
from napari_niiv.plugin.manifest_names import TRAINING, WIDGET


@pytest.fixture
def viewer(make_napari_viewer):
    viewer = make_napari_viewer(show=True)
    viewer.window.resize(1280, 800)
    stack = np.random.default_rng(0).integers(0, 255, (12, 32, 40), np.uint8)
    viewer.add_image(stack, scale=(4, 1, 1), name="stack")
    return viewer


def by_menu(name: str) -> None:
    """What a click on the entry of napari's menu does."""
    get_app_model().commands.execute_command(f"napari-niiv.{name}").result()


def docks(viewer) -> list[str]:
    """Titles without the plugin's name."""
    return sorted(title.split(" (")[0] for title in viewer.window.dock_widgets)


def test_training_from_a_widget_that_the_menu_opened(viewer, qtbot):
    by_menu("reconstruct_widget")
    (widget,) = viewer.window.dock_widgets.values()
    widget.open_training()
    assert docks(viewer) == [WIDGET, TRAINING]
    training = next(w for title, w in viewer.window.dock_widgets.items() if title.startswith(TRAINING))
    training._preview(checkpoint_path("lm"))  # as when a training has a checkpoint to show
    assert docks(viewer) == [WIDGET, TRAINING]
    used = (str(checkpoint_path("lm")), "auto")
    qtbot.waitUntil(lambda: widget.models.loaded == used, timeout=20_000)
    live = [layer.name for layer in viewer.layers if layer.name.endswith("(isotropic)")]
    assert live == ["stack (isotropic)"]


def test_a_question_behind_another_tab_is_told(viewer, qtbot, monkeypatch):
    told = []
    monkeypatch.setattr(status, "show_info", told.append)
    widget = open_dock(viewer, WIDGET)
    question = widget._host.questions.add(Urgency.BY_HAND, lambda: (Label(value="?"),))
    question.ask()
    question.ask(False)
    assert told == []
    widget.open_training()
    qtbot.waitUntil(lambda: is_behind(widget.native))
    question.ask()
    assert told == [f"{WIDGET} has a question: bring its tab to the front."]


def test_the_menu_finds_what_the_plugin_opened(viewer):
    widget = open_dock(viewer, WIDGET)
    dock = widget.native.parent()
    by_menu("reconstruct_widget")  # it is there: napari's menu hides it
    assert list(viewer.window.dock_widgets.values()) == [widget]
    assert not dock.isVisible()
    assert open_dock(viewer, WIDGET) is widget  # and here it is shown again
    assert dock.isVisible()


def test_a_checkpoint_opened_by_napari_goes_to_the_widget_of_the_menu(viewer, tmp_path):
    by_menu("reconstruct_widget")
    (widget,) = viewer.window.dock_widgets.values()
    path = tmp_path / "mine.safetensors"
    path.write_bytes(checkpoint_path("lm").read_bytes())
    viewer.open(str(path), plugin="napari-niiv")
    assert docks(viewer) == [WIDGET]
    assert widget.models.checkpoint.value == str(path)
