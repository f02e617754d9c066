"""Some of the mutants of `benchmarks/fuzz_readers.py`, which tries a hundred thousand: none ends in anything but voxels
or a sentence."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

if sys.platform != "linux":
    pytest.skip("processes are watched and limited as Linux has it", allow_module_level=True)

from benchmarks.fuzz_readers import fuzz

MUTANTS = range(300)


def test_mutants(tmp_path: Path) -> None:
    outcomes = list(fuzz(MUTANTS, tmp_path))
    assert [outcome.number for outcome in outcomes] == list(MUTANTS)
    assert [outcome for outcome in outcomes if outcome.failure] == []
    assert 50 < sum(outcome.refused for outcome in outcomes) < 250
