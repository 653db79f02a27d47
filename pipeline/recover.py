"""Recovery: the ledger of a lost or restored warehouse, rebuilt from what Nexudus and PaperCut hold.

What belongs here: finding our traces in both services, entering what they prove, and holding for a person what they do
not prove. What does not: changing either service; recovery only reads them. It may be run again at any time.

    sales with our reference          proof: entered as confirmed lines of kind sale
    users with our mark               proof, if the customer of the mark still has that e-mail: owned again
    a credit with our reference       the use is in its number already; the amount of the line is not known: held
    jobs of customers with credits    may have been paid with credits, which leave no other trace: held
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import polars as pl

from pipeline import ledger, ownership, safety, warehouse
from pipeline.clients.nexudus import moment
from pipeline.domain import records, schemas
from pipeline.domain.charges import attributed, counts
from pipeline.domain.jobs import revised
from pipeline.domain.lookup import compared
from pipeline.domain.references import KIND_LETTERS, found_in, reference, site_code
from pipeline.domain.rules import SiteRules
from pipeline.errors import UnsafeError
from pipeline.findings import counted
from pipeline.joblogs.database import PaperCutDatabase
from pipeline.resources import Bridge
from pipeline.warehouse import Connection

MARGIN = timedelta(days=1)
"""A sale is made after charging began; the clocks of the servers may differ by this much."""

RULE = "recovered"
UNPROVEN = (
    "recovered: the job may have been paid with printing credits before the warehouse was lost, which Nexudus does not"
    " show. What to do: void the line if it was (compare the customer's credits in Nexudus), retry it to charge it"
)
MARKED = (
    "recovered: credit {credit_id} holds this reference, so the use is in its number already; the amount is not known."
    " What to do: confirm the line once the credit's history in Nexudus shows the use, or void it"
)

CREDIT_KINDS = ("credit", "undo_credit")
KINDS = {letter: kind for kind, letter in KIND_LETTERS.items()}

Row = dict[str, Any]


@dataclass(frozen=True)
class Evidence:
    """What the two services hold, all of it read before anything is entered.

    Attributes:
        sales: `records.SALES` with sold_at (UTC): the sales with a reference of the site.
        credits_: every granted printing credit, as Nexudus has it.
        holders: the e-mail keys of the customers who have one.
        jobs: the log since `charge_from`, `JOB_COLUMNS`.
        users: ownership events for the users that carry our mark and whose customer proves it.
        refused: the users that carry it without that proof, and why.
    """

    sales: pl.DataFrame
    credits_: list[Row]
    holders: list[str]
    jobs: pl.DataFrame
    users: list[Row]
    refused: list[str]


def recover_site(bridge: Bridge, site: str, operator: str) -> list[str]:
    """Rebuild what can be proved for one site; the caller holds the lock of the site.

    Args:
        bridge: the configured bridge.
        site: the site.
        operator: who asked for it.

    Returns:
        What was done and what a person has to look at, in sentences.

    Raises:
        UnsafeError: Nexudus holds two sales with one reference.
        BridgeError: a service could not be read completely; nothing was entered.
    """
    rules, now = bridge.settings.site(site).rules(site), bridge.clock()
    evidence = _evidence(bridge, rules, now)
    with bridge.warehouse.transaction() as con:
        known = set(ownership.owned(con, site)["username"])
        ownership.record(con, site, [event for event in evidence.users if event["username"] not in known], now)
        _store_jobs(con, site, evidence.jobs, now)
        entry = Entry(con, rules, evidence.jobs, ownership.names(con, site), bridge.mover("recover", operator))
        entered = entry.sales(evidence.sales)
        marked = entry.marked(evidence.credits_) + entry.unsent(evidence.credits_)
        missing = entered or marked or any(event["username"] not in known for event in evidence.users)
        # Without write-back Nexudus' numbers hold no use, so deciding the jobs again restores what was lost.
        on_ledger = bridge.settings.site(site).credit_writeback == "ledger"
        doubtful = marked + (entry.unproven(evidence.holders, now) if missing and not on_ledger else 0)
        said = _said(evidence, entered, doubtful)
        state = "stopped" if doubtful else "open"
        safety.record(con, site, "charges", state=state, reason="recovered: " + " ".join(said).rstrip("."), at=now)
    if doubtful:
        said.append(f"Next: look at `printbridge held list`, decide, then run `printbridge resume {site} charges`.")
    return said


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


def _evidence(bridge: Bridge, rules: SiteRules, now: datetime) -> Evidence:
    credits_ = [
        record
        for id_ in rules.credit_ids
        for record in bridge.nexudus.records("coworkerextraservices", CoworkerExtraService_ExtraService=id_)
    ]
    ids = sorted({credit["CoworkerId"] for credit in credits_})
    holders = records.customers(bridge.nexudus.batch("coworkers", ids), bridge.digest, moment, now)["email_key"]
    jobs = bridge.jobs(rules.name).reread(rules.charge_from).jobs.with_columns(site=pl.lit(rules.name))
    users, refused = _users(bridge, rules.name, now)
    return Evidence(_sales(bridge, rules), credits_, holders.drop_nulls().to_list(), jobs, users, refused)


def _sales(bridge: Bridge, rules: SiteRules) -> pl.DataFrame:
    """Every sale in Nexudus with a reference of this site, with the time it was sold; one per reference.

    Raises:
        UnsafeError: two sales have the same reference.
    """
    listed: list[Row] = []
    if rules.charge_product_id:
        listed = bridge.nexudus.records(
            "coworkerproducts",
            CoworkerProduct_Product=rules.charge_product_id,
            from_CoworkerProduct_CreatedOn=rules.charge_from - MARGIN,
        )
    sold = pl.Series(
        "sold_at", [moment(each.get("SaleDate") or each["CreatedOn"]) for each in listed], pl.Datetime("us", "UTC")
    )
    ours = (
        records.sales(listed)
        .with_columns(sold)
        .filter((pl.col("ref").str.slice(3, 4) == site_code(rules.name) + KIND_LETTERS["sale"]).fill_null(value=False))
    )
    twice = ours.filter(pl.col("ref").is_duplicated()).sort("ref")
    if twice.height:
        ids = ", ".join(str(remote_id) for remote_id in twice["remote_id"])
        raise UnsafeError(
            f"Nexudus holds more than one sale with the reference {twice['ref'][0]} (sales {ids}); nothing was entered",
            "delete all but one of each reference in Nexudus, then recover again",
        )
    return ours


def _users(bridge: Bridge, site: str, now: datetime) -> tuple[list[Row], list[str]]:
    """Ownership events for the users that carry our mark, and why others that carry it are not taken over."""
    source = bridge.jobs(site)
    if isinstance(source, PaperCutDatabase):
        rows = source.users()
    else:
        client = bridge.papercut(site)
        names = client.users()
        rows = records.user_rows(names, [client.properties(name, records.USER_PROPERTIES) for name in names])
    marked = records.papercut_users_of(rows, site, bridge.digest, now).filter("marked")
    ids = sorted(marked["marked_coworker_id"].unique().to_list())
    people = records.customers(bridge.nexudus.batch("coworkers", ids), bridge.digest, moment, now)
    found = marked.select("username", "internal", pl.col("email"), coworker_id="marked_coworker_id").join(
        people.select("coworker_id", "email_key", "free", "pay", "archived"), on="coworker_id", how="left"
    )
    events: list[Row] = []
    refused: list[str] = []
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


def _store_jobs(con: Connection, site: str, jobs: pl.DataFrame, now: datetime) -> None:
    """Keep the log rows, so that recovered lines can be compared with their job from now on."""
    stored = warehouse.query(
        con,
        "SELECT * FROM papercut_print_jobs WHERE site = $site"
        " QUALIFY revision = max(revision) OVER (PARTITION BY job_id)",
        site=site,
    )
    warehouse.insert(con, "papercut_print_jobs", revised(jobs, stored, site, now))


@dataclass(frozen=True)
class Entry:
    """Entering lines into the ledger, in one transaction. Lines that the ledger has are left as they are.

    Attributes:
        con: a connection inside a transaction.
        rules: the choices of the site.
        jobs: the log rows.
        names: which customer a user name stood for (`ownership.names`).
        mover: who enters.
    """

    con: Connection
    rules: SiteRules
    jobs: pl.DataFrame
    names: pl.DataFrame
    mover: ledger.Mover

    def sales(self, sales: pl.DataFrame) -> int:
        """Sales as confirmed lines; how many were missing."""
        new = sales.filter(~pl.col("ref").is_in(self._known()["ref"].to_list()))
        self._enter([
            self._line(sale["ref"], sale["sold_at"], coworker_id=sale["coworker_id"], amount_cents=sale["quantity"])
            for sale in new.iter_rows(named=True)
        ])  # fmt: skip
        priced = ledger.lines_in(self.con, self.rules.name, "priced").filter(kind="sale")
        found = compared(priced, sales).filter(verdict="found")
        moves = [(row["ref"], row["remote_id"], "recovered from Nexudus by its reference") for row in found.to_dicts()]
        ledger.move(self.con, ledger.moves_of(moves), "confirmed", self.mover)
        return new.height

    def marked(self, credits_: list[Row]) -> int:
        """References in the notes of credits: the use happened, so the line is entered, and held for its amount."""
        known, code = set(self._known()["ref"]), site_code(self.rules.name)
        rows: list[Row] = []
        for credit in credits_:
            ref = found_in(credit.get("Notes"))
            if ref is None or ref in known or ref[3:6] != code or KINDS[ref[6]] not in CREDIT_KINDS:
                continue
            reason = MARKED.format(credit_id=credit["Id"])
            owner = {"coworker_id": credit["CoworkerId"], "credit_id": credit["Id"]}
            rows.append(self._line(ref, moment(credit["UpdatedOn"]), state="held", reason=reason, **owner))
        self._enter(rows)
        return len(rows)

    def unsent(self, credits_: list[Row]) -> int:
        """Where a credit names a line that was never written back here: that line is done, the others are held."""
        priced = ledger.lines_in(self.con, self.rules.name, "priced").filter(pl.col("kind").is_in(CREDIT_KINDS))
        named: dict[str | None, int] = {found_in(credit.get("Notes")): credit["Id"] for credit in credits_}
        done = priced.filter(pl.col("ref").is_in([ref for ref in named if ref]))
        if not done.height:
            return 0
        moves: list[tuple[str, int | None, str]] = [
            (ref, named[ref], "recovered: the credit names it") for ref in done["ref"].to_list()
        ]
        ledger.move(self.con, ledger.moves_of(moves), "confirmed", self.mover)
        others = priced.join(done, on="ref", how="anti").select("ref", detail=pl.lit(UNPROVEN))
        ledger.move(self.con, others, "held", self.mover)
        return max(1, others.height)

    def unproven(self, holders: list[str], now: datetime) -> int:
        """Mature jobs without a line whose customer has, or had, printing credits: a person decides each of them."""
        if not self.rules.takes_credits:
            return 0
        due = pl.col("printed_at").is_between(
            self.rules.charge_from, now - timedelta(minutes=self.rules.maturity_minutes)
        )
        doubtful = attributed(self.jobs.filter(counts(), due, pl.col("cost") > 0), self.names).filter(
            pl.col("email_key").is_in(holders), ~pl.col("job_id").is_in(self._known()["job_id"].to_list())
        )
        rows: list[Row] = []
        for job in doubtful.sort("printed_at", "job_id").iter_rows(named=True):
            ref = reference(self.rules.name, job["job_id"], "sale", 0)
            who = {"coworker_id": job["coworker_id"], "amount_cents": int(job["cost"].to_integral_value())}
            rows.append(self._line(ref, job["printed_at"], state="held", reason=UNPROVEN, **who))
        self._enter(rows)
        return len(rows)

    def _known(self) -> pl.DataFrame:
        return ledger.lines(self.con, self.rules.name)

    def _enter(self, rows: list[Row]) -> None:
        frame = pl.DataFrame(rows, schema=schemas.columns("print_charges"))
        ledger.enter(self.con, schemas.checked("print_charges", frame), self.mover)

    def _line(self, ref: str, happened_at: datetime, **fields: Any) -> Row:
        """A line of a reference, with what the job's log row and the owner of its user name say, if they are there."""
        padded = ref[7:18]  # a reference fills the number of a job up with zeros
        rows = self.jobs.filter(pl.col("job_id").str.zfill(len(padded)) == padded)
        job: Row = rows.row(0, named=True) if rows.height else {"job_id": padded.lstrip("0"), "username": ""}
        owner = self.names.filter(username=job["username"])
        return {
            "site": self.rules.name, "ref": ref, "job_id": job["job_id"], "revision": 0, "kind": KINDS[ref[6]],
            "seq": int(ref[18], 36), "printed_at": job.get("printed_at", happened_at), "username": job["username"],
            "email_key": owner["email_key"][0] if owner.height else None, "coworker_id": None, "credit_id": None,
            "amount_cents": 0, "undoes": None, "state": "priced", "rule": RULE, "reason": None, **fields,
        }  # fmt: skip
