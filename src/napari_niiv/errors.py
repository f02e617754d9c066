"""Errors that the user can mend; each message is one sentence that says what to do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum, auto
from typing import Any


class Remedy(Enum):
    """What the user can do about an error, as data; Python, the command line and the windows each word it."""

    RESUME = auto()
    """Go on with the interrupted work."""
    START_ANEW = auto()
    """Begin the work anew, in the place of the interrupted one."""
    START_ANEW_INSTEAD = auto()
    """Begin anew instead of going on, as that is what was asked for."""
    RESUME_OR_START_ANEW = auto()
    """Either of the first two."""
    RENAME_OR_REPLACE = auto()
    """Choose another name for the output, or replace the one that is there."""
    KEEP_DTYPE = auto()
    """Write float32, or the type of the source."""
    NAME_DATASET = auto()
    """Say which of several images is meant."""
    OPEN_HERE = auto()
    """Have this software open the file, which sorts its axes."""
    FOLLOW_LINKS = auto()
    """Say that symbolic links may lead out of a volume's folder."""


PYTHON_WORDS: Mapping[Remedy, str] = {
    Remedy.RESUME: "go on with resume=True",
    Remedy.START_ANEW: "start anew with overwrite=True",
    Remedy.START_ANEW_INSTEAD: "start anew with overwrite=True and without resume=True",
    Remedy.RESUME_OR_START_ANEW: "continue with resume=True or start anew with overwrite=True",
    Remedy.RENAME_OR_REPLACE: "choose another name or overwrite it with overwrite=True",
    Remedy.KEEP_DTYPE: "choose float32 or leave out dtype",
    Remedy.NAME_DATASET: "give one with dataset=",
    Remedy.OPEN_HERE: "open it with open_volume, which sorts them",
    Remedy.FOLLOW_LINKS: "if you trust it, follow links with follow_links=True",
}


class NiivError(Exception):
    """Base of all errors shown to the user as one sentence, without a traceback.

    Parameters
    ----------
    problem : str
        What is wrong. Without a remedy a whole sentence; with one, the beginning of it, which the remedy's words and a
        full stop complete: "The disk is full; free space and".
    remedy : Remedy, optional
        What to do, where that depends on how the software is being used.
    """

    def __init__(self, problem: str, remedy: Remedy | None = None) -> None:
        problem = printable(problem)
        super().__init__(*((problem,) if remedy is None else (problem, remedy)))
        self.problem, self.remedy = problem, remedy

    def __str__(self) -> str:
        return self.in_words(PYTHON_WORDS)

    def in_words(self, words: Mapping[Remedy, str]) -> str:
        """The sentence, its remedy worded as `words` has it."""
        return self.problem if self.remedy is None else f"{self.problem} {words[self.remedy]}."


def printable(text: str) -> str:
    """A text on one line, without what would steer a terminal: files may hold such names."""
    return "".join(c if c.isprintable() else " " if c.isspace() else "\N{REPLACEMENT CHARACTER}" for c in text)


def reason_of(error: BaseException) -> str:
    """Why something failed: the words of the system where there are some, such as "No space left on device"."""
    return str(getattr(error, "strerror", None) or error)


def unexpected(what: str, error: BaseException) -> str:
    """The sentence for a defect of ours; `what` failed, such as "The training"."""
    return f"{what} failed unexpectedly ({error!r}); please report it."


class VolumeError(NiivError):
    """A volume or its file cannot be used as it is."""


class DatasetChoice(VolumeError):
    """A file holds several images and none was named.

    Parameters
    ----------
    name : str
        The file's.
    datasets : sequence of str
        Their names, the most likely first.
    descriptions : sequence of str, optional
        Shape and type of each, such as "12 × 48 × 56 uint8"; empty where that is not known.
    """

    def __init__(self, name: str, datasets: Sequence[str], descriptions: Sequence[str] = ()) -> None:
        self.name, self.datasets = name, tuple(datasets)
        self.descriptions = tuple(descriptions) or ("",) * len(self.datasets)
        few = ", ".join(self.lines[:12]) + (", …" if len(self.datasets) > 12 else "")
        super().__init__(f"{name} holds {len(self.datasets)} images: {few};", Remedy.NAME_DATASET)

    @property
    def lines(self) -> tuple[str, ...]:
        """Each name with its description, as a person reads it."""
        pairs = zip(self.datasets, self.descriptions, strict=True)
        return tuple(f"{dataset} ({words})" if words else dataset for dataset, words in pairs)

    def __reduce__(self) -> Any:
        return DatasetChoice, (self.name, self.datasets, self.descriptions)


class ConstantVolumeError(VolumeError):
    """A volume has one intensity only, its `value`."""

    def __init__(self, problem: str, value: float) -> None:
        super().__init__(problem)
        self.value = value

    def __reduce__(self) -> Any:
        return ConstantVolumeError, (self.problem, self.value)


class CheckpointError(NiivError):
    """A checkpoint cannot be read or does not fit."""


class DeviceError(NiivError):
    """A computing device is absent or unusable."""


class OutputError(NiivError):
    """A result cannot be written where it was asked for."""


class ReconstructionError(NiivError):
    """A request for a reconstruction makes no sense for this volume."""


class TrainingError(NiivError):
    """A training cannot start with these volumes or settings, or cannot go on."""
