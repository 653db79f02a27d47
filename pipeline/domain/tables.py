"""The contract of every table: columns, units, allowed values.

What belongs here: one Pandera model per table and the one function that enforces it. What does not: how a table is
made or stored. The models also give the table schema and the column descriptions that operators read in the UI.

Units: money and credits are whole cents (1 credit = 1 cent, `rules.md` S12), times are UTC, days are the site's own.
"""

# No `from __future__ import annotations`: Pandera reads the annotations at run time.
from functools import cache
from typing import Annotated, Any

import pandera.polars as pa
import polars as pl

from pipeline.domain.people.reasons import HOLDS, REASONS

Time = Annotated[pl.Datetime, "us", "UTC"]
Exact = Annotated[pl.Decimal, 18, 6]

KINDS = ("sale", "credit", "waive", "undo_sale", "undo_credit", "undo_waive")
STATES = ("priced", "sending", "confirmed", "invoiced", "held", "void", "unknown")
OUTCOMES = ("done", "failed", "unknown", "held")
ACTIONS = ("create", "update", "rename", "adjust", "remove", "hold")


class _Table(pa.DataFrameModel):
    class Config(pa.DataFrameModel.Config):
        strict = True
        coerce = False


class NexudusCustomers(_Table):
    """Every customer account of the Nexudus account, as last read."""

    coworker_id: pl.Int64 = pa.Field(unique=True, description="Nexudus customer id")
    email: pl.String = pa.Field(nullable=True, description="e-mail as Nexudus has it; becomes the print user name")
    email_key: pl.String = pa.Field(nullable=True, description="e-mail in NFKC form, case-folded and trimmed")
    full_name: pl.String = pa.Field(description="name shown in PaperCut")
    kind: pl.String = pa.Field(isin=["individual", "company"], description="individual or company account")
    active: pl.Boolean = pa.Field(description="false: suspended")
    archived: pl.Boolean = pa.Field(description="true: counts as gone")
    member: pl.Boolean = pa.Field(description="has an active contract; otherwise a contact")
    free: pl.Boolean = pa.Field(description="flag Free unlimited printing")
    pay: pl.Boolean = pa.Field(description="flag Unrestricted user in PaperCut")
    ezeep_blue: pl.Boolean = pa.Field(nullable=True, description="flag of ezeep Blue: may print; empty: not told")
    ezeep_blue_free: pl.Boolean = pa.Field(nullable=True, description="flag of ezeep Blue: free; empty: not told")
    ezeep: pl.Boolean = pa.Field(nullable=True, description="flag of the older ezeep: may print; empty: not told")
    ezeep_free: pl.Boolean = pa.Field(nullable=True, description="flag of the older ezeep: free; empty: not told")
    business_id: pl.Int64 = pa.Field(nullable=True, description="home location that invoices the customer")
    pin_digest: pl.String = pa.Field(nullable=True, description="keyed digest of the PIN; the PIN itself is not stored")
    access_card_digest: pl.String = pa.Field(nullable=True, description="keyed digest of the access card number")
    key_fob_digest: pl.String = pa.Field(nullable=True, description="keyed digest of the key fob number")
    team: pl.String = pa.Field(nullable=True, description="teams, for the monthly report")
    company: pl.String = pa.Field(nullable=True, description="company, for the monthly report")
    registered_at: Time = pa.Field(nullable=True, description="registration time, UTC; decides the oldest account")
    updated_on: Time = pa.Field(description="last change in Nexudus, UTC")
    read_at: Time = pa.Field(description="start of the read that gave this row, UTC")


class NexudusCredits(_Table):
    """Every printing credit of every customer, as last read."""

    credit_id: pl.Int64 = pa.Field(unique=True, description="Nexudus id of the granted credit")
    coworker_id: pl.Int64 = pa.Field(description="customer who holds it")
    business_id: pl.Int64 = pa.Field(nullable=True, description="location that issued it")
    extra_service_id: pl.Int64 = pa.Field(description="the printing credit in the Nexudus inventory")
    total_uses: pl.Int64 = pa.Field(description="granted, in credits (cents)")
    remaining_uses: pl.Int64 = pa.Field(description="left according to Nexudus, in credits (cents)")
    valid_from: Time = pa.Field(nullable=True, description="usable from, UTC; empty: at once")
    expires_at: Time = pa.Field(nullable=True, description="usable before, UTC; empty: never expires")
    last_use: pl.String = pa.Field(nullable=True, description="reference in its Notes: our last use written back")
    updated_on: Time = pa.Field(description="last change in Nexudus, UTC")
    read_at: Time = pa.Field(description="start of the read that gave this row, UTC")


class NexudusTeams(_Table):
    """Every team of the Nexudus account, as last read: who pays for whom, and whether the credits are shared."""

    team_id: pl.Int64 = pa.Field(unique=True, description="Nexudus team id")
    name: pl.String = pa.Field(description="name of the team")
    business_id: pl.Int64 = pa.Field(nullable=True, description="location of the team; it decides nothing")
    payer_id: pl.Int64 = pa.Field(nullable=True, description="paying customer; empty: nothing is shared")
    shares: pl.Boolean = pa.Field(description="the payer's credits are shared with the members")
    combines: pl.Boolean = pa.Field(description="Nexudus pools the members' plan credits in the payer's account")
    members: pl.String = pa.Field(description="customer ids of the members, rising, joined by commas")
    updated_on: Time = pa.Field(description="last change in Nexudus, UTC")
    read_at: Time = pa.Field(description="start of the read that gave this row, UTC")


class PrintUsers(_Table):
    """PaperCut's users as it has them. Card numbers are kept as keyed digests, notes only as our ownership mark."""

    site: pl.String = pa.Field(description="site")
    username: pl.String = pa.Field(unique=True, description="PaperCut user name, lower case")
    full_name: pl.String = pa.Field(description="full name in PaperCut")
    email: pl.String = pa.Field(description="e-mail in PaperCut")
    balance: Exact = pa.Field(description="balance in credits")
    restricted: pl.Boolean = pa.Field(description="cannot print past the balance")
    disabled: pl.Boolean = pa.Field(description="printing is disabled")
    internal: pl.Boolean = pa.Field(description="an internal user, not one from a directory")
    marked: pl.Boolean = pa.Field(description="the notes hold our ownership mark for this site")
    marked_coworker_id: pl.Int64 = pa.Field(nullable=True, description="customer id in the ownership mark")
    card_digest: pl.String = pa.Field(nullable=True, description="keyed digest of the card number; empty: no card")
    remote_id: pl.String = pa.Field(nullable=True, description="id of the user, where the print system has one")
    observed_at: Time = pa.Field(description="start of the read that gave this row, UTC")
    expected: Exact = pa.Field(nullable=True, description="balance that jobs and our changes explain; empty: not known")
    fell_at: Time = pa.Field(nullable=True, description="since when the balance is lower than that, UTC")


class PrintJobs(_Table):
    """Print jobs as PaperCut logged them; a row that changed later stands here again as the next revision."""

    site: pl.String = pa.Field(description="site")
    job_id: pl.String = pa.Field(description="id of the row in PaperCut's log, or the name of the print in files")
    revision: pl.Int64 = pa.Field(ge=0, description="0 as first seen, 1 after the first change, ...")
    printed_at: Time = pa.Field(description="when the job was charged in PaperCut, UTC")
    username: pl.String = pa.Field(description="PaperCut user name, lower case")
    printer: pl.String = pa.Field(description="printer")
    pages: pl.Int64 = pa.Field(description="pages, copies included")
    color_pages: pl.Int64 = pa.Field(description="of these, colour pages")
    copies: pl.Int64 = pa.Field(description="copies")
    duplex: pl.Boolean = pa.Field(description="printed on both sides")
    paper: pl.String = pa.Field(nullable=True, description="paper; empty: the source does not say")
    cost: Exact = pa.Field(nullable=True, description="cost in credits; empty: the source and the prices have none")
    allowed: pl.Boolean = pa.Field(description="false: PaperCut refused the job")
    printed: pl.Boolean = pa.Field(description="false: never left the printer")
    refunded: pl.Boolean = pa.Field(description="refunded in full in PaperCut")
    job_type: pl.String = pa.Field(description="PRINT, COPY, SCAN or FAX")
    shared_account: pl.Boolean = pa.Field(description="charged to a shared account, not to the user")
    twin: pl.String = pa.Field(nullable=True, description="job that nobody can tell this one from; a person decides")
    lacked_by: pl.String = pa.Field(nullable=True, description="later report that lacks this job; a person decides")
    first_seen_at: Time = pa.Field(description="when this revision was first read, UTC")


class PrintAccounts(_Table):
    """One row per e-mail: the preferred customer, the pooled credits, the access, or why there is none."""

    site: pl.String = pa.Field(description="site")
    email_key: pl.String = pa.Field(unique=True, description="e-mail in NFKC form, case-folded; `#<id>` without e-mail")
    email: pl.String = pa.Field(nullable=True, description="e-mail as Nexudus has it")
    coworker_id: pl.Int64 = pa.Field(description="preferred customer (U5); for a left-out e-mail the nearest one")
    full_name: pl.String = pa.Field(description="name of the preferred customer")
    username: pl.String = pa.Field(nullable=True, description="PaperCut user name this e-mail gets; empty: none")
    access: pl.String = pa.Field(isin=["free", "pay", "credits", "none"], description="the way in")
    free: pl.Boolean = pa.Field(description="prints for free, by flag or default")
    pay: pl.Boolean = pa.Field(description="may be charged money, by flag or default")
    restricted: pl.Boolean = pa.Field(description="PaperCut must stop the user at balance 0")
    credits: pl.Int64 = pa.Field(description="pooled valid credits as extracted, less use not yet contained, in cents")
    shared_credits: pl.Int64 = pa.Field(description="of these, what customers who pay for a team share, in cents")
    pin_digest: pl.String = pa.Field(nullable=True, description="keyed digest of the preferred customer's PIN")
    card_digest: pl.String = pa.Field(nullable=True, description="keyed digest of the card the site asks for")
    registered_at: Time = pa.Field(nullable=True, description="registration of the preferred customer, UTC")
    reason: pl.String = pa.Field(nullable=True, isin=list(REASONS), description="why no print user; empty: becomes one")


class PrintCharges(_Table):
    """What each chargeable job costs whom: one row per ledger line, several where a job uses several credits."""

    ref: pl.String = pa.Field(unique=True, description="reference: site, job, kind and sequence, nothing else")
    site: pl.String = pa.Field(description="site")
    job_id: pl.String = pa.Field(description="print job")
    revision: pl.Int64 = pa.Field(description="revision of the job that decided")
    kind: pl.String = pa.Field(
        isin=KINDS, description="sale: money; credit: credits used; waive: free; undo_*: reverse"
    )
    seq: pl.Int64 = pa.Field(ge=0, description="number of the line among those of its kind for this job")
    printed_at: Time = pa.Field(description="when the job was printed, UTC")
    username: pl.String = pa.Field(description="PaperCut user name")
    email_key: pl.String = pa.Field(nullable=True, description="whose job it is")
    coworker_id: pl.Int64 = pa.Field(nullable=True, description="customer who pays")
    credit_id: pl.Int64 = pa.Field(nullable=True, description="credit that is used or given back")
    credit_coworker_id: pl.Int64 = pa.Field(nullable=True, description="customer whose credit it is")
    product_id: pl.Int64 = pa.Field(nullable=True, description="Nexudus product that a sale is made of")
    amount_cents: pl.Int64 = pa.Field(ge=0, description="amount of the line in cents; for undo_* the amount given back")
    undoes: pl.String = pa.Field(nullable=True, description="reference of the line that this one reverses")
    state: pl.String = pa.Field(isin=["priced", "held", "confirmed"], description="state the line enters the ledger in")
    rule: pl.String = pa.Field(description="the rule that decided")
    reason: pl.String = pa.Field(nullable=True, description="for a held line: why, with the numbers")


class UserSyncPlan(_Table):
    """What would change among the print users: one row per user and action."""

    site: pl.String = pa.Field(description="site")
    action: pl.String = pa.Field(isin=ACTIONS, description="adjust: balance only; hold: nothing is done")
    username: pl.String = pa.Field(description="PaperCut user name now (for create: the new one)")
    new_username: pl.String = pa.Field(nullable=True, description="for a rename: the name it becomes")
    coworker_id: pl.Int64 = pa.Field(nullable=True, description="preferred customer")
    email_key: pl.String = pa.Field(nullable=True, description="e-mail key of the account")
    email: pl.String = pa.Field(nullable=True, description="e-mail to set")
    full_name: pl.String = pa.Field(nullable=True, description="name to set")
    access: pl.String = pa.Field(nullable=True, description="the way in: free, pay, credits")
    restricted: pl.Boolean = pa.Field(nullable=True, description="restriction to set")
    balance: Exact = pa.Field(nullable=True, description="balance observed, in credits")
    target: Exact = pa.Field(nullable=True, description="balance wanted, in credits; empty: left alone")
    pin_digest: pl.String = pa.Field(nullable=True, description="keyed digest of the PIN to set")
    card_digest: pl.String = pa.Field(nullable=True, description="keyed digest of the card to set")
    changes: pl.String = pa.Field(description="fields that change, comma separated")
    reason: pl.String = pa.Field(description="why")
    code: pl.String = pa.Field(nullable=True, isin=list(HOLDS), description="for a hold: its kind, see reasons.HOLDS")
    ask: pl.String = pa.Field(nullable=True, description="digest of what is asked and of what was seen instead")
    observed_at: Time = pa.Field(description="when PaperCut's users were observed, UTC")


class PrintUserSync(_Table):
    """What became of each planned change."""

    site: pl.String = pa.Field(description="site")
    plan_id: pl.String = pa.Field(description="digest of the plan")
    action: pl.String = pa.Field(isin=ACTIONS, description="as in the plan")
    username: pl.String = pa.Field(description="PaperCut user name")
    coworker_id: pl.Int64 = pa.Field(nullable=True, description="preferred customer")
    changes: pl.String = pa.Field(description="fields that were to change, comma separated")
    outcome: pl.String = pa.Field(isin=OUTCOMES, description="what happened")
    detail: pl.String = pa.Field(description="what was changed, or why not")
    balance: Exact = pa.Field(nullable=True, description="balance before, where it was to change, in credits")
    target: Exact = pa.Field(nullable=True, description="balance that was asked for, in credits")
    ask: pl.String = pa.Field(nullable=True, description="as in the plan")
    happened_at: Time = pa.Field(description="when, UTC")


class Reconciliation(_Table):
    """One row per job of a day: what PaperCut, the ledger and Nexudus say, in cents; and per credit that is wrong."""

    site: pl.String = pa.Field(description="site")
    day: pl.Date = pa.Field(description="day in the site's time zone")
    job_id: pl.String = pa.Field(description="print job; `credit ID` for a credit")
    printed_cents: pl.Int64 = pa.Field(description="chargeable cost in PaperCut")
    ledger_cents: pl.Int64 = pa.Field(description="credits used + money + waived + held, less reversals")
    sale_cents: pl.Int64 = pa.Field(description="money that the ledger says Nexudus holds")
    nexudus_cents: pl.Int64 = pa.Field(description="money that Nexudus holds under our references")
    explained_cents: pl.Int64 = pa.Field(description="difference that is explained, for example waiting to mature")
    unexplained_cents: pl.Int64 = pa.Field(description="difference nobody can explain; must be 0")
    finding: pl.String = pa.Field(description="ok, or what is wrong, in words")


TABLES: dict[str, type[pa.DataFrameModel]] = {
    "nexudus_customers": NexudusCustomers,
    "nexudus_credits": NexudusCredits,
    "nexudus_teams": NexudusTeams,
    "print_users": PrintUsers,
    "print_jobs": PrintJobs,
    "print_accounts": PrintAccounts,
    "print_charges": PrintCharges,
    "user_sync_plan": UserSyncPlan,
    "print_user_sync": PrintUserSync,
    "reconciliation": Reconciliation,
}


@cache
def columns(table: str) -> pl.Schema:
    """The Polars schema of a table, in order."""
    return pl.Schema({name: column.dtype.type for name, column in TABLES[table].to_schema().columns.items()})


def empty(table: str) -> pl.DataFrame:
    """A frame of the table without rows."""
    return pl.DataFrame(schema=columns(table))


def checked(table: str, frame: pl.DataFrame) -> pl.DataFrame:
    """The frame, with columns in order, once every rule of its contract holds for every row.

    Raises:
        TypeError: a LazyFrame; Pandera would check only its names and types (`stack.md` 4).
        pandera.errors.SchemaErrors: with all failures at once.
    """
    if not isinstance(frame, pl.DataFrame):
        raise TypeError("collect the frame before it is checked")
    ordered = frame.select(columns(table).names())
    if ordered.schema == columns(table) and ordered.select(_holds(table)).item():
        return ordered
    return TABLES[table].validate(ordered, lazy=True)


@cache
def _holds(table: str) -> pl.Expr:
    """Every rule of a contract as one expression; Pandera, which takes a query for each, says what is broken."""
    rules = [pl.lit(value=True)]
    for name, column in TABLES[table].to_schema().columns.items():
        if not column.nullable:
            rules.append(pl.col(name).null_count() == 0)
        if column.unique:
            rules.append(pl.col(name).is_unique().all())
        for check in column.checks or ():
            values: dict[str, Any] = check.statistics or {}
            if check.name == "isin":
                rules.append(pl.col(name).is_in(list(values["allowed_values"])).all())
            elif check.name == "greater_than_or_equal_to":
                rules.append((pl.col(name) >= values["min_value"]).all())
            else:
                rules.append(pl.lit(value=False))  # a rule that only Pandera knows
    return pl.all_horizontal(rules)
