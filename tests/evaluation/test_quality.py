from __future__ import annotations

import numpy as np
import pytest
from skimage.measure import block_reduce

from napari_niiv.evaluation.quality import Score, compare, compare_split, degraded, over_cubes
from napari_niiv.metrics import psnr, texture_ratio


def test_degraded_is_the_mean_of_whole_voxels() -> None:
    truth = np.random.default_rng(0).integers(0, 255, (19, 6, 7), np.uint8)
    expected = block_reduce(truth[:16].astype(float), (4, 1, 1), np.mean)
    result = degraded(truth, 4)
    np.testing.assert_allclose(result, expected, rtol=1e-6)
    assert result.flags.c_contiguous


# the slices of the last two end half a plane after the last whole one
@pytest.mark.parametrize(("depth", "anisotropy"), [(28, 4.0), (28, 3.5), (26, 3.5), (29, 1.5)])
def test_a_model_without_a_residual_scores_as_linear_interpolation(
    linear_model, texture, depth: int, anisotropy: float
) -> None:
    truth = (255 * texture((depth, 30, 31))).astype(np.uint8)
    scores = compare(truth, linear_model, anisotropy, planes=("xz", "yz", "both"))
    assert set(scores) == {"nearest", "linear", "bicubic", "xz", "yz", "both"}
    for plane in ("xz", "yz", "both"):
        assert scores[plane] == pytest.approx(scores["linear"], abs=0.01)
    assert scores["nearest"][0] < scores["linear"][0]
    assert all(np.isfinite(score).all() for score in scores.values())


def test_slices_that_never_end_where_a_plane_does_are_refused(linear_model, texture) -> None:
    with pytest.raises(ValueError, match="never end"):
        compare(255 * texture((28, 30, 31)), linear_model, 3.1415)


def test_scores_are_those_of_the_metrics(linear_model, texture) -> None:
    truth = (255 * texture((12, 20, 20))).astype(np.uint8)
    nearest = np.repeat(degraded(truth, 4), 4, axis=0)
    assert compare(truth, linear_model, 4, planes=())["nearest"][0] == pytest.approx(
        psnr(nearest, truth, 255.0), abs=1e-3
    )


def test_the_split_protocol_judges_by_planes_that_were_not_recorded(linear_model, texture) -> None:
    truth = (255 * texture((24, 20, 21))).astype(np.uint8)
    groups = truth.reshape(3, 8, 20, 21).astype(float)
    recorded, judges = groups[:, [0, 3, 4, 7]].mean(1), groups[:, [1, 2, 5, 6]]
    scores = compare_split(truth, linear_model, planes=("both",))
    expected = psnr(np.broadcast_to(recorded[:, None], judges.shape), judges, 255.0)
    assert scores["nearest"].psnr == pytest.approx(expected, abs=1e-3)
    assert scores["both"].psnr == pytest.approx(scores["linear"].psnr, abs=0.01)
    # what judges is not looked at: only its own score changes
    noisy = groups.copy()
    noisy[:, [1, 2, 5, 6]] = 255 - judges
    other = compare_split(noisy.reshape(truth.shape), linear_model, planes=("both",))
    assert {name: score.texture for name, score in other.items()} == {n: s.texture for n, s in scores.items()}
    assert other["both"].psnr != scores["both"].psnr


def test_scores_are_the_mean_of_the_cubes(texture) -> None:
    truth = texture((9, 8, 17))
    seen = []

    def protocol(cube) -> dict[str, Score]:
        seen.append(cube)
        return {"mean": Score(float(cube.mean()), float("nan"), float(cube.max()))}

    score = over_cubes(truth, protocol, edge=8)["mean"]
    assert [c.shape for c in seen] == [(8, 8, 8)] * 2
    assert score.psnr == pytest.approx(truth[:8, :, :16].mean(), abs=1e-6)
    assert np.isnan(score.clipped_fourier)


def test_texture_of_directions() -> None:
    z, y, x = np.mgrid[:12, :12, :12].astype(float)
    assert texture_ratio(3 * z + 3 * y - 3 * x) == pytest.approx(1)
    assert texture_ratio(z + 2 * y + 4 * x) == pytest.approx(3)
    assert texture_ratio(x) == np.inf
    noise = np.random.default_rng(0).normal(size=(40, 40, 40))
    assert texture_ratio(noise) == pytest.approx(1, abs=0.02)
    assert texture_ratio(np.repeat(noise[:5], 8, axis=0)) > 5
