"""Checkpoints of the paper's reference code: same output, and one sentence for what cannot be read."""

from __future__ import annotations

import itertools
import math
import os
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from napari_niiv.errors import CheckpointError
from napari_niiv.geometry import Sampling
from napari_niiv.models import decoders
from napari_niiv.models.checkpoint import load_model, read_card, save_model
from napari_niiv.models.decoders import Frame, cell_centres

Weights = dict[str, Tensor]


def weights_of(features: int = 6, blocks: int = 2, hidden: int = 3, width: int = 16, octaves: int = 2) -> Weights:
    """Random weights under the names of the reference code, whose answers vary inside 0 … 1."""
    generator = torch.Generator().manual_seed(0)
    state: Weights = {}

    def layer(name: str, *shape: int) -> None:
        fan_in = math.prod(shape[1:])
        state[f"{name}.weight"] = torch.randn(shape, generator=generator) / fan_in**0.5
        state[f"{name}.bias"] = 0.1 * torch.randn(shape[:1], generator=generator)

    layer("encoder.head.0", features, 1, 3, 3)
    for block, inner in itertools.product(range(blocks), (0, 2)):
        layer(f"encoder.body.{block}.body.{inner}", features, features, 3, 3)
    layer(f"encoder.body.{blocks}", features, features, 3, 3)
    widths = [features + 1 + 4 * octaves] + [width] * hidden
    for i, (fan_in, fan_out) in enumerate(itertools.pairwise(widths)):
        layer(f"decoder.layers.{2 * i}", fan_out, fan_in)
    last = f"decoder.layers.{2 * hidden}"
    layer(last, 1, width)
    answers = published(state, images(2, 1, 24, 6), grid(24, 24))
    state[f"{last}.weight"] *= 0.2 / answers.std()
    state[f"{last}.bias"] += 0.5 - published(state, images(2, 1, 24, 6), grid(24, 24)).mean()
    return state


def published(state: Weights, image: Tensor, positions: Tensor) -> Tensor:
    """The method as published, but for its clamp, at positions (Q, 2) in -1 … 1 of images (B, 1, lateral, axial)."""

    def convolved(x: Tensor, name: str) -> Tensor:
        return F.conv2d(x, state[f"{name}.weight"], state[f"{name}.bias"], padding=1)

    head = y = convolved(image, "encoder.head.0")
    block = 0
    while f"encoder.body.{block}.body.0.weight" in state:
        inner = convolved(y, f"encoder.body.{block}.body.0").relu()
        y = y + convolved(inner, f"encoder.body.{block}.body.2")
        block += 1
    latent = convolved(y, f"encoder.body.{block}") + head

    batch, _, *size = image.shape
    cells = grid(*size).T.reshape(2, *size)
    maps = torch.cat([latent, image, cells.expand(batch, -1, -1, -1)], 1)
    where = positions.flip(-1).expand(batch, 1, -1, -1)
    read = F.grid_sample(maps, where, mode="bilinear", padding_mode="zeros", align_corners=False)[:, :, 0].mT
    code, coordinates = read[..., :-2], (read[..., -2:] + 1) / 2

    octaves = (state["decoder.layers.0.weight"].shape[1] - code.shape[-1]) // 4
    waves = [
        wave(2 * math.pi * 2**octave * coordinates[..., axis])
        for axis in (0, 1)
        for octave in range(octaves)
        for wave in (torch.sin, torch.cos)
    ]
    y = torch.cat([code, *(w[..., None] for w in waves)], -1)
    last = max(int(key.split(".")[2]) for key in state if key.startswith("decoder"))
    for i in range(0, last + 1, 2):
        y = F.linear(y, state[f"decoder.layers.{i}.weight"], state[f"decoder.layers.{i}.bias"])
        y = y.relu() if i < last else y
    return y[..., 0]


def grid(*size: int) -> Tensor:
    """Centres of the cells of a picture whose extent is -1 … 1: (lateral · axial, 2)."""
    return torch.cartesian_prod(*((2 * torch.arange(n) + 1) / n - 1 for n in size))


def picture(state: Weights, image: Tensor, count: int | None = None) -> Tensor:
    """What the reference code makes of each image, square unless `count` is given: (B, lateral, count)."""
    size = (image.shape[2], count or image.shape[2])
    return published(state, image, grid(*size)).clamp(0, 1).view(-1, *size)


def images(*shape: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def saved(tmp_path: Path) -> Callable[[object], Path]:
    def save(held: object) -> Path:
        torch.save(held, tmp_path / "model_latest.pth")
        return tmp_path / "model_latest.pth"

    return save


SIZES = [
    {},
    {"features": 64, "blocks": 16, "hidden": 5, "width": 256},  # the code's default
    {"features": 32, "blocks": 2, "hidden": 2, "width": 256},  # its "tiny" configuration
    {"features": 3, "blocks": 1, "hidden": 1, "width": 5, "octaves": 0},
    {"octaves": 5},
]


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("factor", [4, 8])
@pytest.mark.parametrize("batch", [1, 3])
def test_it_answers_as_the_reference_code(saved, sizes: dict[str, int], factor: int, batch: int) -> None:
    state, image = weights_of(**sizes), images(batch, 1, 32, 32 // factor)
    expected = picture(state, image)
    assert ((expected > 0) & (expected < 1)).float().mean() > 0.8
    assert expected.std() > 0.05
    model = load_model(saved({"model": state}), "cpu")
    with torch.inference_mode():
        result = model(image, float(factor), Sampling.covering(32 // factor, 32))
    torch.testing.assert_close(result, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("shape", [(20, 7), (1, 5), (5, 1), (1, 1)])
@pytest.mark.parametrize("count", [9, 31])
def test_slices_that_are_not_square(saved, shape: tuple[int, int], count: int) -> None:
    state, image = weights_of(), images(2, 1, *shape)
    with torch.inference_mode():
        result = load_model(saved(state), "cpu")(image, 3.7, Sampling.covering(shape[1], count))
    torch.testing.assert_close(result, picture(state, image, count), atol=1e-5, rtol=0)


def test_a_piece_with_its_frame_is_a_part_of_the_whole(saved, monkeypatch: pytest.MonkeyPatch) -> None:
    model, image = load_model(saved(weights_of()), "cpu"), images(2, 1, 20, 12)
    axial = Sampling.covering(12, 50)
    with torch.inference_mode():
        latent = model.encode(image, 4.0)
        whole = model.decode(latent, image[:, 0], axial, 4.0)
        monkeypatch.setitem(decoders._POINTS, "cpu", 100)  # and in several portions
        for (z0, z1), first, count in (((0, 5), 0, 15), ((3, 9), 17, 18), ((7, 12), 34, 16)):
            piece = (slice(4, 15), slice(z0, z1))
            result = model.decode(
                latent[:, :, *piece],
                image[:, 0, *piece],
                axial.part(first, count).relative_to(z0),
                4.0,
                Frame(z0, 12, cell_centres(4, 15, 20)[None]),
            )
            torch.testing.assert_close(result, whole[:, 4:15, first : first + count], atol=1e-5, rtol=0)


def test_the_lateral_coordinate_of_each_slice_is_its_own(saved) -> None:
    model, image = load_model(saved(weights_of()), "cpu"), images(1, 1, 6, 5).expand(2, -1, -1, -1)
    places = torch.stack([cell_centres(0, 6, 6), cell_centres(2, 3, 6).expand(6)])
    with torch.inference_mode():
        latent = model.encode(image, 4.0)
        axial = Sampling.covering(5, 20)
        own, constant = model.decode(latent, image[:, 0], axial, 4.0, Frame(0, 5, places))
        torch.testing.assert_close(own, model.decode(latent, image[:, 0], axial, 4.0)[0], atol=1e-6, rtol=0)
    torch.testing.assert_close(constant[2], own[2], atol=1e-6, rtol=0)
    assert (constant - own).abs().max() > 1e-3


def test_the_halo_is_the_receptive_field_inside(saved) -> None:
    model = load_model(saved(weights_of(blocks=1)), "cpu")
    assert model.halo == 4
    x = images(1, 1, 30, 20)
    changed = x.clone()
    changed[:, :, :10] = 0
    with torch.inference_mode():
        difference = (model.encode(x, 4.0) - model.encode(changed, 4.0)).abs().amax((0, 1, 3))
    assert difference[10 + 3] > 0
    assert difference[10 + 4 :].max() == 0


@pytest.mark.parametrize("variant", ["model", "bare", "module", "module inside", "training", "half", "old format"])
def test_variants_of_the_file(saved, variant: str) -> None:
    state = weights_of()
    prefixed = {f"module.{key}": value for key, value in state.items()}
    expected = load_model(saved(state), "cpu")
    parameters = [torch.nn.Parameter(value.clone()) for value in state.values()]
    optimizer = torch.optim.Adam(parameters)
    sum(p.sum() for p in parameters).backward()
    optimizer.step()
    scheduler = torch.optim.lr_scheduler.MultiStepLR(optimizer, [2, 4, 4], gamma=0.5)
    path = saved(
        {
            "model": {"model": state},
            "bare": state,
            "module": prefixed,
            "module inside": {"model": prefixed, "epoch": 3},
            "training": {
                "epoch": 12,
                "model": state,
                "optimizer": optimizer.state_dict(),
                "scheduler": scheduler.state_dict(),
            },
            "half": {key: value.half() for key, value in state.items()},
            "old format": None,
        }[variant]
    )
    if variant == "old format":
        torch.save({"model": state}, path, _use_new_zipfile_serialization=False)
    model = load_model(path, "cpu")
    assert not model.training
    for key, value in model.state_dict().items():
        assert value.dtype == torch.float32
        close = 1e-3 if variant == "half" else 0
        torch.testing.assert_close(value, expected.state_dict()[key], atol=close, rtol=close)


def test_the_card_says_where_it_comes_from(saved) -> None:
    card = read_card(saved({"model": weights_of(features=7, blocks=4, hidden=2, width=9, octaves=3)}))
    assert card.name == "model_latest"
    assert "reference code" in card.description
    assert card.licence == "unknown"
    a = card.architecture
    assert (a.decoder, a.context, a.degree) == ("reference", 0, 0)
    assert (a.features, a.blocks, a.mlp_layers, a.mlp_width, a.bands) == (7, 4, 3, 9, 3)


def test_it_is_saved_as_safetensors_and_read_back(saved, tmp_path: Path) -> None:
    model = load_model(saved({"model": weights_of()}), "cpu")
    save_model(model, model.card, tmp_path / "imported.safetensors")
    again = load_model(tmp_path / "imported.safetensors", "cpu")
    assert again.card == model.card
    image = images(2, 1, 16, 4)
    with torch.inference_mode():
        axial = Sampling.covering(4, 16)
        torch.testing.assert_close(again(image, 4.0, axial), model(image, 4.0, axial), atol=0, rtol=0)


@pytest.mark.parametrize("anisotropy", [1.0, 1.7, 16.0, 30.0])
def test_it_is_not_told_the_anisotropy(saved, anisotropy: float) -> None:
    model, image = load_model(saved(weights_of()), "cpu"), images(1, 1, 9, 5)
    with torch.inference_mode():
        axial = Sampling.covering(5, 20)
        torch.testing.assert_close(model(image, anisotropy, axial), model(image, 4.0, axial), atol=0, rtol=0)


def complaint(path: Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        load_model(path, "cpu")
    with pytest.raises(CheckpointError):
        read_card(path)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith("model_latest.pth is a pickle")
    assert message.endswith(".")
    assert len(message) < 250
    return message


def without(state: Weights, key: str) -> Weights:
    return {k: v for k, v in state.items() if k != key}


WRONG = {
    "no dict": (lambda s: [1, 2], "no weights by name"),
    "a tensor": (lambda s: torch.zeros(3), "no weights by name"),
    "model no dict": (lambda s: {"model": 3}, "no weights by name"),
    "names no text": (lambda s: {0: torch.zeros(2)}, "no weights by name"),
    "empty": (lambda s: {}, "encoder.head.0.weight is missing"),
    "another network": (lambda s: {"a": torch.zeros(2)}, "encoder.head.0.weight is missing"),
    "no decoder": (lambda s: without(s, "decoder.layers.0.weight"), "decoder.layers.0.weight is missing"),
    "no bias": (lambda s: without(s, "encoder.body.1.body.2.bias"), "encoder.body.1.body.2.bias is missing"),
    "no block": (lambda s: without(s, "encoder.body.0.body.0.weight"), "encoder.body"),
    "no last layer": (
        lambda s: without(s, "decoder.layers.6.weight"),
        "decoder.layers.4.weight is not 1 × 16",
    ),
    "a tail": (
        lambda s: {**s, "encoder.tail.0.weight": torch.zeros(1)},
        "'encoder.tail.0.weight' is not part",
    ),
    "a long name": (lambda s: {**s, "\n" * 999: torch.zeros(1)}, "is not part"),
    "three colours": (
        lambda s: {**s, "encoder.head.0.weight": torch.zeros(6, 3, 3, 3)},
        "encoder.head.0.weight is not 6 × 1 × 3 × 3 numbers",
    ),
    "two outputs": (lambda s: {**s, "decoder.layers.6.weight": torch.zeros(2, 16)}, "is not 1 × 16 numbers"),
    "odd coordinates": (
        lambda s: {**s, "decoder.layers.0.weight": torch.zeros(16, 17)},
        "decoder.layers.0.weight is not 16 × 15 numbers",
    ),
    "few inputs": (lambda s: {**s, "decoder.layers.0.weight": torch.zeros(16, 2)}, "impossible sizes"),
    "flat": (lambda s: {**s, "decoder.layers.0.weight": torch.zeros(16)}, "impossible sizes"),
    "a number": (lambda s: {**s, "encoder.head.0.weight": torch.tensor(1.0)}, "impossible sizes"),
    "text": (lambda s: {**s, "encoder.head.0.weight": "text"}, "impossible sizes"),
    "text further on": (
        lambda s: {**s, "encoder.head.0.bias": "text"},
        "encoder.head.0.bias is not 6 numbers",
    ),
    "integers": (
        lambda s: {**s, "encoder.head.0.bias": torch.zeros(6, dtype=torch.int64)},
        "is not 6 numbers",
    ),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_other_pickles_are_refused_in_one_sentence(saved, wrong: str) -> None:
    change, message = WRONG[wrong]
    held = change(weights_of())
    assert message in complaint(saved(held))
    if wrong != "model no dict":
        assert message in complaint(saved({"model": held}))


class Evil:
    def __reduce__(self):
        return os.mkdir, ("evil",)


@pytest.mark.parametrize("new", [True, False])
def test_a_pickle_that_could_run_code_is_not_run(saved, tmp_path, monkeypatch, new: bool) -> None:
    monkeypatch.chdir(tmp_path)
    path = saved(None)
    torch.save({"model": weights_of(), "extra": Evil()}, path, _use_new_zipfile_serialization=new)
    assert "could run code" in complaint(path)
    assert not (tmp_path / "evil").exists()


@pytest.mark.parametrize("new", [True, False])
@pytest.mark.parametrize("keep", [2, 4, 30, 400, 5000, -1])
def test_damaged_files_are_refused_in_one_sentence(saved, new: bool, keep: int) -> None:
    path = saved(None)
    torch.save({"model": weights_of()}, path, _use_new_zipfile_serialization=new)
    path.write_bytes(path.read_bytes()[:keep])
    complaint(path)


def test_torch_too_old_to_read_safely_says_so(saved, monkeypatch: pytest.MonkeyPatch) -> None:
    path = saved(weights_of())
    monkeypatch.setattr(torch, "__version__", "2.9.1+cpu")
    assert "update torch to 2.10 or later" in complaint(path)


def test_reading_warns_of_nothing(saved) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_model(saved(weights_of()), "cpu")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_answers_as_the_reference_code(saved) -> None:
    state, image = weights_of(features=64, blocks=16, hidden=5, width=256), images(2, 1, 64, 8)
    model = load_model(saved(state), "cuda")
    with torch.inference_mode():
        result = model(image.cuda(), 8.0, Sampling.covering(8, 64)).cpu()
    torch.testing.assert_close(result, picture(state, image), atol=1e-4, rtol=0)
