"""What a trained checkpoint says of itself."""

from __future__ import annotations

from collections.abc import Mapping

from napari_niiv._version import __version__
from napari_niiv.models.architecture import Architecture
from napari_niiv.models.card import Card, VolumeCredit
from napari_niiv.training.plan import Plan

_MOST_LISTED = 3  # volumes, in the description; the card has all


def training_card(plan: Plan, architecture: Architecture, metrics: Mapping[str, float]) -> Card:
    """The card of a checkpoint, from what the training was planned to be.

    Of the checkpoint that the training went on from, volumes, licence and attribution stay true.
    """
    config, before = plan.config, plan.init.card if plan.init is not None else None
    names = dict.fromkeys(volume.name for group in plan.groups for volume in group.volumes)
    more = len(names) - _MOST_LISTED
    listed = ", ".join(list(names)[:_MOST_LISTED]) + (f" and {more} more" if more > 0 else "")
    return Card(
        name=config.output.stem,
        description=f"Self-supervised on {listed}" + (f", from the checkpoint {before.name}." if before else "."),
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
