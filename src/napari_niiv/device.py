"""Choosing a computing device and the precision that suits it."""

from __future__ import annotations

import torch

from napari_niiv.errors import DeviceError


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
    supported = getattr(torch.cpu, "_is_avx512_bf16_supported", None)  # torch has no public name for it
    return bool(supported and supported())


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
