"""Whose print users are ours: the append-only record of users that this project created or took over.

What belongs here: the events of ownership, the present state made of them, and the mapping of user names to customers
that outlives a user (a job of a removed user still finds its customer). What does not: what PaperCut has.

A user is ours only with a row here, the mark in PaperCut's notes and PaperCut's own `internal` flag
(`money-safety.md` 4.1). Events: `creating` (intent, before the call), `owned`, `released`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import polars as pl

from pipeline.warehouse import Connection, insert, query

EVENT: dict[str, Any] = {
    "username": pl.String, "state": pl.String, "coworker_id": pl.Int64, "email_key": pl.String, "access": pl.String,
    "pin_digest": pl.String, "card_digest": pl.String, "without_credit_since": pl.Datetime("us", "UTC"),
    "reason": pl.String,
}  # fmt: skip
"""The columns of an event that its writer fills."""


def owned(con: Connection, site: str) -> pl.DataFrame:
    """The users that are ours now.

    Returns:
        username, coworker_id, email_key, access, state (creating, owned), owned_from (first event of this ownership),
        pin_digest, card_digest, without_credit_since.
    """
    return query(
        con,
        """
        WITH event AS (SELECT *, max(CASE WHEN state = 'released' THEN n END) OVER (PARTITION BY username) AS last_end
                       FROM ownership_event WHERE site = $site),
        latest AS (SELECT * FROM event QUALIFY n = max(n) OVER (PARTITION BY username))
        SELECT l.username, l.coworker_id, l.email_key, l.access, l.state, f.owned_from, l.pin_digest, l.card_digest,
               l.without_credit_since
        FROM latest l JOIN (SELECT username, min(happened_at) AS owned_from FROM event
                            WHERE n > coalesce(last_end, -1) GROUP BY username) f USING (username)
        WHERE l.state <> 'released' ORDER BY l.username
        """,
        site=site,
    )


def names(con: Connection, site: str) -> pl.DataFrame:
    """Which customer a user name stood for, from when on: username, owned_from, coworker_id, email_key."""
    return query(
        con,
        """
        SELECT username, min(happened_at) AS owned_from, coworker_id, email_key FROM ownership_event
        WHERE site = $site AND state <> 'released' AND coworker_id IS NOT NULL
        GROUP BY username, coworker_id, email_key ORDER BY username, owned_from
        """,
        site=site,
    )


def removed_since(con: Connection, site: str, now: datetime) -> int:
    """How many users were removed, by deletion or disabling, in the 24 hours before `now` (renames do not count)."""
    row = con.execute(
        "SELECT count(*) FROM ownership_event WHERE site = $site AND reason = 'removed' AND happened_at > $since",
        {"site": site, "since": now - timedelta(hours=24)},
    ).fetchone()
    return row[0] if row else 0


def record(con: Connection, site: str, events: Sequence[Mapping[str, Any]], at: datetime) -> None:
    """Append events; a field that an event leaves out keeps the value of the user's event before it, until released.

    Args:
        con: a connection inside a transaction.
        site: the site.
        events: mappings with username, state and reason, and any of the other columns of `EVENT`; `renamed_from` names
            the user whose digests a renamed one keeps.
        at: when they happened, UTC.
    """
    if not events:
        return
    touched = {event["username"] for event in events} | {event.get("renamed_from") for event in events} - {None}
    con.register("touched", pl.DataFrame({"username": sorted(touched)}, schema={"username": pl.String}))
    try:
        rows = con.sql(
            "SELECT o.* FROM ownership_event o JOIN touched USING (username) WHERE site = $site"
            " QUALIFY n = max(n) OVER (PARTITION BY username)",
            params={"site": site},
        ).pl()
    finally:
        con.unregister("touched")
    before: dict[str, dict[str, Any]] = {row["username"]: row for row in rows.iter_rows(named=True)}
    added: list[dict[str, Any]] = []
    for event in events:
        last = before.get(event["username"], {})
        # What was released says nothing of whoever has the name next; a renamed user brings what it had.
        kept = before.get(event.get("renamed_from", ""), {} if last.get("state") == "released" else last)
        row = {name: event.get(name) if name in event else kept.get(name) for name in EVENT}
        before[event["username"]] = {**row, "n": last.get("n", -1) + 1}
        added.append(before[event["username"]])
    frame = pl.DataFrame(added, schema={**EVENT, "n": pl.Int64})
    moment = pl.lit(at, dtype=pl.Datetime("us", "UTC"))
    insert(con, "ownership_event", frame.with_columns(site=pl.lit(site), happened_at=moment))
