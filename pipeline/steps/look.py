"""The look: whether a site has anything to do, without starting a run.

What belongs here: what a finished run remembers of what it saw, and the cheap questions that compare the services with
that memory. What does not: the schedule (`pipeline.dagster.schedules`). Starting a run costs seconds and leaves
hundreds of event rows, and most ticks find nothing, so a look asks Nexudus for one row per list and PaperCut for one
number.
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

from pipeline.errors import PrintbridgeError, TransientError
from pipeline.services.nexudus.client import NexudusClient
from pipeline.site import Site, Sites
from pipeline.store import due, jobs, memory
from pipeline.store.sql import Connection

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


def observation(con: Connection, site: str, mode: str) -> str:
    """What a run that has just finished saw: the state of the lists it worked from, and the mode it ran in."""
    memory_of_run: dict[str, Any] = {
        "mode": mode,
        CUSTOMERS: Newest(*due.extent(con, "nexudus_customers")).as_text(),
        CREDITS: Newest(*due.extent(con, "nexudus_credits")).as_text(),
        "jobs": memory.recall(con, site, memory.JOBS_CURSOR),
    }
    return json.dumps(memory_of_run)


class Looker:
    """Looks at every site, and keeps of one look what spares the next one a question.

    Args:
        sites: every site.
    """

    def __init__(self, sites: Sites) -> None:
        self._sites = sites
        self._credits: tuple[tuple[int, ...], Newest, Newest] | None = None
        """The printing credits, the newest of all credits, and the newest of the printing credits among them."""

    def look(self, now: datetime) -> dict[str, tuple[str | None, bool]]:
        """For each site why it needs a run, or None, and whether the reason is a failure that is tried now and then.

        Every site is looked at at the same time and for a limited time, so a dead server delays nobody.
        """
        pool = ThreadPoolExecutor(max_workers=len(self._sites.names) + 1)
        try:
            newest = self._newest(pool.submit(self.lists))
            looks = {site.name: pool.submit(reason_to_run, site, newest, now) for site in self._sites}
            return {name: _result(look) for name, look in looks.items()}
        finally:
            pool.shutdown(wait=False)

    def lists(self) -> dict[str, Newest]:
        """The state of the customers and of the printing credits in Nexudus.

        A tick asks for one row of the customers and one of all credits. Only where any credit changed, printing or not,
        it asks again for each printing credit, because one filter takes one of them.

        Raises:
            PrintbridgeError: Nexudus could not be asked.
        """
        nexudus = self._sites.nexudus
        found = {CUSTOMERS: Newest(*nexudus.newest("coworkers"))}
        ids = tuple(sorted({credit_id for site in self._sites for credit_id in site.rules.credit_ids}))
        if len(ids) < 2:
            return {**found, CREDITS: _named(nexudus, ids)}
        every, before = Newest(*nexudus.newest("coworkerextraservices")), self._credits
        if before and before[:2] == (ids, every):
            return {**found, CREDITS: before[2]}
        named = _named(nexudus, ids)  # after `every`: a change in between makes the next look ask again
        settled = every.updated_on is None or self._sites.clock() - every.updated_on > SETTLED
        self._credits = (ids, every, named) if settled else None
        return {**found, CREDITS: named}

    @staticmethod
    def _newest(look: Future[dict[str, Newest]]) -> dict[str, Newest] | PrintbridgeError:
        """The state of the two Nexudus lists, asked once for all sites."""
        try:
            return look.result(timeout=LOOK_SECONDS)
        except LookTimeoutError:
            return TransientError(f"the look took more than {LOOK_SECONDS:.0f} s", "")
        except PrintbridgeError as error:
            return error


def _named(nexudus: NexudusClient, ids: tuple[int, ...]) -> Newest:
    states = [nexudus.newest("coworkerextraservices", CoworkerExtraService_ExtraService=each) for each in ids]
    dates = [updated_on for _, updated_on in states if updated_on]
    return Newest(sum(total for total, _ in states), max(dates, default=None))


def changed_days(site: Site) -> list[date]:
    """The days of a site whose jobs or ledger lines changed in the last 26 hours, in its own zone."""
    with site.store.connect() as con:
        rows = jobs.changed(con, site.key, site.clock() - timedelta(hours=26))
    local = pl.col("printed_at").dt.convert_time_zone(site.rules.timezone)
    return rows.select(local.dt.date().unique().sort())["printed_at"].to_list()


def changed(observed: Mapping[str, Any], what: str, newest: Newest) -> bool:
    """Whether a list differs from what the last finished run saw."""
    return observed.get(what) != newest.as_text()


def reason_to_run(site: Site, newest: dict[str, Newest] | PrintbridgeError, now: datetime) -> tuple[str | None, bool]:
    """Why a site needs a run, and whether the reason is a failure that is only tried again now and then."""
    settings = site.sites.settings
    with site.store.connect() as con:
        fallen_due = due.reason(
            con, site.key, settle=timedelta(minutes=site.settings.settle_minutes),
            complete=timedelta(minutes=settings.complete_read_minutes), now=now,
        )  # fmt: skip
        observed = json.loads(memory.recall(con, site.key, memory.SEEN) or "{}")
    if fallen_due:
        return fallen_due, fallen_due == due.UNFINISHED
    if observed.get("mode") != settings.mode:
        return f"the mode is {settings.mode} now", False
    if isinstance(newest, PrintbridgeError):
        return f"Nexudus could not be looked at: {newest.tried}", True
    for what, state in newest.items():
        if changed(observed, what, state):
            return f"{what} changed in Nexudus", False
    try:
        newest_job = site.jobs.newest()
    except PrintbridgeError as error:
        return f"the print jobs could not be looked at: {error.tried}", True
    return ("new print jobs", False) if newest_job != observed.get("jobs") else (None, False)


def _result(look: Future[tuple[str | None, bool]]) -> tuple[str | None, bool]:
    try:
        return look.result(timeout=LOOK_SECONDS)
    except LookTimeoutError:
        return f"the look took more than {LOOK_SECONDS:.0f} s", True
    except PrintbridgeError as error:
        return f"the look failed: {error.tried}", True
