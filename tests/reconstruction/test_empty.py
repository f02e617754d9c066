"""Empty voxels through the reconstruction: kept out of it, back as they were, however it is cut."""

from __future__ import annotations

from dataclasses import replace

import dask.array as da
import numpy as np
import pytest

from napari_niiv.models.checkpoint import load_model
from napari_niiv.reconstruction.region import RegionBlock, RegionPlaceholder, RegionPlan, reconstruct_region
from napari_niiv.reconstruction.single_slice import reconstruct_slice, slice_request
from napari_niiv.reconstruction.views.reconstructor import Reconstructor
from napari_niiv.reconstruction.whole import reconstruct
from napari_niiv.volume import Volume

SHAPE, FACTOR = (9, 40, 44), 4
VALUES = {"uint8": 0, "int16": -32768, "float32": np.nan, "float64": 1e30}


@pytest.fixture(scope="module")
def tissue(texture) -> np.ndarray:
    return 60 + 150 * texture(SHAPE) + np.random.default_rng(0).normal(size=SHAPE)


def where() -> np.ndarray:
    """A border, corners that move, and a blank section."""
    empty = np.zeros(SHAPE, bool)
    empty[:, :7] = empty[:, :, -6:] = empty[-1] = True
    y, x = np.mgrid[: SHAPE[1], : SHAPE[2]]
    for z in range(SHAPE[0]):
        empty[z][y - x > 22 + z] = True
    return empty


def volume(tissue: np.ndarray, dtype: str, value: float | None = None, **more) -> Volume:
    array = tissue.astype(dtype)
    array[where()] = VALUES[dtype] if value is None else value
    return Volume(array, voxel_size=(FACTOR, 1.0, 1.0), **more)


def fine(mask: np.ndarray) -> np.ndarray:
    return mask.repeat(FACTOR, 0)


@pytest.mark.parametrize("dtype", VALUES)
@pytest.mark.parametrize("project", [False, True])
def test_blocks_do_not_matter_and_what_is_empty_comes_back(small_model, tissue, dtype, project) -> None:
    model, padded = small_model(), volume(tissue, dtype)
    results = [
        reconstruct(source, model, project=project, denoise=0, block=block).array.compute()
        for source, block in (
            (padded, (64, 64)),
            (padded, (8, 17)),
            (replace(padded, array=da.from_array(padded.array, chunks=7)), (5, 13)),
        )
    ]
    for other in results[1:]:
        np.testing.assert_allclose(other, results[0], rtol=1e-4, atol=1)
    np.testing.assert_array_equal(
        results[0][fine(where())], np.broadcast_to(np.array(VALUES[dtype], dtype), fine(where()).sum())
    )
    assert np.isfinite(results[0][~fine(where())]).all()


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
@pytest.mark.parametrize(("plane", "index"), [("xz", 20), ("yz", 20), ("xy", 3), ("xy", 3.3)])
def test_the_screen_is_the_file(small_model, tissue, dtype, plane, index) -> None:
    model, padded = small_model(), volume(tissue, dtype)
    picture = reconstruct_slice(padded, model, plane, index, denoise=0)
    whole = reconstruct(padded, model, denoise=0).array.compute()
    if plane != "xy":
        expected = whole[:, index] if plane == "xz" else whole[:, :, index]
        np.testing.assert_allclose(picture, expected, atol=1)
    empty = {"xz": fine(where())[:, 20], "yz": fine(where())[:, :, 20], "xy": where()[3]}[plane]
    if dtype == "float32":
        np.testing.assert_array_equal(np.isnan(picture), empty)
    else:
        assert not picture[empty].any()


@pytest.mark.parametrize("quality", ["placeholder", "fast", "refined"])
def test_maps_say_nothing_of_what_is_empty(small_model, tissue, quality) -> None:
    empty, answers = fine(where())[:, 20], []
    for value in (-32768, -2000):
        padded = volume(tissue, "int16", value)
        request = replace(slice_request(padded, "xz", 20), trust=("disagreement", "misfit"), denoise=0.0)
        answers.append(Reconstructor(padded, small_model()).slice(request, quality))
        assert answers[-1].empty.values == (value,)
        for values in answers[-1].trust.values():
            assert not values[empty].any()
    one, other = answers
    np.testing.assert_array_equal(one.image[~empty], other.image[~empty])  # no fill value has a part in it
    for name, values in one.trust.items():
        np.testing.assert_array_equal(values, other.trust[name])


def test_zoomed_out_padding_is_not_mixed_in(small_model, tissue) -> None:
    padded = volume(tissue, "int16")
    picture = reconstruct_slice(padded, small_model(), "xy", 3, pixel_size=4.0)
    assert ((picture > 0) | (picture == -32768)).all()
    assert (picture == -32768).any()


def test_coarser_levels_of_the_file_may_be_mixtures(small_model, tissue) -> None:
    array = tissue.astype(np.int16)
    array[:, :7] = -2000
    coarse = array.reshape(9, 20, 2, 22, 2).mean((2, 4)).astype(np.int16)
    assert ((coarse > -1500) & (coarse < -500)).any()
    padded = Volume(array, voxel_size=(FACTOR, 1.0, 1.0), pyramid=(coarse,))
    picture = reconstruct_slice(padded, small_model(), "xz", 7, pixel_size=2.0)  # of the row that is a mixture
    np.testing.assert_array_equal(picture, np.repeat(coarse[:, 3], 2, 0))


def test_the_3d_view_has_it_too(small_model, tissue) -> None:
    padded = volume(tissue, "float32")
    array = None
    for event in reconstruct_region(padded, small_model(), budget=10**6, denoise=0):
        match event:
            case RegionPlan():
                assert event.output_scale == 1
            case RegionPlaceholder():
                array = event.array
                np.testing.assert_array_equal(np.isnan(array), fine(where()))
            case RegionBlock():
                array[event.place] = event.array
    np.testing.assert_array_equal(np.isnan(array), fine(where()))


def test_a_volume_without_padding_is_read_as_before(small_model, tissue) -> None:
    asked = []

    class Counted:
        shape, dtype = SHAPE, np.dtype(np.uint8)

        def __getitem__(self, key):
            asked.append(tuple(len(range(*s.indices(n))) for s, n in zip(key, SHAPE, strict=True)))
            return tissue.astype(np.uint8)[key]

    reconstructor = Reconstructor(Volume(Counted(), voxel_size=(FACTOR, 1.0, 1.0)), small_model())
    reconstructor.normalization()
    asked.clear()
    reconstructor.slice(slice_request(reconstructor.volume, "xz", 20), "placeholder")
    assert asked == [(9, 1, 44)]


# the truth


@pytest.fixture(scope="module")
def truth(shared_data) -> np.ndarray:
    import tifffile

    return tifffile.imread(shared_data / "fib25_val_256x384x384.tif")[64:144, 100:180, 100:180].astype(np.float32)


@pytest.mark.parametrize(
    ("dtype", "scale", "offset", "value"),
    [
        ("uint8", 1, 0, 0),
        ("uint8", 1, 0, 255),
        ("uint16", 20, 20000, 0),
        ("int16", 1, 0, -32768),
        ("float32", 1 / 255, 0, -1),
        ("float32", 1, 0, 1e30),
        ("float32", 1, 0, np.nan),
    ],
)
def test_intact_tissue_is_restored_as_without_padding(truth, dtype, scale, offset, value) -> None:
    model = load_model("em", "cpu")
    coarse = np.rint(truth.reshape(10, 8, 80, 80).mean(1))
    empty = np.zeros(coarse.shape, bool)
    empty[:, :6] = empty[:, :, -6:] = empty[0] = True

    def quality(fill: float | None) -> float:
        array = (coarse * scale + offset).astype(dtype)
        if fill is not None:
            array[empty] = fill
        volume = Volume(array, voxel_size=(8.0, 1.0, 1.0))
        restored = reconstruct(volume, model, denoise=0.03).array.compute().astype(np.float64)
        error = ((restored - offset) / scale - truth)[2 * 8 :, 10:, :-10]  # four pixels and a section away
        return 10 * np.log10(255**2 / (error**2).mean())

    assert quality(value) > quality(None) - 0.3
