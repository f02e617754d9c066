"""What the training's widget needs of torch, off the GUI thread."""

from __future__ import annotations

import functools
import gc
import importlib

from napari_niiv.plugin.common.output_names import StatePath


def what_torch_knows() -> tuple[list[str], StatePath]:
    """The devices present, and where the state of an interrupted training lies."""
    from napari_niiv.device import available_devices
    from napari_niiv.training.state import state_path

    return available_devices(), state_path


@functools.cache  # once is enough
def warm_up() -> None:
    """Import what a training would, and have the garbage that leaves collected: 0.2 s that would hold the viewer up."""
    for name in ("napari_niiv.training.train", "torch._dynamo"):  # the latter at an optimiser's first step
        importlib.import_module(name)
    gc.collect()
