"""What a trained checkpoint says of itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from napari_niiv._version import __version__
from napari_niiv.models.architecture import Architecture
from napari_niiv.models.card import Card, VolumeCredit
from napari_niiv.training.config import TrainingConfig
from napari_niiv.training.plan import Group


def training_card(
    config: TrainingConfig,
    architecture: Architecture,
    groups: Sequence[Group],
    before: Card | None,
    metrics: Mapping[str, float],
) -> Card:
    """The card of a checkpoint trained on the volumes of some groups.

    Parameters
    ----------
    config : TrainingConfig
    architecture : Architecture
    groups : sequence of Group
    before : Card or None
        Of the checkpoint that the training went on from: its volumes, licence and attribution stay true.
    metrics : mapping of str to float
    """
    names = dict.fromkeys(s.volume.name for g in groups for s in g.subjects)
    return Card(
        name=config.output.stem,
        description="Self-supervised on the volumes named here"
        + (f", from the checkpoint {before.name}." if before else "."),
        architecture=architecture,
        degradation=config.degradation,
        loss=config.loss,
        training_volumes=(
            *(before.training_volumes if before else ()),
            *(VolumeCredit(name=name) for name in names),
        ),
        licence=before.licence if before else "",
        attribution=before.attribution if before else "",
        metrics=dict(metrics),
        software_version=__version__,
    )
