"""Triton, a compiler that torch imports with its optimisers and that nothing here uses."""

from __future__ import annotations

import sys
from pathlib import Path

_MAPPED = Path("/proc/self/maps")  # the libraries of this process, on Linux


def leave_triton_out() -> None:
    """Keep torch from importing triton where that would end the process.

    From 3.7 on its own copy of LLVM takes symbols of the one that is loaded already, such as that of OpenGL's drivers
    for AMD's cards and for computers without any (Mesa), and crashes. For torch it is then as if it were not installed.
    """
    if "triton" not in sys.modules and _llvm_is_loaded():
        sys.modules["triton"] = None  # type: ignore[assignment]


def _llvm_is_loaded() -> bool:
    try:
        return "libLLVM" in _MAPPED.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
