"""Checkpoints dropped on the canvas."""

import pytest

pytest.importorskip("napari")

from napari_niiv.models.checkpoint import Card, save_model
from napari_niiv.plugin.reader import PLUGIN, WIDGET, get_reader


def test_only_checkpoints_are_read():
    assert get_reader("a.tif") is None
    assert get_reader(["a.safetensors", "b.tif"]) is None
    assert get_reader("A.SAFETENSORS") is not None


def test_a_checkpoint_is_selected_in_the_widget(make_napari_viewer, tmp_path, interpolating_model):
    path = tmp_path / "mine.safetensors"
    save_model(interpolating_model, Card(architecture=interpolating_model.architecture), path)
    viewer = make_napari_viewer()
    assert viewer.open(path, plugin="napari-niiv") == []
    _, widget = viewer.window.add_plugin_dock_widget(PLUGIN, WIDGET)
    assert widget.checkpoint.value == str(path)
