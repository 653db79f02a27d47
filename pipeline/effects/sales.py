"""Money: one CoworkerProduct in Nexudus per sale line, made once, looked up when in doubt, deleted when undone.

A sale that replaces another one is sent once that is gone (`pipeline.domain.money.reversals`).

What belongs here: the calls on coworkerproducts and the ledger moves around them. What does not: prices and payers.
"""

import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import NamedTuple

import polars as pl

from pipeline.domain.money.lookup import compared
from pipeline.effects.effect import CONNECTIONS, Outcome, attempt, pipelined, settle, store
from pipeline.errors import ConfigError, MissingError, TransientError
from pipeline.services.nexudus import records
from pipeline.services.nexudus.wire import Record
from pipeline.site import Site
from pipeline.store import ledger, memory, stops
from pipeline.store.lines import (
    Line,
    by_hand,
    lines_in,
    lines_of_site,
    lost_answers,
    never_sent,
    newest_sales,
    one_line,
    rows_of,
    waiting_lines,
)
from pipeline.store.warehouse import Connection
from pipeline.words import counted

CHUNK = 100
"""Sales between two commits: a killed run leaves up to two of these to be looked up."""

ATTEMPTS = 5
"""How often a sale may be sent without an answer, and not be found afterwards, before a person looks at it."""

LOOK = (
    ". What to do: look for the reference in Nexudus; a right sale is there: `printbridge held confirm`, none:"
    " `printbridge held retry`, a wrong one: delete it, then retry"
)
CREATED_MARGIN = timedelta(hours=24)
"""How far a list of sales reaches back before the oldest job it is asked for."""

MANY = 50
"""From so many customers on, all sales of a product are listed instead of those of each customer."""


class Sold(NamedTuple):
    """The sales that Nexudus holds: made since `since`, all that existed at `at`."""

    sales: pl.DataFrame
    since: datetime
    at: datetime


def listed_sales(site: Site, planned: pl.DataFrame) -> Sold | None:
    """Everything that Nexudus holds since the oldest line that is to be entered, sent or looked up; None without one.

    A sale is asked for by the time of its job, which we wrote into it, and by the time at which Nexudus made it: no
    two clocks need to agree. For a line without an answer its customer is asked about as well, at any time.

    Args:
        site: the site.
        planned: PrintCharges that are about to be entered.

    Raises:
        TransientError: the list lacks a sale that Nexudus has.
    """
    at = site.clock()
    with site.store.connect() as con:
        entered = lines_of_site(con, site.key, planned).select("ref")
        due = _due(con, site, at).filter(pl.col("kind") == "sale")
        due = due.join(_for_a_person(con, site), on="ref", how="anti")
    new = planned.filter(pl.col("kind").is_in(["sale", "credit"])).join(entered, on="ref", how="anti")
    times = pl.concat([due.select("printed_at"), new.select("printed_at")])
    oldest: datetime | None = times.select(pl.col("printed_at").min()).item()
    products = products_of(site, pl.concat([due.select("product_id"), new.select("product_id")]))
    if oldest is None or not products:
        return None
    since = oldest - CREATED_MARGIN
    listed: dict[int, Record] = {}
    customers = due.filter(state="unknown")["coworker_id"].drop_nulls().unique().sort().to_list()
    for product in products:
        ask = partial(site.nexudus.records, "coworkerproducts", CoworkerProduct_Product=product)
        found = [*ask(from_CoworkerProduct_CreatedOn=since), *ask(from_CoworkerProduct_SaleDate=since)]
        if len(customers) > MANY:
            found += ask()
        else:
            found += [sale for customer in customers for sale in ask(CoworkerProduct_Coworker=customer)]
        listed |= {record["Id"]: record for record in found}
    sales = records.sales(listed.values())
    _prove(site, sales, since, products)
    return Sold(sales, since, at)


def _for_a_person(con: Connection, site: Site) -> pl.DataFrame:
    """The lines (ref) that wait for a reversal that is held, or takes back a held line; others may go in this run."""
    held = lines_in(con, site.key, "held")["ref"].to_list()
    stuck = lines_in(con, site.key, "priced", "unknown").filter(pl.col("undoes").is_in(held))["ref"].to_list()
    return waiting_lines(con, site.key).filter(pl.col("waits_for").is_in(held + stuck)).select("ref")


def products_of(site: Site, lines: pl.DataFrame) -> list[int]:
    """The products of some lines (product_id; null: made before it was kept) and the one of bridge.toml."""
    now = site.rules.charge_product_id
    return sorted({*lines["product_id"].drop_nulls().to_list()} | ({now} if now else set[int]()))


def settle_sales(site: Site, run_id: str, sold: Sold | None) -> None:
    """Look up what is unknown, adopt what is there already, send what is not, undo what must go.

    Args:
        site: the site.
        run_id: the run.
        sold: what Nexudus held when the run began, from `listed_sales`.
    """
    if sold:
        _look_up(site, run_id, sold)
    # Only now is it known that a priced line was never sent.
    site.store.commit(lambda con: ledger.cancel_unsent(con, site.key, site.mover(run_id, "dispatcher")))
    with site.store.connect() as con:
        undos = _due(con, site, site.clock()).filter(pl.col("kind") == "undo_sale")
    for line in rows_of(undos):
        _undo(site, run_id, line)
    if sold:
        _send(site, run_id, sold)


def _due(con: Connection, site: Site, at: datetime) -> pl.DataFrame:
    """The lines that may be sent or looked up: priced, or unknown for the settle time."""
    settled = at - timedelta(minutes=site.settings.settle_minutes)
    lines = lines_in(con, site.key, "priced", "unknown")
    return lines.filter((pl.col("state") == "priced") | (pl.col("happened_at") <= settled))


def _look_up(site: Site, run_id: str, sold: Sold) -> None:
    """Compare lines with what Nexudus holds: an earlier ledger, or an answer that was lost, may have sent them."""
    with site.store.connect() as con:
        waiting = _due(con, site, sold.at).filter(pl.col("kind") == "sale")
        lost = lost_answers(con, waiting["ref"].to_list())
    verdicts = waiting.select("ref", "state").join(compared(waiting, sold.sales), on="ref")
    verdicts = verdicts.join(lost, on="ref", how="left")
    found = verdicts.filter(verdict="found").with_columns(detail=pl.lit("found in Nexudus by its reference"))
    contradicted = verdicts.filter(verdict="contradicted").with_columns(pl.col("detail") + LOOK)
    absent = verdicts.filter(verdict="absent", state="unknown")
    worn_out = absent.filter(pl.col("lost") >= ATTEMPTS).with_columns(
        detail=pl.lit(f"sent {ATTEMPTS} times, never answered, never seen{LOOK}")
    )
    again = absent.join(worn_out, on="ref", how="anti").with_columns(
        detail=pl.lit("absent in Nexudus after the settle time")
    )

    def change(con: Connection) -> list[str]:
        mover = site.mover(run_id, "resolver")
        # A line that this ledger never sent, and Nexudus has: somebody else charges these jobs.
        foreign = set(never_sent(con, found["ref"].to_list()))
        ledger.move(con, found, "confirmed", mover)
        ledger.move(con, contradicted, "held", mover)
        ledger.move(con, again, "priced", mover)
        ledger.move(con, worn_out, "held", mover)
        _note_invoiced(con, site, sold.sales, mover)
        if foreign:
            reason = _elsewhere(found.filter(pl.col("ref").is_in(sorted(foreign))))
            stops.record(con, site.key, "charges", state="stopped", reason=reason, at=mover.at)
        return sorted(foreign)

    if site.store.commit(change):
        with site.store.connect() as con:
            stops.refuse_if_stopped(con, site.key, "charges")


def _elsewhere(found: pl.DataFrame) -> str:
    first = found.row(0, named=True)
    return (
        f"Nexudus has {counted(found.height, 'sale')} that this ledger never sent, first sale {first['remote_id']}"
        f" ({first['ref']}): another installation of printbridge charges the same jobs, or this warehouse is older than"
        " what was charged. They were taken over, and nothing was sent. See that only one installation is at work"
    )


def _note_invoiced(con: Connection, site: Site, sales: pl.DataFrame, mover: ledger.Mover) -> None:
    confirmed = lines_in(con, site.key, "confirmed").filter(pl.col("kind") == "sale").select("ref")
    invoiced = sales.filter("invoiced").join(confirmed, on="ref", how="semi").unique("ref")
    ledger.move(con, invoiced.select("ref", detail=pl.lit("on an invoice in Nexudus")), "invoiced", mover)


def _prove(site: Site, sales: pl.DataFrame, since: datetime, products: list[int]) -> None:
    """A look-up is believed only if it finds the sales that are known to exist."""
    settled = site.clock() - timedelta(minutes=site.settings.settle_minutes)
    with site.store.connect() as con:
        newest = newest_sales(con, site.key, since + CREATED_MARGIN, settled, products)
    for line in newest.filter(~pl.col("remote_id").is_in(sales["remote_id"].to_list())).iter_rows(named=True):
        try:
            sale = site.nexudus.record("coworkerproducts", line["remote_id"])
        except MissingError:
            continue  # deleted in Nexudus on purpose: the reconciliation reports it
        if sale.get("ProductId") not in products:
            continue  # made of a product that no open line has any more
        raise TransientError(
            f"The list of sales since {since:%Y-%m-%d %H:%M} UTC lacks sale {line['remote_id']} ({line['ref']}), which"
            " Nexudus has: the look-up cannot be trusted",
            "nothing was sent; the next run looks again",
        )


def _check_product(site: Site, product_id: int) -> None:
    """1 credit = 1 cent holds only if the product is priced 0.01 (`rules.md` S12, C12)."""
    product = site.nexudus.record("products", product_id)
    if records.cents(product.get("Price")) == 1 and not product.get("Archived"):
        _remember_currency(site, product.get("CurrencyCode"))
        return
    state = "is archived" if product.get("Archived") else f"is priced {product.get('Price')}, not 0.01"
    raise ConfigError(
        f"The Nexudus product {product_id} ({product.get('Name')}) of site {site.name} {state}; no job was charged",
        "set its price to 0.01 under Inventory > Products, or name the right product in charge_product_id",
    )


def _remember_currency(site: Site, code: str | None) -> None:
    """Keep the currency of the charge product for the monthly report, which asks no server."""
    if code and re.fullmatch("[A-Z]{3}", code):
        site.store.commit(lambda con: memory.remember(con, site.key, memory.CURRENCY, code, site.clock()))


def _send(site: Site, run_id: str, sold: Sold) -> None:
    """Send what is priced, was looked up in this run, and waits for nothing."""
    looked_up = pl.col("printed_at") >= sold.since + CREATED_MARGIN
    with site.store.connect() as con:
        priced = lines_in(con, site.key, "priced").filter(looked_up, kind="sale")
        priced = priced.join(waiting_lines(con, site.key), on="ref", how="anti")
    for product in products_of(site, priced) if priced.height else ():
        _check_product(site, product)

    def turn(answered: list[tuple[Line, Outcome]], begun: Sequence[Line]) -> None:
        outcomes = [(line["ref"], outcome) for line, outcome in answered]
        intents = ledger.moves_of([(line["ref"], None, "POST coworkerproducts") for line in begun])

        def change(con: Connection) -> None:
            mover = site.mover(run_id, "dispatcher")
            settle(con, outcomes, mover)
            ledger.move(con, intents, "sending", mover)

        site.store.commit(change)

    halt = pipelined(rows_of(priced), partial(_post, site), turn, chunk=CHUNK, connections=CONNECTIONS)
    if halt:
        raise halt


def _post(site: Site, line: Line) -> Outcome:
    printed = line["printed_at"].astimezone(site.settings.zone)
    body = {
        "CoworkerId": line["coworker_id"],
        "BusinessId": site.rules.business_id,
        "ProductId": line["product_id"] or site.rules.charge_product_id,
        "Quantity": line["amount_cents"],
        "InvoiceThisCoworker": True,
        "PurchaseOrder": line["ref"],
        "Notes": f"{line['ref']} print job {line['job_id']} at {line['site']}, {printed:%Y-%m-%d %H:%M}",
        "SaleDate": f"{line['printed_at']:%Y-%m-%dT%H:%M:%SZ}",
    }

    def effect() -> Outcome:
        sale = site.nexudus.create("coworkerproducts", body)
        total = records.cents(sale.get("TotalPrice"))
        if total in (None, line["amount_cents"]):
            return Outcome("done", "Nexudus created the sale", sale["Id"])
        made = f"Nexudus made sale {sale['Id']} of {total} cents, not {line['amount_cents']}{LOOK}"
        return Outcome("held", made, sale["Id"])

    return attempt(effect)


def _undo(site: Site, run_id: str, line: Line) -> None:
    """Delete a sale that is not invoiced; one that is, is a person's work."""
    with site.store.connect() as con:
        original = one_line(con, line["undoes"] or "")
        if by_hand(con, [original["ref"]]):
            original["remote_id"] = None  # the sale that there was before is gone, and was made again by a person
    if original["state"] in ("sending", "unknown", "held"):
        return  # first it must be known whether there is anything to undo
    outcome = _undoable(site, line, original)
    if isinstance(outcome, int):
        sale_id = outcome

        def begin(con: Connection) -> None:
            mover = site.mover(run_id, "dispatcher")
            if line["state"] == "unknown":
                ledger.move(con, ledger.moves_of([(line["ref"], None, "the sale is still there")]), "priced", mover)
            ledger.move(con, ledger.moves_of([(line["ref"], None, "DELETE coworkerproducts")]), "sending", mover)

        site.store.commit(begin)
        outcome = attempt(lambda: _delete(site, sale_id))
    store(site, run_id, [(line["ref"], outcome)])


def _delete(site: Site, remote_id: int) -> Outcome:
    site.nexudus.delete("coworkerproducts", remote_id)
    return Outcome("done", f"sale {remote_id} deleted", remote_id)


def _undoable(site: Site, line: Line, original: Line) -> Outcome | int:
    """The sale that is there and may be deleted; the outcome where nothing is to be deleted."""
    sale_id = original["remote_id"]
    if original["state"] == "void":
        return Outcome("done", "nothing had been charged")
    if sale_id is None:
        return Outcome(
            "held",
            f"Job {line['job_id']} changed in {site.printing.title}, but a person had confirmed its charge of"
            f" {line['amount_cents']} cents to customer {original['coworker_id']} without naming a sale. What to do:"
            f" take back what was charged by hand, then run `printbridge held confirm {line['ref']}`;"
            f" `printbridge held void {line['ref']}` if it shall stand",
        )
    try:
        sale = site.nexudus.record("coworkerproducts", sale_id)
    except MissingError:
        return Outcome("done", f"sale {sale_id} is gone", sale_id)
    if not sale.get("Invoiced"):
        return sale_id
    return Outcome(
        "held",
        f"Job {line['job_id']} changed in {site.printing.title}, but its sale {sale_id} ({line['amount_cents']} cents,"
        f" customer {original['coworker_id']}) is on invoice {sale.get('CoworkerInvoiceNumber')}; what the job costs"
        " now waits for it. What to do: issue a credit note in Nexudus, then run `printbridge held confirm"
        f" {line['ref']}`; `printbridge held void {line['ref']}` if the charge shall stand",
        sale_id,
    )
