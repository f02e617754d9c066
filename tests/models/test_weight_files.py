"""Files of weights that claim more than they hold, or hold more than weights."""

from __future__ import annotations

import collections
import json
import struct
import time
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import save_file

from napari_niiv import strict_json
from napari_niiv.errors import CheckpointError
from napari_niiv.models.architecture import Architecture
from napari_niiv.models.card import Card
from napari_niiv.models.checkpoint import load_model, read_card, save_model
from napari_niiv.models.niiv import shapes_of
from napari_niiv.models.pickled_weights import MoreThanWeights, load_pickle
from napari_niiv.models.weight_files import DamagedWeights

LARGE = {"features": 1024, "blocks": 256, "samples": 256, "degree": 8}
"""Each number within its limits."""


def complaint(path: Path) -> str:
    """What is said of a checkpoint, within seconds and without memory of note."""
    for load in (read_card, lambda path: load_model(path, "cpu")):
        tracemalloc.start()
        began = time.perf_counter()
        try:
            with pytest.raises(CheckpointError) as caught:
                load(path)
            assert tracemalloc.get_traced_memory()[1] < 1 << 28
        finally:
            tracemalloc.stop()
        assert time.perf_counter() - began < 10
    message = str(caught.value)
    assert message.isprintable()
    assert message.endswith(".")
    return message


def raw(path: Path, header: str, data: bytes = b"", length: int | None = None) -> Path:
    """A safetensors file by hand."""
    encoded = header.encode()
    path.write_bytes(struct.pack("<Q", len(encoded) if length is None else length) + encoded + data)
    return path


def card(**architecture: object) -> str:
    return json.dumps({"format_version": 1, "architecture": architecture})


# safetensors


def test_a_card_of_a_huge_network_and_no_weights(tmp_path: Path) -> None:
    header = {"__metadata__": {"napari_niiv": card(**LARGE)}}
    path = raw(tmp_path / "a.safetensors", json.dumps(header))
    assert path.stat().st_size < 220
    assert "does not know (architecture)" in complaint(path)
    header = {"__metadata__": {"napari_niiv": card(features=200, blocks=20)}}
    assert "do not fit" in complaint(raw(tmp_path / "b.safetensors", json.dumps(header)))


def test_the_network_is_not_made_of_what_the_card_says_before_the_weights_fit(tmp_path: Path, monkeypatch) -> None:
    made = []
    monkeypatch.setattr(torch.nn.Module, "load_state_dict", lambda *_, **__: made.append(1))
    header = {"__metadata__": {"napari_niiv": card(features=4)}}
    complaint(raw(tmp_path / "a.safetensors", json.dumps(header)))
    assert not made


@pytest.mark.parametrize(
    "architecture",
    [
        {},
        {"lateral": 4, "slices": 4, "noise": 0.1, "features": 6, "blocks": 2, "degree": 0},
        {"decoder": "implicit", "latent": 5, "mlp_layers": 2, "bands": 0},
        {"decoder": "implicit", "mlp_layers": 7, "mlp_width": 9},
        {"decoder": "reference", "context": 0, "features": 7, "degree": 0, "bands": 3},
    ],
)
def test_parameters_are_counted_without_a_network(architecture) -> None:
    described = Architecture(**architecture)
    assert described.parameters == sum(torch.Size(shape).numel() for shape in shapes_of(described).values())


def test_networks_that_no_computer_should_hold_are_none() -> None:
    with pytest.raises(ValidationError, match="million weights, and 128 million are the most"):
        Architecture(**LARGE)
    with pytest.raises(ValidationError, match="the range must rise"):
        Architecture(anisotropy_range=(1, float("inf")))


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a": ' * 50_000], ids=["lists", "objects"])
def test_json_that_is_deep(tmp_path: Path, text: str) -> None:
    header = json.dumps({"__metadata__": {"napari_niiv": text}})
    assert "card of a.safetensors is damaged" in complaint(raw(tmp_path / "a.safetensors", header))
    assert "truncated or not a checkpoint" in complaint(raw(tmp_path / "b.safetensors", text))


def test_keys_that_are_there_twice(tmp_path: Path, small_model) -> None:
    model = small_model()
    good = json.dumps(json.loads(Card(architecture=model.architecture).model_dump_json()))
    twice = good.replace('"features": 4', '"features": 4, "features": 4')
    save_file(model.state_dict(), tmp_path / "a.safetensors", metadata={"napari_niiv": twice})
    assert "card of a.safetensors is damaged" in complaint(tmp_path / "a.safetensors")
    entry = '"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}'
    path = raw(tmp_path / "b.safetensors", f"{{{entry}, {entry}}}", bytes(4))
    assert "truncated or not a checkpoint" in complaint(path)


@pytest.mark.parametrize("value", ["NaN", "Infinity", "1e999", "9" * 5000])
def test_metrics_that_are_no_numbers(tmp_path: Path, small_model, value: str) -> None:
    text = card(**small_model().architecture.model_dump())[:-1] + f', "metrics": {{"psnr": {value}}}}}'
    save_file(small_model().state_dict(), tmp_path / "a.safetensors", metadata={"napari_niiv": text})
    assert "is damaged" in complaint(tmp_path / "a.safetensors")


@pytest.mark.parametrize("length", [0, 1, 1 << 24, 1 << 40, (1 << 64) - 1])
def test_a_header_of_a_length_that_cannot_be(tmp_path: Path, length: int) -> None:
    path = raw(tmp_path / "a.safetensors", "{}", length=length)
    with path.open("r+b") as file:
        file.truncate(1 << 26)  # which it would fit into
    assert "truncated or not a checkpoint" in complaint(path)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e300])
def test_weights_that_are_not_finite(tmp_path: Path, small_model, value: float) -> None:
    model = small_model()
    tensors = {k: v.double() for k, v in model.state_dict().items()}
    tensors["encoder.biases.0"][0] = value
    save_file(tensors, tmp_path / "a.safetensors", metadata={"napari_niiv": card(**model.architecture.model_dump())})
    with pytest.raises(CheckpointError, match="some of its weights are not finite"):
        load_model(tmp_path / "a.safetensors", "cpu")
    tensors = {k: v.int() for k, v in model.state_dict().items()}
    save_file(tensors, tmp_path / "b.safetensors", metadata={"napari_niiv": card(**model.architecture.model_dump())})
    assert "do not fit" in complaint(tmp_path / "b.safetensors")


def test_a_header_that_looks_like_a_pickle_is_none(tmp_path: Path, small_model) -> None:
    """Its length, the first byte of the file, is that of a pickle."""
    model = small_model()
    for padding in range(256):
        save_model(model, Card(name="x" * padding, architecture=model.architecture), tmp_path / "a.safetensors")
        if (tmp_path / "a.safetensors").read_bytes()[0] == 0x80:
            break
    assert load_model(tmp_path / "a.safetensors", "cpu").architecture == model.architecture


# pickles


class Made:
    """Pickles as a call."""

    def __init__(self, maker: Callable, *arguments: object) -> None:
        self.call = maker, arguments

    def __reduce__(self):
        return self.call


def nested(depth: int) -> object:
    value: object = ()
    for _ in range(depth):
        value = (value,)
    return value


def claimed(tensor: torch.Tensor, shape: tuple[int, ...], strides: tuple[int, ...]) -> torch.Tensor:
    return tensor.as_strided(shape, strides)


BOMBS: dict[str, Callable[[], object]] = {
    "bytes that are not there": lambda: Made(bytearray, 1 << 40),
    "an endless count": lambda: Made(collections.Counter, torch.zeros(1).expand(1 << 40)),
    "few numbers for many": lambda: {"encoder.head.0.weight": claimed(torch.zeros(9), (1024, 1, 3, 3), (0, 0, 3, 1))},
    "an empty tensor": lambda: Made(torch.Tensor, 1 << 20, 1 << 20),
    "a set": lambda: {"a": {1, 2}},
}


@pytest.mark.parametrize("bomb", BOMBS)
@pytest.mark.parametrize("new", [True, False])
def test_pickles_that_take_more_than_they_hold(tmp_path: Path, bomb: str, new: bool) -> None:
    path = tmp_path / "model_latest.pth"
    torch.save(BOMBS[bomb](), path, _use_new_zipfile_serialization=new)
    with pytest.raises((MoreThanWeights, DamagedWeights)):
        load_pickle(path)
    assert complaint(path).startswith("model_latest.pth is a pickle")


@pytest.mark.parametrize(
    "code",
    [
        b"\x80\x02}r\xff\xff\xff\x7f.",  # kept by the number 2**31: an array of so many objects
        b"\x80\x02}" + b")" + b"\x85" * 200_000 + b"K\x01s.",  # a key whose hash goes too deep
        b"\x80\x02" + b"]" * 3_000_000 + b".",
        b"\x80\x02U\xffx.",
        b"\x80\x05\x96" + struct.pack("<Q", 1 << 40) + b".",
        b"\x80\x02cbuiltins\neval\n.",
        b"\x80\x02c__builtin__\neval\n(U\x011tR.",
    ],
    ids=["memo", "tuples", "lists", "cut off", "bytes", "eval", "old eval"],
)
@pytest.mark.parametrize("new", [True, False])
def test_pickles_written_by_hand(tmp_path: Path, code: bytes, new: bool) -> None:
    path = tmp_path / "model_latest.pth"
    if new:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("a/data.pkl", code)
            archive.writestr("a/version", b"3\n")
    else:
        path.write_bytes(code)
    assert complaint(path).startswith("model_latest.pth is a pickle")


def rezipped(path: Path, change: Callable[[dict[str, bytes]], None], compression: int = zipfile.ZIP_STORED) -> None:
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    change(members)
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def test_zips_that_grow(tmp_path: Path) -> None:
    path = tmp_path / "model_latest.pth"
    torch.save({"a": torch.zeros(1 << 22)}, path)
    rezipped(path, lambda members: None, zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 1 << 16
    assert "is damaged, or not from torch.save" in complaint(path)


@pytest.mark.parametrize("change", ["shorter", "missing", "twice", "comment"])
def test_zips_that_contradict_themselves(tmp_path: Path, change: str) -> None:
    path = tmp_path / "model_latest.pth"
    torch.save({"a": torch.zeros(64)}, path)
    assert load_pickle(path)["a"].shape == (64,)
    name = "model_latest/data/0"
    if change == "comment":
        with zipfile.ZipFile(path, "a") as archive:
            archive.comment = b"PK\5\6"
    else:
        edits: dict[str, Callable[[dict[str, bytes]], object]] = {
            "shorter": lambda members: members.update({name: members[name][:-4]}),
            "missing": lambda members: members.pop(name),
            "twice": lambda members: members.update({name.upper(): members[name]}),
        }
        rezipped(path, lambda members: edits[change](members) and None)
    assert "is damaged, or not from torch.save" in complaint(path)


def test_an_old_file_whose_tensors_it_cannot_hold(tmp_path: Path) -> None:
    path = tmp_path / "model_latest.pth"
    torch.save({"a": torch.zeros(64)}, path, _use_new_zipfile_serialization=False)
    content = path.read_bytes()
    assert load_pickle(path)["a"].shape == (64,)
    path.write_bytes(content.replace(b"K@", b"M\xff\xff"))
    with pytest.raises(DamagedWeights):
        load_pickle(path)


def test_what_is_read_is_what_torch_reads(tmp_path: Path) -> None:
    state = torch.nn.Linear(3, 2).state_dict()  # with attributes of its own
    held = {"model": state, "epoch": 3, "shared": [state["weight"]] * 2, "view": torch.arange(9.0).view(3, 3)[1:, 1:]}
    for new in (True, False):
        torch.save(held, tmp_path / "a.pth", _use_new_zipfile_serialization=new)
        back = load_pickle(tmp_path / "a.pth")
        torch.testing.assert_close(back["model"], state)
        torch.testing.assert_close(back["view"], held["view"])


def test_a_reference_checkpoint_with_weights_that_are_not_finite(tmp_path: Path) -> None:
    shapes = {
        **{f"encoder.{name}.weight": (2, 2, 3, 3) for name in ("body.0.body.0", "body.0.body.2", "body.1")},
        "encoder.head.0.weight": (2, 1, 3, 3),
        "decoder.layers.0.weight": (4, 3),
        "decoder.layers.2.weight": (1, 4),
    }
    state = {name: torch.ones(shape) for name, shape in shapes.items()}
    state |= {name.replace("weight", "bias"): torch.ones(shape[0]) for name, shape in shapes.items()}
    path = tmp_path / "model_latest.pth"
    torch.save(state, path)
    load_model(path, "cpu")
    state["encoder.body.1.bias"][1] = torch.nan
    torch.save(state, path)
    assert "not finite" in complaint(path)


# JSON


@pytest.mark.parametrize("text", ["", "{", '{"a": 1, "a": 1}', "[NaN]", "[-Infinity]", "[1e999]", "[" * 10**6, b"\xff"])
def test_json_that_is_refused(text: str | bytes) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        strict_json.parse(text)


def test_json_that_is_not() -> None:
    assert strict_json.parse(b'{"a": [1, 2.5, null, "\xc2\xb5"]}') == {"a": [1, 2.5, None, "µ"]}
    assert strict_json.parse("[Infinity]", finite=False) == [float("inf")]
