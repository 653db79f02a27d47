"""The warehouse on real files: waiting, rolling back, privacy, and SQL that can touch nothing else.

What belongs here: `pipeline/store/warehouse.py`. What does not: what the tables mean (`test_ledger.py`,
`test_ownership.py`).
"""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from importlib.abc import MetaPathFinder
from pathlib import Path

import duckdb
import polars as pl
import pytest
from pandera.errors import SchemaErrors

from pipeline.domain import tables
from pipeline.errors import PermanentError, TransientError
from pipeline.home import prepared_home
from pipeline.store import memory
from pipeline.store.sql import Connection, read, replace
from pipeline.store.warehouse import Warehouse
from tests.frames import grants, table
from tests.stores import recalled, transaction

NOW = datetime(2026, 11, 2, 9, tzinfo=UTC)
MONEY = ("charge", "charge_event", "ownership_event", "stop_event")

HOLD = """
import sys, time
from pathlib import Path
from pipeline.store.warehouse import Warehouse
with Warehouse(Path(sys.argv[1])).connect():
    print("held", flush=True)
    sys.stdin.readline()
"""

IMPATIENT = """
import sys
from pathlib import Path
from pipeline.store.warehouse import Warehouse
Warehouse(Path(sys.argv[1]), wait_seconds=0.1).read("nexudus_credits")
"""


@pytest.fixture
def store(tmp_path: Path) -> Warehouse:
    return Warehouse(tmp_path / "state" / "warehouse.duckdb", wait_seconds=20)


@contextmanager
def held_by_another_process(store: Warehouse) -> Generator[subprocess.Popen[str], None, None]:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(store.path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        try:
            yield process
        finally:
            let_go(process)
            process.wait(timeout=30)


def let_go(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    if not process.stdin.closed:
        process.stdin.close()


def test_a_file_that_another_process_holds_is_waited_for(store: Warehouse) -> None:
    with held_by_another_process(store) as process:
        threading.Timer(0.5, let_go, [process]).start()
        started = time.monotonic()
        assert store.read("nexudus_credits").height == 0, "once the other process lets go, the read must succeed"
        assert time.monotonic() - started > 0.3, "the read should have had to wait"


def test_a_file_that_is_held_for_too_long_ends_in_an_error_that_says_what_to_do(store: Warehouse) -> None:
    impatient = Warehouse(store.path, wait_seconds=0.2)
    with (
        held_by_another_process(store),
        pytest.raises(TransientError, match=r"Another process held.*What to do: close"),
    ):
        impatient.read("nexudus_credits")


def recall(store: Warehouse) -> None:
    recalled(store, "london", "name")


def fail_inside(store: Warehouse) -> None:
    with transaction(store) as con:
        memory.note(con, "london", "name", "lost", NOW)
        raise KeyboardInterrupt


def break_off(store: Warehouse) -> None:
    with store.connect() as con:
        con.begin()
        con.execute("SELECT no_such_column FROM memory")


@pytest.mark.parametrize("use", [recall, fail_inside, break_off])
def test_the_file_is_free_after_every_use_while_the_process_lives(store: Warehouse, use: Callable[..., object]) -> None:
    with transaction(store) as con:
        memory.note(con, "london", "name", "kept", NOW)
    with contextlib.suppress(KeyboardInterrupt, duckdb.Error):
        use(store)
    with held_by_another_process(store):
        pass
    assert recalled(store, "london", "name") == "kept", "the file must open again after another process had it"


def test_a_block_inside_a_block_has_the_same_open_file_which_stays_held_to_the_end_of_the_outer_one(
    store: Warehouse,
) -> None:
    with store.connect() as outer:
        store.commit(lambda con: memory.note(con, "london", "name", "inner", NOW))
        store.replace("nexudus_credits", grants("credit_id\n1"))
        with store.connect() as inner:
            assert inner is outer
        assert recalled(store, "london", "name") == "inner", "what is committed inside is seen inside"
        assert store.read("nexudus_credits")["credit_id"].to_list() == [1]
        other = subprocess.run(
            [sys.executable, "-c", IMPATIENT, str(store.path)], capture_output=True, text=True, check=False
        )
        assert "Another process held" in other.stderr, "the file must not be let go before the outer block ends"
    with held_by_another_process(store):
        pass


def test_a_failure_inside_a_block_keeps_what_was_committed_before_it_and_frees_the_file(store: Warehouse) -> None:
    def fail() -> None:
        with store.connect():
            store.commit(lambda con: memory.note(con, "london", "name", "kept", NOW))

            def change(con: Connection) -> None:
                memory.note(con, "london", "name", "lost", NOW)
                raise KeyboardInterrupt

            store.commit(change)

    with pytest.raises(KeyboardInterrupt):
        fail()
    with held_by_another_process(store):
        pass
    assert recalled(store, "london", "name") == "kept"


def test_another_thread_waits_for_the_end_of_a_block_with_blocks_inside(store: Warehouse) -> None:
    seen: list[str | None] = []
    thread = threading.Thread(target=lambda: seen.append(recalled(store, "london", "name")))
    with store.connect():
        store.commit(lambda con: memory.note(con, "london", "name", "half", NOW))
        thread.start()
        time.sleep(0.2)
        assert not seen, "a thread must not use the file that another one has open"
        store.commit(lambda con: memory.note(con, "london", "name", "whole", NOW))
    thread.join()
    assert seen == ["whole"]


def test_pandas_is_not_looked_for_again_and_again_where_it_is_not_installed(store: Warehouse) -> None:
    looked: list[str] = []

    class Noting(MetaPathFinder):
        def find_spec(self, fullname: str, *_: object) -> None:
            looked.append(fullname)

    store.commit(lambda con: memory.note(con, "london", "name", "value", NOW))
    sys.meta_path.insert(0, Noting())
    try:
        assert recalled(store, "london", "name") == "value"
        store.replace("nexudus_credits", grants("credit_id\n1"))
    finally:
        sys.meta_path.pop(0)
    assert looked == [], "each look-up searches every folder of sys.path, several times for each statement"


def test_a_file_put_in_place_of_another_is_the_one_that_is_read(store: Warehouse, tmp_path: Path) -> None:
    other = Warehouse(tmp_path / "other.duckdb")
    for each, name in ((store, "old"), (other, "new")):
        with transaction(each) as con:
            memory.note(con, "london", "name", name, NOW)
    other.path.rename(store.path)
    assert recalled(store, "london", "name") == "new"


def test_threads_take_turns(store: Warehouse) -> None:
    def add(number: int) -> None:
        with transaction(store) as con:
            memory.note(con, "london", f"name{number}", "value", NOW)

    threads = [threading.Thread(target=add, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with store.connect() as con:
        assert con.execute("SELECT count(*) FROM memory").fetchone() == (8,), "a thread lost its write"


def test_a_transaction_is_rolled_back_whole_by_any_exception(store: Warehouse) -> None:
    store.replace("nexudus_credits", grants("credit_id\n1"))

    def half() -> None:
        with transaction(store) as con:
            replace(con, "nexudus_credits", grants("credit_id\n2\n3"))
            memory.note(con, "london", "jobs_cursor", "9/9", NOW)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        half()
    assert store.read("nexudus_credits")["credit_id"].to_list() == [1], "rows of a broken transaction stayed"
    assert recalled(store, "london", "jobs_cursor") is None, "a bookmark of a broken transaction stayed"


def users(site: str, observed_at: datetime) -> pl.DataFrame:
    rows = table(
        tables.columns("print_users"), "username balance\nada@example.com 5\ngrace@example.com 7.25",
        site=site, full_name="", email="", restricted=True, disabled=False, internal=True, marked=True,
        observed_at=observed_at,
    )  # fmt: skip
    return tables.checked("print_users", rows)


BEFORE = """
credit_id remaining_uses last_use read_at
1         100            -        11-02T08:00
2         200            abc      11-02T08:00
"""


@pytest.mark.parametrize(
    "after",
    [
        BEFORE,
        BEFORE.replace("08:00", "09:00"),
        BEFORE.replace("08:00", "09:00", 1),
        BEFORE.replace("200", "201"),
        BEFORE.replace("abc", "-"),
        BEFORE.replace("-   ", "abc"),
        BEFORE.replace("200", "201").replace("08:00", "09:00"),
        BEFORE + "3 300 - 11-02T08:00",
        "\n".join(BEFORE.splitlines()[:-1]),
        "credit_id",
    ],
    ids=[
        "the same",
        "all read later",
        "one read later",
        "a number",
        "a value lost",
        "a value found",
        "a number, read later",
        "one more",
        "one less",
        "none",
    ],
)
def test_what_is_stored_in_place_of_rows_is_what_is_read(store: Warehouse, after: str) -> None:
    for frame in (grants(BEFORE), grants(after), grants(after)):
        store.replace("nexudus_credits", frame)
        stored = store.read("nexudus_credits").sort("credit_id")
        assert stored.equals(frame, null_equal=True), "the table must hold the last frame and nothing else"


def test_the_rows_of_another_site_stay(store: Warehouse) -> None:
    for site, observed_at in (("london", NOW), ("paris", NOW), ("paris", NOW + timedelta(hours=1))):
        store.replace("print_users", users(site, observed_at), site)
    assert store.read("print_users", "london")["observed_at"].to_list() == [NOW] * 2
    assert store.read("print_users", "paris")["observed_at"].to_list() == [NOW + timedelta(hours=1)] * 2


def test_storing_what_is_there_already_writes_nothing(store: Warehouse) -> None:
    def store_all(at: datetime) -> None:
        store.replace("nexudus_credits", grants(BEFORE))
        store.replace("print_users", users("london", NOW), "london")
        with transaction(store) as con:
            memory.remember(con, "london", "jobs_cursor", "9/9", at)

    store_all(NOW)
    before = store.path.read_bytes()
    store_all(NOW + timedelta(hours=1))
    assert store.path.read_bytes() == before, "a run that finds nothing new must not make the file grow"


def test_a_frame_that_breaks_its_contract_replaces_nothing(store: Warehouse) -> None:
    store.replace("nexudus_credits", grants("credit_id\n1"))
    with pytest.raises(SchemaErrors, match="credit_id"):
        store.replace("nexudus_credits", grants("credit_id\n2\n2"))
    assert store.read("nexudus_credits")["credit_id"].to_list() == [1]


def test_everything_in_the_state_folder_is_private_even_if_the_folder_was_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "data"
    folder.mkdir(mode=0o755)
    monkeypatch.setenv("PRINTBRIDGE_HOME", str(folder))
    monkeypatch.setenv("DAGSTER_HOME", "")  # so that it is restored
    before = os.umask(0o022)
    try:
        with transaction(Warehouse(prepared_home().warehouse)) as con:
            memory.note(con, "london", "name", "value", NOW)
            modes = {path.name: path.stat().st_mode & 0o077 for path in folder.iterdir()}
    finally:
        os.umask(before)
    assert "warehouse.duckdb.wal" in modes, "the write-ahead log should be there before the commit"
    assert not any(modes.values()), f"others can read {modes}: create files with mode 0600"
    assert folder.stat().st_mode & 0o777 == 0o700, "the state folder must be private"


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM read_text('/etc/hostname')",
        "SELECT * FROM read_csv('{folder}/secret.csv')",
        "COPY (SELECT 1) TO '{folder}/stolen.csv'",
        "ATTACH '{folder}/other.duckdb'",
        "INSTALL httpfs",
        "LOAD httpfs",
        "SET enable_external_access=true",
        "SET allowed_directories=['/']",
    ],
)
def test_sql_reaches_nothing_outside_the_file(store: Warehouse, tmp_path: Path, sql: str) -> None:
    (tmp_path / "secret.csv").write_text("a\n1\n")
    with store.connect() as con, pytest.raises(duckdb.Error):
        con.execute(sql.format(folder=tmp_path))
    assert not (tmp_path / "stolen.csv").exists()


def test_sql_may_write_to_the_folders_that_are_named(tmp_path: Path) -> None:
    exports = tmp_path / "it's exports"
    exports.mkdir()
    store = Warehouse(tmp_path / "warehouse.duckdb", exports=exports)
    with store.connect() as con:
        con.execute("COPY (SELECT 1 AS one) TO '" + str(exports / "one.csv").replace("'", "''") + "'")
    assert (exports / "one.csv").read_text() == "one\n1\n"


def test_a_damaged_file_is_named_with_the_way_out(store: Warehouse) -> None:
    store.path.parent.mkdir(parents=True)
    store.path.write_bytes(b"not a database" * 1000)
    with pytest.raises(PermanentError, match=r"cannot be opened.*printbridge recover"):
        store.read("nexudus_credits")


def test_a_file_of_another_version_is_refused(store: Warehouse) -> None:
    with transaction(store) as con:
        con.execute("INSERT INTO schema_version VALUES (999)")
    with pytest.raises(PermanentError, match="has version 999"):
        store.read("nexudus_credits")


def test_every_table_has_the_columns_of_its_contract_and_no_secondary_index(store: Warehouse) -> None:
    with store.connect() as con:
        for table in tables.TABLES:
            assert read(con, table).schema == tables.columns(table), f"{table} differs from its contract"
        assert con.execute("SELECT index_name FROM duckdb_indexes()").fetchall() == [], (
            "a secondary unique index stops being unique after a kill: use an inline PRIMARY KEY"
        )
        doubles = con.execute(
            "SELECT table_name, column_name FROM duckdb_columns() "
            " WHERE NOT internal AND data_type IN ('FLOAT', 'DOUBLE')"
        ).fetchall()
        assert doubles == [], "money may not be kept as a floating-point number"


def test_no_statement_changes_a_row_of_the_append_only_tables() -> None:
    root = Path(__file__).parents[2]
    pattern = re.compile(rf"(UPDATE|DELETE\s+FROM|TRUNCATE|INSERT\s+OR\s+REPLACE\s+INTO)\s+({'|'.join(MONEY)})\b", re.I)
    sources = [path for folder in ("pipeline", "assets") for path in (root / folder).rglob("*.py")]
    found = [f"{path.name}: {match.group()}" for path in sources for match in pattern.finditer(path.read_text("utf-8"))]
    assert found == [], "money and ownership are append-only: write another event instead"


def test_uniqueness_survives_a_killed_process(store: Warehouse) -> None:
    insert = (
        "import os, sys\nfrom pathlib import Path\nfrom pipeline.store.warehouse import Warehouse\n"
        "with Warehouse(Path(sys.argv[1])).connect() as con:\n"
        "    con.execute(\"INSERT INTO charge_event VALUES ('R', 0, 'priced', now(), 'r', 'a', NULL, '')\")\n"
        "    os.kill(os.getpid(), 9)\n"
    )
    subprocess.run([sys.executable, "-c", insert, str(store.path)], check=False, timeout=60)
    again = "INSERT INTO charge_event VALUES ('R', 0, 'priced', now(), 'r', 'a', NULL, '')"
    with store.connect() as con:
        assert con.execute("SELECT count(*) FROM charge_event").fetchone() == (1,), "a committed row was lost"
        with pytest.raises(duckdb.ConstraintException):
            con.execute(again)


def test_times_come_back_in_utc(store: Warehouse) -> None:
    store.replace("nexudus_credits", grants("credit_id expires_at\n1 11-20T09:30"))
    assert store.read("nexudus_credits")["expires_at"].dtype == pl.Datetime("us", "UTC")
    assert store.read("nexudus_credits")["expires_at"].to_list() == [datetime(2026, 11, 20, 9, 30, tzinfo=UTC)]
