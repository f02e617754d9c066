"""Every control says what it does when the mouse rests on it."""

import pytest

pytest.importorskip("napari")

from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QAbstractButton,
    QAbstractItemView,
    QAbstractSlider,
    QAbstractSpinBox,
    QComboBox,
    QLineEdit,
    QScrollBar,
    QWidget,
)

from napari_niiv.models.catalog import bundled_models
from napari_niiv.plugin.manifest_names import PLUGIN, TRAINING, WIDGET

CONTROLS = (QAbstractButton, QAbstractItemView, QAbstractSlider, QAbstractSpinBox, QComboBox, QLineEdit)


def tooltip(widget: QWidget, top: QWidget) -> str:
    """What Qt shows: the tooltip of the widget, or of what it is in."""
    while not widget.toolTip() and widget is not top:
        widget = widget.parentWidget()
    return widget.toolTip()


def controls(top: QWidget) -> list[QWidget]:
    """What can be clicked or typed into, hidden ones too; without the parts of a control."""

    def is_part(widget):
        parent = widget.parentWidget()
        return isinstance(widget, QScrollBar) or any(
            isinstance(above, QAbstractSpinBox | QComboBox) for above in (parent, parent and parent.parentWidget())
        )

    return [widget for widget in top.findChildren(QWidget) if isinstance(widget, CONTROLS) and not is_part(widget)]


def test_every_control_has_a_tooltip(dock_viewer, qtbot):
    viewer = dock_viewer
    _, widget = viewer.window.add_plugin_dock_widget(PLUGIN, WIDGET)
    _, training = viewer.window.add_plugin_dock_widget(PLUGIN, TRAINING)
    widget.help.cite.native.click()
    for rows in widget.top.late:
        rows.show()
    tops = {"widget": widget.native, "training": training, "export": widget.export.open(), "cite": widget.help.window}
    counts = {name: len(controls(top)) for name, top in tops.items()}
    assert counts["widget"] > 50
    assert min(counts["training"], counts["export"]) > 15
    silent = [
        (name, type(one).__name__, getattr(one, "text", str)())
        for name, top in tops.items()
        for one in controls(top)
        if len(tooltip(one, top)) < 8
    ]
    assert silent == []


def test_checkpoints_say_what_they_are_for(dock_viewer, qtbot):
    viewer = dock_viewer
    _, widget = viewer.window.add_plugin_dock_widget(PLUGIN, WIDGET)
    _, training = viewer.window.add_plugin_dock_widget(PLUGIN, TRAINING)
    for combo in (widget.checkpoint.native, training.form.init.native):
        tips = {combo.itemText(i): combo.itemData(i, Qt.ItemDataRole.ToolTipRole) for i in range(combo.count())}
        assert set(bundled_models()) <= set(tips)
        assert tips["em"].startswith("Electron microscopy, anisotropy 1.5 to 10; light, for any computer.")
        assert tips["lm"].startswith("Light microscopy")
