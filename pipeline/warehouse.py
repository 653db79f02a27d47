"""The warehouse: one DuckDB file, opened late and closed early.

What belongs here: where tables live, how the file is opened, locked down, waited for and written in one transaction.
What does not: what the tables mean (`domain/schemas.py`), the states of a charge (`ledger.py`) or who is ours
(`ownership.py`). No connection is held across a network call: DuckDB allows one process per file, so a holder of
milliseconds is a good neighbour and a holder of seconds stops every other site (`stack.md` 3.2).
"""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections.abc import Generator
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
import polars as pl

from pipeline.domain import schemas
from pipeline.errors import PermanentError, TransientError

Connection = duckdb.DuckDBPyConnection

SCHEMA_VERSION = 1
NAME = "warehouse"
"""What the file is called inside the engine."""
WAIT_SECONDS = 60.0

_LOCKED = "Could not set lock"
_IN_PROCESS = threading.RLock()
"""Threads take turns, too: they share one engine, and the lock on a file is one of processes."""
_SQL_TYPES: dict[Any, str] = {
    pl.String: "VARCHAR", pl.Int64: "BIGINT", pl.Boolean: "BOOLEAN", pl.Date: "DATE",
    pl.Datetime: "TIMESTAMPTZ", pl.Decimal: "DECIMAL(18,6)",
}  # fmt: skip

# Money and ownership are append-only; keys are inline, because a secondary unique index stopped being unique after a
# kill (money-safety.md 0.5). No statement in this project updates or deletes a row of these tables (a test holds it).
_APPEND_ONLY = """
CREATE TABLE charge (
    ref VARCHAR PRIMARY KEY, site VARCHAR NOT NULL, job_id VARCHAR NOT NULL, revision BIGINT NOT NULL,
    kind VARCHAR NOT NULL, seq BIGINT NOT NULL, printed_at TIMESTAMPTZ NOT NULL, username VARCHAR NOT NULL,
    email_key VARCHAR, coworker_id BIGINT, credit_id BIGINT, amount_cents BIGINT NOT NULL, undoes VARCHAR,
    rule VARCHAR NOT NULL);
CREATE TABLE charge_event (
    ref VARCHAR NOT NULL, n BIGINT NOT NULL, state VARCHAR NOT NULL, happened_at TIMESTAMPTZ NOT NULL,
    run_id VARCHAR NOT NULL, actor VARCHAR NOT NULL, remote_id BIGINT, detail VARCHAR NOT NULL, PRIMARY KEY (ref, n));
CREATE TABLE ownership_event (
    site VARCHAR NOT NULL, username VARCHAR NOT NULL, n BIGINT NOT NULL, state VARCHAR NOT NULL,
    happened_at TIMESTAMPTZ NOT NULL, coworker_id BIGINT, email_key VARCHAR, access VARCHAR, pin_digest VARCHAR,
    card_digest VARCHAR, without_credit_since TIMESTAMPTZ, reason VARCHAR NOT NULL, PRIMARY KEY (site, username, n));
CREATE TABLE safety_event (
    site VARCHAR NOT NULL, phase VARCHAR NOT NULL, state VARCHAR NOT NULL, happened_at TIMESTAMPTZ NOT NULL,
    reason VARCHAR NOT NULL);
CREATE TABLE bookmark (
    site VARCHAR NOT NULL, name VARCHAR NOT NULL, value VARCHAR NOT NULL, happened_at TIMESTAMPTZ NOT NULL);
CREATE TABLE schema_version (version BIGINT NOT NULL);
"""


class Warehouse:
    """The tables of one installation.

    Making DuckDB's engine costs five times what opening a file costs, so the engine stays while the process lives; the
    file is attached to it for each use and let go at its end.

    Args:
        path: the DuckDB file; made on first use, with the tables, readable by its owner only.
        folders: the only folders that SQL may write to or read from (exports, backups).
        wait_seconds: how long to wait for another process that holds the file.
    """

    def __init__(self, path: Path, *, folders: tuple[Path, ...] = (), wait_seconds: float = WAIT_SECONDS) -> None:
        self.path = path
        self._folders = folders
        self._wait_seconds = wait_seconds
        self._engine: Connection | None = None

    @contextlib.contextmanager
    def connect(self) -> Generator[Connection, None, None]:
        """The open file, closed at the end of the block. Never call the network inside it.

        Raises:
            TransientError: another process held the file for too long.
            PermanentError: the file is damaged or of another version.
        """
        with _IN_PROCESS:
            fresh = not self.path.exists()
            con = self._open()
            try:
                if fresh:
                    self.path.chmod(0o600)
                con.execute(f"USE {NAME}")
                _ensure_tables(con)
                yield con
            except BaseException:
                # Whatever state it is in: without its engine the file is free, and what was not committed is gone.
                self.close()
                raise
            try:
                con.execute("USE memory")
                con.execute(f"DETACH {NAME}")
            except duckdb.Error:
                # What was committed is in the write-ahead log; only writing it into the file failed.
                self.close()

    def close(self) -> None:
        """Give back the engine; the next use makes another."""
        with _IN_PROCESS:
            if self._engine is not None:
                self._engine.close()
            self._engine = None

    @contextlib.contextmanager
    def transaction(self) -> Generator[Connection, None, None]:
        """An open transaction: committed at the end of the block, rolled back by any exception in it."""
        with self.connect() as con:
            con.begin()
            try:
                yield con
            except BaseException:
                con.rollback()
                raise
            con.commit()

    def read(self, table: str, site: str | None = None) -> pl.DataFrame:
        """The rows of one table, of one site if named, in the columns of its contract."""
        with self.connect() as con:
            return read(con, table, site)

    def replace(self, table: str, frame: pl.DataFrame, site: str | None = None) -> None:
        """Store a frame in place of the rows of the site (of the whole table without one), once its contract holds."""
        schemas.checked(table, frame)
        with self.transaction() as con:
            replace(con, table, frame, site)

    def append(self, table: str, frame: pl.DataFrame) -> None:
        """Add a frame's rows once its contract holds."""
        schemas.checked(table, frame)
        if frame.height:
            with self.transaction() as con:
                insert(con, table, frame)

    def bookmark(self, site: str, name: str) -> str | None:
        """A remembered value of a site (`*` for the whole account), or None."""
        with self.connect() as con:
            return bookmark(con, site, name)

    def _open(self) -> Connection:
        """The engine, with the file attached."""
        deadline = time.monotonic() + self._wait_seconds
        pause = 0.01
        while True:
            try:
                return self._attached()
            except duckdb.IOException as error:
                if _LOCKED not in str(error):
                    raise PermanentError(
                        f"The warehouse {self.path} cannot be opened: {error}",
                        "check the disk; if the file is damaged, restore the newest backup and run "
                        "`printbridge recover` before anything else",
                    ) from error
                if time.monotonic() > deadline:
                    raise TransientError(
                        f"Another process held the warehouse {self.path} for more than {self._wait_seconds:.0f} s",
                        "close any other program that has the file open (people and BI tools read the exports); "
                        "the next run tries again",
                    ) from error
            time.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311 - jitter, not a secret
            pause = min(pause * 1.5, 0.25)

    def _attached(self) -> Connection:
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        attach = f"ATTACH {_text(self.path)} AS {NAME} (TYPE duckdb)"
        if self._engine is not None:
            self._engine.execute(attach)
            return self._engine
        engine = duckdb.connect(":memory:", config={"temp_directory": f"{self.path}.tmp"})
        try:
            engine.execute(attach)
            # After the file: what is attached now may be attached again, and nothing else ever.
            _lock_down(engine, self._folders)
        except BaseException:
            engine.close()
            raise
        self._engine = engine
        return engine


def read(con: Connection, table: str, site: str | None = None) -> pl.DataFrame:
    """The rows of a contract table inside an open connection."""
    rows = con.table(table) if site is None else con.table(table).filter(_of(site))
    return rows.select(*schemas.columns(table).names()).pl()


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


def bookmark(con: Connection, site: str, name: str) -> str | None:
    """A remembered value of a site inside an open connection."""
    row = con.execute(
        "SELECT value FROM bookmark WHERE site = $site AND name = $name", {"site": site, "name": name}
    ).fetchone()
    return row[0] if row else None


def set_bookmark(con: Connection, site: str, name: str, value: str, at: datetime) -> None:
    """Remember a value of a site inside an open transaction."""
    con.execute("DELETE FROM bookmark WHERE site = $site AND name = $name", {"site": site, "name": name})
    con.execute("INSERT INTO bookmark VALUES (?, ?, ?, ?)", [site, name, value, at])


def change_bookmark(con: Connection, site: str, name: str, value: str, at: datetime) -> None:
    """Remember a value of a site inside an open transaction, unless it is the one remembered."""
    if bookmark(con, site, name) != value:
        set_bookmark(con, site, name, value, at)


def _lock_down(con: Connection, folders: tuple[Path, ...]) -> None:
    """SQL may touch nothing but this file and the named folders (`stack.md` 3.4; the order matters)."""
    con.execute("SET autoinstall_known_extensions=false")
    con.execute("SET autoload_known_extensions=false")
    con.execute("SET TimeZone='UTC'")
    allowed = ", ".join(_text(f"{folder}/") for folder in folders)
    con.execute(f"SET allowed_directories=[{allowed}]")
    con.execute("SET enable_external_access=false")
    con.execute("SET lock_configuration=true")


def _ensure_tables(con: Connection) -> None:
    version = _version(con)
    if version == SCHEMA_VERSION:
        return
    if version is None and not con.execute("SELECT table_name FROM duckdb_tables()").fetchall():
        con.begin()
        con.execute(_APPEND_ONLY)
        for table in schemas.TABLES:
            con.execute(_definition(table))
        con.execute("INSERT INTO schema_version VALUES (?)", [SCHEMA_VERSION])
        con.commit()
        return
    raise PermanentError(
        f"The warehouse has version {version or 'none'}, this program needs {SCHEMA_VERSION}",
        "use the program version that made the file, or restore a backup made by this one",
    )


def _version(con: Connection) -> int | None:
    try:
        row = con.execute("SELECT max(version) FROM schema_version").fetchone()
    except duckdb.CatalogException:
        return None
    return row[0] if row else None


def _text(value: object) -> str:
    return "'" + str(value).replace("'", "''") + "'"


def _definition(table: str) -> str:
    columns = ", ".join(f"{name} {_SQL_TYPES[dtype.base_type()]}" for name, dtype in schemas.columns(table).items())
    return f"CREATE TABLE {table} ({columns})"
