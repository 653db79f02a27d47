"""Rows in and out of an open connection: the few forms of statement that are the same for every table.

What belongs here: reading, replacing and inserting rows by the name of a table. What does not: opening the file
(`warehouse.py`), and questions about one kind of row (the modules beside this one).
"""

from __future__ import annotations

from typing import Any

import duckdb
import polars as pl

from pipeline.domain import tables

Connection = duckdb.DuckDBPyConnection


def read(con: Connection, table: str, site: str | None = None) -> pl.DataFrame:
    """The rows of a contract table inside an open connection."""
    rows = con.table(table) if site is None else con.table(table).filter(_of(site))
    return rows.select(*tables.columns(table).names()).pl()


def replace(con: Connection, table: str, frame: pl.DataFrame, site: str | None = None) -> None:
    """Replace the rows of a site, or all rows, inside an open transaction. Never for the append-only tables.

    Rows that are there already are left alone, so that a run which finds nothing new writes next to nothing: where all
    that differs is a time that the whole frame has in common (when it was read), only that column is written.
    """
    stored = read(con, table, site)
    differing = _differing(stored, frame)
    if differing is None:
        where, of_site = ("", {}) if site is None else (" WHERE site = $site", {"site": site})
        con.execute(f"DELETE FROM {table}{where}", of_site)  # noqa: S608 - DuckDB has no other form, names are ours
        insert(con, table, frame)
    elif differing:
        shared = {name: duckdb.ConstantExpression(frame[name][0]) for name in differing}
        con.table(table).update(shared, condition=None if site is None else _of(site))


def _of(site: str) -> duckdb.Expression:
    return duckdb.ColumnExpression("site") == duckdb.ConstantExpression(site)


def _differing(stored: pl.DataFrame, frame: pl.DataFrame) -> list[str] | None:
    """The columns in which a frame differs from what is stored, each a time it has in common; None: other rows."""
    if stored.schema != frame.schema:
        return None
    found = [name for name in frame.columns if not frame[name].equals(stored[name], null_equal=True)]
    shared = all(frame[name].dtype == pl.Datetime and frame[name].n_unique() == 1 for name in found)
    return found if shared else None


def insert(con: Connection, table: str, frame: pl.DataFrame) -> None:
    """Add rows by column name inside an open transaction."""
    con.register("incoming", frame)
    try:
        con.execute(f"INSERT INTO {table} BY NAME SELECT * FROM incoming")  # noqa: S608 - the only form by name
    finally:
        con.unregister("incoming")


def query(con: Connection, sql: str, **parameters: Any) -> pl.DataFrame:
    """The result of a query with `$name` parameters."""
    return con.sql(sql, params=parameters).pl()
