"""Choosing a computing device and the precision that suits it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_niiv.errors import DeviceError

_CPU_LISTING = Path("/proc/cpuinfo")
_MOST_PINNED = 128 << 20  # bytes: memory of this kind is kept once it was used, and cannot be swapped out


def choose_device(name: str = "auto") -> torch.device:
    """Resolve a device name.

    Parameters
    ----------
    name : str
        "auto" (CUDA, else Apple's MPS, else CPU), "cpu", "mps", "cuda" or "cuda:N".

    Raises
    ------
    DeviceError
        If the name is unknown or the device is absent.
    """
    if name == "auto":
        return torch.device(available_devices()[0])
    try:
        device = torch.device(name)
    except RuntimeError:
        device = None
    if device is None or device.type not in ("cpu", "cuda", "mps"):
        raise DeviceError(f"There is no device {name!r}; use one of: auto, {', '.join(available_devices())}.")
    present = {
        "cpu": True,
        "cuda": torch.cuda.is_available() and (device.index or 0) < torch.cuda.device_count(),
        "mps": torch.backends.mps.is_available(),
    }[device.type]
    if not present:
        raise DeviceError(
            f"The device {name!r} is not present on this computer; use one of: auto, {', '.join(available_devices())}."
        )
    return device


def available_devices() -> list[str]:
    """Names of the devices present, fastest first."""
    names = []
    if torch.cuda.is_available():
        count = torch.cuda.device_count()
        names += ["cuda"] if count == 1 else [f"cuda:{i}" for i in range(count)]
    if torch.backends.mps.is_available():
        names.append("mps")
    return [*names, "cpu"]


def encoder_dtype(device: torch.device) -> torch.dtype:
    """Half precision where it is faster and exact enough: CUDA, and CPUs that multiply bfloat16; else float32."""
    if device.type == "cuda":
        return torch.float16
    return torch.bfloat16 if device.type == "cpu" and _multiplies_bfloat16() else torch.float32


def training_precision(device: torch.device) -> torch.autocast:
    """Mixed precision with bfloat16 where it is faster: on CUDA, and on CPUs that multiply it."""
    faster = device.type == "cuda" or (device.type == "cpu" and _multiplies_bfloat16())
    return torch.autocast(device.type, torch.bfloat16, enabled=faster, cache_enabled=False)


def _multiplies_bfloat16() -> bool:
    """Whether the CPU has instructions for it; where torch would only imitate them it is slower than float32.

    torch has no public names for it. What the CPU has oneDNN may be told not to use (ONEDNN_MAX_CPU_ISA).
    """
    used = getattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", None)
    if used is not None and not used():
        return False
    asked = [getattr(torch.cpu, f"_is_{unit}_supported", None) for unit in ("avx512_bf16", "amx_tile")]
    if any(asked):
        return any(supported() for supported in asked if supported)
    return bool({"avx512_bf16", "amx_bf16"} & _linux_cpu_flags())


def _linux_cpu_flags() -> set[str]:
    """What Linux says of the CPU; nothing on other systems."""
    lines = _CPU_LISTING.read_text(encoding="utf-8").splitlines() if _CPU_LISTING.is_file() else []
    return next((set(line.split(":")[1].split()) for line in lines if line.startswith("flags")), set())


def uploaded(values: NDArray[Any], device: torch.device) -> Tensor:
    """An array as a tensor on a device; on the CPU it may share the array's memory.

    What goes to CUDA goes by way of memory that the driver reads itself, so the host need not wait.
    """
    if device.type != "cuda" or values.nbytes > _MOST_PINNED:
        return torch.from_numpy(np.require(values, None, ["C", "W"])).to(device)  # torch wants what can be written
    kind = torch.from_numpy(np.empty(0, values.dtype)).dtype
    pinned = torch.empty(values.shape, dtype=kind, pin_memory=True)
    pinned.numpy()[...] = values
    return pinned.to(device, non_blocking=True)


def downloaded(values: Tensor) -> NDArray[Any]:
    """A tensor as an array on the host; of the CPU it may be the tensor's own memory.

    What comes from CUDA comes by way of memory that the driver writes itself, several times as fast.
    """
    if values.device.type != "cuda" or values.nbytes > _MOST_PINNED:
        return np.asarray(values.cpu().numpy())
    pinned = torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
    return np.asarray(pinned.copy_(values).numpy())


def synchronize(device: torch.device) -> None:
    """Wait for a device to finish; needed before reading a clock."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def out_of_memory(error: Exception) -> bool:
    """Only CUDA has a type of its own for it; MPS and the CPU say it in words."""
    words = ("out of memory", "can't allocate memory", "not enough memory")
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or any(w in str(error) for w in words)
