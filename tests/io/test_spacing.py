from __future__ import annotations

import math

import numpy as np
import pytest

from napari_niiv.io.spacing import Spacing, agreed
from napari_niiv.io.units import METRES, number, unit_name


@pytest.mark.parametrize(
    ("unit", "expected"),
    [
        ("µm", "micrometer"),
        ("μm", "micrometer"),  # Greek mu
        ("\\u00B5m", "micrometer"),  # as ImageJ writes it
        ("um", "micrometer"),
        ("Micron", "micrometer"),
        ("microns", "micrometer"),
        ("nm", "nanometer"),
        ("nanometer", "nanometer"),
        (" mm ", "millimeter"),
        ("Å", "angstrom"),
        ("pixel", "pixel"),
        ("inch", "inch"),
        ('"', "inch"),
        ("inch of rain", "pixel"),
        ("Âµm", "micrometer"),  # UTF-8 read as Latin-1
        ("Î¼m", "micrometer"),
        ("Ã\x85", "angstrom"),
        ("�m", "micrometer"),  # lost on the way
        ("µ", "micrometer"),
        (b"um\0", "micrometer"),
        ("micro-metres", "micrometer"),
        ("nM", "nanometer"),
        ("Nanometre", "nanometer"),
        ("pm", "picometer"),
        ("cm", "centimeter"),
        ("dm", "decimeter"),
        ("decameter", "decameter"),
        ("Mm", "megameter"),
        ("MM", "millimeter"),
        ("km", "kilometer"),
        ("metres", "meter"),
        ("\u212b", "angstrom"),  # its own sign
        ("A", "angstrom"),
        ("inches", "inch"),
        ("feet", "foot"),
        ("thou", "thou"),
        ("pixels", "pixel"),
        ("null", "pixel"),
        ("", "pixel"),
        (None, "pixel"),
    ],
)
def test_units(unit, expected: str) -> None:
    assert unit_name(unit) == expected


@pytest.mark.parametrize(
    ("sizes", "problem", "voxel_size"),
    [
        ((8.0, 2.0, 2.0), "", (8.0, 2.0, 2.0)),
        ((None, 2.0, 2.0), "does not say its z step", (2.0, 2.0, 2.0)),
        ((math.nan, 2.0, 2.0), "does not say its z step", (2.0, 2.0, 2.0)),
        ((math.inf, 2.0, 2.0), "does not say its z step", (2.0, 2.0, 2.0)),
        ((0.0, 2.0, 2.0), "says that its z step is 0", (2.0, 2.0, 2.0)),
        ((-3.0, 2.0, 2.0), "says that its z step is -3", (2.0, 2.0, 2.0)),
        ((8.0, None, 2.0), "does not say its pixel size", (8.0, 2.0, 2.0)),
        ((8.0, 3.0, None), "does not say its pixel size", (8.0, 3.0, 3.0)),
        ((8.0, 0.0, 0.0), "does not say its pixel size", (8.0, 1.0, 1.0)),
        ((None, None, None), "does not say its z step", (1.0, 1.0, 1.0)),
    ],
)
def test_partial_and_absurd_sizes(sizes, problem: str, voxel_size) -> None:
    spacing = Spacing(sizes)
    assert spacing.problem == problem
    assert spacing.voxel_size == voxel_size


@pytest.mark.parametrize(
    ("sizes", "unit", "problem"),
    [
        ((16.0, 1.0, 1.0), "micrometer", ""),
        ((1.0, 1.0, 1.0), "micrometer", ""),
        (
            (17.0, 1.0, 1.0),
            "micrometer",
            "says that its z step is 17 times its pixel size, which is outside 1 to 16",
        ),
        ((0.5, 1.0, 1.0), "micrometer", "says that its z step is 0.5 times its pixel size"),
        ((8000.0, 1.0, 1.0), "micrometer", "says that its z step is 8,000 times its pixel size"),
        ((1 / 72, 1 / 72, 1 / 72), "inch", "gives its pixel size in inches (0.0139)"),
    ],
)
def test_sizes_that_are_complete_and_absurd(sizes, unit: str, problem: str) -> None:
    spacing = Spacing(sizes, unit)
    assert spacing.problem.startswith(problem)
    assert bool(spacing.problem) is bool(problem)
    assert spacing.voxel_size == sizes  # what the user is offered to correct


def test_the_names_are_those_of_naparis_registry() -> None:
    pint = pytest.importorskip("pint")
    registry = pint.UnitRegistry()
    for name, metres in METRES.items():
        assert registry.Quantity(1, name).to("meter").magnitude == pytest.approx(metres)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0.8", 0.8),
        ("0,8", 0.8),
        (" 8e-7 ", 8e-7),
        (b"40", 40),
        (np.float32(2), 2),
        ("1,000.5", None),
        ("", None),
        ("NaN", None),
        (math.inf, None),
        (None, None),
        ([1], None),
    ],
)
def test_numbers(text, expected: float | None) -> None:
    assert number(text) == expected


def test_sizes_of_several_units_are_converted_to_that_of_x() -> None:
    spacing = Spacing.of((8e-6, 100, 0.1), ("dm", "nm", "µm"))
    assert spacing.sizes == pytest.approx((0.8, 0.1, 0.1))
    assert (spacing.unit, spacing.note) == ("micrometer", "")


def test_a_unit_that_is_not_known_is_told() -> None:
    spacing = Spacing.of((8, 1, 1), ("parsec",) * 3)
    assert (spacing.sizes, spacing.unit) == ((8, 1, 1), "pixel")
    assert spacing.note == "its unit 'parsec' is no length that is known, so the sizes are taken without one"


def test_units_that_cannot_be_compared_are_told() -> None:
    spacing = Spacing.of((8, 1, 1), ("um", "pixel", "pixel"))
    assert spacing.problem == "gives its z step in micrometer, its pixel size in pixel, which cannot be compared"
    assert spacing.is_partial
    assert spacing.note == ""  # what is said once is not said otherwise


def test_a_negative_pixel_size() -> None:
    assert Spacing((8.0, -1.0, 1.0)).problem == "says that its pixel size is -1"


def test_another_axis_is_the_thick_one() -> None:
    assert "longest along x" in Spacing((0.5, 0.5, 4.0)).problem
    assert "longest along y" in Spacing((0.5, 4.0, 0.5)).problem
    assert "longest" not in Spacing((0.5, 1.0, 1.0)).problem


MICRONS = Spacing((0.8, 0.1, 0.1), "micrometer")


@pytest.mark.parametrize(
    ("said", "sizes", "unit", "told"),
    [
        ([MICRONS, Spacing((800.0, 100.0, 100.2), "nanometer")], (0.8, 0.1, 0.1), "micrometer", False),
        ([MICRONS, Spacing((400.0, 100.0, 100.0), "nanometer")], (0.8, 0.1, 0.1), "micrometer", True),
        ([MICRONS, Spacing((8.0, 1.0, 1.0))], (0.8, 0.1, 0.1), "micrometer", False),
        ([MICRONS, Spacing((2.0, 1.0, 1.0))], (0.8, 0.1, 0.1), "micrometer", True),
        ([Spacing((None, 1.0, 1.0)), MICRONS], (0.8, 0.1, 0.1), "micrometer", False),
        ([MICRONS, Spacing((1.0, 1.0, 1.0))], (0.8, 0.1, 0.1), "micrometer", False),
        ([Spacing((1.0, 1.0, 1.0))], (1.0, 1.0, 1.0), "pixel", False),
        ([MICRONS, Spacing((0.0, 1.0, 1.0))], (0.8, 0.1, 0.1), "micrometer", False),
        ([Spacing((0.0, 1.0, 1.0)), MICRONS], (0.8, 0.1, 0.1), "micrometer", False),
        (
            [Spacing((None, 0.1, 0.1), "micrometer"), Spacing((800.0, None, None), "nanometer")],
            (0.8, 0.1, 0.1),
            "micrometer",
            False,
        ),
        (
            [Spacing((800.0, None, None), "nanometer"), Spacing((None, 0.1, 0.1), "micrometer")],
            (0.8, 0.1, 0.1),
            "micrometer",
            False,
        ),
        ([Spacing(), Spacing()], (None, None, None), "pixel", False),
    ],
)
def test_what_several_places_say(said, sizes, unit: str, told: bool) -> None:
    spacing = agreed(list(zip("AB", said, strict=False)))
    assert [v if v is None else pytest.approx(v) for v in sizes] == list(spacing.sizes)
    assert spacing.unit == unit
    assert spacing.note.startswith("its A says a voxel of 0.8 × 0.1 × 0.1 micrometer (z × y × x), its B") is told
    assert bool(spacing.note) is told
