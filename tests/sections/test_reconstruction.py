"""Repaired sections in what is made of a volume: restored, exported, trained on."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from napari_niiv.errors import OutputError
from napari_niiv.export import ExportConfig, export
from napari_niiv.export.engines.payload import _portable
from napari_niiv.geometry import Box
from napari_niiv.models.checkpoint import load_model
from napari_niiv.reconstruction.single_slice import reconstruct_slice
from napari_niiv.reconstruction.whole import reconstruct
from napari_niiv.sections.repair import bridged, repair_sections
from napari_niiv.training.data.boxes import measured_box
from napari_niiv.training.data.volumes import training_volumes
from napari_niiv.volume import Volume

Array = NDArray[np.uint8]


def volume_of(array: NDArray) -> Volume:
    return Volume(array, voxel_size=(4.0, 1.0, 1.0))


@pytest.fixture
def damaged(texture) -> Array:
    array = (200 * texture((12, 24, 20)) + 20).astype(np.uint8)
    array[7] = 0
    return array


@pytest.fixture
def filled(damaged: Array) -> Array:
    """As it is bridged, by hand."""
    array = damaged.copy()
    array[7] = np.rint((damaged[6].astype(float) + damaged[8]) / 2)
    return array


def test_a_blank_section_spoils_its_neighbours_little(shared_data: Path) -> None:
    """Against the truth, tissue that was measured isotropically: within 20 % of the error without the blank section."""
    truth = tifffile.imread(shared_data / "fib25_val_256x384x384.tif")[64:208, 100:180, 100:180].astype(np.float32)
    clean = np.rint(truth.reshape(18, 8, 80, 80).mean(1)).astype(np.uint8)
    blank = clean.copy()
    blank[9] = 0
    model = load_model("em", "cpu")

    def error(array: Array) -> NDArray:
        volume = Volume(array, voxel_size=(8.0, 1.0, 1.0))
        restored = np.asarray(reconstruct(volume, model).array).astype(np.float32)
        return np.sqrt(((restored - truth) ** 2).reshape(18, 8, -1).mean((1, 2)))

    before, after = error(clean), error(blank)
    beside = [7, 8, 10, 11]
    assert (after[beside] < 1.2 * before[beside]).all()


def test_as_if_it_had_been_filled(small_model, damaged: Array, filled: Array) -> None:
    model = small_model()
    expected = reconstruct(volume_of(filled), model).array.compute()
    np.testing.assert_array_equal(reconstruct(volume_of(damaged), model).array.compute(), expected)
    left = repair_sections(volume_of(damaged), bridge=False)
    assert (reconstruct(left, model).array.compute() != expected).any()
    one, other = (reconstruct_slice(volume_of(a), model, "xz", 5, denoise=0) for a in (damaged, filled))
    np.testing.assert_array_equal(one, other)


def test_an_export_says_so_and_goes_on_with_the_same_alone(
    small_model, damaged: Array, filled: Array, tmp_path: Path
) -> None:
    model, target = small_model(), tmp_path / "out.zarr"
    config = ExportConfig(chunk=16, threads=1)
    said = [event.message for event in export(volume_of(damaged), model, target, config) if hasattr(event, "message")]
    assert said == ["volume: section 7 is bridged."]
    attributes = json.loads((target / "zarr.json").read_text())["attributes"]["napari_niiv"]
    assert attributes["sections"] == {"repaired": [{"bridged": [7]}]}
    again = config.model_copy(update={"resume": True})
    assert next(iter(export(volume_of(damaged), model, target, again))).resumed == 48 * 24 * 20
    left = repair_sections(volume_of(damaged), bridge=False)
    with pytest.raises(OutputError, match="exists already"):
        list(export(left, model, target, again))


def test_an_interrupted_export_goes_on_with_the_same_repairs(small_model, damaged: Array, tmp_path: Path) -> None:
    model, target = small_model(), tmp_path / "out.zarr"
    config = ExportConfig(chunk=16, threads=1, block=(4, 16), shard=1 << 12)
    events = export(volume_of(damaged), model, target, config)
    while getattr(next(events), "done", 0) < 12_000:  # some shards are written
        pass
    events.close()
    left = repair_sections(volume_of(damaged), bridge=False)
    again = config.model_copy(update={"resume": True})
    with pytest.raises(OutputError, match="other repairs of sections"):
        list(export(left, model, target, again))
    list(export(volume_of(damaged), model, target, again))


def test_it_travels_to_other_processes(damaged: Array, filled: Array, tmp_path: Path) -> None:
    import cloudpickle

    portable = _portable(bridged(volume_of(damaged)), tmp_path)
    pickled = cloudpickle.dumps(portable)
    assert len(pickled) < damaged.nbytes  # the voxels are in a file
    np.testing.assert_array_equal(np.asarray(cloudpickle.loads(pickled).array), filled)


def test_training_does_not_learn_from_what_was_not_measured(damaged: Array) -> None:
    (volume,), notices = training_volumes([volume_of(damaged)])
    assert notices == ["volume: section 7 is bridged."]
    box = Box.whole(volume.shape)
    holes = measured_box(volume, volume.read(box), box, box).isnan().all(dim=(1, 2)).numpy()
    assert set(np.flatnonzero(holes)) == {7, *volume.held_out}
    assert 7 not in volume.held_out


def test_blank_slices_are_not_held_out(texture) -> None:
    array = (200 * texture((13, 24, 20)) + 20).astype(np.uint8)
    array[6] = 0  # the one that would be
    (volume,), _ = training_volumes([volume_of(array)])
    assert 6 not in volume.held_out
