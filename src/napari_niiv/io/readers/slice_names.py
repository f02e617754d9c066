"""Which files make one stack of slices, in which order: by their names."""

from __future__ import annotations

import itertools
import math
import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from napari_niiv.errors import VolumeError

TIFF = (".tif", ".tiff")
_FAMILIES = (TIFF, (".png",), (".jpg", ".jpeg"), (".bmp",))
SUFFIXES = tuple(suffix for family in _FAMILIES for suffix in family)

# as systems name copies: "s05 (1)", "s05 - Copy", "s05 copy 2", "Copy of s05"
_COPY = re.compile(
    r"(?:(?:copy of|kopie von) (?P<after>.+)|(?P<before>.+?)(?: ?\(\d+\)|[ _-]+(?:copy|kopie|copie)(?: ?\(?\d+\)?)?))"
)
_WHOLE_NUMBER = re.compile(r"(?:(?<=[_=])-)?\d+")
_DECIMAL_NUMBER = re.compile(r"(?:(?<=[_=])-)?\d+(?:\.\d+)?")
# what stands before the number of a channel or time, such as "_ch" in "z003_ch01"
_ROLES = {
    "c": re.compile(r"(?:^|[^a-z])(?:c|ch|chan|channel|w|wavelength)[ _=-]*$"),
    "t": re.compile(r"(?:^|[^a-z])(?:t|time|timepoint)[ _=-]*$"),
}


@dataclass(frozen=True)
class Arranged:
    """Files of slices in order.

    Attributes
    ----------
    files : tuple
        For each time, for each channel, the files along z.
    channels : tuple of str
        Their names; empty where names tell of none.
    note : str
        What is missing or was left out; mostly empty.
    """

    files: tuple[tuple[tuple[Path, ...], ...], ...]
    channels: tuple[str, ...]
    note: str


@dataclass(frozen=True)
class _Name:
    """A file's name in pieces: texts, in lower case, and the numbers between them."""

    path: Path
    texts: tuple[str, ...]
    numbers: tuple[Decimal, ...]

    @classmethod
    def of(cls, path: Path, pattern: re.Pattern[str]) -> _Name:
        stem = path.stem.lower()
        return cls(path, tuple(pattern.split(stem)), tuple(Decimal(n) for n in pattern.findall(stem)))

    def cased(self, index: int, pattern: re.Pattern[str]) -> str:
        """One of the texts as it is written."""
        return pattern.split(self.path.stem)[index]


def arrange(pictures: Sequence[Path], where: str) -> Arranged:
    """The stack that the names of files tell: one kind of file, one running number, channels and times.

    Parameters
    ----------
    pictures : sequence of Path
        In any order.
    where : str
        The folder's name, for messages.

    Raises
    ------
    VolumeError
        If the names do not tell, or tell of several stacks.
    """
    family = Counter(_family(path) for path in pictures).most_common(1)[0][0]
    aside = sorted((p.name for p in pictures if _family(p) != family), key=str.lower)
    slices = sorted((p for p in pictures if _family(p) == family), key=lambda p: p.name.lower())
    if len(slices) < 2:
        raise VolumeError(f"{where} holds one picture, {slices[0].name}; open that, or a folder of several slices.")
    slices, copies = _without_copies(slices)
    groups, odd = _groups(slices, where)
    times, channels, gaps = _by_numbers(groups, where)
    notes = [
        (gaps, f"the folder lacks the slices {gaps}"),
        (copies, f"copies are left out: {_few(copies)}"),
        (aside + odd, f"left out, as they are no slices of this stack by their names: {_few(aside + odd)}"),
    ]
    return Arranged(times, channels, "; ".join(words for told, words in notes if told))


def _family(path: Path) -> tuple[str, ...]:
    return next(family for family in _FAMILIES if path.suffix.lower() in family)


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _without_copies(slices: list[Path]) -> tuple[list[Path], list[str]]:
    """The files but for copies of others among them, and the names of the copies."""
    stems = {path.stem.lower() for path in slices}
    found = [(path, _COPY.fullmatch(path.stem.lower())) for path in slices]
    copies = [path for path, match in found if match and (match["before"] or match["after"]) in stems]
    # "img.tif", "img (1).tif", "img (2).tif", … are numbered so
    if 2 * len(copies) > len(slices):
        return slices, []
    return [path for path in slices if path not in set(copies)], sorted(path.name for path in copies)


def _groups(slices: list[Path], where: str) -> tuple[dict[str, list[_Name]], list[str]]:
    """The files by the name of their channel, and the names of those that belong to no stack."""
    pattern = _DECIMAL_NUMBER if _are_decimals(slices) else _WHOLE_NUMBER
    by_texts: dict[tuple[str, ...], list[_Name]] = defaultdict(list)
    for path in slices:
        by_texts[(name := _Name.of(path, pattern)).texts].append(name)
    kinds = {texts: names for texts, names in by_texts.items() if len(names) > 1 and names[0].numbers}
    odd = sorted(name.path.name for texts, names in by_texts.items() if texts not in kinds for name in names)
    if not kinds or len(odd) >= len(slices) - len(odd):
        raise VolumeError(
            f"{where} holds pictures whose names ({_few(odd[:2])}, …) have no running number in common; "
            "number them, such as s001, s002."
        )
    return _named_channels(kinds, pattern, where), odd


def _are_decimals(slices: list[Path]) -> bool:
    """Whether points in names are decimal points, as in "z_0.25um", and do not part numbers, as in "1.9", "1.10"."""
    fractions = [[n.partition(".")[2] for n in _DECIMAL_NUMBER.findall(path.stem)] for path in slices]
    for column in itertools.zip_longest(*fractions, fillvalue=""):
        written = [fraction for fraction in column if fraction]
        if len({len(fraction) for fraction in written}) > 1 and any(fraction.endswith("0") for fraction in written):
            return False
    return True


def _named_channels(
    kinds: dict[tuple[str, ...], list[_Name]], pattern: re.Pattern[str], where: str
) -> dict[str, list[_Name]]:
    """The files by channel, where their names differ in one text alone, such as "z01_GFP" and "z01_DAPI"."""
    if len(kinds) == 1:
        return {"": next(iter(kinds.values()))}
    differing = [i for i, texts in enumerate(zip(*kinds, strict=False)) if len(set(texts)) > 1]
    if len({len(texts) for texts in kinds}) != 1 or len(differing) != 1:
        raise _several_stacks(where, [names[0] for names in kinds.values()])
    texts = [names[0].cased(differing[0], pattern) for names in kinds.values()]
    words = [[word for word in re.split(r"[ _.=-]+", text) if word] for text in texts]
    shared = set.intersection(*map(set, words))
    labels = [" ".join(word for word in each if word not in shared) or "?" for each in words]
    if len(set(labels)) < len(labels):
        labels = texts
    return dict(sorted(zip(labels, kinds.values(), strict=True)))


def _several_stacks(where: str, examples: Sequence[_Name]) -> VolumeError:
    names = ", ".join(name.path.name for name in examples[:3])
    return VolumeError(f"{where} holds several stacks by the names of its files ({names}, …); leave only one in it.")


_Files = tuple[tuple[tuple[Path, ...], ...], ...]


def _by_numbers(groups: dict[str, list[_Name]], where: str) -> tuple[_Files, tuple[str, ...], str]:
    """The files by time, channel and height; names of the channels; and the heights that are missing."""
    along, roles = _numbers_used(groups, where)
    cells: dict[tuple[Decimal, tuple[str, Decimal]], dict[Decimal, Path]] = defaultdict(dict)
    for label, names in groups.items():
        for name in names:
            time, channel = (name.numbers[roles[r]] if r in roles else Decimal(0) for r in "tc")
            stack, height = cells[time, (label, channel)], name.numbers[along]
            if height in stack:
                names_of_both = f"{stack[height].name} and {name.path.name}"
                raise VolumeError(f"{where} holds {names_of_both}, which have the same number; leave out one.")
            stack[height] = name.path
    times, channels = sorted({time for time, _ in cells}), sorted({channel for _, channel in cells})
    heights = sorted({height for stack in cells.values() for height in stack})
    for stack in cells.values():
        if lacking := [height for height in heights if height not in stack]:
            raise VolumeError(
                f"{where} does not hold the same slices of all channels and times: number {lacking[0]} is missing "
                f"beside {next(iter(stack.values())).name}; add it, or leave only one channel and time."
            )
    if len(cells) != len(times) * len(channels):
        raise VolumeError(f"{where} does not hold all channels at all times; add them, or leave only one of each.")
    files = tuple(tuple(tuple(cells[time, c][h] for h in heights) for c in channels) for time in times)
    named = tuple(label or f"channel {number}" for label, number in channels) if len(channels) > 1 else ()
    return files, named, _gaps(heights)


def _numbers_used(groups: dict[str, list[_Name]], where: str) -> tuple[int, dict[str, int]]:
    """Which number of the names runs along z, and which tell channel and time."""
    names = [name for group in groups.values() for name in group]
    varying = [i for i in range(len(names[0].numbers)) if len({name.numbers[i] for name in names}) > 1]
    running = [i for i in varying if all(len({n.numbers[i] for n in group}) == len(group) for group in groups.values())]
    if running:  # a time stamp may run along with the number; it has more gaps
        return min(running, key=lambda i: _absent(sorted({name.numbers[i] for name in names}))), {}
    roles = {i: role for i in varying for role, word in _ROLES.items() if word.search(names[0].texts[i])}
    rest = [i for i in varying if i not in roles]
    if len(rest) != 1 or len(set(roles.values())) != len(roles):
        raise _several_stacks(where, names)
    return rest[0], {role: i for i, role in roles.items()}


def _steps(present: Sequence[Decimal]) -> tuple[Decimal, int]:
    """The common step of numbers in order, and how many steps they span."""
    digits = max(0, *(-int(number.as_tuple().exponent) for number in present))
    whole = [int(number.scaleb(digits)) for number in present]
    step = math.gcd(*(b - a for a, b in itertools.pairwise(whole)))
    return Decimal(step).scaleb(-digits), (whole[-1] - whole[0]) // step


def _absent(present: Sequence[Decimal]) -> int:
    return _steps(present)[1] + 1 - len(present)


def _gaps(present: Sequence[Decimal]) -> str:
    """The numbers that a run skips, such as "4, 7"; empty if none, or if it is no run."""
    if not 0 < _absent(present) <= 10 * len(present):
        return ""
    (step, count), there = _steps(present), set(present)
    missing = [f"{n.normalize():f}" for i in range(count) if (n := present[0] + i * step) not in there]
    return ", ".join(missing[:10]) + (", …" if len(missing) > 10 else "")
