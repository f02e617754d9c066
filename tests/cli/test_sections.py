"""Damaged sections on the command line: said, and repaired as options and memory have it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile

from napari_niiv.cli import main
from napari_niiv.io.remembered import remember_sections
from napari_niiv.models.card import Card
from napari_niiv.models.checkpoint import save_model

SHIFTED, BLANK = 8, 4


@pytest.fixture
def folder(tmp_path: Path, texture, small_model, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Holds a checkpoint, and a stack of which a section is blank and another is displaced."""
    array = (200 * texture((14, 64, 72)) + 20).astype(np.uint8)
    array[BLANK] = 0
    array[SHIFTED] = np.roll(array[SHIFTED], (6, -9), (0, 1))
    tags = {"axes": "ZYX", "spacing": 2.0, "unit": "um"}
    tifffile.imwrite(tmp_path / "damaged.tif", array, imagej=True, resolution=(2.0, 2.0), metadata=tags)
    model = small_model()
    save_model(model, Card(name="tiny", architecture=model.architecture), tmp_path / "tiny.safetensors")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def repaired(*options: str) -> list[dict]:
    """What the attributes of an export say of it."""
    common = ("--checkpoint", "tiny.safetensors", "--overwrite", "--box", "3:9,0:16,0:16")
    assert main(["reconstruct", "damaged.tif", "out.zarr", *common, *options]) == 0
    return json.loads(Path("out.zarr/zarr.json").read_text())["attributes"]["napari_niiv"]["sections"]["repaired"]


def test_info_says_it(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", "damaged.tif"]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("sections")]
    assert lines == [
        f"sections    section {BLANK} is blank",
        "sections    sections look displaced by up to 9 pixels",
    ]


def test_options_and_memory(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert repaired() == [{"bridged": [BLANK]}]
    said = capsys.readouterr().err
    assert (
        f"damaged: section {BLANK} is blank; sections look displaced by up to 9 pixels (--align moves them back)"
        in said
    )
    assert repaired("--no-bridge") == []
    (both,) = repaired("--align")
    assert both["bridged"] == [BLANK]
    assert both["shifts"][str(SHIFTED)] == [-6, 9]
    remember_sections("damaged.tif", {"bridge": False, "align": True})
    (remembered,) = repaired()
    assert "bridged" not in remembered
    assert remembered["shifts"] == both["shifts"]
    assert repaired("--no-align", "--bridge") == [{"bridged": [BLANK]}]


def test_training_says_it_too(folder: Path, capsys: pytest.CaptureFixture[str], one_thread) -> None:
    options = ("--output", "new.safetensors", "--init", "tiny.safetensors", "--steps", "2", "--batch", "2")
    assert main(["train", "damaged.tif", *options, "--no-bridge", "--align"]) == 0
    assert f"section {BLANK} is blank" in capsys.readouterr().err
