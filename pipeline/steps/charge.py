"""Charge: what was decided is entered into the ledger, then sales and credits settle in Nexudus.

What belongs here: the order of the work and the gates in front of it, because a run of this step alone skips every
check before it. What does not: the effects themselves (`pipeline.effects`).
"""

from __future__ import annotations

import json
from datetime import timedelta

import polars as pl

from pipeline.domain import tables
from pipeline.domain.money.references import JOB_LENGTH, code_of
from pipeline.effects.credits import settle_credits
from pipeline.effects.deleted import settle_deleted
from pipeline.effects.sales import Sold, listed_sales, settle_sales
from pipeline.errors import MissingError, TransientError, UnsafeError
from pipeline.services.nexudus import records
from pipeline.site import Site
from pipeline.steps.run import Made, Number, Run, numbered
from pipeline.store import jobs, ledger, memory, stops
from pipeline.store.lines import (
    has_sent,
    lines_in,
    lines_of,
    lines_of_site,
    never_sent,
    open_uses,
    products_of,
    states_of,
)
from pipeline.store.sql import Connection, read


def charge(site: Site, run: Run) -> Made:
    """Enter what was decided for a site and let it settle; the caller holds the site.

    Returns:
        PrintCharges as decided; entered and interrupted lines, credit uses kept_on_ledger, and how many of the decided
        lines are in each state.

    Raises:
        UnsafeError: the charges of the site are stopped, or this is not the warehouse that charged before.
        PrintbridgeError: any other of its kinds; what was done before stands in the ledger.
    """
    with site.store.connect() as con:
        planned = read(con, "print_charges", site.key)
        if run.dry:
            return Made(planned, {"dry_run": True})
        stops.spend(con, site.key, "charges", by=f"run {run.id}", at=site.clock())
        stops.refuse_if_stopped(con, site.key, "charges")
    if run.reread_days:
        _look_for_deleted(site, run)
    with site.store.connect() as con:
        idle = not planned.height and not lines_in(con, site.key, "priced", "sending", "unknown").height
    if idle:  # nothing to enter, send, look up or undo: every step below would find nothing
        _look_at_strange(site)
        return Made(planned, _numbers())
    sold = listed_sales(site, planned)

    def enter(con: Connection) -> tuple[int, int]:
        mover = site.mover(run.id, "dispatcher")
        interrupted = ledger.orphans(con, site.key, mover)
        _refuse_older_ledger(con, site, planned, sold)
        _refuse_overdraw(con, site.key, planned)
        return interrupted, ledger.enter(con, planned, mover)

    interrupted, entered = site.store.commit(enter)
    settle_sales(site, run.id, sold)
    kept = settle_credits(site, run.id)
    with site.store.connect() as con:
        states = states_of(lines_of_site(con, site.key, planned))
    if kept:
        run.say(
            f"{site.name}: Nexudus ignored {kept} credit write-backs; these uses stay on the ledger, and Nexudus shows"
            ' the credits unreduced. Set credit_writeback = "ledger" to stop trying.'
        )
    return Made(planned, _numbers(states, entered, interrupted, kept))


def _look_for_deleted(site: Site, run: Run) -> None:
    """Where the jobs of many days are read again, their sales are as well: one may have been deleted since."""
    since = site.clock() - timedelta(days=run.reread_days)
    with site.store.connect() as con:
        known = lines_of_site(con, site.key, jobs.recent(con, site.key, since))
        known = known.filter(pl.col("printed_at") >= since)
        products = products_of(con, site.key, site.rules.charge_product_id)
    listed = [
        record
        for product in products
        for record in site.nexudus.records(
            "coworkerproducts", CoworkerProduct_Product=product, from_CoworkerProduct_SaleDate=since
        )
    ]
    settle_deleted(site, run.id, known, records.sales(listed))


def _numbers(
    states: dict[str, int] | None = None, entered: int = 0, interrupted: int = 0, kept: int = 0
) -> dict[str, Number]:
    return {
        **numbered(tables.STATES, states or {}), "entered": entered, "interrupted": interrupted,
        "kept_on_ledger": kept,
    }  # fmt: skip


def _refuse_older_ledger(con: Connection, site: Site, planned: pl.DataFrame, sold: Sold | None) -> None:
    """What Nexudus shows must have come from this ledger: one that is lost or older would charge the same jobs again.

    A sale that the plan would make again is no contradiction: it is adopted before anything is sent.
    """
    codes = {code_of(each.rules): each.name for each in site.sites}
    uses = read(con, "nexudus_credits").select("credit_id", ref="last_use").drop_nulls("ref")
    uses = uses.filter(pl.col("ref").str.slice(3, 3).is_in(list(codes)))
    unsent = uses.filter(pl.col("ref").is_in(never_sent(con, uses["ref"].to_list())))
    seen = [f"credit {row['credit_id']} was last used under {row['ref']}" for row in unsent.to_dicts()]
    if sold:
        strange = _strange(con, site, planned, sold.sales)
        unprinted = strange.filter(~pl.col("printed"))
        memory.remember(con, site.key, memory.STRANGE, json.dumps(unprinted["remote_id"].to_list()), site.clock())
        strange = strange.filter("printed")
        seen += [f"sale {row['remote_id']} was made under {row['ref']}" for row in strange.to_dicts()]
    if seen and (sold or planned.height):
        sites = sorted({codes.get(ref[3:6], site.name) for ref in unsent["ref"]} or {site.name})
        raise UnsafeError(
            f"This is not the warehouse that charged before at site {site.name}: {seen[0]}, which its ledger never sent"
            f" ({len(seen)} such traces in Nexudus)",
            f"restore the newest backup, or run `printbridge recover --site {sites[0]}`; nothing was charged",
        )


def _look_at_strange(site: Site) -> None:
    """Forget the sales of no job that are gone or lost their reference; a run that sends something lists them anew."""
    with site.store.connect() as con:
        before: list[int] = json.loads(memory.recall(con, site.key, memory.STRANGE) or "[]")
    still: list[int] = []
    for sale in before:
        try:
            found = records.sales([site.nexudus.record("coworkerproducts", sale)])
        except MissingError:
            continue
        still += found.filter(pl.col("ref").str.slice(3, 3) == code_of(site.rules))["remote_id"].to_list()
    if still != before:
        text = json.dumps(still)
        site.store.commit(lambda con: memory.remember(con, site.key, memory.STRANGE, text, site.clock()))


def _strange(con: Connection, site: Site, planned: pl.DataFrame, sales: pl.DataFrame) -> pl.DataFrame:
    """The sales with a reference of the site that this ledger neither has nor is about to enter.

    Returns:
        ref, remote_id; printed, whether the log has the job: one that it lacks was made by hand, and is told.
    """
    ours = sales.filter(pl.col("ref").str.slice(3, 3) == code_of(site.rules))
    known = lines_of(con, site.key, planned, ours)["ref"].to_list() + planned["ref"].to_list()
    strange = ours.filter(~pl.col("ref").is_in(known)) if has_sent(con, site.key) else ours
    padded = pl.col("ref").str.slice(7, JOB_LENGTH)
    logged = jobs.padded(con, site.key, strange.select(padded)["ref"].to_list())
    return strange.select("ref", "remote_id", printed=padded.is_in(logged))


def _refuse_overdraw(con: Connection, site: str, planned: pl.DataFrame) -> None:
    """Allocation is checked again where it is stored: another site may have used the same credits since."""
    before = lines_of_site(con, site, planned).select("ref", "state")
    originals = before.select(undoes="ref", original="state")
    new = planned.join(before, on="ref", how="anti").join(originals, on="undoes", how="left")
    used = pl.when(pl.col("kind") == "credit").then("amount_cents")
    given_back = pl.when((pl.col("kind") == "undo_credit") & (pl.col("original") != "held")).then("amount_cents")
    grants = read(con, "nexudus_credits")
    short = (
        new.group_by("credit_id")
        .agg(wanted=used.sum() - given_back.sum())
        .filter(pl.col("wanted") > 0)
        .join(grants, on="credit_id", how="left")
        .join(open_uses(con, grants), on="credit_id", how="left")
        .filter(pl.col("wanted") > pl.col("remaining_uses").fill_null(0) - pl.col("open_cents").fill_null(0))
        .sort("credit_id")
    )
    if short.height:
        raise TransientError(
            f"{short.height} credits were used by another run after the charges were decided, first credit"
            f" {short['credit_id'][0]} ({short['wanted'][0]} cents wanted)",
            "nothing was entered; the next run decides these jobs again",
        )
