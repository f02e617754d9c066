"""Exports of the channels of a volume, all together or one alone, through the widget."""

import numpy as np
import pytest
import tifffile
import zarr

pytest.importorskip("napari")

from napari_niiv.export.kept import kept_parts
from napari_niiv.models.card import Card
from napari_niiv.models.checkpoint import save_model
from napari_niiv.plugin.common.layers import empty_values, layer_volume, repairs_of, set_empty_values
from napari_niiv.plugin.export.form import ALL, BOX, ONE
from napari_niiv.reconstruction.whole import reconstruct
from napari_niiv.sections.repairs import Repairs, SectionRepairs
from tests.plugin.export.conftest import SHAPE, begin, name, run, shown, wait_ended, wait_preview, wait_target, written
from tests.plugin.test_widget import drop, open_widget

METADATA = {"axes": "ZCYX", "spacing": 1.2, "unit": "um"}


@pytest.fixture
def file(texture, tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    both = np.stack([200 * texture(SHAPE), 1000 * texture(SHAPE, 1)], axis=1).astype(np.uint16)
    tifffile.imwrite(folder / "cells.tif", both, imagej=True, resolution=(10 / 3, 10 / 3), metadata=METADATA)
    return folder / "cells.tif"


@pytest.fixture
def widget(dock_viewer, messages, small_model, qtbot, tmp_path):
    """The dock widget with a small model."""
    widget = open_widget(dock_viewer)
    path, model = tmp_path / "tiny.safetensors", small_model()
    save_model(model, Card(name="tiny", architecture=model.architecture), path)
    widget.select_checkpoint(path)
    qtbot.waitUntil(lambda: widget.models.loaded == (str(path), "auto"), timeout=30_000)
    return widget


@pytest.fixture
def opened(dock_viewer, widget, file, qtbot):
    """The viewer, the widget after that file was dropped on it, and the export's window."""
    drop(widget, file)
    qtbot.waitUntil(lambda: len(widget.live_layers) == 2, timeout=30_000)
    widget.export.button.native.click()
    wait_preview(qtbot, widget.export.panel)
    return dock_viewer, widget, widget.export.panel


def sources(viewer):
    return [viewer.layers["cells C0"], viewer.layers["cells C1"]]


def rows(panel):
    form = panel.form
    return [text for text, _ in form.channels._widget._mgui_get_choices()], form.channels.visible


def choose(qtbot, panel, which, target):
    panel.form.channels.value = which
    wait_target(qtbot, panel, target)


def export_alone(qtbot, widget, panel, layer, target):
    """One channel by itself, as it would be without the others."""
    panel.form.channels.value = ONE
    widget.layer.value = layer
    qtbot.waitUntil(lambda: panel.form.layer is layer)
    name(panel, target)
    wait_target(qtbot, panel, target)
    run(qtbot, panel)
    assert panel._log.finished is not None


def test_all_channels_are_written_as_each_alone(opened, file, qtbot, messages):
    viewer, widget, panel = opened
    both = sources(viewer)
    both[1].colormap, both[1].contrast_limits = "cyan", (100, 900)
    target = file.parent / "cells-isotropic.zarr"
    assert rows(panel) == (["all 2 together", "C0 alone"], True)
    assert panel.form.channels.value == ALL
    assert panel.title.text() == "cells, 2 channels"
    assert panel.preview.job.target == target
    assert "2 × 52 × 37 × 45 voxels (c × z × y × x)" in panel.summary.text()
    said = []
    panel.progress_text.connect(lambda text: said.append(panel.summary.toolTip()))
    run(qtbot, panel)
    assert said[0].startswith(f"cells, 2 channels, to {target}")
    assert messages[-1].startswith(f"Saved in {target}: 2 × 52 × 37 × 45 voxels")
    for number, layer in enumerate(both):
        alone = file.parent / f"alone{number}.zarr"
        export_alone(qtbot, widget, panel, layer, alone)
        np.testing.assert_array_equal(written(target)[number], written(alone))
    assert zarr.open_group(alone, mode="r").attrs["ome"]["multiscales"][0]["name"] == "cells C1"
    ome = zarr.open_group(target, mode="r").attrs["ome"]
    assert ome["multiscales"][0]["name"] == "cells"
    first, second = ome["omero"]["channels"]
    assert (first["label"], first["color"], second["label"], second["color"]) == ("C0", "FF00FF", "C1", "00FFFF")
    assert (second["window"]["start"], second["window"]["end"]) == (100, 900)


@pytest.mark.parametrize("suffix", [".zarr", ".tif"])
def test_the_result_is_a_layer_a_channel_over_hidden_sources(opened, file, qtbot, messages, suffix):
    viewer, widget, panel = opened
    both = sources(viewer)
    both[0].contrast_limits = (20, 150)
    panel.form.format.value = suffix
    target = file.parent / f"cells-isotropic{suffix}"
    wait_target(qtbot, panel, target)
    run(qtbot, panel)
    count = len(viewer.layers)
    panel.open_in_napari()
    qtbot.waitUntil(lambda: len(viewer.layers) == count + 2, timeout=10_000)
    for number, (result, source) in enumerate(zip(viewer.layers[-2:], both, strict=True)):
        assert result.name == f"{source.name} (isotropic, exported)"
        assert (result.blending, result.colormap.name) == ("additive", source.colormap.name)
        assert list(result.contrast_limits) == list(source.contrast_limits)
        assert (source.visible, result.visible) == (False, True)
        for end in (0, 1):
            ours = result.data_to_world(end * np.array([52, 37, 45]) - 0.5)
            np.testing.assert_allclose(ours, source.data_to_world(end * np.array(SHAPE) - 0.5), atol=1e-5)
        data = tifffile.imread(target) if suffix == ".tif" else written(target)
        np.testing.assert_array_equal(result.data, data[number])
    assert messages[-1].startswith("cells C0 and cells C1 are hidden now")
    earlier = viewer.layers[-2:]
    panel.open_in_napari()  # once more: light would add up
    qtbot.waitUntil(lambda: len(viewer.layers) == count + 4, timeout=10_000)
    assert [layer.visible for layer in (*earlier, *viewer.layers[-2:])] == [False, False, True, True]
    for layer in viewer.layers[-2:]:
        viewer.layers.remove(layer)
    assert widget.layer.value in both
    viewer.layers.remove(both[0])
    panel.open_in_napari()  # over what is there still
    qtbot.waitUntil(lambda: viewer.layers[-1].name == "cells C1 (isotropic, exported) [1]", timeout=10_000)
    orphan, other = viewer.layers[-2:]
    assert orphan.name == "cells-isotropic C0"
    if suffix == ".zarr":
        assert list(orphan.contrast_limits) == [20, 150]  # as the file has them
    assert orphan.blending == other.blending == "additive"
    np.testing.assert_allclose(np.ravel(orphan.colormap.map(1.0))[:3], (1, 0, 1))
    if suffix == ".tif":
        with tifffile.TiffFile(target) as tiff:
            assert 'Name="C0" Color="-16711681"' in tiff.ome_metadata


def test_a_result_that_is_opened_in_3d_has_no_light_added(in_napari, opened, qtbot, messages):
    """Nor in 2-D, where sources and pictures stay hidden; who shows them again is told."""
    viewer, widget, panel = opened
    both = sources(viewer)
    run(qtbot, panel)
    viewer.dims.ndisplay = 3
    qtbot.waitUntil(lambda: widget.indicator.state == "refined", timeout=30_000)
    panel.open_in_napari()
    results = [f"{source.name} (isotropic, exported)" for source in both]
    qtbot.waitUntil(lambda: [layer.name for layer in viewer.layers if layer.visible] == results, timeout=10_000)
    assert messages[-1].startswith("cells C0 and cells C1 are hidden now")
    viewer.dims.ndisplay = 2
    qtbot.waitUntil(lambda: not any("3-D" in layer.name for layer in viewer.layers), timeout=10_000)
    assert [layer.name for layer in viewer.layers if layer.visible] == results
    viewer.dims.ndisplay = 3
    assert [layer.name for layer in viewer.layers if layer.visible] == results
    viewer.dims.ndisplay = 2
    widget.show_side("xz")
    for source in both:
        source.visible = True
    qtbot.waitUntil(
        lambda: "C1 (isotropic, exported) adds its light to it: close" in widget.status.value, timeout=10_000
    )
    assert widget.indicator.state == "covered"
    for result in results:
        viewer.layers[result].visible = False
    qtbot.waitUntil(lambda: widget.indicator.state == "refined", timeout=10_000)


def test_of_one_channel_it_takes_the_place_of_the_live_volume(
    in_napari, dock_viewer, widget, texture, qtbot, tmp_path, messages
):
    viewer = dock_viewer
    source = viewer.add_image(texture(SHAPE), scale=(4, 1, 1), name="stack")
    qtbot.waitUntil(lambda: widget.live is not None, timeout=30_000)
    panel = widget.export.open()
    name(panel, tmp_path / "out.zarr")
    wait_target(qtbot, panel, tmp_path / "out.zarr")
    run(qtbot, panel)
    viewer.dims.ndisplay = 3
    qtbot.waitUntil(lambda: widget.indicator.state == "refined", timeout=30_000)
    panel.open_in_napari()
    exported = ["stack (isotropic, exported)"]
    qtbot.waitUntil(lambda: [layer.name for layer in viewer.layers if layer.visible] == exported, timeout=10_000)
    told = "The live volume of stack is hidden now, as the export is in its place; its eye shows it."
    qtbot.waitUntil(lambda: messages[-1] == told, timeout=5000)
    viewer.dims.ndisplay = 2
    qtbot.waitUntil(lambda: source.visible and widget.indicator.state == "covered", timeout=20_000)
    viewer.dims.ndisplay = 3  # beside the live volume
    qtbot.waitUntil(lambda: widget.status.value.startswith(f"{exported[0]} is seen here"), timeout=20_000)
    assert widget.indicator.state == "covered"
    viewer.layers[exported[0]].visible = False
    assert widget.indicator.state in ("interpolated", "refined")


def test_the_choice_follows_the_layer_and_its_channels(opened, file, qtbot):
    viewer, widget, panel = opened
    first, second = sources(viewer)
    typed = file.parent / "typed.zarr"
    name(panel, typed)
    wait_target(qtbot, panel, typed)
    widget.layer.value = second
    qtbot.waitUntil(lambda: rows(panel) == (["all 2 together", "C1 alone"], True))
    assert panel.preview.job.target == typed
    choose(qtbot, panel, ONE, typed)
    qtbot.waitUntil(lambda: panel.title.text() == "cells C1, one of 2 channels")
    widget.layer.value = first
    wait_target(qtbot, panel, file.parent / "cells-C0-isotropic.zarr")
    assert (rows(panel)[0][1], panel.form.channels.value) == ("C0 alone", ONE)
    choose(qtbot, panel, ALL, file.parent / "cells-isotropic.zarr")
    viewer.layers.remove(second)
    wait_target(qtbot, panel, file.parent / "cells-C0-isotropic.zarr")
    assert not panel.form.channels.visible
    assert panel.title.text() == "cells C0"


def test_sections_and_empty_voxels_are_those_of_each_channel(opened, file, qtbot):
    viewer, widget, panel = opened
    for layer in sources(viewer):
        set_empty_values(layer, (3.0,))
    looked_at = lambda: all(repairs_of(layer) is not None for layer in sources(viewer))  # noqa: E731
    qtbot.waitUntil(looked_at, timeout=20_000)
    for number, layer in enumerate(sources(viewer)):
        widget.live_layers.set_repairs(layer, Repairs.of({(): SectionRepairs(bridged=(4 + number,))}))
    repaired = lambda: panel.preview is not None and bool(panel.preview.job.volume.repairs)  # noqa: E731
    qtbot.waitUntil(repaired, timeout=20_000)
    target = file.parent / "cells-isotropic.zarr"
    run(qtbot, panel)
    made_of = zarr.open_group(target, mode="r").attrs["napari_niiv"]
    bridged = [{"index": [0], "bridged": [4]}, {"index": [1], "bridged": [5]}]
    assert made_of["sections"]["repaired"] == bridged
    assert made_of["source"]["empty voxels"] == [3.0]
    for number, layer in enumerate(sources(viewer)):
        assert empty_values(layer) == (3.0,)
        alone = file.parent / f"alone{number}.zarr"
        export_alone(qtbot, widget, panel, layer, alone)
        np.testing.assert_array_equal(written(target)[number], written(alone))


def test_a_box_of_all_channels_is_stopped_and_gone_on_with(in_napari, opened, gate, file, qtbot, messages):
    viewer, _, panel = opened
    viewer.dims.order = (1, 0, 2)
    viewer.reset_view()
    viewer.scene.camera.zoom *= 1.5
    panel.form.part.value = BOX
    qtbot.waitUntil(lambda: panel.preview is not None and panel.preview.job.config.box is not None)
    begin(qtbot, panel, gate, 4, 0.02)
    target = panel.job.target
    qtbot.waitUntil(lambda: kept_parts(target)[0] > 0, timeout=20_000)
    panel.stop()
    wait_ended(qtbot, panel)
    qtbot.waitUntil(lambda: shown(panel) == ["Resume", "Start anew", "Discard"])
    sources(viewer)[0].colormap = "yellow"  # of no concern to the voxels
    viewer.layers.move(0, 2)  # nor the order of the layers
    gate.allow()
    run(qtbot, panel)
    assert panel._log.started.resumed > 0
    (z0, z1), (y0, y1), (x0, x1) = panel.job.config.box
    assert written(target).shape == (2, 4 * (z1 - z0), y1 - y0, x1 - x0)
    expected = file.parent / "never-stopped.zarr"
    name(panel, expected)
    wait_target(qtbot, panel, expected)
    run(qtbot, panel)
    np.testing.assert_array_equal(written(target), written(expected))


def test_channels_that_napari_split(viewer, make_panel, texture, qtbot, tmp_path):
    """They know neither their numbers nor a file; the lowest is not added up."""
    data = (200 * texture((2, *SHAPE))).astype(np.uint8)
    low, high = viewer.add_image(data, channel_axis=0, scale=(4, 1, 1), name="split", colormap=["gray", "red"])
    low.blending = "opaque"
    panel = make_panel()
    target = tmp_path / "split-isotropic.zarr"
    assert panel.preview.job.target == target
    assert panel.title.text() == "split, 2 channels"
    run(qtbot, panel)
    shown = zarr.open_group(target, mode="r").attrs["ome"]["omero"]["channels"]
    assert [(channel["label"], channel["color"]) for channel in shown] == [("split", "FFFFFF"), ("split [1]", "FF0000")]
    for number, layer in enumerate((low, high)):
        expected = reconstruct(layer_volume(layer), panel.live_layers.model).array.compute()
        np.testing.assert_array_equal(written(target)[number], expected)
    high.visible = False
    panel.open_in_napari()
    qtbot.waitUntil(lambda: len(viewer.layers) == 4)
    assert [layer.blending for layer in viewer.layers] == ["opaque", "additive"] * 2
    assert [layer.visible for layer in viewer.layers] == [False, False, True, True]


def test_voxels_in_memory_do_not_need_their_file(opened, file, tmp_path, qtbot):
    viewer, _, panel = opened
    for layer in sources(viewer):
        layer.data = np.array(layer.data)
    file.unlink()
    panel.refresh_preview()
    run(qtbot, panel)
    assert panel._log.finished is not None
    assert written(panel.job.target).shape == (2, 52, 37, 45)
