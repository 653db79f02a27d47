"""Defaults: the customers for whom a person ended a default for new customers, or let it apply again; only appended.

What belongs here: the record of these decisions, and what they come to. What does not: whom a default would apply to
(`pipeline.domain.people.accounts`).
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

import polars as pl

from pipeline.store.sql import Connection, query


def ended(con: Connection) -> pl.DataFrame:
    """For whom which default is ended: coworker_id, flag (`pay` or `free`), operator, happened_at."""
    return query(
        con,
        "SELECT coworker_id, flag, operator, happened_at FROM default_event WHERE NOT applies"
        " AND (coworker_id, flag, n) IN (SELECT (coworker_id, flag, max(n)) FROM default_event"
        " GROUP BY coworker_id, flag) ORDER BY coworker_id, flag",
    )


def record(con: Connection, decided: Iterable[tuple[int, str, bool]], *, operator: str, at: datetime) -> None:
    """Append decisions inside a transaction: the customer, the flag, and whether its default applies."""
    for coworker_id, flag, applies in decided:
        con.execute(
            "INSERT INTO default_event SELECT $customer, $flag, coalesce(max(n) + 1, 0), $applies, $operator, $at"
            " FROM default_event WHERE coworker_id = $customer AND flag = $flag",
            {"customer": coworker_id, "flag": flag, "applies": applies, "operator": operator, "at": at},
        )
