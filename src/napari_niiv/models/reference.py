"""Checkpoints of the niiv authors' reference code: pickled state dicts, read without running what the pickle says."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from torch import Tensor

from napari_niiv.errors import CheckpointError
from napari_niiv.models.architecture import Architecture
from napari_niiv.models.pickled_weights import MoreThanWeights, OldTorch, load_pickle
from napari_niiv.models.weight_files import DamagedWeights, finite


def read_reference(path: Path) -> tuple[Architecture, dict[str, Tensor]]:
    """Architecture and weights of a checkpoint of the reference code.

    Parameters
    ----------
    path : Path
        What `torch.save` wrote: a state dict, or a dict that holds one under "model".

    Returns
    -------
    architecture : Architecture
        Deduced from the shapes; the scale of the residual blocks is not in the file and taken as 1.
    tensors : dict of Tensor
        The state dict of `Niiv(architecture)`, float32.

    Raises
    ------
    CheckpointError
        If the pickle holds more than weights, is damaged or of another model, or this torch is too old to read it.
    """
    content = _load(path)
    state = content.get("model", content) if isinstance(content, dict) else None
    if not isinstance(state, dict) or not all(isinstance(key, str) for key in state):
        raise _another(path, "it holds no weights by name")
    state = {key.removeprefix("module."): value for key, value in state.items()}
    try:
        architecture = _deduce(state)
    except KeyError as error:
        raise _another(path, f"{error.args[0]} is missing") from error
    except (ValidationError, IndexError, AttributeError) as error:
        raise _another(path, "its layers have impossible sizes") from error
    names = _names(architecture)
    tensors: dict[str, Tensor] = {}
    for theirs, (ours, shape) in names.items():
        value = state.get(theirs)
        if value is None:
            raise _another(path, f"{theirs} is missing")
        if not (isinstance(value, Tensor) and value.is_floating_point() and tuple(value.shape) == shape):
            raise _another(path, f"{theirs} is not {' × '.join(map(str, shape))} numbers")
        tensors[ours] = value.float()[None] if ours.startswith("encoder.") else value.float()
    if unknown := state.keys() - names.keys():
        raise _another(path, f"{min(unknown)[:40]!r} is not part of it")
    if not finite(tensors):
        raise _another(path, "some of its weights are not finite")
    return architecture, tensors


def _load(path: Path) -> Any:
    try:
        return load_pickle(path)
    except OldTorch as error:
        raise CheckpointError(str(error)) from error
    except MoreThanWeights as error:
        raise CheckpointError(
            f"{path.name} is a pickle that holds more than weights and could run code on your computer, so it is "
            "not loaded; get a file with the state dict alone."
        ) from error
    except (DamagedWeights, OSError) as error:
        raise _another(path, "it is damaged, or not from torch.save") from error


def _another(path: Path, why: str) -> CheckpointError:
    return CheckpointError(
        f"{path.name} is a pickle but not a checkpoint of the niiv reference code ({why}); choose another checkpoint."
    )


def _deduce(state: dict[str, Any]) -> Architecture:
    """From the shapes of the first layers and the number of layers; which layers those are is not checked here."""
    features = state["encoder.head.0.weight"].shape[0]
    first = state["decoder.layers.0.weight"].shape
    return Architecture(
        decoder="reference",
        context=0,
        features=features,
        blocks=_count(state, r"encoder\.body\.\d+\.body\.0\.weight"),
        latent=features,
        mlp_width=first[0],
        mlp_layers=_count(state, r"decoder\.layers\.\d+\.weight"),
        bands=(first[1] - features - 1) // 4,
        anisotropy_range=(1.0, 16.0),  # it is not told
        degree=0,
    )


def _count(state: dict[str, Any], pattern: str) -> int:
    return sum(re.fullmatch(pattern, key) is not None for key in state)


def _names(a: Architecture) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Of each tensor of theirs: our name for it and its shape."""
    convolutions = [
        "encoder.head.0",
        *(f"encoder.body.{block}.body.{layer}" for block in range(a.blocks) for layer in (0, 2)),
        f"encoder.body.{a.blocks}",
    ]
    names: dict[str, tuple[str, tuple[int, ...]]] = {}
    for i, name in enumerate(convolutions):
        names[f"{name}.weight"] = f"encoder.kernels.{i}", (a.features, a.features if i else 1, 3, 3)
        names[f"{name}.bias"] = f"encoder.biases.{i}", (a.features,)
    widths = [a.features + 1 + 4 * a.bands, *[a.mlp_width] * (a.mlp_layers - 1), 1]
    for i, (fan_in, fan_out) in enumerate(pairwise(widths)):
        names[f"decoder.layers.{2 * i}.weight"] = f"decoder.mlp.{2 * i}.weight", (fan_out, fan_in)
        names[f"decoder.layers.{2 * i}.bias"] = f"decoder.mlp.{2 * i}.bias", (fan_out,)
    return names
