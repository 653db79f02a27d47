"""A copy of every table as Parquet files, proven by reading it back, and put back from there.

What belongs here: writing such a folder whole or not at all, and loading one. What does not: when copies are made and
kept (`backup.py`). The file of the warehouse is never copied while it is open (`money-safety.md` 6): DuckDB exports it.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import duckdb

from pipeline.errors import PermanentError
from pipeline.store.sql import Connection

Counts = dict[str, int]
"""The number of rows by table."""


def proven_export(con: Connection, whole: Path) -> Counts:
    """Export what is open to a folder, read the export back, compare, and only then give it its name.

    Args:
        con: an open connection that may write to the folder above.
        whole: the folder, made anew.

    Returns:
        The rows of each table.

    Raises:
        PermanentError: the copy differs from what was exported.
    """
    whole.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    part = whole.with_name(f".part-{whole.name}")
    shutil.rmtree(part, ignore_errors=True)
    con.execute(f"EXPORT DATABASE '{_quoted(part)}' (FORMAT parquet)")
    expected = _counts(con)
    (part / "load.sql").unlink()  # it names this folder, which is about to get another name
    for path in (*part.iterdir(), part):
        path.chmod(0o700 if path.is_dir() else 0o600)
        synced(path)
    found = _read_back(part)
    if found != expected:
        differing = ", ".join(name for name in sorted(expected) if found.get(name) != expected[name])
        raise PermanentError(
            f"The backup {part} differs from the warehouse in {differing}", "check the disk, then run it again"
        )
    shutil.rmtree(whole, ignore_errors=True)
    part.rename(whole)
    synced(whole.parent)
    return expected


def _read_back(folder: Path) -> Counts:
    with duckdb.connect(":memory:") as con:
        load(con, folder)
        return _counts(con)


def load(con: Connection, folder: Path) -> None:
    """The tables of a backup with their keys, then their rows."""
    con.execute((folder / "schema.sql").read_text("utf-8"))
    for table in _tables(con):
        # By place, as DuckDB's own import does: the export wrote the columns in the order of schema.sql.
        con.read_parquet(f"{folder / table}.parquet").insert_into(table)


def _counts(con: Connection) -> Counts:
    return {table: len(con.table(table)) for table in _tables(con)}


def _tables(con: Connection) -> list[str]:
    return [row[0] for row in con.execute("SELECT table_name FROM duckdb_tables() ORDER BY table_name").fetchall()]


def _quoted(path: Path) -> str:
    return str(path).replace("'", "''")


def synced(path: Path) -> None:
    """Have the system write a file, or a folder's list of files, to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
