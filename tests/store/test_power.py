"""Power that is lost in the middle of a commit, on real files: what was answered is there, or the error says how on."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pipeline.errors import PermanentError
from pipeline.store import backup, stops
from pipeline.store.sql import Connection
from pipeline.store.warehouse import Warehouse
from tests.campaign import power

NOW = datetime(2026, 11, 2, 9, tzinfo=UTC)
FIRST, SECOND = 40, 60
"""Rows of a commit that was answered, and of the one that power is lost in."""


def stopped(con: Connection, times: int) -> None:
    for number in range(times):
        stops.record(con, "london", "charges", state="stopped", reason=f"reason {number}", at=NOW)


def rows(store: Warehouse) -> int:
    with store.connect() as con:
        return len(con.table("stop_event"))


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A commit of FIRST rows, then images around one of SECOND rows."""
    folder = tmp_path_factory.mktemp("power")
    store = Warehouse(folder / "warehouse.duckdb")
    store.commit(lambda con: stopped(con, FIRST))
    with store.connect() as con:
        con.begin()
        stopped(con, SECOND)
        power.image(store.path, folder / "images" / power.BEFORE)
        con.commit()
        power.image(store.path, folder / "images" / power.COMMITTED)
    power.image(store.path, folder / "images" / power.CLOSED)
    store.close()
    return folder / "images"


@pytest.mark.parametrize("loss", power.LOSSES)
def test_a_commit_that_power_was_lost_in_is_there_whole_or_not_at_all(images: Path, tmp_path: Path, loss: str) -> None:
    answered = power.LOSSES[loss][1]
    whole = {FIRST + SECOND} if answered else {FIRST, FIRST + SECOND}
    for seed in range(6):
        store = Warehouse(tmp_path / f"{seed}" / "warehouse.duckdb")
        store.path.parent.mkdir()
        power.lose(loss, images, store.path, random.Random(seed))
        try:
            assert rows(store) in whole, f"{loss}, seed {seed}: what was answered is gone, or a commit is there in part"
        except PermanentError as error:
            told = str(error)
            assert loss in ("end of the log spoiled", "checkpoint torn"), (
                f"{loss}, seed {seed}: DuckDB should pass over this: {told}"
            )
            assert "restore the newest backup and run `printbridge recover`" in told, f"{loss}: no way out in {told}"
        store.close()


def test_a_warehouse_that_cannot_be_opened_makes_way_for_a_backup_and_is_kept_with_its_log(
    images: Path, tmp_path: Path
) -> None:
    store = Warehouse(tmp_path / "data" / "warehouse.duckdb", backups=tmp_path / "backups")
    store.commit(lambda con: stopped(con, FIRST))
    made = backup.back_up(store, tmp_path / "backups", NOW)
    store.close()
    power.lose("end of the log spoiled", images, store.path, random.Random(1))
    damaged = power.log_of(store.path).read_bytes()
    with pytest.raises(PermanentError, match="restore the newest backup"):
        rows(store)
    aside = backup.restore(store, made.folder, ["london"], NOW)
    assert rows(store) == FIRST, "the log of the damaged file was read into the backup"
    assert power.log_of(aside).read_bytes() == damaged, "the damaged file has lost its log: nobody can mend it any more"
    assert store.path.stat().st_mode & 0o777 == 0o600
