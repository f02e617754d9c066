from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import napari_niiv

CORE = sorted(
    ".".join(("napari_niiv", *path.relative_to(Path(napari_niiv.__file__).parent).with_suffix("").parts)).removesuffix(
        ".__init__"
    )
    for path in Path(napari_niiv.__file__).parent.rglob("*.py")
    if "plugin" not in path.parts and path.name != "__main__.py"
)
GUI = ["napari", "qtpy", "magicgui", "superqt", "vispy", "PyQt5", "PyQt6", "PySide2", "PySide6"]


def modules_after(code: str) -> set[str]:
    """Top-level names imported by a fresh interpreter."""
    code += "; import sys; print(*{m.split('.')[0] for m in sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    return set(done.stdout.split())


def test_the_core_imports_no_gui() -> None:
    assert len(CORE) > 20
    assert "napari_niiv.cli" in CORE
    loaded = modules_after("import " + ", ".join(CORE))
    assert "torch" in loaded
    assert loaded.isdisjoint(GUI)


def test_importing_the_package_costs_nothing() -> None:
    loaded = modules_after("import napari_niiv; napari_niiv.__version__; dir(napari_niiv)")
    assert loaded.isdisjoint(["torch", "dask", "tifffile", "pydantic", "numpy", *GUI])
    loaded = modules_after("import napari_niiv.plugin; dir(napari_niiv.plugin)")
    assert loaded.isdisjoint(["torch", "dask", "numpy", *GUI])
    loaded = modules_after("import napari_niiv; napari_niiv.bundled_models(); import napari_niiv.cli")
    assert loaded.isdisjoint(["torch", *GUI])


@pytest.mark.parametrize("name", napari_niiv.__all__)
def test_public_names(name: str) -> None:
    assert getattr(napari_niiv, name).__doc__ is not None
    assert name in dir(napari_niiv)


def test_an_unknown_name() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = napari_niiv.nothing


def test_every_error_is_ours() -> None:
    from napari_niiv import errors

    kinds = [
        kind
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, Exception) and kind.__module__ == errors.__name__
    ]
    assert len(kinds) >= 6
    assert all(issubclass(kind, napari_niiv.NiivError) for kind in kinds)
