"""Read: what Nexudus and the print system have, complete or an error.

What belongs here: asking the services, network first, and storing what they answered in one short commit. What does
not: any rule about it (`decide.py`), or writing to a service (`pipeline.effects`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from dataclasses import replace as with_
from datetime import datetime, timedelta
from functools import partial
from itertools import chain
from typing import Any

import polars as pl

from pipeline.domain import tables
from pipeline.domain.jobs import revised
from pipeline.domain.money.grants import regranted
from pipeline.domain.money.prices import COST, priced
from pipeline.domain.money.returns import lowered, matched
from pipeline.domain.people import balances
from pipeline.domain.people.ownership import followed
from pipeline.errors import UnsafeError
from pipeline.reports.days import first_day, per_day
from pipeline.services.nexudus.client import Changes
from pipeline.services.nexudus.records import (
    CREDIT_FIELDS,
    TEAM_FIELDS,
    customer_fields,
    read_credits,
    read_customers,
    read_teams,
)
from pipeline.services.nexudus.wire import moment
from pipeline.services.printing import JobBatch
from pipeline.services.reading import Read
from pipeline.site import Site, Sites
from pipeline.steps.identify import identify
from pipeline.steps.look import shares_credits
from pipeline.steps.run import Made, Number, Run
from pipeline.store import changes, grants, history, jobs, memory, ownership, returns
from pipeline.store.sql import Connection, read, replace

OVERLAP = timedelta(minutes=10)
"""How far an incremental read reaches back behind the newest change seen: a list may lag behind a write."""

CLOCKS = timedelta(days=1)
"""How far the clock of Nexudus may go before ours."""

AUDIT_SLICES = 12
"""Where each user costs a call, every user is observed again at least once in so many runs."""

Record = dict[str, Any]


@dataclass(frozen=True)
class Listing:
    """One Nexudus list and the table it fills."""

    entity: str
    prefix: str
    table: str
    key: str
    needs: tuple[str, ...]
    filters: list[dict[str, int]]
    parse: Callable[[list[Record], datetime], Read]
    may_be_empty: bool = False
    always_whole: bool = False


@dataclass(frozen=True)
class JobsMade(Made):
    """The jobs that a read added, and what was printed on each of the last days (`reports.days.per_day`)."""

    days: pl.DataFrame = field(default_factory=pl.DataFrame)


def customer_listing(sites: Sites) -> Listing:
    """Every coworker of the account, with the flags that its sites go by."""
    needs = customer_fields(site.rules.flags for site in sites)
    return Listing(
        "coworkers", "Coworker", "nexudus_customers", "coworker_id", needs, [{}],
        lambda records, at: read_customers(records, sites.digest, moment, at),
    )  # fmt: skip


def credit_listing(sites: Sites) -> Listing:
    """Every granted credit of the printing credits that a site names."""
    ids = sorted({credit_id for site in sites for credit_id in site.rules.credit_ids})
    return Listing(
        "coworkerextraservices", "CoworkerExtraService", "nexudus_credits", "credit_id", CREDIT_FIELDS,
        [{"CoworkerExtraService_ExtraService": credit_id} for credit_id in ids],
        lambda records, at: read_credits(records, moment, at),
        may_be_empty=True,
    )  # fmt: skip


def team_listing(sites: Sites) -> Listing:
    """Every team of the account, if a site shares credits as its teams do.

    It is short, so it is read whole: nothing says that a team counts as changed when its members do.
    """
    return Listing(
        "teams", "Team", "nexudus_teams", "team_id", TEAM_FIELDS, [{}] if shares_credits(sites) else [],
        lambda records, at: read_teams(records, moment, at),
        may_be_empty=True, always_whole=True,
    )  # fmt: skip


def read_lists(sites: Sites, names: Collection[str]) -> dict[str, Made]:
    """Read some of the lists of the Nexudus account at the same time, and store them.

    Args:
        sites: every site; the lists are those of the account.
        names: the tables to make: nexudus_customers, nexudus_credits, nexudus_teams.

    Returns:
        What was made, by table.

    Raises:
        UnsafeError: a list is empty that was not.
        PrintbridgeError: a list could not be read completely.
    """
    every = (customer_listing(sites), credit_listing(sites), team_listing(sites))
    lists = [each for each in every if each.table in names]
    with ThreadPoolExecutor(len(lists) or 1) as pool:
        made = list(pool.map(partial(_read_list, sites), lists))
    return {each.table: result for each, result in zip(lists, made, strict=True)}


def read_users(site: Site, run: Run) -> Made:
    """Read the print users with flags and balances, before the jobs: a print in between can only under-grant.

    Raises:
        UnsafeError: the list is empty, or its users carry the mark of another warehouse.
        PrintbridgeError: the print system could not be read completely.
    """
    read_at = site.clock()
    with site.store.connect() as con:
        identify(site)
        site.store.commit(lambda con: memory.note(con, site.key, memory.STARTED, run.id, read_at))
        known = read(con, "print_users", site.key)
    found = site.printing.users(known, partial(_to_observe, site, known), site.clock())
    if not found.frame.height:
        raise UnsafeError(
            f"{site.printing.title} at {site.printing.host} (site {site.name}) listed no users",
            "an empty list is never believed: check the database or the token's rights, then run the site again",
        )
    users = tables.checked("print_users", _with_expected(site, found.frame, known))

    def change(con: Connection) -> None:
        _refuse_foreign_users(con, site.key, users)
        replace(con, "print_users", users, site.key)

    def note(con: Connection) -> None:
        memory.remember(con, site.key, memory.problems("print_users"), json.dumps(odd), read_at)
        memory.note(con, site.key, memory.USERS_READ, read_at.isoformat(), read_at)
        _follow(con, site.key, users, read_at)

    odd = {problem.id: str(problem) for problem in found.problems}
    with site.store.connect():
        site.store.commit(change)
        site.store.commit(note)  # after the table: if this is lost, the next plan only thinks its users older
    return Made(users, {"restricted": int(users["restricted"].sum()), "marked": int(users["marked"].sum())})


def read_jobs(site: Site, run: Run) -> JobsMade:
    """Read the jobs since the cursor with a look-back window; a row that changed is stored as its next revision."""
    now = site.clock()
    if run.reread_days:
        batch = site.jobs.reread(now - timedelta(days=run.reread_days))
    else:
        with site.store.connect() as con:
            cursor = memory.recall(con, site.key, memory.JOBS_CURSOR)
        batch = site.jobs.read(cursor)

    def change(con: Connection) -> tuple[pl.DataFrame, pl.DataFrame]:
        added = jobs.append(con, news(con, site, batch, now))
        if _taken_back(con, site, batch.returns, now):
            added = pl.concat([added, jobs.append(con, news(con, site, with_(batch, jobs=batch.jobs.clear()), now))])
        if batch.cursor:
            memory.remember(con, site.key, memory.JOBS_CURSOR, batch.cursor, now)
        memory.remember(con, site.key, memory.JOB_PROBLEMS, json.dumps(batch.problems), now)
        return added, jobs.printed(con, site.key, first_day(now))

    added, printed = site.store.commit(change)
    days = per_day(printed, site.rules.timezone, now)
    numbers: dict[str, Number] = {
        "read": batch.jobs.height, "unreadable": len(batch.problems), "pages": int(added["pages"].sum()),
        "credits": float(added["cost"].sum() or 0), "pages_today": days["pages"][-1],
        "credits_today": days["credits"][-1],
    }  # fmt: skip
    for problem in batch.problems:
        run.say(f"{site.name}: {problem}")
    return JobsMade(added, numbers, days=days)


def news(con: Connection, site: Site, batch: JobBatch, now: datetime) -> pl.DataFrame:
    """The jobs of a read that are new or changed, each under the name of its print, as PrintJobs to be appended.

    Raises:
        UnsafeError: a job of the read has the name of another print.
    """
    stored = jobs.known(con, site.key, batch.jobs, by_time=site.jobs.by_time, prefixes=site.jobs.prefixes)
    batch = site.jobs.settled(batch, stored)
    rows = batch.jobs.join(batch.twins, on="job_id", how="left").join(batch.lacking, on="job_id", how="left")
    rows = _still_lacked(rows, stored)
    if site.rules.prices:
        taken = returns.taken(con, site.key)
        # No file of now need hold a job that waits for a price, or of which pages are taken back.
        waiting = pl.concat([jobs.unpriced(con, site.key), jobs.named(con, site.key, taken["job_id"].to_list())])
        waiting = waiting.unique("job_id").join(rows, on="job_id", how="anti")
        stored = pl.concat([stored.join(waiting, on="job_id", how="anti"), waiting])
        rows = pl.concat([rows, waiting.with_columns(refunded=pl.lit(value=False)).select(rows.columns)])
        # A file leaves the cost out, so what is stored stands for it: lowered already, if pages were taken back.
        whole = pl.col("job_id").is_in(taken["job_id"].implode())
        rows = rows.with_columns(cost=pl.when(whole).then(pl.lit(None, COST)).otherwise("cost"))
        rows = lowered(priced(rows, history.past(con, site.key), site.rules), taken)
    return revised(rows, stored, site.key, now)


def _still_lacked(rows: pl.DataFrame, stored: pl.DataFrame) -> pl.DataFrame:
    """What a report once lacked is a person's to decide, whatever later ones say; the first of them is named."""
    before = stored.select("job_id", before="lacked_by")
    rows = rows.join(before, on="job_id", how="left", maintain_order="left")
    return rows.with_columns(lacked_by=pl.coalesce("before", "lacked_by")).drop("before")


def _taken_back(con: Connection, site: Site, rows: pl.DataFrame, now: datetime) -> bool:
    """Record the rows that take pages back, each with the print that it surely means; whether there are new ones."""
    known = returns.known(con, site.key)
    new = rows.join(known, on="row_id", how="anti")
    if new.is_empty():
        return False
    prints = jobs.of_users(con, site.key, new["username"].unique().to_list())
    returns.found(con, site.key, new, matched(new, prints, known), now)
    return True


def _follow(con: Connection, site: str, users: pl.DataFrame, now: datetime) -> None:
    """Whoever a person renamed in the print system stays ours under the new name, with its jobs."""
    events: list[ownership.Event] = []
    why = "renamed by a person"
    for former, name, _ in followed(users, ownership.owned(con, site)).iter_rows():
        events.append({"username": former, "state": "released", "reason": why})
        events.append({"username": name, "state": "owned", "renamed_from": former, "reason": why})
    ownership.record(con, site, events, now)


def _with_expected(site: Site, found: pl.DataFrame, known: pl.DataFrame) -> pl.DataFrame:
    """Users with the balance that jobs and our own changes explain; a restored warehouse knows of neither for sure."""
    with site.store.connect() as con:
        since = known.select(pl.col("observed_at").min()).item() or site.clock()
        restored = memory.written(con, memory.ACCOUNT, memory.RESTORED)
        if restored:
            known = known.filter(pl.col("observed_at") > restored)
        return balances.carried(
            found, known,
            revisions=jobs.changed_since(con, site.key, since), written=changes.since(con, site.key, since),
            owned=ownership.owned(con, site.key),
        )  # fmt: skip


def _refuse_foreign_users(con: Connection, site: str, users: pl.DataFrame) -> None:
    """A warehouse that never owned a user must not meet users with its mark: their jobs would be nobody's."""
    marked = users.filter("marked", pl.col("marked_coworker_id").is_not_null()).height
    if marked and not ownership.names(con, site).height:
        raise UnsafeError(
            f"{marked} PaperCut users of site {site} carry our mark, but this warehouse never owned a user: it is not"
            " the one that made them",
            f"restore the newest backup, or run `printbridge recover --site {site}`; nothing was changed",
        )


def _read_list(sites: Sites, listing: Listing) -> Made:
    """Read a Nexudus list, whole or what changed, and store it whole.

    A record that cannot be read keeps the row that it had: it is named, and is never evidence for anything.
    """
    now, where = sites.clock(), memory.problems(listing.table)
    with sites.store.connect() as con:
        before = read(con, listing.table)
        complete_at = memory.recall(con, memory.ACCOUNT, memory.complete_read(listing.table))
        odd: dict[str, str] = json.loads(memory.recall(con, memory.ACCOUNT, where) or "{}")
    interval = timedelta(minutes=sites.settings.complete_read_minutes)
    due = complete_at is None or now - datetime.fromisoformat(complete_at) >= interval
    how, frame = "complete", before
    state = Changes(None, 0, 0, None)
    if not due and before.height and not listing.always_whole:
        how = "changes"
        since = min(before.select(pl.col("updated_on").max()).item(), now) - OVERLAP
        reads = _reads(sites, listing, **{f"from_{listing.prefix}_UpdatedOn": since})
        frame, odd = _with_changes(listing, list(chain.from_iterable(reads)), before, odd, now)
        total = sum(sites.nexudus.count(listing.entity, **filters) for filters in listing.filters)
        state = Changes.of(reads, total, until=now + CLOCKS, since=since)
        expected = _expected(frame, listing, odd)
        if total != expected:
            how = f"complete: Nexudus counts {total}, the changes led to {expected}"
    if how != "changes":
        reads = _reads(sites, listing)
        records = list(chain.from_iterable(reads))
        state = Changes.of(reads, len(records), until=now + CLOCKS)
        whole = listing.parse(records, now)
        odd = {problem.id: str(problem) for problem in whole.problems}
        frame = pl.concat([whole.frame, _kept(before, listing, odd, now)])
        if before.height and not frame.height and not listing.may_be_empty:
            raise UnsafeError(
                f"Nexudus listed no {listing.entity}, {before.height} were there before",
                "an empty list is never believed: check the roles of the API user, then run again",
            )
    frame = tables.checked(listing.table, frame.sort(listing.key))
    changed = frame.join(before, on=[listing.key, "updated_on"], how="anti").height

    def note(con: Connection) -> None:
        memory.remember(con, memory.ACCOUNT, where, json.dumps(odd), now)
        memory.remember(con, memory.ACCOUNT, memory.state_of(listing.table), state.as_text(), now)
        if how != "changes":
            memory.note(con, memory.ACCOUNT, memory.complete_read(listing.table), now.isoformat(), now)
        if listing.table == "nexudus_credits" and (changed or how != "changes"):
            at_once = regranted(frame, grants.newest(con))
            grants.observe(con, at_once, day=now.date(), at=now, actor="reading")

    with sites.store.connect():
        sites.store.commit(lambda con: replace(con, listing.table, frame))
        sites.store.commit(note)
    return Made(frame, {"changed": changed, "read": how, "unreadable": len(odd)})


def _reads(sites: Sites, listing: Listing, **since: datetime) -> list[list[Record]]:
    """The records of a list, whole or since a time, one reading for each of its filters."""
    return [
        sites.nexudus.records(listing.entity, needs=listing.needs, **filters, **since) for filters in listing.filters
    ]


def _with_changes(
    listing: Listing, records: list[Record], before: pl.DataFrame, odd: dict[str, str], now: datetime
) -> tuple[pl.DataFrame, dict[str, str]]:
    """The stored rows, with the records in place that changed since; and what cannot be read."""
    update = listing.parse(records, now)
    again = {str(key) for key in update.frame[listing.key]}
    odd = {id_: text for id_, text in odd.items() if id_ not in again}
    odd |= {problem.id: str(problem) for problem in update.problems}
    kept = before.filter(~pl.col(listing.key).is_in(update.frame[listing.key].to_list()))
    read_at = pl.lit(now, dtype=pl.Datetime("us", "UTC"))
    return pl.concat([kept.with_columns(read_at=read_at), update.frame]), odd


def _kept(before: pl.DataFrame, listing: Listing, odd: Collection[str], now: datetime) -> pl.DataFrame:
    """The former rows of records that cannot be read now."""
    rows = before.filter(pl.col(listing.key).cast(pl.String).is_in(list(odd)))
    return rows.with_columns(read_at=pl.lit(now, dtype=pl.Datetime("us", "UTC")))


def _expected(frame: pl.DataFrame, listing: Listing, odd: Collection[str]) -> int:
    """How many records Nexudus should count: those that have a row, and those that cannot be read and have none."""
    return frame.height + len(set(odd) - {str(key) for key in frame[listing.key]})


def _to_observe(site: Site, known: pl.DataFrame, names: Collection[str]) -> set[str]:
    """Of the users that are there, those that are observed in this run: written to, printed, or longest not seen."""
    now = site.clock()
    with site.store.connect() as con:
        cursor = memory.recall(con, site.key, memory.JOBS_CURSOR)
    batch = site.jobs.read(cursor)
    with site.store.connect() as con:
        printed = news(con, site, batch, now)["username"].to_list()
        changed = jobs.users_to_observe(con, site.key)
    return changed | set(printed) | _slice(known.filter(pl.col("username").is_in(list(names))))


def _slice(users: pl.DataFrame) -> set[str]:
    """This run's share of the rolling audit: those who were observed longest ago."""
    return set(users.sort("observed_at", "username").head(-(-users.height // AUDIT_SLICES))["username"])
