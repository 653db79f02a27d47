"""The layout of CSV files with a header row: PaperCut Print Logger, exported reports (`papercut-api.md` 5.4 to 5.6).

What belongs here: finding the header row and naming its columns. What does not: reading files (`folder.py`), and what a
cell says (`cells.py`, `amounts.py`).

Titles and blank lines before the header are skipped, the separator is found with it, and each line is read by itself,
so that one stray quote spoils one line. The Print Logger and some reports know no cost: `cost` is null and such jobs
are not charged.
"""

from __future__ import annotations

import csv
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence

from pipeline.errors import ConfigError
from pipeline.services.job_files.amounts import Amounts
from pipeline.services.job_files.cells import Moments, flag, whole
from pipeline.services.job_files.folder import FileJob, fields_at

HEADERS: Mapping[str, tuple[str, ...]] = {
    "printed_at": (
        "time", "date", "usage date", "date/time", "date and time", "print date", "fecha", "fecha y hora", "fecha/hora",
        "fecha de uso", "fecha de impresion", "hora",
    ),
    "username": ("user", "username", "user name", "usuario", "nombre de usuario"),
    "account": ("charged to", "account", "cargado a", "cuenta"),
    "printer": ("printer", "printer name", "impresora", "nombre de impresora", "nombre de la impresora"),
    "document": ("document name", "document", "documento", "nombre de documento", "nombre del documento"),
    "pages": (
        "total printed pages", "total pages", "pages", "paginas", "paginas totales", "total de paginas",
        "total paginas", "total de paginas impresas", "paginas impresas",
    ),
    "color_pages": (
        "color pages", "colour pages", "total color pages", "total colour pages", "paginas en color", "paginas a color",
        "paginas color", "total de paginas en color", "total de paginas a color",
    ),
    "copies": ("copies", "copias"),
    "duplex": ("duplex", "doble cara", "a doble cara", "dos caras"),
    "duplex_pages": ("duplex pages", "paginas duplex", "paginas a doble cara", "paginas doble cara"),
    "grayscale": ("grayscale", "gray scale", "greyscale", "escala de grises"),
    "cost": ("cost", "charged cost", "costo", "coste", "importe"),
    "allowed": ("allowed", "permitido"),
    "printed": ("printed", "impreso"),
    "refunded": ("refunded", "reembolsado"),
    "job_type": ("job type", "tipo de trabajo"),
}  # fmt: skip
"""Our name -> the headers it is known by, in English and Spanish, in any case and with or without accents.

`account` is who pays; `document` is known, but never read.
"""

REQUIRED = ("printed_at", "username", "pages")

_DAY_AND_TIME = (("date", "time"), ("fecha", "hora"))
"""Two columns that are one moment where a file has both."""

_HEADER_WITHIN = 100
"""So many lines may stand before the header."""


class CsvReport:
    """A `Layout`: columns by the names in the header row. People join and edit such files, so a row may repeat."""

    repeats = True
    takes_back = False

    def __init__(self, columns: Mapping[str, str], *, day_first: bool | None = None) -> None:
        """Take the headers that the configuration names.

        Args:
            columns: our name -> the header of its column, instead of the known ones.
            day_first: how 05/11/2026 is read; None: as the file shows.

        Raises:
            ConfigError: an unknown name.
        """
        unknown = [name for name in columns if name not in HEADERS]
        if unknown:
            raise ConfigError(
                f"jobs.columns of CSV files cannot hold {', '.join(unknown)}", f"use any of: {', '.join(HEADERS)}"
            )
        self._day_first = day_first
        named = {name: (plain_header(header),) for name, header in columns.items()}
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
        for at, line in enumerate(lines[:_HEADER_WITHIN]):
            for separator in (",", ";", "\t"):
                try:
                    header = [plain_header(cell) for cell in split_cells(line, separator)]
                except ValueError:
                    continue
                positions = _positions(header, self._headers)
                if all(name in positions for name in self._required):
                    when = self._columns_of_moment(header, positions)
                    rows = Rows(separator, len(header), lines[at + 1 :])
                    return at + 1, _Table(rows, positions, when, day_first=self._day_first).job
        needed = ", ".join(" or ".join(self._headers[name][:2]) for name in self._required)
        raise ValueError(f"no line is a header with the columns {needed}; set jobs.columns to its headers")

    def _columns_of_moment(self, header: Sequence[str], positions: Mapping[str, int]) -> list[int]:
        if self._headers["printed_at"] == HEADERS["printed_at"]:
            for day, time in _DAY_AND_TIME:
                if day in header and time in header:
                    return [header.index(day), header.index(time)]
        return [positions["printed_at"]]


class Rows:
    """The cells of the lines under one header row."""

    def __init__(self, separator: str, width: int, lines: Sequence[str]) -> None:
        self._separator = separator
        self._width = width
        self._lines = lines

    def __iter__(self) -> Iterator[list[str]]:
        """The cells of every line that is a row."""
        for line in self._lines:
            try:
                yield self.cells(line)
            except ValueError:
                continue

    def cells(self, line: str) -> list[str]:
        """The cells of one line; ValueError if it is no row."""
        cells = split_cells(line, self._separator)
        if len(cells) == self._width + 1 and not cells[-1]:
            cells.pop()  # the Print Logger ends its lines with a comma
        if len(cells) != self._width:
            raise ValueError(f"has {len(cells)} fields where the header has {self._width}")
        return cells


class _Table:
    """The jobs under one header row."""

    def __init__(
        self, rows: Rows, positions: Mapping[str, int], when: Sequence[int], *, day_first: bool | None
    ) -> None:
        self._rows = rows
        self._positions = positions
        self._when = when
        self._moment = Moments(lambda: map(self._text_of_moment, rows), day_first=day_first)
        self._cost = Amounts(lambda: (cells[positions["cost"]] for cells in rows))

    def _text_of_moment(self, fields: Sequence[str]) -> str:
        return " ".join(fields[at].strip() for at in self._when)

    def job(self, line: str) -> FileJob:
        """One job line; ValueError if it is none."""
        fields = self._rows.cells(line)
        field = fields_at(self._positions, fields)
        username, pages = field("username").lower(), whole("pages", field("pages"))
        moment = self._moment(self._text_of_moment(fields))
        # Without a count of colour pages, a job is grey or in colour as a whole.
        color = "color_pages" if "color_pages" in self._positions else "pages"
        gray = color == "pages" and flag("grayscale", field("grayscale"), empty=True)
        two_sided = whole("duplex_pages", field("duplex_pages")) > 0
        return FileJob(
            printed_at=moment.at,
            exact=moment.exact,
            username=username,
            printer=field("printer"),
            pages=pages,
            color_pages=0 if gray else whole("color_pages", field(color)),
            copies=whole("copies", field("copies")),
            duplex=flag("duplex", field("duplex"), empty=two_sided),
            cost=self._cost(field("cost")),
            allowed=flag("allowed", field("allowed"), empty=True),
            printed=flag("printed", field("printed"), empty=True),
            refunded=flag("refunded", field("refunded")),
            job_type=field("job_type").upper() or "PRINT",
            shared_account=field("account").lower() not in {"", username},
        )


def _positions(header: Sequence[str], headers: Mapping[str, tuple[str, ...]]) -> dict[str, int]:
    """Our names and their columns; of several headers for one name, the first that we know."""
    found = {name: [header.index(known) for known in headers[name] if known in header] for name in headers}
    return {name: at[0] for name, at in found.items() if at}


def split_cells(line: str, separator: str) -> list[str]:
    """The cells of one line; ValueError if it is not CSV."""
    try:
        return list(*csv.reader([line], delimiter=separator))
    except (csv.Error, TypeError):  # a carriage return within, or one cell of 131,072 characters
        raise ValueError("is not a line of CSV") from None


def plain_header(header: str) -> str:
    """A header without case, accents and double spaces."""
    letters = unicodedata.normalize("NFKD", header.casefold())
    return " ".join("".join(letter for letter in letters if not unicodedata.combining(letter)).split())
