"""Volumes whose chunks are pickles: nothing of them is run."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from napari_niiv.errors import VolumeError
from napari_niiv.io.open import open_volume

PICKLE, TEXT, BYTES = ({"id": name} for name in ("pickle", "vlen-utf8", "vlen-bytes"))


class Run:
    """Unpickled, it leaves a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("dtype", ["|u1", "|O"])
@pytest.mark.parametrize(
    ("filters", "compressor"),
    [([PICKLE], None), (None, PICKLE), ([TEXT, PICKLE], None), ([TEXT], PICKLE), ([BYTES], PICKLE)],
)
def test_zarr_2(tmp_path: Path, dtype: str, filters: list[dict[str, str]] | None, compressor: Any) -> None:
    folder, left = tmp_path / "a.zarr", tmp_path / "left"
    folder.mkdir()
    array = {"zarr_format": 2, "shape": [2, 8, 8], "chunks": [2, 8, 8], "order": "C", "fill_value": None}
    array |= {"dtype": dtype, "filters": filters, "compressor": compressor}
    (folder / ".zarray").write_text(json.dumps(array))
    (folder / "0.0.0").write_bytes(pickle.dumps(Run(left)))
    with pytest.raises(VolumeError):
        open_volume(folder).read_raw()
    assert not left.exists()
    pickle.loads((folder / "0.0.0").read_bytes())
    assert left.exists()


def test_zarr_3(tmp_path: Path) -> None:
    folder, left = tmp_path / "a.zarr", tmp_path / "left"
    (folder / "c" / "0" / "0").mkdir(parents=True)
    array = {"zarr_format": 3, "node_type": "array", "shape": [2, 8, 8], "data_type": "uint8", "fill_value": 0}
    array["chunk_grid"] = {"name": "regular", "configuration": {"chunk_shape": [2, 8, 8]}}
    array["chunk_key_encoding"] = {"name": "default", "configuration": {"separator": "/"}}
    array["codecs"] = [{"name": "bytes"}, {"name": "numcodecs.pickle", "configuration": {}}]
    (folder / "zarr.json").write_text(json.dumps(array))
    (folder / "c" / "0" / "0" / "0").write_bytes(pickle.dumps(Run(left)))
    with pytest.raises(VolumeError):
        open_volume(folder).read_raw()
    assert not left.exists()


def test_npy(tmp_path: Path) -> None:
    objects = np.empty((2, 8, 8), object)
    objects[...] = Run(tmp_path / "left")
    np.save(tmp_path / "a.npy", objects, allow_pickle=True)
    with pytest.raises(VolumeError):
        open_volume(tmp_path / "a.npy").read_raw()
    assert not (tmp_path / "left").exists()
