"""Where a training starts from: the checkpoint in use in the other dock widget, unless the user chooses another."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from napari.layers import Image

from napari_niiv.plugin.common.connections import Connections, when_destroyed
from napari_niiv.plugin.common.docks import opened
from napari_niiv.plugin.common.layers import FITTED, source_file, voxel_size
from napari_niiv.plugin.manifest_names import WIDGET
from napari_niiv.plugin.training.form import NOTHING, TrainingForm
from napari_niiv.plugin.training.settings import look_up_start

if TYPE_CHECKING:
    from napari_niiv.training.starting_point import StartingPoint


class StartChoice:
    """Keeps the form's checkpoint that of the other dock widget, and the blur along z what suits it and the layer.

    Checkpoints are read off the GUI thread; of what is asked for meanwhile, the last counts.

    Parameters
    ----------
    form : TrainingForm
    run : callable
        `Background.run`.
    changed : callable
        Called when it becomes known, or unknown, what is started from.
    tell : callable
        Gets a sentence if the checkpoint in use cannot be started from, else an empty one.
    resized : callable
        Called when the voxel size of the layer is another.

    Attributes
    ----------
    frozen : bool
        Whether the form is to stay as it is, as while a training runs.
    """

    def __init__(
        self,
        form: TrainingForm,
        run: Callable[..., None],
        changed: Callable[[], None],
        tell: Callable[[str], None],
        resized: Callable[[], None],
    ) -> None:
        self._form, self._run, self._changed, self._tell, self._resized = form, run, changed, tell, resized
        self._wanted: str | None = None  # the checkpoint in use when it was last looked at
        self._default = form.init.value  # for volumes of which nothing is in use
        self._number = 0
        self.known = self.frozen = False
        self._size = Connections()
        form.init.changed.connect(lambda _=None: self.look_up())
        form.layer.changed.connect(self._choose_layer)
        when_destroyed(form.native, self._size.disconnect)
        self._watch()

    def begin(self) -> None:
        """Start from the checkpoint in use, else from what the form says, if they can be started from."""
        self.look_up(self._in_use() or self._form.init.value)

    def follow(self, quietly: bool = False) -> None:
        """Start from the checkpoint in use if that is another now, and the user has chosen none here.

        Parameters
        ----------
        quietly : bool
            Whether nothing is told if it cannot be started from.
        """
        in_use = self._in_use()
        if in_use is not None and in_use != self._wanted and not self._form.init_by_hand:
            self.look_up(in_use, quietly)

    def look_up(self, wanted: str | None = None, quietly: bool = False) -> None:
        """Find out whether a training can start from a checkpoint, and the blur that suits it.

        Parameters
        ----------
        wanted : str, optional
            In use; by default what the form says is left, and the blur alone looked up.
        quietly : bool
            As of `follow`.
        """
        if self.frozen:
            return
        form = self._form
        chosen = None if form.init.value == NOTHING else form.init.value
        wanted = None if wanted == NOTHING else wanted
        self._wanted = wanted or self._wanted
        anisotropy = _anisotropy(form.layer.value)
        self._number, self.known = self._number + 1, False
        number = self._number

        def done(start: StartingPoint | None, sentence: str = "") -> None:
            if number != self._number:
                return  # another came later
            self.known = True
            if self.frozen:
                return
            if start is not None:
                form.adopt(start)
                form.init_by_hand = form.init_by_hand and wanted is None
                sentence = start.notice
            self._changed()
            if wanted is not None and not quietly:  # of what is chosen here it is told when the training starts
                self._tell(sentence)

        self._run(lambda: look_up_start(wanted, chosen, anisotropy), done, lambda why: done(None, why))
        self._changed()

    @property
    def unscaled(self) -> bool:
        """Whether napari opened the form's layer from a file without its voxel size."""
        layer = self._form.layer.value
        return layer is not None and layer.ndim >= 3 and source_file(layer) is not None and all(layer.scale == 1)

    def _choose_layer(self, value: Any = None) -> None:
        """Another layer: what was in use for the one before may have been trained on that."""
        self._watch()
        layer = self._form.layer.value
        fitted = None if layer is None else layer.metadata.get(FITTED)
        self.look_up(None if self._form.init_by_hand else self._in_use() or fitted or self._default)

    def _watch(self) -> None:
        """Follow the anisotropy of the layer, on which the blur depends."""
        self._size.disconnect()
        if (layer := self._form.layer.value) is not None:
            self._size.connect(self._follow_size, layer.events.scale)

    def _follow_size(self, event: Any = None) -> None:
        self.look_up()
        self._resized()

    def _in_use(self) -> str | None:
        """The checkpoint in use in the other dock widget, if that is open."""
        widget = opened(self._form.viewer, WIDGET)
        return None if widget is None else widget.models.checkpoint_of(self._form.layer.value)


def _anisotropy(layer: Image | None) -> float:
    """Z step by pixel size, at least 1; 1 where there is none."""
    if layer is None or layer.ndim < 3:
        return 1.0
    z, y, x = voxel_size(layer)
    return max(1.0, z / math.sqrt(y * x))
