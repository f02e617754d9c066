"""Whole volumes: the result must not depend on blocks, batches or the kind of array."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from napari_niiv.errors import DeviceError, ReconstructionError, VolumeError
from napari_niiv.geometry import Sampling, output_size
from napari_niiv.normalization import Normalization
from napari_niiv.reconstruction import whole as module
from napari_niiv.reconstruction.batch_budget import BatchBudget
from napari_niiv.reconstruction.inference import restore_box
from napari_niiv.reconstruction.whole import reconstruct
from napari_niiv.volume import Volume

SHAPE = (9, 27, 21)  # odd on purpose
ANISOTROPIES = (1.0, 1.3, 2.0, 3.7, 8.0, 10.87, 16.0)


def computed(volume: Volume, model, **options) -> NDArray:
    return reconstruct(volume, model, **options).array.compute(scheduler="synchronous")


def anisotropic(array, anisotropy: float, **options) -> Volume:
    return Volume(array, voxel_size=(anisotropy * 0.5, 0.5, 0.5), unit="micrometer", **options)


@pytest.mark.parametrize("decoder", ["subvoxel", "implicit"])
@pytest.mark.parametrize("context", [0, 3])
@pytest.mark.parametrize("scale", [0.25, 0.5, 1.0, 2.3])
def test_blocks_do_not_matter(small_model, texture, decoder: str, context: int, scale: float) -> None:
    model = small_model(decoder=decoder, context=context)
    volume = anisotropic(texture(SHAPE), 3.7)
    whole = computed(volume, model, output_scale=scale, block=(1000, 1000))
    result = computed(volume, model, output_scale=scale, block=(5, 16))
    np.testing.assert_allclose(result, whole, atol=1e-4, rtol=0)


@pytest.mark.parametrize("anisotropy", ANISOTROPIES)
@pytest.mark.parametrize("decoder", ["subvoxel", "implicit"])
def test_blocks_do_not_matter_for_any_anisotropy(small_model, texture, anisotropy: float, decoder: str) -> None:
    model = small_model(decoder=decoder)
    volume = anisotropic(texture(SHAPE), anisotropy)
    whole = computed(volume, model, block=(1000, 1000))
    assert whole.shape == (output_size(9, anisotropy), 27, 21)
    np.testing.assert_allclose(computed(volume, model, block=(4, 14)), whole, atol=1e-4, rtol=0)


def test_blocks_of_one_voxel(small_model, texture) -> None:
    volume = anisotropic(texture((4, 5, 3)), 3.7)
    whole = computed(volume, small_model(context=3), block=(1000, 1000))
    np.testing.assert_allclose(computed(volume, small_model(context=3), block=(1, 1)), whole, atol=1e-4, rtol=0)


@pytest.mark.parametrize("shape", [(1, 20, 15), (9, 1, 15), (9, 20, 1), (1, 1, 1 + 1), (2, 3, 2)])
@pytest.mark.parametrize("scale", [0.25, 1.0, 4.0])
def test_degenerate_volumes(small_model, shape: tuple[int, int, int], scale: float) -> None:
    array = np.random.default_rng(0).random(shape).astype(np.float32)
    volume = anisotropic(array, 3.7)
    whole = computed(volume, small_model(context=3), output_scale=scale)
    assert whole.shape == reconstruct(volume, small_model(), output_scale=scale).shape
    assert np.isfinite(whole).all()
    small = computed(volume, small_model(context=3), output_scale=scale, block=(4, 9))
    np.testing.assert_allclose(small, whole, atol=1e-4 * max(1, np.ptp(whole)), rtol=0)


@pytest.mark.parametrize("planes", ["both", "xz", "yz"])
def test_at_scale_one_it_is_the_restored_box(small_model, texture, planes: str) -> None:
    model, array = small_model(), texture(SHAPE)
    volume = anisotropic(array, 4.0)
    normalization = Normalization.of(volume)
    box = torch.from_numpy(normalization.apply(array))
    names = ("xz", "yz") if planes == "both" else (planes,)
    expected = restore_box(model, box, 4.0, Sampling.covering(9, 36), names).numpy()
    expected = expected * (normalization.high - normalization.low) + normalization.low
    result = computed(volume, model, planes=planes, block=(4, 11))
    np.testing.assert_allclose(result, expected, atol=1e-4)


@pytest.mark.parametrize("batch_pixels", [1, 500, 10**8])
def test_batches_do_not_matter(small_model, texture, monkeypatch: pytest.MonkeyPatch, batch_pixels: int) -> None:
    volume = anisotropic(texture((5, 20, 17)), 3.0)
    expected = computed(volume, small_model())
    monkeypatch.setattr(module, "BatchBudget", lambda model: BatchBudget(model, batch_pixels))
    np.testing.assert_allclose(computed(volume, small_model()), expected, atol=1e-4)


@pytest.mark.parametrize("scale", [0.25, 1.0, 2.3])
@pytest.mark.parametrize("chunks", [(2, 8, 8), SHAPE])
def test_dask_is_numpy(small_model, texture, scale: float, chunks: tuple[int, int, int]) -> None:
    array, model = texture(SHAPE), small_model(context=2)
    expected = computed(anisotropic(array, 3.7), model, output_scale=scale)
    lazily = anisotropic(da.from_array(array, chunks=chunks), 3.7)
    np.testing.assert_array_equal(computed(lazily, model, output_scale=scale), expected)


@pytest.mark.parametrize("wrap", [np.asarray, da.from_array])
def test_leading_axes_are_restored_one_by_one(small_model, texture, wrap) -> None:
    model = small_model()
    array = texture((2, 3, 5, 9, 8)) * np.arange(1, 7, dtype=np.float32).reshape(2, 3, 1, 1, 1)
    result = reconstruct(anisotropic(wrap(array), 2.0, axes="tczyx"), model)
    assert (result.axes, result.shape) == ("tczyx", (2, 3, 10, 9, 8))
    four = reconstruct(anisotropic(wrap(array[1]), 2.0, axes="czyx"), model).array.compute()
    np.testing.assert_array_equal(result.array.compute()[1], four)
    for t, c in np.ndindex(2, 3):
        np.testing.assert_allclose(
            result.array[t, c].compute(), computed(anisotropic(array[t, c], 2.0), model), atol=1e-5
        )


@pytest.mark.parametrize("anisotropy", ANISOTROPIES)
@pytest.mark.parametrize("scale", [0.5, 1.0, 2.3, 4.0])
def test_a_ramp_lies_where_the_voxels_say(linear_model, anisotropy: float, scale: float) -> None:
    """World positions of the source and of the result agree; inside, linear interpolation of a ramp is exact."""
    z, y, x = np.mgrid[:9, :24, :26].astype(np.float32)
    origin = (3.0, -7.0, 11.0)
    size = (anisotropy * 0.5, 0.5, 0.5)
    world = [o + s * i for o, s, i in zip(origin, size, (z, y, x), strict=True)]
    slopes = (0.7, -1.9, 1.3)
    volume = Volume(
        sum(a * w for a, w in zip(slopes, world, strict=True)),
        voxel_size=size,
        origin=origin,
        unit="micrometer",
    )
    result = reconstruct(volume, linear_model, output_scale=scale, block=(5, 14))
    assert (result.unit, result.axes) == ("micrometer", "zyx")
    places = [o + s * np.arange(n) for o, s, n in zip(result.origin, result.voxel_size, result.shape, strict=True)]
    for edge_before, edge_after in zip(_edges(volume), _edges(result), strict=True):
        np.testing.assert_allclose(edge_after, edge_before, atol=1e-9)
    expected = sum(a * w for a, w in zip(slopes, np.meshgrid(*places, indexing="ij"), strict=True))
    # where the triangle of the resampling (and the average of the level) stays inside the volume
    inside = [
        (p > lo + max(s, r)) & (p < hi - max(s, r))
        for p, (lo, hi), s, r in zip(places, _edges(volume), volume.voxel_size, result.voxel_size, strict=True)
    ]
    if scale < 1:
        inside[1:] = [
            (p > lo + 4 * r) & (p < hi - 4 * r)
            for p, (lo, hi), r in zip(places[1:], _edges(volume)[1:], result.voxel_size[1:], strict=True)
        ]
    box = np.ix_(*inside)
    values = result.array.compute(scheduler="synchronous")
    assert values[box].size > 20
    # a widened triangle, as torch's antialiasing, keeps a ramp exactly only if its width is a whole number
    coarser = result.voxel_size[0] > volume.voxel_size[0]
    exact = 0.05 * slopes[0] * volume.voxel_size[0] if coarser else 2e-5 * np.ptp(expected)
    np.testing.assert_allclose(values[box], expected[box], atol=exact, rtol=0)


def _edges(volume: Volume) -> list[tuple[float, float]]:
    return [
        (o - s / 2, o - s / 2 + s * n) for o, s, n in zip(volume.origin, volume.voxel_size, volume.shape, strict=True)
    ]


@pytest.mark.parametrize("dtype", ["u1", ">u2", "i4", "f2", "f8", "?"])
def test_the_dtype_is_kept(small_model, texture, dtype: str) -> None:
    array = (texture((5, 12, 13)) > 0.5) if dtype == "?" else (100 * texture((5, 12, 13))).astype(dtype)
    result = reconstruct(anisotropic(array, 2.0), small_model())
    values = result.array.compute()
    assert result.dtype == values.dtype == np.dtype(dtype).newbyteorder("=")
    assert np.ptp(values.astype(float)) > 0


def test_nothing_is_read_until_it_is_computed_beyond_normalisation_and_sections(small_model) -> None:
    class Counted:
        shape, dtype, reads = (200, 64, 64), np.dtype(np.uint8), 0

        def __getitem__(self, key):
            type(self).reads += 1
            return np.random.default_rng(0).integers(0, 255, self.shape, np.uint8)[key]

    result = reconstruct(anisotropic(Counted(), 4.0), small_model(), block=(8, 16))
    assert Counted.reads <= 24 + 1  # slices, and a window of all sections
    before = Counted.reads
    result.array[:8, :8, :8].compute()
    assert Counted.reads == before + 1


@pytest.mark.parametrize("scale", [0, -1, 17, float("nan"), float("inf")])
def test_scales_that_make_no_sense(small_model, scale: float) -> None:
    with pytest.raises(ReconstructionError, match="output scale"):
        reconstruct(anisotropic(np.zeros((2, 3, 4)), 2.0), small_model(), output_scale=scale)


def test_planes_and_volumes_that_make_no_sense(small_model) -> None:
    with pytest.raises(ReconstructionError, match="no planes 'xy'"):
        reconstruct(anisotropic(np.zeros((2, 3, 4)), 2.0), small_model(), planes="xy")
    with pytest.raises(VolumeError, match="outside 1 to 16"):
        reconstruct(anisotropic(np.zeros((2, 3, 4)), 20.0), small_model())
    with pytest.raises(VolumeError, match="constant"):
        reconstruct(anisotropic(np.zeros((2, 3, 4)), 2.0), small_model())


@pytest.mark.parametrize("wrap", [np.asarray, da.from_array])
def test_a_nan_that_the_sample_missed_stays_alone(small_model, texture, wrap) -> None:
    array = texture((60, 8, 8))
    chosen = {int(z) for z in np.linspace(0, 59, 24).round()}
    hole = next(z for z in range(60) if z not in chosen)
    array[hole, 3, 3] = np.nan
    result = reconstruct(anisotropic(wrap(array), 2.0), small_model(), denoise=0).array.compute()
    expected = np.zeros(result.shape, bool)
    expected[2 * hole : 2 * hole + 2, 3, 3] = True
    np.testing.assert_array_equal(np.isnan(result), expected)


def test_memory_running_out_is_reported_in_one_sentence(small_model, texture, monkeypatch) -> None:
    model = small_model()
    asked = []

    def hungry(slices, *more):
        asked.append(slices.shape[0] * slices.shape[2] * slices.shape[3])
        raise torch.OutOfMemoryError("out of memory")

    monkeypatch.setattr(model, "encode", hungry)
    with pytest.raises(DeviceError, match="Memory ran out"):
        computed(anisotropic(texture((40, 64, 64)), 2.0), model)
    assert asked == sorted(asked, reverse=True)
    assert asked[-1] < asked[0]


@pytest.mark.parametrize("dtype", ["int32", "uint32", "float64"])
@pytest.mark.parametrize("scale", [1.0, 0.5])
def test_a_large_offset_costs_no_contrast(linear_model, dtype: str, scale: float) -> None:
    """Intensities far from zero in a small range: float32 alone would leave steps of 128 at 2 to the power of 30."""
    small = np.random.default_rng(0).integers(0, 100, (6, 16, 16))
    plain = reconstruct(Volume(small.astype("float64"), voxel_size=(4, 1, 1)), linear_model, output_scale=scale)
    far = reconstruct(Volume((small + 2**30).astype(dtype), voxel_size=(4, 1, 1)), linear_model, output_scale=scale)
    difference = far.array.compute().astype("float64") - 2**30 - plain.array.compute()
    assert np.abs(difference).max() < (0.51 if dtype != "float64" else 1e-3)
