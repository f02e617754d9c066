"""What napari learns of the plugin."""

import subprocess
import sys

import pytest

from napari_niiv.plugin.files.reader import VOLUMES
from napari_niiv.plugin.manifest_names import PLUGIN, TRAINING, WIDGET

npe2 = pytest.importorskip("npe2")


@pytest.fixture(scope="module")
def manifest():
    return npe2.PluginManifest.from_distribution("napari-niiv")


def test_the_manifest_is_valid_and_its_commands_exist(manifest):
    manifest.validate_imports()
    assert [w.display_name for w in manifest.contributions.widgets] == [
        "Isotropic reconstruct",
        "Train on this volume",
    ]


def test_the_names_are_those_that_the_code_uses(manifest):
    assert manifest.name == PLUGIN
    # napari's menus title docks by the one, its `add_plugin_dock_widget` by the other
    assert manifest.display_name == PLUGIN
    assert [w.display_name for w in manifest.contributions.widgets] == [WIDGET, TRAINING]


def test_it_claims_no_files_that_napari_reads(manifest):
    patterns = [p for r in manifest.contributions.readers for p in r.filename_patterns]
    assert not {"*.tif", "*.tiff", "*.npy", "*.zarr", "*"} & set(patterns)
    assert sorted(patterns) == sorted(["*.safetensors", *(f"*{suffix}" for suffix in VOLUMES)])


def test_opening_the_widget_imports_nothing_slow():
    """Torch takes a second, arrays of dask a quarter of one, filelock ten milliseconds: on the GUI thread."""
    slow = {"torch", "dask.array", "zarr", "h5py", "filelock"}
    code = f"import sys, napari_niiv.plugin.widget; assert not {slow} & set(sys.modules), {slow} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_listing_the_plugin_does_not_import_torch():
    code = "import npe2, sys; npe2.PluginManifest.from_distribution('napari-niiv'); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
