"""The store, as tests use it: a block that is one transaction, and a value that is remembered.

What belongs here: what the program itself has no use for. What does not: expectations.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

from pipeline.store import memory
from pipeline.store.sql import Connection
from pipeline.store.warehouse import Warehouse


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
