from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest
from pydantic import BaseModel, Field, ValidationError

from napari_niiv.configuration import refusal, setting_of


class Boiled(BaseModel):
    kind: Literal["boiled"] = "boiled"


class Fried(BaseModel):
    kind: Literal["fried"] = Field("fried", title="fried in butter")
    butter: float = Field(gt=0)


class Kitchen(BaseModel):
    minutes: float | None = Field(None, gt=0, le=60, title="Time", description="how long to cook")
    eggs: int = Field(2, ge=1, le=12)
    dish: Literal["omelette", "soup"] = Field("soup", json_schema_extra={"choices": {"omelette": "an omelette"}})
    size: Literal[16, 32] | None = Field(None, json_schema_extra={"unset": "as large as it gets"})
    cooking: Boiled | Fried = Field(Boiled(), discriminator="kind")
    recipe: Path


def test_a_setting_holds_what_a_face_needs():
    minutes = setting_of(Kitchen, "minutes")
    assert (minutes.label, minutes.help, minutes.flag) == ("Time", "how long to cook", "--minutes")
    assert (minutes.kind, minutes.optional, minutes.default) == (float, True, None)
    assert (minutes.above, minutes.lowest, minutes.highest) == (0, None, 60)
    eggs = setting_of(Kitchen, "eggs")
    assert (eggs.label, eggs.kind, eggs.optional, eggs.default) == ("Eggs", int, False, 2)
    assert (eggs.lowest, eggs.highest, eggs.choices) == (1, 12, {})
    dish = setting_of(Kitchen, "dish")
    assert dish.choices == {"omelette": "an omelette", "soup": "soup"}
    assert dish.kind is str
    size = setting_of(Kitchen, "size")
    assert (size.kind, size.optional, size.unset) == (int, True, "as large as it gets")
    assert list(size.choices) == [16, 32]
    cooking = setting_of(Kitchen, "cooking")
    assert (cooking.kind, cooking.default) == (str, "boiled")
    assert cooking.choices == {"boiled": "boiled", "fried": "fried in butter"}
    assert setting_of(Kitchen, "recipe").kind is Path


def test_what_is_refused_is_one_sentence():
    with pytest.raises(ValidationError) as caught:
        Kitchen(recipe="x", eggs=0)
    sentence = refusal(caught.value, lambda name: f"--{name}")
    assert sentence == "--eggs is 0: it should be greater than or equal to 1."
    with pytest.raises(ValidationError) as caught:
        Kitchen(recipe="x", cooking={"kind": "fried", "butter": 0})
    assert refusal(caught.value, lambda name: f"--{name}") == "--butter is 0: it should be greater than 0."
