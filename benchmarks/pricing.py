"""Pricing a month of a large operator in one process: prints the times, the peak of memory and nothing else.

What belongs here: made-up jobs, accounts and credits of a size, priced by the rules and by bare Polars in turn.
"""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from decimal import Decimal

import polars as pl

from benchmarks.measures import paired, peak_mb
from benchmarks.peers import bare_pricing
from pipeline.domain import schemas
from pipeline.domain.accounts import print_accounts
from pipeline.domain.charges import print_charges
from pipeline.domain.rules import SiteRules

PEOPLE = 10_000
NOW = datetime(2026, 11, 20, tzinfo=UTC)
START = datetime(2026, 10, 1, tzinfo=UTC)
TIME = pl.Datetime("us", "UTC")

RULES = SiteRules(
    name="site", business_id=1, timezone="Europe/London", pricing_model="credits_and_pay_per_print",
    charge_from=START, charge_product_id=9, credit_ids=(7,),
)  # fmt: skip


def _fit(frame: pl.DataFrame, table: str) -> pl.DataFrame:
    return frame.select(pl.col(name).cast(dtype) for name, dtype in schemas.columns(table).items())


def _customers() -> pl.DataFrame:
    number = pl.int_range(PEOPLE, eager=True).alias("coworker_id")
    email = pl.format("c{}@example.com", "coworker_id")
    return _fit(
        pl.DataFrame(number).with_columns(
            email=email, email_key=email, full_name=pl.lit("Bench"), kind=pl.lit("individual"), active=True,
            archived=False, member=True, free=False, pay=pl.col("coworker_id") % 2 == 0, business_id=1,
            pin_digest=pl.col("coworker_id").cast(pl.String), access_card_digest=None, key_fob_digest=None, team=None,
            company=None, registered_at=pl.lit(START, TIME), updated_on=pl.lit(START, TIME),
            read_at=pl.lit(NOW, TIME),
        ),
        "nexudus_customers",
    )  # fmt: skip


def _grants() -> pl.DataFrame:
    number = pl.int_range(PEOPLE, eager=True).alias("credit_id")
    optional = {"last_use": None} if "last_use" in schemas.columns("nexudus_credits") else {}
    return _fit(
        pl.DataFrame(number).with_columns(
            coworker_id=pl.col("credit_id"), business_id=1, extra_service_id=7, total_uses=500, remaining_uses=500,
            valid_from=None, expires_at=None, updated_on=pl.lit(START, TIME), read_at=pl.lit(NOW, TIME), **optional,
        ),
        "nexudus_credits",
    )  # fmt: skip


def _jobs(count: int) -> pl.DataFrame:
    number = pl.int_range(count, eager=True).alias("n")
    return _fit(
        pl.DataFrame(number).with_columns(
            site=pl.lit("site"), job_id=pl.col("n").cast(pl.String), revision=0,
            printed_at=pl.lit(START, TIME) + pl.duration(seconds=pl.col("n") * 2_000_000 // count),
            username=pl.format("c{}@example.com", (pl.col("n") * 7919) % PEOPLE), printer=pl.lit("p1"), pages=2,
            color_pages=0, copies=1, duplex=False, cost=(pl.col("n") % 40).cast(pl.Decimal(18, 6)), allowed=True,
            printed=True, refunded=False, job_type=pl.lit("PRINT"), shared_account=False,
            first_seen_at=pl.lit(NOW, TIME),
        ),
        "papercut_print_jobs",
    )  # fmt: skip


def main() -> None:
    """Price as many jobs as the first argument says, as often as the second."""
    count, rounds = int(sys.argv[1]), int(sys.argv[2])
    customers, grants, jobs = _customers(), _grants(), _jobs(count)
    uses = pl.DataFrame(schema={"credit_id": pl.Int64, "open_cents": pl.Int64})
    accounts = print_accounts(customers, grants, uses, RULES, NOW)
    names = customers.select(
        username="email_key", owned_from=pl.lit(START, TIME), coworker_id="coworker_id", email_key="email_key"
    )
    ledger = pl.DataFrame(schema={**schemas.columns("print_charges"), "remote_id": pl.Int64})
    mine, bare = paired(
        lambda: print_charges(jobs, accounts, customers, names, grants, uses, ledger, RULES, NOW),
        lambda: bare_pricing(jobs, names.select("username", "email_key")),
        rounds,
    )
    assert jobs["cost"].sum() > Decimal(0)
    sys.stdout.write(json.dumps({"ours": mine, "bare": bare, "peak_mb": peak_mb()}))


if __name__ == "__main__":
    main()
