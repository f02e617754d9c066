"""How the command line words what the user can do about an error."""

from __future__ import annotations

from collections.abc import Mapping

from napari_niiv.errors import Remedy

COMMAND_LINE_WORDS: Mapping[Remedy, str] = {
    Remedy.RESUME: "go on with --resume",
    Remedy.START_ANEW: "start anew with --overwrite",
    Remedy.START_ANEW_INSTEAD: "start anew with --overwrite and without --resume",
    Remedy.RESUME_OR_START_ANEW: "continue with --resume or start anew with --overwrite",
    Remedy.RENAME_OR_REPLACE: "choose another name or overwrite it with --overwrite",
    Remedy.KEEP_DTYPE: "choose float32 or leave out --dtype",
    Remedy.NAME_DATASET: "give one with --image",
    Remedy.OPEN_HERE: "give its path to napari-niiv, which sorts them",
    Remedy.FOLLOW_LINKS: "if you trust it, follow links with --follow-links",
}
