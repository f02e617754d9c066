"""Options made of a configuration's fields: name, help, range and default are spelled there alone."""

from __future__ import annotations

import argparse
from typing import Any, NoReturn

from pydantic import BaseModel, ValidationError

from napari_niiv.configuration import refusal, setting_of
from napari_niiv.errors import NiivError


def add_setting(parser: argparse._ActionsContainer, configuration: type[BaseModel], name: str, **changes: Any) -> None:
    """Add the option of a configuration's field.

    What the user does not give is not in the parsed options either, so that the configuration's own default holds.

    Parameters
    ----------
    parser : argparse parser or group
    configuration : type of BaseModel
    name : str
        The field's.
    **changes
        What `add_argument` is to get otherwise, such as `metavar`, or `type` of a field that is written in a form of
        its own.
    """
    setting = setting_of(configuration, name)
    settings: dict[str, Any] = {"default": argparse.SUPPRESS, "help": setting.help.replace("%", "%%")}
    if setting.kind is bool:
        settings["action"] = "store_true"
    else:
        settings["type"] = setting.kind
        if setting.choices:
            settings["choices"] = list(setting.choices)
        default = setting.unset if setting.optional else setting.default
        if default is not None and default != "automatic" and not isinstance(default, tuple):
            settings["help"] += f"; {default} by default"
    parser.add_argument(setting.flag, **{**settings, **changes})


def given(options: argparse.Namespace, configuration: type[BaseModel]) -> dict[str, Any]:
    """The fields of a configuration that the user has given."""
    return {name: value for name, value in vars(options).items() if name in configuration.model_fields}


def refuse(error: ValidationError, kind: type[NiivError]) -> NoReturn:
    """Say what a configuration refuses, in the words of the command line."""
    raise kind(refusal(error, lambda name: f"--{name.replace('_', '-')}")) from error
