"""The napari plugin; its one public name is imported when it is first used."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from napari_niiv.plugin.scripting import isotropic_view

__all__ = ["isotropic_view"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from napari_niiv.plugin import scripting

    return getattr(scripting, name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
