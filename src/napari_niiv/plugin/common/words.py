"""Numbers as a person reads them; no Qt."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence

import pint

from napari_niiv.errors import Remedy
from napari_niiv.io.spacing import Spacing

WINDOW_WORDS: Mapping[Remedy, str] = {
    Remedy.RESUME: "go on with Resume",
    Remedy.START_ANEW: "choose Start anew",
    Remedy.START_ANEW_INSTEAD: "choose Start anew",
    Remedy.RESUME_OR_START_ANEW: "choose Resume or Start anew",
    Remedy.RENAME_OR_REPLACE: "choose another name or replace it",
    Remedy.KEEP_DTYPE: "choose float32 or keep the type of the source",
    Remedy.NAME_DATASET: "choose one",
    Remedy.OPEN_HERE: "drop the file on this widget, which sorts them",
    Remedy.FOLLOW_LINKS: "if you trust it, copy the folder such that its links become files, and open the copy",
}
"""How the windows word what the user can do about an error."""

_DAY = 86400
# below so many seconds, a time is rounded to so many of a unit, which has so many seconds
_ROUNDED = (
    (10, 1, 1, "s"),
    (57.5, 5, 1, "s"),
    (570, 1, 60, "min"),
    (3450, 5, 60, "min"),
    (9.75 * 3600, 0.5, 3600, "h"),
    (2 * _DAY, 1, 3600, "h"),
)
LONGEST = 36  # characters of a word, or of a part of a path, that a line of a dock holds

_BYTES = ("kB", "MB", "GB", "TB", "PB")


def time_left(seconds: float | None) -> str:
    """Time left, as a clock shows it; empty if it cannot be said."""
    if seconds is None or not math.isfinite(seconds):
        return ""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02} left" if hours else f"{minutes}:{rest:02} left"


def about(seconds: float) -> str:
    """A time that is known roughly, such as about 2 min."""
    for below, step, size, unit in _ROUNDED:
        if seconds < below:
            return f"about {max(step, round(seconds / size / step) * step):g} {unit}"
    return f"about {round(seconds / _DAY)} days"


def output_words(shape: Sequence[int], axes: str, voxel_size: Sequence[float], unit: str) -> str:
    """Such as 128 × 200 × 200 voxels (z × y × x) of 8 × 8 × 8 nm."""
    z, y, x = voxel_size
    sizes = Spacing((z, y, x), unit).short_words + (" voxel units" if unit == "pixel" else "")
    return f"{_times(map(str, shape))} voxels ({_times(axes)}) of {sizes}"


def _times(parts: Iterable[str]) -> str:
    return " × ".join(parts)


def length_words(value: float, unit: str) -> str:
    """Such as 3.04 nm, of 0.00304 µm.

    Parameters
    ----------
    value : float
    unit : str
        As `unit_name` gives it; metres with any prefix become the one that suits the number.
    """
    if unit.endswith("m") and len(unit) <= 2 and value > 0:
        near = pint.Quantity(value, unit).to_compact()
        value, unit = float(near.magnitude), f"{near.units:~P}"
    return f"{value:.3g} {unit}"


def shortened(name: str, longest: int = LONGEST) -> str:
    """A name whose middle is left out where it is longer than so many characters: both its ends tell it from others."""
    if len(name) <= longest:
        return name
    kept = longest - 1
    return f"{name[: kept - kept // 2]}…{name[-(kept // 2) :]}"


def with_short_names(text: str, longest: int = LONGEST) -> str:
    """A text whose words, names of files and folders mostly, are short enough: lines break between them alone."""
    return re.sub(r"[^\s/\\]+", lambda word: shortened(word[0], longest), text)


def bytes_of(count: float) -> str:
    """Such as 1.5 GB."""
    value, unit = count / 1e3, 0
    while value >= 999.5 and unit < len(_BYTES) - 1:
        value, unit = value / 1e3, unit + 1
    return f"{value:.3g} {_BYTES[unit]}"


def large(count: float) -> str:
    """Such as 2.1 million."""
    for size, name in ((1e9, "billion"), (1e6, "million")):
        if count >= size:
            return f"{count / size:.3g} {name}"
    return f"{count:,.0f}"
