"""Recovery: the ledger of a lost or restored warehouse, rebuilt from what Nexudus and PaperCut hold.

What belongs here: finding our traces in both services, entering what they prove, and holding for a person what they do
not prove. What does not: changing either service; recovery only reads them. It may be run again at any time.

    sales with our reference          proof: entered as confirmed lines of kind sale
    sales that are gone               proof, where the job changed: entered as reversed
    users with our mark               proof, if the customer of the mark still has that e-mail: owned again
    a line that a credit names        proof that it was done, not of its amount
    jobs of customers with credits    may have been paid with credits, or have got them back, without a trace: held
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import polars as pl

from pipeline.domain import tables
from pipeline.domain.money import recovery
from pipeline.domain.money.lookup import compared
from pipeline.domain.money.references import KIND_LETTERS, code_of
from pipeline.domain.money.reversals import live
from pipeline.domain.money.sharing import shared
from pipeline.domain.rules import SiteRules
from pipeline.errors import MissingError, UnsafeError
from pipeline.services.nexudus import records
from pipeline.services.nexudus.wire import moment
from pipeline.services.printing import JobBatch
from pipeline.site import Site
from pipeline.steps.read import news
from pipeline.store import jobs, ledger, ownership, stops
from pipeline.store.lines import lines_in, lines_of_site, never_sent, products_of
from pipeline.store.sql import Connection, read
from pipeline.words import counted

MARGIN = timedelta(days=1)
"""A sale is made after charging began; the clocks of the servers may differ by this much."""

CREDIT_KINDS = ("credit", "undo_credit")

Row = dict[str, Any]


@dataclass(frozen=True)
class Evidence:
    """What the two services hold, all of it read before anything is entered.

    Attributes:
        sales: `services.nexudus.records.SALES` with sold_at (UTC): the sales with a reference of the site.
        gone: references of sales that this ledger has as made, and that Nexudus says do not exist.
        grants: NexudusCredits and email_key: the printing credits that there are, or were in this warehouse.
        sharing: email_key, payer_id: whose credits an e-mail may use as a member of a team.
        jobs: the log since `charge_from`.
        users: ownership events for the users that carry our mark and whose customer proves it.
        refused: the users that carry it without that proof, and why.
    """

    sales: pl.DataFrame
    gone: list[str]
    grants: pl.DataFrame
    sharing: pl.DataFrame
    jobs: JobBatch
    users: list[ownership.Event]
    refused: list[str]


def recover_site(site: Site, operator: str) -> list[str]:
    """Rebuild what can be proved for one site; the caller holds the lock of the site.

    Args:
        site: the site.
        operator: who asked for it.

    Returns:
        What was done and what a person has to look at, in sentences.

    Raises:
        UnsafeError: Nexudus holds two sales with one reference.
        PrintbridgeError: a service could not be read completely; nothing was entered.
    """
    now = site.clock()
    evidence = _evidence(site, now)
    said, doubtful = site.store.commit(lambda con: _entered(con, site, evidence, operator, now))
    if doubtful:
        said.append(
            f"Next: look at `printbridge held list`, decide, then run `printbridge resume {site.name} charges`."
        )
    return said


def _entered(con: Connection, site: Site, evidence: Evidence, operator: str, now: datetime) -> tuple[list[str], int]:
    """Enter all that was found in one transaction, so that a site is recovered whole or not at all (docs/adr/0012)."""
    name = site.key
    known = set(ownership.owned(con, name)["username"])
    ownership.record(con, name, [event for event in evidence.users if event["username"] not in known], now)
    jobs.append(con, news(con, site, evidence.jobs, now))
    every, mover = jobs.every(con, name), site.mover("recover", operator)
    entry = Entry(con, site.rules, every, ownership.names(con, name), mover, evidence.sharing)
    restored = stops.unrecovered(con, name)
    strange = entry.strange(evidence.grants, [code_of(each.rules) for each in site.sites])
    entered = entry.sales(evidence.sales, evidence.gone)
    missing = restored or entered or strange or any(event["username"] not in known for event in evidence.users)
    # Without write-back Nexudus' numbers hold no use, so deciding the jobs again restores what was lost.
    on_ledger = site.settings.credit_writeback == "ledger"
    doubtful = entry.credits_(evidence.grants, now) if missing and not on_ledger and site.rules.takes_credits else 0
    stops.note_recovered(con, name, now)
    said = _said(evidence, entered, doubtful)
    if doubtful:
        reason = "recovered: " + " ".join(said).rstrip(".")
        stops.record(con, name, "charges", state="stopped", reason=reason, at=now)
    return said, doubtful


def _said(evidence: Evidence, entered: int, doubtful: int) -> list[str]:
    cents = evidence.sales["quantity"].sum()
    said = [
        f"Nexudus holds {counted(evidence.sales.height, 'sale')} with our references ({cents} cents);"
        f" missing here, and entered as confirmed now: {entered}.",
        f"PaperCut users with our mark and the e-mail of their customer: {len(evidence.users)}; they are ours.",
        *(f"Not taken over: {sentence}." for sentence in evidence.refused),
    ]
    if doubtful:
        said.append(f"Not proved, because printing credits may have paid: {counted(doubtful, 'charge')}, now held.")
    return said


# --- what the services hold -------------------------------------------------------------------------------------------


def _evidence(site: Site, now: datetime) -> Evidence:
    rules = site.rules
    with site.store.connect() as con:
        lines, before = lines_of_site(con, rules.name), read(con, "nexudus_credits")
    listed = [
        record
        for id_ in rules.credit_ids
        for record in site.nexudus.records("coworkerextraservices", CoworkerExtraService_ExtraService=id_)
    ]
    now_there = records.credits_of(listed, moment, now)
    were = before.filter(pl.col("extra_service_id").is_in(rules.credit_ids)).with_columns(
        last_use=pl.lit(None, pl.String)
    )
    grants = pl.concat([now_there, were.join(now_there, on="credit_id", how="anti")])
    ids = grants["coworker_id"].unique().sort().to_list()
    people = records.customers(site.nexudus.batch("coworkers", ids), site.digest, moment, now)
    grants = grants.join(people.select("coworker_id", "email_key"), on="coworker_id", how="left")
    logged = site.jobs.reread(rules.charge_from)
    sales = _sales(site)
    return Evidence(sales, _gone(site, lines, sales), grants, _sharing(site, now), logged, *_users(site, now))


def _sharing(site: Site, now: datetime) -> pl.DataFrame:
    """Whose credits each e-mail may use as a member of a team by now; of former times nothing is known."""
    listed = site.nexudus.records("teams", needs=records.TEAM_FIELDS) if site.rules.shares_credits else []
    teams = records.read_teams(listed, moment, now).frame
    ids = {int(each) for text in teams["members"] for each in text.split(",") if each} | {*teams["payer_id"]} - {None}
    people = records.customers(site.nexudus.batch("coworkers", sorted(ids)), site.digest, moment, now)
    found = shared(teams, people).join(people.select("coworker_id", "email_key"), on="coworker_id")
    return found.select("email_key", "payer_id").drop_nulls()


def _gone(site: Site, lines: pl.DataFrame, sales: pl.DataFrame) -> list[str]:
    """The sale lines that are done here, and whose sale is neither listed nor found by its id."""
    done = live(lines).filter(pl.col("state").is_in(["confirmed", "invoiced"]), kind="sale")
    unlisted = done.drop_nulls("remote_id").filter(~pl.col("remote_id").is_in(sales["remote_id"].to_list()))
    gone: list[str] = []
    for ref, remote_id in unlisted.select("ref", "remote_id").iter_rows():
        try:
            site.nexudus.record("coworkerproducts", remote_id)
        except MissingError:
            gone.append(ref)
    return gone


def _sales(site: Site) -> pl.DataFrame:
    """Every sale in Nexudus with a reference of this site, with the time it was sold; one per reference.

    Raises:
        UnsafeError: two sales have the same reference.
    """
    rules, listed = site.rules, list[Row]()
    with site.store.connect() as con:
        products = products_of(con, site.key, rules.charge_product_id)
    for product in products:
        listed += site.nexudus.records(
            "coworkerproducts",
            CoworkerProduct_Product=product,
            from_CoworkerProduct_CreatedOn=rules.charge_from - MARGIN,
        )
    made_of = [(each.get("Id"), each.get("ProductId")) for each in listed]
    ours = (
        records.sales(listed)
        .join(
            pl.DataFrame(made_of, schema={"remote_id": pl.Int64, "product_id": pl.Int64}, orient="row"),
            on="remote_id",
            how="left",
        )
        .filter((pl.col("ref").str.slice(3, 4) == code_of(rules) + KIND_LETTERS["sale"]).fill_null(value=False))
    )
    twice = ours.filter(pl.col("ref").is_duplicated()).sort("ref")
    if twice.height:
        ids = ", ".join(str(remote_id) for remote_id in twice["remote_id"])
        raise UnsafeError(
            f"Nexudus holds more than one sale with the reference {twice['ref'][0]} (sales {ids}); nothing was entered",
            "delete all but one of each reference in Nexudus, then recover again",
        )
    return ours


def _users(site: Site, now: datetime) -> tuple[list[ownership.Event], list[str]]:
    """Ownership events for the users that carry our mark, and why others that carry it are not taken over."""
    nobody = tables.empty("print_users")
    every = site.printing.users(nobody, lambda _: (), now).frame.filter("marked")
    named = pl.col("marked_coworker_id").is_not_null()
    marked = every.filter(named)
    ids = sorted(marked["marked_coworker_id"].unique().to_list())
    people = records.customers(site.nexudus.batch("coworkers", ids), site.digest, moment, now)
    found = marked.select("username", "internal", pl.col("email"), coworker_id="marked_coworker_id").join(
        people.select("coworker_id", "email_key", "free", "pay", "archived"), on="coworker_id", how="left"
    )
    events: list[ownership.Event] = []
    refused = [
        f"user {name} has our mark, which names nobody in {site.printing.title}: `printbridge adopt` takes it back"
        for name in every.filter(~named)["username"].sort()
    ]
    for row in found.sort("username").iter_rows(named=True):
        why = _refusal(row)
        if why:
            refused.append(f"user {row['username']} with the mark of customer {row['coworker_id']}: {why}")
            continue
        access = "free" if row["free"] else "pay" if row["pay"] else "credits"
        events.append({
            "username": row["username"], "state": "owned", "coworker_id": row["coworker_id"],
            "email_key": row["email_key"], "access": access, "reason": "recovered by its mark",
        })  # fmt: skip
    return events, refused


def _refusal(row: Row) -> str | None:
    if not row["internal"]:
        return "it is not an internal user"
    if row["email_key"] is None:
        return "there is no such customer in Nexudus, or the customer has no e-mail"
    if row["email"].strip().casefold() != row["email_key"]:
        return "its e-mail in PaperCut is not that of the customer"
    return None


# --- what is entered --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Entry:
    """Entering lines into the ledger, in one transaction. Lines that the ledger has are left as they are.

    Attributes:
        con: a connection inside a transaction.
        rules: the choices of the site.
        jobs: PrintJobs, the latest revision of each job.
        names: which customer a user name stood for (`ownership.names`).
        mover: who enters.
        sharing: as in `Evidence`.
    """

    con: Connection
    rules: SiteRules
    jobs: pl.DataFrame
    names: pl.DataFrame
    mover: ledger.Mover
    sharing: pl.DataFrame

    def strange(self, grants: pl.DataFrame, codes: list[str]) -> bool:
        """Whether a credit names a line of one of our sites that this warehouse never finished."""
        ours = grants.filter(pl.col("last_use").str.slice(3, 3).is_in(codes))["last_use"].to_list()
        return bool(never_sent(self.con, ours))

    def sales(self, sales: pl.DataFrame, gone: list[str]) -> int:
        """Sales as confirmed lines, and those that were deleted since as reversed; how many sales were missing."""
        new = sales.filter(~pl.col("ref").is_in(self._known()["ref"].to_list()))
        self._enter(pl.DataFrame([self._sale(sale) for sale in new.iter_rows(named=True)], schema=_COLUMNS))
        waiting = lines_in(self.con, self.rules.name, "priced", "held").filter(kind="sale")
        found = compared(waiting, sales).filter(verdict="found")
        moves = [(row["ref"], row["remote_id"], "recovered from Nexudus by its reference") for row in found.to_dicts()]
        ledger.move(self.con, ledger.moves_of(moves), "confirmed", self.mover)
        self._enter(recovery.reversed_sales(self._site(tables.empty("nexudus_credits"), self.mover.at), gone))
        return new.height

    def credits_(self, grants: pl.DataFrame, now: datetime) -> int:
        """What credits may have done: lines that a credit names are done, everything else is held; how many are."""
        mine = lines_in(self.con, self.rules.name, "priced", "sending", "unknown")
        mine = mine.filter(pl.col("kind").is_in(CREDIT_KINDS))
        last = recovery.last_lines(grants, code_of(self.rules))
        done = mine.filter(pl.col("ref").is_in(last["ref"].implode()))
        ledger.move(
            self.con, done.select("ref", detail=pl.lit("recovered: the credit names it")), "confirmed", self.mover
        )
        open_ = mine.join(done, on="ref", how="anti")
        detail = pl.format(recovery.UNSETTLED.replace("{credit_id}", "{}"), "credit_id")
        ledger.move(self.con, open_.select("ref", detail=detail), "held", self.mover)
        return open_.height + self._enter(recovery.unproven(self._site(grants, now)))

    def _site(self, grants: pl.DataFrame, now: datetime) -> recovery.Site:
        return recovery.Site(self.rules, now, self.jobs, self.names, grants, self._known(), self.sharing)

    def _known(self) -> pl.DataFrame:
        return lines_of_site(self.con, self.rules.name)

    def _enter(self, lines: pl.DataFrame) -> int:
        known = self._known().select("ref")
        return ledger.enter(
            self.con, tables.checked("print_charges", lines.join(known, on="ref", how="anti")), self.mover
        )

    def _sale(self, sale: Row) -> Row:
        """A sale in Nexudus as a line, with what the log row of its job and the owner of its user name say.

        Its revision is older than any: if the job does not cost this any more, the next run corrects it.
        """
        padded = sale["ref"][7:18]  # a reference fills the number of a job up with zeros
        rows = self.jobs.filter(pl.col("job_id").str.zfill(len(padded)) == padded)
        job: Row = rows.row(0, named=True) if rows.height else {"job_id": padded.lstrip("0"), "username": ""}
        owner = self.names.filter(username=job["username"])
        return {
            "site": self.rules.name, "ref": sale["ref"], "job_id": job["job_id"], "revision": -1, "kind": "sale",
            "seq": int(sale["ref"][18], 36), "printed_at": job.get("printed_at", sale["sold_at"]),
            "username": job["username"], "email_key": owner["email_key"][0] if owner.height else None,
            "coworker_id": sale["coworker_id"], "credit_id": None, "credit_coworker_id": None,
            "product_id": sale["product_id"],
            "amount_cents": sale["quantity"], "undoes": None,
            "state": "priced", "rule": recovery.RULE, "reason": None,
        }  # fmt: skip


_COLUMNS = tables.columns("print_charges")
