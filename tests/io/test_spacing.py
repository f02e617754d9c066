from __future__ import annotations

import math

import pytest

from napari_niiv.io.spacing import Spacing, unit_name


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
        ((1 / 72, 1 / 72, 1 / 72), "inch", "gives its pixel size in inches (0.0139)"),
    ],
)
def test_sizes_that_are_complete_and_absurd(sizes, unit: str, problem: str) -> None:
    spacing = Spacing(sizes, unit)
    assert spacing.problem.startswith(problem)
    assert bool(spacing.problem) is bool(problem)
    assert spacing.voxel_size == sizes  # what the user is offered to correct
