"""Long names: the middle is left out, and the dock is not wider for them."""

import pytest

pytest.importorskip("napari")

from magicgui.widgets import ComboBox
from qtpy.QtCore import Qt

from napari_niiv.plugin.common.elided import elided
from napari_niiv.plugin.common.forms import paragraph, write
from napari_niiv.plugin.common.words import LONGEST, shortened, with_short_names
from tests.plugin.test_widget import DATA, open_widget

LONG = "2024-03-01_specimen-12_" + "block_" * 40 + "final.tif"


def test_shortened():
    assert shortened("short.tif") == "short.tif"
    assert shortened("abcdefghij", 5) == "ab…ij"
    short = shortened(LONG)
    assert len(short) == LONGEST
    assert (short[:10], short[-9:]) == (LONG[:10], "final.tif")
    assert with_short_names(f"/data/{LONG}/a.tif") == f"/data/{short}/a.tif"
    assert with_short_names(f"The file of {LONG} is\nlarge.") == f"The file of {short} is\nlarge."


def test_sentences_wrap_and_tell_the_whole_in_their_tooltip(qtbot):
    label = paragraph()
    qtbot.addWidget(label.native)
    write(label, f"{LONG} reads slowly.")
    assert label.value == f"{shortened(LONG)} reads slowly."
    assert label.tooltip == f"{LONG} reads slowly."
    write(label, "<b>no</b> HTML")
    assert label.native.textFormat() == Qt.TextFormat.PlainText
    assert not label.tooltip


def test_items_are_described_also_those_that_come_later(qtbot):
    choices = ["a"]
    combo = ComboBox(choices=lambda widget: choices)
    qtbot.addWidget(combo.native)
    elided(combo, lambda data, text: f"about {data}")
    choices.append(LONG)
    combo.reset_choices()
    tips = [combo.native.itemData(i, Qt.ItemDataRole.ToolTipRole) for i in range(2)]
    assert tips == ["about a", f"about {LONG}"]
    combo.value = LONG
    combo.native.resize(200, 30)
    combo.native.grab()  # it is painted
    assert combo.native.currentText() == LONG
    assert combo.native.minimumSizeHint().width() < 200


def test_the_dock_is_no_wider_for_long_names(make_napari_viewer, qtbot, messages, tmp_path):
    viewer = make_napari_viewer()
    viewer.add_image(DATA, scale=(4, 1, 1), name="a")
    widget = open_widget(viewer)
    training = widget.open_training() or next(
        dock for name, dock in viewer.window.dock_widgets.items() if name.startswith("Train")
    )

    def widths():
        window = widget.export.open()
        return [part.minimumSizeHint().width() for part in (widget.native, training, window)]

    before = widths()
    viewer.layers["a"].name = LONG
    widget.checkpoint.reset_choices()
    widget._status.tell(f"Nothing of {LONG} is there.")
    widget._status.fail(f"{LONG} cannot be read.")
    training.form.choose_init(str(tmp_path / LONG))
    widget.suitability._offers[widget.layer.value] = (f"{LONG} is better.", f"/data/{LONG}")
    widget.suitability.show()
    assert widget.suitability.use.text.startswith("Use 2024")
    assert widths() == before
    assert widget.status.tooltip == f"{LONG} cannot be read."
    widget.close_live()
