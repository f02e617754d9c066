"""The plugin's settings in napari's preferences."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari.settings import get_plugin_settings

from napari_niiv.plugin.manifest_names import PLUGIN

if TYPE_CHECKING:
    from napari_niiv.reconstruction.cache import Memory

_GIGABYTE = 1 << 30


def memory() -> Memory:
    """What live views may keep, as the user has set it; the default where napari does not know the plugin."""
    from napari_niiv.reconstruction.cache import Memory  # with torch

    try:
        chosen = get_plugin_settings(PLUGIN).memory
    except (KeyError, AttributeError):
        return Memory()
    return Memory(int(chosen.gpu_gigabytes * _GIGABYTE), int(chosen.host_gigabytes * _GIGABYTE))
