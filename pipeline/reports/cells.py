"""How a sheet becomes a file that no spreadsheet runs: the neutralising of cells, amounts in major units, CSV.

What belongs here: cells as text. What does not: which rows and sums stand on a sheet (`sheets.py`), the workbook
(`pipeline.reports.workbook`). The same rows give the same bytes.
"""

from __future__ import annotations

import io
from typing import BinaryIO

import polars as pl

_ROWS = 100_000  # of a sheet, made text at a time

# What a spreadsheet takes for a formula, also behind blanks and invisible characters, once the full-width and other
# compatibility forms are folded (NFKC).
_FORMULA = r"^[\s\p{C}]*[=+\-\x{2212}@\t\r\n]"


def looks_like_formula(text: pl.Expr) -> pl.Expr:
    """Whether a spreadsheet would run a text: it starts with = + - @ tab or a line break.

    Also behind blanks or invisible characters, or as a full-width form. Null for null.
    """
    return text.str.normalize("NFKC").str.contains(_FORMULA)


def safe_cells(frame: pl.DataFrame) -> pl.DataFrame:
    """The frame with an apostrophe before each text that a spreadsheet would run as a formula; other cells unchanged.

    Numbers and dates are no text. Doing it twice changes nothing.
    """
    text = pl.selectors.string()
    return frame.with_columns(pl.when(looks_like_formula(text)).then(pl.lit("'") + text).otherwise(text).name.keep())


def to_csv(frame: pl.DataFrame) -> bytes:
    """A sheet as CSV (RFC 4180: commas, CRLF, quotes where needed), its cells safe, its money also in major units.

    UTF-8 with a byte order mark: without it Excel reads names in other scripts as rubbish; other readers skip it
    (Python: `utf-8-sig`).
    """
    text = io.BytesIO()
    write_csv(frame, text)
    return text.getvalue()


def write_csv(frame: pl.DataFrame, file: BinaryIO) -> None:
    """Write what `to_csv` gives, some rows at a time: the texts of a long sheet never stand in memory all at once."""
    for start in range(0, max(frame.height, 1), _ROWS):
        with_amounts(safe_cells(frame.slice(start, _ROWS))).write_csv(
            file, include_bom=not start, include_header=not start, line_terminator="\r\n",
            datetime_format="%Y-%m-%d %H:%M",
        )  # fmt: skip


def with_amounts(sheet: pl.DataFrame) -> pl.DataFrame:
    """The sheet with, after each column in cents, the same in major units as text: 1205 -> 12.05."""
    shown: list[pl.Expr] = []
    for name in sheet.columns:
        shown.append(pl.col(name))
        if name.endswith("_cents"):
            cents = pl.col(name)
            sign = pl.when(cents < 0).then(pl.lit("-")).otherwise(pl.lit(""))
            units, rest = (cents.abs() // 100).cast(pl.String), (cents.abs() % 100).cast(pl.String).str.zfill(2)
            shown.append((sign + units + "." + rest).alias(name.removesuffix("_cents")))
    return sheet.select(shown)
