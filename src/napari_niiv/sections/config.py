"""Which of the damages found in sections are to be repaired."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError


class SectionsConfig(BaseModel):
    """What is done about damaged sections; by default blank ones are bridged, and nothing else."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    bridge: bool = Field(
        True,
        title="bridge blank",
        description="interpolate blank sections between their neighbours before the network sees them",
    )
    bridge_damaged: bool = Field(
        False,
        title="bridge damaged",
        description="interpolate sections that repeat the one before, or are unlike their neighbours, likewise",
    )
    align: bool = Field(
        False,
        title="align",
        description="move sections that are displaced against their neighbours back, by whole pixels; slow drift stays",
    )
    even_brightness: bool = Field(
        False,
        title="even brightness",
        description="give each section the brightness and contrast that its neighbours have",
    )

    @classmethod
    def recalled(cls, settings: Mapping[str, Any]) -> SectionsConfig:
        """What was remembered of a file; the defaults where that makes no sense."""
        try:
            return cls.model_validate(settings)
        except ValidationError:
            return cls()
