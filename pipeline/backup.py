"""Backups of the warehouse: one folder of Parquet files each, proven by reading them back.

What belongs here: making a backup whole or not at all, proving it, keeping the right ones, and putting one back. What
does not: what the warehouse cannot know after it was put back; that is `recover.py`. The file is never copied while it
is open (`money-safety.md` 6): DuckDB itself exports it.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import duckdb

from pipeline import safety
from pipeline.errors import ConfigError, PermanentError
from pipeline.warehouse import Connection, Warehouse

HOURS, DAYS = 48, 35
"""The newest backup of each of so many hours and days is kept."""

STAMP = "%Y-%m-%dT%H%M%SZ"

Counts = dict[str, int]


@dataclass(frozen=True)
class Backup:
    """A backup that was made and read back."""

    folder: Path
    tables: int
    rows: int
    removed: int
    """How many older backups were removed."""


def back_up(store: Warehouse, folder: Path, now: datetime) -> Backup:
    """Export the warehouse, read the export back, compare, and only then give it its name.

    Args:
        store: the warehouse; it must allow SQL to write to `folder`.
        folder: the folder of all backups.
        now: the current time, UTC; it becomes the name.

    Raises:
        PermanentError: the copy differs from the warehouse.
        TransientError: the warehouse was held by another process for too long.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    part, whole = folder / f".part-{now:{STAMP}}", folder / f"{now:{STAMP}}"
    shutil.rmtree(part, ignore_errors=True)
    with store.connect() as con:
        con.execute(f"EXPORT DATABASE '{_quoted(part)}' (FORMAT parquet)")
        expected = _counts(con)
    (part / "load.sql").unlink()  # it names this folder, which is about to get another name
    for path in (*part.iterdir(), part):
        path.chmod(0o700 if path.is_dir() else 0o600)
        _sync(path)
    found = _read_back(part)
    if found != expected:
        differing = ", ".join(name for name in sorted(expected) if found.get(name) != expected[name])
        raise PermanentError(
            f"The backup {part} differs from the warehouse in {differing}", "check the disk, then run it again"
        )
    shutil.rmtree(whole, ignore_errors=True)
    part.rename(whole)
    _sync(folder)
    return Backup(whole, len(expected), sum(expected.values()), _prune(folder))


def restore(store: Warehouse, folder: Path, sites: Iterable[str], now: datetime) -> Path:
    """Put a backup in the place of the warehouse; the former file is kept under another name beside it.

    What was charged since the backup is not in it, so each site charges nothing until it was recovered.

    Args:
        store: the warehouse; nothing else may be using it.
        folder: the backup.
        sites: the sites of the bridge.
        now: the current time, UTC.

    Returns:
        Where the former file is; the same path if there was none.

    Raises:
        ConfigError: the folder holds no backup.
        PermanentError: the backup cannot be read.
    """
    if not (folder / "schema.sql").exists():
        raise ConfigError(f"{folder} holds no backup", "name a folder that `printbridge backup` wrote")
    made = store.path.with_name(f".{store.path.name}.restored")
    made.unlink(missing_ok=True)
    try:
        with duckdb.connect(str(made)) as con:
            _load(con, folder)
            safety.note_restored(con, sites, folder.name, now)
    except duckdb.Error as error:
        made.unlink(missing_ok=True)
        raise PermanentError(f"The backup {folder} cannot be read: {error}", "use an older one") from error
    made.chmod(0o600)
    aside = store.path
    if store.path.exists():
        with store.connect():  # nobody else has it open, and its log is written into it
            aside = store.path.with_name(f"{store.path.stem}-before-{now:{STAMP}}{store.path.suffix}")
        store.path.rename(aside)
    made.rename(store.path)
    _sync(store.path.parent)
    return aside


def kept(names: list[str]) -> set[str]:
    """Which backups stay: the newest of each of the last 48 hours that have one, and of each of the last 35 days."""
    newest_first = sorted(names, reverse=True)
    hours = {name[:13]: name for name in reversed(newest_first)}
    days = {name[:10]: name for name in reversed(newest_first)}
    return {hours[hour] for hour in sorted(hours, reverse=True)[:HOURS]} | {
        days[day] for day in sorted(days, reverse=True)[:DAYS]
    }


def _prune(folder: Path) -> int:
    names = [path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")]
    gone = sorted(set(names) - kept(names))
    for name in gone:
        shutil.rmtree(folder / name)
    return len(gone)


def _read_back(folder: Path) -> Counts:
    with duckdb.connect(":memory:") as con:
        _load(con, folder)
        return _counts(con)


def _load(con: Connection, folder: Path) -> None:
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


def _sync(path: Path) -> None:
    """Have the system write a file, or a folder's list of files, to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
