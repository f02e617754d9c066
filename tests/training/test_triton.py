"""Triton is left out where it would crash, and nowhere else."""

import importlib
import sys
from pathlib import Path

import pytest

from napari_niiv.training import triton as module
from napari_niiv.training.triton import leave_triton_out

MESA = "7f00-7f01 r-xp 00000000 08:01 42 /usr/lib/x86_64-linux-gnu/libLLVM.so.19.1\n"
OTHER = "7f00-7f01 r-xp 00000000 08:01 42 /usr/lib/x86_64-linux-gnu/libGLX_nvidia.so.0\n"


@pytest.fixture
def mapped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What stands for the list of the process's libraries; triton is installed, and not yet imported."""
    (tmp_path / "triton.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "triton", raising=False)
    path = tmp_path / "maps"
    monkeypatch.setattr(module, "_MAPPED", path)
    yield path
    sys.modules.pop("triton", None)


def test_beside_another_llvm_it_is_as_if_it_were_not_installed(mapped: Path) -> None:
    mapped.write_text(OTHER + MESA)
    leave_triton_out()
    with pytest.raises(ImportError):
        importlib.import_module("triton")


@pytest.mark.parametrize("libraries", [OTHER, None])
def test_elsewhere_it_is_imported_as_ever(mapped: Path, libraries: str | None) -> None:
    if libraries is not None:
        mapped.write_text(libraries)
    leave_triton_out()
    assert importlib.import_module("triton")


def test_one_that_is_there_stays(mapped: Path) -> None:
    mapped.write_text(MESA)
    loaded = importlib.import_module("triton")
    leave_triton_out()
    assert sys.modules["triton"] is loaded
