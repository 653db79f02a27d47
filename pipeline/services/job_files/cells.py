"""What a cell of a job file says: counts, flags and moments. Amounts are in `amounts.py`.

What belongs here: one cell, and what the other cells of its file prove about it. What does not: which cell is which
(`print_log.py`, `csv_report.py`), and what becomes of a line that cannot be read (`folder.py`).

A date such as 05/11/2026 can be read in two ways and is never guessed: the setting decides, or else the other cells of
the file, where one 25/11/2026 shows that the day stands first. Where no cell shows it, or two contradict each other,
the line is not read. ValueError carries the reason and never repeats a cell: it may be a name that slipped in from
beside.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from datetime import date, datetime, time
from functools import cached_property
from typing import NamedTuple

Cells = Callable[[], Iterable[str]]
"""Every cell of one column of a file, asked for only when one of them needs the others."""

YEARS = range(2000, 2068)
"""The years a print can be from; a job's id has room for no others (`identity.py`)."""

_YES = {"Y", "YES", "TRUE", "1", "SÍ", "SI", "S", "SIM", "J", "JA", "O", "OUI"}
_NO = {"N", "NO", "FALSE", "0", "NÃO", "NEIN", "NEE", "NON"}

_GAP = r"(?:\s*T\s*|\s*,?\s+)"
_HOURS = r"([0-9]{1,2})[:.]([0-9]{2})(?:[:.]([0-9]{2})(?:[.,][0-9]+)?)?\s*(?:([AaPp])\.?\s?(?:[Mm]\.?)?)?"
_YEAR_FIRST = re.compile(rf"([0-9]{{4}})([-/.])([0-9]{{1,2}})\2([0-9]{{1,2}}){_GAP}{_HOURS}")
_YEAR_LAST = re.compile(rf"([0-9]{{1,2}})([-/.])([0-9]{{1,2}})\2([0-9]{{4}}){_GAP}{_HOURS}")
_DAY_NAME = re.compile(rf"([0-9]{{1,2}})[-. ]+(?:de )?([^\W\d_]{{3,10}})[-. ]+(?:de )?([0-9]{{4}}){_GAP}{_HOURS}")
_NAME_DAY = re.compile(rf"([^\W\d_]{{3,10}})\.? ([0-9]{{1,2}}), ?([0-9]{{4}}){_GAP}{_HOURS}")
_ISO_LENGTH = len("2026-11-20 15:04:05")
_GROUPED = re.compile(r"[0-9]{1,3}(?:([.,' \u00a0\u2009\u202f\u2019])[0-9]{3})(?:\1[0-9]{3})*")
_COUNT = re.compile(r"[0-9]{1,9}")

_MONTHS = {
    name: number
    for number, names in enumerate(
        (
            "jan ene gen", "feb fev fév", "mar mär mrt", "apr abr avr", "may mai mag mei maj", "jun giu juin",
            "jul lug juil", "aug ago aoû aou", "sep set", "oct okt ott out", "nov", "dec dez dic déc",
        ),
        start=1,
    )
    for name in names.split()
}  # fmt: skip
"""English, German, French, Spanish, Portuguese, Italian, Dutch and Scandinavian months by how they begin."""

_FORM = "the time is not written as 2026-11-20 15:04:05 or 2026-11-20 3:04:05 PM"
_NO_SUCH_TIME = "there is no such time"


class Moment(NamedTuple):
    """A wall-clock time of the server, and whether its cell names the second."""

    at: datetime
    exact: bool


class Moments:
    """Reads the moments of one file.

    Args:
        cells: all moments of the file.
        day_first: how 05/11/2026 is read; None: as the file shows.
    """

    def __init__(self, cells: Cells, *, day_first: bool | None = None) -> None:
        self._cells = cells
        self._day_first = day_first

    def __call__(self, text: str) -> Moment:
        """The moment of one cell.

        Raises:
            ValueError: it is none, no such time exists, or it can be read in two ways.
        """
        if len(text) == _ISO_LENGTH and text[4] == "-" == text[7] and text[13] == ":" == text[16]:  # most by far
            try:
                return Moment(_within(datetime.fromisoformat(text)), exact=True)
            except ValueError:
                raise ValueError(_NO_SUCH_TIME) from None
        if found := _YEAR_FIRST.fullmatch(text):
            year, _, month, day, *clock = found.groups()
            return _moment(year, int(month), day, clock)
        if found := _YEAR_LAST.fullmatch(text):
            one, sign, other, year, *clock = found.groups()
            day, month = (one, other) if sign == "." or self._day_stands_first else (other, one)
            return _moment(year, int(month), day, clock)
        if found := _DAY_NAME.fullmatch(text):
            day, name, year, *clock = found.groups()
        elif found := _NAME_DAY.fullmatch(text):
            name, day, year, *clock = found.groups()
        else:
            raise ValueError(_FORM)
        return _moment(year, _month(name), day, clock)

    @cached_property
    def _day_stands_first(self) -> bool:
        """Whether 05/11/2026 is in November. With dots the day is first in every locale, so only others are asked."""
        if self._day_first is not None:
            return self._day_first
        first, second = False, False
        for text in self._cells():
            if (found := _YEAR_LAST.fullmatch(text.strip())) and found[2] != ".":
                first, second = first or int(found[1]) > 12, second or int(found[3]) > 12
        if first and second:
            raise ValueError(
                "some dates of the file have the day first and others the month; export it again with one form"
            )
        if not first and not second:
            raise ValueError(
                "the date can be read with the day or the month first, and no row of the file shows which; set "
                "jobs.dates to day_first or month_first"
            )
        return first


def _moment(year: str, month: int, day: str, clock: list[str | None]) -> Moment:
    hours, minute, second, half = clock
    hour = int(hours or 0)
    if half:
        if not 1 <= hour <= 12:
            raise ValueError(_NO_SUCH_TIME)
        hour = hour % 12 + (12 if half in "Pp" else 0)
    try:
        on = date(int(year), month, int(day))
        at = datetime.combine(on, time(hour, int(minute or 0), int(second or 0)))  # the server's, without a zone
    except ValueError:
        raise ValueError(_NO_SUCH_TIME) from None
    return Moment(_within(at), exact=second is not None)


def _within(at: datetime) -> datetime:
    if at.year not in YEARS or at.tzinfo:
        raise ValueError(_NO_SUCH_TIME)
    return at


def _month(name: str) -> int:
    folded = name.casefold()
    found = _MONTHS.get(folded[:3]) or _MONTHS.get(folded[:4])
    if not found:
        raise ValueError(_FORM)
    return found


def whole(name: str, text: str) -> int:
    """A count, its thousands separated or not; 0 where the line has none.

    Raises:
        ValueError: it is something else, or above 999,999,999.
    """
    if not text:
        return 0
    if not _COUNT.fullmatch(text):
        digits = "".join(re.findall("[0-9]", text))
        if not _GROUPED.fullmatch(text) or len(digits) > 9:
            raise ValueError(f"{name} is not a whole number")
        return int(digits)
    return int(text)


def flag(name: str, text: str, *, empty: bool = False) -> bool:
    """A yes or no, also in the words of the Print Logger (`DUPLEX`, `NOT DUPLEX`).

    Raises:
        ValueError: it is neither.
    """
    word = text.upper()
    if word in _YES or word == name.upper():
        return True
    if word in _NO or word == f"NOT {name.upper()}":
        return False
    if word:
        raise ValueError(f"{name} is neither yes nor no")
    return empty
