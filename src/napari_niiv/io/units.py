"""Units of length, in all the spellings that files have for them, and numbers as files write them."""

from __future__ import annotations

import math
import re
import unicodedata
from contextlib import suppress
from typing import Any

# a symbol, a name, metres
_PREFIXES = (
    ("Y", "yotta", 1e24),
    ("Z", "zetta", 1e21),
    ("E", "exa", 1e18),
    ("P", "peta", 1e15),
    ("T", "tera", 1e12),
    ("G", "giga", 1e9),
    ("M", "mega", 1e6),
    ("k", "kilo", 1e3),
    ("h", "hecto", 1e2),
    ("da", "deca", 1e1),
    ("", "", 1.0),
    ("d", "deci", 1e-1),
    ("c", "centi", 1e-2),
    ("m", "milli", 1e-3),
    ("u", "micro", 1e-6),
    ("n", "nano", 1e-9),
    ("p", "pico", 1e-12),
    ("f", "femto", 1e-15),
    ("a", "atto", 1e-18),
    ("z", "zepto", 1e-21),
    ("y", "yocto", 1e-24),
)
METRES = {f"{name}meter": metres for _, name, metres in _PREFIXES} | {
    "angstrom": 1e-10,
    "inch": 0.0254,
    "thou": 2.54e-5,
    "foot": 0.3048,
    "yard": 0.9144,
    "mile": 1609.344,
}
"""The units that are understood, by their names in the registry that napari uses, in metres."""

SHORT_UNITS = {f"{name}meter": f"{symbol}m".replace("um", "µm") for symbol, name, _ in _PREFIXES} | {"angstrom": "Å"}
"""The symbols of units of length, by their names."""

_SYMBOLS = {f"{symbol}m": f"{name}meter" for symbol, name, _ in _PREFIXES} | {"Å": "angstrom", "A": "angstrom"}
_WORDS = {
    # people write it by itself for a micrometre
    "u": "micrometer",
    "micron": "micrometer",
    "a": "angstrom",
    "å": "angstrom",
    "ångström": "angstrom",
    "ångstrom": "angstrom",
    "angström": "angstrom",
    '"': "inch",
    "in": "inch",
    "mil": "thou",
    "ft": "foot",
    "feet": "foot",
    "yd": "yard",
    "mi": "mile",
    # symbols in the wrong case, of units that microscopes have
    **{f"{symbol}m": f"{name}meter" for symbol, name, metres in _PREFIXES if symbol.islower() and metres < 10},
    "m": "meter",
    "km": "kilometer",
}


def unit_name(unit: Any) -> str:
    """The name of a unit of length in napari's registry, such as "micrometer" for "µm"; "pixel" for anything else."""
    return known_unit(unit) or "pixel"


def known_unit(unit: Any) -> str | None:
    """As `unit_name`; None for what is no unit of length, "pixel" for what says that there is none."""
    text = _plain(unit)
    if text in _SYMBOLS:
        return _SYMBOLS[text]
    word = text.lower()
    for name in (word, word.removesuffix("s"), word.removesuffix("es")):
        name = re.sub(r"[- ]?met(?:er|re)$", "meter", name)
        if name in METRES:
            return name
        if name in _WORDS:
            return _WORDS[name]
    return "pixel" if word in _NONE else None


_NONE = {"", "pixel", "pixels", "px", "voxel", "voxels", "null", "none", "unknown", "unspecified", "arbitrary", "n/a"}


def _plain(unit: Any) -> str:
    """The text of a unit, its micro sign an u: escaped, decoded wrongly, or of another alphabet as it may be."""
    text = "" if unit is None else unit.decode("utf-8", "replace") if isinstance(unit, bytes) else str(unit)
    text = re.sub(r"\\u([0-9a-fA-F]{4})", lambda match: chr(int(match[1], 16)), text)
    # UTF-8 that was read as if it were Latin-1, once or more
    for codec in ("cp1252", "latin-1", "cp1252"):
        if any(sign in text for sign in "ÂÃÎâ"):
            with suppress(UnicodeError):
                text = text.encode(codec).decode("utf-8")
    text = unicodedata.normalize("NFKC", text).strip().strip("\0")
    # of the prefixes the micro sign alone is no letter of ASCII, so it is what was lost
    return re.sub("^(?:[μ�?](?=m)|μ$)", "u", text)


def convert(value: float | None, unit: str, target: str) -> float | None:
    """A length in another unit; None if it is None, or if the two units do not measure the same."""
    if value is None or unit == target:
        return value
    return value * METRES[unit] / METRES[target] if unit in METRES and target in METRES else None


def number(value: Any) -> float | None:
    """A number as a file writes it, also with the comma of some languages; None for what is no finite number."""
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    if isinstance(value, str):
        value = value.strip().strip("\0")
        if value.count(",") == 1 and "." not in value:
            value = value.replace(",", ".")
    try:
        result = float(value)
    except (TypeError, ValueError, OverflowError, ZeroDivisionError):
        return None
    return result if math.isfinite(result) else None
