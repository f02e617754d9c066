"""Layers of all kinds come, change and go in any order, with everything of the plugin attached; without a window."""

from __future__ import annotations

import gc
import logging
import sys
import threading
import weakref
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

pytest.importorskip("napari")

from napari.components import ViewerModel
from napari.experimental import link_layers, unlink_layers
from napari.layers import Image, Labels, Layer, Points
from qtpy.QtWidgets import QDockWidget, QWidget

from napari_niiv.plugin.common.layers import COVER, LIVE
from napari_niiv.plugin.controls.model_choice import ModelChoice
from napari_niiv.plugin.ortho import ortho_views
from napari_niiv.plugin.widget import IsotropicReconstruct

SHAPE = (5, 12, 14)
RAMP = np.arange(np.prod(SHAPE), dtype=np.uint16).reshape(SHAPE)
BIG = np.tile(RAMP, (1, 2, 2))
KINDS = {
    "2-D": lambda: Image(RAMP[0]),
    "RGB": lambda: Image(np.zeros((5, 12, 14, 3), np.uint8), rgb=True),
    "3-D": lambda: Image(RAMP, scale=(4, 1, 1)),
    "moved": lambda: Image(RAMP, scale=(3, 0.5, 0.5), translate=(7, 8, 9), rotate=20),
    "4-D": lambda: Image(np.stack([RAMP, RAMP[::-1]]), scale=(1, 4, 1, 1)),
    "5-D": lambda: Image(np.stack([RAMP, RAMP[::-1]])[None].repeat(2, 0), scale=(1, 1, 4, 1, 1)),
    "channel": lambda: Image(RAMP, scale=(4, 1, 1), blending="additive"),  # with another one, of one volume
    "multiscale": lambda: Image([BIG, BIG[:, ::2, ::2]], multiscale=True, scale=(4, 1, 1)),
    "labels": lambda: Labels(RAMP.astype(np.int32), scale=(4, 1, 1)),
    "points": lambda: Points(np.zeros((2, 4))),
}
PLACES = st.integers(0, 9)  # of layers, modulo their number: hypothesis would hold on to what it draws
ORDERS = ((-3, -2, -1), (-2, -3, -1), (-1, -3, -2))


class Window:
    """As much of napari's window as ortho views need."""

    def add_dock_widget(self, widget: QWidget, *, name: str, area: str) -> QDockWidget:
        dock = QDockWidget(name)
        dock.setWidget(widget)
        return dock

    def remove_dock_widget(self, dock: QDockWidget) -> None:
        dock.widget().setParent(None)
        dock.deleteLater()


class HeadlessViewer(ViewerModel):
    """A viewer model with such a window."""

    @property
    def window(self) -> Window:
        return Window()


class AnyOrder(RuleBasedStateMachine):
    """The dock widget on a viewer without a window, and a user who does things in any order."""

    qapp: Any = None

    def __init__(self) -> None:
        super().__init__()
        self.viewer = HeadlessViewer()
        self.viewer.canvas.size = (90, 120)
        self.raised: list[BaseException] = []
        self.hooks = sys.excepthook, threading.excepthook
        sys.excepthook = lambda kind, error, trace: self.raised.append(error)
        threading.excepthook = lambda of: self.raised.append(of.exc_value)
        self.widget = IsotropicReconstruct(self.viewer)
        self.layers: weakref.WeakSet[Layer] = weakref.WeakSet()
        self.ours: weakref.WeakSet[Any] = weakref.WeakSet([self.widget])

    @initialize(kinds=st.lists(st.sampled_from(sorted(KINDS)), min_size=2, max_size=4))
    def begin(self, kinds: list[str]) -> None:
        for kind in kinds:
            self.add(kind, 9)

    # what the user does to layers

    @rule(kind=st.sampled_from(sorted(KINDS)), at=st.integers(0, 5))
    def add(self, kind: str, at: int) -> None:
        if len(self.viewer.layers) < 8:
            layer = KINDS[kind]()
            self.layers.add(layer)
            self.viewer.layers.insert(min(at, len(self.viewer.layers)), layer)

    @precondition(lambda self: self.viewer.layers)
    @rule(at=PLACES)
    def remove_one(self, at: int) -> None:
        self.viewer.layers.remove(self._layer(at))

    @precondition(lambda self: self.viewer.layers)
    @rule(places=st.sets(PLACES, min_size=2))
    def remove_some(self, places: set[int]) -> None:
        self.viewer.layers.selection = {self._layer(at) for at in places}
        self.viewer.layers.remove_selected()

    @rule()
    def delete_all(self) -> None:
        self.viewer.layers.select_all()
        self.viewer.layers.remove_selected()
        assert not self.viewer.layers

    @rule()
    def clear(self) -> None:
        self.viewer.layers.clear()
        assert not self.viewer.layers

    @precondition(lambda self: len(self.viewer.layers) > 1)
    @rule(at=PLACES, to=PLACES)
    def move(self, at: int, to: int) -> None:
        self.viewer.layers.move(at % len(self.viewer.layers), to % (len(self.viewer.layers) + 1))

    @precondition(lambda self: self.viewer.layers)
    @rule(at=PLACES, name=st.sampled_from(["same", "other"]))
    def rename(self, at: int, name: str) -> None:
        self._layer(at).name = name

    @precondition(lambda self: len(self.viewer.layers) > 1)
    @rule(at=PLACES, with_at=PLACES, linked=st.booleans())
    def link(self, at: int, with_at: int, linked: bool) -> None:
        pair = [self._layer(at), self._layer(with_at)]
        if pair[0] is not pair[1]:
            (link_layers if linked else unlink_layers)(pair, ("visible", "opacity"))

    @precondition(lambda self: self.viewer.layers)
    @rule(at=PLACES, kind=st.sampled_from(["3-D", "4-D", "2-D"]))
    def exchange_data(self, at: int, kind: str) -> None:
        layer = self._layer(at)
        if type(layer) is Image and not layer.multiscale and not layer.rgb:
            data = KINDS[kind]().data
            if layer.visible or data.ndim == layer.ndim:  # napari itself raises for other dimensions of a hidden layer
                layer.data = data

    @precondition(lambda self: self.viewer.layers)
    @rule(at=PLACES)
    def hide_or_show(self, at: int) -> None:
        layer = self._layer(at)
        layer.visible = not layer.visible

    # and to the viewer and the widget

    @rule(order=st.sampled_from(ORDERS))
    def turn(self, order: tuple[int, ...]) -> None:
        n = self.viewer.dims.ndim
        if n >= 3:
            self.viewer.dims.order = (*range(n - 3), *(axis + n for axis in order))

    @rule()
    def change_ndisplay(self) -> None:
        self.viewer.dims.ndisplay = 5 - self.viewer.dims.ndisplay

    @rule(part=st.floats(0, 1))
    def scroll(self, part: float) -> None:
        self.viewer.dims.point = [r.start + part * (r.stop - r.start) for r in self.viewer.dims.range]

    @rule(factor=st.sampled_from([0.3, 0.9, 3.0]))
    def zoom(self, factor: float) -> None:
        self.viewer.scene.camera.zoom *= factor

    @precondition(lambda self: self.widget.layer.choices)
    @rule(at=PLACES)
    def choose_layer(self, at: int) -> None:
        choices = self.widget.layer.choices
        self.widget.layer.value = choices[at % len(choices)]

    @rule()
    def choose_all_in_turn(self) -> None:
        for layer in self.widget.layer.choices:
            if layer is not None:
                self.widget.layer.value = layer

    @rule(which=st.sampled_from(["on", "ortho", "split", "steps", "disagreement", "misfit"]))
    def switch(self, which: str) -> None:
        widget = self.widget
        boxes = {
            "on": widget.on,
            "ortho": widget.ortho_button,
            "split": widget.compare.split,
            "steps": widget.compare.steps,
            "disagreement": widget.trust.disagreement,
            "misfit": widget.trust.misfit,
        }
        boxes[which].value = not boxes[which].value

    @rule(share=st.integers(0, 100), axis=st.sampled_from("zyx"))
    def cut(self, share: int, axis: str) -> None:
        control = self.widget.volume_views.cut
        control.share.value, control.axis.value = share, axis

    @precondition(lambda self: self.widget.live is not None and self.widget.live._picture.newest is not None)
    @rule()
    def freeze(self) -> None:
        self.widget.freeze()

    @rule()
    def let_the_window_live(self) -> None:
        for _ in range(5):
            self.qapp.processEvents()
        of_live = {live.source for live in self.widget.live_layers}
        for layer in self.viewer.layers:
            if {LIVE, COVER} & set(layer.metadata):
                assert layer.source_layer in of_live

    # what always holds

    @invariant()
    def nothing_raised(self) -> None:
        assert not self.raised

    @invariant()
    def what_is_live_has_a_source(self) -> None:
        layers = list(self.viewer.layers)
        for live in self.widget.live_layers:
            assert {live.source, live.layer} <= set(layers)
            self.ours.update({live, live.layer})
        if (ortho := self.widget.ortho) is not None:
            assert set(ortho.sources) <= set(layers)
            self.ours.update({ortho, *(copy for panel in ortho.panels for copy in panel.copies)})
        for layer in self.layers:
            if layer not in layers:
                assert not _listeners(layer)

    def teardown(self) -> None:
        try:
            self.nothing_raised()
            self.viewer.layers.clear()
            assert not self.viewer.layers
            self.viewer.layers.append(Points())  # napari holds on to what was selected last
            self.viewer.layers.clear()
            self._end()
        finally:
            sys.excepthook, threading.excepthook = self.hooks

    def _end(self) -> None:
        """The widget closes in an empty viewer: nothing of anything may be left."""
        viewer, widget = self.viewer, self.widget
        self.widget.native.deleteLater()
        for _ in range(3):
            for thread in threading.enumerate():
                if thread.name.startswith("napari-niiv"):
                    thread.join(20)
            self.qapp.processEvents()
            self.qapp.sendPostedEvents(None, 52)  # deferred deletions
        assert not _listeners(viewer)
        del widget
        self.widget = None
        gc.collect()
        assert not list(self.layers)
        assert not list(self.ours)
        self.nothing_raised()

    def _layer(self, at: int) -> Layer:
        return self.viewer.layers[at % len(self.viewer.layers)]


def _listeners(of: Any) -> list[Any]:
    """The callbacks of the plugin that are connected to a layer or a viewer."""
    emitters = list(of.events.emitters.values())
    if isinstance(of, ViewerModel):
        for part in (of.layers, of.dims, of.scene.camera, of.canvas):
            emitters += list(part.events.emitters.values())
    found = []
    for emitter in emitters:
        for callback in emitter.callbacks:
            owner = callback[0]() if isinstance(callback, tuple) else callback
            module = getattr(owner, "__module__", None) or type(owner).__module__
            if module.startswith("napari_niiv"):
                found.append((emitter, callback))
    return found


@pytest.fixture
def _without_a_window(qapp, interpolating_model, monkeypatch):
    monkeypatch.setattr(ModelChoice, "load", lambda self, value=None: self._adopt(interpolating_model, None))
    monkeypatch.setattr(ortho_views, "bare_canvas", lambda viewer: QWidget())
    monkeypatch.setattr(ortho_views, "close_canvas", QWidget.deleteLater)
    monkeypatch.setattr(AnyOrder, "qapp", qapp)


@pytest.mark.usefixtures("_without_a_window")
@pytest.mark.parametrize("ndisplay", [2, 3])
@pytest.mark.parametrize("way", ["clear", "delete_all"])
@pytest.mark.parametrize("kinds", [("3-D", "4-D"), ("4-D", "3-D")])
def test_all_go_at_once(kinds, way, ndisplay):
    """Layers of different dimensions, the last of them and then the first in ortho views."""
    user = AnyOrder()
    user.begin(kinds)
    user.switch("ortho")
    user.choose_all_in_turn()
    user.viewer.dims.ndisplay = ndisplay
    user.let_the_window_live()
    assert user.widget.ortho is not None
    assert len(user.widget.live_layers) == 2
    getattr(user, way)()
    user.let_the_window_live()
    assert not user.viewer.layers
    user.teardown()


@pytest.mark.usefixtures("_without_a_window")
def test_channels_come_and_go_one_by_one():
    """Whichever goes first, the cover is there as long as one of them is live."""
    user = AnyOrder()
    user.begin(["channel"])
    user.widget.show_ortho()
    for kind in ("channel", "channel"):
        user.add(kind, 9)
        user.let_the_window_live()
    for left in (2, 1, 0):
        assert len(user.widget.ortho.sources) == left + 1
        assert len(user.widget.live_layers) == left + 1
        assert sum(COVER in layer.metadata for layer in user.viewer.layers) == 1
        user.remove_one(0)
        user.let_the_window_live()
    assert not user.viewer.layers
    user.teardown()


@pytest.mark.usefixtures("_without_a_window")
@pytest.mark.parametrize("way", ["clear", "delete_all"])
def test_all_go_with_none_of_them_chosen(way):
    """What is chosen once the first is gone does not go live among those that are still being deleted."""
    user = AnyOrder()
    user.begin(["RGB", "3-D", "3-D"])
    user.widget.layer.value = None
    getattr(user, way)()
    user.let_the_window_live()
    assert not user.viewer.layers
    user.teardown()


@pytest.mark.usefixtures("_without_a_window")
@pytest.mark.parametrize("kinds", [("5-D", "4-D"), ("4-D", "3-D"), ("3-D", "5-D")])
def test_data_of_other_dimensions(kinds):
    """A source that gets fewer or more dimensions loses its live layer, without an error."""
    before, after = kinds
    user = AnyOrder()
    user.begin([before, "2-D"])
    assert len(user.widget.live_layers) == 1
    user.viewer.layers[0].data = KINDS[after]().data
    assert not user.widget.live_layers
    assert user.viewer.dims.ndim == int(after[0])
    user.teardown()


@pytest.mark.usefixtures("_without_a_window")
def test_any_order_of_anything_leaves_nothing(caplog):
    """Whatever a user does to layers with live layers, ortho and 3-D views there, nothing raises and nothing stays."""
    with caplog.at_level(logging.ERROR):
        run_state_machine_as_test(
            AnyOrder,
            settings=settings(
                max_examples=10,
                stateful_step_count=25,
                derandomize=True,
                deadline=None,
                database=None,
                phases=[Phase.generate],  # shrinking what fails takes minutes
                suppress_health_check=list(HealthCheck),
            ),
        )
    assert not caplog.records
