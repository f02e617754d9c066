"""Errors that the user can mend; each message is one sentence that says what to do."""


class NiivError(Exception):
    """Base of all errors shown to the user as one sentence, without a traceback."""


class VolumeError(NiivError):
    """A volume or its file cannot be used as it is."""


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
