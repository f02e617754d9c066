"""The channels of a volume, live together: their pictures add up as their sources do, and hide these."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.components import ViewerModel
from napari.layers import Image as NapariImage
from napari.layers import Layer
from napari.utils.notifications import show_info

from napari_niiv.plugin.common.connections import Connections
from napari_niiv.plugin.common.layers import COVER, finest_data, insert_above
from napari_niiv.plugin.common.removal import Removal, after_removal, remove_layers
from napari_niiv.plugin.live.picture_layer import Image
from napari_niiv.plugin.live.view import View

if TYPE_CHECKING:
    from napari_niiv.plugin.live.picture import LivePicture


_explained = False


class LiveChannels:
    """Puts the live pictures of the channels of one volume over their sources, as these lie over each other.

    Light adds up, so a source would shine through its picture. A cover, black and as large as the pictures, lies
    between sources and pictures; what it leaves free, such as the sources' part of a split window, is as it was. The
    pictures appear together: as long as one of those that are to be seen lacks, the sources are seen.

    Parameters
    ----------
    viewer : ViewerModel

    Attributes
    ----------
    complete : bool
        Whether there is a picture of each channel that is to be seen.
    """

    def __init__(self, viewer: ViewerModel) -> None:
        self._viewer = viewer
        self._pictures: list[LivePicture] = []
        self._cover: Image | None = None
        self._drawn: tuple[Any, ...] = ()  # what is on it
        self._connections = Connections()
        self._frame: tuple[Any, float] = (None, 0.0)
        self._left_out: list[NapariImage] = []  # sources that are hidden with their pictures
        self.complete = False

    def join(self, pictures: Sequence[LivePicture]) -> None:
        """Take pictures in, of which some may be here already."""
        if not self._pictures:
            self._connections.connect(self._removed, self._viewer.layers.events.removed)
        new = [picture for picture in pictures if picture not in self._pictures]
        self._pictures += new
        for picture in new:
            picture.join(self)
        if new:
            self._stack()
            self.arrange(*self._pictures)

    def leave(self, picture: LivePicture, how: Removal) -> None:
        """Let a picture go that ends; with the last one goes the cover."""
        self._pictures.remove(picture)
        if picture.source in self._left_out:
            self._left_out.remove(picture.source)
            picture.source.visible = True
        if self._pictures:
            self.couple()
            if self._cover is not None:
                self._cover.source_layer = self._pictures[0].source
            self.arrange()
            return
        self._connections.disconnect()
        cover, self._cover = self._cover, None
        if cover is not None:
            remove_layers(self._viewer, [cover], how)

    def arrange(self, *changed: LivePicture) -> None:
        """Show the pictures that changed; all, or none any more, where one came that lacked, or went."""
        before, self.complete = self.complete, all(each.newest is not None for each in self._pictures if each.wanted)
        for picture in changed if self.complete == before else tuple(self._pictures):
            picture.place()
        self.cover()

    def couple(self, event: Any = None) -> None:
        """A channel has two eyes: with that of its picture goes that of its source, and it is left out everywhere.

        Where the pictures of all are hidden, the sources are what is to be seen.
        """
        if self._viewer.dims.ndisplay != 2:
            return
        all_shut = all(each.shut for each in self._pictures)
        for each in tuple(self._pictures):
            out, source = each.shut and not all_shut, each.source
            if out and source.visible:
                self._left_out.append(source)
                source.visible = False
            elif not out and source in self._left_out:
                self._left_out.remove(source)
                source.visible = True

    def take_in(self, picture: LivePicture) -> bool:
        """Whether the user has just opened the eye of a source that was hidden with its picture."""
        opened = picture.source.visible and picture.source in self._left_out
        if opened:
            self._left_out.remove(picture.source)
        return opened

    def leaves_out(self, picture: LivePicture) -> bool:
        """Whether the user has hidden the picture of a channel, and not those of all."""
        return picture.source in self._left_out

    def cover(self, event: Any = None) -> None:
        """Cover the sources where there are pictures over them, and nowhere else."""
        cover, shown = self._cover, [each for each in self._pictures if each.layer.visible]
        if cover is None:
            return
        if shown and (placed := shown[-1].layer.placed) is not None:
            white = all(each.source.blending == "minimum" for each in self._pictures)
            place, size = one_pixel(*placed), tuple(finest_data(shown[-1].source).shape)
            if (drawn := (place.axes, place.affine.tobytes(), size, white)) != self._drawn:
                self._drawn = drawn
                cover.show(place, np.full((1, 1), 255 if white else 0, np.uint8), size, thumbnail=False)
        cover.visible = bool(shown)

    def freeze(self, picture: LivePicture) -> Layer:
        """Keep the pictures that are to be seen as layers, over all: the lowest is opaque, as light adds up.

        Returns
        -------
        Layer
            That of a given picture.

        Raises
        ------
        ReconstructionError
            If there is no picture of it, or of another, yet.
        """
        ordered = [each for each in self._ordered() if each.wanted or each is picture]
        ordered.sort(key=lambda each: each.newest is not None)  # what lacks is told before anything is kept
        kept = {each: each.freeze() for each in ordered}
        self._pile(self._ordered()[-1].layer, kept.values())
        next(iter(kept.values())).blending = "opaque"
        return kept[picture]

    def time_left(self, seconds: float) -> float:
        """What is left of the seconds for which the window may wait at this place of the sliders, for all channels."""
        point, now = self._viewer.dims.point, time.monotonic()
        if point != self._frame[0]:
            self._frame = point, now
        return max(0.0, seconds - (now - self._frame[1]))

    def _stack(self) -> None:
        """Order the layers: sources, cover, and the pictures as their sources are."""
        ordered = self._ordered()
        top = ordered[-1].source
        if self._cover is None:
            self._cover, self._drawn = _cover(ordered[0]), ()
            _explain(self._cover)
            self._cover.events.visible.connect(self._keep_cover)
            insert_above(self._viewer.layers, top, self._cover)
        self._pile(top, [self._cover, *(each.layer for each in ordered)])

    def _ordered(self) -> list[LivePicture]:
        """The pictures as their sources lie over each other, the lowest first."""
        layers = self._viewer.layers
        return sorted(self._pictures, key=lambda each: layers.index(each.source))

    def _pile(self, below: Layer, above: Iterable[Layer]) -> None:
        """Move layers so that they lie over one, and over each other."""
        layers = self._viewer.layers
        for layer in above:
            if layers.index(layer) != layers.index(below) + 1:
                layers.move(layers.index(layer), layers.index(below) + 1)
            below = layer

    def _removed(self, event: Any) -> None:
        """Without the cover the sources would shine through: it comes back as long as there are pictures."""
        if event.value is self._cover:
            self._cover = None
            after_removal(self._restore)

    def _keep_cover(self, event: Any = None) -> None:
        """Nor can it be hidden: light would add up to a wrong picture."""
        cover = self._cover
        if cover is not None and not cover.visible and any(each.layer.visible for each in self._pictures):
            cover.visible = True
            show_info("The cover stays as long as channels are restored: without it they would shine through.")

    def _restore(self) -> None:
        if self._pictures and self._cover is None:
            self._stack()
            self.cover()


def one_pixel(view: View, shape: tuple[int, int]) -> View:
    """The place of a single pixel that covers a whole picture.

    Parameters
    ----------
    view : View
        Place of the picture.
    shape : tuple of int
        Of the picture.
    """
    n = len(view.affine) - 1
    whole = np.eye(n + 1)
    for axis, count in zip(view.axes, shape, strict=True):
        whole[axis, axis], whole[axis, n] = count, (count - 1) / 2
    return replace(view, affine=view.affine @ whole)


def _explain(cover: Layer) -> None:
    """Say once in a session what a layer is that the user has not made."""
    global _explained
    if not _explained:
        _explained = True
        show_info(f"The layer “{cover.name}” is black: it keeps the sources of channels from shining through.")


def _cover(picture: LivePicture) -> Image:
    source = picture.source
    cover = Image(
        np.zeros((1,) * source.ndim, np.uint8),
        name="cover (no data)",
        units=source.units,
        axis_labels=source.axis_labels,
        contrast_limits=(0, 255),
        blending="opaque",
        metadata={COVER: True},
        visible=False,
    )
    cover.source_layer = source
    return cover
