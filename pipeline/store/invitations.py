"""Invitations: the customers whom a person asked to be invited to the print system of a site; only appended.

What belongs here: the record of who asked for whom and when. What does not: who may be invited
(`pipeline.domain.people.differences`), and the print system's own list of invitations.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

import polars as pl

from pipeline.store.sql import Connection, query

HOLDS_FOR = timedelta(days=1)
"""How long a request counts; who was not invited by then is asked about anew."""


def asked(con: Connection, site: str, now: datetime) -> pl.DataFrame:
    """The customers whom a person asked to be invited within `HOLDS_FOR`: coworker_id, ascending."""
    return query(
        con,
        "SELECT DISTINCT coworker_id FROM invitation_event WHERE site = $site AND happened_at > $since"
        " ORDER BY coworker_id",
        site=site, since=now - HOLDS_FOR,
    )  # fmt: skip


def ask(con: Connection, site: str, customers: Iterable[int], *, operator: str, at: datetime) -> None:
    """Append inside a transaction that somebody asked for some customers to be invited."""
    for coworker_id in customers:
        con.execute(
            "INSERT INTO invitation_event SELECT $site, $customer, coalesce(max(n) + 1, 0), $operator, $at"
            " FROM invitation_event WHERE site = $site AND coworker_id = $customer",
            {"site": site, "customer": coworker_id, "operator": operator, "at": at},
        )
