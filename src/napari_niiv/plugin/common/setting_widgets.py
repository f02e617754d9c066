"""Form fields made of a configuration's fields: label, help, range and default are spelled there alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NoReturn

from magicgui.widgets import CheckBox, ComboBox, FloatSpinBox, LineEdit, SpinBox
from pydantic import BaseModel, ValidationError

from napari_niiv.configuration import Setting, refusal, setting_of
from napari_niiv.errors import NiivError
from napari_niiv.plugin.common.typed_numbers import typed

_LARGEST = 10**9  # of a number without a limit: Qt's boxes have one


def setting_widget(configuration: type[BaseModel], name: str, *, as_text: bool = False, **changes: Any) -> Any:
    """The form field of a configuration's field; its value is the field's default.

    Numbers that may be left out are boxes whose lowest value, 0, stands for None.

    Parameters
    ----------
    configuration : type of BaseModel
    name : str
        The field's.
    as_text : bool
        Whether a number is typed as text, such as 4e-4.
    **changes
        What the widget is to get otherwise, such as `step` or `value`.
    """
    setting = setting_of(configuration, name)
    common: dict[str, Any] = {"label": setting.label, "tooltip": setting.help}
    if setting.kind is bool:
        plain: dict[str, Any] = {
            "text": setting.label,
            "tooltip": setting.help,
            "value": bool(setting.default),
        }
        return CheckBox(**plain | changes)
    if setting.choices:
        named = [(words, value) for value, words in setting.choices.items()]
        if setting.optional:
            named.insert(0, (setting.unset, None))
        box = ComboBox(**common | {"choices": lambda widget: named} | changes)
        box.value = setting.default
        return box
    if setting.kind in (int, float) and not as_text:
        return _number(setting, common, changes)
    line = LineEdit(**common | changes)
    if setting.optional:
        line.native.setPlaceholderText(setting.unset)
    return line


def field_value(configuration: type[BaseModel], name: str, widget: Any) -> Any:
    """What a widget of `setting_widget` says, None where it is left open; a path without its ~."""
    setting, value = setting_of(configuration, name), widget.value
    if isinstance(value, str):
        value = value.strip()
    if setting.kind is Path and value:
        return Path(value).expanduser()
    open_number = setting.kind in (int, float) and value == 0
    return None if setting.optional and (open_number or value == "") else value


def refuse(configuration: type[BaseModel], error: ValidationError, kind: type[NiivError]) -> NoReturn:
    """Say what a configuration refuses, in the words of the form."""

    def label(name: str) -> str:
        known = name in configuration.model_fields
        text = setting_of(configuration, name).label if known else name.replace("_", " ")
        return f"The {text if text.isupper() else text[:1].lower() + text[1:]}"

    raise kind(refusal(error, label)) from error


def _number(setting: Setting, common: dict[str, Any], changes: dict[str, Any]) -> Any:
    whole = setting.kind is int
    low = 0 if setting.optional or setting.lowest is None else setting.lowest
    bounds: dict[str, Any] = {"min": low, "max": _LARGEST if setting.highest is None else setting.highest}
    step: dict[str, Any] = {} if whole else {"step": 0.05}
    box = (SpinBox if whole else FloatSpinBox)(**common | bounds | step | {"value": setting.default or low} | changes)
    if setting.optional:
        box.native.setSpecialValueText(setting.unset)
    return typed(box, setting.label if setting.label.isupper() else setting.label[:1].lower() + setting.label[1:])
