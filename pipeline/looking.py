"""The look: whether a site has anything to do, without starting a run.

What belongs here: what a finished run remembers of what it saw, and the cheap questions that compare the services with
that memory. What does not: the schedule (`automation.py`). Starting a run costs seconds and leaves hundreds of event
rows, and most ticks find nothing, so a look asks Nexudus for one row per list and PaperCut for one number.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as LookTimeoutError
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

import polars as pl

from pipeline import warehouse
from pipeline.clients.nexudus import NexudusClient
from pipeline.errors import BridgeError, TransientError
from pipeline.resources import Bridge
from pipeline.warehouse import Connection, Warehouse

LOOK_SECONDS = 20.0
"""How long one site may keep a tick waiting; a dead server delays nobody for longer."""

SETTLED = timedelta(minutes=10)
"""Lists show whole seconds and may lag, so a newest change is taken for the last one only when it is this old."""

CUSTOMERS, CREDITS = "customers", "credits"


@dataclass(frozen=True)
class Newest:
    """How many rows a Nexudus list has and when the newest was changed."""

    total: int
    updated_on: datetime | None

    def as_text(self) -> str:
        """The form in which it is remembered and compared; seconds, as lists show no finer."""
        return f"{self.total} {self.updated_on:%Y-%m-%dT%H:%M:%S}" if self.updated_on else f"{self.total}"


def seen(con: Connection, site: str, mode: str) -> str:
    """What a run that has just finished saw: the state of the lists it worked from, and the mode it ran in."""
    memory: dict[str, Any] = {
        "mode": mode,
        CUSTOMERS: _stored(con, "nexudus_customers").as_text(),
        CREDITS: _stored(con, "nexudus_credits").as_text(),
        "jobs": warehouse.bookmark(con, site, "jobs_cursor"),
    }
    return json.dumps(memory)


def due(con: Connection, site: str, *, settle: timedelta, complete: timedelta, now: datetime) -> str | None:
    """What of a site's own record has fallen due, as a reason; None if nothing has.

    Args:
        con: an open connection.
        site: the site.
        settle: age at which an unknown outcome is looked up.
        complete: how often Nexudus is read whole.
        now: the current time, UTC.
    """
    finished, started = _written(con, site, "seen"), _written(con, site, "started_at")
    if started and (finished is None or started > finished):
        return UNFINISHED
    if finished is None:
        return "first run"
    read = _written(con, "*", "nexudus_customers.complete_at")
    if read is None or now - read >= complete:
        return "a complete read of Nexudus is due"
    wake_at = warehouse.bookmark(con, site, "wake_at")
    if wake_at and datetime.fromisoformat(wake_at) <= now:
        return "jobs have become mature"
    lines = warehouse.query(con, _OPEN_LINES, site=site, settled=now - settle)
    if lines["n"][0]:
        return f"{lines['n'][0]} charges wait to be sent or looked up"
    credits_due = warehouse.query(con, _VALIDITY, now=now, finished=finished)
    return f"{credits_due['n'][0]} credits expired or became valid" if credits_due["n"][0] else None


UNFINISHED = "the last run did not finish, or was a dry run"

_OPEN_LINES = """
WITH last AS (SELECT ref, arg_max(state, n) AS state, max(happened_at) AS moved FROM charge_event GROUP BY ref),
line AS (SELECT * FROM charge JOIN last USING (ref) WHERE site = $site)
SELECT count(*) AS n FROM line LEFT JOIN line AS undone ON undone.ref = line.undoes
WHERE (line.state IN ('unknown', 'sending') AND line.moved <= $settled)
    OR (line.state = 'priced' AND coalesce(undone.state, '') NOT IN ('held', 'unknown', 'sending'))
"""
"""A reversal waits for its line: for a person where that is held, for the look-up where it is unknown."""

_VALIDITY = """
SELECT count(*) AS n FROM nexudus_credits
WHERE (expires_at > $finished AND expires_at <= $now) OR (valid_from > $finished AND valid_from <= $now)
"""


def _stored(con: Connection, table: str) -> Newest:
    row = con.table(table).aggregate("count(*) AS total, max(updated_on) AS newest").pl()
    return Newest(row["total"][0], row["newest"][0])


def _written(con: Connection, site: str, name: str) -> datetime | None:
    """When a bookmark was written."""
    rows = warehouse.query(
        con, "SELECT happened_at FROM bookmark WHERE site = $site AND name = $name", site=site, name=name
    )
    return rows["happened_at"][0] if rows.height else None


def lists(bridge: Bridge) -> dict[str, Newest]:
    """The state of the customers and of the printing credits in Nexudus.

    A tick asks for one row of the customers and one of all credits. Only where any credit changed, printing or not, it
    asks again for each printing credit, because one filter takes one of them.

    Raises:
        BridgeError: Nexudus could not be asked.
    """
    found = {CUSTOMERS: Newest(*bridge.nexudus.newest("coworkers"))}
    ids = tuple(sorted({credit_id for site in bridge.settings.sites.values() for credit_id in site.credit_ids}))
    if len(ids) < 2:
        return {**found, CREDITS: _named(bridge.nexudus, ids)}
    every, before = Newest(*bridge.nexudus.newest("coworkerextraservices")), bridge.looked
    if before and before[:2] == (ids, every):
        return {**found, CREDITS: before[2]}
    named = _named(bridge.nexudus, ids)  # after `every`: a change in between makes the next look ask again
    settled = every.updated_on is None or bridge.clock() - every.updated_on > SETTLED
    bridge.looked = (ids, every, named) if settled else None
    return {**found, CREDITS: named}


def _named(nexudus: NexudusClient, ids: tuple[int, ...]) -> Newest:
    states = [nexudus.newest("coworkerextraservices", CoworkerExtraService_ExtraService=each) for each in ids]
    dates = [updated_on for _, updated_on in states if updated_on]
    return Newest(sum(total for total, _ in states), max(dates, default=None))


def changed_days(store: Warehouse, site: str, timezone: str, now: datetime) -> list[date]:
    """The days of a site whose jobs or ledger lines changed in the last 26 hours, in its own zone."""
    with store.connect() as con:
        rows = warehouse.query(con, _CHANGED, site=site, since=now - timedelta(hours=26))
    days = rows.select(pl.col("printed_at").dt.convert_time_zone(timezone).dt.date().unique().sort())
    return days["printed_at"].to_list()


_CHANGED = """
SELECT printed_at FROM papercut_print_jobs WHERE site = $site AND first_seen_at >= $since
UNION SELECT printed_at FROM charge JOIN charge_event USING (ref) WHERE site = $site AND happened_at >= $since
"""


def changed(memory: Mapping[str, Any], what: str, newest: Newest) -> bool:
    """Whether a list differs from what the last finished run saw."""
    return memory.get(what) != newest.as_text()


def at(bridge: Bridge, now: datetime) -> dict[str, tuple[str | None, bool]]:
    """For each site why it needs a run, or None, and whether the reason is a failure that is only tried now and then.

    Every site is looked at at the same time and for a limited time, so a dead server delays nobody.
    """
    sites = list(bridge.settings.sites)
    pool = ThreadPoolExecutor(max_workers=len(sites) + 1)
    try:
        newest = _lists(pool.submit(lists, bridge))
        looks = {site: pool.submit(_reason, bridge, site, newest, now) for site in sites}
        return {site: _result(look) for site, look in looks.items()}
    finally:
        pool.shutdown(wait=False)


def _lists(look: Future[dict[str, Newest]]) -> dict[str, Newest] | BridgeError:
    """The state of the two Nexudus lists, asked once for all sites."""
    try:
        return look.result(timeout=LOOK_SECONDS)
    except LookTimeoutError:
        return TransientError(f"the look took more than {LOOK_SECONDS:.0f} s", "")
    except BridgeError as error:
        return error


def _reason(
    bridge: Bridge, site: str, newest: dict[str, Newest] | BridgeError, now: datetime
) -> tuple[str | None, bool]:
    """Why a site needs a run, and whether the reason is a failure that is only tried again now and then."""
    settings = bridge.settings
    with bridge.warehouse.connect() as con:
        fallen_due = due(
            con, site, settle=timedelta(minutes=settings.site(site).settle_minutes),
            complete=timedelta(minutes=settings.complete_read_minutes), now=now,
        )  # fmt: skip
        memory = json.loads(warehouse.bookmark(con, site, "seen") or "{}")
    if fallen_due:
        return fallen_due, fallen_due == UNFINISHED
    if memory.get("mode") != settings.mode:
        return f"the mode is {settings.mode} now", False
    if isinstance(newest, BridgeError):
        return f"Nexudus could not be looked at: {newest.tried}", True
    for what, state in newest.items():
        if changed(memory, what, state):
            return f"{what} changed in Nexudus", False
    try:
        newest_job = bridge.jobs(site).newest()
    except BridgeError as error:
        return f"the print jobs could not be looked at: {error.tried}", True
    return ("new print jobs", False) if newest_job != memory.get("jobs") else (None, False)


def _result(look: Future[tuple[str | None, bool]]) -> tuple[str | None, bool]:
    try:
        return look.result(timeout=LOOK_SECONDS)
    except LookTimeoutError:
        return f"the look took more than {LOOK_SECONDS:.0f} s", True
    except BridgeError as error:
        return f"the look failed: {error.tried}", True
