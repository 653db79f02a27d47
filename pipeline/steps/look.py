"""The look: whether a site has anything to do, without starting a run.

What belongs here: what a finished run remembers of what it saw, and the cheap questions that compare the services with
that memory. What does not: the schedule (`pipeline.dagster.schedules`). Starting a run costs seconds and leaves
hundreds of event rows, and most ticks find nothing, so a look asks Nexudus for two small answers per list and PaperCut
for one number.
"""

from __future__ import annotations

import json
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as LookTimeoutError
from datetime import date, datetime, timedelta
from typing import Any

import polars as pl

from pipeline.errors import PrintbridgeError, TransientError
from pipeline.services.nexudus.client import Changes, NexudusClient
from pipeline.site import Site, Sites
from pipeline.store import due, jobs, memory
from pipeline.store.sql import Connection

LOOK_SECONDS = 20.0
"""How long one site may keep a tick waiting; a dead server delays nobody for longer."""

SETTLED = timedelta(minutes=10)
"""Lists show whole seconds and may lag, so a newest change is taken for the last one only when it is this old."""

LISTS = {"nexudus_customers": "customers", "nexudus_credits": "credits", "nexudus_teams": "teams"}
"""The tables of the Nexudus lists, each with its name here."""


def observation(con: Connection, site: str, mode: str) -> str:
    """What a run that has just finished saw: the state of the lists it worked from, and the mode it ran in."""
    observed: dict[str, Any] = json.loads(memory.recall(con, site, memory.LISTS) or "{}")
    return json.dumps({**observed, "mode": mode, "jobs": memory.recall(con, site, memory.JOBS_CURSOR)})


class Looker:
    """Looks at every site, and keeps of one look what spares the next one a question.

    Args:
        sites: every site.
    """

    def __init__(self, sites: Sites) -> None:
        self._sites = sites
        self._credits: tuple[tuple[int, ...], Changes, Changes] | None = None
        """The printing credits, how the list of all credits stood, and the printing credits among them."""

    def look(self, now: datetime) -> dict[str, tuple[str | None, bool]]:
        """For each site why it needs a run, or None, and whether the reason is a failure that is tried now and then.

        Every site is looked at at the same time and for a limited time, so a dead server delays nobody.
        """
        pool = ThreadPoolExecutor(max_workers=len(self._sites.names) + 1)
        try:
            states = self._states(pool.submit(self.lists))
            looks = {site.name: pool.submit(reason_to_run, site, states, now) for site in self._sites}
            return {name: _result(look) for name, look in looks.items()}
        finally:
            pool.shutdown(wait=False)

    def lists(self) -> dict[str, str]:
        """How the customers and the printing credits stand in Nexudus, since the newest change that a run has read.

        A tick asks two small questions about the customers and two about all credits. Only where any credit changed,
        printing or not, it asks again for each printing credit, because one filter takes one of them. Two more are
        about the teams, where there are any and a site shares credits as they do: the first team of an account is
        found by the next run, and at the latest by the hourly complete read.

        Raises:
            PrintbridgeError: Nexudus could not be asked.
        """
        nexudus = self._sites.nexudus
        with self._sites.store.connect() as con:
            customers, credits_, teams = (_since(con, table) for table in LISTS)
        found = {
            "customers": nexudus.changed_since("coworkers", customers),
            "credits": self._printing_credits(nexudus, credits_),
        }
        if teams and shares_credits(self._sites):
            found["teams"] = nexudus.changed_since("teams", teams)
        return {what: state.as_text() for what, state in found.items()}

    def _printing_credits(self, nexudus: NexudusClient, since: datetime | None) -> Changes:
        ids = tuple(sorted({credit_id for site in self._sites for credit_id in site.rules.credit_ids}))
        if len(ids) < 2:
            return _named(nexudus, ids, since)
        every, before = nexudus.changed_since("coworkerextraservices", since), self._credits
        if before and before[:2] == (ids, every):
            return before[2]
        named = _named(nexudus, ids, since)  # after `every`: a change in between makes the next look ask again
        now = self._sites.clock()
        settled = all(now - at > SETTLED for at in (every.since, every.newest) if at)
        self._credits = (ids, every, named) if settled else None
        return named

    @staticmethod
    def _states(look: Future[dict[str, str]]) -> dict[str, str] | PrintbridgeError:
        """How the Nexudus lists stand, asked once for all sites."""
        try:
            return look.result(timeout=LOOK_SECONDS)
        except LookTimeoutError:
            return TransientError(f"the look took more than {LOOK_SECONDS:.0f} s", "")
        except PrintbridgeError as error:
            return error


def shares_credits(sites: Sites) -> bool:
    """Whether any site goes by what the teams of the account share."""
    return any(site.rules.shares_credits for site in sites)


def _since(con: Connection, table: str) -> datetime | None:
    """The minute of the newest change of a list that a run has read."""
    since, _, _ = (memory.recall(con, memory.ACCOUNT, memory.state_of(table)) or "-").partition(" ")
    return None if since == "-" else datetime.fromisoformat(since)


def _named(nexudus: NexudusClient, ids: tuple[int, ...], since: datetime | None) -> Changes:
    entity, of_one = "coworkerextraservices", "CoworkerExtraService_ExtraService"
    return Changes.together([nexudus.changed_since(entity, since, **{of_one: credit_id}) for credit_id in ids])


def changed_days(site: Site) -> list[date]:
    """The days of a site whose jobs or ledger lines changed in the last 26 hours, in its own zone."""
    with site.store.connect() as con:
        rows = jobs.changed(con, site.key, site.clock() - timedelta(hours=26))
    local = pl.col("printed_at").dt.convert_time_zone(site.rules.timezone)
    return rows.select(local.dt.date().unique().sort())["printed_at"].to_list()


def reason_to_run(site: Site, states: dict[str, str] | PrintbridgeError, now: datetime) -> tuple[str | None, bool]:
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
    if isinstance(states, PrintbridgeError):
        return f"Nexudus could not be looked at: {states.tried}", True
    for what, state in states.items():
        if observed.get(what) != state:
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
