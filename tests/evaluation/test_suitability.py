from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from numpy.typing import NDArray
from skimage.measure import block_reduce

from napari_niiv.errors import VolumeError
from napari_niiv.evaluation import suitability
from napari_niiv.evaluation.suitability import Suitability, Verdict, own_gains, verdict
from napari_niiv.models.architecture import Architecture
from napari_niiv.models.niiv import Niiv
from napari_niiv.volume import Volume


def linear(**architecture: int) -> Niiv:
    """A model without residual, which interpolates linearly."""
    model = Niiv(Architecture(features=4, blocks=1, samples=4, **architecture))
    for parameter in model.parameters():
        parameter.data.zero_()
    return model.place("cpu")


def volume(array: NDArray[np.float32], anisotropy: float = 4.0) -> Volume:
    return Volume(array, voxel_size=(anisotropy, 1.0, 1.0), name="tissue")


@pytest.fixture
def tissue(texture) -> NDArray[np.float32]:
    return np.asarray(texture((3, 96, 96)) * 1000, np.float32)


@pytest.mark.parametrize("cell", [{}, {"lateral": 4, "slices": 4}])
def test_gains_are_those_above_bicubic_interpolation(tissue, cell: dict[str, int]) -> None:
    (gain,) = own_gains(volume(tissue), [linear(context=1, **cell)])
    # by hand: every slice is one piece, both axes in turn
    scaled = tissue.astype(np.float64)
    errors = {"linear": 0.0, "bicubic": 0.0}
    for picture in [turned for slice_ in scaled for turned in (slice_, slice_.T)]:
        coarse = torch.from_numpy(block_reduce(picture, (1, 4), np.mean))[None, None]
        for mode in errors:
            if mode == "linear":
                fine = torch.nn.functional.interpolate(coarse[0], scale_factor=4, mode="linear")[0]
            else:
                fine = torch.nn.functional.interpolate(coarse, scale_factor=(1, 4), mode="bicubic")[0, 0]
            errors[mode] += float(np.square(fine.numpy() - picture).sum())
    assert gain == pytest.approx(10 * math.log10(errors["bicubic"] / errors["linear"]), abs=1e-3)


def test_only_pieces_with_structure_judge(tissue) -> None:
    padded = np.zeros((40, 96, 96), np.float32)
    padded[::2] = tissue[0]
    padded[1::4] = np.nan
    assert own_gains(volume(padded), [linear()]) == pytest.approx(own_gains(volume(tissue[:1]), [linear()]), abs=0.02)


def test_what_cannot_be_judged_is_refused(tissue) -> None:
    for array in (tissue[:, :9, :9], np.full((3, 96, 96), np.nan, np.float32)):
        with pytest.raises(VolumeError, match="tissue"):
            own_gains(volume(array, 8.0), [linear()])


@pytest.mark.parametrize(
    ("gains", "best", "words"),
    [
        ({"em": -0.12, "lm": 2.45}, "lm", "lm suits this volume better than em"),
        ({"em": -0.12, "lm": 2.45}, "lm", "lm errs 25 % less than cubic interpolation, em 1 % more."),
        ({"em": 2.0, "lm": 2.2}, "em", ""),
        ({"em": -0.5, "lm": -0.1}, "em", "em hardly suits this volume"),
        ({"em": 0.1, "lm": 0.2}, "em", "it errs 1 % less than cubic"),
    ],
)
def test_verdicts(tissue, monkeypatch: pytest.MonkeyPatch, gains: dict[str, float], best: str, words: str) -> None:
    monkeypatch.setattr(suitability, "load_model", lambda name, device: name)
    monkeypatch.setattr(suitability, "own_gains", lambda volume, models, interrupt: list(gains.values()))
    found = verdict(volume(tissue), "em", linear())
    assert found == Verdict(Suitability("em", gains["em"]), Suitability(best, gains[best]))
    assert words in found.sentence
    assert bool(found.sentence) is bool(words)


@pytest.mark.parametrize(
    ("name", "anisotropy", "wrong", "right"),
    [("fib25_sample_128.tif", 3.0, "lm", "em"), ("mousebrain_lm.tif", 1.5, "em", "lm")],
)
def test_bundled_checkpoints_know_their_microscopy(
    shared_data: Path, name: str, anisotropy: float, wrong: str, right: str
) -> None:
    array = tifffile.imread(shared_data / name)
    found = verdict(volume(array, anisotropy), wrong, suitability.load_model(wrong, "cpu"))
    assert found.best.name == right


@pytest.mark.parametrize("value", [0.0, -2000.0, np.nan])
def test_padding_does_not_judge(texture, value: float) -> None:
    tissue = (200 + 1000 * texture((3, 96, 96)) + np.random.default_rng(0).normal(size=(3, 96, 96))).astype(np.float32)
    padded = np.full((3, 120, 110), value, np.float32)
    padded[:, 13:109, 9:105] = tissue
    assert own_gains(volume(padded), [linear()]) == pytest.approx(own_gains(volume(tissue), [linear()]), abs=0.02)
