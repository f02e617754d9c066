from __future__ import annotations

import pytest

from napari_niiv.reconstruction.views.deadline import Deadline


@pytest.mark.parametrize(
    ("passed", "done", "total", "reached"),
    [
        (0.05, 1, 9, False),  # it has not ended yet
        (0.2, 0, 9, False),  # nothing to show yet
        (0.2, 1, 2, False),  # the rest, another 0.2 s, is near
        (0.2, 1, 3, True),
        (0.2, 8, 9, False),
        (3.0, 8, 9, True),
    ],
)
def test_it_is_reached_when_the_rest_is_far(
    passed: float, done: int, total: int, reached: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = iter((10.0, 10.0 + passed))
    monkeypatch.setattr("napari_niiv.reconstruction.views.deadline.time.perf_counter", lambda: next(now))
    assert Deadline(0.1).reached(done, total) == reached
