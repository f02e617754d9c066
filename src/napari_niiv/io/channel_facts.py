"""What files say of their channels: names, and the colours that they are shown in."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from napari_niiv.io.units import number

Limits = tuple[float, float]
"""Intensities that are shown black and in full colour."""


def channel_facts(
    names: Sequence[Any], colours: Sequence[str] = (), limits: Sequence[Limits | None] = ()
) -> dict[str, Any]:
    """The entries of a volume's metadata that tell of its channels.

    Parameters
    ----------
    names : sequence
        One of each channel, in order; those without a name are empty or None.
    colours : sequence of str
        As "#rrggbb"; empty where none is known.
    limits : sequence of (float, float) or None
        Of the contrast; None where they are not known.

    Returns
    -------
    dict
        "channel_names" and "channel_colours", each only if any channel has one; "channel_limits" only if all have them.
    """
    facts = {"channel_names": list(names), "channel_colours": list(colours)}
    known = {"channel_limits": list(limits)} if limits and None not in limits else {}
    return {key: values for key, values in facts.items() if any(values)} | known


def window_limits(window: Any, dtype: np.dtype[Any]) -> Limits | None:
    """The contrast that OME-Zarr writes as a channel's window; None if it is none, or all that the type can hold."""
    if not isinstance(window, Mapping):
        return None
    low, high = number(window.get("start")), number(window.get("end"))
    if low is None or high is None or low >= high:
        return None
    whole = dtype.kind in "iu" and low <= np.iinfo(dtype).min and high >= np.iinfo(dtype).max
    return None if whole else (low, high)


def rgb_colour(red: float, green: float, blue: float) -> str:
    """A colour of three parts of 0 … 255 as "#rrggbb"; empty if they are none, or black, which shows nothing."""
    parts = [round(part) for part in (red, green, blue)]
    return "#{:02x}{:02x}{:02x}".format(*parts) if max(parts) <= 255 and min(parts) >= 0 and any(parts) else ""


def hex_colour(text: Any) -> str:
    """The colour that OME-Zarr writes, such as "FF0000"; empty if it is none."""
    found = re.fullmatch(r"#?([0-9a-fA-F]{6})([0-9a-fA-F]{2})?", str(text or "").strip())
    return rgb_colour(*bytes.fromhex(found[1])) if found else ""


def ome_colour(text: str | None) -> str:
    """The colour that OME-XML writes, the four bytes of red, green, blue and alpha as a signed integer."""
    try:
        red, green, blue, _ = (int(text or "") & 0xFFFFFFFF).to_bytes(4, "big")
    except ValueError:
        return ""
    return rgb_colour(red, green, blue)


def to_ome_colour(colour: str) -> int:
    """The integer by which OME-XML writes a colour that is known as "#rrggbb"."""
    return int.from_bytes(bytes.fromhex(f"{colour.removeprefix('#')}ff"), "big", signed=True)


def lut_colour(lut: Any) -> str:
    """The colour at the end of a lookup table of ImageJ, an array (3, 256) that begins with black; else empty."""
    table = np.asarray(lut)
    if table.shape != (3, 256) or table.dtype != np.uint8 or table[:, 0].any():
        return ""
    return rgb_colour(*(int(part) for part in table[:, -1]))


def fraction_colour(text: str) -> str:
    """The colour that Imaris writes, such as "1.000 0.500 0.000"; empty if it is none."""
    try:
        red, green, blue = (255 * float(part) for part in text.split())
        return rgb_colour(red, green, blue)
    except (ValueError, OverflowError):  # not three, no numbers, or not finite ones
        return ""
