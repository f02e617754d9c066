"""What was set for a file, and the checkpoint fitted to it, last from one session to the next."""

from __future__ import annotations

import datetime
import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from napari_niiv.io.remembered import (
    Correction,
    recall,
    recall_checkpoint,
    remember,
    remember_checkpoint,
    state_folder,
)
from napari_niiv.io.remembered_settings import (
    FileSettings,
    forget_fit,
    recall_settings,
    remember_fit,
    remember_settings,
)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    np.save(tmp_path / "a.npy", np.arange(60, dtype="u1").reshape(3, 4, 5))
    return tmp_path / "a.npy"


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    path = tmp_path / "a-niiv.safetensors"
    path.write_bytes(b"weights")
    return path


def test_settings_are_kept_beside_each_other_and_beside_what_else_is_known(file: Path, checkpoint: Path) -> None:
    assert recall_settings(file) == FileSettings()
    size = Correction((4.0, 0.5, 0.25), "micrometer")
    remember(file, size)
    remember_settings(file, {"denoise": 0.03})
    remember_settings(file, {"finest": 0.5})
    remember_fit(file, checkpoint)
    settings = recall_settings(file)
    assert (settings.denoise, settings.finest) == (0.03, 0.5)
    assert settings.fit is not None
    assert (settings.fit.checkpoint, settings.fit.day) == (str(checkpoint), datetime.date.today())
    assert settings.fit.problem() == ""
    assert recall_checkpoint(file) == str(checkpoint)
    assert recall(file) == size
    assert recall_settings(file, "raw") == FileSettings()
    np.save(file, np.zeros((2, 2, 2)))  # another file of that name
    assert recall_settings(file) == FileSettings()


def test_the_checkpoint_that_was_chosen_last_counts(file: Path, checkpoint: Path) -> None:
    remember_fit(file, checkpoint)
    remember_checkpoint(file, "lm")
    assert recall_settings(file).fit is None
    remember_settings(file, {"checkpoint": str(checkpoint)})
    assert recall_settings(file).fit is not None
    forget_fit(file)
    assert (recall_settings(file).fit, recall_checkpoint(file)) == (None, None)


def test_a_checkpoint_that_is_another_by_now_is_told(file: Path, checkpoint: Path, tmp_path: Path) -> None:
    remember_fit(file, checkpoint)
    fit = recall_settings(file).fit
    assert fit is not None
    begins = "The checkpoint fitted to this volume, a-niiv.safetensors, "
    checkpoint.write_bytes(b"others!")
    assert fit.problem() == f"{begins}was changed since; it is forgotten."
    checkpoint.unlink()
    assert fit.problem() == f"{begins}is gone; it is forgotten."
    checkpoint.mkdir()
    assert fit.problem() == f"{begins}cannot be read (it is no checkpoint); it is forgotten."
    checkpoint.rmdir()
    if hasattr(os, "mkfifo"):  # reading it would wait for ever
        os.mkfifo(checkpoint)
        assert "cannot be read" in fit.problem()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("denoise", "much"),
        ("denoise", -1),
        ("denoise", 1e400),
        ("finest", [1]),
        ("finest", 1e9),
        ("fit", {"checkpoint": "a", "day": "2026-11-28", "checksum": "0"}),
        ("fit", {"checkpoint": "a" * 5000, "day": "2026-11-28", "checksum": "0" * 64}),
        ("fit", {"checkpoint": "a", "day": "some day", "checksum": "0" * 64}),
        ("fit", {"checkpoint": "a", "day": "2026-11-28", "checksum": "0" * 64, "more": 1}),
        ("fit", "a-niiv.safetensors"),
    ],
)
def test_what_makes_no_sense_was_not_set(file: Path, name: str, value: Any) -> None:
    remember_settings(file, {"denoise": 0.02, "finest": 0.5})
    store = state_folder() / "volumes.json"
    known = json.loads(store.read_text())
    known["volumes"][str(file)][name] = value
    store.write_text(json.dumps(known))
    expected = FileSettings(**{k: v for k, v in {"denoise": 0.02, "finest": 0.5}.items() if k != name})
    assert recall_settings(file) == expected
    store.write_text("{")
    assert recall_settings(file) == FileSettings()


def test_nothing_senseless_is_remembered(file: Path) -> None:
    with pytest.raises(ValidationError):
        remember_settings(file, {"denoise": 7.0})


def test_several_who_remember_at_once_lose_nothing(file: Path, checkpoint: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        done = [
            pool.submit(remember_fit, file, checkpoint),
            pool.submit(remember_settings, file, {"denoise": "auto"}),
            pool.submit(remember_settings, file, {"finest": 0.25}),
            pool.submit(remember, file, Correction(axes="zyx")),
        ]
    assert [job.result() for job in done] == [None] * 4
    settings = recall_settings(file)
    assert (settings.denoise, settings.finest, settings.fit is not None) == ("auto", 0.25, True)
    assert recall(file) == Correction(axes="zyx")
