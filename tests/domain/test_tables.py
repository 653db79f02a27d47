"""The contracts of the tables: the quick answer is Pandera's answer.

What belongs here: `pipeline/domain/tables.py`. What does not: which frames the rules make (the tests of each rule).
"""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import polars as pl
import pytest
from pandera.errors import SchemaErrors

from pipeline.domain import tables

VALUES: dict[Any, tuple[Any, Any]] = {
    pl.String: ("a", "b"), pl.Int64: (1, 2), pl.Boolean: (True, False), pl.Date: (date(2026, 11, 1), date(2026, 11, 2)),
    pl.Datetime: (datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 11, 2, tzinfo=UTC)),
    pl.Decimal: (Decimal(1), Decimal(2)),
}  # fmt: skip

WRONG: dict[Any, Any] = {pl.String: "none of these", pl.Int64: -1}


def good(table: str) -> pl.DataFrame:
    """Two rows that hold the contract."""
    cells = {name: list(VALUES[dtype.base_type()]) for name, dtype in tables.columns(table).items()}
    for name, column in tables.TABLES[table].to_schema().columns.items():
        for check in column.checks or ():
            if check.name == "isin":
                cells[name] = list(check.statistics["allowed_values"])[:2]
    return pl.DataFrame(cells, schema=tables.columns(table))


def variants(table: str, name: str) -> dict[str, pl.DataFrame]:
    """The good rows with one column otherwise."""
    frame = good(table)
    dtype = frame.schema[name]
    wrong = WRONG.get(dtype.base_type())
    made = {
        "empty": pl.Series(name, [frame[name][0], None], dtype),
        "all empty": pl.Series(name, [None, None], dtype),
        "twice": pl.Series(name, [frame[name][0]] * 2, dtype),
        "another type": frame[name].cast(pl.Binary if dtype == pl.String else pl.String, strict=False),
    } | ({"not allowed": pl.Series(name, [frame[name][0], wrong], dtype)} if wrong is not None else {})
    return {how: frame.with_columns(series) for how, series in made.items()}


def refused_by_pandera(table: str, frame: pl.DataFrame) -> bool:
    try:
        tables.TABLES[table].validate(frame, lazy=True)
    except SchemaErrors:
        return True
    return False


@pytest.mark.parametrize("table", tables.TABLES)
def test_a_frame_is_refused_exactly_where_pandera_refuses_it(table: str) -> None:
    assert tables.checked(table, good(table)).equals(good(table))
    assert tables.checked(table, tables.empty(table)).height == 0
    seen: set[bool] = set()
    for name in tables.columns(table):
        for how, frame in variants(table, name).items():
            expected = refused_by_pandera(table, frame)
            seen.add(expected)
            try:
                tables.checked(table, frame)
                refused = False
            except SchemaErrors as error:
                refused = name in str(error)
            assert refused == expected, f"{table}.{name} {how}: Pandera {'refuses' if expected else 'allows'} it"
    assert True in seen


def test_columns_that_no_contract_names_are_left_out_and_missing_ones_are_named() -> None:
    frame = good("nexudus_credits")
    assert tables.checked("nexudus_credits", frame.with_columns(more=pl.lit(1))).columns == frame.columns
    with pytest.raises(pl.exceptions.ColumnNotFoundError, match="read_at"):
        tables.checked("nexudus_credits", frame.drop("read_at"))
