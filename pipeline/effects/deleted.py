"""Deleted sales: a charge that Nexudus had confirmed and no longer has becomes a held line, for a person to decide.

What belongs here: the proof that a sale is gone, and the moves that follow from it. What does not: comparing the books
of a day (`pipeline.domain.money.reconcile`), and making or deleting sales (`sales.py`).

A list may lag or be cut short, so a sale counts as gone only where Nexudus says by its id that it does not exist.
Nothing is sent again by itself: whoever deleted it may have meant it.
"""

from __future__ import annotations

import polars as pl

from pipeline.domain.money.reversals import live
from pipeline.errors import MissingError
from pipeline.site import Site
from pipeline.store import ledger
from pipeline.store.lines import Line, by_hand, rows_of
from pipeline.store.warehouse import Connection

IS_GONE = "is no longer in Nexudus"
"""What the reason of every such line says."""


def settle_deleted(site: Site, run_id: str, known: pl.DataFrame, sales: pl.DataFrame) -> int:
    """Hold the lines whose sale is gone, and take as done again those whose sale is back.

    Args:
        site: the site; the caller holds it.
        run_id: the run.
        known: all lines of some jobs, as `lines.lines_of_site`; what is being reversed is left to its reversal.
        sales: what Nexudus listed for the time of their jobs: ref, remote_id.

    Returns:
        How many lines are held now that were done before.
    """
    lines = live(known).filter(pl.col("remote_id").is_not_null(), kind="sale")
    with site.store.connect() as con:
        made_by_hand = by_hand(con, lines["ref"].to_list())
    sold = lines.filter(pl.col("state").is_in(["confirmed", "invoiced"]), ~pl.col("ref").is_in(made_by_hand))
    absent = sold.filter(~pl.col("ref").is_in(sales["ref"].implode()))
    gone = [line for line in rows_of(absent) if line["remote_id"] and _is_gone(site, line["remote_id"])]
    held = ledger.moves_of([(line["ref"], line["remote_id"], _why(line)) for line in gone])
    back = (
        lines.filter(pl.col("detail").str.contains(IS_GONE, literal=True), state="held")
        .join(sales.select("ref", there="remote_id"), on="ref")
        .filter(pl.col("there") == pl.col("remote_id"))
        .select("ref", "remote_id", detail=pl.lit("its sale is in Nexudus again"))
    )

    def change(con: Connection) -> None:
        mover = site.mover(run_id, "resolver")
        ledger.move(con, held, "held", mover)
        ledger.move(con, back, "confirmed", mover)

    if held.height or back.height:
        site.store.commit(change)
    return held.height


def _is_gone(site: Site, sale: int) -> bool:
    try:
        site.nexudus.record("coworkerproducts", sale)
    except MissingError:
        return True
    return False


def _why(line: Line) -> str:
    """What a person decides, with the commands that do it."""
    ref = line["ref"]
    sale = f"sale {line['remote_id']} of {line['amount_cents']} cents for customer {line['coworker_id']}"
    if line["state"] == "invoiced":
        return (
            f"{sale} was on an invoice and {IS_GONE}. What to do: look at the invoice there; it still asks for these"
            f" cents: `printbridge held confirm {ref}`; it does not, and they shall be charged again: `printbridge held"
            f" retry {ref}`; they shall not: `printbridge held void {ref}`"
        )
    return (
        f"{sale} was confirmed and {IS_GONE}: somebody deleted it. What to do: it was a mistake: `printbridge held"
        f" retry {ref}` charges it again; the customer shall not pay: `printbridge held void {ref}`; it was charged in"
        f" another way: `printbridge held confirm {ref}`"
    )
