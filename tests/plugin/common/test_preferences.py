"""How much the live views may keep is set in napari's preferences."""

from __future__ import annotations

import pytest

pytest.importorskip("napari")

import torch
from napari.settings import get_plugin_settings

from napari_niiv.plugin.common import preferences as settings
from napari_niiv.plugin.manifest_names import PLUGIN


def test_the_users_limits_hold(make_napari_viewer, monkeypatch) -> None:
    make_napari_viewer(show=False)  # by which napari knows the plugin
    chosen = get_plugin_settings(PLUGIN).memory
    assert (chosen.gpu_gigabytes, chosen.host_gigabytes) == (4, 2)
    monkeypatch.setattr(chosen, "gpu_gigabytes", 8)
    monkeypatch.setattr(chosen, "host_gigabytes", 1)
    memory = settings.memory()
    assert memory.latents(torch.device("cuda")).limit == 7 << 30  # a gigabyte is for the work itself
    assert memory.latents(torch.device("cpu")).limit == memory.voxels.limit == 1 << 29


def test_without_the_manifest_there_are_defaults(monkeypatch) -> None:
    def unknown(name: str) -> None:
        raise KeyError(name)

    monkeypatch.setattr(settings, "get_plugin_settings", unknown)
    assert settings.memory().latents(torch.device("cuda")).limit == 3 << 30
