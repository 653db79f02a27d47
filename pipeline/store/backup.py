"""Backups of the warehouse: one folder of Parquet files each, proven by reading them back.

What belongs here: making a backup, keeping the right ones, and putting one back. What does not: the copy itself
(`export.py`), and what the warehouse cannot know after it was put back; that is `pipeline.operations.recover`.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import duckdb

from pipeline.errors import ConfigError, PermanentError
from pipeline.store import memory, schema, stops
from pipeline.store.export import load, proven_export, synced
from pipeline.store.warehouse import Warehouse

HOURS, DAYS = 48, 35
"""The newest backup of each of so many hours and days is kept."""

STAMP = "%Y-%m-%dT%H%M%SZ"


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
    whole = folder / f"{now:{STAMP}}"
    with store.connect() as con:
        counts = proven_export(con, whole)
    return Backup(whole, len(counts), sum(counts.values()), _prune(folder))


def tidy(store: Warehouse) -> None:
    """Forget what nobody asks for any more, and write the log of the file into it."""
    store.commit(memory.forget)
    with store.connect() as con:
        con.execute("CHECKPOINT")


def restore(store: Warehouse, folder: Path, sites: Iterable[str], now: datetime) -> Path:
    """Put a backup in the place of the warehouse; the former file is kept under another name beside it.

    What was charged since the backup is not in it, so each site charges nothing until it was recovered.

    Args:
        store: the warehouse; nothing else may be using it.
        folder: the backup.
        sites: the names of all sites.
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
            load(con, folder)
            schema.migrate(con)
            stops.note_restored(con, sites, folder.name, now)
    except duckdb.Error as error:
        made.unlink(missing_ok=True)
        raise PermanentError(f"The backup {folder} cannot be read: {error}", "use an older one") from error
    made.chmod(0o600)
    aside = store.path
    if store.path.exists():
        aside = store.path.with_name(f"{store.path.stem}-before-{now:{STAMP}}{store.path.suffix}")
        _set_aside(store, aside)
    made.rename(store.path)
    synced(store.path.parent)
    return aside


def _set_aside(store: Warehouse, aside: Path) -> None:
    """Give the former file another name; one that cannot be opened keeps its log beside it, as both are.

    A log that stayed behind would be taken for that of the file that comes in its place.
    """
    try:
        with store.connect():
            pass  # nobody else has it open, and its log is written into it
    except PermanentError:
        store.close()
    log = store.path.with_name(f"{store.path.name}.wal")
    if log.exists():
        log.rename(aside.with_name(f"{aside.name}.wal"))
    store.path.rename(aside)


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
