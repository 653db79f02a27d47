"""The monthly report as a workbook (XLSX).

What belongs here: headings, widths, number formats, totals, and writing rows in constant memory. What does not: the
rows themselves (`pipeline.reports.sheets`). The same sheets give the same bytes: the date of creation is the month's
first day, and xlsxwriter gives every part of the file the same time.

Every text is written as a text, so no cell is ever a formula; one that looks like a formula also gets Excel's own mark
for text (the quote prefix), so that it stays a text when somebody edits the cell.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl
import xlsxwriter
from xlsxwriter.format import Format
from xlsxwriter.utility import xl_rowcol_to_cell
from xlsxwriter.worksheet import Worksheet

from pipeline.reports.cells import looks_like_formula
from pipeline.reports.title import Title, sign

MOST_ROWS = 1_000_000
"""Rows on one sheet; Excel holds 1,048,576. What is left out stands in the CSV file, and the sheet says so."""

MOST_CHARACTERS = 32_767
"""Characters in one cell, by Excel's limit."""

NAMES = {
    "summary": "Summary",
    "customers": "Customers",
    "teams": "Teams or companies",
    "printers": "Printers",
    "jobs": "Jobs",
    "held_and_refunds": "Held and refunds",
    "reconciliation": "Reconciliation",
    "year_to_date": "Year to date",
}
"""The sheets of the workbook, in order."""

HEADINGS = {
    "amount_cents": "Amount",
    "color_pages": "Colour pages",
    "coworker_id": "Customer id",
    "credits_cents": "Paid with credits",
    "explained_cents": "Explained",
    "full_name": "Customer",
    "held_cents": "Held",
    "invoiced_cents": "Of this invoiced",
    "job_id": "Job",
    "ledger_cents": "Ledger",
    "money_cents": "Charged as money",
    "nexudus_cents": "Nexudus",
    "not_charged_cents": "Not charged",
    "papercut_cents": "Printed",
    "ref": "Reference",
    "refunds_cents": "Refunds",
    "rows": "Jobs",
    "sale_cents": "Sales in the ledger",
    "undoes": "Reverses",
    "unexplained_cents": "Unexplained",
    "waived_cents": "Waived",
    "wrong": "Jobs at fault",
}
"""The headings that are not the name of the column."""

WIDTHS = {
    "figure": 34, "full_name": 28, "email": 32, "username": 30, "team": 22, "company": 24, "team_or_company": 30,
    "printer": 26, "ref": 23, "undoes": 23, "reason": 70, "note": 50, "findings": 70, "rule": 18, "invoice_state": 18,
}  # fmt: skip

_PLAIN_NUMBERS = ("coworker_id",)  # an id has no thousands separator and no total
_YES_NO = {True: "yes", False: "no", None: ""}

_LONG = ("reason", "note", "findings")
"""Columns of sentences: wrapped, in rows as high as they need."""

_USUAL: dict[str, Any] = {
    "job_type": "PRINT", "copies": 1, "color_pages": 0, "allowed": True, "printed": True, "refunded": False,
    "duplex": False, "credits_cents": 0, "money_cents": 0, "waived_cents": 0, "held_cents": 0,
}  # fmt: skip
"""What most jobs have, left empty on their sheet; the CSV file has it all."""

_TEXT: dict[str, Any] = {"align": "left", "indent": 1, "valign": "top"}
_LINE_HEIGHT = 15

_IDS = ("coworker_id",)
"""Whole numbers that are names: without separators, to the left, without a total."""

_SUMMED = ("jobs", "pages", "color_pages", "rows", "wrong")
"""Columns that have a total, besides those in cents."""

Write = Callable[[int, int, Any], Any]
"""Writes the value of a cell: row, column, value."""


class _Styles:
    """The formats of a workbook, each made once."""

    def __init__(self, book: xlsxwriter.Workbook) -> None:
        self._book = book
        self._made: dict[tuple[tuple[str, Any], ...], Format] = {}

    def of(self, **properties: Any) -> Format:
        key = tuple(sorted(properties.items()))
        if key not in self._made:
            self._made[key] = self._book.add_format(properties)
        return self._made[key]

    def number(self, column: str, currency: str | None, **properties: Any) -> Format:
        """The format of a column of numbers."""
        if column.endswith("_cents"):
            return self.of(num_format=money_format(currency), valign="top", **properties)
        if column in _IDS:
            return self.of(num_format="0", **_TEXT, **properties)
        return self.of(num_format="#,##0", valign="top", **properties)


def write_workbook(path: Path, sheets: Mapping[str, pl.DataFrame], title: Title) -> None:
    """Write a report to a file.

    Rows go to the disk as they come, so the memory does not grow with their number. A column that is the same in every
    row (site, currency) is left out: the currency is in the format of the amounts.

    Args:
        path: the file to write.
        sheets: those of `NAMES`, as `pipeline.reports.sheets` makes them.
        title: what the report is about.
    """
    book = xlsxwriter.Workbook(str(path), {"constant_memory": True, "tmpdir": str(path.parent)})
    book.set_properties(
        {
            "title": title.text,
            "author": "printbridge",
            "created": datetime.combine(title.first, datetime.min.time()),
        }
    )
    styles = _Styles(book)
    several = sheets["summary"]["site"].n_unique() > 1
    for name, heading in NAMES.items():
        sheet = sheets[name] if several else sheets[name].drop("site")
        _write_sheet(book.add_worksheet(heading), name, sheet, styles, title)
    book.close()


def money_format(currency: str | None) -> str:
    """Excel's number format for amounts in a currency: two decimals, negative ones red with a sign."""
    before = f'"{sign(currency)}"' if currency else ""
    return f"{before}#,##0.00;[Red]-{before}#,##0.00"


def heading(column: str) -> str:
    """The heading of a column."""
    return HEADINGS.get(column) or column.removesuffix("_cents").replace("_", " ").capitalize()


def _write_sheet(page: Worksheet, name: str, frame: pl.DataFrame, styles: _Styles, title: Title) -> None:
    currencies = frame["currency"].unique()
    columns = [column for column in frame.columns if column != "currency" or len(currencies) > 1]
    top = _write_title(page, title, styles) if name == "summary" else 0
    for place, column in enumerate(columns):
        page.set_column(place, place, _width(column, frame.schema[column]), _text_style(column, styles))
    page.freeze_panes(top + 1, 0)
    _set_up_print(page, title, top)
    page.set_row(top, 32)
    for place, column in enumerate(columns):
        align = {"align": "right"} if _is_amount(column, frame.schema[column]) else _TEXT
        header = styles.of(**{**align, "valign": "vcenter"}, bold=True, bg_color="#E8EDF2", bottom=1, text_wrap=True)
        page.write_string(top, place, heading(column), header)
    rows = frame.head(MOST_ROWS)
    writers = [_writer(page, rows, column, styles, top + 1) for column in columns]
    long = [place for place, column in enumerate(columns) if column in _LONG]
    for number, row in enumerate(_without_noise(name, rows.select(columns)).iter_rows(), top + 1):
        _set_height(page, number, [(row[place], WIDTHS[columns[place]]) for place in long if row[place]])
        for place, value in enumerate(row):
            if value is not None:
                writers[place](number, place, value)
    end = top + 1 + rows.height
    if rows.height:
        page.autofilter(top, 0, end - 1, len(columns) - 1)
    if name != "summary":
        shown = (top + 1, end - 1) if rows.height == frame.height > 0 else None
        for number, part in enumerate(_parts(name, frame, shown), end):
            _write_total(page, number, part, columns, styles)
            end = number + 1
    if frame.height > rows.height:
        left_out = f"{frame.height - rows.height} more rows do not fit on a sheet; they stand in {name}.csv"
        page.write_string(end, 0, left_out, styles.of(italic=True))


def _set_height(page: Worksheet, row: int, sentences: list[tuple[str, int]]) -> None:
    """Make a row high enough for its sentences, each in a column of some width; not all programs do that themselves."""
    lines = max((-(-len(text) // width) for text, width in sentences), default=1)
    if lines > 1:
        page.set_row(row, min(_LINE_HEIGHT * lines, 400))


def _without_noise(name: str, rows: pl.DataFrame) -> pl.DataFrame:
    """The jobs with empty cells for what is usual, so that the eye (and the disk) has only what is not."""
    if name != "jobs":
        return rows
    return rows.with_columns(
        pl.when(pl.col(column) != value).then(column).alias(column) for column, value in _USUAL.items()
    )


def _write_title(page: Worksheet, title: Title, styles: _Styles) -> int:
    """The title above the summary; the row where its table begins."""
    page.write_string(0, 0, title.text, styles.of(bold=True, font_size=16))
    page.write_string(1, 0, title.note, styles.of(font_color="#52606D"))
    return 3


def _set_up_print(page: Worksheet, title: Title, top: int) -> None:
    page.set_landscape()
    page.set_paper(9)  # A4
    page.fit_to_pages(1, 0)
    page.repeat_rows(top)
    page.set_footer(f"&L{title.text.replace('&', '&&')}, &A&RPage &P of &N")


def _width(column: str, dtype: pl.DataType) -> float:
    if column in WIDTHS:
        return WIDTHS[column]
    if dtype == pl.Datetime:
        return 16
    return 14 if column.endswith("_cents") else 11


def _is_amount(column: str, dtype: pl.DataType) -> bool:
    return dtype == pl.Int64 and column not in _IDS


def _text_style(column: str, styles: _Styles) -> Format:
    """The format of the cells of a column that have none of their own: its texts."""
    return styles.of(**_TEXT, text_wrap=column in _LONG)


def _writer(page: Worksheet, rows: pl.DataFrame, column: str, styles: _Styles, first: int) -> Write:
    """How the cells of a column are written: decided once for the column, so that a cell costs little."""
    dtype = rows.schema[column]
    if column.endswith("_cents"):
        by_currency = {currency: styles.number(column, currency) for currency in rows["currency"].unique()}
        if len(by_currency) == 1:
            (one,) = by_currency.values()
            return lambda row, place, cents: page.write_number(row, place, cents / 100, one)
        formats = [by_currency[currency] for currency in rows["currency"]]
        return lambda row, place, cents: page.write_number(row, place, cents / 100, formats[row - first])
    if dtype == pl.Int64:
        number = styles.number(column, None)
        return lambda row, place, value: page.write_number(row, place, value, number)
    if dtype.is_temporal():
        when = styles.of(num_format="yyyy-mm-dd" if dtype == pl.Date else "yyyy-mm-dd hh:mm", **_TEXT)
        return lambda row, place, value: page.write_datetime(row, place, value, when)
    if dtype == pl.Boolean:
        return lambda row, place, value: page.write_string(row, place, "yes" if value else "no")
    return _text_writer(page, rows[column], styles)


def _text_writer(page: Worksheet, texts: pl.Series, styles: _Styles) -> Write:
    """Texts as they are; those that need care are found once for the column.

    In constant memory xlsxwriter takes `<r>...</r>` for its own markup and would write it unescaped, so such a text is
    written as two fragments, which it does escape.
    """
    plain = styles.of()
    as_text = styles.of(**_TEXT, quote_prefix=True, text_wrap=texts.name in _LONG)
    distinct = texts.drop_nulls().unique()
    formulas = set(distinct.filter(distinct.to_frame("text").select(looks_like_formula(pl.col("text")))["text"]))

    def write(row: int, place: int, text: str) -> None:
        if len(text) > MOST_CHARACTERS:
            text = text[: MOST_CHARACTERS - 1] + "…"
        if text in formulas:
            page.write_string(row, place, text, as_text)
        elif text.startswith("<r>") and text.endswith("</r>"):
            page.write_rich_string(row, place, text[:1], plain, text[1:])
        elif text:
            page.write_string(row, place, text)

    return write


class _Part(NamedTuple):
    """What has a totals row: rows of one currency, their label, and where they stand if they are all of the sheet."""

    label: str
    currency: str | None
    rows: pl.DataFrame
    shown: tuple[int, int] | None


def _parts(name: str, frame: pl.DataFrame, shown: tuple[int, int] | None) -> list[_Part]:
    """The sheet, or what may be added up of it; each currency on its own."""
    if name == "held_and_refunds":
        waiting = pl.col("state").is_in(["held", "unknown", "sending"])
        void = pl.col("state") == "void"
        wanted = {"Waiting": waiting, "Voided": void, "Given back": ~waiting & ~void}
    else:
        wanted = {"Total": pl.lit(value=True)}
    currencies = frame["currency"].unique().sort(nulls_last=True).to_list() or [None]
    parts: list[_Part] = []
    for word, applies in wanted.items():
        for currency in currencies:
            rows = frame.filter(applies, pl.col("currency").eq_missing(currency))
            label = word if len(currencies) == 1 else f"{word} {currency or 'without currency'}"
            parts.append(_Part(label, currency, rows, shown if rows.height == frame.height else None))
    return parts


def _write_total(page: Worksheet, row: int, part: _Part, columns: list[str], styles: _Styles) -> None:
    """One totals row; where it sums up the rows of the sheet it follows their filter (SUBTOTAL 109)."""
    page.write_string(row, 0, part.label, styles.of(bold=True, top=1, **_TEXT))
    for place, column in enumerate(columns[1:], 1):
        if column not in _SUMMED and not column.endswith("_cents"):
            page.write_blank(row, place, None, styles.of(bold=True, top=1))
            continue
        total = int(part.rows[column].sum())
        value: Any = total / 100 if column.endswith("_cents") else total
        style = styles.number(column, part.currency, bold=True, top=1)
        if part.shown:
            first, last = (xl_rowcol_to_cell(each, place) for each in part.shown)
            page.write_formula(row, place, f"=SUBTOTAL(109,{first}:{last})", style, value)
        else:
            page.write_number(row, place, value, style)
