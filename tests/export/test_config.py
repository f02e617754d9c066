"""The settings of an export are spelled once; whoever shows them does not wait for torch."""

from __future__ import annotations

import subprocess
import sys

import pytest

import napari_niiv.export
from napari_niiv.configuration import setting_of
from napari_niiv.events import Notice
from napari_niiv.export import ExportConfig, ExportNotice


def test_settings_and_events_need_no_torch() -> None:
    code = "import sys, napari_niiv.export.config, napari_niiv.export.events; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


@pytest.mark.parametrize("name", napari_niiv.export.__all__)
def test_public_names(name: str) -> None:
    assert getattr(napari_niiv.export, name) is not None
    assert name in dir(napari_niiv.export)


def test_a_notice_is_everybodys() -> None:
    assert ExportNotice is Notice


@pytest.mark.parametrize("name", ExportConfig.model_fields)
def test_every_setting_tells_what_it_is(name: str) -> None:
    setting = setting_of(ExportConfig, name)
    assert setting.help
    assert setting.default == getattr(ExportConfig(), name)
