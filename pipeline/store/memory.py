"""Memory: what a run leaves for the next one to know, by site and name, with the time at which it was written.

What belongs here: the names of what is remembered, writing and recalling it. What does not: what is made of it. A value
is never overwritten: the newest one counts.
"""

from __future__ import annotations

from datetime import UTC, datetime

from pipeline.store.warehouse import Connection

ACCOUNT = "*"
"""In place of a site, for what belongs to the whole Nexudus account; no site can have this name."""

JOBS_CURSOR = "jobs_cursor"
"""How far the log of a site was read."""
JOB_PROBLEMS = "job_problems"
"""The rows of the last read that could not be read, as a JSON list of sentences."""
USERS_READ = "users_read_at"
"""When the users of a print system were listed last: where each costs a call, most rows are older."""
STARTED = "started_at"
"""The last run that began."""
SEEN = "seen"
"""What the last run that came to its end saw, as JSON."""
LISTS = "lists"
"""How the Nexudus lists stood from which a site was decided last, as JSON."""
PASSED = "lists_passed"
"""How the Nexudus lists stood when a look last passed over changes that do not concern the site, as JSON."""
WAKE = "wake_at"
"""When the youngest job will be mature; empty without one."""
ACCESS_SEEN = "access_seen_at"
"""When the access of everybody was looked at last."""
SHARING_SEEN = "sharing_seen_at"
"""When it was looked at last who shares credits with whom."""
STRANGE = "strange_sales"
"""The sales in Nexudus with a reference of a site and no job in its log, as a JSON list of ids."""
CURRENCY = "currency"
"""The currency of the charge product."""
ALERTS = "alerts"
"""Which causes people were told of, as JSON."""
RESTORED, RECOVERED = "restored_at", "recovered_at"
"""When a backup was put in the place of the warehouse, and when a site was recovered since."""

LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)


def complete_read(table: str) -> str:
    """The name under which the time of the last complete read of a Nexudus list is kept."""
    return f"{table}.complete_at"


def state_of(table: str) -> str:
    """The name under which is kept how a Nexudus list stood when its table was read."""
    return f"{table}.state"


def problems(table: str) -> str:
    """The name under which the records of a table that cannot be read are kept: JSON, id to sentence."""
    return f"{table}.problems"


def recall(con: Connection, site: str, name: str) -> str | None:
    """The newest value of a site, or None."""
    return _newest(con, site, name)[0]


def written(con: Connection, site: str, name: str) -> datetime | None:
    """When the newest value of a site was written, UTC."""
    return _newest(con, site, name)[1]


def remember(con: Connection, site: str, name: str, value: str, at: datetime) -> None:
    """Append a value inside a transaction, unless it is the newest one."""
    if recall(con, site, name) != value:
        note(con, site, name, value, at)


def note(con: Connection, site: str, name: str, value: str, at: datetime) -> None:
    """Append a value inside a transaction, even if it is the newest one: its time counts."""
    con.execute(
        "INSERT INTO memory SELECT $site, $name, coalesce(max(n) + 1, 0), $value, $at FROM memory"
        " WHERE site = $site AND name = $name",
        {"site": site, "name": name, "value": value, "at": at},
    )


def _newest(con: Connection, site: str, name: str) -> tuple[str | None, datetime | None]:
    row = con.execute(
        "SELECT arg_max(value, n), arg_max(happened_at, n) FROM memory WHERE site = $site AND name = $name",
        {"site": site, "name": name},
    ).fetchone()
    return row or (None, None)


def forget(con: Connection) -> None:
    """Remove the values that a newer one has followed, inside a transaction; housekeeping does it once a day."""
    con.execute(
        "DELETE FROM memory WHERE (site, name, n) NOT IN (SELECT (site, name, max(n)) FROM memory GROUP BY site, name)"
    )
