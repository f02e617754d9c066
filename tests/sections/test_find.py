"""Blank, repeated, darker and brighter sections are found, and nothing else is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from napari_niiv.interrupt import Interrupted, StopFlag
from napari_niiv.io.open import open_volume
from napari_niiv.sections import windows
from napari_niiv.sections.config import SectionsConfig
from napari_niiv.sections.find import find_blank, find_sections
from napari_niiv.sections.report import SectionFindings, SectionReport
from napari_niiv.volume import Volume

Array = NDArray[np.uint8]


def found(array: NDArray, axes: str = "zyx") -> SectionReport:
    return find_sections(Volume(array, axes))


def blank(array: NDArray) -> tuple[int, ...]:
    both = find_blank(Volume(array)), found(array)
    assert both[0].findings[0][1].blank == both[1].findings[0][1].blank
    return both[0].findings[0][1].blank


@pytest.mark.parametrize("value", [0, 255, 127])
def test_a_blank_section(sections: Array, value: int) -> None:
    damaged = sections.copy()
    damaged[9] = value
    assert blank(damaged) == (9,)
    assert found(damaged).sentences[0] == "section 9 is blank"


def test_nearly_blank(sections: Array) -> None:
    damaged = sections.copy()
    damaged[4] = 200 + np.random.default_rng(0).integers(-3, 4, damaged[4].shape)  # the camera's noise
    damaged[4, 100:110, 100:110] = 0  # and dirt
    assert blank(damaged) == (4,)


def test_a_section_that_is_no_number(sections: Array) -> None:
    damaged = sections.astype(np.float32)
    damaged[7] = np.nan
    assert blank(damaged) == (7,)


def test_padding_is_no_damage(sections: Array) -> None:
    damaged = sections.copy()
    damaged[:3], damaged[-1:] = 0, 0
    assert blank(damaged) == ()
    damaged[6:8] = 0
    assert blank(damaged) == (6, 7)


def test_a_long_run_is_said(sections: Array) -> None:
    damaged = sections.copy()
    damaged[5:10] = 0
    report = found(damaged)
    assert report.sentences == ("sections 5 to 9 are blank (sections 5 to 9: too many side by side to be bridged)",)
    assert not report.blank


def test_what_is_sparse_is_not_blank() -> None:
    """Signal that the windows miss: the whole section is looked at."""
    array = np.zeros((9, 1200, 1200), np.uint16)
    rng = np.random.default_rng(0)
    array[:, 300:700, 300:700] = rng.integers(100, 200, (9, 400, 400))
    array[4] = 0
    array[4, 900:1150, 100:1100] = rng.integers(100, 200, (250, 1000))
    assert blank(array) == ()


def test_light_that_fades_is_not_blank() -> None:
    bright = np.exp(-((np.arange(24) - np.array([[5], [18]])) ** 2) / 6).sum(0)  # two cells above each other
    array = np.random.default_rng(0).random((24, 64, 64)) * bright[:, None, None]
    assert blank(array.astype(np.float32)) == ()


def test_repeated(sections: Array) -> None:
    damaged = sections.copy()
    damaged[6] = damaged[5]
    report = found(damaged)
    assert report.findings[0][1].repeated == (6,)
    assert report.sentences == ("section 6 repeats the one before",)
    assert report.damaged
    assert not report.blank


def test_unlike_its_neighbours(sections: Array, deep: Array) -> None:
    """Noise, or another place; not a section that is displaced, dark, or half torn."""
    damaged = sections.copy()
    damaged[6] = np.random.default_rng(0).integers(0, 256, damaged[6].shape)
    damaged[11] = damaged[11, ::-1, ::-1]
    report = found(damaged)
    assert report.findings[0][1].unlike == (6, 11)
    assert report.sentences[0] == "sections 6 and 11 are unlike their neighbours"
    assert report.repairs(SectionsConfig(bridge_damaged=True))[()].bridged == (6, 11)
    assert not report.repairs(SectionsConfig())
    sound = deep.copy()
    sound[9] = np.roll(sound[9], (14, -9), (0, 1))
    sound[20] //= 2
    sound[30, :90] = 0
    assert found(sound).findings[0][1].unlike == ()


def test_darker_and_brighter(deep: Array) -> None:
    damaged = deep.copy()
    damaged[10] = damaged[10] * 0.5
    damaged[21] = np.clip(damaged[21].astype(int) + 60, 0, 255)
    report = found(damaged)
    assert report.findings[0][1].darker == (10,)
    assert report.findings[0][1].brighter == (21,)
    assert report.uneven


def test_each_channel_by_itself(sections: Array) -> None:
    array = np.stack([[sections, sections], [sections, sections]])
    array[1, 0, 8] = 0
    report = found(array, "tczyx")
    assert {index: part.blank for index, part in report.findings if part.blank} == {(1, 0): (8,)}
    assert report.sentences == ("time 1, channel 0: section 8 is blank",)


def test_sentences_do_not_pile_up() -> None:
    findings = tuple(((t,), SectionFindings(blank=(3,))) for t in range(50))
    assert len(SectionReport("t", findings).sentences) == 7
    many = SectionFindings(blank=tuple(range(2, 100, 3)))
    assert len(many.sentences[0]) < 80


@pytest.mark.parametrize("name", ["cells3d_nuclei", "flybrain_lm", "fib25_sample_128"])
def test_nothing_is_said_of_sound_volumes(shared_data: Path, name: str) -> None:
    assert find_sections(open_volume(shared_data / f"{name}.tif")).sentences == ()


class Counting:
    """An array that exists nowhere, and counts the voxels that are read of it."""

    shape, dtype, ndim = (6000, 8192, 8192), np.dtype(np.uint8), 3

    def __init__(self) -> None:
        self.read = 0

    def __getitem__(self, key: tuple[slice, ...]) -> NDArray:
        z, y, x = (range(*part.indices(n)) for part, n in zip(key, self.shape, strict=True))
        values = np.add.outer(np.add.outer(np.array(z), np.array(y) % 7 * 30), np.array(x) % 11).astype(np.uint8)
        values[[i for i, section in enumerate(z) if section == 4321]] = 0
        self.read += values.size
        return values


def test_thousands_of_large_sections_cost_little() -> None:
    array = Counting()
    assert find_blank(Volume(array)).findings[0][1].blank == (4321,)
    assert array.read < 1.2 * windows._MOST_VOXELS


def test_what_would_have_to_be_decoded_whole_is_left() -> None:
    array = Counting()
    array.chunks = (1, 8192, 8192)
    report = find_sections(Volume(array))
    assert array.read == 0
    assert "zarr copy" in report.sentences[0]
    assert not report.blank


def test_it_can_be_stopped(sections: Array) -> None:
    flag = StopFlag()
    flag.stop()
    with pytest.raises(Interrupted):
        find_sections(Volume(sections), flag)
