"""Migration: a warehouse of an earlier version opens, keeps every row, and charges nothing twice.

The fixture `warehouse-1` is a backup that the first version made of a small story: three customers, a sale that was
corrected, a waived job, credits used, a held charge, a stop, and a reconciled day. `told` tells it again.
"""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import polars as pl
import pytest

from pipeline.domain import tables
from pipeline.errors import PermanentError
from pipeline.store import backup, memory, schema, stops
from pipeline.store.lines import lines_of_site
from pipeline.store.warehouse import Warehouse
from tests.harness import Harness, running
from tests.worlds import credit, customer, world

FIRST = Path(__file__).parents[1] / "fixtures" / "warehouse-1"
NOW = datetime(2026, 11, 2, 10, tzinfo=UTC)
AT = "2026-11-02T09:00:30Z"
"""When the jobs of the story were printed."""
CARRIED = {
    "charge": "charge", "charge_event": "charge_event", "ownership_event": "ownership_event",
    "safety_event": "stop_event", "bookmark": "memory", "papercut_users": "print_users",
    "papercut_print_jobs": "print_jobs", "papercut_user_sync": "print_user_sync", "reconciliation": "reconciliation",
    "nexudus_customers": "nexudus_customers", "nexudus_credits": "nexudus_credits", "print_accounts": "print_accounts",
    "print_charges": "print_charges", "user_sync_plan": "user_sync_plan",
}  # fmt: skip
"""Every table of the first version, and what it is called now."""


def rows(table: str) -> int:
    return pl.read_parquet(FIRST / f"{table}.parquet").height


def first_version(path: Path) -> Warehouse:
    """The warehouse of the fixture as a file of the first version."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with duckdb.connect(str(path)) as con:
        con.execute((FIRST / "schema.sql").read_text("utf-8"))
        for table in [*CARRIED, "schema_version"]:
            con.read_parquet(str(FIRST / f"{table}.parquet")).insert_into(table)
    return Warehouse(path, backups=path.parent / "backups")


@pytest.fixture
def store(tmp_path: Path) -> Warehouse:
    return first_version(tmp_path / "data" / "warehouse.duckdb")


def test_every_row_is_carried_over(store: Warehouse) -> None:
    with store.connect() as con:
        found = {new: len(con.table(new)) for new in CARRIED.values()}
        assert con.execute("SELECT max(version) FROM schema_version").fetchone() == (schema.VERSION,)
        left = {row[0] for row in con.execute("SELECT table_name FROM duckdb_tables()").fetchall()}
    assert found == {new: rows(old) for old, new in CARRIED.items()}
    assert left == {*schema.BOOKS, *tables.TABLES, "schema_version"}, "no table of before may stay behind"


def test_a_migrated_file_has_the_columns_of_a_new_one(store: Warehouse, tmp_path: Path) -> None:
    def columns(warehouse: Warehouse) -> set[tuple[str, str, str]]:
        with warehouse.connect() as con:
            query = "SELECT table_name, column_name, data_type FROM duckdb_columns() WHERE NOT internal"
            return {(table, column, kind) for table, column, kind in con.execute(query).fetchall()}

    assert columns(store) == columns(Warehouse(tmp_path / "new.duckdb"))


def test_a_backup_is_made_before_the_first_step(store: Warehouse) -> None:
    with store.connect():
        pass
    kept = store.path.parent / "backups" / f"before-version-{schema.VERSION}"
    assert pl.read_parquet(kept / "safety_event.parquet").height == rows("safety_event"), "the backup is of before"


def test_stops_keep_their_order_and_memory_its_values(store: Warehouse) -> None:
    with store.connect() as con:
        assert stops.states(con, "london")["rename"][0] == "resumed", "the later of two events counts"
        was = pl.read_parquet(FIRST / "bookmark.parquet").filter(name="jobs_cursor")["value"][0]
        assert memory.recall(con, "london", memory.JOBS_CURSOR) == was


@pytest.mark.parametrize("step", schema.STEPS)
def test_a_step_that_fails_leaves_the_file_as_it_was(
    store: Warehouse, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    broken = {step: (*schema.STEPS[step], "SELECT nothing FROM nowhere")}
    monkeypatch.setattr(schema, "STEPS", schema.STEPS | broken)
    with pytest.raises(duckdb.Error), store.connect():
        pass
    monkeypatch.undo()
    with store.connect() as con:
        assert len(con.table("stop_event")) == rows("safety_event")


def test_an_old_backup_is_put_back_and_migrated(tmp_path: Path) -> None:
    store = Warehouse(tmp_path / "data" / "warehouse.duckdb")
    with store.connect():
        pass
    backup.restore(store, FIRST, ["london"], NOW)
    with store.connect() as con:
        assert len(con.table("charge")) == rows("charge")
        assert "charges" in stops.stopped(con, "london"), "nothing is charged before it was recovered"


def test_a_version_that_nobody_knows_is_refused(store: Warehouse) -> None:
    with duckdb.connect(str(store.path)) as con:
        con.execute("INSERT INTO schema_version VALUES (99)")
    with pytest.raises(PermanentError, match="has version 99"), store.connect():
        pass


def told(harness: Harness) -> None:
    """The story of the fixture, by the program of now."""
    assert harness.sync().ok
    harness.advance(minutes=1)
    first = harness.print_job("c7@example.com", 40, at=AT)
    for name, cost in (("c8@example.com", 60), ("c9@example.com", 30), ("c7@example.com", 60_000)):
        harness.print_job(name, cost, at=AT)
    harness.advance(minutes=1)
    assert harness.sync().ok
    harness.refund(first["job_id"], amount=10)
    harness.advance(minutes=1)
    assert harness.sync().ok


def test_a_run_on_a_migrated_warehouse_charges_nothing_twice(tmp_path: Path) -> None:
    people = [customer(7, PaperCutPayAsYouPrint=True), customer(8, PaperCutFreePrinting=True), customer(9)]
    with running(tmp_path, world(people, [credit(401, 9, 100)]), maturity_minutes=0) as harness:
        told(harness)
        sold, left = [sale["Quantity"] for sale in harness.sales()], harness.credits()
        harness.sites.close()
        path = harness.sites.store.path
        path.unlink()
        first_version(tmp_path / "first" / "warehouse.duckdb")
        shutil.copy(tmp_path / "first" / "warehouse.duckdb", path)
        harness.advance(minutes=30)
        outcome = harness.sync()
        assert outcome.ok, outcome.failures
        assert [sale["Quantity"] for sale in harness.sales()] == sold == [30]
        assert harness.credits() == left == {401: 70}
        with harness.sites.store.connect() as con:
            states = dict(lines_of_site(con, "london").group_by("state").len().iter_rows())
        assert states["held"] == 1, "what waits for a person still does"
        later = harness.print_job("c7@example.com", 5)
        harness.advance(minutes=1)
        assert harness.sync().ok
        assert harness.events()[str(later["job_id"])] == ["sale 5 confirmed"], "and work goes on"
