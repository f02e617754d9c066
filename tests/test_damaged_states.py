"""Some of the mutants of `benchmarks/state_files.py`: checkpoints, states of trainings, unfinished exports and what is
remembered, damaged; none ends in anything but what was asked for, or a sentence."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

if sys.platform != "linux":
    pytest.skip("processes are watched and limited as Linux has it", allow_module_level=True)

from benchmarks.fuzz_readers import fuzz

MUTANTS = range(40)


def test_mutants(tmp_path: Path) -> None:
    outcomes = list(fuzz(MUTANTS, tmp_path, "states"))
    assert [outcome.number for outcome in outcomes] == list(MUTANTS)
    assert [outcome for outcome in outcomes if outcome.failure] == []
    assert 12 < sum(outcome.refused for outcome in outcomes) < 39
