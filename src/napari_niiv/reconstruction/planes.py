"""The planes along which the network can run; no torch."""

from __future__ import annotations

from typing import Literal

Planes = Literal["both", "xz", "yz"]
PLANES: dict[str, tuple[str, ...]] = {"both": ("xz", "yz"), "xz": ("xz",), "yz": ("yz",)}
