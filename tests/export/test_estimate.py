"""What an export is expected to take; the time by a clock that the test sets."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from napari_niiv.errors import VolumeError
from napari_niiv.export import export
from napari_niiv.export.estimate import estimate
from napari_niiv.export.work import Work
from napari_niiv.interrupt import Interrupted, StopFlag
from tests.export.conftest import make


@pytest.fixture
def clock(monkeypatch):
    """Goes on by so many seconds with each block, as the test says."""

    class Clock:
        now = 5.0

        def __call__(self) -> float:
            return self.now

    clock = Clock()
    clock.seconds, clock.blocks = [7.0], []
    real = Work.restored

    def restored(self, unit, *arguments, **keywords):
        clock.blocks.append(unit)
        clock.now += clock.seconds.pop(0)
        return real(self, unit, *arguments, **keywords)

    monkeypatch.setattr(Work, "restored", restored)
    return clock


def test_a_block_in_the_middle_stands_for_all(small_model, volume, config, clock) -> None:
    found = estimate(volume, small_model(), config(), clock=clock)
    (block,) = clock.blocks
    assert block.place.shape == (32, 16, 16)
    assert found.seconds == pytest.approx(7 * 52 * 37 * 45 / (32 * 16 * 16))
    assert found.denoise == 0
    assert estimate(volume, small_model(), config(), tiff=True, clock=replaced(clock, 7)).bytes == 52 * 37 * 45


def replaced(clock, *seconds):
    clock.seconds = list(seconds)
    return clock


def test_a_short_block_is_computed_twice_as_the_first_is_slower(small_model, volume, config, clock) -> None:
    found = estimate(volume, small_model(), config(), clock=replaced(clock, 1.5, 0.5))
    assert len(clock.blocks) == 2
    assert found.seconds == pytest.approx(0.5 * 52 * 37 * 45 / (32 * 16 * 16))


def test_the_size_is_near_that_of_the_file(small_model, texture, config, tmp_path) -> None:
    noise = np.random.default_rng(0).normal(0, 0.05, (16, 64, 64))
    volume = make((texture((16, 64, 64)) + noise).clip(0, 1.2))
    settings = config(chunk=32, block=(16, 32))
    expected = estimate(volume, small_model(), settings)
    assert expected.denoise == 0
    list(export(volume, small_model(), tmp_path / "out.zarr", settings))
    size = sum(file.stat().st_size for file in (tmp_path / "out.zarr").rglob("c/*/*/*"))
    assert expected.bytes == pytest.approx(size, rel=0.25)


def test_the_noise_level_is_that_of_the_export(small_model, volume, config) -> None:
    model = small_model(noise=0.2)
    assert estimate(volume, model, config(denoise=0.123)).denoise == 0.123
    level = estimate(volume, model, config()).denoise
    assert level is not None
    assert level > 0
    times = replace(volume, array=np.stack([volume.array] * 2), axes="tzyx")
    assert estimate(times, model, config()).denoise is None  # each has its own


def test_it_is_given_up_and_refused_as_the_export_is(small_model, volume, config) -> None:
    stop = StopFlag()
    stop.stop()
    with pytest.raises(Interrupted):
        estimate(volume, small_model(), config(), interrupt=stop)
    with pytest.raises(VolumeError):
        estimate(make(np.zeros((13, 37, 45))), small_model(), config())
