"""What is written down of an unfinished export, with checksums: what it is made of, and a journal of finished units."""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from napari_niiv import strict_json
from napari_niiv.export.fingerprint import Fingerprint
from napari_niiv.export.shards import FileState, Written
from napari_niiv.geometry import Shape

MOST_BYTES = 1 << 28
"""Of a plan or journal: millions of lines."""
_Edge = Annotated[int, Field(ge=1, le=1 << 20)]
_Level = Annotated[float, Field(ge=0, le=1e6)]


class _Noise(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    levels: list[_Level]


class RecordedPlan(BaseModel):
    """What an export was begun with.

    Attributes
    ----------
    edges : tuple of int
        Samples of a block along z, y, x.
    made_of : dict
        The fingerprint of volume, model and settings.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    edges: tuple[_Edge, _Edge, _Edge]
    made_of: dict[str, dict[str, Any]]

    @property
    def settings(self) -> dict[str, Any]:
        """Fields of `ExportConfig`."""
        return dict(self.made_of["settings"])

    @property
    def noise_levels(self) -> list[float] | None:
        """The noise level of each T and C index; None if they are not recorded."""
        return _Noise.model_validate(self.made_of["noise"]).levels if "noise" in self.made_of else None


def plan_text(edges: Shape, made_of: Fingerprint) -> str:
    """What `parse_plan` reads: JSON with its own checksum."""
    facts = {"edges": list(edges), "made_of": made_of}
    return json.dumps({**facts, "sha256": _sum(facts)}, indent=1)


def parse_plan(text: bytes) -> RecordedPlan:
    """What is in the text of a plan.

    Raises
    ------
    ValueError
        If it is damaged.
    """
    facts = strict_json.parse(text, finite=False)  # an empty voxel may be NaN
    if not isinstance(facts, dict) or facts.pop("sha256", None) != _sum(facts):
        raise ValueError("its checksum is another")
    plan = RecordedPlan.model_validate(facts)
    if "settings" not in plan.made_of:
        raise ValueError("it has no settings")
    _ = plan.noise_levels
    return plan


def journal_line(level: int, number: int, states: Sequence[FileState]) -> str:
    """The line of a unit, with what its files are, none if it is to be computed anew, and a checksum of the line."""
    text = " ".join([f"{level}/{number}", *(f"{size}:{checksum:08x}" for size, checksum in states)])
    return f"{text} {_line_sum(text)}\n"


def parse_journal(text: bytes) -> dict[tuple[int, int], Written]:
    """What the files of each unit were when they were written, by level and number; the last line of a unit counts.

    Raises
    ------
    ValueError
        If a line is damaged.
    """
    return dict(_parsed(line) for line in text.decode("ascii").splitlines())


def as_fingerprint(value: Any) -> Fingerprint | None:
    """A fingerprint that JSON held; None if it is none."""
    try:
        return RecordedPlan.model_validate({"edges": (1, 1, 1), "made_of": value}).made_of
    except ValidationError:
        return None


def _parsed(line: str) -> tuple[tuple[int, int], Written]:
    text, _, checksum = line.rpartition(" ")
    if checksum != _line_sum(text):
        raise ValueError("a line of the journal has another checksum")
    name, *states = text.split(" ")
    level, number = name.split("/")
    pairs = (state.split(":") for state in states)
    return (int(level), int(number)), tuple(FileState(int(size), int(checksum, 16)) for size, checksum in pairs)


def _sum(facts: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _line_sum(text: str) -> str:
    return f"{zlib.crc32(text.encode()):08x}"
