"""Small frames for the domain tests, written as text tables.

A table is a header and one line per row; `-` is an empty value, `y` and `n` are booleans, a time is `11-20T09:30` of
2026 in UTC. Columns that the text leaves out get a default, so that a test shows only what matters to it.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import polars as pl

from pipeline.domain import tables as schemas
from pipeline.domain.money.charges import print_charges
from pipeline.domain.money.history import NO_PAST
from pipeline.domain.money.sharing import sharing_news
from pipeline.domain.names import email_key
from pipeline.domain.people.accounts import print_accounts
from pipeline.domain.rules import SiteRules

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
HOME = 101
CREDIT = 7
TIME = pl.Datetime("us", "UTC")
START = datetime(2026, 1, 1, tzinfo=UTC)

NAMES = pl.Schema({"username": pl.String, "owned_from": TIME, "coworker_id": pl.Int64, "email_key": pl.String})
USES = pl.Schema({"credit_id": pl.Int64, "open_cents": pl.Int64})
LEDGER = pl.Schema({**schemas.columns("print_charges"), "remote_id": pl.Int64})


def rules(pricing_model: str = "credits_and_pay_per_print", **choices: Any) -> SiteRules:
    """A site that charges from 1 January 2026."""
    base: dict[str, Any] = {
        "name": "london", "business_id": HOME, "timezone": "Europe/London", "pricing_model": pricing_model,
        "charge_from": START, "charge_product_id": 9, "credit_ids": (CREDIT,),
    }  # fmt: skip
    return SiteRules(**{**base, **choices})


def moment(text: str) -> datetime:
    """`11-20T09:30` -> that minute of 2026, UTC."""
    return datetime.strptime(f"2026-{text}", "%Y-%m-%dT%H:%M").replace(tzinfo=UTC)


def table(schema: pl.Schema, text: str, **defaults: Any) -> pl.DataFrame:
    """The rows of a text table; a default may be a function of the row."""
    lines = [line.split() for line in text.strip().splitlines()]
    header, body = lines[0], lines[1:]
    unknown = set(header) - set(schema)
    assert not unknown, f"no such column: {unknown}"
    rows: list[dict[str, Any]] = []
    for cells in body:
        assert len(cells) == len(header), f"{len(cells)} cells below {len(header)} headings: {cells}"
        row = {name: _value(schema[name], cell) for name, cell in zip(header, cells, strict=True)}
        for name in schema.names():
            if name not in row:
                default = defaults.get(name)
                row[name] = default(row) if callable(default) else default
        rows.append(row)
    return pl.DataFrame(rows, schema=schema, orient="row")


def customers(text: str) -> pl.DataFrame:
    """NexudusCustomers: active individual members of this site, each with a PIN, registered in order of id."""
    frame = table(
        schemas.columns("nexudus_customers"),
        text,
        email=lambda row: f"c{row['coworker_id']}@example.com",
        full_name=lambda row: f"Customer {row['coworker_id']}",
        kind="individual", active=True, archived=False, member=True, free=False, pay=False, business_id=HOME,
        pin_digest=lambda row: f"pin{row['coworker_id']}",
        access_card_digest=lambda row: f"card{row['coworker_id']}",
        key_fob_digest=lambda row: f"fob{row['coworker_id']}",
        registered_at=lambda row: START.replace(minute=row["coworker_id"] % 60),
        updated_on=NOW, read_at=NOW,
    )  # fmt: skip
    return frame.with_columns(email_key=email_key("email"))


def grants(text: str = "credit_id") -> pl.DataFrame:
    """NexudusCredits of the site's credit, without limit in time."""
    return table(
        schemas.columns("nexudus_credits"),
        text,
        coworker_id=1, business_id=HOME, extra_service_id=CREDIT, remaining_uses=45,
        total_uses=lambda row: row.get("remaining_uses", 45), updated_on=NOW, read_at=NOW,
    )  # fmt: skip


def teams(text: str = "team_id") -> pl.DataFrame:
    """NexudusTeams: sharing, of members 1 and 2, paid by 9; `members` with commas."""
    return table(
        schemas.columns("nexudus_teams"),
        text,
        name="Blue", business_id=HOME, payer_id=9, shares=True, combines=False, members="1,2", updated_on=NOW,
        read_at=NOW,
    )  # fmt: skip


def jobs(text: str) -> pl.DataFrame:
    """PrintJobs: one printed page each, by c1@example.com, in the morning of 20 November."""
    return table(
        schemas.columns("print_jobs"),
        text,
        site="london", revision=0, printed_at=moment("11-20T09:00"), username="c1@example.com", printer="hall",
        pages=10, color_pages=0, copies=1, duplex=False, cost=Decimal(50), allowed=True, printed=True, refunded=False,
        job_type="PRINT", shared_account=False, first_seen_at=NOW,
    )  # fmt: skip


def mapping(text: str) -> pl.DataFrame:
    """The mapping of user names, ours since 1 January 2026."""
    return table(NAMES, text, owned_from=START, coworker_id=1, email_key=lambda row: row["username"])


def names_of(customers: pl.DataFrame) -> pl.DataFrame:
    """The mapping in which every customer with an e-mail has it as user name."""
    return customers.filter(pl.col("email_key").is_not_null()).select(
        pl.col("email_key").alias("username"), pl.lit(START, TIME).alias("owned_from"), "coworker_id", "email_key"
    )


def uses(text: str = "credit_id open_cents") -> pl.DataFrame:
    """Credit use in our ledger that the extract does not contain."""
    return table(USES, text)


def ledger(charges: pl.DataFrame | None = None, **states: str) -> pl.DataFrame:
    """The ledger after charges were entered; `states` moves the lines of a kind: `ledger(lines, sale="confirmed")`."""
    if charges is None:
        return pl.DataFrame(schema=LEDGER)
    moved = pl.col("state")
    for kind, state in states.items():
        moved = pl.when(pl.col("kind") == kind).then(pl.lit(state)).otherwise(moved)
    return charges.with_columns(state=moved, remote_id=pl.lit(None, pl.Int64)).select(LEDGER.names())


def shuffled(frame: pl.DataFrame, seed: int = 1) -> pl.DataFrame:
    """The same rows in another order."""
    return frame.sample(fraction=1, shuffle=True, seed=seed)


@dataclass
class World:
    """Everything that charging reads, with accounts made by the real rules."""

    customers: pl.DataFrame
    jobs: pl.DataFrame
    grants: pl.DataFrame = field(default_factory=grants)
    uses: pl.DataFrame = field(default_factory=uses)
    names: pl.DataFrame | None = None
    rules: SiteRules = field(default_factory=rules)
    ledger: pl.DataFrame = field(default_factory=ledger)
    teams: pl.DataFrame = field(default_factory=teams)

    def charge(self, now: datetime = NOW, *, seed: int | None = None) -> pl.DataFrame:
        """The lines of one run, held to their contract; with a seed, all rows come in another order."""
        names = names_of(self.customers) if self.names is None else self.names
        accounts = print_accounts(self.customers, self.grants, self.uses, self.rules, now, teams=self.teams)
        tables = {
            "jobs": self.jobs, "accounts": accounts, "customers": self.customers, "names": names,
            "grants": self.grants, "uses": self.uses, "ledger": self.ledger,
        }  # fmt: skip
        if seed is not None:
            tables = {name: shuffled(table, seed) for name, table in tables.items()}
        past = NO_PAST._replace(sharing=sharing_news(self.teams, self.customers, NO_PAST.sharing, None, now))
        return schemas.checked("print_charges", print_charges(**tables, rules=self.rules, now=now, past=past))

    def enter(self, lines: pl.DataFrame, **states: str) -> World:
        """The world after lines were entered in the ledger (see `ledger`)."""
        return replace(self, ledger=pl.concat([self.ledger, ledger(lines, **states)]))

    def but(self, **changes: Any) -> World:
        """The same world with something changed."""
        return replace(self, **changes)


def short(lines: pl.DataFrame) -> list[tuple[Any, ...]]:
    """(job, kind, seq, cents, state, rule) of each line, by job and sequence."""
    return lines.sort("job_id", "kind", "seq").select("job_id", "kind", "seq", "amount_cents", "state", "rule").rows()


def _value(dtype: pl.DataType, cell: str) -> Any:
    if cell == "-":
        return None
    if dtype == pl.Boolean:
        return {"y": True, "n": False}[cell]
    if dtype == pl.Int64:
        return int(cell)
    if dtype == pl.Datetime:
        return moment(cell)
    return Decimal(cell) if dtype == pl.Decimal else cell
