"""Pictures must not depend on what the cache holds, on windows, or on batches, and must be those of the file."""

from __future__ import annotations

from dataclasses import replace

import dask.array as da
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from napari_niiv.errors import NiivError, ReconstructionError, VolumeError
from napari_niiv.geometry import Sampling, output_size
from napari_niiv.interrupt import Interrupted, interrupt_if
from napari_niiv.reconstruction.cache import Memory
from napari_niiv.reconstruction.planes import AXES
from napari_niiv.reconstruction.views import latents
from napari_niiv.reconstruction.views.reconstructor import Reconstructor
from napari_niiv.reconstruction.views.request import SliceRequest
from napari_niiv.reconstruction.whole import reconstruct
from napari_niiv.volume import Volume

SHAPE = (11, 75, 83)  # several cells of 32, the last ones odd


def anisotropic(array, anisotropy: float = 3.7, **options) -> Volume:
    return Volume(array, voxel_size=(anisotropy * 0.5, 0.5, 0.5), **options)


def whole_plane(volume: Volume, plane: str, index: float, pitch: float = 1.0, **options) -> SliceRequest:
    """A plane at `pitch` lateral voxels per pixel."""
    _, row, column = AXES[plane]
    shape = volume.shape[-3:]
    samplings = [
        Sampling.covering(shape[axis], output_size(shape[axis], (volume.anisotropy if axis == 0 else 1) / pitch))
        for axis in (row, column)
    ]
    return SliceRequest(plane, index, *samplings, **options)


def part(request: SliceRequest, rows: slice, columns: slice) -> SliceRequest:
    return replace(
        request,
        rows=request.rows.part(rows.start, rows.stop - rows.start),
        columns=request.columns.part(columns.start, columns.stop - columns.start),
    )


def image(reconstructor: Reconstructor, request: SliceRequest, quality: str = "refined") -> NDArray:
    return reconstructor.slice(request, quality).image


@pytest.mark.parametrize("plane", ["xz", "yz"])
@pytest.mark.parametrize("quality", ["fast", "refined"])
@pytest.mark.parametrize("decoder", ["subvoxel", "implicit"])
@pytest.mark.parametrize("context", [0, 3])
@pytest.mark.parametrize("anisotropy", [1.0, 1.3, 3.7, 10.87])
def test_the_screen_is_the_file(
    small_model, texture, plane: str, quality: str, decoder: str, context: int, anisotropy: float
) -> None:
    model = small_model(decoder=decoder, context=context)
    volume = anisotropic(texture((5, 35, 39)), anisotropy)
    planes = "both" if quality == "refined" else plane
    file = reconstruct(volume, model, planes=planes, block=(3, 16)).array
    reconstructor = Reconstructor(volume, model)
    for index in (0, 17, volume.shape[AXES[plane][0]] - 1):
        expected = np.asarray(file[:, index, :] if plane == "xz" else file[:, :, index])
        result = image(reconstructor, whole_plane(volume, plane, index), quality)
        np.testing.assert_allclose(result, expected, atol=1e-4)


@pytest.mark.usefixtures("bfloat16")
@pytest.mark.parametrize("plane", ["xz", "yz"])
def test_the_screen_is_the_file_in_bfloat16(small_model, texture, plane: str) -> None:
    """Rounding, too, does not depend on how a picture is cut up."""
    model = small_model(context=3)
    assert model.encoder.dtype == torch.bfloat16
    test_the_screen_is_the_file(lambda **_: model, texture, plane, "refined", "subvoxel", 3, 3.7)


@pytest.mark.parametrize("scale", [0.25, 0.5, 3.0, 5.0])
def test_the_screen_is_the_file_zoomed(small_model, texture, scale: float) -> None:
    """Odd scales up, so that a plane of the file goes through the centres of voxels."""
    model = small_model()
    volume = anisotropic(texture((6, 32, 48)), 6.0)
    file = reconstruct(volume, model, output_scale=scale).array.compute()
    result = image(Reconstructor(volume, model), whole_plane(volume, "xz", 8, 1 / scale))
    np.testing.assert_allclose(result, file[:, int((8 + 0.5) * scale)], atol=1e-4)


@pytest.mark.parametrize("plane", ["xz", "yz"])
@pytest.mark.parametrize("quality", ["placeholder", "fast", "refined"])
@pytest.mark.parametrize("pitch", [0.3, 1.0, 2.7, 5.0])
def test_the_cache_and_windows_do_not_matter(small_model, texture, plane: str, quality: str, pitch: float) -> None:
    model = small_model(context=3)
    volume = anisotropic(texture(SHAPE), 8.0)
    request = whole_plane(volume, plane, 40, pitch)
    whole = image(Reconstructor(volume, model), request, quality)
    height, width = whole.shape
    warm = Reconstructor(volume, model)
    for first in np.linspace(0, width - max(2, width // 3), 4).astype(int):  # a pan, then jumps, then everything
        window = (slice(height // 4, height), slice(int(first), int(first) + width // 3))
        result = image(warm, part(request, *window), quality)
        np.testing.assert_allclose(result, whole[window], atol=1e-4)
        cold = image(Reconstructor(volume, model), part(request, *window), quality)
        np.testing.assert_allclose(cold, result, atol=1e-4)
    np.testing.assert_allclose(image(warm, request, quality), whole, atol=1e-4)
    np.testing.assert_array_equal(image(warm, request, quality), image(warm, request, quality))


def test_what_the_cache_holds_of_other_pictures_does_not_matter(small_model, texture) -> None:
    """Levels, planes, places and qualities in turn, through one cache; the same numbers mean different cells."""
    model, volume = small_model(), anisotropic(texture((2, 5, 40, 40)), 10.87, axes="tzyx")
    warm = Reconstructor(volume, model)
    for quality in ("fast", "refined"):
        for pitch in (1.0, 2.0, 0.5, 1.0):
            for plane in ("xz", "yz"):
                for index, leading in ((9, (0,)), (9, (1,)), (18, (1,))):
                    request = whole_plane(volume, plane, index, pitch, leading=leading)
                    cold = image(Reconstructor(volume, model), request, quality)
                    np.testing.assert_allclose(image(warm, request, quality), cold, atol=1e-4)


@pytest.mark.parametrize("batch_pixels", [1, 3000, 10**8])
@pytest.mark.parametrize("cell", [8, 32])
def test_batches_and_cells_do_not_matter(
    small_model, texture, monkeypatch: pytest.MonkeyPatch, batch_pixels: int, cell: int
) -> None:
    model, volume = small_model(context=2), anisotropic(texture(SHAPE))
    request = whole_plane(volume, "yz", 40)
    expected = image(Reconstructor(volume, model), request)
    monkeypatch.setitem(latents.CELL_EDGE, "cpu", cell)
    other = Reconstructor(volume, model, memory=Memory(host_bytes=2))  # and nothing stays in the cache
    other.batch_budget.batch_pixels = batch_pixels
    np.testing.assert_allclose(image(other, request), expected, atol=1e-4)


def test_dask_is_numpy(small_model, texture) -> None:
    model, array = small_model(), texture(SHAPE)
    lazily = anisotropic(da.from_array(array, chunks=(3, 20, 20)))
    for pitch in (1.0, 2.5):
        request = whole_plane(lazily, "xz", 33, pitch)
        np.testing.assert_array_equal(
            image(Reconstructor(lazily, model), request),
            image(Reconstructor(anisotropic(array), model), request),
        )


def test_leading_axes(small_model, texture) -> None:
    model = small_model()
    array = texture((2, 3, 5, 20, 18)) * np.arange(1, 7, dtype=np.float32).reshape(2, 3, 1, 1, 1)
    volume = anisotropic(array, axes="tczyx")
    reconstructor = Reconstructor(volume, model)
    for leading in ((0, 0), (1, 2)):
        request = whole_plane(volume, "xz", 7, leading=leading)
        alone = anisotropic(array[leading])
        expected = image(Reconstructor(alone, model), whole_plane(alone, "xz", 7))
        np.testing.assert_allclose(image(reconstructor, request), expected, atol=1e-5)


@pytest.mark.parametrize("shape", [(1, 20, 15), (9, 1, 15), (9, 20, 1), (1, 1, 2)])
@pytest.mark.parametrize("plane", ["xz", "yz", "xy"])
@pytest.mark.parametrize("quality", ["placeholder", "refined"])
@pytest.mark.parametrize("pitch", [0.3, 1.0, 9.0])
def test_degenerate_volumes(small_model, shape, plane: str, quality: str, pitch: float) -> None:
    volume = anisotropic(np.random.default_rng(0).random(shape).astype(np.float32))
    request = whole_plane(volume, plane, 0, pitch)
    result = image(Reconstructor(volume, small_model(context=3)), request, quality)
    assert result.shape == (request.rows.count, request.columns.count)
    assert np.isfinite(result).all()


@pytest.mark.parametrize("plane", ["xz", "yz", "xy"])
@pytest.mark.parametrize("quality", ["placeholder", "fast", "refined"])
@pytest.mark.parametrize("pitch", [0.4, 1.0, 2.0, 4.0])
@pytest.mark.parametrize("anisotropy", [2.0, 8.0])
def test_a_ramp_lies_where_the_voxels_say(linear_model, plane, quality, pitch: float, anisotropy: float) -> None:
    slopes = (3.0, -2.0, 1.0)
    grid = np.mgrid[:40, :64, :64].astype(np.float32)
    volume = anisotropic(sum(a * g for a, g in zip(slopes, grid, strict=True)), anisotropy)
    across, row, column = AXES[plane]
    index = 20
    pitches = [pitch / (anisotropy if axis == 0 else 1) for axis in (row, column)]
    request = SliceRequest(plane, index, Sampling(10.3, pitches[0], 9), Sampling(19.7, pitches[1], 9))
    rows, columns = (s.start + s.step * np.arange(s.count) for s in (request.rows, request.columns))
    level = pitch if across and pitch > 1 else 1  # the plane is as thick as a pixel of the level
    place = (np.floor((index + 0.5) / level) + 0.5) * level - 0.5
    expected = slopes[across] * place + slopes[row] * rows[:, None] + slopes[column] * columns
    response = Reconstructor(volume, linear_model).slice(request, quality)
    np.testing.assert_allclose(response.image, expected, atol=5e-3)
    assert response.downsample == max(1, pitch)
    assert response.inferred == (quality != "placeholder" and plane != "xy" and anisotropy / max(1, pitch) > 1.25)


def test_an_xy_plane_may_lie_between_voxels(linear_model, texture) -> None:
    array = texture((5, 16, 16))
    volume = anisotropic(array)
    reconstructor = Reconstructor(volume, linear_model)
    result = image(reconstructor, whole_plane(volume, "xy", 2.25))
    np.testing.assert_allclose(result, 0.75 * array[2] + 0.25 * array[3], atol=1e-5)
    np.testing.assert_allclose(image(reconstructor, whole_plane(volume, "xy", 4.4)), array[4], atol=1e-5)
    np.testing.assert_allclose(image(reconstructor, whole_plane(volume, "xy", -0.4)), array[0], atol=1e-5)


def test_zooming_runs_only_the_decoder_and_panning_encodes_only_what_is_new(
    small_model, texture, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, volume = small_model(), anisotropic(texture((11, 40, 300)))
    reconstructor = Reconstructor(volume, model)
    encode, encoded = model.encode, []

    def counted(slices, *rest):
        encoded.append(slices.shape[0] * slices.shape[2])
        return encode(slices, *rest)

    monkeypatch.setattr(model, "encode", counted)
    request = whole_plane(volume, "xz", 20)
    left = part(request, slice(0, request.rows.count), slice(0, 60))
    assert not reconstructor.is_cached(left, "fast")
    reconstructor.slice(left, "fast")
    assert reconstructor.is_cached(left, "fast")
    assert not reconstructor.is_cached(left, "refined")
    first = sum(encoded)
    assert first <= 64 + model.halo  # the window and its taps, to the next multiple of 8, and the halo
    zoomed = SliceRequest("xz", 20, Sampling(2, 0.01, 50), Sampling(10, 0.1, 50))
    assert reconstructor.is_cached(zoomed, "fast")
    reconstructor.slice(zoomed, "fast")
    assert sum(encoded) == first
    panned = part(request, slice(0, request.rows.count), slice(20, 90))
    assert not reconstructor.is_cached(panned, "fast")
    reconstructor.slice(panned, "fast")
    assert sum(encoded) - first <= 64 + 2 * model.halo  # whole cells: the one on the border and the next
    panned = part(request, slice(0, request.rows.count), slice(30, 94))
    assert reconstructor.is_cached(panned, "fast")
    assert not reconstructor.is_cached(replace(left, index=21), "fast")


def test_only_the_window_is_read(small_model) -> None:
    read = []

    class Watched:
        shape, dtype = (20, 500, 500), np.dtype(np.uint8)

        def __getitem__(self, key):
            boxes = [range(n)[k] for n, k in zip(self.shape, key, strict=True)]
            read.append([len(b) for b in boxes])
            return np.random.default_rng(0).integers(0, 255, [len(b) for b in boxes], np.uint8)

    model = small_model(context=3)
    reconstructor = Reconstructor(anisotropic(Watched()), model)
    reconstructor.normalization()
    read.clear()
    reconstructor.slice(SliceRequest("xz", 250, Sampling(5, 0.2, 20), Sampling(250, 0.5, 50)), "refined")
    for depth, height, width in read:
        assert depth <= 20
        assert height <= 1 + 2 * max(model.halo, 3)
        assert width <= 64 + 2 * model.halo


def test_integers_come_back_as_integers(small_model, texture) -> None:
    for dtype, expected in (("u1", np.uint8), (">u2", np.uint16), ("f8", np.float32), (">f8", np.float32)):
        volume = anisotropic((200 * texture((5, 20, 20))).astype(dtype))
        assert image(Reconstructor(volume, small_model()), whole_plane(volume, "xz", 3)).dtype == expected


def test_an_unwanted_request_stops(small_model, texture) -> None:
    volume = anisotropic(texture(SHAPE))
    reconstructor, unwanted = Reconstructor(volume, small_model()), interrupt_if(lambda: True)
    with pytest.raises(Interrupted):
        reconstructor.slice(whole_plane(volume, "xz", 3), "fast", unwanted)
    assert reconstructor.slice(whole_plane(volume, "xz", 3), "placeholder", unwanted).image.size


def test_out_of_memory_halves_forgets_and_says_so(small_model, texture, monkeypatch: pytest.MonkeyPatch) -> None:
    model, volume = small_model(), anisotropic(texture(SHAPE))
    request = whole_plane(volume, "xz", 3)
    expected = image(Reconstructor(volume, model), request)
    reconstructor = Reconstructor(volume, model)
    encode, failures = model.encode, [torch.OutOfMemoryError("out of memory")]

    def hungry(*arguments):
        if failures:
            raise failures.pop()
        return encode(*arguments)

    monkeypatch.setattr(model, "encode", hungry)
    before = reconstructor.batch_budget.batch_pixels
    response = reconstructor.slice(request)
    np.testing.assert_allclose(response.image, expected, atol=1e-4)
    assert "ran out of memory" in response.notice
    assert reconstructor.batch_budget.batch_pixels == before // 2
    assert reconstructor.slice(request).notice == ""


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"plane": "zz"}, "no plane 'zz'"),
        ({"index": 75}, "outside 0 to 74"),
        ({"index": -1}, "outside 0 to 74"),
        ({"index": float("nan")}, "outside 0 to 74"),
        ({"leading": (0,)}, "leading"),
    ],
)
def test_requests_that_make_no_sense(small_model, texture, change, message: str) -> None:
    volume = anisotropic(texture(SHAPE))
    request = replace(whole_plane(volume, "xz", 3), **change)
    with pytest.raises(ReconstructionError, match=message):
        Reconstructor(volume, small_model()).slice(request)


@pytest.mark.parametrize("leading", [(), (0,), (0, 3), (2, 0), (-1, 0), (0, 0, 0)])
def test_leading_indices_that_make_no_sense(small_model, texture, leading: tuple[int, ...]) -> None:
    volume = anisotropic(texture((2, 3, 5, 9, 9)), axes="tczyx")
    request = whole_plane(volume, "xz", 3, leading=leading)
    with pytest.raises(ReconstructionError, match="leading"):
        Reconstructor(volume, small_model()).slice(request)
    with pytest.raises(NiivError):
        Reconstructor(volume, small_model()).is_cached(request, "fast")


def test_volumes_that_make_no_sense(small_model) -> None:
    with pytest.raises(VolumeError, match="outside 1 to 16"):
        Reconstructor(anisotropic(np.zeros((2, 3, 4)), 20.0), small_model())
    constant = anisotropic(np.zeros((2, 3, 4)))
    with pytest.raises(VolumeError, match="constant"):
        Reconstructor(constant, small_model()).slice(whole_plane(constant, "xz", 0), "placeholder")
