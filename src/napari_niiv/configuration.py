"""Settings as data: a configuration's fields hold label, help, range and default, and every face is built from them.

The command line makes its options, the windows their form fields from `setting_of`; what a configuration refuses
becomes one sentence in `refusal`.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError


@dataclass(frozen=True)
class Setting:
    """One field of a configuration, as a person is shown it.

    Attributes
    ----------
    name : str
        Of the field.
    label : str
        What a form calls it: the field's `title`, or its name in words.
    help : str
        One line: the field's `description`.
    kind : type
        bool, int, float, str, Path, or whatever else the field holds; of a choice that of its values.
    default : object
        None where it must be given or may be left out.
    optional : bool
        Whether it may be None, which leaves the choice to the software.
    choices : mapping of value to str
        The values of a field with a few, with what a form calls them; empty for others.
    lowest, highest : float or None
        Its range, bounds included.
    above : float or None
        What it must be larger than.
    unset : str
        What a form calls None.
    """

    name: str
    label: str
    help: str
    kind: type
    default: Any
    optional: bool
    choices: Mapping[Any, str]
    lowest: float | None
    highest: float | None
    above: float | None
    unset: str

    @property
    def flag(self) -> str:
        """The option of the command line, such as "--output-scale"."""
        return f"--{self.name.replace('_', '-')}"


@cache
def setting_of(configuration: type[BaseModel], name: str) -> Setting:
    """A field of a configuration.

    Beside what pydantic knows of it, `json_schema_extra` may hold ``"choices"``, what a form calls each value, and
    ``"unset"``, what it calls None. Of a field that is a choice of models the values are those of their discriminator,
    whose `title` is what a form calls them.
    """
    field = configuration.model_fields[name]
    extra = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
    members = [a for a in _members(field.annotation) if a is not type(None)]
    default = None if field.is_required() else field.get_default(call_default_factory=True)
    named = extra.get("choices")
    words: dict[str, Any] = named if isinstance(named, dict) else {}
    if isinstance(field.discriminator, str):
        tags = [member.model_fields[field.discriminator] for member in members]
        values = [tag.default for tag in tags]
        words = {tag.default: tag.title or tag.default for tag in tags}
        default = getattr(default, field.discriminator, None)
    else:
        values = [v for member in members if get_origin(member) is Literal for v in get_args(member)]
    kind = type(values[0]) if values else get_origin(members[0]) or members[0]
    bounds = {key: getattr(m, key) for m in field.metadata for key in ("ge", "gt", "le") if hasattr(m, key)}
    return Setting(
        name=name,
        label=field.title or name.replace("_", " ").capitalize(),
        help=field.description or "",
        kind=kind,
        default=default,
        optional=type(None) in _members(field.annotation),
        choices={value: str(words.get(str(value), value)) for value in values},
        lowest=bounds.get("ge"),
        highest=bounds.get("le"),
        above=bounds.get("gt"),
        unset=str(extra.get("unset", "automatic")),
    )


def refusal(error: ValidationError, name: Callable[[str], str]) -> str:
    """What a configuration refuses, in one sentence.

    Parameters
    ----------
    error : ValidationError
        Its first problem is told.
    name : callable
        What the user knows a field as, such as "--output-scale" or "The output scale"; gets the field's name.
    """
    first = error.errors()[0]
    rule = first["msg"].removeprefix("Value error, ").removeprefix("Input ")
    fields = [part for part in first["loc"] if isinstance(part, str)]
    if not fields:
        return f"{rule[:1].upper()}{rule[1:]}."
    # of a field that is a choice of models, the last part is the model's own field
    return f"{name(fields[-1])} is {first['input']!r}: it {rule}."


def _members(annotation: Any) -> tuple[Any, ...]:
    return get_args(annotation) if get_origin(annotation) in (Union, types.UnionType) else (annotation,)
