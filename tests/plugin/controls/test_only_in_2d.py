"""Controls that do nothing in 3-D say so."""

import numpy as np
import pytest

pytest.importorskip("napari")

from napari.components import ViewerModel

from napari_niiv.plugin.controls.only_in_2d import WHY
from napari_niiv.plugin.widget import IsotropicReconstruct


def test_they_are_disabled_in_3d_and_say_why(qtbot):
    viewer = ViewerModel()
    viewer.add_image(np.zeros((5, 20, 20), np.uint8), scale=(4, 1, 1))
    widget = IsotropicReconstruct(viewer)
    qtbot.addWidget(widget.native)
    controls = [
        *(widget.compare.split, widget.compare.freeze, widget.compare.steps),
        *(widget.trust.disagreement, widget.trust.misfit, widget.trust.project),
    ]
    tips = [control.tooltip for control in controls]
    for _ in range(2):
        assert all(control.enabled for control in controls)
        assert [control.tooltip for control in controls] == tips
        viewer.dims.ndisplay = 3
        assert not any(control.enabled for control in controls)
        assert [control.tooltip for control in controls] == [WHY + tip for tip in tips]
        assert widget.on.enabled
        viewer.dims.ndisplay = 2
