"""The asset that carries out charges: it enters what was decided into the ledger, then lets sales and credits settle.

What belongs here: the order of the steps and the gates in front of them. What does not: the effects themselves.
"""

from typing import Any

import dagster as dg
import polars as pl

from assets.load.credits import settle_credits
from assets.load.effect import is_dry
from assets.load.sales import Sold, listed_sales, settle_sales
from assets.tables import SITE, described, numbered, stored
from assets.transform import print_charges
from pipeline import ledger, safety, warehouse
from pipeline.domain import schemas
from pipeline.domain.references import site_code
from pipeline.errors import TransientError, UnsafeError
from pipeline.resources import Bridge


@dg.asset(
    group_name="load", kinds={"rest"}, owners=["team:finance"], partitions_def=SITE,
    deps=[print_charges],
    metadata=described("print_charges"),
)  # fmt: skip
def nexudus_print_charges(
    context: dg.AssetExecutionContext, bridge: dg.ResourceParam[Bridge]
) -> dg.MaterializeResult[Any]:
    """Sales created or undone and credits written back in Nexudus, each reference once in effect."""
    site = context.partition_key
    planned = bridge.warehouse.read("print_charges", site)
    if is_dry(context, bridge):
        return stored(planned, dry_run=True)
    counts = carry_out(bridge, site, context.run.run_id)
    if counts["kept_on_ledger"]:
        context.log.warning(
            f"{site}: Nexudus ignored {counts['kept_on_ledger']} credit write-backs; these uses stay on the ledger, and"
            ' Nexudus shows the credits unreduced. Set credit_writeback = "ledger" to stop trying.'
        )
    return stored(planned, **{**numbered(schemas.STATES, {}), **counts})


def carry_out(bridge: Bridge, site: str, run_id: str) -> dict[str, int]:
    """Enter what was decided for a site and let it settle; the caller holds the site.

    Returns:
        entered and interrupted lines, credit uses kept_on_ledger, and how many of the decided lines are in each state.

    Raises:
        BridgeError: any of its kinds; what was done before stands in the ledger.
    """
    with bridge.warehouse.connect() as con:
        safety.refuse_if_stopped(con, site, "charges")
        planned = warehouse.read(con, "print_charges", site)
        if not planned.height and not ledger.lines_in(con, site, "priced", "sending", "unknown").height:
            # Nothing to enter, send, look up or undo: every step below would find nothing.
            return {"entered": 0, "interrupted": 0, "kept_on_ledger": 0}
    sold = listed_sales(bridge, site, planned)
    with bridge.warehouse.transaction() as con:
        mover = bridge.mover(run_id, "dispatcher")
        interrupted = ledger.orphans(con, site, mover)
        _refuse_older_ledger(con, bridge, site, planned, sold)
        _refuse_overdraw(con, site, planned)
        entered = ledger.enter(con, planned, mover)
    settle_sales(bridge, site, run_id, sold)
    kept = settle_credits(bridge, site, run_id)
    with bridge.warehouse.connect() as con:
        states = ledger.states_of(ledger.lines(con, site, planned))
    return {"entered": entered, "interrupted": interrupted, "kept_on_ledger": kept, **states}


def _refuse_older_ledger(
    con: warehouse.Connection, bridge: Bridge, site: str, planned: pl.DataFrame, sold: Sold | None
) -> None:
    """What Nexudus shows must have come from this ledger: one that is lost or older would charge the same jobs again.

    A sale that the plan would make again is no contradiction: it is adopted before anything is sent.
    """
    codes = {site_code(each): each for each in bridge.settings.sites}
    uses = warehouse.query(con, "SELECT credit_id, last_use AS ref FROM nexudus_credits WHERE last_use IS NOT NULL")
    uses = uses.filter(pl.col("ref").str.slice(3, 3).is_in(list(codes)))
    unsent = uses.filter(pl.col("ref").is_in(ledger.never_sent(con, uses["ref"].to_list())))
    seen = [f"credit {row['credit_id']} was last used under {row['ref']}" for row in unsent.to_dicts()]
    if sold:
        ours = sold.sales.filter(pl.col("ref").str.slice(3, 3) == site_code(site))
        known = ledger.lines_of(con, site, planned, ours)["ref"].to_list() + planned["ref"].to_list()
        strange = ours.filter(~pl.col("ref").is_in(known)) if ledger.has_sent(con, site) else ours
        seen += [f"sale {row['remote_id']} was made under {row['ref']}" for row in strange.to_dicts()]
    if seen and (sold or planned.height):
        sites = sorted({codes.get(ref[3:6], site) for ref in unsent["ref"]} or {site})
        raise UnsafeError(
            f"This is not the warehouse that charged before at site {site}: {seen[0]}, which its ledger never sent"
            f" ({len(seen)} such traces in Nexudus)",
            f"restore the newest backup, or run `printbridge recover --site {sites[0]}`; nothing was charged",
        )


def _refuse_overdraw(con: warehouse.Connection, site: str, planned: pl.DataFrame) -> None:
    """Allocation is checked again where it is stored: another site may have used the same credits since."""
    before = ledger.lines(con, site, planned).select("ref", "state")
    originals = before.select(undoes="ref", original="state")
    new = planned.join(before, on="ref", how="anti").join(originals, on="undoes", how="left")
    used = pl.when(pl.col("kind") == "credit").then("amount_cents")
    given_back = pl.when((pl.col("kind") == "undo_credit") & (pl.col("original") != "held")).then("amount_cents")
    grants = warehouse.read(con, "nexudus_credits")
    short = (
        new.group_by("credit_id")
        .agg(wanted=used.sum() - given_back.sum())
        .filter(pl.col("wanted") > 0)
        .join(grants, on="credit_id", how="left")
        .join(ledger.open_uses(con, grants), on="credit_id", how="left")
        .filter(pl.col("wanted") > pl.col("remaining_uses").fill_null(0) - pl.col("open_cents").fill_null(0))
        .sort("credit_id")
    )
    if short.height:
        raise TransientError(
            f"{short.height} credits were used by another run after the charges were decided, first credit"
            f" {short['credit_id'][0]} ({short['wanted'][0]} cents wanted)",
            "nothing was entered; the next run decides these jobs again",
        )
