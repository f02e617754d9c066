"""Damage to small files and folders, as chance or malice does it; the same for the same random numbers."""

from __future__ import annotations

import io
import json
import math
import os
import pickletools
import random
import re
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import h5py
import numpy as np
import tifffile

Tree = dict[str, bytes]
"""The contents of files by their paths in a folder; a path that ends in "/" is an empty folder."""

NUMBERS = (-1, 0, 1, 2, 3, 7, 127, 128, 255, 256, 65535, 1 << 20, (1 << 31) - 1, 1 << 31, (1 << 32) - 1, (1 << 63) - 1)
REALS = (0.0, -1.0, 1e-300, 1e300, math.inf, -math.inf, math.nan)
SCALARS: tuple[Any, ...] = (
    *(None, True, False, "", "x", "zyx", "uint8", ">f8", "<U4", "|O", "µm", "../..", "/", "\0", "%s", "1e999", "nan"),
    *(*NUMBERS, 1 << 64, -(1 << 63), 10**30, 0.5, 1e300, -1e300),
    *([], {}, [0], [-1, -1, -1], [1 << 40] * 3, [[1]], {"a": 1}, ["z", "y", "x"], [None] * 3),
)
METADATA = (".json", "journal", ".zarray", ".zattrs", ".zgroup", ".xml", ".companion.ome", ".mdoc", "zarr.json")


def mutated(tree: Tree, outside: Path, chance: random.Random) -> Tree:
    """Another tree with one to three kinds of damage.

    Parameters
    ----------
    tree : Tree
        "" is its only key if it is one file.
    outside : Path
        A folder beside it with a file of every kind, which nothing in the tree has a right to name.
    chance : random.Random
    """
    tree = dict(tree)
    for _ in range(chance.choice((1, 1, 1, 2, 3))):
        if all(name.endswith("/") for name in tree):
            break
        name = _chosen(tree, chance)
        kinds = _kinds(name, tree)
        weights = [weight for _, weight in kinds]
        (change, _) = chance.choices(kinds, weights)[0]
        try:
            change(tree, name, outside, chance)
        except Exception:  # of libraries that can no longer read what is to be damaged
            _bytes(tree, name, outside, chance)
    return tree


def _chosen(tree: Tree, chance: random.Random) -> str:
    """A file; in half of all cases one of metadata, where there is any."""
    files = sorted(name for name in tree if not name.endswith("/"))
    metadata = [name for name in files if name.endswith(METADATA)]
    return chance.choice(metadata if metadata and chance.random() < 0.5 else files)


Change = Callable[[Tree, str, Path, random.Random], None]


def _kinds(name: str, tree: Tree) -> list[tuple[Change, float]]:
    kinds: list[tuple[Change, float]] = [(_bytes, 2.0)]
    content = tree[name]
    if len(tree) > 1 or name:
        kinds.append((_files, 0.7))
    if content[:1] in (b"{", b"[") or name.endswith(METADATA):
        kinds.append((_lines if name == "journal" else _xml if content[:1] == b"<" else _json, 4.0))
    if content[:2] in (b"II", b"MM"):
        kinds.append((_tiff, 3.0))
    if content[:4] == b"\x89HDF":
        kinds.append((_hdf5, 4.0))
    if content[8:10] == b'{"':
        kinds.append((_safetensors, 6.0))
    if content[:4] == b"PK\3\4":
        kinds.append((_torch_zip, 6.0))
    if content[:2] == b"\x80\2":
        kinds.append((_pickle, 4.0))
    return kinds


# bytes


def _bytes(tree: Tree, name: str, outside: Path, chance: random.Random) -> None:
    content = bytearray(tree[name])
    change = chance.choice((_flip, _set, _number, _number, _text, _cut, _zero, _move, _remove, _double, _extend))
    change(content, chance)
    tree[name] = bytes(content)


def _place(content: bytearray, chance: random.Random) -> int:
    """Mostly near the beginning, where headers are."""
    ends = (64, 256, 1024, 4096, len(content), len(content))
    return chance.randrange(max(1, min(chance.choice(ends), len(content))))


def _flip(content: bytearray, chance: random.Random) -> None:
    for _ in range(chance.choice((1, 1, 2, 8, 32))):
        if content:
            content[_place(content, chance)] ^= 1 << chance.randrange(8)


def _set(content: bytearray, chance: random.Random) -> None:
    for _ in range(chance.choice((1, 1, 2, 8, 32))):
        if content:
            content[_place(content, chance)] = chance.choice((0, 1, 127, 128, 254, 255, chance.randrange(256)))


def _number(content: bytearray, chance: random.Random) -> None:
    """An extreme number in the place of 1, 2, 4 or 8 bytes."""
    order, kind = chance.choice("<>"), chance.choice("BHIQfd")
    value = chance.choice(REALS if kind in "fd" else NUMBERS)
    size = struct.calcsize(kind)
    if kind not in "fd":
        value = int(value) & ((1 << 8 * size) - 1)
    at = _place(content, chance) // size * size
    try:
        content[at : at + size] = struct.pack(order + kind, value)
    except OverflowError:  # 1e300 as four bytes
        content[at : at + size] = b"\xff" * size


def _text(content: bytearray, chance: random.Random) -> None:
    """Another number in the place of one that is written in digits."""
    found = list(re.finditer(rb"-?\d+(?:\.\d+)?", bytes(content[:65536])))
    if not found:
        return _set(content, chance)
    match = chance.choice(found)
    number = chance.choice((*NUMBERS, *REALS, "", "x", "9" * 400, "-0"))
    content[match.start() : match.end()] = str(number).encode()
    return None


def _range(content: bytearray, chance: random.Random) -> slice:
    first = _place(content, chance)
    return slice(first, min(len(content), first + chance.choice((1, 4, 16, 64, 256, 1024))))


def _cut(content: bytearray, chance: random.Random) -> None:
    del content[chance.randrange(len(content) + 1) if chance.random() < 0.7 else _place(content, chance) :]


def _zero(content: bytearray, chance: random.Random) -> None:
    part = _range(content, chance)
    content[part] = bytes((chance.choice((0, 255)),)) * (part.stop - part.start)


def _move(content: bytearray, chance: random.Random) -> None:
    """Two pieces exchanged."""
    one, two = _range(content, chance), _range(content, chance)
    if one.stop <= two.start:
        content[:] = (
            content[: one.start] + content[two] + content[one.stop : two.start] + content[one] + content[two.stop :]
        )


def _remove(content: bytearray, chance: random.Random) -> None:
    del content[_range(content, chance)]


def _double(content: bytearray, chance: random.Random) -> None:
    part = _range(content, chance)
    content[part.stop : part.stop] = content[part]


def _extend(content: bytearray, chance: random.Random) -> None:
    content += bytes(chance.choice((1, 7, 512))) if chance.random() < 0.5 else content[:512]


# the files of a folder


def _files(tree: Tree, name: str, outside: Path, chance: random.Random) -> None:
    """One is missing, empty, another's, twice there, elsewhere, a folder, or in the way."""
    other = chance.choice(sorted(n for n in tree if not n.endswith("/")))
    match chance.choice(("missing", "empty", "exchanged", "another", "renamed", "doubled", "folder", "stray")):
        case "missing":
            del tree[name]
        case "empty":
            tree[name] = b""
        case "exchanged":
            tree[name], tree[other] = tree[other], tree[name]
        case "another":
            tree[name] = tree[other]
        case "renamed":
            tree[_digits(name, chance)] = tree.pop(name)
        case "doubled":
            tree[_digits(name, chance)] = tree[name]
        case "folder":
            del tree[name]
            tree[name + "/"] = b""
        case "stray":
            beside = os.path.dirname(name)
            stray = ("Thumbs.db", "zarr.json", ".zarray", "attributes.json", "c", "a.tif", ".zgroup", "info", "x/y")
            tree.setdefault(os.path.join(beside, chance.choice(stray)), chance.choice((b"", b"{}", b"\0" * 9)))


def _digits(name: str, chance: random.Random) -> str:
    """A name with another number in it."""
    numbers = list(re.finditer(r"\d+", name))
    if not numbers:
        return f"{name}.bak"
    match = chance.choice(numbers)
    return name[: match.start()] + str(chance.choice((0, 1, 7, 99, 10**9, 10**30))) + name[match.end() :]


# JSON


def _json(tree: Tree, name: str, outside: Path, chance: random.Random) -> None:
    root = [json.loads(tree[name])]
    places: list[tuple[Any, Any]] = []

    def collect(node: Any) -> None:
        for key in node if isinstance(node, dict) else range(len(node)):
            places.append((node, key))
            if isinstance(node[key], dict | list):
                collect(node[key])

    collect(root)
    node, key = chance.choice(places)
    value = node[key]
    match chance.choice(("value", "value", "value", "name", "removed", "doubled", "exchanged", "outside")):
        case "value":
            node[key] = chance.choice(SCALARS)
        case "name" if isinstance(node, dict):
            node[chance.choice((f"{key}x", key.upper(), "path", "scale", "dataset", ""))] = node.pop(key)
        case "removed" if node is not root:
            del node[key]
        case "doubled" if isinstance(node, list) and node is not root:
            node.insert(key, value)
        case "exchanged":
            other, its_key = chance.choice(places)
            node[key] = json.loads(json.dumps(other[its_key]))
        case _:
            texts = [(n, k) for n, k in places if isinstance(n[k], str)]
            node, key = chance.choice(texts or places)
            node[key] = _path_outside(outside, chance)
    text = json.dumps(root[0])
    if chance.random() < 0.05:
        text = text * 2
    if chance.random() < 0.02:
        text = "[" * 100_000
    tree[name] = text.encode("utf-8", "surrogatepass")


def _path_outside(outside: Path, chance: random.Random) -> str:
    """A path out of the folder to something that could be read there."""
    target = chance.choice(sorted(entry.name for entry in outside.iterdir()))
    ups = chance.choice(("..", "../..", "../../..", "../../../..", "x/../../..", "./.."))
    absolute = str(outside / target)
    return chance.choice(
        (f"{ups}/{outside.name}/{target}", absolute, f"file://{absolute}", absolute.replace("/", "\\"))
    )


# the journal of an export


def _lines(tree: Tree, name: str, outside: Path, chance: random.Random) -> None:
    """Lines removed, doubled, exchanged, of other units or sizes."""
    lines = tree[name].split(b"\n")
    at, other = chance.randrange(len(lines)), chance.randrange(len(lines))
    match chance.choice(("removed", "doubled", "exchanged", "changed", "changed")):
        case "removed":
            del lines[at]
        case "doubled":
            lines.insert(other, lines[at])
        case "exchanged":
            lines[at], lines[other] = lines[other], lines[at]
        case _:
            line = bytearray(lines[at])
            chance.choice((_text, _text, _set, _cut))(line, chance)
            lines[at] = bytes(line)
    tree[name] = b"\n".join(lines)


# safetensors: the header, and JSON in the texts of it

SIZES = (1, 2, 3, 8, 16, 32, 64, 256, 1024, 4096)


def _safetensors(tree: Tree, name: str, outside: Path, chance: random.Random) -> None:
    content = tree[name]
    end = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:end])
    metadata = header.get("__metadata__", {})
    key = chance.choice(sorted(metadata))
    part: Tree = {"": metadata[key].encode()}
    match chance.choice(("inner", "inner", "inner", "sizes", "sizes", "bytes", "twice", "outer", "length")):
        case "inner":
            _json(part, "", outside, chance)
        case "sizes":
            inner = json.loads(part[""])
            node = inner.get("architecture", inner)
            for each in chance.sample(sorted(node), min(len(node), chance.choice((1, 2, 4)))):
                node[each] = chance.choice(SIZES)
            part[""] = json.dumps(inner).encode()
        case "bytes":
            _bytes(part, "", outside, chance)
        case "twice":
            part[""] = part[""].replace(b"{", b'{"x": 1, "x": 2, ', 1)
        case "outer":
            whole = {"": content[8:end]}
            _json(whole, "", outside, chance)
            tree[name] = len(whole[""]).to_bytes(8, "little") + whole[""] + content[end:]
            return
        case "length":
            tree[name] = int(chance.choice(NUMBERS[2:])).to_bytes(8, "little") + content[8:]
            return
    metadata[key] = part[""].decode("utf-8", "replace")
    text = json.dumps(header).encode()
    tree[name] = len(text).to_bytes(8, "little") + text + content[end:]


# torch: zips, and pickles opcode by opcode


def _torch_zip(tree: Tree, name: str, outside: Path, chance: random.Random) -> None:
    with zipfile.ZipFile(io.BytesIO(tree[name])) as archive:
        members = {each: archive.read(each) for each in archive.namelist()}
    inside = chance.choice(sorted(members))
    if chance.random() < 0.7:
        inside = next(each for each in members if each.endswith("data.pkl"))
    match chance.choice(("pickle", "pickle", "pickle", "bytes", "missing", "renamed", "deflated", "large")):
        case "pickle" if inside.endswith("data.pkl"):
            _pickle(members, inside, outside, chance)
        case "missing":
            del members[inside]
        case "renamed":
            members[chance.choice((inside.upper(), _digits(inside, chance), f"x/{inside}"))] = members.pop(inside)
        case "large":
            members[inside] = members[inside] + bytes(chance.choice((4, 1 << 20)))
        case "deflated":
            pass
        case _:
            _bytes(members, inside, outside, chance)
    stream = io.BytesIO()
    method = zipfile.ZIP_DEFLATED if chance.random() < 0.1 else zipfile.ZIP_STORED
    with zipfile.ZipFile(stream, "w", method) as archive:
        for each, content in members.items():
            archive.writestr(each, content)
    tree[name] = stream.getvalue()


GLOBALS = (
    *("builtins bytearray", "builtins set", "builtins eval", "builtins complex", "os system", "collections Counter"),
    *("collections OrderedDict", "torch Tensor", "torch Size", "torch device", "torch FloatStorage", "torch float32"),
    *("torch._utils _rebuild_tensor_v2", "torch._utils _rebuild_parameter", "torch._utils _rebuild_sparse_tensor"),
    *("torch._utils _rebuild_meta_tensor_no_storage", "torch._tensor _rebuild_from_type_v2", "_codecs encode"),
    *("torch DoubleStorage", "torch.nn.parameter Parameter", "numpy ndarray", "torch.serialization _get_layout"),
)


def _pickle(tree: Tree, name: str, outside: Path, chance: random.Random) -> None:
    """An opcode removed, doubled, put elsewhere, or in its place a number, text, name or call."""
    content = tree[name]
    starts: list[int] = []
    stream = io.BytesIO(content)
    for _ in range(chance.choice((1, 1, 1, 5))):  # an old file is several pickles
        try:
            starts += [at for _, _, at in pickletools.genops(stream) if at is not None]
        except ValueError:
            break
    for _ in range(chance.choice((1, 1, 2, 4))):
        at = chance.randrange(len(starts) - 1)
        first, last = starts[at], starts[at + 1]
        other = chance.randrange(len(starts) - 1)
        one = content[starts[other] : starts[other + 1]]
        number = int(chance.choice(NUMBERS))
        new = chance.choice(
            (
                b"",
                content[first:last] * 2,
                one,
                b"\x8a\x09" + (number & ((1 << 64) - 1)).to_bytes(9, "little"),
                b"J" + struct.pack("<i", max(min(number, (1 << 31) - 1), -1)),
                b"c" + chance.choice(GLOBALS).replace(" ", "\n").encode() + b"\n",
                b"c" + chance.choice(GLOBALS).replace(" ", "\n").encode() + b"\n" + one + b"\x85R",
                bytes((chance.choice(b")]}tR0b.Nsu\x85\x86\x87\x88e(aQ2"),)) * chance.choice((1, 1, 1, 1000)),
                b"r" + struct.pack("<I", number & ((1 << 32) - 1)),
            )
        )
        content = content[:first] + new + content[last:]
    tree[name] = content


# XML


def _xml(tree: Tree, name: str, outside: Path, chance: random.Random) -> None:
    tree[name] = _mutated_xml(tree[name].decode(), outside, chance)


def _mutated_xml(text: str, outside: Path, chance: random.Random) -> bytes:
    root = ElementTree.fromstring(text)
    elements = list(root.iter())
    parents = {child: parent for parent in elements for child in parent}
    element = chance.choice(elements)
    value = str(chance.choice((*SCALARS, *NUMBERS, *REALS))).replace("\0", "\\0")
    match chance.choice(
        ("attribute", "attribute", "text", "removed", "doubled", "attribute removed", "tag", "outside")
    ):
        case "attribute" if element.attrib:
            element.set(chance.choice(sorted(element.attrib)), value)
        case "removed" if element in parents:
            parents[element].remove(element)
        case "doubled" if element in parents:
            parents[element].append(element)
        case "attribute removed" if element.attrib:
            del element.attrib[chance.choice(sorted(element.attrib))]
        case "tag":
            element.tag = chance.choice(("x", "Image", "Pixels", "UUID", "TiffData", "BinaryOnly", "hdf5", "n5"))
        case "outside":
            path = _path_outside(outside, chance)
            named = [e for e in elements if {"FileName", "MetadataFile"} & set(e.attrib)]
            told = [e for e in elements if e.tag in ("hdf5", "n5", "BasePath")]
            if named and (not told or chance.random() < 0.5):
                for each in named if chance.random() < 0.3 else [chance.choice(named)]:
                    each.set("FileName" if "FileName" in each.attrib else "MetadataFile", path)
            else:
                chance.choice(told or elements).text = path
        case _:
            element.text = value
    out = ElementTree.tostring(root)
    if chance.random() < 0.05:  # entities that grow, and one that is a file
        lol = '<!ENTITY a "aaaaaaaaaa">' + "".join(
            f'<!ENTITY {chr(98 + i)} "{f"&{chr(97 + i)};" * 10}">' for i in range(9)
        )
        entity = chance.choice((lol, f'<!ENTITY j SYSTEM "file://{outside}/secret.txt">'))
        end = out.rindex(b"</") if b"</" in out else len(out)
        out = f"<!DOCTYPE OME [{entity}]>".encode() + out[:end] + b"<q>&j;</q>" + out[end:]
    return out


# TIFF: entries of directories, and the descriptions in them


def _tiff(tree: Tree, name: str, outside: Path, chance: random.Random) -> None:
    with tifffile.TiffFile(io.BytesIO(tree[name])) as file:
        page = file.pages[chance.randrange(len(file.pages))]
        entries = [(tag.offset, tag.code) for tag in page.tags]
        description, order, big = file.pages.first.description, file.byteorder, file.is_bigtiff
    if description and chance.random() < 0.5:
        if description.startswith("<"):
            text = _mutated_xml(description, outside, chance)
        else:
            raw = bytearray(description.encode())
            chance.choice((_text, _text, _remove, _double, _set))(raw, chance)
            text = bytes(raw)
        stream = io.BytesIO(tree[name])
        with tifffile.TiffFile(stream, mode="r+b") as file:
            file.pages.first.tags[270].overwrite(text.replace(b"\0", b" "))
        tree[name] = stream.getvalue()
        return
    content = bytearray(tree[name])
    offset, _ = chance.choice(entries)
    part, size = chance.choice(((0, 2), (2, 2), (4, 8 if big else 4), (12 if big else 8, 8 if big else 4)))
    codes = (
        254,
        256,
        257,
        258,
        259,
        262,
        270,
        273,
        277,
        278,
        279,
        284,
        317,
        322,
        323,
        324,
        325,
        330,
        339,
        34412,
        50838,
    )
    number = chance.choice(codes if part == 0 else range(20) if part == 2 else NUMBERS)
    number = int(number) & ((1 << 8 * size) - 1)
    content[offset + part : offset + part + size] = number.to_bytes(size, "little" if order == "<" else "big")
    tree[name] = bytes(content)


# HDF5: what is valid and odd


def _hdf5(tree: Tree, name: str, outside: Path, chance: random.Random) -> None:
    stream = io.BytesIO(tree[name])
    with h5py.File(stream, "r+") as file:
        nodes: list[Any] = [file]
        file.visititems(lambda _, node: nodes.append(node))
        node = chance.choice(nodes)
        change = chance.choice((_attribute, _attribute, _attribute, _link, _link, _dataset))
        change(file, node, outside, chance)
    tree[name] = stream.getvalue()


ATTRIBUTES = (
    *("DIMENSION_LABELS", "DIMENSION_LABELS", "DIMENSION_LIST", "CLASS", "NAME", "REFERENCE_LIST", "element_size_um"),
    *("axistags", "axes", "resolution", "units", "offset", "transform", "X", "Y", "Z", "ExtMin0", "ExtMax0", "ExtMax2"),
    *("Unit", "Name", "ImageSizeX", "ImageSizeZ", "voxel_size", "pixelResolution", "_ARRAY_DIMENSIONS"),
)


def _attribute(file: Any, node: Any, outside: Path, chance: random.Random) -> None:
    own = list(node.attrs)
    key = chance.choice([*own, *own, *ATTRIBUTES])
    texts = h5py.string_dtype()
    values: tuple[Callable[[], Any], ...] = (
        lambda: chance.choice(NUMBERS[:-1]),
        lambda: chance.choice(REALS),
        lambda: h5py.Empty(chance.choice(("f4", "S4", texts, "i8"))),
        lambda: np.zeros(chance.choice((0, 1, 2, 3, 4, 1000)), chance.choice(("f4", "i8", "S4", "V3"))),
        lambda: np.zeros((2, 3, 4)),
        lambda: np.array(["z", "y"], dtype=texts),
        lambda: np.array(["z"] * chance.choice((1, 3, 4, 40)), dtype=texts),
        lambda: np.array([b"\xff\xfe", b"\0", b"z"], dtype="S2"),
        lambda: np.array([file.ref] * 3, dtype=h5py.ref_dtype),
        lambda: np.array([h5py.Reference()] * 3, dtype=h5py.ref_dtype),
        lambda: np.array([(1, 2.0)], dtype=[("a", "i4"), ("b", "f8")]),
        lambda: chance.choice(("", "x", "\ud800".encode("utf-8", "surrogatepass"), "[" * 5000, '{"axes": 3}', "zyx")),
        lambda: _ragged(file, chance),
        lambda: np.array([1, 0], dtype=h5py.enum_dtype({"A": 0, "B": 1}, "i1")),
        lambda: np.array([[b"1", b"0"], [b"2", b"x"]], dtype="S1"),
        lambda: np.float16(chance.choice((0.5, np.inf))),
        lambda: np.array([1 + 2j]),
    )
    value = chance.choice(values)()
    if key in node.attrs:
        del node.attrs[key]
    node.attrs[key] = value


def _ragged(file: Any, chance: random.Random) -> Any:
    """Rows of unlike lengths, of numbers or references."""
    references = chance.random() < 0.5
    rows = np.empty(chance.choice((1, 3, 5)), dtype=object)
    for at in range(len(rows)):
        rows[at] = np.array([file.ref] * at, h5py.ref_dtype) if references else np.arange(at)
    ragged = np.empty(len(rows), h5py.vlen_dtype(h5py.ref_dtype if references else np.dtype("i4")))
    ragged[:] = rows
    return ragged


def _link(file: Any, node: Any, outside: Path, chance: random.Random) -> None:
    group = node if isinstance(node, h5py.Group) else node.parent
    path = chance.choice((str(outside / "a.h5"), f"../{outside.name}/a.h5", f"x/../../{outside.name}/a.h5", "a.h5", ""))
    names = list(group)
    name = chance.choice([*names, "data", "extra", "t00000", "s00", "DataSet"])
    if name in group and chance.random() < 0.8:
        del group[name]
    match chance.choice(("external", "external", "soft", "loop", "hard", "virtual", "raw")):
        case "external":
            group[name] = h5py.ExternalLink(path or "missing.h5", chance.choice(("/data", "/", "/none")))
        case "soft":
            group[name] = h5py.SoftLink(chance.choice(("/", "/none", ".", *names, group.name)))
        case "loop":
            group[name] = h5py.SoftLink(f"{group.name.rstrip('/')}/{name}")
        case "hard":
            group[name] = chance.choice((file, group, group.parent))
        case "virtual":
            layout = h5py.VirtualLayout((6, 24, 20), "u1")
            layout[:] = h5py.VirtualSource(path or "missing.h5", "data", (6, 24, 20))
            group.create_virtual_dataset(name, layout)
        case "raw":
            raw = chance.choice((str(outside / "secret.raw"), f"../{outside.name}/secret.raw", "none.raw", "/dev/zero"))
            group.create_dataset(name, (6, 24, 20), "u1", external=[(raw, 0, 2880)])


def _dataset(file: Any, node: Any, outside: Path, chance: random.Random) -> None:
    group = node if isinstance(node, h5py.Group) else node.parent
    names = [name for name in group if isinstance(group.get(name), h5py.Dataset)]
    name = chance.choice([*names, "data", "Data", "metadata"])
    if name in group:
        del group[name]
    shapes = ((), (0,), (3,), (3, 0, 4), (4, 5, 6), (1, 2, 3, 4, 5, 6, 7), (1 << 20, 1 << 20, 1 << 20), (1, 1, 1))
    shape = chance.choice(shapes)
    texts, references, enumeration = h5py.string_dtype(), h5py.ref_dtype, h5py.enum_dtype({"A": 0}, "u1")
    compound = [("a", "i4"), ("b", "f8")]
    kinds = ("u1", "f8", "S3", "V5", ">i2", "c8", "?", "f2", texts, references, compound, enumeration)
    large = math.prod(shape) > 1 << 20
    chunks = (chance.choice((1, 1 << 10)), 1 << 10, 1 << 10) if large else None
    fill = {"fillvalue": 7} if chance.random() < 0.3 else {}
    kind = chance.choice(kinds[:2] if large or fill else kinds)
    if chance.random() < 0.05:
        group[name] = np.dtype("f4")  # a named type
        return
    group.create_dataset(name, shape, kind, chunks=chunks, **fill)
