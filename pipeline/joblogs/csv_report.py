"""The layout of CSV files with a header row: PaperCut Print Logger, exported reports (`papercut-api.md` 5.4 to 5.6).

What belongs here: finding the header row and naming its columns. What does not: reading files (`folder.py`).

Titles and blank lines before the header are skipped, the separator is found with it, and each line is read by itself,
so that one stray quote spoils one line. The Print Logger knows no cost: `cost` is null and such jobs are not charged.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping, Sequence

from pipeline.errors import ConfigError
from pipeline.joblogs.folder import FileJob, cost, fields_at, flag, local_time, whole

HEADERS: Mapping[str, tuple[str, ...]] = {
    "printed_at": ("time", "date", "usage date"),
    "username": ("user", "username", "user name"),
    "account": ("charged to", "account"),
    "printer": ("printer", "printer name"),
    "document": ("document name", "document"),
    "pages": ("pages", "total pages"),
    "color_pages": ("color pages", "colour pages", "total color pages"),
    "copies": ("copies",),
    "duplex": ("duplex",),
    "grayscale": ("grayscale", "gray scale"),
    "cost": ("cost", "charged cost"),
    "allowed": ("allowed",),
    "printed": ("printed",),
    "refunded": ("refunded",),
    "job_type": ("job type",),
}
"""Our name -> the headers it is known by, in any case. `account` is who pays; `document` only tells jobs apart."""

REQUIRED = ("printed_at", "username", "pages")

_IDENTITY = ("printed_at", "username", "printer", "document", "pages", "copies")
"""What stays when a report is exported again; cost and refunds may change, and then it is the same job revised."""


class CsvReport:
    """A `Layout`: columns by the names in the header row."""

    def __init__(self, columns: Mapping[str, str]) -> None:
        """Take the headers that the configuration names.

        Args:
            columns: our name -> the header of its column, instead of the known ones.

        Raises:
            ConfigError: an unknown name.
        """
        unknown = [name for name in columns if name not in HEADERS]
        if unknown:
            raise ConfigError(
                f"jobs.columns of CSV files cannot hold {', '.join(unknown)}", f"use any of: {', '.join(HEADERS)}"
            )
        named = {name: (header.strip().casefold(),) for name, header in columns.items()}
        self._headers = {**HEADERS, **named}
        self._required = dict.fromkeys((*REQUIRED, *columns))

    def covers(self, name: str) -> bool:
        """Whether it is a CSV file."""
        return name.casefold().endswith(".csv")

    def table(self, lines: Sequence[str]) -> tuple[int, Callable[[str], FileJob]]:
        """Jobs from the line after the header on.

        Raises:
            ValueError: no line names the columns needed; those of the configuration count as needed.
        """
        for at, line in enumerate(lines):
            for separator in (",", ";", "\t"):
                table = _Table(separator, [cell.strip().casefold() for cell in _cells(line, separator)], self._headers)
                if all(name in table.positions for name in self._required):
                    return at + 1, table.job
        needed = ", ".join("/".join(self._headers[name]) for name in self._required)
        raise ValueError(f"no line is a header with the columns {needed}; set jobs.columns to its headers")


class _Table:
    """The columns under one header row."""

    def __init__(self, separator: str, header: Sequence[str], headers: Mapping[str, tuple[str, ...]]) -> None:
        self._separator = separator
        self._width = len(header)
        found = {name: [header.index(known) for known in headers[name] if known in header] for name in headers}
        self.positions = {name: at[0] for name, at in found.items() if at}

    def job(self, line: str) -> FileJob:
        """One job line; ValueError if it is none."""
        fields = _cells(line, self._separator)
        if len(fields) == self._width + 1 and not fields[-1]:
            fields.pop()  # the Print Logger ends its lines with a comma
        if len(fields) != self._width:
            raise ValueError(f"has {len(fields)} fields where the header has {self._width}")
        field = fields_at(self.positions, fields)
        username, pages = field("username").lower(), whole("pages", field("pages"))
        # Without a count of colour pages, a job is grey or in colour as a whole.
        color = "color_pages" if "color_pages" in self.positions else "pages"
        gray = color == "pages" and flag("grayscale", field("grayscale"), empty=True)
        return FileJob(
            identity=tuple(field(name) for name in _IDENTITY),
            printed_at=local_time(field("printed_at")),
            username=username,
            printer=field("printer"),
            pages=pages,
            color_pages=0 if gray else whole("color_pages", field(color)),
            copies=whole("copies", field("copies")),
            duplex=flag("duplex", field("duplex")),
            cost=cost(field("cost")),
            allowed=flag("allowed", field("allowed"), empty=True),
            printed=flag("printed", field("printed"), empty=True),
            refunded=flag("refunded", field("refunded")),
            job_type=field("job_type").upper() or "PRINT",
            shared_account=field("account").lower() not in {"", username},
        )


def _cells(line: str, separator: str) -> list[str]:
    return list(*csv.reader([line], delimiter=separator))
