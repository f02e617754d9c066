"""JSON that may be damaged: what is ambiguous, or no number, is refused with a ValueError, as all that is no JSON."""

from __future__ import annotations

import json
import math
from typing import Any


def parse(text: str | bytes, *, finite: bool = True) -> Any:
    """The value of a JSON text.

    Parameters
    ----------
    text : str or bytes
        Bytes are UTF-8.
    finite : bool
        Refuse NaN and infinities, which Python writes though JSON has none.

    Raises
    ------
    ValueError
        If it is no JSON, nested too deeply, names a key twice in an object, or holds what is not finite.
    """
    given = text.decode("utf-8") if isinstance(text, bytes) else text
    try:
        if finite:
            return json.loads(given, object_pairs_hook=_unique, parse_constant=_refuse, parse_float=_finite)
        return json.loads(given, object_pairs_hook=_unique)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key is there twice")
    return found


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is no number")


def _finite(digits: str) -> float:
    value = float(digits)
    return value if math.isfinite(value) else _refuse(digits)
