"""The sample that ships."""

import numpy as np
import pytest
import tifffile

pytest.importorskip("napari")


def test_napari_opens_it_with_its_voxel_size(make_napari_viewer):
    viewer = make_napari_viewer()
    (layer,) = viewer.open_sample("napari-niiv", "fib25")
    assert layer.data.shape == (16, 256, 256)
    np.testing.assert_allclose(layer.scale, (0.08, 0.01, 0.01))
    assert {str(u) for u in layer.units} == {"micrometer"}


def test_it_is_what_the_script_says(shared_data):
    from napari_niiv.plugin.sample import open_sample

    truth = tifffile.imread(shared_data / "fib25_val_256x384x384.tif")[128:, 64:320, 64:320]
    pooled = truth.reshape(16, 8, 256, 256).mean(1)
    assert np.abs(open_sample()[0][0] - pooled).max() <= 0.5
