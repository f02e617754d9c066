"""Help, and how to cite: two buttons and the windows that they open; the texts are in `texts/`."""

from __future__ import annotations

import re
from importlib import metadata, resources

from magicgui.widgets import PushButton
from qtpy.QtGui import QGuiApplication
from qtpy.QtWidgets import QDialog, QHBoxLayout, QPushButton, QTextBrowser, QVBoxLayout, QWidget

from napari_niiv._version import __version__
from napari_niiv.plugin.common.forms import Row
from napari_niiv.plugin.manifest_names import PLUGIN

_SIZE = (560, 520)


def help_text() -> str:
    """The help, in Markdown; where the package names pages on the web, with a link to them."""
    text, pages = _packaged("help.md"), documentation()
    return f"{text}\nMore: [{pages}]({pages})\n" if pages else text


def citation() -> str:
    """How to cite the method and this software, in plain text, a paragraph a line."""
    text = _packaged("citation.txt").replace("{version}", __version__)
    return re.sub(r"(?<!\n)\n(?!\n)", " ", text).strip()


def documentation() -> str:
    """The address of the documentation, as the installed package names it; empty if it names none."""
    try:
        urls = metadata.metadata(PLUGIN).get_all("Project-URL") or []
    except metadata.PackageNotFoundError:
        return ""
    named = dict(url.split(", ", 1) for url in urls if ", " in url)
    return next((named[name] for name in ("Documentation", "Homepage") if name in named), "")


class TextWindow(QDialog):
    """A text to read and to copy.

    Parameters
    ----------
    parent : QWidget
    title, text : str
        The text in Markdown.
    plain : str, optional
        What the button "Copy" copies; without it there is no such button.

    Attributes
    ----------
    browser : QTextBrowser
    copy : QPushButton
    """

    def __init__(self, parent: QWidget, title: str, text: str, plain: str = "") -> None:
        super().__init__(parent)
        self.setWindowTitle(title)
        self.resize(*_SIZE)
        self.browser = QTextBrowser()
        self.browser.setOpenExternalLinks(True)
        self.browser.setMarkdown(text)
        self.copy, self.close_button = QPushButton("Copy"), QPushButton("Close")
        self.copy.setToolTip("puts the text on the clipboard")
        self.copy.setVisible(bool(plain))
        self.close_button.setToolTip("closes this window")
        clipboard = QGuiApplication.clipboard()
        assert clipboard is not None
        self.copy.clicked.connect(lambda: clipboard.setText(plain))
        self.close_button.clicked.connect(self.close)
        layout, buttons = QVBoxLayout(self), QHBoxLayout()
        layout.addWidget(self.browser)
        buttons.addStretch(1)
        buttons.addWidget(self.copy)
        buttons.addWidget(self.close_button)
        layout.addLayout(buttons)


class Help:
    """A row of two buttons; napari stays usable beside the windows that they open.

    Attributes
    ----------
    row : Row
        To be put into a form.
    window : TextWindow or None
        The one that was opened last.
    """

    def __init__(self) -> None:
        self.help = PushButton(text="Help", tooltip="what the controls are for, and how to go about it")
        self.cite = PushButton(text="How to cite", tooltip="the paper of the method, and this software, to be copied")
        self.row = Row("", self.help, self.cite)
        self.window: TextWindow | None = None
        self.help.changed.connect(lambda _=None: self._open("Help", help_text()))
        self.cite.changed.connect(lambda _=None: self._open("How to cite", citation(), citation()))

    def _open(self, title: str, text: str, plain: str = "") -> None:
        if self.window is not None:
            self.window.close()
            self.window.deleteLater()
        self.window = TextWindow(self.help.native, title, text, plain)
        self.window.show()


def _packaged(name: str) -> str:
    return (resources.files("napari_niiv.plugin") / "texts" / name).read_text(encoding="utf-8")
