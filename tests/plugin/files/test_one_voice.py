"""What the widget says of a file: one question at a time, one message for many files, and nothing that contradicts."""

import numpy as np
import pytest
import tifffile

from tests.plugin.test_widget import DATA, drop, open_widget, wait_status

pytest.importorskip("napari")

from napari_niiv.io.remembered import Correction, recall


def saved(path, **metadata):
    tifffile.imwrite(path, DATA, imagej=True, metadata={"axes": "ZYX", **metadata})
    return path


def all_said(widget, messages):
    """Every sentence that can be read."""
    shown = [row.value for row in widget if hasattr(row, "value") and row.native.isVisible()]
    return " ".join([widget.status.value, *messages, *(text for text in shown if isinstance(text, str))])


def questions_shown(widget):
    return [question for question in widget._host.questions._all if question.shown]


@pytest.mark.parametrize("opened", ["by napari", "dropped"])
def test_a_file_without_a_voxel_size_is_not_isotropic(viewer, qtbot, messages, tmp_path, opened):
    path = tmp_path / "unsaid.tif"
    tifffile.imwrite(path, DATA, photometric="minisblack")
    widget = open_widget(viewer)
    drop(widget, path) if opened == "dropped" else viewer.open(path, plugin="napari")
    form = widget.spacings.form
    qtbot.waitUntil(form.question.native.isVisible, timeout=20_000)
    assert form.question.value == "The file of unsaid does not say its z step. What is the size of a voxel?"
    wait_status(qtbot, widget, "Waiting for the voxel size of unsaid")
    assert "isotropic" not in all_said(widget, messages)
    form.later.native.click()
    assert widget.status.value.startswith("unsaid has no voxel size to go by, as its file does not say its z step;")
    assert "isotropic" not in all_said(widget, messages)
    widget.anisotropy.value = 4
    wait_status(qtbot, widget, "· pixel")
    assert messages == []


def test_the_anisotropy_typed_is_an_answer(viewer, qtbot, messages, tmp_path):
    path = tmp_path / "unsaid.tif"
    tifffile.imwrite(path, DATA, photometric="minisblack")
    widget = open_widget(viewer)
    viewer.open(path, plugin="napari")
    qtbot.waitUntil(widget.spacings.form.question.native.isVisible, timeout=20_000)
    widget.anisotropy.value = 4
    assert not widget.spacings.form.question.native.isVisible()
    wait_status(qtbot, widget, "· pixel")


def test_isotropic_by_the_users_hand(viewer, qtbot, messages, tmp_path):
    """Typed, in the form or when it was opened before: never as if the file said so, and what it says is told."""
    path = saved(tmp_path / "stack.tif", spacing=5.0, unit="um")
    widget = open_widget(viewer)
    drop(widget, path)
    wait_status(qtbot, widget, "· pixel")
    before, z = widget.anisotropy.value, widget.layer.value.scale[0]
    told = "; it was 5 × 1 × 1 µm before, an anisotropy of 5); if the z step is coarser, type the anisotropy"
    widget.anisotropy.value = 2
    kept = "stack has an anisotropy of 2, as you have set it; it was 5 × 1 × 1 µm before, an anisotropy of 5; that is "
    qtbot.waitUntil(lambda: messages[-1:] == [f"{kept}remembered for its file."], timeout=10_000)
    widget.anisotropy.value = 1
    assert widget.status.value.startswith(f"stack is isotropic, as you have set it (1 × 1 × 1 µm{told}")
    form = widget.spacings.form
    widget.spacings.button.native.click()
    assert form.question.value.endswith("for this file; it was 5 × 1 × 1 µm before, an anisotropy of 5.")
    form.sizes["z"].value = "0.5"
    form.apply.native.click()
    assert widget.status.value.startswith(f"stack is finer along z, as you have set it (0.5 × 1 × 1 µm{told}")
    qtbot.waitUntil(lambda: recall(path) == Correction((0.5, 1, 1), "micrometer"), timeout=10_000)
    viewer.layers.clear()
    drop(widget, path)
    wait_status(qtbot, widget, f"stack is finer along z, as you have set it (0.5 × 1 × 1 µm{told}")
    widget.anisotropy.value = before
    wait_status(qtbot, widget, "· pixel")
    assert widget.layer.value.scale[0] == pytest.approx(z)


@pytest.mark.parametrize("opened", ["by napari", "dropped"])
def test_isotropic_by_its_header(viewer, qtbot, messages, tmp_path, opened):
    path = tmp_path / "cube.tif"
    tifffile.imwrite(path, DATA, imagej=True, resolution=(5, 5), metadata={"axes": "ZYX", "spacing": 0.2, "unit": "um"})
    widget = open_widget(viewer)
    drop(widget, path) if opened == "dropped" else viewer.open(path, plugin="napari")
    wait_status(qtbot, widget, "cube says that its voxels are isotropic (0.2 × 0.2 × 0.2 µm)")
    assert questions_shown(widget) == []
    assert "no voxel size" not in all_said(widget, messages)


def test_sizes_without_a_unit_go_live_in_voxel_units(viewer, qtbot, messages, tmp_path):
    widget = open_widget(viewer)
    drop(widget, saved(tmp_path / "unitless.tif", spacing=4.0))
    wait_status(qtbot, widget, "voxel units")
    assert questions_shown(widget) == []
    assert messages == []


def test_sizes_in_units_that_cannot_be_compared_are_told_once(viewer, qtbot, messages, tmp_path):
    path = tmp_path / "odd.ome.tif"
    metadata = {"axes": "ZYX", "PhysicalSizeZ": 4.0, "PhysicalSizeZUnit": "pixel"}
    metadata |= {"PhysicalSizeX": 0.2, "PhysicalSizeXUnit": "µm", "PhysicalSizeY": 0.2, "PhysicalSizeYUnit": "µm"}
    tifffile.imwrite(path, DATA, ome=True, metadata=metadata)
    widget = open_widget(viewer)
    drop(widget, path)
    form = widget.spacings.form
    qtbot.waitUntil(form.question.native.isVisible, timeout=20_000)
    assert "does not say" not in form.question.value
    assert "gives its z step in pixel, its pixel size in micrometer, which cannot be compared" in form.question.value
    assert messages == []


def test_a_layer_of_no_file(viewer, qtbot, messages):
    viewer.add_image(DATA, name="bare")
    widget = open_widget(viewer)
    wait_status(qtbot, widget, "bare has no voxel size; if its z step is coarser than its pixels")
    viewer.layers["bare"].scale = (1, 4, 4)
    wait_status(qtbot, widget, "bare says that its z step is finer than its pixels")
    assert questions_shown(widget) == []


def test_which_dataset_is_asked_before_its_voxel_size(in_napari, viewer, qtbot, messages, tmp_path):
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "two.h5", "w") as file:
        file["a"], file["b"] = DATA, DATA
    path = tmp_path / "unsaid.tif"
    tifffile.imwrite(path, DATA, photometric="minisblack")
    viewer.open(path, plugin="napari")
    widget = open_widget(viewer)
    qtbot.waitUntil(widget.spacings.form.question.native.isVisible, timeout=20_000)
    drop(widget, tmp_path / "two.h5")
    qtbot.waitUntil(widget.datasets.list.isVisible, timeout=20_000)
    assert not widget.spacings.form.question.native.isVisible()
    assert len(questions_shown(widget)) == 1
    assert widget.status.value == "Choose what to open of two.h5."
    qtbot.waitUntil(lambda: not widget.datasets._together)
    widget.datasets.open.native.click()
    qtbot.waitUntil(lambda: "two/" in widget.spacings.form.question.value, timeout=20_000)
    qtbot.waitUntil(widget.spacings.form.question.native.isVisible, timeout=20_000)
    assert len(questions_shown(widget)) == 1
    assert "isotropic" not in all_said(widget, messages)
    assert [box.native.isHidden() for box in widget.spacings.form.axes] == [False] * 3 + [True] * 3
    viewer.layers.remove(widget.layer.value)  # the question goes with its layer, and that of the other comes back
    qtbot.waitUntil(lambda: "unsaid" in widget.spacings.form.question.value, timeout=20_000)
    viewer.layers.clear()
    qtbot.waitUntil(lambda: questions_shown(widget) == [], timeout=20_000)


def test_axes_that_cannot_be_put_in_order_are_told_alone(viewer, qtbot, messages, tmp_path):
    path = tmp_path / "fiji.tif"
    stack = np.stack([DATA, 2 * DATA], axis=1)
    tifffile.imwrite(path, stack, imagej=True, metadata={"axes": "ZCYX"})
    viewer.open(path, plugin="napari")
    viewer.layers[0].rotate = 10  # so its axes cannot be renamed
    widget = open_widget(viewer)
    qtbot.waitUntil(lambda: bool(messages), timeout=20_000)
    wait_status(qtbot, widget, "stores its axes as ZCYX")
    assert "isotropic" not in all_said(widget, messages)
    assert questions_shown(widget) == []
    assert len(messages) == 1


def test_sixteen_files_make_one_message(viewer, qtbot, messages, tmp_path):
    good = [saved(tmp_path / f"good{n}-of-them.tif", spacing=4.0, unit="um") for n in "abcdefghijk"]
    bad = [tmp_path / f"bad{n}.tif" for n in "abcde"]
    for path in bad:
        path.write_bytes(b"no picture")
    widget = open_widget(viewer)
    drop(widget, *good[:6], *bad, *good[6:])
    qtbot.waitUntil(lambda: bool(messages), timeout=40_000)
    assert sum(layer.name.endswith("-of-them") for layer in viewer.layers) == len(good)
    assert widget.layer.value.name == "gooda-of-them"
    wait_status(qtbot, widget, "lies over it")
    (message,) = messages
    assert message.startswith("5 of 16 files cannot be opened: bada.tif is not a readable TIFF")
    assert "badb.tif" in message
    assert "badc.tif" in message
    assert "badd.tif" not in message
    assert message.endswith("; and 2 more.")
    assert [live.source.name for live in widget.live_layers] == ["gooda-of-them"]


def test_files_of_which_none_can_be_opened_are_said_in_the_status(viewer, qtbot, messages, tmp_path):
    bad = [tmp_path / f"bad{n}.tif" for n in "ab"]
    for path in bad:
        path.write_bytes(b"no picture")
    widget = open_widget(viewer)
    drop(widget, *bad)
    wait_status(qtbot, widget, "2 of 2 files cannot be opened: bada.tif is not")
    assert len(messages) == 1


def test_a_file_that_cannot_be_opened_leaves_the_status_to_the_picture(viewer, qtbot, messages, tmp_path):
    widget = open_widget(viewer)
    drop(widget, saved(tmp_path / "stack.tif", spacing=4.0, unit="um"))
    wait_status(qtbot, widget, "as measured")
    said, path = widget.status.value, tmp_path / "notes.txt"
    path.write_text("stain: 2 h")
    before = len(messages)
    drop(widget, path)
    qtbot.waitUntil(lambda: len(messages) > before, timeout=20_000)
    assert "notes.txt" in messages[-1]
    assert widget.status.value == said
    assert widget.indicator.state != "failed"
