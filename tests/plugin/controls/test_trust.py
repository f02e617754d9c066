"""What the dock says of the maps of trust."""

from __future__ import annotations

from types import MappingProxyType, SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("napari")

from qtpy.QtWidgets import QDockWidget

from napari_niiv.plugin.controls.trust_legend import (
    NOTHING_INFERRED,
    SIDE_VIEWS_ONLY,
    WAITING,
    Scale,
    judgement,
    percentage,
)
from napari_niiv.plugin.live.trust_appearance import APPEARANCES
from napari_niiv.plugin.manifest_names import PLUGIN, WIDGET
from napari_niiv.reconstruction.doubt import Doubt
from tests.plugin.conftest import wait_final


@pytest.fixture
def opened(lent_viewer, small_model, texture, qtbot):
    """The dock widget, with a layer that is live in a side view."""
    viewer = lent_viewer
    viewer.window.resize(1280, 800)
    viewer.add_image(200 * texture((12, 48, 64)), scale=(4, 1, 1), name="tissue")
    dock, widget = viewer.window.add_plugin_dock_widget(PLUGIN, WIDGET)
    widget.groups["Trust"].is_open = True
    qtbot.waitUntil(lambda: widget.live is not None, timeout=20_000)
    widget.live_layers.model = small_model()
    wait_final(qtbot, widget.live, lambda: widget.show_side("xz"))
    return SimpleNamespace(viewer=viewer, dock=dock, widget=widget, live=widget.live, trust=widget.trust)


def visible_legends(trust) -> list[str]:
    return [kind for kind, legend in trust.legends.items() if legend.row.shown]


def layer_named(viewer, kind: str):
    return viewer.layers[f"tissue: {APPEARANCES[kind].layer_name}"]


def switch_on(qtbot, opened, name: str) -> None:
    def told(shown) -> bool:  # a picture asked for before may still come
        return shown.final and shown.response.doubt is not None and name in shown.response.doubt.shares

    with qtbot.waitSignal(opened.live.shown, timeout=20_000, check_params_cb=told):
        getattr(opened.trust, name).value = True


def test_what_a_map_says_comes_into_view_in_a_low_window(opened, qtbot) -> None:
    opened.viewer.window.resize(1280, 500)
    legend = opened.trust.legends["misfit"]
    switch_on(qtbot, opened, "misfit")
    qtbot.waitUntil(lambda: legend.visibleRegion().boundingRect() == legend.rect(), timeout=5_000)


def test_grey_levels_have_no_exponent(qapp) -> None:
    scale = Scale("disagreement")
    for limits, numbers in (
        ((0, 13), ("0", "6.5", "13")),
        ((0, 3555), ("0", "1778", "3555")),
        ((0, 2e9), ("0", "1e+09", "2e+09")),
    ):
        scale.show_limits(limits)
        assert scale.numbers == numbers


def test_a_map_has_a_title_a_scale_in_grey_levels_and_a_number_for_the_view(opened, qtbot) -> None:
    trust = opened.trust
    assert visible_legends(trust) == []
    switch_on(qtbot, opened, "disagreement")
    response, legend = opened.live.last.response, trust.legends["disagreement"]
    assert visible_legends(trust) == ["disagreement"]
    level = response.doubt.level
    share = np.mean(np.abs(response.trust["disagreement"]) > level)
    assert share > 0.1  # the weights are random
    assert legend.sentence == f"{100 * share:.0f} % of this view is doubtful."
    assert legend.scale.limits == pytest.approx((0, 2 * level))
    assert legend.scale.numbers == ("0", f"{level:.3g}", f"{2 * level:.3g}")
    wait_final(qtbot, opened.live, lambda: opened.viewer.dims.set_current_step(1, 30), index=30.0)
    again = np.mean(np.abs(opened.live.last.response.trust["disagreement"]) > level)
    assert legend.sentence == f"{100 * again:.0f} % of this view is doubtful."
    layer_named(opened.viewer, "disagreement").contrast_limits = (0, 8)  # by the user
    assert legend.scale.numbers == ("0", "4", "8")
    opened.widget.on.value = False
    assert legend.sentence == ""


def test_switches_legends_and_settings_agree_whoever_changes_them(opened, qtbot) -> None:
    trust, live_layers = opened.trust, opened.widget.live_layers
    trust.disagreement.value = trust.project.value = True
    settings = live_layers.settings_of(opened.widget.layer.value)
    assert (settings.trust, settings.project) == (("disagreement",), True)
    assert not live_layers.settings.project  # of other volumes
    live_layers.change(trust=("misfit",))
    assert (trust.disagreement.value, trust.misfit.value) == (False, True)
    assert visible_legends(trust) == ["misfit"]
    opened.viewer.layers.remove(layer_named(opened.viewer, "misfit"))
    qtbot.waitUntil(lambda: not trust.misfit.value)
    assert live_layers.settings.trust == ()
    assert visible_legends(trust) == []


def test_of_a_hidden_picture_nothing_is_said_to_be_computed(opened, qtbot) -> None:
    trust, legend = opened.trust, opened.trust.legends["disagreement"]
    trust.disagreement.value = True
    qtbot.waitUntil(lambda: "view is doubtful" in legend.sentence or "agree" in legend.sentence, timeout=30_000)
    assert legend.scale.numbers
    opened.live.layer.visible = False
    assert (legend.sentence, legend.scale.numbers) == ("Its picture is hidden.", ())
    opened.live.layer.visible = True
    qtbot.waitUntil(lambda: legend.sentence not in ("Its picture is hidden.", WAITING), timeout=30_000)
    assert legend.scale.numbers


def test_maps_widen_no_dock(opened, qtbot) -> None:
    def widths() -> list[int]:
        """Of napari's docks too: its layer controls are as wide as the name of a map's colours."""
        docks = opened.dock.window().findChildren(QDockWidget)
        return [dock.minimumSizeHint().width() for dock in docks if dock.isVisible()]

    before = widths()
    switch_on(qtbot, opened, "disagreement")
    switch_on(qtbot, opened, "misfit")
    assert visible_legends(opened.trust) == ["disagreement", "misfit"]
    assert widths() == before


@pytest.mark.parametrize(
    ("kind", "doubt", "sentence"),
    [
        ("disagreement", Doubt(5, {"disagreement": 0.0004}), "xz and yz agree nearly everywhere."),
        ("disagreement", Doubt(5, {"disagreement": 0}), "xz and yz agree everywhere."),
        ("disagreement", Doubt(5, {"disagreement": 0.0314}), "3 % of this view is doubtful."),
        ("misfit", Doubt(5, {"misfit": 0}), "Agrees everywhere."),
        ("misfit", Doubt(5, {"misfit": 0.003}), "0.3 % of this view is doubtful."),
        ("bridged", Doubt(5, {"bridged": 0}), "None in this view."),
        ("bridged", Doubt(5, {"bridged": 0.25}), "25 % of this view is bridged."),
        ("disagreement", Doubt(5, {}), None),
        ("disagreement", None, None),
    ],
)
def test_a_judgement_in_words(kind: str, doubt: Doubt | None, sentence: str | None) -> None:
    request = SimpleNamespace(plane="xz")
    response = SimpleNamespace(doubt=doubt, quality="refined", inferred=True, request=request)
    assert judgement(kind, response) == sentence


def test_a_view_without_a_map_says_why() -> None:
    def answer(plane: str, quality: str = "fast", inferred: bool = True) -> SimpleNamespace:
        return SimpleNamespace(
            doubt=None,
            quality=quality,
            inferred=inferred,
            request=SimpleNamespace(plane=plane),
            trust=MappingProxyType({}),
        )

    assert judgement("disagreement", answer("xy", inferred=False)) == NOTHING_INFERRED
    assert judgement("misfit", answer("xy")) == SIDE_VIEWS_ONLY
    assert judgement("misfit", answer("xz", "placeholder", inferred=False)) is None
    assert WAITING not in (NOTHING_INFERRED, SIDE_VIEWS_ONLY)


@pytest.mark.parametrize(
    ("share", "words"), [(0.0012, "0.1 %"), (0.0094, "0.9 %"), (0.0096, "1 %"), (0.5, "50 %"), (1.0, "100 %")]
)
def test_a_percentage(share: float, words: str) -> None:
    assert percentage(share) == words


def test_a_scale_is_painted_clear_in_the_middle_and_blue_and_red_at_the_ends(qtbot) -> None:
    scale = Scale("misfit")
    qtbot.addWidget(scale)
    assert scale.numbers == ()  # not known yet
    scale.show_limits((-4, 4))
    assert scale.numbers == ("-4", "-2", "0", "2", "4")
    scale.show_limits((-13.1, 13.1))
    room = sum(scale.fontMetrics().horizontalAdvance(number) for number in scale.numbers)
    assert scale._fitting(2 * room) == scale.numbers
    assert scale._fitting(room) == ("-13.1", "0", "13.1")
    scale.resize(200, scale.sizeHint().height())
    picture = scale.grab().toImage()
    blue, grey, red = (picture.pixelColor(x, 1) for x in (1, 100, 198))
    assert blue.blue() > 200 > 100 > blue.red()
    assert red.red() > 200 > 100 > red.blue()
    assert max(abs(part - 128) for part in (grey.red(), grey.green(), grey.blue())) <= 2
