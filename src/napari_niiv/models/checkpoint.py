"""Checkpoints: one safetensors file, the tensors and a JSON card; those of the reference code can be read too."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import save

from napari_niiv import strict_json
from napari_niiv.device import choose_device
from napari_niiv.errors import CheckpointError, OutputError, reason_of
from napari_niiv.io.write import whole_file
from napari_niiv.models.architecture import Architecture
from napari_niiv.models.card import FORMAT_VERSION, Card
from napari_niiv.models.catalog import CARD_KEY, checkpoint_path
from napari_niiv.models.niiv import Niiv, shapes_of
from napari_niiv.models.pickled_weights import is_pickle
from napari_niiv.models.reference import read_reference
from napari_niiv.models.weight_files import DamagedWeights, WeightFile, finite, open_weights


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
    card, tensors = _read(checkpoint_path(name))
    model = Niiv(card.architecture)
    model.load_state_dict(tensors)
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
            partial.write_bytes(save(tensors, metadata={CARD_KEY: card.model_dump_json()}))
    except (OSError, SafetensorError) as error:
        raise OutputError(
            f"The checkpoint cannot be written to {target} ({reason_of(error)}); choose another folder."
        ) from error


def read_card(name: str | os.PathLike[str]) -> Card:
    """The card of a checkpoint, without loading its weights' values into a model; errors as `load_model`."""
    return _read(checkpoint_path(name), values=False)[0]


def _read(path: Path, values: bool = True) -> tuple[Card, dict[str, torch.Tensor]]:
    """Card and weights, float32; of the latter, their names and shapes are those of the architecture in the card."""
    try:
        with open_weights(path) as file:
            card = _card_that_fits(file, path.name)
            weights = {key: value.float() for key, value in file.tensors().items()} if values else {}
    except OSError as error:
        raise CheckpointError(f"{path.name} cannot be read ({error.strerror or error}).") from error
    except DamagedWeights as error:
        if not is_pickle(path):
            raise CheckpointError(f"{path.name} is truncated or not a checkpoint; get the file anew.") from error
        architecture, weights = read_reference(path)
        return _imported_card(path, architecture), weights
    if not finite(weights):
        raise CheckpointError(f"{path.name} is damaged: some of its weights are not finite; get the file anew.")
    return card, weights


def _card_that_fits(file: WeightFile, name: str) -> Card:
    """The card in a file, whose weights are found to be those of its architecture; no network is made for that."""
    if (text := file.metadata.get(CARD_KEY)) is None:
        raise CheckpointError(f"{name} is a safetensors file of another program: it has no napari-niiv card.")
    card = _parse_card(text, name)
    if not (all(stored.floating for stored in file.stored.values()) and file.fits(shapes_of(card.architecture))):
        raise CheckpointError(
            f"The weights in {name} do not fit the architecture in its card; get the checkpoint anew."
        )
    return card


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
        raw: dict[str, Any] = strict_json.parse(text)
        version = raw.get("format_version")
    except (ValueError, AttributeError) as error:
        raise CheckpointError(f"The card of {name} is damaged; get the checkpoint anew.") from error
    if version != FORMAT_VERSION:
        raise CheckpointError(
            f"{name} has the format version {str(version)[:20]}; this napari-niiv reads {FORMAT_VERSION}: update "
            "napari-niiv."
        )
    try:
        return Card.model_validate(raw)
    except ValidationError as error:
        where = ".".join(str(part) for part in error.errors()[0]["loc"])[:80]
        raise CheckpointError(
            f"The card of {name} describes a model that this napari-niiv does not know ({where}); update napari-niiv."
        ) from error
