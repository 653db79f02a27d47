"""The layout of PaperCut's daily print logs, `printlog_yyyy_mm_dd.log` (`papercut-api.md` 5.3).

What belongs here: which tab-separated field is what. What does not: reading files (`folder.py`).

PaperCut writes these logs whatever its database is, in real time, one a day, kept 30 days, without a header. They know
no refunds and no denied jobs, so a database is the better source. The fields up to the colour pages are documented;
those behind are believed, so compare a line of your own with `POSITIONS` and set `jobs.columns` where it differs.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence

from pipeline.errors import ConfigError
from pipeline.services.job_files.amounts import Amounts
from pipeline.services.job_files.cells import Moments, flag, whole
from pipeline.services.job_files.folder import FileJob, fields_at

POSITIONS = {
    "date": 1, "time": 2,  # PaperCut splits the moment itself by a tab
    "printer": 4, "username": 5, "account": 6, "pages": 9, "color_pages": 10,
    "copies": 11, "cost": 12, "duplex": 13,
}  # fmt: skip
"""The first field is 1. `account` is who pays; `date`, `time` and all others may be moved by `jobs.columns`."""

_NAME = re.compile(r"printlog_\d{4}_\d\d_\d\d\.log", re.IGNORECASE)


class PrintLog:
    """A `Layout`: positions instead of a header. PaperCut itself writes each print once: equal lines are two prints."""

    repeats = False
    takes_back = False

    def __init__(self, columns: Mapping[str, str], *, day_first: bool | None = None) -> None:
        """Take the positions that the configuration changes.

        Args:
            columns: our name -> position, counted from 1, as text.
            day_first: how 05/11/2026 is read; None: as the file shows.

        Raises:
            ConfigError: an unknown name, or not a position.
        """
        wrong = [
            f"{name} = {at!r}"
            for name, at in columns.items()
            if name not in POSITIONS or not re.fullmatch("[1-9]\\d?", at)
        ]
        if wrong:
            raise ConfigError(
                f"jobs.columns of a print log cannot hold {', '.join(wrong)}",
                f'give positions counted from 1, such as cost = "12", for any of: {", ".join(POSITIONS)}',
            )
        self._positions = {name: int(columns.get(name, at)) - 1 for name, at in POSITIONS.items()}
        self._day_first = day_first
        self._needed = max(self._positions[name] for name in ("date", "time", "printer", "username", "pages", "cost"))

    def covers(self, name: str) -> bool:
        """Whether it is a daily print log."""
        return bool(_NAME.fullmatch(name))

    def table(self, lines: Sequence[str]) -> tuple[int, Callable[[str], FileJob]]:
        """Jobs from the first line on."""
        return 0, _Lines(self._positions, self._needed, lines, day_first=self._day_first).job


class _Lines:
    """The lines of one file."""

    def __init__(
        self, positions: Mapping[str, int], needed: int, lines: Sequence[str], *, day_first: bool | None
    ) -> None:
        self._positions = positions
        self._needed = needed
        self._lines = lines
        self._moment = Moments(lambda: self._column("date", "time"), day_first=day_first)
        self._cost = Amounts(lambda: self._column("cost"))

    def _column(self, *names: str) -> Iterator[str]:
        for line in self._lines:
            field = fields_at(self._positions, line.split("\t"))
            yield " ".join(field(name) for name in names)

    def job(self, line: str) -> FileJob:
        """One job line; ValueError if it is none."""
        fields = line.split("\t")
        if len(fields) <= self._needed:
            raise ValueError(f"has {len(fields)} fields where at least {self._needed + 1} are needed")
        field = fields_at(self._positions, fields)
        username = field("username").lower()
        moment = self._moment(f"{field('date')} {field('time')}")
        return FileJob(
            printed_at=moment.at,
            exact=moment.exact,
            username=username,
            printer=field("printer"),
            pages=whole("pages", field("pages")),
            color_pages=whole("color_pages", field("color_pages")),
            copies=whole("copies", field("copies")),
            duplex=flag("duplex", field("duplex")),
            cost=self._cost(field("cost")),
            shared_account=field("account").lower() not in {"", username},
        )
