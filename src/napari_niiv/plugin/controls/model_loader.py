"""Checkpoints loaded off the GUI thread, one at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Wanted = tuple[str, str]
"""A checkpoint and a device."""


class ModelLoader:
    """Loads a checkpoint on a device; of what is asked for meanwhile, only the last is loaded.

    Parameters
    ----------
    run : callable
        `Background.run`.
    loaded : callable
        Gets what was wanted, the model, and the names of the devices present.
    failed : callable
        Gets what was wanted and the sentence of the error.
    """

    def __init__(
        self,
        run: Callable[..., None],
        loaded: Callable[[Wanted, Any, list[str]], None],
        failed: Callable[[Wanted, str], None],
    ) -> None:
        self._run, self._loaded, self._failed = run, loaded, failed
        self._busy = False
        self._next: Wanted | None = None

    def load(self, wanted: Wanted) -> None:
        """Load, at once or when the load that runs has ended."""
        if self._busy:
            self._next = wanted
            return
        self._busy = True

        def work() -> tuple[Any, list[str]]:  # importing torch takes seconds, so even that happens elsewhere
            from napari_niiv.device import available_devices
            from napari_niiv.models.checkpoint import load_model

            return load_model(*wanted), available_devices()

        def done(outcome: tuple[Any, list[str]]) -> None:
            self._go_on()
            self._loaded(wanted, *outcome)

        def failed(sentence: str) -> None:
            self._go_on()
            self._failed(wanted, sentence)

        self._run(work, done, failed)

    def _go_on(self) -> None:
        self._busy = False
        following, self._next = self._next, None
        if following is not None:
            self.load(following)
