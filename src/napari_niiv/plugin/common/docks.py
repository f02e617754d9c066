"""The plugin's dock widgets in a viewer's window."""

from __future__ import annotations

from typing import Any

from napari import Viewer

from napari_niiv.plugin.manifest_names import PLUGIN


def open_dock(viewer: Viewer, name: str) -> Any:
    """A dock widget of this plugin, shown: the one that is there, however it was opened, else a new one.

    napari knows docks by their titles. Those of its menus hold the display name that the manifest gives the plugin,
    those asked for by code the plugin's name: as the two are the same, there is one.

    Parameters
    ----------
    viewer : Viewer
    name : str
        Of the widget, as in the manifest.
    """
    dock, widget = viewer.window.add_plugin_dock_widget(PLUGIN, name)
    dock.show()  # napari's menu and close button only hide it
    dock.raise_()
    return widget
