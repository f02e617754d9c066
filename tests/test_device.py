from __future__ import annotations

import numpy as np
import pytest
import torch

from napari_niiv import device
from napari_niiv.device import available_devices, choose_device, encoder_dtype, synchronize, uploaded
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


@pytest.fixture(autouse=True)
def one_dnn(monkeypatch: pytest.MonkeyPatch) -> None:
    """It uses what there is, whatever CPU the tests run on."""
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: True, raising=False)


@pytest.mark.parametrize("able", [True, False])
def test_precision(able: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: able, raising=False)
    assert encoder_dtype(torch.device("cuda")) == torch.float16
    assert encoder_dtype(torch.device("mps")) == torch.float32
    assert encoder_dtype(torch.device("cpu")) == (torch.bfloat16 if able else torch.float32)


def test_a_cpu_may_multiply_bfloat16_in_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: True, raising=False)
    assert encoder_dtype(torch.device("cpu")) == torch.bfloat16


def test_what_one_dnn_may_not_use_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: True, raising=False)
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: False, raising=False)
    assert encoder_dtype(torch.device("cpu")) == torch.float32


@pytest.mark.parametrize(("flags", "able"), [("avx2 avx512f", False), ("avx512_bf16", True), ("amx_bf16 avx2", True)])
def test_where_torch_cannot_say_linux_does(monkeypatch: pytest.MonkeyPatch, tmp_path, flags: str, able: bool) -> None:
    for unit in ("avx512_bf16", "amx_tile"):
        monkeypatch.delattr(torch.cpu, f"_is_{unit}_supported", raising=False)
    listing = tmp_path / "cpuinfo"
    listing.write_text(f"processor : 0\nflags : fpu {flags}\n\nprocessor : 1\nflags : fpu\n")
    monkeypatch.setattr(device, "_CPU_LISTING", listing)
    assert encoder_dtype(torch.device("cpu")) == (torch.bfloat16 if able else torch.float32)
    listing.unlink()
    assert encoder_dtype(torch.device("cpu")) == torch.float32


@pytest.mark.parametrize("kind", ["u1", "i1", "i2", "f4", ">i2"])
def test_an_array_goes_to_a_device_as_it_is(kind: str) -> None:
    values = np.arange(12).reshape(3, 4).astype(kind)[:, ::2]
    values.flags.writeable = False
    for name in available_devices():
        there = uploaded(values.astype(values.dtype.newbyteorder("="), copy=False), torch.device(name))
        np.testing.assert_array_equal(there.cpu().numpy(), values)


def test_synchronisation() -> None:
    synchronize(torch.device("cpu"))
