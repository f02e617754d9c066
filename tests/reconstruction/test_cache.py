from __future__ import annotations

import torch

from napari_niiv.reconstruction.cache import ByteCache


def tensor(size: int) -> torch.Tensor:
    return torch.zeros(size, dtype=torch.uint8)


def test_the_least_recently_used_goes_first() -> None:
    cache = ByteCache(300)
    for key in "abc":
        cache.put(0, key, tensor(100))
    cache.get(0, "a")
    cache.put(0, "d", tensor(100))
    assert cache.get(0, "b") is None
    assert all(cache.get(0, key) is not None for key in "acd")
    assert (cache.bytes, len(cache)) == (300, 3)


def test_replacing_and_clearing_keep_count() -> None:
    cache = ByteCache(300)
    cache.put(0, "a", tensor(100))
    cache.put(0, "a", tensor(250))
    assert cache.bytes == 250
    cache.put(0, "b", tensor(1000))  # larger than the limit: kept alone, it is about to be used
    assert cache.get(0, "a") is None
    assert cache.bytes == 1000
    cache.clear()
    assert (cache.bytes, len(cache), cache.get(0, "b")) == (0, 0, None)
