"""Files that hold several datasets: the widget asks which to open."""

import numpy as np
import pytest

pytest.importorskip("napari")

from napari_niiv.errors import DatasetChoice
from napari_niiv.plugin.files.dataset_question import DatasetQuestion
from napari_niiv.plugin.files.reader import PLUGIN, WIDGET, get_reader


@pytest.fixture
def file(tmp_path):
    """Two volumes, of 3 x 16 x 20 and 4 x 16 x 20 voxels."""
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "several.h5", "w") as file:
        for name, depth in (("raw", 3), ("more/probabilities", 4)):
            file[name] = np.random.default_rng(0).integers(0, 200, (depth, 16, 20), np.uint8)
            file[name].attrs["element_size_um"] = [4.0, 0.5, 0.5]
    return tmp_path / "several.h5"


def shown(offer):
    return [not part.native.isHidden() for part in offer.rows]


def test_questions_wait_for_each_other(qtbot, tmp_path):
    opened = []
    offer = DatasetQuestion(lambda *chosen: opened.append(chosen))
    offer.done.changed.emit(True)  # nothing was asked
    assert not offer.dataset.choices
    offer.offer(tmp_path / "a.h5", DatasetChoice("a.h5", ["x", "y"], ["3 × 4 × 5 uint8", ""]))
    offer.offer(tmp_path / "b.h5", DatasetChoice("b.h5", ["z"]))
    offer.offer(tmp_path / "b.h5", DatasetChoice("b.h5", ["z"]))
    assert offer.dataset.choices == ("x", "y")
    assert offer.question.value == "a.h5 holds 2 images. Which one?"
    assert offer.dataset.native.itemText(0) == "x (3 × 4 × 5 uint8)"
    offer.dataset.value = "y"
    offer.open.changed.emit(True)
    offer.dataset.value = "x"
    offer.open.changed.emit(True)
    offer.done.changed.emit(True)
    assert offer.dataset.choices == ("z",)
    offer.done.changed.emit(True)
    assert opened == [(tmp_path / "a.h5", "y"), (tmp_path / "a.h5", "x")]
    assert shown(offer) == [False] * 3


def test_napari_opens_the_widget_that_asks(make_napari_viewer, qtbot, file):
    viewer = make_napari_viewer()
    assert viewer.open(file, plugin="napari-niiv") == []
    _, widget = viewer.window.add_plugin_dock_widget(PLUGIN, WIDGET)
    assert shown(widget.datasets) == [True] * 3
    widget.datasets.dataset.value = "more/probabilities"
    widget.datasets.open.changed.emit(True)
    qtbot.waitUntil(lambda: len(viewer.layers) > 0, timeout=20_000)
    assert widget.layer.value.data.shape == (4, 16, 20)
    np.testing.assert_allclose(widget.layer.value.scale, (4, 0.5, 0.5))
    widget.datasets.done.changed.emit(True)
    assert shown(widget.datasets) == [False] * 3


def test_a_drop_on_the_widget_asks(make_napari_viewer, qtbot, file):
    viewer = make_napari_viewer()
    _, widget = viewer.window.add_plugin_dock_widget(PLUGIN, WIDGET)
    widget.open_files([file])
    qtbot.waitUntil(lambda: shown(widget.datasets) == [True] * 3, timeout=20_000)
    assert "Choose what to open" in widget.status.value


def test_without_a_viewer_it_is_an_error(file):
    with pytest.raises(DatasetChoice, match=r"holds 2 images: raw .3 × 16 × 20 uint8.,"):
        get_reader(str(file))(str(file))
