"""Whose print users are ours: the append-only record of users that this project created or took over.

What belongs here: the events of ownership, the present state made of them, and the mapping of user names to customers
that outlives a user (a job of a removed user still finds its customer). What does not: what PaperCut has.

A user is ours only with a row here, the mark in PaperCut's notes and PaperCut's own `internal` flag
(`money-safety.md` 4.1). Events: `creating` (intent, before the call), `owned`, `released`.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Required, TypedDict

import polars as pl

from pipeline.store.sql import Connection, insert, query

EVENT: dict[str, pl.DataType | type[pl.DataType]] = {
    "username": pl.String, "state": pl.String, "coworker_id": pl.Int64, "email_key": pl.String, "access": pl.String,
    "pin_digest": pl.String, "card_digest": pl.String, "without_credit_since": pl.Datetime("us", "UTC"),
    "password_length": pl.Int64, "reason": pl.String,
}  # fmt: skip
"""The columns of an event that its writer fills."""


class Identity(TypedDict):
    """Whose user it is, and which way in it has."""

    username: str
    coworker_id: int | None
    email_key: str | None
    access: str | None


class Digests(TypedDict, total=False):
    """What of the secrets was written: digests, and the length of the password."""

    pin_digest: str | None
    card_digest: str | None
    password_length: int | None


class Event(Digests, total=False):
    """What happened to a user of ours; what is left out stays as the event before it says, until `released`.

    `renamed_from` names the user whose digests a renamed one keeps.
    """

    username: Required[str]
    state: str
    coworker_id: int | None
    email_key: str | None
    access: str | None
    without_credit_since: datetime | None
    reason: Required[str]
    renamed_from: str


REMOVING, REMOVED, NOT_REMOVED = "about to remove", "removed", "not removed"
"""The reasons of the events around a removal: before the call, once it was done, and once it surely was not."""


def owned(con: Connection, site: str) -> pl.DataFrame:
    """The users that are ours now.

    Returns:
        username, coworker_id, email_key, access, state (creating, owned), owned_from (first event of this ownership),
        pin_digest, card_digest, without_credit_since, password_length.
    """
    return query(
        con,
        """
        WITH event AS (SELECT *, max(CASE WHEN state = 'released' THEN n END) OVER (PARTITION BY username) AS last_end
                       FROM ownership_event WHERE site = $site),
        latest AS (SELECT * FROM event QUALIFY n = max(n) OVER (PARTITION BY username))
        SELECT l.username, l.coworker_id, l.email_key, l.access, l.state, f.owned_from, l.pin_digest, l.card_digest,
               l.without_credit_since, l.password_length
        FROM latest l JOIN (SELECT username, min(happened_at) AS owned_from FROM event
                            WHERE n > coalesce(last_end, -1) GROUP BY username) f USING (username)
        WHERE l.state <> 'released' ORDER BY l.username
        """,
        site=site,
    )


def names(con: Connection, site: str) -> pl.DataFrame:
    """Which customer a user name stood for, from when on, however often it changed hands.

    Returns:
        username, owned_from, coworker_id, email_key; a row for each time that the name passed to another.
    """
    return query(
        con,
        """
        WITH owner AS (
            SELECT username, n, happened_at, coworker_id, email_key,
                   lag(coworker_id) OVER w AS former, lag(email_key) OVER w AS former_key
            FROM ownership_event WHERE site = $site AND state <> 'released' AND coworker_id IS NOT NULL
            WINDOW w AS (PARTITION BY username ORDER BY n)
        )
        SELECT username, happened_at AS owned_from, coworker_id, email_key FROM owner
        WHERE (coworker_id, email_key) IS DISTINCT FROM (former, former_key) ORDER BY username, n
        """,
        site=site,
    )


def removed_since(con: Connection, site: str, now: datetime) -> int:
    """How many users were removed, by deletion or disabling, in the 24 hours before `now` (renames do not count).

    A removal counts from its intent on: one whose answer was lost, or whose run was killed, may have happened. Only the
    print system's own no takes it off again.
    """
    found = query(
        con,
        """
        SELECT count(*) FROM (
            SELECT username, arg_max(reason, n) AS last FROM ownership_event
            WHERE site = $site AND happened_at > $since AND list_contains($reasons, reason) GROUP BY username
        ) WHERE last <> $undone
        """,
        site=site, since=now - timedelta(hours=24), undone=NOT_REMOVED, reasons=[REMOVING, REMOVED, NOT_REMOVED],
    )  # fmt: skip
    return int(found.item())


def absent(con: Connection, site: str, listed_at: datetime) -> list[str]:
    """The users that were ours before a complete list of print users was read, and that the list lacks."""
    rows = con.execute(
        "SELECT username FROM ownership_event o WHERE site = $site AND state = 'owned'"
        " AND n = (SELECT max(n) FROM ownership_event l WHERE l.site = o.site AND l.username = o.username)"
        " AND happened_at < $at AND username NOT IN (SELECT username FROM print_users WHERE site = $site)",
        {"site": site, "at": listed_at},
    ).fetchall()
    return [row[0] for row in rows]


def record(con: Connection, site: str, events: Sequence[Event], at: datetime) -> None:
    """Append events.

    Args:
        con: a connection inside a transaction.
        site: the site.
        events: in the order in which they happened.
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
    added: list[dict[str, object]] = []
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
