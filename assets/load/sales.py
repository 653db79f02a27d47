"""Money: one CoworkerProduct in Nexudus per sale line, made once, looked up when in doubt, deleted when undone.

What belongs here: the calls on coworkerproducts and the ledger moves around them. What does not: prices and payers.
"""

import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any, NamedTuple

import polars as pl

from assets.load.effect import Answer, attempt, pipelined, settle, store
from pipeline import ledger, warehouse
from pipeline.domain import records
from pipeline.domain.lookup import compared
from pipeline.errors import BridgeError, ConfigError, MissingError, TransientError
from pipeline.resources import CONNECTIONS, Bridge

CHUNK = 100
"""Sales between two commits: a killed run leaves up to two of these to be looked up."""

ATTEMPTS = 5
"""How often a sale may be sent without an answer, and not be found afterwards, before a person looks at it."""

LOOK = (
    ". What to do: look for the reference in Nexudus; a right sale is there: `printbridge held confirm`, none:"
    " `printbridge held retry`, a wrong one: delete it, then retry"
)
LOST = "SELECT ref, count(*) AS lost FROM charge_event WHERE state = 'unknown' AND ref IN $refs GROUP BY ref"
CREATED_MARGIN = timedelta(hours=24)
"""A sale is made after its job was printed; the clocks of the servers may differ by this much."""

Line = dict[str, Any]


class Sold(NamedTuple):
    """The sales that Nexudus holds: made since `since`, all that existed at `at`."""

    sales: pl.DataFrame
    since: datetime
    at: datetime


def listed_sales(bridge: Bridge, site: str, planned: pl.DataFrame) -> Sold | None:
    """Everything that Nexudus holds since the oldest line that is to be entered, sent or looked up; None without one.

    Args:
        bridge: the configured bridge.
        site: the site.
        planned: PrintCharges that are about to be entered.

    Raises:
        TransientError: the list lacks a sale that Nexudus has.
    """
    at = bridge.clock()
    with bridge.warehouse.connect() as con:
        entered = ledger.lines(con, site, planned).select("ref")
        due = _due(con, bridge, site, at).filter(pl.col("kind") == "sale")
    new = planned.filter(pl.col("kind").is_in(["sale", "credit"])).join(entered, on="ref", how="anti")
    times = pl.concat([due.select("printed_at"), new.select("printed_at")])
    oldest: datetime | None = times.select(pl.col("printed_at").min()).item()
    product = bridge.settings.site(site).charge_product_id
    if oldest is None or not product:
        return None
    since = oldest - CREATED_MARGIN
    listed = bridge.nexudus.records(
        "coworkerproducts", CoworkerProduct_Product=product, from_CoworkerProduct_CreatedOn=since
    )
    sales = records.sales(listed)
    _prove(bridge, site, sales, since)
    return Sold(sales, since, at)


def settle_sales(bridge: Bridge, site: str, run_id: str, sold: Sold | None) -> None:
    """Look up what is unknown, adopt what is there already, send what is not, undo what must go.

    Args:
        bridge: the configured bridge.
        site: the site.
        run_id: the run.
        sold: what Nexudus held when the run began, from `listed_sales`.
    """
    if sold:
        _look_up(bridge, site, run_id, sold)
    with bridge.warehouse.transaction() as con:
        # Only now is it known that a priced line was never sent.
        ledger.cancel_unsent(con, site, bridge.mover(run_id, "dispatcher"))
    if sold:
        _send(bridge, site, run_id)
    with bridge.warehouse.connect() as con:
        undos = _due(con, bridge, site, bridge.clock()).filter(pl.col("kind") == "undo_sale")
    for line in undos.iter_rows(named=True):
        _undo(bridge, run_id, line)


def _due(con: ledger.Connection, bridge: Bridge, site: str, at: datetime) -> pl.DataFrame:
    """The lines that may be sent or looked up: priced, or unknown for the settle time."""
    settled = at - timedelta(minutes=bridge.settings.site(site).settle_minutes)
    lines = ledger.lines_in(con, site, "priced", "unknown")
    return lines.filter((pl.col("state") == "priced") | (pl.col("happened_at") <= settled))


def _look_up(bridge: Bridge, site: str, run_id: str, sold: Sold) -> None:
    """Compare lines with what Nexudus holds: an earlier ledger, or an answer that was lost, may have sent them."""
    with bridge.warehouse.connect() as con:
        due = _due(con, bridge, site, sold.at).filter(pl.col("kind") == "sale")
        times = warehouse.query(con, LOST, refs=due["ref"].to_list())
    answer = due.select("ref", "state").join(compared(due, sold.sales), on="ref").join(times, on="ref", how="left")
    absent = answer.filter((pl.col("verdict") == "absent") & (pl.col("state") == "unknown"))
    worn_out = pl.col("lost") >= ATTEMPTS
    found = answer.filter(pl.col("verdict") == "found").with_columns(detail=pl.lit("found in Nexudus by its reference"))
    with bridge.warehouse.transaction() as con:
        mover = bridge.mover(run_id, "resolver")
        ledger.move(con, found, "confirmed", mover)
        ledger.move(con, _to_look_at(answer.filter(pl.col("verdict") == "contradicted")), "held", mover)
        ledger.move(con, _because(absent.filter(~worn_out), "absent in Nexudus after the settle time"), "priced", mover)
        lost = _because(absent.filter(worn_out), f"sent {ATTEMPTS} times, never answered, never seen")
        ledger.move(con, _to_look_at(lost), "held", mover)
        _note_invoiced(con, site, sold.sales, mover)


def _because(lines: pl.DataFrame, detail: str) -> pl.DataFrame:
    return lines.select("ref", detail=pl.lit(detail))


def _to_look_at(lines: pl.DataFrame) -> pl.DataFrame:
    return lines.with_columns(pl.col("detail") + LOOK)


def _note_invoiced(con: ledger.Connection, site: str, sales: pl.DataFrame, mover: ledger.Mover) -> None:
    confirmed = ledger.lines_in(con, site, "confirmed").filter(pl.col("kind") == "sale").select("ref")
    invoiced = sales.filter("invoiced").join(confirmed, on="ref", how="semi").unique("ref")
    ledger.move(con, _because(invoiced, "on an invoice in Nexudus"), "invoiced", mover)


def _prove(bridge: Bridge, site: str, sales: pl.DataFrame, since: datetime) -> None:
    """A look-up is believed only if it finds the sales that are known to exist."""
    settled = bridge.clock() - timedelta(minutes=bridge.settings.site(site).settle_minutes)
    with bridge.warehouse.connect() as con:
        newest = ledger.newest_sales(con, site, since + CREATED_MARGIN, settled)
    for line in newest.filter(~pl.col("remote_id").is_in(sales["remote_id"].to_list())).iter_rows(named=True):
        try:
            bridge.nexudus.record("coworkerproducts", line["remote_id"])
        except MissingError:
            continue  # deleted in Nexudus on purpose: the reconciliation reports it
        raise TransientError(
            f"The list of sales since {since:%Y-%m-%d %H:%M} UTC lacks sale {line['remote_id']} ({line['ref']}), which"
            " Nexudus has: the look-up cannot be trusted",
            "nothing was sent; the next run looks again",
        )


def _check_product(bridge: Bridge, site: str) -> None:
    """1 credit = 1 cent holds only if the product is priced 0.01 (`rules.md` S12, C12)."""
    product_id = bridge.settings.site(site).charge_product_id or 0
    product = bridge.nexudus.record("products", product_id)
    if records.cents(product.get("Price")) == 1 and not product.get("Archived"):
        _remember_currency(bridge, site, product.get("CurrencyCode"))
        return
    state = "is archived" if product.get("Archived") else f"is priced {product.get('Price')}, not 0.01"
    raise ConfigError(
        f"The Nexudus product {product_id} ({product.get('Name')}) of site {site} {state}; no job was charged",
        "set its price to 0.01 under Inventory > Products, or name the right product in charge_product_id",
    )


def _remember_currency(bridge: Bridge, site: str, code: str | None) -> None:
    """Keep the currency of the charge product for the monthly report, which asks no server."""
    if code and re.fullmatch("[A-Z]{3}", code) and code != bridge.warehouse.bookmark(site, "currency"):
        with bridge.warehouse.transaction() as con:
            warehouse.set_bookmark(con, site, "currency", code, bridge.clock())


def _send(bridge: Bridge, site: str, run_id: str) -> None:
    with bridge.warehouse.connect() as con:
        priced = ledger.lines_in(con, site, "priced").filter(pl.col("kind") == "sale")
    if priced.height:
        _check_product(bridge, site)
    mover = partial(bridge.mover, run_id, "dispatcher")

    def turn(answered: list[tuple[Line, Answer]], begun: Sequence[Line]) -> None:
        with bridge.warehouse.transaction() as con:
            settle(con, [answer for _, answer in answered], mover())
            intents = ledger.moves_of([(line["ref"], None, "POST coworkerproducts") for line in begun])
            ledger.move(con, intents, "sending", mover())

    pipelined(priced.to_dicts(), partial(_post, bridge), _not_sent, turn, chunk=CHUNK, connections=CONNECTIONS)


def _not_sent(line: Line, halt: BridgeError) -> Answer:
    return Answer(line["ref"], "priced", None, f"not sent any more, after: {halt.tried}")


def _post(bridge: Bridge, line: Line) -> Answer:
    settings = bridge.settings.site(line["site"])
    printed = line["printed_at"].astimezone(settings.zone)
    body = {
        "CoworkerId": line["coworker_id"],
        "BusinessId": settings.business_id,
        "ProductId": settings.charge_product_id,
        "Quantity": line["amount_cents"],
        "InvoiceThisCoworker": True,
        "PurchaseOrder": line["ref"],
        "Notes": f"{line['ref']} print job {line['job_id']} at {line['site']}, {printed:%Y-%m-%d %H:%M}",
        "SaleDate": f"{line['printed_at']:%Y-%m-%dT%H:%M:%SZ}",
    }

    def effect() -> Answer:
        sale = bridge.nexudus.create("coworkerproducts", body)
        total = records.cents(sale.get("TotalPrice"))
        if total in (None, line["amount_cents"]):
            return Answer(line["ref"], "confirmed", sale["Id"], "Nexudus created the sale")
        return Answer(
            line["ref"],
            "held",
            sale["Id"],
            f"Nexudus made sale {sale['Id']} of {total} cents, not {line['amount_cents']}{LOOK}",
        )

    return attempt(line["ref"], effect)


def _undo(bridge: Bridge, run_id: str, line: Line) -> None:
    """Delete a sale that is not invoiced; one that is, is a person's work."""
    with bridge.warehouse.connect() as con:
        original = ledger.line(con, line["undoes"])
    if original["state"] in ("sending", "unknown", "held"):
        return  # first it must be known whether there is anything to undo
    answer = _undo_without_call(bridge, line, original)
    mover = bridge.mover(run_id, "dispatcher")
    if answer is None:
        with bridge.warehouse.transaction() as con:
            if line["state"] == "unknown":
                ledger.move(con, ledger.moves_of([(line["ref"], None, "the sale is still there")]), "priced", mover)
            ledger.move(con, ledger.moves_of([(line["ref"], None, "DELETE coworkerproducts")]), "sending", mover)
        answer = attempt(line["ref"], lambda: _delete(bridge, line["ref"], original["remote_id"]))
    store(bridge, run_id, [answer])


def _delete(bridge: Bridge, ref: str, remote_id: int) -> Answer:
    bridge.nexudus.delete("coworkerproducts", remote_id)
    return Answer(ref, "confirmed", remote_id, f"sale {remote_id} deleted")


def _undo_without_call(bridge: Bridge, line: Line, original: Line) -> Answer | None:
    """The answer where nothing is to be deleted; None where a sale is there and may be deleted."""
    if original["state"] == "void" or original["remote_id"] is None:
        return Answer(line["ref"], "confirmed", None, "nothing had been charged")
    try:
        sale = bridge.nexudus.record("coworkerproducts", original["remote_id"])
    except MissingError:
        return Answer(line["ref"], "confirmed", original["remote_id"], f"sale {original['remote_id']} is gone")
    if not sale.get("Invoiced"):
        return None
    return Answer(
        line["ref"],
        "held",
        original["remote_id"],
        f"Job {line['job_id']} changed in PaperCut, but its sale {original['remote_id']} ({line['amount_cents']} cents,"
        f" customer {original['coworker_id']}) is on invoice {sale.get('CoworkerInvoiceNumber')}. What to do: issue a"
        f" credit note in Nexudus, then run `printbridge held confirm {line['ref']}`",
    )
