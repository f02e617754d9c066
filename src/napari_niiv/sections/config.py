"""Which of the damages found in sections are to be repaired."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class SectionsConfig(BaseModel):
    """What is done about damaged sections; by default blank ones are bridged, and nothing else."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    bridge: bool = Field(
        True,
        title="Bridge blank sections",
        description="interpolate blank sections between their neighbours before the network sees them",
    )
    bridge_repeated: bool = Field(
        False,
        title="Bridge repeated sections",
        description="interpolate sections that repeat the one before them, as blank ones are",
    )
    align: bool = Field(
        False,
        title="Align sections",
        description="move sections that are displaced against their neighbours back, by whole pixels; slow drift stays",
    )
    even_brightness: bool = Field(
        False,
        title="Even out brightness",
        description="give each section the brightness and contrast that its neighbours have",
    )
