"""Triton is left out where it would crash, and nowhere else."""

import importlib
import subprocess
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


@pytest.mark.parametrize("what", ["opening the training dock", "an optimiser"])
def test_it_is_left_out_before_torch_looks_for_it(what: str, tmp_path: Path) -> None:
    """In a process of its own, with the list of its libraries replaced, and a triton that ends it."""
    pytest.importorskip("napari" if "dock" in what else "torch")
    program = f"""
import importlib.abc, os, sys
from pathlib import Path
class Crash(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name == "triton":
            os._exit(7)
sys.meta_path.insert(0, Crash())
maps = Path(sys.argv[1])
from napari_niiv.training import triton
triton._MAPPED = maps
if {"dock" in what}:
    from napari_niiv.plugin.training.settings import warm_up
    warm_up()
else:
    from napari_niiv.training.optimisation import Optimisation
    import torch
    optimisation = object.__new__(Optimisation)
    optimisation._weights, optimisation._rate, optimisation._device = [torch.zeros(1)], 1e-3, torch.device("cpu")
    optimisation._fresh_optimizer()
import torch._dynamo
"""
    maps = tmp_path / "maps"
    maps.write_text(MESA)
    assert subprocess.run([sys.executable, "-c", program, str(maps)], check=False).returncode == 0
