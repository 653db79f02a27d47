"""The look: whether a site has anything to do, without starting a run.

What belongs here: what a finished run remembers of what it saw, the cheap questions that compare the services with
that memory, and for how long whom. What does not: asking for a run (`pipeline.dagster.looks`). Starting a run costs
seconds and leaves hundreds of event rows, and most looks find nothing, so a look asks Nexudus for one or two small
answers per list and PaperCut for one number.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from datetime import date, datetime, timedelta
from functools import partial
from typing import Any, NamedTuple

import polars as pl

from pipeline.errors import PrintbridgeError, TransientError
from pipeline.services.nexudus.client import Changes, NexudusClient
from pipeline.site import Site, Sites
from pipeline.store import due, jobs, memory, writebacks
from pipeline.store.sql import Connection

LOOK_SECONDS = 20.0
"""How long anybody may take to answer a look; whoever takes longer cannot be looked at."""

PATIENCE_SECONDS = 2.0
"""How long a quick look waits for answers. Who answers later is heard by a later look, and delays nobody."""

FIRST_REST, LONGEST_REST = timedelta(seconds=10), timedelta(minutes=15)
"""For how long a quick look leaves alone who failed once, and at most."""

SETTLED = timedelta(minutes=10)
"""Lists show whole seconds and may lag, so a newest change is taken for the last one only when it is this old."""

LISTS = {"nexudus_customers": "customers", "nexudus_credits": "credits", "nexudus_teams": "teams"}
"""The tables of the Nexudus lists, each with its name here."""

CREDITS = "coworkerextraservices"

NEXUDUS = "Nexudus"
"""Who is asked about the lists; no site can have this name."""

Lists = dict[str, Changes]


class Look(NamedTuple):
    """What a look at a site found.

    Attributes:
        reason: why it needs a run; None if it needs none, or this is not known yet.
        failed: whether the reason is a failure, which is tried only now and then.
        unanswered: whether it is that a server did not answer.
        about_jobs: whether the reason is that jobs are new, or old enough to be charged.
        quiet: why it is not asked for, where there is no reason.
    """

    reason: str | None
    failed: bool = False
    unanswered: bool = False
    about_jobs: bool = False
    quiet: str = "nothing changed"


def observation(con: Connection, site: str, mode: str) -> str:
    """What a run that has just finished saw: the state of the lists it worked from, and the mode it ran in."""
    observed: dict[str, Any] = json.loads(memory.recall(con, site, memory.LISTS) or "{}")
    return json.dumps({**observed, "mode": mode, "jobs": memory.recall(con, site, memory.JOBS_CURSOR)})


class _Question(NamedTuple):
    """A question that was asked, and when by the clock of this process."""

    answer: Future[Any]
    began: float

    def heard(self) -> Any:
        """The answer, or the error that it met; None where there is none yet."""
        if self.answer.done():
            error = self.answer.exception()
            if error and not isinstance(error, PrintbridgeError):
                raise error
            return error or self.answer.result()
        if time.monotonic() - self.began >= LOOK_SECONDS:
            return TransientError(f"the look took more than {LOOK_SECONDS:.0f} s", "")
        return None


class Looker:
    """Looks at every site, and keeps of one look what spares the next one a question.

    Everybody is asked one question at a time: while it is open, a look waits for its answer and asks nothing. A quick
    look leaves alone for a while who failed, the longer the oftener.

    Args:
        sites: every site.
    """

    def __init__(self, sites: Sites) -> None:
        self._sites = sites
        self._credits: dict[bool, tuple[tuple[int, ...], Changes, Changes]] = {}
        """The printing credits, how the list of all credits stood, and the printing credits among them; by whether the
        records were counted."""
        self._requests = 0
        """How many questions `lists` asked the last time."""
        self._pool = ThreadPoolExecutor(max_workers=len(sites.names) + 1, thread_name_prefix="look")
        self._asking = threading.Lock()
        self._questions: dict[str, _Question] = {}
        self._rests: dict[str, datetime] = {}
        """Until when a quick look leaves somebody alone."""
        self._lengths: dict[str, timedelta] = {}
        """For how long it does, of those who failed the last time."""

    def look(self, now: datetime, *, quick: bool = False) -> dict[str, Look]:
        """Look at every site, at all of them at the same time and for a limited time: a dead server delays nobody.

        Args:
            now: the current time, UTC.
            quick: wait for `PATIENCE_SECONDS` only, count no records, look at no teams, and ask nobody who has failed
                of late, nor Nexudus more often than `watch_requests_per_minute` allow. What it leaves out is found by
                the next look that is not quick.
        """
        (states,) = self._answers({NEXUDUS: partial(self.lists, counted=not quick)}, now, quick=quick).values()
        if quick and not isinstance(states, dict):
            states = {}  # whoever waits longer tells of it
        asked = {site.name: partial(reason_to_run, site, states, now) for site in self._sites}
        return {name: _look(found) for name, found in self._answers(asked, now, quick=quick).items()}

    def _answers(self, asked: Mapping[str, Callable[[], Any]], now: datetime, *, quick: bool) -> dict[str, Any]:
        """What each answers, as in `_Question.heard`."""
        waits, open_ = list[Future[Any]](), dict[str, _Question]()
        with self._asking:
            for name, ask in asked.items():
                question = self._questions.get(name)
                if question is None or question.answer.done():
                    if quick and timedelta(0) < self._rests.get(name, now) - now <= LONGEST_REST:
                        continue  # a rest that is longer was begun before the clock was set back
                    question = self._questions[name] = _Question(self._pool.submit(ask), time.monotonic())
                    waits.append(question.answer)
                elif not quick:
                    waits.append(question.answer)
                open_[name] = question
        wait(waits, timeout=PATIENCE_SECONDS if quick else LOOK_SECONDS)
        found = {name: open_[name].heard() if name in open_ else None for name in asked}
        for name, answer in found.items():
            self._note(name, answer, now)
        return found

    def _note(self, name: str, answer: Any, now: datetime) -> None:
        """Let who failed rest, each time for twice as long; and Nexudus, so that it is not asked more than we may."""
        if isinstance(answer, PrintbridgeError) or (isinstance(answer, Look) and answer.unanswered):
            last = self._lengths.get(name, FIRST_REST / 2)
            self._lengths[name] = min(2 * last, LONGEST_REST)
            self._rests[name] = now + self._lengths[name]
        elif answer is not None:
            self._lengths.pop(name, None)
            if name == NEXUDUS:
                minutes = self._requests / self._sites.settings.watch_requests_per_minute
                self._rests[name] = now + timedelta(minutes=minutes)

    def lists(self, *, counted: bool = True) -> Lists:
        """How the customers and the printing credits stand in Nexudus, since the newest change that a run has read.

        A look asks a small question about the customers and one about all credits. Only where any credit changed,
        printing or not, it asks again for each printing credit, because one filter takes one of them. Where records are
        counted, which shows what was deleted, each question is two, and another is about the teams, where there are any
        and a site shares credits as they do: the first team of an account is found by the next run, and at the latest
        by the hourly complete read.

        Raises:
            PrintbridgeError: Nexudus could not be asked.
        """
        nexudus, self._requests = self._sites.nexudus, 2
        with self._sites.store.connect() as con:
            customers, credits_, teams = (_since(con, table) for table in LISTS)
        found = {
            "customers": nexudus.changed_since("coworkers", customers, counted=counted),
            "credits": self._printing_credits(nexudus, credits_, counted=counted),
        }
        if counted and teams and shares_credits(self._sites):
            found["teams"] = nexudus.changed_since("teams", teams)
        return found

    def _printing_credits(self, nexudus: NexudusClient, since: datetime | None, *, counted: bool) -> Changes:
        ids = tuple(sorted({credit_id for site in self._sites for credit_id in site.rules.credit_ids}))
        if len(ids) < 2:
            return _named(nexudus, ids, since, counted=counted)
        every, before = nexudus.changed_since(CREDITS, since, counted=counted), self._credits.get(counted)
        if before and before[:2] == (ids, every):
            return before[2]
        self._requests += len(ids)
        named = _named(nexudus, ids, since, counted=counted)  # after `every`: a change in between is asked for again
        now = self._sites.clock()
        settled = all(now - at > SETTLED for at in (every.since, every.newest) if at)
        self._credits.pop(counted, None)
        if settled:
            self._credits[counted] = (ids, every, named)
        return named


def _look(answer: Any) -> Look:
    """What an answer, or none, says of a site."""
    if answer is None:
        return Look(None, quiet="it has not answered yet, or failed of late")
    return Look(f"the look failed: {answer.tried}", failed=True) if isinstance(answer, PrintbridgeError) else answer


def shares_credits(sites: Sites) -> bool:
    """Whether any site goes by what the teams of the account share."""
    return any(site.rules.shares_credits for site in sites)


def _since(con: Connection, table: str) -> datetime | None:
    """The minute of the newest change of a list that a run has read."""
    since, _, _ = (memory.recall(con, memory.ACCOUNT, memory.state_of(table)) or "-").partition(" ")
    return None if since == "-" else datetime.fromisoformat(since)


def _named(nexudus: NexudusClient, ids: tuple[int, ...], since: datetime | None, *, counted: bool) -> Changes:
    of_one = "CoworkerExtraService_ExtraService"
    return Changes.together(
        [nexudus.changed_since(CREDITS, since, counted=counted, **{of_one: credit_id}) for credit_id in ids]
    )


def changed_days(site: Site) -> list[date]:
    """The days of a site whose jobs or ledger lines changed in the last 26 hours, in its own zone."""
    with site.store.connect() as con:
        rows = jobs.changed(con, site.key, site.clock() - timedelta(hours=26))
    local = pl.col("printed_at").dt.convert_time_zone(site.rules.timezone)
    return rows.select(local.dt.date().unique().sort())["printed_at"].to_list()


def reason_to_run(site: Site, states: Lists | PrintbridgeError, now: datetime) -> Look:
    """Why a site needs a run.

    Args:
        site: the site.
        states: how the Nexudus lists stand, as far as they were looked at, or why they could not be.
        now: the current time, UTC.

    Raises:
        PrintbridgeError: the warehouse could not be read.
    """
    settings = site.sites.settings
    with site.store.connect() as con:
        fallen_due = due.reason(
            con, site.key, settle=timedelta(minutes=site.settings.settle_minutes),
            complete=timedelta(minutes=settings.complete_read_minutes), now=now,
        )  # fmt: skip
        observed = json.loads(memory.recall(con, site.key, memory.SEEN) or "{}")
        passed = json.loads(memory.recall(con, site.key, memory.PASSED) or "{}")
    if fallen_due:
        return Look(fallen_due, failed=fallen_due == due.UNFINISHED, about_jobs=fallen_due == due.MATURE)
    if observed.get("mode") != settings.mode:
        return Look(f"the mode is {settings.mode} now")
    if isinstance(states, PrintbridgeError):
        return Look(f"Nexudus could not be looked at: {states.tried}", failed=True)
    for what, state in states.items():
        if _is_news(site, what, state, observed.get(what), passed.get(what)):
            return Look(f"{what} changed in Nexudus")
    try:
        newest_job = site.jobs.newest()
    except PrintbridgeError as error:
        return Look(f"the print jobs could not be looked at: {error.tried}", failed=True, unanswered=True)
    return Look("new print jobs", about_jobs=True) if newest_job != observed.get("jobs") else Look(None)


def _is_news(site: Site, what: str, state: Changes, observed: str | None, passed: str | None) -> bool:
    """Whether a list has changed for a site since a run decided it, or a look passed over what changed.

    What sites wrote to credits themselves is passed over where it does not concern this one
    (`pipeline.store.writebacks`), and remembered, so that the next look begins after it.
    """
    before = [Changes.remembered(text) for text in (observed, passed) if text]
    if any(not state.differs(each) for each in before):
        return False
    if what != "credits" or not before:
        return True
    last = max(before, key=lambda each: each.newest or memory.LONG_AGO)
    later = state.since_then(last)
    if later is None or last.newest is None:
        return True
    seen = pl.DataFrame(later, schema={"credit_id": pl.Int64, "changed_at": pl.Datetime("us", "UTC")}, orient="row")
    with site.store.connect() as con:
        if writebacks.concerned(con, site.key, seen, last.newest, shares=site.rules.shares_credits):
            return True
    text = json.dumps({what: state._replace(total=last.total).as_text()})
    site.store.commit(lambda con: memory.remember(con, site.key, memory.PASSED, text, site.clock()))
    return False
