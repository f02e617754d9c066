"""Empty voxels in files: as they were, in all levels, whatever interrupts the export; and named in its metadata."""

from __future__ import annotations

import numpy as np
import pytest
import zarr

from napari_niiv.empty_voxels import EmptyVoxels
from napari_niiv.errors import OutputError, VolumeError
from napari_niiv.export import ExportConfig, ExportNotice, ExportProgress, export, plan
from napari_niiv.io.ome.arrays import halved
from napari_niiv.reconstruction.whole import reconstruct
from napari_niiv.volume import Volume
from tests.export.conftest import make

SHAPE = (13, 37, 45)


@pytest.fixture
def where() -> np.ndarray:
    empty = np.zeros(SHAPE, bool)
    empty[:, :9] = empty[:, :, -8:] = empty[:2] = True
    return empty


@pytest.mark.parametrize(("dtype", "value"), [("float32", np.nan), ("int16", -32768), ("uint8", 0)])
def test_several_blocks_interrupted_and_resumed(
    small_model, texture, where, config, tmp_path, monkeypatch, dtype, value
) -> None:
    monkeypatch.setattr(plan, "COARSEST", 16)
    source = make(0.3 + 0.7 * texture(SHAPE), dtype)
    source.array[where] = value
    model, target = small_model(), tmp_path / "out.zarr"
    events = export(source, model, target, config())
    for event in events:
        if isinstance(event, ExportProgress) and event.done > 20_000:
            break
    events.close()
    notices = [e.message for e in export(source, model, target, config(resume=True)) if isinstance(e, ExportNotice)]
    named = "not a number" if dtype == "float32" else f"{value}"
    assert any(f"of this volume is empty ({named}); kept out." in notice for notice in notices)
    found = zarr.open_array(target / "0", mode="r")[...]
    expected = reconstruct(source, model, block=(8, 16)).array.compute()
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(found[where.repeat(4, 0)], np.array(value, dtype))
    coarse = zarr.open_array(target / "1", mode="r")[...]
    gone = where.repeat(4, 0)[::2, :36:2, :44:2] & where.repeat(4, 0)[1::2, 1:36:2, 1:44:2]
    assert gone.any()
    np.testing.assert_array_equal(coarse[:, :18, :22][gone], np.array(value, dtype))
    if dtype != "uint8":
        assert (np.nan_to_num(coarse[:, :18, :22][~gone], nan=-1e9) > -5000).mean() > 0.9  # none is a mixture
    record = dict(zarr.open_group(target, mode="r").attrs["napari_niiv"])
    assert record["empty"] == {"values": [[] if dtype == "float32" else [value]]}


def test_other_empty_voxels_are_another_source(small_model, texture, config, tmp_path) -> None:
    array, model, target = 0.3 + 0.7 * texture(SHAPE), small_model(), tmp_path / "out.zarr"
    events = export(make(array), model, target, config())
    for event in events:
        if isinstance(event, ExportProgress) and event.done > 20_000:
            break
    events.close()
    with pytest.raises(OutputError, match="another source"):
        list(export(make(array, empty=(0.0,)), model, target, config(resume=True)))


def test_nothing_but_padding_is_refused_and_a_channel_of_it_written_as_it_is(
    small_model, texture, config, tmp_path
) -> None:
    blank = np.full(SHAPE, np.nan, np.float32)
    with pytest.raises(VolumeError, match="nothing but NaN"):
        list(export(Volume(blank, voxel_size=(4.0, 1.0, 1.0)), small_model(), tmp_path / "a.zarr", config()))
    two = Volume(np.stack([texture(SHAPE), blank]), "czyx", (4.0, 1.0, 1.0))
    list(export(two, small_model(), tmp_path / "b.zarr", config()))
    found = zarr.open_array(tmp_path / "b.zarr" / "0", mode="r")
    assert np.isfinite(found[0]).all()
    assert np.isnan(found[1]).all()


def test_integers_hold_no_nan(small_model, texture, where, tmp_path) -> None:
    array = 200 * texture(SHAPE)
    array[where] = np.nan
    source = Volume(array, voxel_size=(4.0, 1.0, 1.0))
    list(export(source, small_model(), tmp_path / "out.tif", ExportConfig(dtype="uint8")))
    import tifffile

    assert not tifffile.imread(tmp_path / "out.tif")[where.repeat(4, 0)].any()


def test_halving_leaves_out_what_is_empty() -> None:
    values = np.array([[[10, 20, -9, -9], [-9, 30, -9, 50]]], np.int16)
    np.testing.assert_array_equal(halved(values, (1, 2, 2), EmptyVoxels(outliers=(-9.0,))), [[[20, -9]]])
    np.testing.assert_array_equal(halved(values, (1, 2, 2)), [[[13, 6]]])
