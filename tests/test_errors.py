from __future__ import annotations

import pickle

import pytest

from napari_niiv.cli.words import COMMAND_LINE_WORDS
from napari_niiv.errors import (
    PYTHON_WORDS,
    ConstantVolumeError,
    DatasetChoice,
    NiivError,
    OutputError,
    Remedy,
    unexpected,
)


@pytest.mark.parametrize("words", [PYTHON_WORDS, COMMAND_LINE_WORDS], ids=["Python", "command line"])
def test_every_remedy_has_words(words):
    assert set(words) == set(Remedy)
    assert len({words[remedy] for remedy in Remedy}) == len(Remedy)


def test_each_face_words_the_same_error():
    error = OutputError("The disk is full; free space and", Remedy.RESUME)
    assert str(error) == "The disk is full; free space and go on with resume=True."
    assert error.in_words(COMMAND_LINE_WORDS) == "The disk is full; free space and go on with --resume."
    assert str(OutputError("No remedy depends on the face.")) == "No remedy depends on the face."


@pytest.mark.parametrize(
    "error",
    [
        OutputError("The disk is full; free space and", Remedy.RESUME),
        NiivError("Something is wrong."),
        DatasetChoice("file.h5", ["raw", "labels"]),
        ConstantVolumeError("It is constant.", 3.0),
    ],
    ids=lambda error: type(error).__name__,
)
def test_they_travel_between_processes(error):
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is type(error)
    assert vars(copy) == vars(error)
    assert str(copy) == str(error)


def test_a_defect_is_told_as_one():
    assert unexpected("The training", KeyError("x")) == (
        "The training failed unexpectedly (KeyError('x')); please report it."
    )


def test_what_files_hold_steers_no_terminal():
    error = DatasetChoice("a\x1b[2J.h5", ["x\ny", "z\u2028"])
    assert str(error) == "a\ufffd[2J.h5 holds 2 images: x y, z ; give one with dataset=."
    assert error.datasets == ("x\ny", "z\u2028")  # by which they are opened
