"""Dask's arrays, recognised without an import of dask.array, which takes a quarter of a second."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing import TypeGuard

    import dask.array as da


def is_dask(array: Any) -> TypeGuard[da.Array]:
    """Whether an array is dask's; there is none as long as nobody has imported what makes them."""
    module = sys.modules.get("dask.array")
    return module is not None and isinstance(array, module.Array)
