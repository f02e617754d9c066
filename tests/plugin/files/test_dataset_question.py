"""Files that hold several datasets: the widget asks which to open."""

import time
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("napari")

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QListView, QStyleOptionViewItem

from napari_niiv.errors import DatasetChoice
from napari_niiv.plugin.common.forms import Form
from napari_niiv.plugin.common.questions import Questions
from napari_niiv.plugin.files.dataset_list import MOST_ROWS
from napari_niiv.plugin.files.dataset_question import DatasetQuestion
from napari_niiv.plugin.files.reader import PLUGIN, WIDGET, get_reader
from tests.plugin.test_widget import DATA, drop, open_widget, wait_status


@pytest.fixture
def file(tmp_path):
    """Two volumes, of 3 x 16 x 20 and 4 x 16 x 20 voxels, and labels, which the file has first."""
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "several.h5", "w") as file:
        file["all_labels"] = np.zeros((3, 16, 20), np.uint64)
        for name, depth in (("raw", 3), ("more/raw", 4)):
            file[name] = np.random.default_rng(0).integers(0, 200, (depth, 16, 20), np.uint8)
            file[name].attrs["element_size_um"] = [4.0, 0.5, 0.5]
    return tmp_path / "several.h5"


@pytest.fixture
def asking(qtbot):
    """A question in a window, and what was opened."""
    opened = []
    asking = SimpleNamespace(opened=opened, offer=DatasetQuestion(Questions(), lambda *chosen: opened.append(chosen)))
    asking.form = Form(asking.offer.rows)
    qtbot.addWidget(asking.form.native)
    asking.form.native.resize(300, 400)
    asking.form.show()
    return asking


def lines(offer):
    model = offer.list.model()
    return [model.index(i).data() for i in range(model.rowCount())]


def shown(offer):
    return all(row.shown for row in offer.rows)


def part(offer):
    """What comes next was not opened together with what was before."""
    offer._part()


def test_files_opened_together_wait_for_each_other(asking, qtbot, tmp_path):
    offer = asking.offer
    offer.done.native.click()  # nothing was asked
    offer.offer(tmp_path / "a.h5", DatasetChoice("a.h5", ["x", "y"], ["3 × 4 × 5 uint8", ""]))
    offer.offer(tmp_path / "b.h5", DatasetChoice("b.h5", ["z"]))
    offer.offer(tmp_path / "b.h5", DatasetChoice("b.h5", ["z"]))
    assert offer.question.value == "a.h5 holds 2 images. Which one?"
    assert lines(offer) == ["x  — 3 × 4 × 5 uint8", "y"]
    offer.offer(tmp_path / "a.h5", DatasetChoice("a.h5", ["y/1", "y/2"]), again=True)  # a well of a plate
    assert lines(offer) == ["y/1", "y/2"]
    offer.open.native.click()
    assert lines(offer) == ["z"]
    offer.done.native.click()
    assert asking.opened == [(tmp_path / "a.h5", "y/1")]
    assert shown(offer) is False


def test_what_is_opened_later_takes_the_place_of_the_question(asking, tmp_path):
    offer = asking.offer
    offer.offer(tmp_path / "a.h5", DatasetChoice("a.h5", ["x", "y"]))
    part(offer)
    offer.offer(tmp_path / "b.h5", DatasetChoice("b.h5", ["z", "w"]))
    offer.done.native.click()
    assert shown(offer) is False


def test_keys_and_double_clicks_open(asking, qtbot, tmp_path):
    offer = asking.offer
    path, choice = tmp_path / "a.h5", DatasetChoice("a.h5", ["raw", "sem", "mask"])
    offer.offer(path, choice)
    assert isinstance(offer.list, QListView)
    qtbot.keyClick(offer.list, Qt.Key.Key_Down)
    qtbot.keyClick(offer.list, Qt.Key.Key_Return)
    assert asking.opened == [(path, "sem")]
    offer.offer(path, choice)
    qtbot.keyClicks(offer.list, "ma")
    qtbot.keyClick(offer.list, Qt.Key.Key_Enter)
    assert asking.opened[-1] == (path, "mask")
    offer.offer(path, choice)
    at = offer.list.visualRect(offer.list.model().index(1)).center()
    qtbot.mouseClick(offer.list.viewport(), Qt.MouseButton.LeftButton, pos=at)
    qtbot.mouseDClick(offer.list.viewport(), Qt.MouseButton.LeftButton, pos=at)
    assert asking.opened[-1] == (path, "sem")


def test_thousands_take_no_time_and_no_room(asking, qtbot, tmp_path):
    offer, names = asking.offer, [f"recording/{number:05}/channel 0/raw data of the day" for number in range(20_000)]
    choice = DatasetChoice("a.h5", names, ["128 × 1024 × 1024 uint16"] * len(names))
    height = asking.form.native.height()
    start = time.perf_counter()
    offer.offer(tmp_path / "a.h5", choice)
    offer.list.grab()  # painted
    assert time.perf_counter() - start < 0.5
    assert offer.list.height() <= (MOST_ROWS + 1) * offer.list.sizeHintForRow(0)
    assert asking.form.native.height() == height
    assert offer.list.minimumSizeHint().width() < 200


def test_the_middle_of_a_long_name_is_left_out_and_shape_and_type_stay(asking, tmp_path):
    name = "volumes/" + "a_very_long_group/" * 20 + "raw"
    asking.offer.offer(tmp_path / "a.h5", DatasetChoice("a.h5", [name, "b"], ["12 × 48 uint8", ""]))
    option, index = QStyleOptionViewItem(), asking.offer.list.model().index(0)
    option.rect.setWidth(280)
    asking.offer.list.itemDelegate().initStyleOption(option, index)
    assert option.text.startswith("volumes/a")
    assert "…" in option.text
    assert option.text.endswith("raw  — 12 × 48 uint8")
    assert option.fontMetrics.horizontalAdvance(option.text) <= 280
    assert index.data(Qt.ItemDataRole.ToolTipRole) == f"{name}  — 12 × 48 uint8"


def test_napari_opens_the_widget_that_asks(make_napari_viewer, qtbot, file):
    viewer = make_napari_viewer()
    assert viewer.open(file, plugin="napari-niiv") == []
    _, widget = viewer.window.add_plugin_dock_widget(PLUGIN, WIDGET)
    assert shown(widget.datasets)
    assert lines(widget.datasets) == [
        "more/raw  — 4 × 16 × 20 uint8, 4 × 0.5 × 0.5 µm",
        "raw  — 3 × 16 × 20 uint8, 4 × 0.5 × 0.5 µm",
        "all_labels  — 3 × 16 × 20 uint64",
    ]
    widget.datasets.open.native.click()
    qtbot.waitUntil(lambda: len(viewer.layers) > 0, timeout=20_000)
    assert widget.layer.value.data.shape == (4, 16, 20)
    np.testing.assert_allclose(widget.layer.value.scale, (4, 0.5, 0.5))
    assert shown(widget.datasets) is False


def test_a_drop_on_the_widget_asks_until_something_else_is_opened_or_chosen(viewer, qtbot, messages, file):
    one, _ = viewer.add_image(DATA, scale=(4, 1, 1), name="one"), viewer.add_image(DATA, scale=(4, 1, 1), name="two")
    widget = open_widget(viewer)

    def ask():
        drop(widget, file)
        qtbot.waitUntil(lambda: shown(widget.datasets), timeout=20_000)
        qtbot.waitUntil(lambda: not widget.datasets._together)

    ask()
    widget.spacings.button.native.click()  # what the user opens comes before
    assert widget.spacings.form.question.native.isVisible()
    assert shown(widget.datasets) is False
    widget.spacings.button.native.click()
    assert not widget.spacings.form.question.native.isVisible()
    assert shown(widget.datasets)
    widget.datasets.done.native.click()
    wait_status(qtbot, widget, "· pixel")  # what is on the screen
    ask()
    widget.layer.value = one
    assert shown(widget.datasets) is False
    ask()
    viewer.add_image(DATA, scale=(4, 1, 1), name="three")
    assert shown(widget.datasets) is False
    ask()
    drop(widget, file)
    assert shown(widget.datasets) is False
    qtbot.waitUntil(lambda: shown(widget.datasets), timeout=20_000)
    assert messages == []


def test_without_a_viewer_it_is_an_error(file):
    with pytest.raises(DatasetChoice, match=r"holds 3 images: more/raw .4 × 16 × 20 uint8, 4 × 0.5 × 0.5 µm.,"):
        get_reader(str(file))(str(file))
