"""What a training starts from: the checkpoint in use if it can be trained on, and the blur that suits it."""

from __future__ import annotations

from pathlib import Path

import pytest

from napari_niiv.degradation import Average, Degradation, Gaussian, Skip
from napari_niiv.errors import CheckpointError
from napari_niiv.models.architecture import Architecture
from napari_niiv.models.card import Card, VolumeCredit
from napari_niiv.models.checkpoint import save_model
from napari_niiv.models.niiv import Niiv
from napari_niiv.training.starting_point import microscope_blur, starting_point, suited

SMALL = Architecture(context=0, features=4, blocks=1, samples=4, anisotropy_range=(2, 6))


def own(folder: Path, architecture: Architecture = SMALL, **card: object) -> str:
    path = folder / "mine.safetensors"
    save_model(Niiv(architecture), Card(architecture=architecture, **card), path)
    return str(path)


@pytest.mark.parametrize("name", ["em", "lm"])
def test_the_light_checkpoints_are_started_from(name: str) -> None:
    start = starting_point(name, 4.0, gpu=False)
    assert (start.init, start.notice) == (name, "")
    assert start.blur == (Average() if name == "em" else Gaussian(fwhm=1.5))


@pytest.mark.parametrize(
    ("name", "anisotropy", "gpu", "init", "says"),
    [
        ("em-large", 8.0, True, "em-large", ""),
        (
            "em-large",
            8.0,
            False,
            "em",
            "em-large needs a GPU to learn something in minutes: the training starts from em.",
        ),
        ("em-paper", 8.0, True, "em", "em-paper learnt by DISTS, which needs VGG16"),
        (
            "em",
            20.0,
            True,
            None,
            "em is for anisotropies of 1.5 to 10, and this volume has 20: the training starts from",
        ),
        ("em", 1.0, True, "em", ""),  # a voxel size that is not known yet
    ],
)
def test_another_is_found_and_said(name: str, anisotropy: float, gpu: bool, init: str | None, says: str) -> None:
    start = starting_point(name, anisotropy, gpu)
    assert start.init == init
    assert start.notice.startswith(says)
    assert bool(start.notice) == bool(says)
    assert start.blur == Average()


@pytest.mark.parametrize("blur", [Skip(thickness=0.4), Gaussian(fwhm=1.2), Average()])
def test_a_checkpoint_of_ones_own_goes_on_undoing_what_it_learnt_to(tmp_path: Path, blur: Degradation) -> None:
    start = starting_point(own(tmp_path, degradation=blur), 4.0, gpu=False)
    assert (start.init, start.blur, start.notice) == (str(tmp_path / "mine.safetensors"), blur, "")
    assert start.why == "what mine.safetensors learnt to undo"


def test_in_place_of_one_that_stems_from_light_microscopy_comes_lm(tmp_path: Path) -> None:
    mine = own(tmp_path, training_volumes=(VolumeCredit(name="cells3d nuclei"), VolumeCredit(name="my cells")))
    start = starting_point(mine, 8.0, gpu=True)
    assert (start.init, start.blur) == ("lm", Gaussian(fwhm=0.8))
    assert start.notice == (
        "mine.safetensors is for anisotropies of 2 to 6, and this volume has 8: the training starts from lm."
    )


def test_the_blur_of_a_lens_is_told_from_the_z_step_and_never_extreme() -> None:
    assert [microscope_blur(a).fwhm for a in (1.5, 3, 4, 6, 10, 40)] == [2.0, 2.0, 1.5, 1.0, 0.6, 0.5]


def test_what_is_no_checkpoint_is_refused(tmp_path: Path) -> None:
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(b"nothing")
    for name in (str(broken), str(tmp_path / "gone.safetensors")):
        with pytest.raises(CheckpointError):
            starting_point(name, 4.0, gpu=False)
        with pytest.raises(CheckpointError):
            suited(name, 4.0)
