"""Extract: what Nexudus and PaperCut have, complete or an error.

What belongs here: the assets that read the two services and store what they answered. What does not: any rule about it
(`transform.py`), or writing to a service (`load.py`). Network first, then one short transaction.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import dagster as dg
import polars as pl

from assets.tables import SITE, described, stored
from pipeline import ownership, warehouse
from pipeline.clients.nexudus import moment
from pipeline.domain import schemas
from pipeline.domain.jobs import revised
from pipeline.domain.records import (
    CREDIT_FIELDS,
    CUSTOMER_FIELDS,
    USER_PROPERTIES,
    credits_of,
    customers,
    papercut_users_of,
    user_rows,
)
from pipeline.errors import UnsafeError
from pipeline.joblogs import JobBatch
from pipeline.joblogs.database import PaperCutDatabase
from pipeline.reports.days import first_day, per_day, picture
from pipeline.resources import Bridge, in_parallel
from pipeline.warehouse import Connection

OVERLAP = timedelta(minutes=10)
"""How far an incremental read reaches back behind the newest change seen: a list may lag behind a write."""

REREAD_TAG = "printbridge/reread_days"
RECENT = (
    "SELECT site, job_id, revision, printed_at, pages, cost, allowed, refunded, printed, job_type"
    " FROM papercut_print_jobs WHERE site = $site AND printed_at >= $since"
)
USERS_READ = "users_read_at"
"""The bookmark with the time of the last reading of PaperCut's users: without a database most rows are older."""

AUDIT_SLICES = 12
"""Without a database every user is observed again at least once in so many runs."""

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
    parse: Callable[[list[Record], datetime], pl.DataFrame]
    may_be_empty: bool = False

    @property
    def complete_at(self) -> str:
        """The bookmark with the time of the last complete read."""
        return f"{self.table}.complete_at"


def customer_listing(bridge: Bridge) -> Listing:
    """Every coworker of the account."""
    return Listing(
        "coworkers", "Coworker", "nexudus_customers", "coworker_id", CUSTOMER_FIELDS, [{}],
        lambda records, at: customers(records, bridge.digest, moment, at),
    )  # fmt: skip


def credit_listing(bridge: Bridge) -> Listing:
    """Every granted credit of the printing credits that a site names."""
    ids = sorted({credit_id for site in bridge.settings.sites.values() for credit_id in site.credit_ids})
    return Listing(
        "coworkerextraservices", "CoworkerExtraService", "nexudus_credits", "credit_id", CREDIT_FIELDS,
        [{"CoworkerExtraService_ExtraService": credit_id} for credit_id in ids],
        lambda records, at: credits_of(records, moment, at).filter(pl.col("extra_service_id").is_in(ids)),
        may_be_empty=True,
    )  # fmt: skip


LISTS = {
    "nexudus_customers": """Every customer of the Nexudus account: flags, home location, status.

Complete at least every `complete_read_minutes` and whenever the totals disagree; in between only what changed. PINs
and card numbers are kept as keyed digests.""",
    "nexudus_credits": """Every printing credit of every customer: what was granted, what is left, from when to when it
is valid.""",
}


@dg.multi_asset(
    specs=[
        dg.AssetSpec(
            name, group_name="extract", kinds={"rest", "duckdb"}, owners=["team:operations"], description=description,
            metadata=described(name),
        )
        for name, description in LISTS.items()
    ],
    can_subset=True,
)  # fmt: skip
def nexudus_lists(
    context: dg.AssetExecutionContext, bridge: dg.ResourceParam[Bridge]
) -> Iterator[dg.MaterializeResult[Any]]:
    """The lists of the Nexudus account that the run asks for, read at the same time."""
    lists = [
        each
        for each in (customer_listing(bridge), credit_listing(bridge))
        if dg.AssetKey(each.table) in context.selected_asset_keys
    ]
    for each, result in zip(lists, in_parallel(partial(_read, bridge), lists), strict=True):
        yield dg.MaterializeResult(asset_key=each.table, metadata=result.metadata)


@dg.asset(
    group_name="extract", kinds={"papercut", "duckdb"}, owners=["team:operations"], partitions_def=SITE,
    metadata=described("papercut_users"),
)  # fmt: skip
def papercut_users(context: dg.AssetExecutionContext, bridge: dg.ResourceParam[Bridge]) -> dg.MaterializeResult[Any]:
    """PaperCut's users with flags and balances, read before the jobs: a print in between can only under-grant."""
    site = context.partition_key
    with bridge.warehouse.transaction() as con:
        warehouse.set_bookmark(con, site, "started_at", context.run.run_id, bridge.clock())
    read_at = bridge.clock()
    users = _observe(bridge, site)
    if not users.height:
        raise UnsafeError(
            f"PaperCut at {bridge.papercut(site).host} (site {site}) listed no users",
            "an empty list is never believed: check the database or the token's rights, then run the site again",
        )
    with bridge.warehouse.transaction() as con:
        _refuse_foreign_users(con, site, users)
        warehouse.replace(con, "papercut_users", schemas.checked("papercut_users", users), site)
        warehouse.set_bookmark(con, site, USERS_READ, read_at.isoformat(), read_at)
    return stored(users, restricted=int(users["restricted"].sum()), marked=int(users["marked"].sum()))


@dg.asset(
    group_name="extract", kinds={"papercut", "duckdb"}, owners=["team:operations"], partitions_def=SITE,
    deps=[papercut_users], metadata=described("papercut_print_jobs"),
)  # fmt: skip
def papercut_print_jobs(
    context: dg.AssetExecutionContext, bridge: dg.ResourceParam[Bridge]
) -> dg.MaterializeResult[Any]:
    """Print jobs since the cursor, with a look-back window; a row that changed is stored as its next revision."""
    site = context.partition_key
    reread_days = int(context.run.tags.get(REREAD_TAG, 0))
    source, now = bridge.jobs(site), bridge.clock()
    batch = (
        source.reread(now - timedelta(days=reread_days))
        if reread_days
        else source.read(bridge.warehouse.bookmark(site, "jobs_cursor"))
    )
    added, recent = _store_jobs(bridge, site, batch, now)
    days = per_day(recent, bridge.settings.site(site).timezone, now)
    for problem in batch.problems:
        context.log.error(f"{site}: {problem}")
    return stored(
        added,
        read=batch.jobs.height,
        unreadable=len(batch.problems),
        pages=int(added["pages"].sum()),
        credits=float(added["cost"].sum() or 0),
        pages_today=days["pages"][-1],
        credits_today=days["credits"][-1],
        per_day=dg.MetadataValue.md(picture(days)),
    )


def _refuse_foreign_users(con: Connection, site: str, users: pl.DataFrame) -> None:
    """A warehouse that never owned a user must not meet users with its mark: their jobs would be nobody's."""
    marked = users.filter("marked").height
    if marked and not ownership.names(con, site).height:
        raise UnsafeError(
            f"{marked} PaperCut users of site {site} carry our mark, but this warehouse never owned a user: it is not"
            " the one that made them",
            f"restore the newest backup, or run `printbridge recover --site {site}`; nothing was changed",
        )


def _read(bridge: Bridge, listing: Listing) -> dg.MaterializeResult[Any]:
    """Read a Nexudus list, whole or what changed, and store it whole."""
    now = bridge.clock()
    with bridge.warehouse.connect() as con:
        before = warehouse.read(con, listing.table)
        complete_at = warehouse.bookmark(con, "*", listing.complete_at)
    due = complete_at is None or now - datetime.fromisoformat(complete_at) >= timedelta(
        minutes=bridge.settings.complete_read_minutes
    )
    how, frame = "complete", before
    if not due and before.height:
        how, frame = "changes", _with_changes(bridge, listing, before, now)
        total = sum(bridge.nexudus.count(listing.entity, **filters) for filters in listing.filters)
        if total != frame.height:
            how = f"complete: Nexudus counts {total}, the changes led to {frame.height}"
    if how != "changes":
        frame = _complete(bridge, listing, now)
        if before.height and not frame.height and not listing.may_be_empty:
            raise UnsafeError(
                f"Nexudus listed no {listing.entity}, {before.height} were there before",
                "an empty list is never believed: check the roles of the API user, then run again",
            )
    changed = frame.join(before, on=[listing.key, "updated_on"], how="anti").height
    with bridge.warehouse.transaction() as con:
        warehouse.replace(con, listing.table, schemas.checked(listing.table, frame.sort(listing.key)))
        if how != "changes":
            warehouse.set_bookmark(con, "*", listing.complete_at, now.isoformat(), now)
    return stored(frame, changed=changed, read=how)


def _complete(bridge: Bridge, listing: Listing, now: datetime) -> pl.DataFrame:
    reads = [bridge.nexudus.records(listing.entity, needs=listing.needs, **filters) for filters in listing.filters]
    return listing.parse([record for records in reads for record in records], now)


def _with_changes(bridge: Bridge, listing: Listing, before: pl.DataFrame, now: datetime) -> pl.DataFrame:
    """The stored rows, with those in place that changed since the newest change seen."""
    newest: datetime = before.select(pl.col("updated_on").max()).item()
    since = {f"from_{listing.prefix}_UpdatedOn": newest - OVERLAP}
    reads = [
        bridge.nexudus.records(listing.entity, needs=listing.needs, **filters, **since) for filters in listing.filters
    ]
    update = listing.parse([record for records in reads for record in records], now)
    kept = before.filter(~pl.col(listing.key).is_in(update[listing.key].to_list()))
    return pl.concat([kept.with_columns(read_at=pl.lit(now, dtype=pl.Datetime("us", "UTC"))), update])


def _observe(bridge: Bridge, site: str) -> pl.DataFrame:
    """PaperCut's users: one query where its database is configured, else names by page and properties of a few."""
    now, source = bridge.clock(), bridge.jobs(site)
    if isinstance(source, PaperCutDatabase):
        return papercut_users_of(source.users(), site, bridge.digest, now)
    client, connections = bridge.papercut(site), bridge.settings.site(site).papercut.connections
    names = client.users()
    batch = source.read(bridge.warehouse.bookmark(site, "jobs_cursor"))
    with bridge.warehouse.connect() as con:
        before = warehouse.read(con, "papercut_users", site).filter(pl.col("username").is_in(names))
        news = _news(con, site, batch, now)["username"].to_list()
        changed = _changed_since(con, site) | set(news) | _slice(before)
    asked = sorted((set(names) - set(before["username"])) | (changed & set(names)))
    answers = in_parallel(partial(client.properties, names=USER_PROPERTIES), asked, connections)
    observed = papercut_users_of(user_rows(asked, answers), site, bridge.digest, now)
    return pl.concat([before.filter(~pl.col("username").is_in(asked)), observed]).sort("username")


def _store_jobs(bridge: Bridge, site: str, batch: JobBatch, now: datetime) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Append what is new or changed and move the cursor, in one transaction; what was appended, and the recent jobs."""
    with bridge.warehouse.transaction() as con:
        added = schemas.checked("papercut_print_jobs", _news(con, site, batch, now))
        warehouse.insert(con, "papercut_print_jobs", added)
        if batch.cursor:
            warehouse.change_bookmark(con, site, "jobs_cursor", batch.cursor, now)
        warehouse.change_bookmark(con, site, "job_problems", json.dumps(batch.problems), now)
        recent = warehouse.query(con, RECENT, site=site, since=first_day(now))
    return added, recent


def _news(con: Connection, site: str, batch: JobBatch, now: datetime) -> pl.DataFrame:
    """The jobs of a read that are new or changed, as they are to be stored."""
    con.register("batch", batch.jobs.select("job_id"))
    stored_rows = warehouse.query(
        con,
        "SELECT p.* FROM papercut_print_jobs p SEMI JOIN batch USING (job_id) WHERE site = $site"
        " QUALIFY revision = max(revision) OVER (PARTITION BY job_id)",
        site=site,
    )
    con.unregister("batch")
    return revised(batch.jobs, stored_rows, site, now)


def _changed_since(con: Connection, site: str) -> set[str]:
    """Users that were written to, or of whom a job was first seen, after they were last observed."""
    rows = con.execute(
        "SELECT s.username FROM papercut_user_sync s LEFT JOIN papercut_users u USING (site, username)"
        " WHERE s.site = $site AND (u.observed_at IS NULL OR s.happened_at >= u.observed_at)"
        " UNION SELECT j.username FROM papercut_print_jobs j JOIN papercut_users u USING (site, username)"
        " WHERE j.site = $site AND j.first_seen_at >= u.observed_at",
        {"site": site},
    ).fetchall()
    return {row[0] for row in rows}


def _slice(users: pl.DataFrame) -> set[str]:
    """This run's share of the rolling audit: those who were observed longest ago."""
    return set(users.sort("observed_at", "username").head(-(-users.height // AUDIT_SLICES))["username"])
