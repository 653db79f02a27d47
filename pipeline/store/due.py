"""What has fallen due at a site, by its own record: the questions of a look, each cheap.

What belongs here: open lines whose time has come, credits that began or ended, how the last run ended. What does not:
what a service says (`pipeline.steps.look`).
"""

from __future__ import annotations

from datetime import datetime, timedelta

from pipeline.store import memory
from pipeline.store.sql import Connection, query

UNFINISHED = "the last run did not finish, or was a dry run"
MATURE = "jobs have become mature"

_OPEN_LINES = """
WITH last AS (SELECT ref, arg_max(state, n) AS state, max(happened_at) AS moved FROM charge_event GROUP BY ref),
line AS (SELECT * FROM charge JOIN last USING (ref) WHERE site = $site),
waits AS (
    SELECT DISTINCT fresh.ref FROM line AS fresh JOIN line AS reversal ON reversal.job_id = fresh.job_id
    WHERE fresh.state = 'priced' AND fresh.undoes IS NULL AND reversal.undoes <> fresh.ref
        AND reversal.state NOT IN ('confirmed', 'void') AND reversal.revision <= fresh.revision
)
SELECT count(*) AS n FROM line LEFT JOIN line AS undone ON undone.ref = line.undoes
WHERE (line.state IN ('unknown', 'sending') AND line.moved <= $settled)
    OR (line.state = 'priced' AND coalesce(undone.state, '') NOT IN ('held', 'unknown', 'sending')
        AND line.ref NOT IN (SELECT ref FROM waits))
"""
"""A reversal waits for its line: for a person where that is held, for the look-up where it is unknown. What replaces a
charge waits for its reversal (`pipeline.domain.money.reversals`)."""

_VALIDITY = """
SELECT count(*) AS n FROM nexudus_credits
WHERE (expires_at > $finished AND expires_at <= $now) OR (valid_from > $finished AND valid_from <= $now)
"""


def reason(con: Connection, site: str, *, settle: timedelta, complete: timedelta, now: datetime) -> str | None:
    """What of a site's own record has fallen due, as a reason for a run; None if nothing has.

    Args:
        con: an open connection.
        site: the site.
        settle: age at which an unknown outcome is looked up.
        complete: how often Nexudus is read whole.
        now: the current time, UTC.
    """
    finished, started = memory.written(con, site, memory.SEEN), memory.written(con, site, memory.STARTED)
    if started and (finished is None or started > finished):
        return UNFINISHED
    if finished is None:
        return "first run"
    read = memory.written(con, memory.ACCOUNT, memory.complete_read("nexudus_customers"))
    if read is None or now - read >= complete:
        return "a complete read of Nexudus is due"
    wake_at = memory.recall(con, site, memory.WAKE)
    if wake_at and datetime.fromisoformat(wake_at) <= now:
        return MATURE
    lines = query(con, _OPEN_LINES, site=site, settled=now - settle)
    if lines["n"][0]:
        return f"{lines['n'][0]} charges wait to be sent or looked up"
    credits_due = query(con, _VALIDITY, now=now, finished=finished)
    return f"{credits_due['n'][0]} credits expired or became valid" if credits_due["n"][0] else None
