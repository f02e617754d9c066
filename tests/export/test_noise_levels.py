"""The noise level in exports: what is on the screen is in the file, and the file says which it was."""

from __future__ import annotations

import json

import numpy as np
import pytest
import zarr
from pydantic import ValidationError

from napari_niiv.errors import OutputError, ReconstructionError
from napari_niiv.export import ExportConfig, export
from napari_niiv.export.record import plan_text
from napari_niiv.export.store import Unfinished
from napari_niiv.export.work import Work
from napari_niiv.normalization import Normalization
from napari_niiv.reconstruction import denoise as module
from napari_niiv.reconstruction.denoise import level_of
from napari_niiv.reconstruction.single_slice import reconstruct_slice
from napari_niiv.reconstruction.whole import reconstruct
from napari_niiv.volume import Volume
from tests.export.conftest import make


@pytest.fixture
def model(small_model):
    return small_model(noise=0.1)


@pytest.fixture
def noisy(texture) -> np.ndarray:
    smooth = 0.2 + 0.6 * texture((13, 37, 45), size=8.0)
    return smooth + 0.015 * np.random.default_rng(1).normal(size=smooth.shape)


def written(path) -> np.ndarray:
    return zarr.open_array(path / "0", mode="r")[...]


def record(path) -> dict:
    """What a finished output says of itself."""
    return dict(zarr.open_group(path, mode="r").attrs["napari_niiv"])


def automatic(volume: Volume, model) -> float:
    return level_of(volume, Normalization.of(volume), model, "auto")


@pytest.mark.parametrize("value", [-0.1, 1.1, float("nan"), "strong", "", None, True])
def test_what_makes_no_sense_is_refused(value) -> None:
    with pytest.raises(ValidationError, match="should be auto, or a noise level from 0 to 1"):
        ExportConfig(denoise=value)


def test_a_number_is_told_and_recorded(model, noisy, config, tmp_path) -> None:
    volume = make(noisy)
    list(export(volume, model, tmp_path / "out.zarr", config(denoise=0.05)))
    expected = reconstruct(volume, model, denoise=0.05, block=(8, 16)).array.compute()
    np.testing.assert_array_equal(written(tmp_path / "out.zarr"), expected)
    plain = reconstruct(volume, model, denoise=0.0).array.compute()
    assert np.abs(expected.astype(int) - plain).max() > 1
    assert record(tmp_path / "out.zarr")["settings"]["denoise"] == 0.05
    assert record(tmp_path / "out.zarr")["noise"] == {"levels": [0.05]}


def test_auto_is_the_screens_level_and_recorded_as_a_number(model, noisy, config, tmp_path) -> None:
    volume = make(noisy, "float32")
    level = automatic(volume, model)
    assert 0 < level < 0.1
    for name, denoise in (("auto", "auto"), ("number", level)):
        list(export(volume, model, tmp_path / f"{name}.zarr", config(denoise=denoise)))
    auto, number = (written(tmp_path / f"{name}.zarr") for name in ("auto", "number"))
    np.testing.assert_array_equal(auto, number)
    np.testing.assert_array_equal(auto, reconstruct(volume, model, block=(8, 16)).array.compute())
    np.testing.assert_allclose(auto[:, 9], reconstruct_slice(volume, model, "xz", 9), atol=1e-2)
    assert record(tmp_path / "auto.zarr")["settings"]["denoise"] == "auto"
    assert record(tmp_path / "auto.zarr")["noise"] == {"levels": [level]}


def test_each_index_has_its_own(model, noisy, config, tmp_path) -> None:
    worse = noisy + 0.03 * np.random.default_rng(2).normal(size=noisy.shape)
    volume = make(np.stack([noisy, worse, np.zeros_like(noisy)]), axes="czyx")
    list(export(volume, model, tmp_path / "out.zarr", config()))
    levels = [automatic(volume.at(index), model) for index in (0, 1)]
    assert levels[1] > levels[0] > 0
    assert record(tmp_path / "out.zarr")["noise"] == {"levels": [*levels, 0.0]}
    expected = reconstruct(volume.at(1), model, denoise=levels[1], block=(8, 16)).array.compute()
    np.testing.assert_array_equal(written(tmp_path / "out.zarr")[1], expected)


@pytest.fixture
def interrupted(model, noisy, config, tmp_path, monkeypatch) -> Unfinished:
    """An export that failed at its third shard."""
    done, calls = Work.__call__, []

    def fail_later(self, unit, *arguments):
        calls.append(unit)
        if len(calls) == 3:
            raise OSError(5, "the disk is gone")
        return done(self, unit, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(Work, "__call__", fail_later)
        with pytest.raises(OutputError, match="could not be written"):
            list(export(make(noisy), model, tmp_path / "out.zarr", config()))
    return Unfinished(tmp_path / "out.zarr")


def test_a_resumed_export_keeps_its_level(interrupted, model, noisy, config, monkeypatch) -> None:
    volume, target = make(noisy), interrupted.target
    level = automatic(volume, model)
    assert interrupted.noise_levels() == [level]
    monkeypatch.setattr(module, "noise_of", lambda volume: pytest.fail("it was estimated anew"))
    first, *_ = export(volume, model, target, config(resume=True))
    assert first.resumed > 0
    expected = reconstruct(volume, model, denoise=level, block=(8, 16)).array.compute()
    np.testing.assert_array_equal(written(target), expected)
    assert record(target)["noise"] == {"levels": [level]}


def test_what_was_begun_without_levels_estimates_them(interrupted, model, noisy, config) -> None:
    plan, volume = interrupted.folder / "plan.json", make(noisy)
    stored = json.loads(plan.read_text())
    del stored["made_of"]["noise"]
    plan.write_text(plan_text(stored["edges"], stored["made_of"]))
    list(export(volume, model, interrupted.target, config(resume=True)))
    assert record(interrupted.target)["noise"] == {"levels": [automatic(volume, model)]}


def test_it_is_complete_without_its_being_estimated(model, noisy, config, tmp_path, monkeypatch) -> None:
    volume, target = make(noisy), tmp_path / "out.zarr"
    list(export(volume, model, target, config()))
    monkeypatch.setattr(module, "noise_of", lambda volume: pytest.fail("it was estimated"))
    first, *_ = export(volume, model, target, config(resume=True))
    assert first.resumed == 52 * 37 * 45


def test_a_level_that_the_checkpoint_cannot_be_told(small_model, noisy, config, tmp_path) -> None:
    for model, message in ((small_model(), "trained without noise"), (small_model(noise=0.04), "up to 0.04")):
        with pytest.raises(ReconstructionError, match=message):
            list(export(make(noisy), model, tmp_path / "out.zarr", config(denoise=0.05)))
    assert not list(tmp_path.iterdir())
