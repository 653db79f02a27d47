"""The store, as tests use it: a block that is one transaction, lines that are entered and moved, what is remembered.

What belongs here: what the program itself has no use for. What does not: expectations.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl

from pipeline.domain import tables
from pipeline.domain.money.references import reference
from pipeline.store import ledger, memory
from pipeline.store.ledger import Mover
from pipeline.store.sql import Connection
from pipeline.store.warehouse import Warehouse

NOW = datetime(2026, 11, 2, 9, tzinfo=UTC)


@contextmanager
def transaction(store: Warehouse) -> Generator[Connection]:
    """A block that is one transaction, rolled back by any exception in it."""
    with store.connect() as con:
        con.begin()
        try:
            yield con
        except BaseException:
            con.rollback()
            raise
        con.commit()


def recalled(store: Warehouse, site: str, name: str) -> str | None:
    """The newest value that is remembered of a site."""
    with store.connect() as con:
        return memory.recall(con, site, name)


def mover(minutes: float = 0, actor: str = "test") -> Mover:
    """Who moves a line, some minutes after NOW."""
    return Mover("run", actor, NOW + timedelta(minutes=minutes))


def charge(job: str = "1", kind: str = "sale", state: str = "priced", **fields: Any) -> dict[str, Any]:
    """A line of PrintCharges; by default a sale of 30 cents that is to be sent."""
    return {
        "ref": reference("london", job, kind, 0), "site": "london", "job_id": job, "revision": 0, "kind": kind,
        "seq": 0, "printed_at": NOW, "username": "c1", "email_key": "c1", "coworker_id": 101,
        "credit_id": 401 if kind.endswith("credit") else None, "amount_cents": 30, "undoes": None, "state": state,
        "rule": "money", "reason": "because" if state == "held" else None, **fields,
    }  # fmt: skip


def charges(*rows: dict[str, Any]) -> pl.DataFrame:
    """PrintCharges of some lines."""
    return pl.DataFrame(list(rows), schema=tables.columns("print_charges"))


def enter(store: Warehouse, *rows: dict[str, Any]) -> int:
    """Enter some lines; how many were new."""
    with transaction(store) as con:
        return ledger.enter(con, charges(*rows), mover())


def move(
    store: Warehouse, ref: str, state: str, detail: str = "", *, remote_id: int | None = None, at: float = 0
) -> None:
    """Move a line, some minutes after NOW."""
    with transaction(store) as con:
        ledger.move(con, ledger.moves_of([(ref, remote_id, detail)]), state, mover(at))
