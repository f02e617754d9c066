"""Files that are read and are no volumes: checkpoints, states of trainings, unfinished exports, what is remembered; to
be damaged, and tried as a user would.

Each kind has a writer and a trial. A trial says what must not happen, empty if it did not, and whether the file was
refused; of an export it is also a failure if a voxel of the output is another than that of the undamaged export.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import shutil
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

from napari_niiv.errors import NiivError, OutputError
from napari_niiv.export import ExportConfig, export
from napari_niiv.io.remembered import (
    Correction,
    open_remembered,
    recall,
    recall_checkpoint,
    recall_empty,
    recall_sections,
    remember,
    remember_checkpoint,
    remember_empty,
    remember_sections,
)
from napari_niiv.models.architecture import Architecture
from napari_niiv.models.card import Card
from napari_niiv.models.checkpoint import load_model, read_card, save_model
from napari_niiv.models.niiv import Niiv
from napari_niiv.sections.config import SectionsConfig
from napari_niiv.training.config import TrainingConfig
from napari_niiv.training.data.volumes import training_volumes
from napari_niiv.training.losses.dists import _read as read_vgg16
from napari_niiv.training.optimisation import Optimisation
from napari_niiv.training.plan import Plan, plan_architecture, plan_groups
from napari_niiv.training.processes import Processes
from napari_niiv.training.progress import Progress
from napari_niiv.training.stages import _stored_first
from napari_niiv.training.state import _checksum, load_state
from napari_niiv.volume import Volume

Tree = dict[str, bytes]
SMALL = {"context": 1, "features": 4, "blocks": 1, "samples": 4, "degree": 1}
EXPORT = {"chunk": 16, "shard": 1 << 12, "block": (4, 16)}
TRAINING: dict[str, Any] = {"steps": 20, "lateral": 16, "axial": 4, "batch": 1, "memory": 0.01, "device": "cpu"}


def small_model() -> Niiv:
    torch.manual_seed(0)
    model = Niiv(Architecture(**SMALL)).place("cpu")
    model.encoder.precision = torch.float32  # whatever the process that wrote the sample took
    return model


@functools.cache
def small_volume() -> Volume:
    """12 × 40 × 36 voxels, 4x."""
    z, y, x = np.mgrid[:12, :40, :36]
    values = 100 + 40 * np.sin(z) + 30 * np.cos(y / 3) + 30 * np.sin(x / 2 + z)
    return Volume(values.astype("u1"), voxel_size=(4.0, 1.0, 1.0), unit="micrometer", name="waves")


# writers


def write_checkpoint(path: Path) -> None:
    model = small_model()
    save_model(model, Card(name="small", architecture=model.architecture, metrics={"PSNR (dB)": 30.5}), path)


def reference_weights() -> dict[str, torch.Tensor]:
    shapes = {
        "encoder.head.0": (3, 1, 3, 3),
        "encoder.body.0.body.0": (3, 3, 3, 3),
        "encoder.body.0.body.2": (3, 3, 3, 3),
    }
    shapes |= {"encoder.body.1": (3, 3, 3, 3), "decoder.layers.0": (5, 12), "decoder.layers.2": (1, 5)}
    torch.manual_seed(0)
    weights = {f"{name}.weight": torch.randn(shape) for name, shape in shapes.items()}
    return weights | {f"{name}.bias": torch.randn(shape[0]) for name, shape in shapes.items()}


def write_pickle(path: Path, new: bool = True) -> None:
    state = reference_weights()
    parameters = [torch.nn.Parameter(value.clone()) for value in state.values()]
    optimizer = torch.optim.Adam(parameters)
    sum(p.sum() for p in parameters).backward()  # type: ignore[union-attr]
    optimizer.step()
    scheduler = torch.optim.lr_scheduler.MultiStepLR(optimizer, [2, 4, 4])
    held = {"epoch": 3, "model": state, "optimizer": optimizer.state_dict(), "scheduler": scheduler.state_dict()}
    torch.save(held, path, _use_new_zipfile_serialization=new)


def training_config(folder: Path) -> TrainingConfig:
    return TrainingConfig(output=folder / "model.safetensors", architecture=Architecture(**SMALL), **TRAINING)


@functools.cache
def training_plan(folder: Path) -> Plan:
    config = training_config(folder)
    usable, _ = training_volumes([small_volume()])
    groups, cpu = plan_groups(usable, config), torch.device("cpu")
    architecture = plan_architecture(groups, config, None, cpu)
    return Plan(config, groups, architecture, None, (), torch.nn.functional.l1_loss, cpu, Processes())


def optimisation_of(plan: Plan, stage: int) -> Optimisation:
    model = Niiv(plan.first_architecture if stage == 1 else plan.architecture)
    return Optimisation(model, plan.config.degradation, plan.loss, learning_rate=1e-4)


def write_training(path: Path) -> None:
    """Of the second stage, as it holds the first one's model too."""
    plan = training_plan(path.parent)
    progress = Progress(plan, None)
    progress.first = Niiv(plan.first_architecture)
    optimisation = optimisation_of(plan, 2)
    patches = torch.rand(2, plan.architecture.slices_seen, 16, 16)
    optimisation.step(lambda: patches, 4.0, 0.0)
    progress.begin_stage(2, optimisation)
    progress.best.keep_model(optimisation.average)
    progress.save()
    path.with_name("model.unfinished").rename(path)


def write_export(path: Path) -> None:
    """An export that was left half done."""
    events = export(small_volume(), small_model(), path.with_name("out.zarr"), ExportConfig(**EXPORT))
    unfinished = path.with_name("out.zarr.unfinished")
    for _ in events:
        journal = unfinished / "journal"
        if journal.exists() and len(journal.read_text().splitlines()) > 5:
            break
    events.close()
    unfinished.rename(path)
    for left in ("writing", "lock"):
        shutil.rmtree(path / left, ignore_errors=True)
        (path / left).unlink(missing_ok=True)


def write_remembered(path: Path) -> None:
    with state_in(path):
        for number in range(3):
            remember(f"https://host/{number}.zarr", Correction((4.0, 1.0, 0.5), "micrometer", "xyz"))
        remember_checkpoint("https://host/0.zarr", "em")
        remember_empty("https://host/0.zarr", (0.0, 255.0))
        remember_sections("https://host/0.zarr", {"bridge": False})
    (path / "volumes.json.lock").unlink(missing_ok=True)


STATES: dict[str, Callable[[Path], None]] = {
    "small.safetensors": write_checkpoint,
    "model_latest.pth": write_pickle,
    "old_latest.pth": lambda path: write_pickle(path, new=False),
    "training": write_training,
    "export": write_export,
    "remembered": write_remembered,
}
"""Writers by the names of what they write."""


def metadata_of(name: str, tree: Tree) -> Tree:
    """The files of a sample that are damaged; shards of an export have no checksum but their length."""
    return {k: v for k, v in tree.items() if name != "export" or "/c/" not in k}


# checksums, as one who wants to harm would mend them


def resigned(name: str, tree: Tree) -> Tree:
    with contextlib.suppress(Exception):
        if name == "training":
            content = tree[""]
            header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
            metadata, tensors = header["__metadata__"], load_tensors(content)
            metadata["sha256"] = _checksum(metadata["napari_niiv_training"], tensors)
            return {"": save_tensors(tensors, metadata=metadata)}
        if name == "export":
            return {**tree, **_signed_plan(tree), **_signed_journal(tree)}
    return tree


def _signed_plan(tree: Tree) -> Tree:
    with contextlib.suppress(Exception):
        facts = json.loads(tree["plan.json"])
        facts.pop("sha256", None)
        checksum = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
        return {"plan.json": json.dumps({**facts, "sha256": checksum}).encode()}
    return {}


def _signed_journal(tree: Tree) -> Tree:
    lines = []
    for line in tree.get("journal", b"").split(b"\n")[:-1]:
        text = line.rpartition(b" ")[0]
        lines.append(text + b" %08x\n" % zlib.crc32(text))
    return {"journal": b"".join(lines)} if lines else {}


# trials


@contextlib.contextmanager
def state_in(folder: Path) -> Iterator[None]:
    before = os.environ.get("NAPARI_NIIV_STATE")
    os.environ["NAPARI_NIIV_STATE"] = str(folder)
    try:
        yield
    finally:
        os.environ.pop("NAPARI_NIIV_STATE")
        if before is not None:
            os.environ["NAPARI_NIIV_STATE"] = before


def try_checkpoint(path: Path, pristine: Path) -> str:
    read_card(path)
    model = load_model(path, "cpu")
    slices = torch.rand(1, model.architecture.slices_seen, 4 * model.cell[1], 4)
    with torch.inference_mode():
        model.encode(slices, 4.0)
    return "" if all(bool(p.isfinite().all()) for p in model.parameters()) else "weights that are not finite"


def try_pickle(path: Path, pristine: Path) -> str:
    with contextlib.suppress(NiivError):
        read_vgg16(path)
    return try_checkpoint(path, pristine)


def try_training(path: Path, pristine: Path) -> str:
    plan = training_plan(pristine.parent)
    shutil.copyfile(path, path.with_name("model.unfinished"))
    config = training_config(path.parent)
    state = load_state(config, plan.volume_names)
    progress = Progress(plan, state)
    if state.stage == 2:
        _stored_first(plan, state)
    progress.begin_stage(state.stage, optimisation_of(plan, state.stage))
    progress.optimisation.check_progress()  # type: ignore[union-attr]
    return ""


@functools.cache
def whole_export(folder: Path) -> Tree:
    """The voxels of all levels of the undamaged export, from the beginning."""
    target = folder / "whole.zarr"
    for _ in export(small_volume(), small_model(), target, ExportConfig(**EXPORT)):
        pass
    voxels = voxels_of(target, [level.name for level in target.iterdir() if level.is_dir()])
    shutil.rmtree(target)
    return voxels


def voxels_of(target: Path, levels: Iterable[str]) -> Tree:
    import zarr

    return {level: zarr.open_array(target / level, mode="r")[...].tobytes() for level in levels}


def try_export(path: Path, pristine: Path) -> str:
    expected = whole_export(pristine.parent)
    unfinished, target = path.with_name("out.zarr.unfinished"), path.with_name("out.zarr")
    path.rename(unfinished)
    for shard in (pristine / "data.zarr").rglob("c/**/*"):
        place = unfinished / shard.relative_to(pristine)
        if shard.is_file() and not place.exists():
            with contextlib.suppress(OSError):  # of a level that is a file
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(shard, place)
    if not unfinished.is_dir():
        return ""
    with contextlib.suppress(OutputError, ValueError):  # as the window of exports does
        from napari_niiv.export.store import Unfinished

        ExportConfig.model_validate({**Unfinished(target).settings(), "resume": True})
    for _ in export(small_volume(), small_model(), target, ExportConfig(**EXPORT, resume=True)):
        pass
    return "" if voxels_of(target, expected) == expected else "other voxels"


def try_remembered(path: Path, pristine: Path) -> str:
    with state_in(path):
        file = path.parent / "a.npy"
        np.save(file, small_volume().array)
        for url in ("https://host/0.zarr", "https://host/1.zarr", str(file)):
            recall(url), recall_checkpoint(url), recall_empty(url)
            SectionsConfig.recalled(recall_sections(url))
        open_remembered(file)
        correction = Correction((4.0, 1.0, 1.0), "nanometer")
        remember(file, correction)
        return "" if recall(file) == correction else "what was remembered is not recalled"


TRIALS: dict[str, Callable[[Path, Path], str]] = {
    "small.safetensors": try_checkpoint,
    "model_latest.pth": try_pickle,
    "old_latest.pth": try_pickle,
    "training": try_training,
    "export": try_export,
    "remembered": try_remembered,
}
