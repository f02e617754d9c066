"""Help and how to cite."""

from pathlib import Path

import pytest

pytest.importorskip("napari")

from qtpy.QtCore import Qt
from qtpy.QtGui import QGuiApplication
from qtpy.QtWidgets import QAbstractButton

import napari_niiv
from napari_niiv.plugin.controls import help as module
from napari_niiv.plugin.controls.help import citation, help_text
from tests.plugin.test_widget import open_widget

PROJECT = Path(__file__).parents[3]


def test_help_opens_and_tells_of_every_group_of_controls(dock_viewer, qtbot):
    widget = open_widget(dock_viewer)
    qtbot.mouseClick(widget.help.help.native, Qt.MouseButton.LeftButton)
    window = widget.help.window
    assert window.isVisible()
    assert not window.isModal()
    text = window.browser.toPlainText()
    for label in (
        "Ortho views",
        "Hold to compare",
        "Split",
        "Freeze",
        "xz ≠ yz",
        "≠ measured",
        "Train on this volume…",
    ):
        assert label in text
        buttons = widget.native.findChildren(QAbstractButton)
        assert any(label in button.text() for button in buttons) or label == "Split"
    assert not window.copy.isVisible()
    window.close_button.click()
    assert not window.isVisible()


def test_the_citation_can_be_copied(dock_viewer, qtbot):
    widget = open_widget(dock_viewer)
    qtbot.mouseClick(widget.help.cite.native, Qt.MouseButton.LeftButton)
    qtbot.mouseClick(widget.help.window.copy, Qt.MouseButton.LeftButton)
    copied = QGuiApplication.clipboard().text()
    assert copied == citation()
    assert f"napari-niiv, version {napari_niiv.__version__}." in copied
    assert "Troidl" in widget.help.window.browser.toPlainText()


def test_the_citation_says_what_readme_and_citation_file_say():
    text = citation()
    cff = (PROJECT / "CITATION.cff").read_text(encoding="utf-8")
    readme = " ".join((PROJECT / "README.md").read_text(encoding="utf-8").replace(">", "").split())
    method = text.split("\n\n")[1]
    authors, rest = method.split(". niiv: ")
    names = authors.replace(" and ", ", ").split(", ")
    assert len(names) == 8
    for name in names:
        given, family = name.split()
        assert f"given-names: {given}, family-names: {family}" in cff
    assert authors in readme
    title = "niiv: " + rest.split(". MICCAI")[0]
    assert title in cff
    assert title in readme
    for fact in ("257", "267", "2025", "10.1101/2024.09.07.611785"):
        assert fact in method
        assert fact in cff
        assert fact in readme


def test_pages_on_the_web_are_linked_where_the_package_names_them(monkeypatch):
    assert "More:" not in help_text() or module.documentation()
    monkeypatch.setattr(module, "documentation", lambda: "https://docs.invalid/niiv")
    assert help_text().endswith("More: [https://docs.invalid/niiv](https://docs.invalid/niiv)\n")
