from __future__ import annotations

import pytest
import torch

from napari_niiv.device import available_devices, choose_device, encoder_dtype, synchronize
from napari_niiv.errors import DeviceError


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch, bare: None) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)


@pytest.mark.usefixtures("bare")
def test_a_bare_computer_has_its_cpu() -> None:
    assert available_devices() == ["cpu"]
    assert choose_device("auto") == choose_device("cpu") == torch.device("cpu")


@pytest.mark.usefixtures("bare")
@pytest.mark.parametrize("name", ["cuda", "cuda:0", "mps"])
def test_an_absent_device_is_named(name: str) -> None:
    with pytest.raises(DeviceError, match=rf"{name}.*not present.*auto, cpu"):
        choose_device(name)


@pytest.mark.parametrize("name", ["", "gpu", "cuda:x", "meta", "vulkan", "cuda:-1"])
def test_an_unknown_device_is_refused(name: str) -> None:
    with pytest.raises(DeviceError, match="There is no device"):
        choose_device(name)


@pytest.mark.usefixtures("two_gpus")
def test_gpus_are_counted() -> None:
    assert available_devices() == ["cuda:0", "cuda:1", "cpu"]
    assert choose_device("auto") == torch.device("cuda:0")
    assert choose_device("cuda:1") == torch.device("cuda:1")
    with pytest.raises(DeviceError, match="not present"):
        choose_device("cuda:2")


def test_mps_is_preferred_to_the_cpu(monkeypatch: pytest.MonkeyPatch, bare: None) -> None:
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert choose_device("auto").type == "mps"


@pytest.mark.parametrize("able", [True, False])
def test_precision(able: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: able, raising=False)
    assert encoder_dtype(torch.device("cuda")) == torch.float16
    assert encoder_dtype(torch.device("mps")) == torch.float32
    assert encoder_dtype(torch.device("cpu")) == (torch.bfloat16 if able else torch.float32)


def test_a_torch_that_cannot_say_multiplies_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch.cpu, "_is_avx512_bf16_supported", raising=False)
    assert encoder_dtype(torch.device("cpu")) == torch.float32


def test_synchronisation() -> None:
    synchronize(torch.device("cpu"))
