"""The views that were asked for, until their pictures have come."""

from __future__ import annotations

from napari_niiv.plugin.live.view import View
from napari_niiv.reconstruction.threads.scheduler import Answer

_REMEMBERED = 16  # views whose answers may still come


class RequestedViews:
    """Remembers the last views by the generation of their request, and tells which answers may still be shown."""

    def __init__(self) -> None:
        self._views: dict[int, View] = {}

    def add(self, generation: int, view: View) -> None:
        """Remember the view that was asked for with a generation, and forget the oldest."""
        recent = sorted(self._views)[-_REMEMBERED:]
        self._views = {each: self._views[each] for each in recent}
        self._views[generation] = view

    def __contains__(self, generation: int) -> bool:
        return generation in self._views

    def get(self, generation: int) -> View | None:
        """The view that was asked for with a generation, if it is remembered."""
        return self._views.get(generation)

    def view_to_show(self, answer: Answer, newest: int) -> View | None:
        """The view that an answer may be shown in now; None if it comes too late.

        An answer is shown if it is of the newest generation, another window of the same slice, or a scroll's
        placeholder.
        """
        view, wanted = self.get(answer.generation), self.get(newest)
        if view is None or wanted is None or view is wanted:
            return None if wanted is None else view
        if view.axes != wanted.axes or view.request.plane != wanted.request.plane:
            return None
        placeholder = answer.response is not None and answer.response.quality == "placeholder"
        return view if placeholder or view.request.place == wanted.request.place else None
