"""Checkpoints: one safetensors file, the tensors and a JSON card; those of the reference code can be read too."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from napari_niiv.device import choose_device
from napari_niiv.errors import CheckpointError, OutputError
from napari_niiv.io.write import whole_file
from napari_niiv.models.architecture import Architecture
from napari_niiv.models.card import FORMAT_VERSION, Card
from napari_niiv.models.catalog import checkpoint_path
from napari_niiv.models.niiv import Niiv
from napari_niiv.models.reference import is_pickle, read_reference

_CARD_KEY = "napari_niiv"


def load_model(name: str | os.PathLike[str] = "em", device: str = "auto") -> Niiv:
    """Load a checkpoint, ready for use.

    Parameters
    ----------
    name : str or path
        A bundled name ("em") or the path of a checkpoint; also one of the paper's reference code ("model_latest.pth"),
        which is read without running what the pickle says.
    device : str
        "auto", "cpu", "mps", "cuda" or "cuda:N".

    Returns
    -------
    Niiv
        On the device, computing in the precision that suits it (float32 if of the reference code); its `card` is the
        checkpoint's.

    Raises
    ------
    CheckpointError
        If there is no such checkpoint, or it is truncated, of a later format or of another architecture, or a pickle
        that is not one of the reference code or could run code.
    DeviceError
        If the device is absent.
    """
    chosen = choose_device(device)
    path = checkpoint_path(name)
    card, tensors = _read(path)
    model = Niiv(card.architecture)
    expected = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    if expected != {key: tuple(value.shape) for key, value in tensors.items()}:
        raise CheckpointError(
            f"The weights in {path.name} do not fit the architecture in its card; get the checkpoint anew."
        )
    model.load_state_dict({key: value.float() for key, value in tensors.items()})
    model.card = card
    return model.place(chosen)


def save_model(model: Niiv, card: Card, path: str | os.PathLike[str], half: bool = False) -> None:
    """Write a checkpoint; it appears whole or not at all.

    Parameters
    ----------
    model : Niiv
    card : Card
    path : str or path
    half : bool
        Store the weights in half precision: a file of half the size, and pictures that differ by less than a grey
        level in a thousand.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    target = Path(path)
    dtype = torch.float16 if half else torch.float32
    tensors = {k: v.detach().to(dtype).cpu().contiguous() for k, v in model.state_dict().items()}
    try:
        with whole_file(target) as partial:
            partial.write_bytes(save(tensors, metadata={_CARD_KEY: card.model_dump_json()}))
    except (OSError, SafetensorError) as error:
        raise OutputError(f"The checkpoint cannot be written to {target} ({error}); choose another folder.") from error


def read_card(name: str | os.PathLike[str]) -> Card:
    """The card of a checkpoint, without loading its weights' values into a model; errors as `load_model`."""
    return _read(checkpoint_path(name), tensors=False)[0]


def _read(path: Path, tensors: bool = True) -> tuple[Card, dict[str, torch.Tensor]]:
    try:
        with safe_open(path, framework="pt") as file:
            text = (file.metadata() or {}).get(_CARD_KEY)
            weights = {key: file.get_tensor(key) for key in file.keys()} if tensors else {}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        try:
            pickled = is_pickle(path)
        except OSError as unreadable:
            raise CheckpointError(f"{path.name} cannot be read ({unreadable.strerror}).") from unreadable
        if not pickled:
            raise CheckpointError(f"{path.name} is truncated or not a checkpoint; get the file anew.") from error
        architecture, weights = read_reference(path)
        return _imported_card(path, architecture), weights
    if text is None:
        raise CheckpointError(f"{path.name} is a safetensors file of another program: it has no napari-niiv card.")
    return _parse_card(text, path.name), weights


def _imported_card(path: Path, architecture: Architecture) -> Card:
    return Card(
        name=path.stem,
        description="Imported from a checkpoint of the reference code of the niiv paper (Troidl et al.), which does "
        "not say what it was trained on.",
        architecture=architecture,
        licence="unknown",
    )


def _parse_card(text: str, name: str) -> Card:
    try:
        raw: dict[str, Any] = json.loads(text)
        version = raw.get("format_version")
    except (ValueError, AttributeError) as error:
        raise CheckpointError(f"The card of {name} is damaged; get the checkpoint anew.") from error
    if version != FORMAT_VERSION:
        raise CheckpointError(
            f"{name} has the format version {version}; this napari-niiv reads {FORMAT_VERSION}: update napari-niiv."
        )
    try:
        return Card.model_validate(raw)
    except ValidationError as error:
        where = ".".join(str(part) for part in error.errors()[0]["loc"])
        raise CheckpointError(
            f"The card of {name} describes a model that this napari-niiv does not know ({where}); update napari-niiv."
        ) from error
