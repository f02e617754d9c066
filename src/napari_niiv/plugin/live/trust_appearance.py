"""How maps of trust look, and what they are called; without torch, as the dock's legend needs it at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from napari_niiv.reconstruction.views.request import Trust

Colour = tuple[float, float, float, float]
"""Red, green, blue and opacity, 0 … 1."""


class Appearance(NamedTuple):
    """How a map looks.

    What is in a place or not has no scale: neither words for it nor a corner for a colour bar.

    Attributes
    ----------
    name : str
        As the switches have it. Short: it is the colours' too, whose name napari's layer controls are as wide as.
    layer_name : str
        The end of its layer's name.
    title : str
        What it shows, and why that matters, beside the name.
    explanation : str
        The same at length.
    colours : tuple of (float, Colour)
        Colours at places of the scale, 0 … 1; clear where there is nothing to say.
    limits : (float, float)
        Ends of the scale, in multiples of what is doubtful.
    words : tuple of str
        Along the scale, evenly spaced.
    corner : str
        Of the canvas, for the colour bar.
    """

    name: str
    layer_name: str
    title: str
    explanation: str
    colours: tuple[tuple[float, Colour], ...]
    limits: tuple[float, float]
    words: tuple[str, ...]
    corner: str


_RED, _BLUE = (1.0, 0.1, 0.0), (0.1, 0.4, 1.0)

APPEARANCES: dict[Trust, Appearance] = {
    "disagreement": Appearance(
        "xz ≠ yz",
        "xz and yz disagree",
        "where they differ, the model guesses",
        "The slices along x and those along y are restored by themselves, and the picture is their mean.\n"
        "Where they differ by more than 5 % of the contrast, it is wrong by about 10 % of the contrast.",
        ((0, (1, 0.9, 0.2, 0)), (0.4, (1, 0.9, 0.2, 0)), (0.5, (1, 0.8, 0.1, 0.55)), (1, (*_RED, 0.9))),
        (0.0, 2.0),
        ("fine", "doubtful"),
        "top_right",
    ),
    "misfit": Appearance(
        "≠ measured",
        "unlike the measurement",
        "darker or brighter than measured",
        "The picture is averaged over each z step again, as the microscope did, and compared with what it measured.\n"
        "Where the two differ by more than 5 % of the contrast, the picture contradicts the data.",
        (
            (0, (*_BLUE, 0.9)),
            (0.25, (*_BLUE, 0.5)),
            (0.3, (*_BLUE, 0)),
            (0.7, (*_RED, 0)),
            (0.75, (*_RED, 0.5)),
            (1, (*_RED, 0.9)),
        ),
        (-2.0, 2.0),
        ("doubtful", "fine", "doubtful"),
        "bottom_right",
    ),
    "bridged": Appearance(
        "bridged",
        "bridged sections",
        "violet: interpolated, not measured",
        "These sections are blank or damaged; what is shown is made of their neighbours.",
        ((0, (0.6, 0.2, 1, 0)), (1, (0.6, 0.2, 1, 0.4))),
        (0.0, 1.0),
        (),
        "",
    ),
}
