"""The warehouse: one DuckDB file, opened late and closed early.

What belongs here: where tables live, how the file is opened, locked down, waited for and written in one transaction.
What does not: what the tables mean (`pipeline.domain.tables`), which there are and how an older file gets them
(`schema.py`), the states of a charge (`ledger.py`) or who is ours (`ownership.py`). No connection is held across a
network call: DuckDB allows one process per file, so a holder of milliseconds is a good neighbour and a holder of
seconds stops every other site (`stack.md` 3.2).
"""

from __future__ import annotations

import contextlib
import secrets
import sys
import threading
import time
from collections.abc import Callable, Generator
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import TypeVar, cast

import duckdb
import polars as pl

from pipeline.domain import tables
from pipeline.errors import PermanentError, TransientError
from pipeline.store import schema
from pipeline.store.sql import Connection, read, replace

T = TypeVar("T")

NAME = "warehouse"
"""What the file is called inside the engine."""
WAIT_SECONDS = 60.0
SMALL = 64 * 1024 * 1024
"""Up to this size a file is read by one thread: to wake others costs a third of a run in which nothing happens."""

_LOCKED = "Could not set lock"
_CHANCE = secrets.SystemRandom()
"""Spreads the tries of several processes, also of copies of one."""
_IN_PROCESS = threading.RLock()
"""Threads take turns, too: they share one engine, and the lock on a file is one of processes."""


class Warehouse:
    """The tables of one installation.

    Making DuckDB's engine costs five times what opening a file costs, so the engine stays while the process lives; the
    file is attached to it for each use and let go at its end.

    Args:
        path: the DuckDB file; made on first use, with the tables, readable by its owner only.
        exports: where reports go; this and `backups` are the only folders that SQL may write to or read from.
        backups: where backups go, also the one that is made before an older file is migrated.
        wait_seconds: how long to wait for another process that holds the file.
    """

    def __init__(
        self, path: Path, *, exports: Path | None = None, backups: Path | None = None,
        wait_seconds: float = WAIT_SECONDS,
    ) -> None:  # fmt: skip
        self.path = path
        self._backups = backups
        self._folders = tuple(folder for folder in (exports, backups) if folder)
        self._wait_seconds = wait_seconds
        self._engine: Connection | None = None
        self._opened: Connection | None = None
        """The file while it is open, which is the business of the thread that opened it."""

    @contextlib.contextmanager
    def connect(self) -> Generator[Connection, None, None]:
        """The open file, closed at the end of the block. Never call the network inside it.

        To open and close it costs more than most questions. So a block inside a block uses the file as it is open: what
        follows on each other without a call in between is put into one block.

        Raises:
            TransientError: another process held the file for too long.
            PermanentError: the file is damaged or of another version.
        """
        with _IN_PROCESS:
            if self._opened is not None:
                yield self._opened
                return
            fresh = not self.path.exists()
            con = self._open()
            try:
                if fresh:
                    self.path.chmod(0o600)
                con.execute(f"USE {NAME}")
                schema.ensure(con, self._backups)
                self._opened = con
                yield con
            except BaseException:
                # Whatever state it is in: without its engine the file is free, and what was not committed is gone.
                self.close()
                raise
            finally:
                self._opened = None
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

    def commit(self, change: Callable[[Connection], T]) -> T:
        """Make a change in one transaction: all of it, or nothing and the exception that it raised.

        Args:
            change: reads and writes through the connection that it is given, and nothing else, so that it could be
                called again after a conflict. It never calls the network.

        Returns:
            What `change` returned.
        """
        with self.connect() as con:
            con.begin()
            try:
                result = change(con)
            except BaseException:
                con.rollback()
                raise
            con.commit()
            return result

    def read(self, table: str, site: str | None = None) -> pl.DataFrame:
        """The rows of one table, of one site if named, in the columns of its contract."""
        with self.connect() as con:
            return read(con, table, site)

    def replace(self, table: str, frame: pl.DataFrame, site: str | None = None) -> None:
        """Store a frame in place of the rows of the site (of the whole table without one), once its contract holds."""
        tables.checked(table, frame)
        self.commit(lambda con: replace(con, table, frame, site))

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
            time.sleep(pause * _CHANCE.uniform(0.5, 1.5))
            pause = min(pause * 1.5, 0.25)

    def _attached(self) -> Connection:
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        attach = f"ATTACH {_text(self.path)} AS {NAME} (TYPE duckdb)"
        if self._engine is not None:
            self._engine.execute(attach)
            return self._engine
        _settle_pandas()
        small = not self.path.exists() or self.path.stat().st_size < SMALL
        few = {"threads": 1} if small else {}
        engine = duckdb.connect(":memory:", config={"temp_directory": f"{self.path}.tmp", **few})
        try:
            engine.execute(attach)
            # After the file: what is attached now may be attached again, and nothing else ever.
            _lock_down(engine, self._folders)
        except BaseException:
            engine.close()
            raise
        self._engine = engine
        return engine


def _settle_pandas() -> None:
    """Where pandas is not installed, say so once: DuckDB asks for each parameter, and Python would search the disk."""
    if find_spec("pandas") is None:
        cast("dict[str, ModuleType | None]", sys.modules)["pandas"] = None


def _lock_down(con: Connection, folders: tuple[Path, ...]) -> None:
    """SQL may touch nothing but this file and the named folders (`stack.md` 3.4; the order matters)."""
    con.execute("SET autoinstall_known_extensions=false")
    con.execute("SET autoload_known_extensions=false")
    con.execute("SET TimeZone='UTC'")
    allowed = ", ".join(_text(f"{folder}/") for folder in folders)
    con.execute(f"SET allowed_directories=[{allowed}]")
    con.execute("SET enable_external_access=false")
    con.execute("SET lock_configuration=true")


def _text(value: object) -> str:
    return "'" + str(value).replace("'", "''") + "'"
