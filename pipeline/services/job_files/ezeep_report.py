"""The layout of ezeep's report of jobs: a CSV file whose headers only bridge.toml knows (`ezeep-api.md` 8.2).

What belongs here: finding the columns that bridge.toml names, and one row as a job. What does not: reading files
(`folder.py`), what a cell says (`cells.py`), and what a page costs (`pipeline.domain.money.prices`).

No report of ezeep is public, so no header is guessed. A row without an e-mail is refused with its reason: the report
was made with the e-mails blanked. A job that failed did not print; a status that nobody knows is no reason to print for
free. A row with pages below 0 takes so many back of a print that it does not name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta, timezone

from pipeline.domain.names import user_name_of
from pipeline.errors import ConfigError
from pipeline.services.job_files.cells import Moment, Moments, flag, whole
from pipeline.services.job_files.csv_report import Rows, plain_header, split_cells
from pipeline.services.job_files.folder import FileJob, fields_at

COLUMNS = (
    "user_email", "printed_at", "pages", "printer", "paper", "colour", "color_pages", "duplex", "copies", "status",
)  # fmt: skip
"""What bridge.toml may name a column for; the first three it must."""

REQUIRED = COLUMNS[:3]

STATUS = {
    **dict.fromkeys(("", "succeeded", "success", "done", "printed", "completed", "ok"), True),
    **dict.fromkeys(("failed", "error", "cancelled", "canceled", "expired", "aborted"), False),
}
"""What a status says of whether a job was printed; a line with any other is not read, and named."""

_MINUS = "-\N{MINUS SIGN}"

_HEADER_WITHIN = 20
"""So many lines may stand before the header."""


class EzeepReport:
    """A `Layout`: the columns that bridge.toml names. Reports may overlap, so a row may come twice.

    ezeep knows no refund: one shows in a row with pages below 0, or in one that a later report lacks.
    """

    repeats = True
    takes_back = True

    def __init__(self, columns: Mapping[str, str], *, hours: int, day_first: bool | None = None) -> None:
        """Take the headers that the configuration names.

        Args:
            columns: our name -> the header of its column.
            hours: from UTC, of times that name no offset of their own.
            day_first: how 05/11/2026 is read; None: as the file shows.

        Raises:
            ConfigError: an unknown name, or one of `REQUIRED` is missing.
        """
        unknown = [name for name in columns if name not in COLUMNS]
        missing = [name for name in REQUIRED if name not in columns]
        if unknown or missing:
            wrong = f"cannot hold {', '.join(unknown)}" if unknown else f"lacks {', '.join(missing)}"
            raise ConfigError(f"jobs.columns of an ezeep report {wrong}", f"name columns for: {', '.join(COLUMNS)}")
        self._day_first, self._zone = day_first, timezone(timedelta(hours=hours))
        self._headers = {name: plain_header(header) for name, header in columns.items()}

    def covers(self, name: str) -> bool:
        """Whether it is a CSV file."""
        return name.casefold().endswith(".csv")

    def table(self, lines: Sequence[str]) -> tuple[int, Callable[[str], FileJob]]:
        """Jobs from the line after the header on.

        Raises:
            ValueError: no line has all headers that bridge.toml names.
        """
        for at, line in enumerate(lines[:_HEADER_WITHIN]):
            for separator in (",", ";"):
                try:
                    header = [plain_header(cell) for cell in split_cells(line, separator)]
                except ValueError:
                    continue
                if all(named in header for named in self._headers.values()):
                    positions = {name: header.index(named) for name, named in self._headers.items()}
                    rows = Rows(separator, len(header), lines[at + 1 :])
                    return at + 1, _Table(rows, positions, self._zone, day_first=self._day_first).job
        raise ValueError(f"no line is a header with the columns {', '.join(self._headers.values())} of jobs.columns")


class _Table:
    """The jobs under one header row."""

    def __init__(self, rows: Rows, positions: Mapping[str, int], zone: timezone, *, day_first: bool | None) -> None:
        self._rows, self._positions, self._zone = rows, positions, zone
        when = positions["printed_at"]
        self._moment = Moments(lambda: (cells[when].strip() for cells in rows), day_first=day_first)

    def _at(self, cell: str) -> Moment:
        """The moment of a cell on the clock of the report; one that names an offset is moved to it."""
        try:
            moment = datetime.fromisoformat(cell)
        except ValueError:
            return self._moment(cell)
        if moment.tzinfo is None:
            return self._moment(cell)
        local = moment.astimezone(self._zone).replace(tzinfo=None, microsecond=0)
        return self._moment(local.isoformat(sep=" "))

    def job(self, line: str) -> FileJob:
        """One job line; ValueError if it is none."""
        field = fields_at(self._positions, self._rows.cells(line))
        username = user_name_of(field("user_email"))
        if not username:
            raise ValueError("has no e-mail: the report was made with user_email_blank; make it anew without")
        # Without a count of colour pages, a job is grey or in colour as a whole. Without either no price asks for it.
        grey = "colour" not in self._positions or not flag("colour", field("colour"))
        counted = "color_pages" in self._positions
        pages = _pages(field("pages"))
        coloured = field("color_pages").lstrip(_MINUS) if pages < 0 else field("color_pages")
        moment = self._at(field("printed_at"))
        return FileJob(
            printed_at=moment.at,
            exact=moment.exact,
            username=username,
            printer=field("printer"),
            pages=pages,
            color_pages=whole("color_pages", coloured) if counted else 0 if grey else pages,
            copies=whole("copies", field("copies")),
            duplex=flag("duplex", field("duplex")),
            cost=None,
            paper=field("paper") or None,
            printed=_printed(field("status")),
        )


def _pages(cell: str) -> int:
    if not cell:
        raise ValueError("has no number of pages")
    return whole("pages", cell) if cell[0] not in _MINUS else -whole("pages", cell[1:])


def _printed(cell: str) -> bool:
    if (printed := STATUS.get(cell.lower())) is None:
        raise ValueError("has a status that is neither one of success nor of failure")
    return printed
